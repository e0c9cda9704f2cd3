// Runs a CUDA kernel on the CPU: included in place of cuda_ops/csrc/machine.cu, whose words it has.
//
// A block at a time, a fibre per thread. Each warp runs alone as far as the next barrier of the
// block, in an order drawn anew each time, so that a missing barrier shows: shared memory begins as
// NaN. Words of a whole warp wait for its 32 lanes. Copies that arrive later arrive when they are
// waited for. What this cannot see: banks, alignment, caches, races inside of a warp.

#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#define __device__
#define __global__
#define __forceinline__ inline
#define __shared__
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)

typedef unsigned short u16;
typedef unsigned int u32;

struct __align__(16) uint4 {
    u32 x, y, z, w;
};
struct Place {
    u32 x, y, z;
};

static Place threadIdx, blockIdx;
static const size_t SHARED = 232448;  // what a block may have on sm_90
uint4 shared_memory[SHARED / 16];

enum State { RUNNING, AT_BARRIER, AT_WARP, DONE };

struct Copy {
    void* to;
    const void* from;
    bool zeros;
};

const u32 THREADS_AT_MOST = 512, COPIES_AT_MOST = 64;
const size_t STACK = 1 << 17;

struct Fibre {
    ucontext_t context;
    char* stack;
    State state;
    u32 exchanges;  // words of a warp so far
    u32 given[2][6];
    const void* given_address[2];
    u32 copies_pending;
    Copy copies[COPIES_AT_MOST];
};

static Fibre fibres[THREADS_AT_MOST];
static ucontext_t scheduler;
static u32 current;
static void (*body)(void**);
static void** body_arguments;

static void fail(const char* what) {
    std::fprintf(stderr, "cuda_on_cpu: %s\n", what);
    std::abort();
}

static void enter() {
    body(body_arguments);
    fibres[current].state = DONE;
    swapcontext(&fibres[current].context, &scheduler);
}

static void wait(State state) {
    fibres[current].state = state;
    swapcontext(&fibres[current].context, &scheduler);
}

static void resume(u32 fibre) {
    current = fibre;
    threadIdx.x = fibre;
    fibres[fibre].state = RUNNING;
    swapcontext(&scheduler, &fibres[fibre].context);
}

static bool all(u32 first, u32 count, State state) {
    for (u32 i = first; i < first + count; i++)
        if (fibres[i].state != state) return false;
    return true;
}

static void run_block(u32 threads) {
    for (u32 i = 0; i < threads; i++) {
        Fibre& fibre = fibres[i];
        if (!fibre.stack) fibre.stack = (char*)std::malloc(STACK);
        getcontext(&fibre.context);
        fibre.context.uc_stack.ss_sp = fibre.stack;
        fibre.context.uc_stack.ss_size = STACK;
        fibre.context.uc_link = nullptr;
        makecontext(&fibre.context, enter, 0);
        fibre.state = AT_BARRIER;
        fibre.exchanges = 0;
        fibre.copies_pending = 0;
    }
    const u32 warps = threads / 32;
    u32 order[THREADS_AT_MOST / 32];
    for (u32 i = 0; i < warps; i++) order[i] = i;
    while (!all(0, threads, DONE)) {
        if (!all(0, threads, AT_BARRIER)) fail("some threads are done, others at a barrier");
        for (u32 i = warps; i > 1; i--) std::swap(order[i - 1], order[std::rand() % i]);
        for (u32 i = 0; i < warps; i++) {
            const u32 first = order[i] * 32;
            do
                for (u32 lane = 0; lane < 32; lane++) resume(first + lane);
            while (all(first, 32, AT_WARP));
            if (!all(first, 32, AT_BARRIER) && !all(first, 32, DONE)) fail("a warp fell apart");
        }
    }
}

template <class... Arguments, size_t... I>
static void call(void (*kernel)(Arguments...), void** arguments, std::index_sequence<I...>) {
    kernel(*(std::remove_const_t<Arguments>*)arguments[I]...);
}

template <class... Arguments>
static void call(void (*kernel)(Arguments...), void** arguments) {
    call(kernel, arguments, std::index_sequence_for<Arguments...>{});
}

static void run(void (*kernel)(void**), const u32* grid, u32 threads, u32 shared,
                void** arguments) {
    body = kernel;
    body_arguments = arguments;
    if (threads > THREADS_AT_MOST) fail("more threads than there are");
    if (shared > SHARED) fail("more shared memory than there is");
    for (blockIdx.z = 0; blockIdx.z < grid[2]; blockIdx.z++)
        for (blockIdx.y = 0; blockIdx.y < grid[1]; blockIdx.y++)
            for (blockIdx.x = 0; blockIdx.x < grid[0]; blockIdx.x++) {
                std::memset(shared_memory, 0xff, SHARED);
                run_block(threads);
                const unsigned char* bytes = (const unsigned char*)shared_memory;
                for (size_t i = shared; i < SHARED; i++)
                    if (bytes[i] != 0xff) fail("shared memory that was not asked for is written");
            }
}

// The language's own words.

static void __syncthreads() { wait(AT_BARRIER); }

static float __uint_as_float(u32 bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

// Downwards; the furthest there is for what is further, and 0 for NaN.
static int __float2int_rd(float value) {
    if (value != value) return 0;
    if (value >= 2147483648.f) return INT32_MAX;
    return value < -2147483648.f ? INT32_MIN : (int)std::floor(value);
}

static int max(int a, int b) { return a > b ? a : b; }

static u32 __float_as_uint(float value) {
    u32 bits;
    std::memcpy(&bits, &value, 4);
    return bits;
}

static float atomicAdd(float* to, float value) {
    const float before = *to;
    *to += value;
    return before;
}

static const Fibre& of_warp(u32 lane) { return fibres[current / 32 * 32 + lane]; }

// Waits for the warp; what each lane gave stays until all have taken it.
static u32 exchanged() {
    const u32 turn = fibres[current].exchanges++ % 2;
    wait(AT_WARP);
    return turn;
}

static float __shfl_xor_sync(u32, float value, u32 other) {
    Fibre& mine = fibres[current];
    mine.given[mine.exchanges % 2][0] = __float_as_uint(value);
    const u32 turn = exchanged();
    return __uint_as_float(of_warp((current % 32) ^ other).given[turn][0]);
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

static void copy_later(void* shared, const void* global, bool zeros) {
    if ((uintptr_t)shared % 16 || (uintptr_t)global % 16) fail("a copy is not aligned");
    Fibre& mine = fibres[current];
    if (mine.copies_pending == COPIES_AT_MOST) fail("more copies than there is room for");
    mine.copies[mine.copies_pending++] = {shared, global, zeros};
}

static void wait_for_copies() {
    Fibre& mine = fibres[current];
    for (u32 i = 0; i < mine.copies_pending; i++)
        if (mine.copies[i].zeros)
            std::memset(mine.copies[i].to, 0, 16);
        else
            std::memcpy(mine.copies[i].to, mine.copies[i].from, 16);
    mine.copies_pending = 0;
}

static void load_matrices(u32 (&found)[4], const void* shared) {
    Fibre& mine = fibres[current];
    if ((uintptr_t)shared % 16) fail("a row of a matrix is not aligned");
    mine.given_address[mine.exchanges % 2] = shared;
    const u32 lane = current % 32, turn = exchanged();
    for (u32 i = 0; i < 4; i++) {
        const char* row = (const char*)of_warp(i * 8 + lane / 4).given_address[turn];
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
    Fibre& mine = fibres[current];
    u32* given = mine.given[mine.exchanges % 2];
    for (u32 i = 0; i < 4; i++) given[i] = a[i];
    given[4] = b0, given[5] = b1;
    const u32 lane = current % 32, turn = exchanged();
    for (u32 i = 0; i < 4; i++) {
        const u32 row = lane / 4, column = lane % 4 * 2 + i % 2;
        for (u32 k = 0; k < 16; k++) {
            const u32* left = of_warp(row * 4 + k % 8 / 2).given[turn];
            const u32* right = of_warp(column * 4 + k % 8 / 2).given[turn];
            d[i] += to_number(left[i / 2 + k / 8 * 2], k % 2) * to_number(right[4 + k / 8], k % 2);
        }
    }
}
