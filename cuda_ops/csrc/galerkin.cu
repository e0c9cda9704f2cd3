// The system seen by the functions 1, r, g, b of each 8×8 tile; a block a tile.
//
// For a tile and each of the nine around it a 4×4 block, and the inverse of its own. Look-alikes
// count through their diagonal alone: joins of pixels far apart would fill everything.

extern "C" __global__ void __launch_bounds__(64)
galerkin(const int* __restrict__ pixels, const int* __restrict__ starts, int width,
         const float* __restrict__ weights, const int* __restrict__ others,
         const float* __restrict__ diagonal, const float4* __restrict__ colours,
         float* __restrict__ blocks, float* __restrict__ inverses) {
    float* const seen = (float*)shared_memory;  // 9 × 4 × 64: the row's product, by tile
    float* const own = seen + 9 * 4 * 64;       // 4 × 64
    float* const block = own + 4 * 64;          // 16
    const int tile = (int)blockIdx.x, mine = threadIdx.x;
    const int first = starts[tile], count = starts[tile + 1] - first;
    float* const to = blocks + (long long)tile * 144;
    if (count == 0) {
        for (int i = mine; i < 144; i += 64) to[i] = 0.f;
        if (mine < 16) inverses[(long long)tile * 16 + mine] = 0.f;
        return;
    }
    for (int i = 0; i < 36; i++) seen[i * 64 + mine] = 0.f;
    if (mine < count) {
        const int row = first + mine, pixel = pixels[row];
        const int ty = pixel / width / 8, tx = pixel % width / 8;
        const float4 here = colours[row];
        const float itself = diagonal[row];
        own[mine] = 1.f, own[64 + mine] = here.x, own[128 + mine] = here.y, own[192 + mine] = here.z;
        float* const centre = seen + 16 * 64 + mine;
        centre[0] = itself, centre[64] = itself * here.x;
        centre[128] = itself * here.y, centre[192] = itself * here.z;
        for (int i = 0; i < STENCIL; i++) {
            const float weight = weights[(long long)row * STENCIL + i];
            const int other = others[(long long)row * STENCIL + i], there = pixels[other];
            const float4 c = colours[other];
            const int way = (there / width / 8 - ty + 1) * 3 + there % width / 8 - tx + 1;
            float* const at = seen + way * 4 * 64 + mine;
            at[0] -= weight, at[64] -= weight * c.x;
            at[128] -= weight * c.y, at[192] -= weight * c.z;
        }
    }
    __syncthreads();
    for (int i = mine; i < 144; i += 64) {
        const float* const left = own + i / 4 % 4 * 64;
        const float* const product = seen + (i / 16 * 4 + i % 4) * 64;
        float sum = 0.f;
        for (int k = 0; k < count; k++) sum += left[k] * product[k];
        to[i] = sum;
        if (i / 16 == 4) block[i % 16] = sum;
    }
    __syncthreads();
    if (mine == 0) {
        double a[16];
#pragma unroll
        for (int i = 0; i < 16; i++)
            a[i] = 0.5 * ((double)block[i] + (double)block[i % 4 * 4 + i / 4]);
        invert_four(a);
#pragma unroll
        for (int i = 0; i < 16; i++) inverses[(long long)tile * 16 + i] = (float)a[i];
    }
}
