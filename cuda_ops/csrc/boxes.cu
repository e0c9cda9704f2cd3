// Pixels along the curve, and the boxes that hold 32 and 1024 of them.
//
// A block does 1024 pixels of one search. Of each search, with `padded` pixels: `along` 5 × padded,
// `small` 2 × 5 × padded / 32, `large` 2 × 5 × padded / 1024: least values, then greatest.

extern "C" __global__ void __launch_bounds__(1024)
boxes(const float* __restrict__ picture, const int* __restrict__ places,
      const long long* __restrict__ order, int count, int size, int width, double first_spread,
      double second_spread, float* __restrict__ along, int* __restrict__ place_along,
      float* __restrict__ small, float* __restrict__ large) {
    float* const of_warps = (float*)shared_memory;  // 10 × 32
    const int second = (int)blockIdx.y, groups = (count + 1023) / 1024, padded = groups * 1024;
    const int at = (int)(blockIdx.x * 1024 + threadIdx.x);
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const double spread = second ? second_spread : first_spread;
    const bool there = at < count;
    along += (long long)second * 5 * padded;
    small += (long long)second * 10 * (padded / 32);
    large += (long long)second * 10 * groups;
    int place = 0;
    if (there) place = places[order[(long long)second * count + at] - (long long)second * count];
    place_along[(long long)second * padded + at] = there ? place : -1;
#pragma unroll
    for (int axis = 0; axis < 5; axis++) {
        const float value = axis < 3 ? picture[axis * size + place]
                                     : (float)(spread * (axis == 3 ? place % width : place / width) / width);
        const float none = __uint_as_float(0x7f800000u);
        along[axis * padded + at] = there ? value : none;
        float least = there ? value : none, most = there ? value : -none;
#pragma unroll
        for (int other = 16; other > 0; other /= 2) {
            least = fminf(least, __shfl_xor_sync(ALL_LANES, least, other));
            most = fmaxf(most, __shfl_xor_sync(ALL_LANES, most, other));
        }
        if (lane == 0) {
            small[axis * (padded / 32) + at / 32] = of_warps[axis * 32 + warp] = least;
            small[(5 + axis) * (padded / 32) + at / 32] = of_warps[(5 + axis) * 32 + warp] = most;
        }
    }
    __syncthreads();
    if (warp < 10) {
        float found = of_warps[warp * 32 + lane];
#pragma unroll
        for (int other = 16; other > 0; other /= 2) {
            const float theirs = __shfl_xor_sync(ALL_LANES, found, other);
            found = warp < 5 ? fminf(found, theirs) : fmaxf(found, theirs);
        }
        if (lane == 0) large[warp * groups + blockIdx.x] = found;
    }
}
