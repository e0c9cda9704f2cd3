// Where each tile's unknown pixels begin, and the known ones of each 64 in raster order; one block
// for each. The first one also lists the tiles of 32×32 with unknown pixels.

// `put` is told of each what `of` it comes before it; returns the sum of all.
template <class Of, class Put>
__device__ __forceinline__ int scanned(int count, int* shared, Of of, Put put) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const int each = (count + THREADS - 1) / THREADS, first = (int)threadIdx.x * each;
    const int last = first + each < count ? first + each : count;
    int sum = 0;
    for (int i = first; i < last; i++) sum += of(i);
    int before = sum;
#pragma unroll
    for (int by = 1; by < 32; by *= 2) {
        const int other = __shfl_up_sync(ALL_LANES, before, by);
        if (lane >= by) before += other;
    }
    if (lane == 31) shared[warp] = before;
    __syncthreads();
    before -= sum;
    int all = 0;
    for (int i = 0; i < THREADS / 32; i++) {
        if (i < warp) before += shared[i];
        all += shared[i];
    }
    for (int i = first; i < last; i++) {
        const int one = of(i);
        put(i, before);
        before += one;
    }
    __syncthreads();
    return all;
}

extern "C" __global__ void __launch_bounds__(THREADS)
scan(const int* __restrict__ unknown, int tiles, const int* __restrict__ among, int some,
      int* __restrict__ starts, int* __restrict__ opened, int* __restrict__ begins,
      int* __restrict__ totals) {
    int* const shared = (int*)shared_memory;  // THREADS / 32
    if (blockIdx.x == 0) {
        const int count = scanned(
            tiles, shared, [=](int i) { return unknown[i]; },
            [=](int i, int before) { starts[i] = before; });
        if (threadIdx.x == 0) starts[tiles] = totals[0] = count;
        __syncthreads();
        const auto open = [=](int i) { return (int)(starts[16 * i] < starts[16 * i + 16]); };
        const int areas = scanned(tiles / 16, shared, open, [=](int i, int before) {
            if (open(i)) opened[before] = i;
        });
        if (threadIdx.x == 0) totals[1] = areas;
        return;
    }
    const int count = scanned(
        some, shared, [=](int i) { return among[i] & 127; },
        [=](int i, int before) { begins[i] = before; });
    const int background = scanned(
        some, shared, [=](int i) { return (int)((among[i] & 128) > 0); }, [](int, int) {});
    const int foreground = scanned(
        some, shared, [=](int i) { return (int)((among[i] & 256) > 0); }, [](int, int) {});
    if (threadIdx.x == 0) totals[2] = count, totals[3] = background, totals[4] = foreground;
}
