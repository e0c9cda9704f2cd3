// Alpha of the frame: the trimap's where it is known, else what the grid's functions make of the
// pixel's colour.

extern "C" __global__ void __launch_bounds__(THREADS)
carry(const float* __restrict__ light, const float* __restrict__ trimap,
      const float4* __restrict__ functions, int height, int width, int factor,
      float* __restrict__ alpha) {
    const long long at = (long long)blockIdx.x * THREADS + threadIdx.x;
    const long long size = (long long)height * width;
    if (at >= size) return;
    const float said = trimap[at];
    if (said != 0.5f) {
        alpha[at] = said;
        return;
    }
    const int rows = (height + factor - 1) / factor, columns = (width + factor - 1) / factor;
    const float by = 1.f / (float)factor;
    float y = ((float)(at / width) + 0.5f) * by - 0.5f, x = ((float)(at % width) + 0.5f) * by - 0.5f;
    y = fminf(fmaxf(y, 0.f), (float)(rows - 1));
    x = fminf(fmaxf(x, 0.f), (float)(columns - 1));
    const int top = (int)y, left = (int)x;
    const int bottom = top + 1 < rows ? top + 1 : top, right = left + 1 < columns ? left + 1 : left;
    const float down = y - (float)top, along = x - (float)left;
    const float r = finite(light[at]), g = finite(light[size + at]), b = finite(light[2 * size + at]);
    float found = 0.f;
#pragma unroll
    for (int corner = 0; corner < 4; corner++) {
        const float4 f = functions[(corner / 2 ? bottom : top) * columns + (corner % 2 ? right : left)];
        const float share = (corner / 2 ? down : 1.f - down) * (corner % 2 ? along : 1.f - along);
        found += share * (f.x * r + f.y * g + f.z * b + f.w);
    }
    alpha[at] = found == found ? fminf(fmaxf(found, 0.f), 1.f) : 0.5f;
}
