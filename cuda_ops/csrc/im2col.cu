// What every tap sees, as rows for a product of matrices: pixels × (taps × channels).
//
// A block does TILE pixels with all taps: each spot is worked out once per tap and group, then
// neighbouring threads read neighbouring channels there. The rows of a tile are one run of memory.

#define SPOTS (TAPS * GROUPS)
#define VECTORS (CHANNELS / VECTOR)
#define PER_GROUP (GROUP_CHANNELS / VECTOR)

extern __shared__ uint4 shared_memory[];

extern "C" __global__ void __launch_bounds__(THREADS)
im2col(const Shape s, const Element* __restrict__ x, const Offset* __restrict__ offset,
       const Element* __restrict__ mask, Element* __restrict__ column) {
    Weights* const weights = (Weights*)shared_memory;
    u32* const places = (u32*)(weights + TILE * SPOTS);
    const int first = s.first + (int)blockIdx.x * TILE;
    const int count = s.end - first < TILE ? s.end - first : TILE;
    const int pixels = s.out_height * s.out_width;
    for (u32 i = threadIdx.x; i < TILE * SPOTS; i += THREADS) {
        // Neighbouring threads take what lies beside each other.
        const int which = OFFSET_LAST ? i % SPOTS : i / TILE;
        const int mine = OFFSET_LAST ? i / SPOTS : i % TILE;
        if (mine >= count) continue;
        const int group = which / TAPS, tap = which % TAPS;
        const int picture = (first + mine) / pixels, pixel = (first + mine) % pixels;
        Wish at = wish(s, offset + picture * s.offset_picture, mask + picture * s.mask_picture,
                       2 * which * s.offset_channel + pixel * s.offset_pixel,
                       which * s.mask_channel + pixel * s.mask_pixel);
        look(s, at, pixel / s.out_width, pixel % s.out_width, tap);
        const Spot found = spot(at, picture, s.height, s.width);
        const int slot = (mine * TAPS + tap) * GROUPS + group;
        weights[slot] = found.weights;
        places[slot] = found.place;
    }
    __syncthreads();
    column += (long long)(first - s.first) * (TAPS * CHANNELS);
    const u32 row_bytes = s.width * CHANNELS * (u32)sizeof(Element);
#pragma unroll 2
    for (u32 i = threadIdx.x; i < (u32)count * (TAPS * VECTORS); i += THREADS) {
        const u32 vector = i % VECTORS, slot = i / VECTORS * GROUPS + vector / PER_GROUP;
        const u32 place = places[slot];
        const Corners around = corners(x + vector * VECTOR, place, row_bytes);
        ((Vector*)column)[i] = blend(around, weights[slot], place);
    }
}
