// The inverse of the system of the largest tiles, dense, by Gauss and Jordan; one block.
//
// A thread holds the entries of every 16th row and 32nd column, 2 · RANK × RANK of them. What the
// system is blind to gets rows and columns of zeros. It is positive: no pivots are looked for.

#define TALL (2 * RANK)

extern "C" __global__ void __launch_bounds__(512)
invert(const float* __restrict__ blocks, int across, int down, float* __restrict__ inverse) {
    const int side = RANK * 32, rank = 4 * across * down;
    float* const scale = (float*)shared_memory;  // side
    float* const lines = scale + side;           // 2 × (a row, a column)
    float* const pivots = lines + 4 * side;      // 2
    const int ty = threadIdx.x / 32, tx = threadIdx.x % 32;
    for (int i = threadIdx.x; i < side; i += 512) {
        const float own = i < rank ? blocks[(i / 4 * 9 + 4) * 16 + i % 4 * 5] : 0.f;
        scale[i] = own > 0.f ? rsqrtf(own) : 0.f;
    }
    __syncthreads();
    float m[TALL][RANK];
#pragma unroll
    for (int a = 0; a < TALL; a++)
#pragma unroll
        for (int b = 0; b < RANK; b++) {
            const int i = ty + 16 * a, j = tx + 32 * b;
            float value = 0.f;
            if (i < rank && j < rank) {
                const int there = i / 4, here = j / 4;
                const int dy = here / across - there / across, dx = here % across - there % across;
                if (dy >= -1 && dy <= 1 && dx >= -1 && dx <= 1) {
                    const int way = (dy + 1) * 3 + dx + 1;
                    value = 0.5f * (blocks[(there * 9 + way) * 16 + i % 4 * 4 + j % 4] +
                                    blocks[(here * 9 + 8 - way) * 16 + j % 4 * 4 + i % 4]);
                    value *= scale[i] * scale[j];
                }
            }
            m[a][b] = value;
        }
    // Written out by the place that row and column have in a thread, for m must not be indexed.
#pragma unroll
    for (int at = 0; at < TALL; at++)
        for (int k = 16 * at; k < 16 * at + 16 && k < rank; k++) {
            float* const row = lines + k % 2 * 2 * side;
            float* const column = row + side;
            // They have 1 and -1 where they meet, and leave nothing behind: the same step then puts
            // into their place what belongs there.
            if (ty == k % 16)
#pragma unroll
                for (int b = 0; b < RANK; b++) {
                    const bool met = tx + 32 * b == k;
                    if (met) pivots[k % 2] = m[at][b];
                    row[tx + 32 * b] = met ? 1.f : m[at][b];
                    if (!met) m[at][b] = 0.f;
                }
            if (tx == k % 32)
#pragma unroll
                for (int a = 0; a < TALL; a++) {
                    column[ty + 16 * a] = ty + 16 * a == k ? -1.f : m[a][at / 2];
                    m[a][at / 2] = 0.f;
                }
            __syncthreads();
            const float pivot = pivots[k % 2], by = pivot > 1e-5f ? 1.f / pivot : 0.f;
#pragma unroll
            for (int b = 0; b < RANK; b++) {
                const float r = row[tx + 32 * b] * by;
#pragma unroll
                for (int a = 0; a < TALL; a++) m[a][b] -= column[ty + 16 * a] * r;
            }
        }
#pragma unroll
    for (int a = 0; a < TALL; a++)
#pragma unroll
        for (int b = 0; b < RANK; b++) {
            const int i = ty + 16 * a, j = tx + 32 * b;
            // Of the two that rounding makes differ, one.
            if (i <= j && j < rank)
                inverse[i * rank + j] = inverse[j * rank + i] = m[a][b] * (scale[i] * scale[j]);
        }
}
