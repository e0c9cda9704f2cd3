// What the language has no words for, as inline PTX, so that no header is needed: sm_80 and newer.
// tests/ops/cuda_on_cpu.h has a twin of each for running the kernels without a GPU.

typedef unsigned short u16;
typedef unsigned int u32;

__device__ __forceinline__ float from_half(u16 value) {
    float found;
    asm("cvt.f32.f16 %0, %1;" : "=f"(found) : "h"(value));
    return found;
}

__device__ __forceinline__ float from_bfloat(u16 value) { return __uint_as_float((u32)value << 16); }

// Two numbers rounded into a word, the first one low.
__device__ __forceinline__ u32 halves(float low, float high) {
    u32 found;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(found) : "f"(high), "f"(low));
    return found;
}

__device__ __forceinline__ u32 bfloats(float low, float high) {
    u32 found;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(found) : "f"(high), "f"(low));
    return found;
}

// Products of pairs of halves, each rounded once.
__device__ __forceinline__ u32 multiply_halves(u32 a, u32 b) {
    u32 found;
    asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(found) : "r"(a), "r"(b));
    return found;
}

__device__ __forceinline__ u32 multiply_add_halves(u32 a, u32 b, u32 c) {
    u32 found;
    asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(found) : "r"(a), "r"(b), "r"(c));
    return found;
}

__device__ __forceinline__ u32 low_twice(u32 value) { return __byte_perm(value, value, 0x1010); }
__device__ __forceinline__ u32 high_twice(u32 value) { return __byte_perm(value, value, 0x3232); }

// Kept between two bounds; a value that is not a number stays one.
__device__ __forceinline__ float within(float value, float least, float most) {
    float found;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(found) : "f"(value), "f"(least));
    asm("min.NaN.f32 %0, %1, %2;" : "=f"(found) : "f"(found), "f"(most));
    return found;
}

// What is read by nobody else, and leaves room in the cache to others.
__device__ __forceinline__ u16 read_once(const u16* from) {
    u16 found;
    asm("ld.global.nc.L1::no_allocate.u16 %0, [%1];" : "=h"(found) : "l"(from));
    return found;
}

__device__ __forceinline__ float read_once(const float* from) {
    float found;
    asm("ld.global.nc.L1::no_allocate.f32 %0, [%1];" : "=f"(found) : "l"(from));
    return found;
}

// 16 bytes to shared memory that arrive later, or zeros; both ends aligned to 16.
__device__ __forceinline__ void copy_later(void* shared, const void* global, bool zeros) {
    const u32 there = (u32)__cvta_generic_to_shared(shared);
    const int bytes = zeros ? 0 : 16;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 ::"r"(there), "l"(global), "r"(bytes) : "memory");
}

// Waits for all copies that this thread asked for.
__device__ __forceinline__ void wait_for_copies() {
    asm volatile("cp.async.wait_all;" ::: "memory");
}

// Four 8×8 matrices of 16-bit numbers: lane l names row l % 8 of matrix l / 8, and gets of each
// matrix the pair of columns l % 4 in row l / 4.
__device__ __forceinline__ void load_matrices(u32 (&found)[4], const void* shared) {
    const u32 there = (u32)__cvta_generic_to_shared(shared);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(found[0]), "=r"(found[1]), "=r"(found[2]), "=r"(found[3])
                 : "r"(there) : "memory");
}

// d += a·b by the warp: 16×16 times 16×8, in halves or bfloats, summed in float.
__device__ __forceinline__ void multiply_matrices(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
#if ELEMENT == 1
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
#else
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
#endif
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
