// What the kernels of the prior share: words, sums of a warp, tiles.
//
// The grid of pixels is cut into tiles of 8×8, numbered so that four of 16×16 lie together in one
// of 32×32 and so on up to the largest, which lie row by row: tile >> 2 is the tile of twice the
// side.

#define ALL_LANES 0xffffffffu
#define STENCIL 24  // the others of a 5×5 neighbourhood
#define ALIKE (FIRST + SECOND)

extern __shared__ uint4 shared_memory[];

__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
    for (int other = 16; other > 0; other /= 2)
        value += __shfl_xor_sync(ALL_LANES, value, other);
    return value;
}

// The number of the tile at (y, x), in tiles; `bits` halvings below the largest ones.
__device__ __forceinline__ int tile_at(int y, int x, int bits, int across) {
    int within = 0;
    for (int bit = 0; bit < bits; bit++)
        within |= (x >> bit & 1) << 2 * bit | (y >> bit & 1) << (2 * bit + 1);
    return ((y >> bits) * across + (x >> bits)) << 2 * bits | within;
}

__device__ __forceinline__ void place_of_tile(int tile, int bits, int across, int& y, int& x) {
    const int largest = tile >> 2 * bits;
    y = largest / across << bits;
    x = largest % across << bits;
    for (int bit = 0; bit < bits; bit++) {
        x |= (tile >> 2 * bit & 1) << bit;
        y |= (tile >> (2 * bit + 1) & 1) << bit;
    }
}

// One of the 64 pixels of an 8×8 tile, in raster order; -1 = not in the frame.
__device__ __forceinline__ int pixel_of_tile(int tile, int which, int bits, int across, int height,
                                             int width) {
    int y, x;
    place_of_tile(tile, bits, across, y, x);
    y = y * 8 + which / 8, x = x * 8 + which % 8;
    return y < height && x < width ? y * width + x : -1;
}

// Inverse of a symmetric 4×4 matrix without what it is blind to: those rows and columns are zero.
__device__ __forceinline__ void invert_four(double (&a)[16]) {
    double first[4];
#pragma unroll
    for (int k = 0; k < 4; k++) first[k] = a[5 * k];
#pragma unroll
    for (int k = 0; k < 4; k++) {
        const double pivot = a[5 * k];
        const bool blind = !(pivot > 1e-5 * first[k]);
        const double by = blind ? 0 : 1 / pivot;
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int j = 0; j < 4; j++)
                if (i != k && j != k) a[4 * i + j] -= a[4 * i + k] * by * a[4 * k + j];
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (i != k) a[4 * i + k] *= -by, a[4 * k + i] *= by;
        a[5 * k] = by;
    }
}

__device__ __forceinline__ float finite(float value) {
    return value != value ? 0.f : fminf(fmaxf(value, -1e6f), 1e6f);
}

// Regularisation of a window; as model.classical.closed_form.regularisation.
__device__ __forceinline__ double regularisation(double luminance, double typical) {
    const double exposure = luminance + typical > 1e-6 ? luminance + typical : 1e-6;
    return 3e-4 * exposure * exposure;
}
