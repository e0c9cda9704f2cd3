// What taps see times the kernel by tensor cores, and the result: shared by kernels that do all.
//
// A block makes TILE_ROWS × TILE_COLUMNS pixels of all OUT channels in steps of a tap and CHUNK
// channels: a (pixels × CHUNK) is sampled, b (OUT × CHUNK) fetched. Where both are doubled, one
// barrier a step is enough: what a warp writes next was read before the barrier it last passed.
// More options: OUT, CHUNK, TILE_ROWS, TILE_COLUMNS, THREADS, WARP_COLUMNS, MIN_BLOCKS, TOGETHER
// (samples that are on their way before the first is waited for, as far as registers go).

#define PIXELS (TILE_ROWS * TILE_COLUMNS)
#define OUT_PADDED ((OUT + 15) / 16 * 16)
#define WARP_ROWS (THREADS / 32 / WARP_COLUMNS)
#define FRAGMENTS_M (PIXELS / WARP_ROWS / 16)
#define FRAGMENTS_N (OUT_PADDED / WARP_COLUMNS / 16)  // pairs of 8 columns
#define CHUNKS (CHANNELS / CHUNK)
#define STEPS (TAPS * CHUNKS)
// Rows are 16 bytes longer than they need to be: eight of them lie in different banks.
#define ROW (CHUNK + 8)
#define OUT_ROW (OUT_PADDED + 8)
#define COPIES ((OUT_PADDED * (CHUNK / 8) + THREADS - 1) / THREADS)
#define OUT_BYTES (PIXELS * OUT_ROW * 2)  // the result goes through where a and b were

static_assert(CHANNELS % CHUNK == 0 && CHUNK % 16 == 0, "chunks of 16 channels");
static_assert(FRAGMENTS_M * WARP_ROWS * 16 == PIXELS, "warps cover the pixels");
static_assert(FRAGMENTS_N * WARP_COLUMNS * 16 == OUT_PADDED, "warps cover the channels");

typedef float Sums[FRAGMENTS_M][2 * FRAGMENTS_N][4];

extern __shared__ uint4 shared_memory[];

// What a block makes.
struct Tile {
    int picture, top, left;
};

__device__ __forceinline__ Tile tile_of(const Shape& s, u32 block) {
    const int across = (s.out_width + TILE_COLUMNS - 1) / TILE_COLUMNS;
    const int down = (s.out_height + TILE_ROWS - 1) / TILE_ROWS;
    const int picture = block / (across * down), tile = block % (across * down);
    return {picture, tile / across * TILE_ROWS, tile % across * TILE_COLUMNS};
}

// b of a step. Row o of the kernel is taps × channels.
__device__ __forceinline__ void fetch_kernel(u16* b, const Element* kernel, int step, int tap,
                                             int chunk) {
    u16* const to = b + step % 2 * (OUT_PADDED * ROW);
    const Element* const from = kernel + tap * CHANNELS + chunk * CHUNK;
#pragma unroll
    for (int j = 0; j < COPIES; j++) {
        const u32 i = threadIdx.x + j * THREADS;
        if (OUT_PADDED * (CHUNK / 8) % THREADS != 0 && i >= OUT_PADDED * (CHUNK / 8)) break;
        const u32 o = i / (CHUNK / 8), k = i % (CHUNK / 8) * 8;
        const bool zeros = o >= OUT;
        copy_later(to + o * ROW + k, from + (zeros ? 0 : o * (TAPS * CHANNELS) + k), zeros);
    }
}

// Where a warp's part of the result begins.
__device__ __forceinline__ int first_row() {
    return threadIdx.x / 32 / WARP_COLUMNS * (FRAGMENTS_M * 16);
}

__device__ __forceinline__ int first_column() {
    return threadIdx.x / 32 % WARP_COLUMNS * (FRAGMENTS_N * 16);
}

__device__ __forceinline__ void multiply(Sums& sums, const u16* from_a, const u16* b, int step) {
    const u16* const from_b = b + step % 2 * (OUT_PADDED * ROW);
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int k = 0; k < CHUNK; k += 16) {
        u32 left_side[FRAGMENTS_M][4];
#pragma unroll
        for (int m = 0; m < FRAGMENTS_M; m++)
            load_matrices(left_side[m], from_a + (first_row() + m * 16 + lane % 16) * ROW + k +
                                            lane / 16 * 8);
#pragma unroll
        for (int n = 0; n < FRAGMENTS_N; n++) {
            u32 right_side[4];
            const int row = first_column() + n * 16 + lane / 16 * 8 + lane % 8;
            load_matrices(right_side, from_b + row * ROW + k + lane / 8 % 2 * 8);
#pragma unroll
            for (int m = 0; m < FRAGMENTS_M; m++) {
                multiply_matrices(sums[m][2 * n], left_side[m], right_side[0], right_side[1]);
                multiply_matrices(sums[m][2 * n + 1], left_side[m], right_side[2], right_side[3]);
            }
        }
    }
}

// Through shared memory from its beginning, so that what lies beside each other is written so.
__device__ __forceinline__ void write_result(const Shape& s, const Sums& sums, const Tile& at,
                                             const Element* bias, Element* out) {
    u16* const through = (u16*)shared_memory;
    const u32 thread = threadIdx.x;
    const int lane = thread % 32;
    __syncthreads();  // others may still multiply what lies where the result goes
#pragma unroll
    for (int n = 0; n < 2 * FRAGMENTS_N; n++) {
        const int o = first_column() + n * 8 + lane % 4 * 2;
        const float low = bias && o < OUT ? to_float(bias[o]) : 0.f;
        const float high = bias && o + 1 < OUT ? to_float(bias[o + 1]) : 0.f;
#pragma unroll
        for (int m = 0; m < FRAGMENTS_M; m++) {
            const float* sum = sums[m][n];
            const int row = first_row() + m * 16 + lane / 4;
#if ELEMENT == 1
            *(u32*)(through + row * OUT_ROW + o) = bfloats(sum[0] + low, sum[1] + high);
            *(u32*)(through + (row + 8) * OUT_ROW + o) = bfloats(sum[2] + low, sum[3] + high);
#else
            *(u32*)(through + row * OUT_ROW + o) = halves(sum[0] + low, sum[1] + high);
            *(u32*)(through + (row + 8) * OUT_ROW + o) = halves(sum[2] + low, sum[3] + high);
#endif
        }
    }
    __syncthreads();
    out += at.picture * s.out_picture;
    if (s.out_channel == 1 && OUT % 8 == 0) {
        for (u32 i = thread; i < PIXELS * (OUT / 8); i += THREADS) {
            const int mine = i / (OUT / 8), o = i % (OUT / 8) * 8;
            const int row = at.top + mine / TILE_COLUMNS, col = at.left + mine % TILE_COLUMNS;
            if (row < s.out_height && col < s.out_width)
                *(uint4*)(out + (row * s.out_width + col) * s.out_pixel + o) =
                    *(const uint4*)(through + mine * OUT_ROW + o);
        }
    } else {
        for (u32 i = thread; i < PIXELS * OUT; i += THREADS) {
            const int mine = i % PIXELS, o = i / PIXELS;
            const int row = at.top + mine / TILE_COLUMNS, col = at.left + mine % TILE_COLUMNS;
            if (row < s.out_height && col < s.out_width)
                out[(row * s.out_width + col) * s.out_pixel + o * s.out_channel] =
                    through[mine * OUT_ROW + o];
        }
    }
}
