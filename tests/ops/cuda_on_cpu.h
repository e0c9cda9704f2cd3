// Runs the operator's kernels on the CPU: included in place of cuda_ops/csrc/machine.cu, whose words
// it has. Copies that arrive later arrive when they are waited for; alignment is looked at.

#include "fibres.h"

#include <cstdint>

typedef unsigned short u16;

// Downwards; the furthest there is for what is further, and 0 for NaN.
static int __float2int_rd(float value) {
    if (value != value) return 0;
    if (value >= 2147483648.f) return INT32_MAX;
    return value < -2147483648.f ? INT32_MIN : (int)std::floor(value);
}

static int max(int a, int b) { return a > b ? a : b; }
static int min(int a, int b) { return a < b ? a : b; }

static float atomicAdd(float* to, float value) {
    const float before = *to;
    *to += value;
    return before;
}

// Those of machine.cu.

static float from_half(u16 bits) {
    _Float16 value;
    std::memcpy(&value, &bits, 2);
    return (float)value;
}

static float from_bfloat(u16 bits) { return __uint_as_float((u32)bits << 16); }

static u32 to_half(float value) {
    const _Float16 rounded = (_Float16)value;
    u16 bits;
    std::memcpy(&bits, &rounded, 2);
    return bits;
}

static u32 to_bfloat(float value) {
    const u32 bits = __float_as_uint(value);
    if (value != value) return 0x7fff;
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

static u32 halves(float low, float high) { return to_half(low) | to_half(high) << 16; }
static u32 bfloats(float low, float high) { return to_bfloat(low) | to_bfloat(high) << 16; }

static u32 multiply_add_halves(u32 a, u32 b, u32 c) {
    return halves(from_half(a) * from_half(b) + from_half(c),
                  from_half(a >> 16) * from_half(b >> 16) + from_half(c >> 16));
}

static u32 multiply_halves(u32 a, u32 b) { return multiply_add_halves(a, b, 0); }
static u32 low_twice(u32 value) { return (value & 0xffff) | value << 16; }
static u32 high_twice(u32 value) { return value >> 16 | (value & 0xffff0000u); }

static float within(float value, float least, float most) {
    return value < least ? least : value > most ? most : value;
}

static u16 read_once(const u16* from) { return *from; }
static float read_once(const float* from) { return *from; }

static void copy_later(void* shared, const void* global, bool zeros) {
    if ((uintptr_t)shared % 16 || (uintptr_t)global % 16) fail("a copy is not aligned");
    block->fibres[current].copies.push_back({shared, global, zeros});
}

static void wait_for_copies() {
    std::vector<Copy>& copies = block->fibres[current].copies;
    for (const Copy& one : copies)
        if (one.zeros)
            std::memset(one.to, 0, 16);
        else
            std::memcpy(one.to, one.from, 16);
    copies.clear();
}

static void load_matrices(u32 (&found)[4], const void* shared) {
    if ((uintptr_t)shared % 16) fail("a row of a matrix is not aligned");
    giving()[0] = (u64)shared;
    const u32 lane = current % 32, turn = exchanged();
    for (u32 i = 0; i < 4; i++) {
        const char* row = (const char*)given_by(i * 8 + lane / 4, turn)[0];
        std::memcpy(&found[i], row + lane % 4 * 4, 4);
    }
}

static float to_number(u32 pair, u32 which) {
    const u16 bits = (u16)(which ? pair >> 16 : pair);
#if ELEMENT == 1
    return from_bfloat(bits);
#else
    return from_half(bits);
#endif
}

static void multiply_matrices(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    u32* given = (u32*)giving();
    for (u32 i = 0; i < 4; i++) given[i] = a[i];
    given[4] = b0, given[5] = b1;
    const u32 lane = current % 32, turn = exchanged();
    for (u32 i = 0; i < 4; i++) {
        const u32 row = lane / 4, column = lane % 4 * 2 + i % 2;
        for (u32 k = 0; k < 16; k++) {
            const u32* left = (const u32*)given_by(row * 4 + k % 8 / 2, turn);
            const u32* right = (const u32*)given_by(column * 4 + k % 8 / 2, turn);
            d[i] += to_number(left[i / 2 + k / 8 * 2], k % 2) * to_number(right[4 + k / 8], k % 2);
        }
    }
}
