// A map looked up at p + shift(p), bilinear, the border repeated.
//
// Pixel by pixel, channels innermost; a thread does VECTOR channels of a pixel. shift: pictures × 2
// (x, y) × pixels, in pixels. Options: CHANNELS, VECTOR, THREADS.

#define VECTORS (CHANNELS / VECTOR)

extern "C" __global__ void __launch_bounds__(THREADS)
moved(const Vector* __restrict__ from, const float* __restrict__ shift, Vector* __restrict__ found,
      int pictures, int height, int width) {
    const int i = (int)(blockIdx.x * THREADS + threadIdx.x);
    const int pixels = height * width;
    if (i >= pictures * pixels * VECTORS) return;
    const int part = i % VECTORS, at = i / VECTORS % pixels, picture = i / VECTORS / pixels;
    const float* const by = shift + 2 * picture * pixels + at;
    const float x = fminf(fmaxf((float)(at % width) + by[0], 0.f), (float)(width - 1));
    const float y = fminf(fmaxf((float)(at / width) + by[pixels], 0.f), (float)(height - 1));
    const int left = (int)x, top = (int)y;
    const int right = inside(left + 1, width), bottom = inside(top + 1, height);
    const float across = x - (float)left, down = y - (float)top;
    const Vector* const first = from + picture * pixels * VECTORS + part;
    float a[VECTOR], b[VECTOR], c[VECTOR], d[VECTOR];
    numbers(first[(top * width + left) * VECTORS], a);
    numbers(first[(top * width + right) * VECTORS], b);
    numbers(first[(bottom * width + left) * VECTORS], c);
    numbers(first[(bottom * width + right) * VECTORS], d);
#pragma unroll
    for (int k = 0; k < VECTOR; k++) {
        const float above = a[k] + across * (b[k] - a[k]), below = c[k] + across * (d[k] - c[k]);
        a[k] = above + down * (below - above);
    }
    found[i] = vector(a);
}
