// How many pixels of each 8×8 tile are unknown, and what there is among each 64 pixels in raster
// order: known ones, and 128 for background and 256 for foreground among them. A warp for each.

extern "C" __global__ void __launch_bounds__(THREADS)
tally(const float* __restrict__ known, int height, int width, int bits, int across, int tiles,
      int* __restrict__ unknown, int* __restrict__ among) {
    const int which = (int)(blockIdx.x * (THREADS / 32) + threadIdx.x / 32), lane = threadIdx.x % 32;
    const int size = height * width;
    if (blockIdx.y == 0) {
        if (which >= tiles) return;
        int found = 0;
        for (int half = 0; half < 2; half++) {
            const int at = pixel_of_tile(which, half * 32 + lane, bits, across, height, width);
            const float value = at < 0 ? 0.f : known[at];
            found += __popc(__ballot_sync(ALL_LANES, value > 0.f && value < 1.f));
        }
        if (lane == 0) unknown[which] = found;
        return;
    }
    if (which >= (size + 63) / 64) return;
    int found = 0, classes = 0;
    for (int half = 0; half < 2; half++) {
        const int at = which * 64 + half * 32 + lane;
        const float value = at < size ? known[at] : 0.5f;
        found += __popc(__ballot_sync(ALL_LANES, !(value > 0.f && value < 1.f)));
        if (__ballot_sync(ALL_LANES, value == 0.f)) classes |= 128;
        if (__ballot_sync(ALL_LANES, value == 1.f)) classes |= 256;
    }
    if (lane == 0) among[which] = found | classes;
}
