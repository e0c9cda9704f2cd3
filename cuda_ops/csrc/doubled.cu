// A map of half the size, enlarged bilinearly, added to one of full size: found = onto + up(x) + bias.
//
// Pixel by pixel, channels innermost; a thread does VECTOR channels of 2×2 pixels, which look at 3×3
// of x. As torch's interpolate with align_corners=False: a pixel is ¾ of the nearest and ¼ of the
// next, in either axis, the border repeated. Options: CHANNELS, VECTOR, HAS_BIAS, THREADS.

#define VECTORS (CHANNELS / VECTOR)

extern "C" __global__ void __launch_bounds__(THREADS)
doubled(const Vector* __restrict__ x, const Vector* __restrict__ bias,
        const Vector* __restrict__ onto, Vector* __restrict__ found, int pictures, int height,
        int width) {
    const int i = (int)(blockIdx.x * THREADS + threadIdx.x);
    if (i >= pictures * height * width * VECTORS) return;
    const int part = i % VECTORS, column = i / VECTORS % width;
    const int row = i / VECTORS / width % height, picture = i / VECTORS / width / height;
    // Of the three rows around, made two, each of three columns made two.
    float above[2][VECTOR], below[2][VECTOR];
#pragma unroll
    for (int k = 0; k < VECTOR; k++) above[0][k] = above[1][k] = below[0][k] = below[1][k] = 0.f;
#pragma unroll
    for (int dy = -1; dy <= 1; dy++) {
        const int y = inside(row + dy, height);
#pragma unroll
        for (int dx = -1; dx <= 1; dx++) {
            const int x_ = inside(column + dx, width);
            float value[VECTOR];
            numbers(x[((picture * height + y) * width + x_) * VECTORS + part], value);
            const float up = dy == 0 ? 0.75f : dy < 0 ? 0.25f : 0.f;
            const float down = dy == 0 ? 0.75f : dy > 0 ? 0.25f : 0.f;
            const float left = dx == 0 ? 0.75f : dx < 0 ? 0.25f : 0.f;
            const float right = dx == 0 ? 0.75f : dx > 0 ? 0.25f : 0.f;
#pragma unroll
            for (int k = 0; k < VECTOR; k++) {
                above[0][k] += up * left * value[k], above[1][k] += up * right * value[k];
                below[0][k] += down * left * value[k], below[1][k] += down * right * value[k];
            }
        }
    }
    float more[VECTOR];
#pragma unroll
    for (int k = 0; k < VECTOR; k++) more[k] = 0.f;
#if HAS_BIAS
    numbers(bias[part], more);
#endif
    const int first = ((picture * 2 * height + 2 * row) * 2 * width + 2 * column) * VECTORS + part;
#pragma unroll
    for (int side = 0; side < 2; side++) {
        float value[VECTOR];
        const int upper = first + side * VECTORS, lower = upper + 2 * width * VECTORS;
        numbers(onto[upper], value);
#pragma unroll
        for (int k = 0; k < VECTOR; k++) value[k] += above[side][k] + more[k];
        found[upper] = vector(value);
        numbers(onto[lower], value);
#pragma unroll
        for (int k = 0; k < VECTOR; k++) value[k] += below[side][k] + more[k];
        found[lower] = vector(value);
    }
}
