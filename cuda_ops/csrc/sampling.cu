// Where a tap looks, and what is there: shared by all kernels of the operator.
//
// Given by the compiler's options: ELEMENT (of the picture, see element.cu), OFFSET_FLOAT (offsets:
// 1 float, 0 half), OFFSET_LAST (offsets lie channels innermost), CHANNELS, GROUPS, KERNEL_ROWS,
// KERNEL_COLUMNS, VECTOR (channels that are read at once; it divides the channels of a group).

#define TAPS (KERNEL_ROWS * KERNEL_COLUMNS)
#define GROUP_CHANNELS (CHANNELS / GROUPS)

#if OFFSET_FLOAT
typedef float Offset;
#else
typedef u16 Offset;
#endif

// As cuda_ops/kernels.py has it. Offsets, mask and result may lie in either layout: steps are in
// elements from picture to picture, channel to channel and pixel to pixel.
struct Shape {
    long long offset_picture, mask_picture, out_picture;
    int offset_channel, offset_pixel, mask_channel, mask_pixel, out_channel, out_pixel;
    int height, width, out_height, out_width;
    int stride, padding, dilation;
    int first, end;  // pixels of all pictures, as far as they are wanted
    int pictures;
};

__device__ __forceinline__ float offset_to_float(Offset value) {
#if OFFSET_FLOAT
    return value;
#else
    return from_half(value);
#endif
}

// Where a tap looks: its offset, and later its place with it; and its mask.
struct Wish {
    float y, x, mask;
};

// offset and mask are those of the picture; steps inside of one fit into 32 bits.
__device__ __forceinline__ Wish wish(const Shape& s, const Offset* offset, const Element* mask,
                                     u32 offset_at, u32 mask_at) {
    return {offset_to_float(offset[offset_at]), offset_to_float(offset[offset_at + s.offset_channel]),
            to_float(mask[mask_at])};
}

// Moves a wish from the tap's place without offset to where it looks.
__device__ __forceinline__ void look(const Shape& s, Wish& at, int row, int column, int tap) {
    // Whole numbers: exact up to the last addition.
    at.y += (float)(row * s.stride - s.padding) + (float)(tap / KERNEL_COLUMNS * s.dilation);
    at.x += (float)(column * s.stride - s.padding) + (float)(tap % KERNEL_COLUMNS * s.dilation);
}

// The four weights of the pixels around, the mask in them: above left, above right, below.
#if ELEMENT == 0
struct __align__(8) Weights {
    u32 above, below;
};
#else
struct __align__(16) Weights {
    float of[4];
};
#endif

// A position that is used: the pixel above left << 3, that the ones below (2) and right (1) of it
// are others, and that any of them is in the picture (4). Around a border what is outside has no
// weight, and what is read in its place is its neighbour inside. A position that is not a number
// weighs NaN: it counts as 0 where whole numbers are made of it, and its fractions are NaN.
struct Spot {
    Weights weights;
    u32 place;
};

__device__ __forceinline__ Spot spot(const Wish& at, int picture, int height, int width) {
    const int y = __float2int_rd(at.y), x = __float2int_rd(at.x);
    float down = at.y - (float)y, right = at.x - (float)x;
    float up = 1.f - down, back = 1.f - right;
    const bool inside = (u32)y + 1u <= (u32)height && (u32)x + 1u <= (u32)width;
    if (y < 0) up = 0.f;
    if (x < 0) back = 0.f;
    if (y >= height - 1) down = 0.f;
    if (x >= width - 1) right = 0.f;
    const float above = at.mask * up, below = at.mask * down, nothing = at.mask * 0.f;
    Spot found;
#if ELEMENT == 0
    const u32 zeros = halves(nothing, nothing);
    found.weights.above = inside ? halves(above * back, above * right) : zeros;
    found.weights.below = inside ? halves(below * back, below * right) : zeros;
#else
    found.weights.of[0] = inside ? above * back : nothing;
    found.weights.of[1] = inside ? above * right : nothing;
    found.weights.of[2] = inside ? below * back : nothing;
    found.weights.of[3] = inside ? below * right : nothing;
#endif
    const u32 pixel = (u32)((picture * height + max(y, 0)) * width + max(x, 0));
    const u32 others = ((u32)y < (u32)(height - 1) ? 2u : 0u) | ((u32)x < (u32)(width - 1) ? 1u : 0u);
    found.place = inside ? pixel << 3 | 4u | others : 0u;
    return found;
}

// VECTOR numbers, read and written at once.
#define VECTOR_BYTES (VECTOR * (ELEMENT == 2 ? 4 : 2))
#if VECTOR_BYTES == 2
struct Vector {
    u16 of[1];
};
#else
struct __align__(VECTOR_BYTES) Vector {
    u32 of[VECTOR_BYTES / 4];
};
#endif

// The four pixels around a spot.
struct Corners {
    Vector a, b, c, d;
};

// x is the first picture, channels innermost, moved on to this thread's. row_bytes: of a picture.
__device__ __forceinline__ Corners corners(const Element* __restrict__ x, u32 place,
                                           u32 row_bytes) {
    const char* const at =
        (const char*)x + (unsigned long long)(place >> 3) * (CHANNELS * (u32)sizeof(Element));
    const u32 right = place & 1u ? CHANNELS * (u32)sizeof(Element) : 0u;
    const u32 down = place & 2u ? row_bytes : 0u;
    return {*(const Vector*)at, *(const Vector*)(at + right), *(const Vector*)(at + down),
            *(const Vector*)(at + down + right)};
}

// What is at a spot: the corners weighted, or zeros outside, whatever was read in their place.
__device__ __forceinline__ Vector blend(const Corners& at, const Weights& weights, u32 place) {
    const Vector &a = at.a, &b = at.b, &c = at.c, &d = at.d;
    const bool inside = place & 4u;
    Vector found;
#if ELEMENT == 0 && VECTOR_BYTES > 2
    const u32 wa = low_twice(weights.above), wb = high_twice(weights.above);
    const u32 wc = low_twice(weights.below), wd = high_twice(weights.below);
#pragma unroll
    for (int i = 0; i < VECTOR_BYTES / 4; i++) {
        u32 sum = multiply_halves(a.of[i], wa);
        sum = multiply_add_halves(b.of[i], wb, sum);
        sum = multiply_add_halves(c.of[i], wc, sum);
        sum = multiply_add_halves(d.of[i], wd, sum);
        found.of[i] = inside ? sum : wa;
    }
#elif ELEMENT == 0
    const float wa = from_half((u16)weights.above), wb = from_half((u16)(weights.above >> 16));
    const float wc = from_half((u16)weights.below), wd = from_half((u16)(weights.below >> 16));
    const float sum = from_half(a.of[0]) * wa + from_half(b.of[0]) * wb +
                      from_half(c.of[0]) * wc + from_half(d.of[0]) * wd;
    found.of[0] = (u16)halves(inside ? sum : wa, 0.f);
#elif ELEMENT == 1
    const float* w = weights.of;
#pragma unroll
    for (int i = 0; i < (VECTOR + 1) / 2; i++) {
        // A bfloat16 is the upper half of a float.
        float low = __uint_as_float((u32)a.of[i] << 16) * w[0];
        low += __uint_as_float((u32)b.of[i] << 16) * w[1];
        low += __uint_as_float((u32)c.of[i] << 16) * w[2];
        low += __uint_as_float((u32)d.of[i] << 16) * w[3];
        if (!inside) low = w[0];
#if VECTOR > 1
        float high = __uint_as_float(a.of[i] & 0xffff0000u) * w[0];
        high += __uint_as_float(b.of[i] & 0xffff0000u) * w[1];
        high += __uint_as_float(c.of[i] & 0xffff0000u) * w[2];
        high += __uint_as_float(d.of[i] & 0xffff0000u) * w[3];
        if (!inside) high = w[0];
        found.of[i] = bfloats(low, high);
#else
        found.of[i] = (u16)bfloats(low, 0.f);
#endif
    }
#else
    const float* w = weights.of;
#pragma unroll
    for (int i = 0; i < VECTOR; i++) {
        float sum = __uint_as_float(a.of[i]) * w[0];
        sum += __uint_as_float(b.of[i]) * w[1];
        sum += __uint_as_float(c.of[i]) * w[2];
        sum += __uint_as_float(d.of[i]) * w[3];
        found.of[i] = __float_as_uint(inside ? sum : w[0]);
    }
#endif
    return found;
}
