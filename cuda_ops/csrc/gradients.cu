// Gradients of the picture, the offsets and the mask from those of the im2col rows.
//
// A block does TILE pixels; LANES neighbouring threads share a tap of a group and take its channels
// in turn, so that additions to the picture's gradient are to neighbouring places. The sums over
// channels are collected in shared memory and written pixel by pixel.

#define SPOTS (TAPS * GROUPS)
#define ALL_LANES 0xffffffffu

// Fractions, mask and which of the four pixels around are there: 1 above left, 2 above right, 4, 8.
struct __align__(16) Slope {
    float down, right, mask;
    u32 there;
};

extern __shared__ uint4 shared_memory[];

extern "C" __global__ void __launch_bounds__(THREADS)
gradients(const Shape s, const Element* __restrict__ x, const Offset* __restrict__ offset,
          const Element* __restrict__ mask, const Element* __restrict__ of_column,
          float* __restrict__ of_x, Offset* __restrict__ of_offset,
          Element* __restrict__ of_mask) {
    Slope* const slopes = (Slope*)shared_memory;
    int* const pixels_at = (int*)(slopes + TILE * SPOTS);
    float* const found = (float*)(pixels_at + TILE * SPOTS);  // 3 × SPOTS × TILE
    const int first = s.first + (int)blockIdx.x * TILE;
    const int count = s.end - first < TILE ? s.end - first : TILE;
    const int pixels = s.out_height * s.out_width;
    for (u32 i = threadIdx.x; i < TILE * SPOTS; i += THREADS) {
        const int which = OFFSET_LAST ? i % SPOTS : i / TILE;
        const int mine = OFFSET_LAST ? i / SPOTS : i % TILE;
        if (mine >= count) continue;
        const int group = which / TAPS, tap = which % TAPS;
        const int picture = (first + mine) / pixels, pixel = (first + mine) % pixels;
        Wish at = wish(s, offset + picture * s.offset_picture, mask + picture * s.mask_picture,
                       2 * which * s.offset_channel + pixel * s.offset_pixel,
                       which * s.mask_channel + pixel * s.mask_pixel);
        look(s, at, pixel / s.out_width, pixel % s.out_width, tap);
        const int y = __float2int_rd(at.y), col = __float2int_rd(at.x);
        const bool inside = (u32)y + 1u <= (u32)s.height && (u32)col + 1u <= (u32)s.width;
        u32 there = 0;
        if (inside) {
            if (y >= 0 && col >= 0) there |= 1u;
            if (y >= 0 && col < s.width - 1) there |= 2u;
            if (y < s.height - 1 && col >= 0) there |= 4u;
            if (y < s.height - 1 && col < s.width - 1) there |= 8u;
        }
        const int slot = (mine * TAPS + tap) * GROUPS + group;
        slopes[slot] = {at.y - (float)y, at.x - (float)col, at.mask, there};
        // Of the pixel above left, which may be outside; it is not read then.
        pixels_at[slot] = inside ? (picture * s.height + y) * s.width + col : 0;
    }
    __syncthreads();
    of_column += (long long)(first - s.first) * (TAPS * CHANNELS);
    const long long row_step = (long long)s.width * CHANNELS;
    const int lane = threadIdx.x % LANES;
    // Rounded up, so that all lanes of a warp come to each exchange.
    const int rounds = (count * SPOTS + THREADS / LANES - 1) / (THREADS / LANES);
    for (int round = 0; round < rounds; round++) {
        const int slot = round * (THREADS / LANES) + (int)threadIdx.x / LANES;
        float of_y = 0.f, of_col = 0.f, of_weight = 0.f;
        if (slot < count * SPOTS) {
            const Slope here = slopes[slot];
            const float down = here.down, right = here.right, up = 1.f - down, back = 1.f - right;
            const int group = slot % GROUPS;
            const Element* const pulls = of_column + (long long)(slot / GROUPS) * CHANNELS +
                                         group * GROUP_CHANNELS;
            const long long at = (long long)pixels_at[slot] * CHANNELS + group * GROUP_CHANNELS;
            if (here.there) {
                for (int i = lane; i < GROUP_CHANNELS; i += LANES) {
                    const Element* const from = x + at + i;
                    float a = 0.f, b = 0.f, c = 0.f, d = 0.f;
                    if (here.there & 1u) a = to_float(from[0]);
                    if (here.there & 2u) b = to_float(from[CHANNELS]);
                    if (here.there & 4u) c = to_float(from[row_step]);
                    if (here.there & 8u) d = to_float(from[row_step + CHANNELS]);
                    const float pull = to_float(pulls[i]), masked = pull * here.mask;
                    const float above = back * a + right * b, below = back * c + right * d;
                    of_weight += pull * (up * above + down * below);
                    of_y += masked * (below - above);
                    of_col += masked * (up * (b - a) + down * (d - c));
                    float* const to = of_x + at + i;
                    if (here.there & 1u) atomicAdd(to, masked * up * back);
                    if (here.there & 2u) atomicAdd(to + CHANNELS, masked * up * right);
                    if (here.there & 4u) atomicAdd(to + row_step, masked * down * back);
                    if (here.there & 8u) atomicAdd(to + row_step + CHANNELS, masked * down * right);
                }
            }
        }
#pragma unroll
        for (int other = LANES / 2; other > 0; other /= 2) {
            of_y += __shfl_xor_sync(ALL_LANES, of_y, other);
            of_col += __shfl_xor_sync(ALL_LANES, of_col, other);
            of_weight += __shfl_xor_sync(ALL_LANES, of_weight, other);
        }
        if (lane == 0 && slot < count * SPOTS) {
            const int tap = slot / GROUPS % TAPS, mine = slot / SPOTS;
            float* const to = found + (slot % GROUPS * TAPS + tap) * 3 * TILE + mine;
            to[0] = of_y;
            to[TILE] = of_col;
            to[2 * TILE] = of_weight;
        }
    }
    __syncthreads();
    // These are laid out picture by picture, channel by channel.
    for (u32 i = threadIdx.x; i < 3 * SPOTS * TILE; i += THREADS) {
        const int mine = i % TILE, kind = i / TILE % 3, which = i / (3 * TILE);
        if (mine >= count) continue;
        const long long picture = (first + mine) / pixels;
        const int pixel = (first + mine) % pixels;
        if (kind == 2)
            of_mask[(picture * SPOTS + which) * pixels + pixel] = to_element(found[i]);
        else
#if OFFSET_FLOAT
            of_offset[(picture * 2 * SPOTS + 2 * which + kind) * pixels + pixel] = found[i];
#else
            of_offset[(picture * 2 * SPOTS + 2 * which + kind) * pixels + pixel] =
                (Offset)halves(found[i], 0.f);
#endif
    }
}
