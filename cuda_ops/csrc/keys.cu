// Where each pixel lies on a Z-shaped curve through colours and places, one curve for each search.

extern "C" __global__ void __launch_bounds__(THREADS)
keys(const float* __restrict__ picture, const int* __restrict__ places, int count, int size,
     int width, double first_spread, double second_spread, long long* __restrict__ found) {
    const int i = (int)(blockIdx.x * THREADS + threadIdx.x), second = (int)blockIdx.y;
    if (i >= count) return;
    const int place = places[i];
    const float scale = 1023.f;
    const double spread = second ? second_spread : first_spread;
    const float axes[5] = {picture[place], picture[size + place], picture[2 * size + place],
                           (float)(spread * (place % width) / width),
                           (float)(spread * (place / width) / width)};
    u64 key = second;
    u32 steps[5];
#pragma unroll
    for (int axis = 0; axis < 5; axis++)
        steps[axis] = (u32)fminf(fmaxf(axes[axis] * scale, 0.f), 4095.f);
    for (int bit = 11; bit >= 0; bit--)
#pragma unroll
        for (int axis = 0; axis < 5; axis++) key = key << 1 | (steps[axis] >> bit & 1);
    found[(long long)second * count + i] = (long long)key;
}
