// Means of the nine functions around each pixel of the grid.

extern "C" __global__ void __launch_bounds__(THREADS)
smooth(const float4* __restrict__ found, int height, int width, float4* __restrict__ means) {
    const int at = (int)(blockIdx.x * THREADS + threadIdx.x);
    if (at >= height * width) return;
    const int y = at / width, x = at % width;
    float4 sum = make_float4(0.f, 0.f, 0.f, 0.f);
    int pixels = 0;
    for (int ny = y - 1; ny <= y + 1; ny++)
        for (int nx = x - 1; nx <= x + 1; nx++) {
            if (ny < 0 || nx < 0 || ny >= height || nx >= width) continue;
            const float4 one = found[ny * width + nx];
            sum.x += one.x, sum.y += one.y, sum.z += one.z, sum.w += one.w;
            pixels++;
        }
    const float by = 1.f / (float)pixels;
    means[at] = make_float4(sum.x * by, sum.y * by, sum.z * by, sum.w * by);
}
