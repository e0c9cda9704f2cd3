// A number of a picture or a map: ELEMENT 0 is half, 1 bfloat16, 2 float. Computed with in float.

#if ELEMENT == 2
typedef float Element;
#else
typedef u16 Element;
#endif

__device__ __forceinline__ float to_float(Element value) {
#if ELEMENT == 0
    return from_half(value);
#elif ELEMENT == 1
    return from_bfloat(value);
#else
    return value;
#endif
}

__device__ __forceinline__ Element to_element(float value) {
#if ELEMENT == 0
    return (Element)halves(value, 0.f);
#elif ELEMENT == 1
    return (Element)bfloats(value, 0.f);
#else
    return value;
#endif
}
