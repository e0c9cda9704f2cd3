// The whole convolution in one kernel: what the taps see goes from shared memory into the tensor
// cores and is never written out. For halves and bfloat16; channels a multiple of CHUNK.
//
// A block makes TILE_ROWS × TILE_COLUMNS pixels of all OUT channels, tap by tap, CHUNK channels at
// a time: sample a (pixels × CHUNK), fetch b (OUT × CHUNK), multiply. Both are doubled, so that one
// barrier a chunk is enough: what a warp writes next was read before the barrier it last passed. So
// are the spots: those of the next tap are worked out before the barrier of this tap's last chunk.
// More options: OUT, CHUNK, TILE_ROWS, TILE_COLUMNS, THREADS, WARP_COLUMNS, MIN_BLOCKS.

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
#define WISHES ((PIXELS * GROUPS + THREADS - 1) / THREADS)
#define COPIES ((OUT_PADDED * (CHUNK / 8) + THREADS - 1) / THREADS)
#define VECTORS (CHUNK / VECTOR)
#define SAMPLES ((PIXELS * VECTORS + THREADS - 1) / THREADS)
// So many are on their way before the first is waited for, as far as registers go.
#define TOGETHER (ELEMENT == 0 ? 2 : 1)
// Whether there is a sample j for a thread, number i; known beforehand if threads divide them.
#define IS_SAMPLE(j, i) ((j) < SAMPLES && (PIXELS * VECTORS % THREADS == 0 || (i) < PIXELS * VECTORS))
#if ELEMENT == 0
#define WEIGHTS_ROW (PIXELS + 2)
#else
#define WEIGHTS_ROW (PIXELS + 1)
#endif
#define PLACES_ROW (PIXELS + 4)

// Shared memory, in bytes from its beginning; cuda_ops/kernels.py adds up the same.
#define B_AT (2 * PIXELS * ROW * 2)
#define B_END (B_AT + 2 * OUT_PADDED * ROW * 2)
#define OUT_BYTES (PIXELS * OUT_ROW * 2)  // the result goes through where a and b were
#define WEIGHTS_AT (B_END > OUT_BYTES ? B_END : OUT_BYTES)
#define PLACES_AT (WEIGHTS_AT + (2 * GROUPS * WEIGHTS_ROW * (int)sizeof(Weights) + 15) / 16 * 16)

static_assert(CHANNELS % CHUNK == 0 && CHUNK % 16 == 0, "chunks of 16 channels");
static_assert(FRAGMENTS_M * WARP_ROWS * 16 == PIXELS, "warps cover the pixels");
static_assert(FRAGMENTS_N * WARP_COLUMNS * 16 == OUT_PADDED, "warps cover the channels");

extern __shared__ uint4 shared_memory[];

extern "C" __global__ void __launch_bounds__(THREADS, MIN_BLOCKS)
convolve(const Shape s, const Element* __restrict__ x, const Offset* __restrict__ offset,
         const Element* __restrict__ mask, const Element* __restrict__ kernel,
         const Element* __restrict__ bias, Element* __restrict__ out) {
    char* const memory = (char*)shared_memory;
    u16* const a = (u16*)memory;
    u16* const b = (u16*)(memory + B_AT);
    Weights* const weights = (Weights*)(memory + WEIGHTS_AT);
    u32* const places = (u32*)(memory + PLACES_AT);

    const u32 thread = threadIdx.x;
    const int lane = thread % 32, warp = thread / 32;
    const int across = (s.out_width + TILE_COLUMNS - 1) / TILE_COLUMNS;
    const int down = (s.out_height + TILE_ROWS - 1) / TILE_ROWS;
    const int picture = blockIdx.x / (across * down), tile = blockIdx.x % (across * down);
    const int top = tile / across * TILE_ROWS, left = tile % across * TILE_COLUMNS;
    const u32 row_bytes = s.width * CHANNELS * (u32)sizeof(Element);

    // Wish j of a thread is that of the next THREADS of pixels × groups; neighbours lie together.
    auto group_of = [&](int j) {
        const u32 i = thread + j * THREADS;
        return OFFSET_LAST ? i % GROUPS : i / PIXELS;
    };
    auto pixel_of = [&](int j) {
        const u32 i = thread + j * THREADS;
        return OFFSET_LAST ? i / GROUPS : i % PIXELS;
    };
    Wish wishes[WISHES];
    u32 offset_at[WISHES], mask_at[WISHES];
    bool wanted[WISHES];
#pragma unroll
    for (int j = 0; j < WISHES; j++) {
        const u32 row = top + pixel_of(j) / TILE_COLUMNS, col = left + pixel_of(j) % TILE_COLUMNS;
        const u32 pixel = row * s.out_width + col, which = group_of(j) * TAPS;
        offset_at[j] = 2 * which * s.offset_channel + pixel * s.offset_pixel;
        mask_at[j] = which * s.mask_channel + pixel * s.mask_pixel;
        const bool is_one =
            PIXELS * GROUPS % THREADS == 0 || thread + j * THREADS < PIXELS * GROUPS;
        wanted[j] = is_one && row < (u32)s.out_height && col < (u32)s.out_width;
    }
    offset += picture * s.offset_picture;
    mask += picture * s.mask_picture;
    auto fetch_wishes = [&]() {  // tap after tap
#pragma unroll
        for (int j = 0; j < WISHES; j++) {
            wishes[j] = {0.f, 0.f, 0.f};
            if (wanted[j]) wishes[j] = wish(s, offset, mask, offset_at[j], mask_at[j]);
            offset_at[j] += 2 * s.offset_channel;
            mask_at[j] += s.mask_channel;
        }
    };
    auto place_wishes = [&](int tap) {
        Weights* const to_weights = weights + tap % 2 * (GROUPS * WEIGHTS_ROW);
        u32* const to_places = places + tap % 2 * (GROUPS * PLACES_ROW);
#pragma unroll
        for (int j = 0; j < WISHES; j++) {
            const u32 group = group_of(j), mine = pixel_of(j);
            if (PIXELS * GROUPS % THREADS != 0 && thread + j * THREADS >= PIXELS * GROUPS) break;
            look(s, wishes[j], top + mine / TILE_COLUMNS, left + mine % TILE_COLUMNS, tap);
            const Spot found = spot(wishes[j], picture, s.height, s.width);
            to_weights[group * WEIGHTS_ROW + mine] = found.weights;
            to_places[group * PLACES_ROW + mine] = found.place;
        }
    };
    auto fetch_kernel = [&](int step) {
        u16* const to = b + step % 2 * (OUT_PADDED * ROW);
        // Row o of the kernel is taps × channels, so that a step's columns begin at step · CHUNK.
        const Element* const from = kernel + step * CHUNK;
#pragma unroll
        for (int j = 0; j < COPIES; j++) {
            const u32 i = thread + j * THREADS;
            if (OUT_PADDED * (CHUNK / 8) % THREADS != 0 && i >= OUT_PADDED * (CHUNK / 8)) break;
            const u32 o = i / (CHUNK / 8), k = i % (CHUNK / 8) * 8;
            const bool zeros = o >= OUT;
            copy_later(to + o * ROW + k, from + (zeros ? 0 : o * (TAPS * CHANNELS) + k), zeros);
        }
    };
    auto take_samples = [&](int tap, int chunk, int step) {
        u16* const to = a + step % 2 * (PIXELS * ROW);
        const Weights* const from_weights = weights + tap % 2 * (GROUPS * WEIGHTS_ROW);
        const u32* const from_places = places + tap % 2 * (GROUPS * PLACES_ROW);
#pragma unroll
        for (int j = 0; j < SAMPLES; j += TOGETHER) {
            u32 place[TOGETHER];
            Corners around[TOGETHER];
#pragma unroll
            for (int one = 0; one < TOGETHER; one++) {
                const u32 i = thread + (j + one) * THREADS;
                if (!IS_SAMPLE(j + one, i)) break;
                const u32 mine = i / VECTORS, channel = chunk * CHUNK + i % VECTORS * VECTOR;
                place[one] = from_places[channel / GROUP_CHANNELS * PLACES_ROW + mine];
                around[one] = corners(x + channel, place[one], row_bytes);
            }
#pragma unroll
            for (int one = 0; one < TOGETHER; one++) {
                const u32 i = thread + (j + one) * THREADS;
                if (!IS_SAMPLE(j + one, i)) break;
                const u32 mine = i / VECTORS, k = i % VECTORS * VECTOR;
                const u32 group = (chunk * CHUNK + k) / GROUP_CHANNELS;
                *(Vector*)(to + mine * ROW + k) =
                    blend(around[one], from_weights[group * WEIGHTS_ROW + mine], place[one]);
            }
        }
    };

    float sums[FRAGMENTS_M][2 * FRAGMENTS_N][4] = {};
    const int first_row = warp / WARP_COLUMNS * (FRAGMENTS_M * 16);
    const int first_column = warp % WARP_COLUMNS * (FRAGMENTS_N * 16);
    auto multiply = [&](int step) {
        const u16* const from_a = a + step % 2 * (PIXELS * ROW);
        const u16* const from_b = b + step % 2 * (OUT_PADDED * ROW);
#pragma unroll
        for (int k = 0; k < CHUNK; k += 16) {
            u32 left_side[FRAGMENTS_M][4];
#pragma unroll
            for (int m = 0; m < FRAGMENTS_M; m++)
                load_matrices(left_side[m], from_a + (first_row + m * 16 + lane % 16) * ROW + k +
                                                lane / 16 * 8);
#pragma unroll
            for (int n = 0; n < FRAGMENTS_N; n++) {
                u32 right_side[4];
                const int row = first_column + n * 16 + lane / 16 * 8 + lane % 8;
                load_matrices(right_side, from_b + row * ROW + k + lane / 8 % 2 * 8);
#pragma unroll
                for (int m = 0; m < FRAGMENTS_M; m++) {
                    multiply_matrices(sums[m][2 * n], left_side[m], right_side[0], right_side[1]);
                    multiply_matrices(sums[m][2 * n + 1], left_side[m], right_side[2],
                                      right_side[3]);
                }
            }
        }
    };

    fetch_kernel(0);
    fetch_wishes();
    place_wishes(0);
    __syncthreads();
#pragma unroll 1
    for (int tap = 0, step = 0; tap < TAPS; tap++) {
#pragma unroll 1
        for (int chunk = 0; chunk < CHUNKS; chunk++, step++) {
            const bool go_on = chunk == CHUNKS - 1 && tap < TAPS - 1;
            if (go_on) fetch_wishes();
            take_samples(tap, chunk, step);
            if (go_on) place_wishes(tap + 1);
            wait_for_copies();
            __syncthreads();
            if (step < STEPS - 1) fetch_kernel(step + 1);
            multiply(step);
        }
    }

    __syncthreads();  // others may still multiply what lies where the result goes
#pragma unroll
    for (int n = 0; n < 2 * FRAGMENTS_N; n++) {
        const int o = first_column + n * 8 + lane % 4 * 2;
        const float low = bias && o < OUT ? to_float(bias[o]) : 0.f;
        const float high = bias && o + 1 < OUT ? to_float(bias[o + 1]) : 0.f;
#pragma unroll
        for (int m = 0; m < FRAGMENTS_M; m++) {
            const float* sum = sums[m][n];
            const int row = first_row + m * 16 + lane / 4;
#if ELEMENT == 1
            *(u32*)(a + row * OUT_ROW + o) = bfloats(sum[0] + low, sum[1] + high);
            *(u32*)(a + (row + 8) * OUT_ROW + o) = bfloats(sum[2] + low, sum[3] + high);
#else
            *(u32*)(a + row * OUT_ROW + o) = halves(sum[0] + low, sum[1] + high);
            *(u32*)(a + (row + 8) * OUT_ROW + o) = halves(sum[2] + low, sum[3] + high);
#endif
        }
    }
    __syncthreads();
    out += picture * s.out_picture;
    if (s.out_channel == 1 && OUT % 8 == 0) {
        for (u32 i = thread; i < PIXELS * (OUT / 8); i += THREADS) {
            const int mine = i / (OUT / 8), o = i % (OUT / 8) * 8;
            const int row = top + mine / TILE_COLUMNS, col = left + mine % TILE_COLUMNS;
            if (row < s.out_height && col < s.out_width)
                *(uint4*)(out + (row * s.out_width + col) * s.out_pixel + o) =
                    *(const uint4*)(a + mine * OUT_ROW + o);
        }
    } else {
        for (u32 i = thread; i < PIXELS * OUT; i += THREADS) {
            const int mine = i % PIXELS, o = i / PIXELS;
            const int row = top + mine / TILE_COLUMNS, col = left + mine % TILE_COLUMNS;
            if (row < s.out_height && col < s.out_width)
                out[(row * s.out_width + col) * s.out_pixel + o * s.out_channel] =
                    a[mine * OUT_ROW + o];
        }
    }
}
