// Per unknown pixel what the solver needs of it, and per 8×8 tile the mean colour; a warp a tile.
//
// The pixels of a tile are `starts[tile]` to `starts[tile + 1]`. Look-alikes enter here: `tied` and
// `diagonal` come without them, and get their share.

// Lightness and two differences: as good as r, g, b, but with grey pixels r, g and b would cancel.
__device__ __forceinline__ void opponents(const float* light, int size, int pixel, float (&c)[3]) {
    const float r = light[pixel], g = light[size + pixel], b = light[2 * size + pixel];
    c[0] = (r + g + b) * (1.f / 3.f), c[1] = r - g, c[2] = g - b;
}

extern "C" __global__ void __launch_bounds__(THREADS)
tiles(const float* __restrict__ light, const int* __restrict__ pixels,
      const int* __restrict__ starts, int tile_count, int count, int size,
      const int* __restrict__ ends, const int* __restrict__ incoming,
      const float* __restrict__ to_known, float weight, float* __restrict__ tied,
      float* __restrict__ diagonal, float* __restrict__ right, float4* __restrict__ colours,
      float4* __restrict__ means) {
    const int tile = (int)(blockIdx.x * (THREADS / 32) + threadIdx.x / 32);
    const int lane = threadIdx.x % 32;
    if (tile >= tile_count) return;
    const int first = starts[tile], end = starts[tile + 1];
    float sum[3] = {0.f, 0.f, 0.f}, mean[3], c[3];
    for (int row = first + lane; row < end; row += 32) {
        opponents(light, size, pixels[row], c);
#pragma unroll
        for (int k = 0; k < 3; k++) sum[k] += c[k];
    }
#pragma unroll
    for (int k = 0; k < 3; k++) mean[k] = end > first ? warp_sum(sum[k]) / (float)(end - first) : 0.f;
    for (int row = first + lane; row < end; row += 32) {
        int joined = incoming[row + 1] - incoming[row];
        for (int i = 0; i < ALIKE; i++) joined += ends[(long long)row * ALIKE + i] < count;
        const float known = to_known[row] + to_known[2 * count + row];
        const float ones = to_known[count + row] + to_known[3 * count + row];
        tied[row] += weight * known;
        diagonal[row] += weight * ((float)joined + known);
        right[row] += weight * ones;
        opponents(light, size, pixels[row], c);
        colours[row] =
            make_float4(c[0] - mean[0], c[1] - mean[1], c[2] - mean[2], 1.f / diagonal[row]);
    }
    if (lane == 0) means[tile] = make_float4(mean[0], mean[1], mean[2], (float)(end - first));
}
