// The pixels nearest to each unknown one in colour and place, exactly; a warp for each pixel along the
// curve, so that those that run together look into the same boxes.
//
// Lanes hold the nearest so far, sorted. Boxes of pixels that lie together on a curve (boxes.cu)
// are left out when no pixel in them can be nearer: their least distance is computed step by step
// as a pixel's own is, so that it cannot be rounded above it. Of equal distances the pixel that
// comes first in the frame wins.

struct Search {
    const float* along;
    const int* place_along;
    float at[5];
    int padded, self, kept, lane;
};

__device__ __forceinline__ u64 from_lane(u64 value, int lane) {
    return __shfl_sync(ALL_LANES, value, lane);
}

__device__ __forceinline__ u64 least_of_box(const Search& s, const float* boxes, int count, int box) {
    float sum = 0.f;
#pragma unroll
    for (int axis = 0; axis < 5; axis++) {
        const float below = boxes[axis * count + box] - s.at[axis];
        const float above = s.at[axis] - boxes[(5 + axis) * count + box];
        const float gap = fmaxf(fmaxf(below, above), 0.f);
        sum = fmaf(gap, gap, sum);
    }
    return (u64)__float_as_uint(sum) << 32;
}

// The 32 pixels of a box.
__device__ __forceinline__ void look_through(const Search& s, int box, u64& mine, u64& limit) {
    const int at = box * 32 + s.lane, place = s.place_along[at];
    float sum = 0.f;
#pragma unroll
    for (int axis = 0; axis < 5; axis++) {
        const float gap = s.along[axis * s.padded + at] - s.at[axis];
        sum = fmaf(gap, gap, sum);
    }
    const u64 key = (u64)__float_as_uint(sum) << 32 | (u32)place;
    u32 nearer = __ballot_sync(ALL_LANES, place >= 0 && place != s.self && key < limit);
    while (nearer) {
        const u64 one = from_lane(key, __ffs(nearer) - 1);
        nearer &= nearer - 1;
        if (one >= limit) continue;
        const u64 before = __shfl_up_sync(ALL_LANES, mine, 1);
        if (mine > one) mine = s.lane > 0 && before > one ? before : one;
        limit = from_lane(mine, s.kept - 1);
    }
}

// The 32 boxes of a large box, but those from `first` to `last`.
__device__ __forceinline__ void look_into(const Search& s, const float* small, int large, int first,
                                          int last, u64& mine, u64& limit) {
    const u64 least = least_of_box(s, small, s.padded / 32, large * 32 + s.lane);
    u32 open = __ballot_sync(ALL_LANES, least <= limit);
    while (open) {
        const int which = __ffs(open) - 1, box = large * 32 + which;
        open &= open - 1;
        if ((box < first || box > last) && from_lane(least, which) <= limit)
            look_through(s, box, mine, limit);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
neighbours(int count, const int* __restrict__ number, const float* __restrict__ known,
           const float* __restrict__ along, const int* __restrict__ place_along,
           const float* __restrict__ small, const float* __restrict__ large, int groups,
           int* __restrict__ places, int* __restrict__ ends, float* __restrict__ to_known) {
    const int begin = (int)(blockIdx.x * (THREADS / 32) + threadIdx.x / 32);
    const int second = (int)blockIdx.y;
    Search s;
    s.lane = threadIdx.x % 32;
    s.padded = groups * 1024;
    if (begin >= s.padded) return;
    s.kept = second ? SECOND : FIRST;
    s.along = along + (long long)second * 5 * s.padded;
    s.place_along = place_along + (long long)second * s.padded;
    s.self = s.place_along[begin];
    const int query = s.self < 0 ? -1 : number[s.self];
    if (query < 0) return;  // none, or known
    small += (long long)second * 10 * (s.padded / 32);
    large += (long long)second * 10 * groups;
#pragma unroll
    for (int axis = 0; axis < 5; axis++) s.at[axis] = s.along[axis * s.padded + begin];
    u64 mine = ~0ull, limit = ~0ull;
    const int home = begin / 1024, first = begin / 32 > 0 ? begin / 32 - 1 : 0;
    const int last = begin / 32 + 1 < s.padded / 32 ? begin / 32 + 1 : s.padded / 32 - 1;
    look_through(s, begin / 32, mine, limit);
    if (first < begin / 32) look_through(s, first, mine, limit);
    if (last > begin / 32) look_through(s, last, mine, limit);
    look_into(s, small, home, first, last, mine, limit);
    for (int some = 0; some < groups; some += 32) {
        const int one = some + s.lane;
        const u64 least = one < groups ? least_of_box(s, large, groups, one) : ~0ull;
        u32 open = __ballot_sync(ALL_LANES, one < groups && one != home && least <= limit);
        while (open) {
            const int which = __ffs(open) - 1;
            open &= open - 1;
            if (from_lane(least, which) <= limit)
                look_into(s, small, some + which, first, last, mine, limit);
        }
    }
    const bool found = s.lane < s.kept && mine != ~0ull;
    const int place = found ? (int)(u32)mine : -1, end = found ? number[place] : -1;
    const bool ended = found && end < 0;
    const u32 all_known = __ballot_sync(ALL_LANES, ended);
    const u32 foreground = __ballot_sync(ALL_LANES, ended && known[place < 0 ? 0 : place] == 1.f);
    if (s.lane < s.kept) {
        const long long to = (long long)query * ALIKE + (second ? FIRST : 0) + s.lane;
        places[to] = place;
        ends[to] = end < 0 ? count : end;
    }
    if (s.lane == 0) {
        to_known[(second * 2 + 0) * (long long)count + query] = (float)__popc(all_known);
        to_known[(second * 2 + 1) * (long long)count + query] = (float)__popc(foreground);
    }
}
