// Runs CUDA kernels on the CPU: the language's words, for headers that stand in for the first file
// of a kernel's source (cuda_on_cpu.h, together_on_cpu.h).
//
// A fibre per thread. Each block runs alone as far as it waits for others, each warp as far as the
// block's next barrier, in orders drawn anew each time, so that a missing wait shows: shared memory
// begins as NaN. Words of a whole warp wait for its 32 lanes. What this cannot see: banks, caches,
// fences, races inside of a warp.

#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#define __device__
#define __global__
#define __forceinline__ inline
#define __shared__
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)

typedef unsigned int u32;
typedef unsigned long long u64;

struct alignas(16) uint4 {
    u32 x, y, z, w;
};
struct Place {
    u32 x, y, z;
};

static Place threadIdx, blockIdx;
static const size_t SHARED = SHARED_BYTES;  // what a block may have
static const size_t STACK = STACK_BYTES;    // of a thread
uint4 shared_memory[SHARED / 16];

enum State { RUNNING, AT_BARRIER, AT_WARP, AT_OTHERS, DONE };

struct Copy {
    void* to;
    const void* from;
    bool zeros;
};

struct Fibre {
    ucontext_t beginning;
    jmp_buf place;  // where it waits, once it has begun
    bool begun;
    std::unique_ptr<char[]> stack;
    State state;
    u32 exchanges;  // words of a warp so far
    u64 given[2][3];
    std::vector<Copy> copies;  // asked for, to arrive later
};

struct Block {
    std::vector<Fibre> fibres;
    std::vector<char> shared;
    Place at;
    bool done;
};

static Block* block;
static jmp_buf scheduler;
static u32 current;
static void (*body)(void**);
static void** body_arguments;

static void fail(const char* what) {
    std::fprintf(stderr, "on the CPU: %s\n", what);
    std::abort();
}

// From fibre to fibre by jumps: swapcontext asks the system for signals each time, which took as
// long as all of the kernels.
static void go_on(Fibre& fibre) {
    if (_setjmp(scheduler)) return;
    if (fibre.begun) _longjmp(fibre.place, 1);
    fibre.begun = true;
    setcontext(&fibre.beginning);
}

static void enter() {
    body(body_arguments);
    block->fibres[current].state = DONE;
    _longjmp(scheduler, 1);
}

static void wait(State state) {
    Fibre& fibre = block->fibres[current];
    fibre.state = state;
    if (!_setjmp(fibre.place)) _longjmp(scheduler, 1);
}

static void begin(Block& one, Place at, u32 threads, u32 shared) {
    one.fibres.resize(threads);
    one.shared.assign(shared, (char)0xff);
    one.at = at;
    one.done = false;
    for (Fibre& fibre : one.fibres) {
        if (!fibre.stack) fibre.stack.reset(new char[STACK]);
        getcontext(&fibre.beginning);
        fibre.beginning.uc_stack.ss_sp = fibre.stack.get();
        fibre.beginning.uc_stack.ss_size = STACK;
        fibre.beginning.uc_link = nullptr;
        makecontext(&fibre.beginning, enter, 0);
        fibre.begun = false;
        fibre.state = AT_BARRIER;
        fibre.exchanges = 0;
        fibre.copies.clear();
    }
}

// A warp as far as its next barrier, or only that thread of it that waited for other blocks.
static State run_warp(u32 first) {
    for (;;) {
        bool some = false, exchanging = true;
        for (u32 i = first; i < first + 32; i++)
            some |= block->fibres[i].state == AT_OTHERS;
        for (u32 i = first; i < first + 32; i++) {
            if (some && block->fibres[i].state != AT_OTHERS) continue;
            current = threadIdx.x = i;
            block->fibres[i].state = RUNNING;
            go_on(block->fibres[i]);
        }
        for (u32 i = first; i < first + 32; i++)
            exchanging &= block->fibres[i].state == AT_WARP;
        if (exchanging) continue;
        State found = block->fibres[first + 31].state;
        for (u32 i = first; i < first + 32; i++) {
            const State one = block->fibres[i].state;
            if (one == AT_OTHERS) found = AT_OTHERS;
            else if (one != block->fibres[first + 31].state) fail("a warp fell apart");
        }
        return found;
    }
}

// A block until it is done or waits for others.
static void run_on(Block& one) {
    block = &one;
    blockIdx = one.at;
    std::memset(shared_memory, 0xff, SHARED);
    std::memcpy(shared_memory, one.shared.data(), one.shared.size());
    std::vector<u32> order;
    bool waiting = false;
    for (const Fibre& fibre : one.fibres) waiting |= fibre.state == AT_OTHERS;
    for (;;) {
        order.clear();
        for (u32 first = 0; first < one.fibres.size(); first += 32)
            for (u32 i = first; i < first + 32; i++)
                if (!waiting || one.fibres[i].state == AT_OTHERS) {
                    order.push_back(first);
                    break;
                }
        for (size_t i = order.size(); i > 1; i--) std::swap(order[i - 1], order[std::rand() % i]);
        u32 done = 0, others = 0;
        for (u32 first : order) {
            const State state = run_warp(first);
            done += state == DONE, others += state == AT_OTHERS;
        }
        waiting = false;
        if (others) break;
        one.done = done == one.fibres.size() / 32;
        if (one.done) break;
        if (done) fail("some threads are done, others at a barrier");
    }
    std::memcpy(one.shared.data(), shared_memory, one.shared.size());
    const unsigned char* bytes = (const unsigned char*)shared_memory;
    for (size_t i = one.shared.size(); i < SHARED; i++)
        if (bytes[i] != 0xff) fail("shared memory that was not asked for is written");
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
                void** arguments, int together) {
    body = kernel;
    body_arguments = arguments;
    if (shared > SHARED) fail("more shared memory than there is");
    if (!together) {
        Block one;
        for (u32 z = 0; z < grid[2]; z++)
            for (u32 y = 0; y < grid[1]; y++)
                for (u32 x = 0; x < grid[0]; x++) {
                    begin(one, {x, y, z}, threads, shared);
                    run_on(one);
                    if (!one.done) fail("blocks wait that are not together");
                }
        return;
    }
    std::vector<Block> blocks(grid[0]);
    for (u32 i = 0; i < grid[0]; i++) begin(blocks[i], {i, 0, 0}, threads, shared);
    std::vector<Block*> order;
    for (Block& one : blocks) order.push_back(&one);
    for (size_t left = order.size(); left;) {
        for (size_t i = order.size(); i > 1; i--) std::swap(order[i - 1], order[std::rand() % i]);
        left = 0;
        for (Block* one : order) {
            if (!one->done) run_on(*one);
            left += !one->done;
        }
        if (left && left < order.size()) fail("some blocks are done, others wait for them");
    }
}

// The language's own words.

static void __syncthreads() { wait(AT_BARRIER); }

static float __uint_as_float(u32 bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

static u32 __float_as_uint(float value) {
    u32 bits;
    std::memcpy(&bits, &value, 4);
    return bits;
}

// A warp exchanges what each of its lanes gives: first `giving` is filled, then all come to
// `exchanged`, then each reads from others what was given in that turn.
static u64 (&giving())[3] {
    Fibre& mine = block->fibres[current];
    return mine.given[mine.exchanges % 2];
}

static u32 exchanged() {
    const u32 turn = block->fibres[current].exchanges++ % 2;
    wait(AT_WARP);
    return turn;
}

static void __syncwarp() { exchanged(); }

static const u64 (&given_by(u32 lane, u32 turn))[3] {
    return block->fibres[current / 32 * 32 + lane % 32].given[turn];
}

template <class T>
static T exchanged(T value, u32 lane) {
    u64& given = giving()[0];
    given = 0;
    std::memcpy(&given, &value, sizeof value);
    const u32 turn = exchanged();
    T found;
    std::memcpy(&found, &given_by(lane, turn)[0], sizeof found);
    return found;
}

template <class T>
static T __shfl_sync(u32, T value, int lane) {
    return exchanged(value, (u32)lane);
}

template <class T>
static T __shfl_xor_sync(u32, T value, int other) {
    return exchanged(value, current ^ (u32)other);
}

template <class T>
static T __shfl_up_sync(u32, T value, u32 by) {
    return exchanged(value, current % 32 < by ? current : current - by);
}
