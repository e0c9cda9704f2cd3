// Several channels of a pixel, read and written at once, and computed with in float.
//
// Given by the compiler's options: ELEMENT (see element.cu), VECTOR (8 of 16 bits, or 4 floats: 16
// bytes).

#define WORDS 4

struct __align__(16) Vector {
    u32 of[WORDS];
};

__device__ __forceinline__ int inside(int place, int length) {
    return max(0, place < length ? place : length - 1);
}

__device__ __forceinline__ void numbers(const Vector& from, float (&found)[VECTOR]) {
#pragma unroll
    for (int i = 0; i < WORDS; i++) {
#if ELEMENT == 0
        found[2 * i] = from_half((u16)from.of[i]);
        found[2 * i + 1] = from_half((u16)(from.of[i] >> 16));
#elif ELEMENT == 1
        found[2 * i] = from_bfloat((u16)from.of[i]);
        found[2 * i + 1] = from_bfloat((u16)(from.of[i] >> 16));
#else
        found[i] = __uint_as_float(from.of[i]);
#endif
    }
}

__device__ __forceinline__ Vector vector(const float (&from)[VECTOR]) {
    Vector found;
#pragma unroll
    for (int i = 0; i < WORDS; i++) {
#if ELEMENT == 0
        found.of[i] = halves(from[2 * i], from[2 * i + 1]);
#elif ELEMENT == 1
        found.of[i] = bfloats(from[2 * i], from[2 * i + 1]);
#else
        found.of[i] = __float_as_uint(from[i]);
#endif
    }
    return found;
}
