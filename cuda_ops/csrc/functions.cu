// Around each pixel of the grid: alpha ≈ the first three · colour + the fourth, of its 3×3 window.

extern "C" __global__ void __launch_bounds__(THREADS)
functions(const float* __restrict__ light, const float* __restrict__ alpha, int height, int width,
          int linear, const float* __restrict__ typical, float4* __restrict__ found) {
    const int at = (int)(blockIdx.x * THREADS + threadIdx.x), size = height * width;
    if (at >= size) return;
    const int y = at / width, x = at % width;
    const double base[4] = {light[at], light[size + at], light[2 * size + at], alpha[at]};
    double sum[4] = {0, 0, 0, 0}, products[9] = {0, 0, 0, 0, 0, 0, 0, 0, 0}, luminance = 0;
    int pixels = 0;
    for (int ny = y - 1; ny <= y + 1; ny++)
        for (int nx = x - 1; nx <= x + 1; nx++) {
            if (ny < 0 || nx < 0 || ny >= height || nx >= width) continue;
            const int there = ny * width + nx;
            double c[4];
#pragma unroll
            for (int k = 0; k < 4; k++) {
                const double value = (double)(k < 3 ? light[k * size + there] : alpha[there]);
                if (k < 3) luminance += value < 0 ? -value : value;
                c[k] = value - base[k];
                sum[k] += c[k];
            }
            products[0] += c[0] * c[0], products[1] += c[0] * c[1], products[2] += c[0] * c[2];
            products[3] += c[1] * c[1], products[4] += c[1] * c[2], products[5] += c[2] * c[2];
            products[6] += c[0] * c[3], products[7] += c[1] * c[3], products[8] += c[2] * c[3];
            pixels++;
        }
    const double by = 1.0 / pixels;
    const double r = sum[0] * by, g = sum[1] * by, b = sum[2] * by, mean = sum[3] * by;
    const double soft = linear ? regularisation(luminance * by / 3, (double)*typical) : 1e-4;
    const double xx = products[0] * by - r * r + soft, xy = products[1] * by - r * g;
    const double xz = products[2] * by - r * b, yy = products[3] * by - g * g + soft;
    const double yz = products[4] * by - g * b, zz = products[5] * by - b * b + soft;
    const double cr = products[6] * by - r * mean, cg = products[7] * by - g * mean;
    const double cb = products[8] * by - b * mean;
    const double a0 = yy * zz - yz * yz, a1 = xz * yz - xy * zz, a2 = xy * yz - xz * yy;
    const double b1 = xx * zz - xz * xz, b2 = xy * xz - xx * yz, c2 = xx * yy - xy * xy;
    const double determinant = xx * a0 + xy * a1 + xz * a2;
    const double sr = (a0 * cr + a1 * cg + a2 * cb) / determinant;
    const double sg = (a1 * cr + b1 * cg + b2 * cb) / determinant;
    const double sb = (a2 * cr + b2 * cg + c2 * cb) / determinant;
    const double offset = base[3] + mean - sr * (base[0] + r) - sg * (base[1] + g) - sb * (base[2] + b);
    found[at] = make_float4((float)sr, (float)sg, (float)sb, (float)offset);
}
