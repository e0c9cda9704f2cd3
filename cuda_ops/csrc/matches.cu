// Cosines between a pixel's features and those of the pixels around its place in another map.
//
// Pixel by pixel, channels innermost; LANES threads share a pixel and a row of the window around
// it, each with its part of the channels, so that neighbouring threads read neighbouring memory.
// found: pixels × SIDE², SIDE = 2·REACH + 1, row by row of the window. Beyond the border there are
// zeros. Features shorter than SHORTEST are divided by that instead of by their length.
// Options: CHANNELS, VECTOR, LANES (1, 2 or 4), REACH, THREADS.

#define VECTORS (CHANNELS / VECTOR)
#define SIDE (2 * REACH + 1)
#define SHORTEST 1e-4f

__device__ __forceinline__ float of_lanes(float value) {
#pragma unroll
    for (int other = LANES / 2; other > 0; other /= 2)
        value += __shfl_xor_sync(0xffffffffu, value, other);
    return value;
}

extern "C" __global__ void __launch_bounds__(THREADS)
matches(const Vector* __restrict__ neighbour, const Vector* __restrict__ centre,
        Element* __restrict__ found, int pictures, int height, int width) {
    const int i = (int)(blockIdx.x * THREADS + threadIdx.x) / LANES, lane = threadIdx.x % LANES;
    // Neighbours: pixels of one row of the picture, in one row of their windows.
    const int column = i % width, rest = i / width;
    const int across = rest % SIDE, row = rest / SIDE % height;
    const bool is_one = rest / SIDE / height < pictures;
    const int picture = is_one ? rest / SIDE / height : 0;
    const int pixel = (picture * height + row) * width + column;
    const int y = row + across - REACH;
    const bool is_row = is_one && y >= 0 && y < height;
    float product[SIDE], squares[SIDE], own = 0.f;
#pragma unroll
    for (int dx = 0; dx < SIDE; dx++) product[dx] = squares[dx] = 0.f;
    if (is_row) {
#pragma unroll 1
        for (int part = lane; part < VECTORS; part += LANES) {
            float mine[VECTOR], theirs[VECTOR];
            numbers(centre[pixel * VECTORS + part], mine);
#pragma unroll
            for (int k = 0; k < VECTOR; k++) own += mine[k] * mine[k];
#pragma unroll
            for (int dx = 0; dx < SIDE; dx++) {
                const int x = column + dx - REACH;
                if (x < 0 || x >= width) continue;
                numbers(neighbour[((picture * height + y) * width + x) * VECTORS + part], theirs);
#pragma unroll
                for (int k = 0; k < VECTOR; k++) {
                    product[dx] += mine[k] * theirs[k];
                    squares[dx] += theirs[k] * theirs[k];
                }
            }
        }
    }
    // All lanes of a warp take part, also those with nothing to say.
    const float length = fmaxf(sqrtf(of_lanes(own)), SHORTEST);
#pragma unroll
    for (int dx = 0; dx < SIDE; dx++) {
        const float cosine =
            of_lanes(product[dx]) / (length * fmaxf(sqrtf(of_lanes(squares[dx])), SHORTEST));
        if (is_one && dx % LANES == lane)
            found[pixel * (SIDE * SIDE) + across * SIDE + dx] = to_element(cosine);
    }
}
