// Numbers the unknown pixels tile by tile, and lists the pixels that are searched for look-alikes:
// those, and of the known ones in raster order every `step`-th. A warp for 64 of either.

extern "C" __global__ void __launch_bounds__(THREADS)
number(const float* __restrict__ known, int height, int width, int bits, int across, int tiles,
       const int* __restrict__ starts, const int* __restrict__ begins, int count, int step,
       int* __restrict__ pixels, int* __restrict__ numbers, int* __restrict__ places) {
    const int which = (int)(blockIdx.x * (THREADS / 32) + threadIdx.x / 32), lane = threadIdx.x % 32;
    const int size = height * width;
    const bool searched = blockIdx.y == 1;
    if (which >= (searched ? (size + 63) / 64 : tiles)) return;
    int rank = searched ? begins[which] : starts[which];
    for (int half = 0; half < 2; half++) {
        const int within = half * 32 + lane;
        int at = which * 64 + within;
        if (!searched) at = pixel_of_tile(which, within, bits, across, height, width);
        else if (at >= size) at = -1;
        const float value = at < 0 ? 0.f : known[at];
        const bool open = value > 0.f && value < 1.f, mine = at >= 0 && open != searched;
        const u32 all = __ballot_sync(ALL_LANES, mine);
        const int number = rank + __popc(all & ((1u << lane) - 1));
        rank += __popc(all);
        if (searched) {
            if (mine && number % step == 0) places[count + number / step] = at;
        } else if (at >= 0) {
            numbers[at] = open ? number : -1;
            if (open) pixels[number] = places[number] = at;
        }
    }
}
