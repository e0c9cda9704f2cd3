// The matting Laplacian's rows of the unknown pixels; as model.classical.laplacian says.
//
// Entries are written with their sign turned, and the row's sum instead of its diagonal: a row's
// product is then a sum of differences, in which what is alike cancels before it is rounded.

extern "C" __global__ void __launch_bounds__(THREADS)
laplacian(const float* __restrict__ light, const float* __restrict__ known,
          const int* __restrict__ number, const int* __restrict__ pixels, int count, int height,
          int width, int linear, const float* __restrict__ typical, float* __restrict__ weights,
          int* __restrict__ others, float* __restrict__ tied, float* __restrict__ diagonal,
          float* __restrict__ right) {
    double* const found = (double*)shared_memory + threadIdx.x;  // 25 × THREADS
    const int row = (int)(blockIdx.x * THREADS + threadIdx.x);
    if (row >= count) return;
    const int pixel = pixels[row], size = height * width, y = pixel / width, x = pixel % width;
    const double exposure = linear ? (double)*typical : 0;
    for (int i = 0; i < 25; i++) found[i * THREADS] = 0;
    for (int window = 0; window < 9; window++) {
        const int down = window / 3 - 1, along = window % 3 - 1;
        const int cy = y + down, cx = x + along;
        if (cy < 1 || cx < 1 || cy >= height - 1 || cx >= width - 1) continue;
        const float* const centre = light + cy * width + cx;
        double c[3][9], mean[3], luminance = 0;
#pragma unroll
        for (int k = 0; k < 3; k++) {
            double sum = 0;
#pragma unroll
            for (int i = 0; i < 9; i++) {
                c[k][i] = (double)centre[k * size + (i / 3 - 1) * width + i % 3 - 1];
                sum += c[k][i];
                luminance += c[k][i] < 0 ? -c[k][i] : c[k][i];
            }
            mean[k] = sum / 9;
        }
        double own[3];
#pragma unroll
        for (int k = 0; k < 3; k++) {
            own[k] = (double)light[k * size + pixel] - mean[k];
#pragma unroll
            for (int i = 0; i < 9; i++) c[k][i] -= mean[k];
        }
        double rr = 0, rg = 0, rb = 0, gg = 0, gb = 0, bb = 0;
#pragma unroll
        for (int i = 0; i < 9; i++) {
            rr += c[0][i] * c[0][i], rg += c[0][i] * c[1][i], rb += c[0][i] * c[2][i];
            gg += c[1][i] * c[1][i], gb += c[1][i] * c[2][i], bb += c[2][i] * c[2][i];
        }
        const double least = (linear ? regularisation(luminance / 27, exposure) : 1e-7) / 9;
        // Cholesky; rounding may eat what is left of a pivot, but not more than the regularisation.
        const double l00 = sqrt(rr / 9 + least), l10 = rg / 9 / l00, l20 = rb / 9 / l00;
        const double l11 = sqrt(fmax(gg / 9 + least - l10 * l10, least));
        const double l21 = (gb / 9 - l10 * l20) / l11;
        const double l22 = sqrt(fmax(bb / 9 + least - l20 * l20 - l21 * l21, least));
        const double u = own[0] / l00, v = (own[1] - l10 * u) / l11;
        const double z = (own[2] - l20 * u - l21 * v) / l22 / l22;
        const double t = (v - l21 * z) / l11, s = (u - l10 * t - l20 * z) / l00;
        double* const corner = found + ((down + 1) * 5 + along + 1) * THREADS;
#pragma unroll
        for (int i = 0; i < 9; i++)
            corner[(i / 3 * 5 + i % 3) * THREADS] +=
                (1 + s * c[0][i] + t * c[1][i] + z * c[2][i]) / 9;
    }
    // All entries of a row sum to zero: the diagonal is the sum of the others, turned.
    double sum = 0, to_known = 0, to_ones = 0;
    for (int i = 0; i < 25; i++) {
        if (i == 12) continue;
        const int ny = y + i / 5 - 2, nx = x + i % 5 - 2;
        const bool inside = ny >= 0 && nx >= 0 && ny < height && nx < width;
        const int there = inside ? ny * width + nx : pixel, other = inside ? number[there] : -1;
        const double weight = found[i * THREADS];  // 0 outside
        const long long to = (long long)row * STENCIL + i - (i > 12);
        weights[to] = other < 0 ? 0.f : (float)weight;
        others[to] = other < 0 ? row : other;
        sum += weight;
        if (inside && other < 0) to_known += weight, to_ones += weight * (double)known[there];
    }
    tied[row] = (float)to_known;
    diagonal[row] = (float)sum;
    right[row] = (float)to_ones;
}
