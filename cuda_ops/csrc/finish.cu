// What follows a convolution, in one pass: found = act(σ(gate)·x + bias + other); found may be x.
//
// Pixel by pixel, channels innermost; a thread does VECTOR channels of a pixel. act(v) is v where
// positive, elsewhere slope · v. `other` may have fewer pictures, and is gone through again then.
// `gate` is one number a pixel, GATE apart. Options: CHANNELS, VECTOR, HAS_BIAS, HAS_OTHER, GATE (0:
// there is none), THREADS.

#define VECTORS (CHANNELS / VECTOR)
#define LOWEST -3.4e38f

extern "C" __global__ void __launch_bounds__(THREADS)
finish(const Vector* x, const Vector* __restrict__ bias, const Vector* __restrict__ other,
       const Element* __restrict__ gate, Vector* found, float slope, int count, int others) {
    const int i = (int)(blockIdx.x * THREADS + threadIdx.x);
    if (i >= count) return;
    float sum[VECTOR], more[VECTOR];
    numbers(x[i], sum);
#if GATE
    const float open = 1.f / (1.f + expf(-to_float(gate[i / VECTORS * GATE])));
#pragma unroll
    for (int k = 0; k < VECTOR; k++) sum[k] *= open;
#endif
#if HAS_BIAS
    numbers(bias[i % VECTORS], more);
#pragma unroll
    for (int k = 0; k < VECTOR; k++) sum[k] += more[k];
#endif
#if HAS_OTHER
    numbers(other[i % others], more);
#pragma unroll
    for (int k = 0; k < VECTOR; k++) sum[k] += more[k];
#endif
#pragma unroll
    for (int k = 0; k < VECTOR; k++) {
        const float below = sum[k] < LOWEST ? LOWEST : sum[k];  // no slope makes a NaN of -∞
        sum[k] = sum[k] > 0.f ? sum[k] : slope * below;
    }
    found[i] = vector(sum);
}
