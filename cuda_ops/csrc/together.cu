// How the blocks of one launch wait for each other; all of them must be running, see
// nvrtc.Kernel. tests/ops/together_on_cpu.h has a twin of it for running kernels without a GPU.

typedef unsigned int u32;
typedef unsigned long long u64;

// By one thread of each block, between barriers of the block: waits until `arrived` is `until`. What
// a block wrote before is there for those that waited: released here with all that its barrier saw,
// acquired there, where nothing older is read from the multiprocessor's cache then.
__device__ __forceinline__ void wait_for_blocks(u32* arrived, u32 until) {
    u32 now;
    asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(arrived) : "memory");
    do asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(now) : "l"(arrived) : "memory");
    while (now < until);
}
