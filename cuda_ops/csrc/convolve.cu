// The whole convolution in one kernel: what the taps see goes from shared memory into the tensor
// cores and is never written out. For halves and bfloat16; channels a multiple of CHUNK.
//
// Tap by tap, CHUNK channels at a time: sample a, fetch b, multiply. Both are doubled. So are the
// spots: those of the next tap are worked out before the barrier of this tap's last chunk.

#define WISHES ((PIXELS * GROUPS + THREADS - 1) / THREADS)
#define VECTORS (CHUNK / VECTOR)
#define SAMPLES ((PIXELS * VECTORS + THREADS - 1) / THREADS)
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
#define WEIGHTS_AT (B_END > OUT_BYTES ? B_END : OUT_BYTES)
#define PLACES_AT (WEIGHTS_AT + (2 * GROUPS * WEIGHTS_ROW * (int)sizeof(Weights) + 15) / 16 * 16)

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
    const Tile at = tile_of(s, blockIdx.x);
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
        const u32 row = at.top + pixel_of(j) / TILE_COLUMNS;
        const u32 col = at.left + pixel_of(j) % TILE_COLUMNS;
        const u32 pixel = row * s.out_width + col, which = group_of(j) * TAPS;
        offset_at[j] = 2 * which * s.offset_channel + pixel * s.offset_pixel;
        mask_at[j] = which * s.mask_channel + pixel * s.mask_pixel;
        const bool is_one =
            PIXELS * GROUPS % THREADS == 0 || thread + j * THREADS < PIXELS * GROUPS;
        wanted[j] = is_one && row < (u32)s.out_height && col < (u32)s.out_width;
    }
    offset += at.picture * s.offset_picture;
    mask += at.picture * s.mask_picture;
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
            look(s, wishes[j], at.top + mine / TILE_COLUMNS, at.left + mine % TILE_COLUMNS, tap);
            const Spot found = spot(wishes[j], at.picture, s.height, s.width);
            to_weights[group * WEIGHTS_ROW + mine] = found.weights;
            to_places[group * PLACES_ROW + mine] = found.place;
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

    Sums sums = {};
    fetch_kernel(b, kernel, 0, 0, 0);
    fetch_wishes();
    place_wishes(0);
    __syncthreads();
#pragma unroll 1
    for (int tap = 0, step = 0; tap < TAPS; tap++) {
#pragma unroll 1
        for (int chunk = 0; chunk < CHUNKS; chunk++, step++) {
            const bool last = chunk == CHUNKS - 1, go_on = last && tap < TAPS - 1;
            if (go_on) fetch_wishes();
            take_samples(tap, chunk, step);
            if (go_on) place_wishes(tap + 1);
            wait_for_copies();
            __syncthreads();
            if (step < STEPS - 1)
                fetch_kernel(b, kernel, step + 1, last ? tap + 1 : tap, last ? 0 : chunk + 1);
            multiply(sums, a + step % 2 * (PIXELS * ROW), b, step);
        }
    }
    write_result(s, sums, at, bias, out);
}
