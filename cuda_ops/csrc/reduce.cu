// A frame in squares of `factor` pixels: means of light and picture, and what is known of each.

extern "C" __global__ void __launch_bounds__(THREADS)
reduce(const float* __restrict__ light, const float* __restrict__ picture,
       const float* __restrict__ trimap, int height, int width, int factor,
       float* __restrict__ small_light, float* __restrict__ small_picture,
       float* __restrict__ known) {
    const int rows = (height + factor - 1) / factor, columns = (width + factor - 1) / factor;
    const int at = (int)(blockIdx.x * THREADS + threadIdx.x), plane = (int)blockIdx.y;
    if (at >= rows * columns) return;
    const int top = at / columns * factor, left = at % columns * factor;
    const int bottom = top + factor < height ? top + factor : height;
    const int right = left + factor < width ? left + factor : width;
    const int pixels = (bottom - top) * (right - left);
    const long long size = (long long)height * width;
    if (plane == 6) {
        int background = 0, foreground = 0;
        for (int y = top; y < bottom; y++)
            for (int x = left; x < right; x++) {
                const float value = trimap[(long long)y * width + x];
                background += value == 0.f;
                foreground += value == 1.f;
            }
        float found = 0.5f;
        if (2 * background >= pixels && !foreground) found = 0.f;
        if (2 * foreground >= pixels && !background) found = 1.f;
        known[at] = found;
        return;
    }
    const bool seen = plane >= 3;
    const float* const from = (seen ? picture : light) + size * (plane % 3);
    float sum = 0.f;
    for (int y = top; y < bottom; y++)
        for (int x = left; x < right; x++) {
            const float value = from[(long long)y * width + x];
            sum += seen ? value : finite(value);
        }
    float* const to = seen ? small_picture : small_light;
    to[(long long)rows * columns * (plane % 3) + at] = finite(sum / (float)pixels);
}
