// Spots in pictures that lie group by group with zeros around them, as by_group.cu lays them: no
// border needs a rule, and what is read beside a pixel and below it is always there. A group's
// channels are read at once (VECTOR of them).

// Where the pixel (0, 0) of a group of a picture lies, in pixels from the first.
__device__ __forceinline__ u32 origin_of(const Shape& s, u32 group, u32 picture) {
    const u32 pitch = s.width + 2;
    return (group * s.pictures + picture) * ((s.height + 2) * pitch) + 2 * pitch + 2;
}

// As spot; its place is the pixel above left, in pixels from the first.
__device__ __forceinline__ Spot spot_in_planes(const Shape& s, const Wish& at, u32 origin) {
    // From two pixels before the picture and from the first one after it on all is zero.
    const float at_y = within(at.y, -2.f, (float)s.height);
    const float at_x = within(at.x, -2.f, (float)s.width);
    const int y = __float2int_rd(at_y), x = __float2int_rd(at_x);
    const float down = at_y - (float)y, right = at_x - (float)x;
    const float above = at.mask * (1.f - down), below = at.mask * down, back = 1.f - right;
    Spot found;
#if ELEMENT == 0
    found.weights.above = halves(above * back, above * right);
    found.weights.below = halves(below * back, below * right);
#else
    found.weights.of[0] = above * back;
    found.weights.of[1] = above * right;
    found.weights.of[2] = below * back;
    found.weights.of[3] = below * right;
#endif
    found.place = origin + (u32)(y * (s.width + 2) + x);
    return found;
}

// x is the first pixel. row_bytes: of a plane.
__device__ __forceinline__ Corners corners_in_planes(const Element* __restrict__ x, u32 place,
                                                     u32 row_bytes) {
    const Vector* const at = (const Vector*)x + place;
    const Vector* const below = (const Vector*)((const char*)at + row_bytes);
    return {at[0], at[1], below[0], below[1]};
}

__device__ __forceinline__ Vector blend_in_planes(const Corners& at, const Weights& weights) {
    return blend(at, weights, 4u);  // all of it is there
}
