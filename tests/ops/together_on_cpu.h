// Runs the kernels of the prior on the CPU: included in place of cuda_ops/csrc/together.cu, whose
// words it has.

#include "fibres.h"

struct alignas(16) float4 {
    float x, y, z, w;
};

static u32 __ballot_sync(u32, bool value) {
    giving()[0] = value;
    const u32 turn = exchanged();
    u32 found = 0;
    for (u32 lane = 0; lane < 32; lane++) found |= (u32)given_by(lane, turn)[0] << lane;
    return found;
}

static int __ffs(u32 bits) { return __builtin_ffs((int)bits); }
static int __popc(u32 bits) { return __builtin_popcount(bits); }
static float rsqrtf(float value) { return 1.f / std::sqrt(value); }
static float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

// That of together.cu.
static void wait_for_blocks(u32* arrived, u32 until) {
    ++*arrived;
    wait(AT_OTHERS);
    if (*arrived < until) fail("blocks do not come together");
}
