// The same of tiles of `1 << halvings` times the side, from the smaller ones; a warp for each tile
// and each of the nine around it.
//
// `bits` is how many halvings the larger tiles are below the largest, which lie `across` in a row.

__device__ __forceinline__ float4 mean_of(const float4* means, int tile, int halvings) {
    const int children = 1 << 2 * halvings;
    float4 sum = make_float4(0.f, 0.f, 0.f, 0.f);
    for (int i = threadIdx.x % 32; i < children; i += 32) {
        const float4 one = means[tile * children + i];
        sum.x += one.w * one.x, sum.y += one.w * one.y, sum.z += one.w * one.z, sum.w += one.w;
    }
    sum = make_float4(warp_sum(sum.x), warp_sum(sum.y), warp_sum(sum.z), warp_sum(sum.w));
    const float by = sum.w > 0.f ? 1.f / sum.w : 0.f;
    return make_float4(sum.x * by, sum.y * by, sum.z * by, sum.w);
}

extern "C" __global__ void __launch_bounds__(THREADS)
coarsen(const float* __restrict__ blocks, const float4* __restrict__ means, int tile_count,
        int halvings, int bits, int across, int down, float* __restrict__ larger_blocks,
        float4* __restrict__ larger_means, float* __restrict__ inverses) {
    const int i = (int)(blockIdx.x * (THREADS / 32) + threadIdx.x / 32), lane = threadIdx.x % 32;
    if (i >= tile_count * 9) return;
    const int tile = i / 9, way = i % 9;
    int y, x;
    place_of_tile(tile, bits, across, y, x);
    const float4 mean = mean_of(means, tile, halvings);
    const int ny = y + way / 3 - 1, nx = x + way % 3 - 1;
    float sum[16];
#pragma unroll
    for (int k = 0; k < 16; k++) sum[k] = 0.f;
    const bool inside = ny >= 0 && nx >= 0 && ny < down << bits && nx < across << bits;
    if (inside && mean.w > 0.f) {
        const float4 mean_there = mean_of(means, tile_at(ny, nx, bits, across), halvings);
        const int children = 1 << 2 * halvings;
        for (int pair = lane; pair < children * 9; pair += 32) {  // a smaller tile and one around it
            const int child = tile * children + pair / 9, step = pair % 9;
            int cy, cx;
            place_of_tile(child, bits + halvings, across, cy, cx);
            const int oy = cy + step / 3 - 1, ox = cx + step % 3 - 1;
            if (oy < 0 || ox < 0 || oy >> halvings != ny || ox >> halvings != nx) continue;
            const float4 m = means[child], o = means[tile_at(oy, ox, bits + halvings, across)];
            const float a[4] = {0.f, m.x - mean.x, m.y - mean.y, m.z - mean.z};
            const float b[4] = {0.f, o.x - mean_there.x, o.y - mean_there.y, o.z - mean_there.z};
            const float* const from = blocks + ((long long)child * 9 + step) * 16;
#pragma unroll
            for (int r = 0; r < 4; r++)
#pragma unroll
                for (int c = 0; c < 4; c++) {
                    // A colour's function is the smaller tile's plus a step times its 1.
                    float value = from[4 * r + c];
                    if (r) value += a[r] * from[c];
                    if (c) value += b[c] * (from[4 * r] + (r ? a[r] * from[0] : 0.f));
                    sum[4 * r + c] += value;
                }
        }
#pragma unroll
        for (int k = 0; k < 16; k++) sum[k] = warp_sum(sum[k]);
    }
    if (lane != 0) return;
#pragma unroll
    for (int k = 0; k < 16; k++) larger_blocks[(long long)i * 16 + k] = sum[k];
    if (way != 4) return;
    larger_means[tile] = mean;
    double own[16];
#pragma unroll
    for (int k = 0; k < 16; k++) own[k] = 0.5 * ((double)sum[k] + (double)sum[k % 4 * 4 + k / 4]);
    invert_four(own);
#pragma unroll
    for (int k = 0; k < 16; k++) inverses[(long long)tile * 16 + k] = (float)own[k];
}
