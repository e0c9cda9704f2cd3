// Pictures of 16-bit numbers laid out group by group, eight channels each, with zeros around them:
// [group][picture][2 + height][2 + width][8], and three rows of zeros at the end.
// What is right of a row is left of the next one, what is below a picture above the next.
//
// A block does a part of a row, a thread a group of a pixel. FROM_LAST: they lie pixel by pixel.

#define CHANNELS (8 * GROUPS)

extern "C" __global__ void __launch_bounds__(THREADS)
by_group(const u16* __restrict__ from, uint4* __restrict__ to, int pictures, int height,
         int width) {
    const u32 i = blockIdx.y * THREADS + threadIdx.x, pitch = width + 2;
    const u32 group = FROM_LAST ? i % GROUPS : blockIdx.z, column = FROM_LAST ? i / GROUPS : i;
    const u32 rows = pictures * (height + 2);
    if (column >= pitch || (blockIdx.x >= rows && group != GROUPS - 1)) return;
    const u32 picture = blockIdx.x / (height + 2), row = blockIdx.x % (height + 2);
    uint4 found = {0, 0, 0, 0};
    if (row >= 2 && column >= 2 && blockIdx.x < rows) {
        const u32 pixel = (row - 2) * width + column - 2, pixels = height * width;
        from += (unsigned long long)picture * pixels * CHANNELS;
#if FROM_LAST
        found = *(const uint4*)(from + (unsigned long long)pixel * CHANNELS + group * 8);
#else
        from += (unsigned long long)group * 8 * pixels + pixel;
        u32 pairs[4];
#pragma unroll
        for (int pair = 0; pair < 4; pair++) {
            pairs[pair] = from[0] | (u32)from[pixels] << 16;
            from += 2ull * pixels;
        }
        found = {pairs[0], pairs[1], pairs[2], pairs[3]};
#endif
    }
    to[(unsigned long long)(group * rows + blockIdx.x) * pitch + column] = found;
}
