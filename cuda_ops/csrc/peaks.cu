// The mean and the maximum of a pixel's channels, each weighed.
//
// A warp does a pixel. found: pixels × WIDE: the mean, the maximum, zeros. Options: CHANNELS, VECTOR,
// WIDE, THREADS.

#define VECTORS (CHANNELS / VECTOR)

extern "C" __global__ void __launch_bounds__(THREADS)
peaks(const Vector* __restrict__ x, const Vector* __restrict__ weights,
      Element* __restrict__ found, int pictures, int pixels) {
    const int i = (int)(blockIdx.x * THREADS + threadIdx.x) / 32, lane = threadIdx.x % 32;
    if (i >= pictures * pixels) return;
    const Vector* const weight = weights + i / pixels * VECTORS;
    float sum = 0.f, most = -3.4e38f;
    for (int part = lane; part < VECTORS; part += 32) {
        float value[VECTOR], by[VECTOR];
        numbers(x[(long long)i * VECTORS + part], value);
        numbers(weight[part], by);
#pragma unroll
        for (int k = 0; k < VECTOR; k++) {
            const float weighed = value[k] * by[k];
            sum += weighed;
            most = fmaxf(most, weighed);  // what is no number shows in the sum
        }
    }
#pragma unroll
    for (int other = 16; other > 0; other /= 2) {
        sum += __shfl_xor_sync(0xffffffffu, sum, other);
        const float theirs = __shfl_xor_sync(0xffffffffu, most, other);
        most = fmaxf(most, theirs);
    }
    if (lane < WIDE)
        found[(long long)i * WIDE + lane] =
            to_element(lane == 0 ? sum * (1.f / CHANNELS) : lane == 1 ? most : 0.f);
}
