// The whole convolution in one kernel, as convolve.cu, where a group's channels are read at once
// (VECTOR of them) from a picture that lies group by group (planes.cu).
//
// A thread has one pixel, and takes EACH groups of a chunk there: neighbouring threads then read at
// neighbouring pixels, which is a few lines of the cache a warp and not 32, and a spot is used by
// the thread that works it out. Offsets come tap by tap, each as the one before it is used up;
// where they and the mask lie pixel by pixel, a chunk's are turned round in shared memory first.
// a is doubled, unless a warp multiplies what it sampled itself and nobody else reads it.
// More options: STAGED (bytes that pixels' offsets and masks are aligned to, 4 at least, or 0 where
// they lie channel by channel).

#define CHUNK_GROUPS (CHUNK / VECTOR)
#define SHARES (THREADS / PIXELS)  // threads that have the same pixel
#define EACH (CHUNK_GROUPS / SHARES)
#define OWN (SHARES == 1 && WARP_COLUMNS == 1)

// Rows of pixels, one for each word of theirs, so far apart that no two of those that four threads
// of eight pixels write lie in one bank.
#define STAGED_ROW (PIXELS + 2)
#define OFFSET_WORDS (CHUNK_GROUPS * TAPS * 2 * (int)sizeof(Offset) / 4)
#define MASK_WORDS (CHUNK_GROUPS * TAPS / 2)

// Shared memory, in bytes from its beginning; cuda_ops/kernels.py adds up the same.
#define B_AT ((OWN ? 1 : 2) * PIXELS * ROW * 2)
#define B_END (B_AT + 2 * OUT_PADDED * ROW * 2)
#define STAGED_AT (B_END > OUT_BYTES ? B_END : OUT_BYTES)

static_assert(GROUP_CHANNELS == VECTOR, "a group is read at once");
static_assert(SHARES * PIXELS == THREADS && PIXELS % 32 == 0, "each warp has 32 pixels of a group");
static_assert(EACH * SHARES == CHUNK_GROUPS && EACH % TOGETHER == 0, "all groups are sampled");
static_assert(CHUNK_GROUPS % 2 == 0, "the mask comes in pairs");

// An offset and a mask as they lie, so that nothing waits for them before they are used.
struct Raw {
    Offset y, x;
    Element mask;
};

// The words of each pixel of the tile into rows: four threads read a pixel's.
template <int WORDS>
__device__ __forceinline__ void turn_round(u32* to, const char* from, const Shape& s,
                                           const Tile& tile, u32 pixel_bytes) {
    constexpr int AT_ONCE = WORDS % 4 == 0 && STAGED == 16  ? 4
                            : WORDS % 2 == 0 && STAGED >= 8 ? 2
                                                            : 1;
    struct alignas(AT_ONCE * 4) Piece {
        u32 of[AT_ONCE];
    };
    const int quarter = threadIdx.x % 4;
#pragma unroll 1
    for (int mine = threadIdx.x / 4; mine < PIXELS; mine += THREADS / 4) {
        const int row = min(tile.top + mine / TILE_COLUMNS, s.out_height - 1);
        const int col = min(tile.left + mine % TILE_COLUMNS, s.out_width - 1);
        const u32 pixel = row * s.out_width + col;
        const Piece* const pieces =
            (const Piece*)(from + (unsigned long long)pixel * pixel_bytes);
#pragma unroll
        for (int j = 0; j < (WORDS / AT_ONCE + 3) / 4; j++) {
            const int piece = j * 4 + quarter;
            if (piece >= WORDS / AT_ONCE) break;
            const Piece found = pieces[piece];
#pragma unroll
            for (int word = 0; word < AT_ONCE; word++)
                to[(piece * AT_ONCE + word) * STAGED_ROW + mine] = found.of[word];
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, MIN_BLOCKS)
convolve_by_group(const Shape s, const Element* __restrict__ x, const Offset* __restrict__ offset,
                  const Element* __restrict__ mask, const Element* __restrict__ kernel,
                  const Element* __restrict__ bias, Element* __restrict__ out) {
    char* const memory = (char*)shared_memory;
    u16* const a = (u16*)memory;
    u16* const b = (u16*)(memory + B_AT);
    u32* const offset_words = (u32*)(memory + STAGED_AT);
    u32* const mask_words = offset_words + OFFSET_WORDS * STAGED_ROW;

    const Tile tile = tile_of(s, blockIdx.x);
    const u32 row_bytes = (s.width + 2) * VECTOR_BYTES;
    const int mine = threadIdx.x % PIXELS, first = threadIdx.x / PIXELS * EACH;
    // A pixel outside of the result looks as its neighbour inside, and is not written.
    const int row = min(tile.top + mine / TILE_COLUMNS, s.out_height - 1);
    const int col = min(tile.left + mine % TILE_COLUMNS, s.out_width - 1);
    const u32 pixel = row * s.out_width + col;
    offset += tile.picture * s.offset_picture;
    mask += tile.picture * s.mask_picture;

#if STAGED
    auto stage = [&](int chunk) {
        const int which = chunk * (CHUNK_GROUPS * TAPS);
        turn_round<OFFSET_WORDS>(offset_words, (const char*)(offset + 2 * which), s, tile,
                                 s.offset_pixel * (u32)sizeof(Offset));
        turn_round<MASK_WORDS>(mask_words, (const char*)(mask + which), s, tile,
                               s.mask_pixel * (u32)sizeof(Element));
    };
    auto next_wish = [&](int j, int tap) -> Wish {
        const int which = (first + j) * TAPS + tap;
        const u32 masks = mask_words[which / 2 * STAGED_ROW + mine];
        const float weight = to_float((Element)(which % 2 ? masks >> 16 : masks));
#if OFFSET_FLOAT
        return {__uint_as_float(offset_words[2 * which * STAGED_ROW + mine]),
                __uint_as_float(offset_words[(2 * which + 1) * STAGED_ROW + mine]), weight};
#else
        const u32 both = offset_words[which * STAGED_ROW + mine];
        return {from_half((u16)both), from_half((u16)(both >> 16)), weight};
#endif
    };
#else
    Raw raw[EACH];
    // Where the first group's next ones lie. What leads to the others is the same for all threads.
    u32 offset_at = 2 * first * TAPS * s.offset_channel + pixel * s.offset_pixel;
    u32 mask_at = first * TAPS * s.mask_channel + pixel * s.mask_pixel;
    auto fetch_raw = [&](int j) {
        const Offset* const from = offset + (offset_at + 2 * j * TAPS * s.offset_channel);
        raw[j] = {read_once(from), read_once(from + s.offset_channel),
                  read_once(mask + (mask_at + j * TAPS * s.mask_channel))};
    };
    auto go_on_to = [&](int taps) {
        offset_at += 2 * taps * s.offset_channel;
        mask_at += taps * s.mask_channel;
    };
    auto next_wish = [&](int j, int tap) -> Wish {
        return {offset_to_float(raw[j].y), offset_to_float(raw[j].x), to_float(raw[j].mask)};
    };
#endif
    const u32 group_pixels = origin_of(s, 1, 0) - origin_of(s, 0, 0);
    u32 origin = origin_of(s, first, tile.picture);
    auto take_samples = [&](u16* to, int tap) {
#pragma unroll
        for (int j = 0; j < EACH; j += TOGETHER) {
            Weights weights[TOGETHER];
            Corners around[TOGETHER];
#pragma unroll
            for (int one = 0; one < TOGETHER; one++) {
                Wish at = next_wish(j + one, tap);
                look(s, at, row, col, tap);
                const Spot found = spot_in_planes(s, at, origin);
                weights[one] = found.weights;
                around[one] =
                    corners_in_planes(x, found.place + (j + one) * group_pixels, row_bytes);
#if !STAGED
                fetch_raw(j + one);
#endif
            }
#pragma unroll
            for (int one = 0; one < TOGETHER; one++)
                *(Vector*)(to + mine * ROW + (first + j + one) * VECTOR) =
                    blend_in_planes(around[one], weights[one]);
        }
    };

    Sums sums = {};
    fetch_kernel(b, kernel, 0, 0, 0);
#if !STAGED
#pragma unroll
    for (int j = 0; j < EACH; j++) fetch_raw(j);
#endif
#pragma unroll 1
    for (int chunk = 0, step = 0; chunk < CHUNKS; chunk++) {
#if STAGED
        stage(chunk);  // the one before it was used up before the last barrier
        __syncthreads();
#endif
#pragma unroll 1
        for (int tap = 0; tap < TAPS; tap++, step++) {
            const bool last = step == STEPS - 1, turns = tap == TAPS - 1;
            u16* const sampled = OWN ? a : a + step % 2 * (PIXELS * ROW);
#if !STAGED
            // After the last ones they are fetched again, and not used.
            go_on_to(last ? 0 : turns ? (CHUNK_GROUPS - 1) * TAPS + 1 : 1);
#endif
            take_samples(sampled, tap);
            wait_for_copies();
            __syncthreads();
            if (!last) fetch_kernel(b, kernel, step + 1, turns ? 0 : tap + 1, chunk + turns);
            multiply(sums, sampled, b, step);
            if (OWN) __syncwarp();
        }
        origin += CHUNK_GROUPS * group_pixels;
    }
    write_result(s, sums, tile, bias, out);
}
