// Pictures from channel by channel to pixel by pixel: ELEMENT_BYTES, 64 channels × 64 pixels a block.

#if ELEMENT_BYTES == 2
typedef u16 Item;
#else
typedef u32 Item;
#endif

extern __shared__ uint4 shared_memory[];

extern "C" __global__ void __launch_bounds__(256)
channels_last(const Item* __restrict__ from, Item* __restrict__ to, int channels, int pixels) {
    Item(*const tile)[65] = (Item(*)[65])shared_memory;
    const int first_pixel = (int)blockIdx.x * 64, first_channel = (int)blockIdx.y * 64;
    const long long picture = (long long)blockIdx.z * channels * pixels;
    const int fast = threadIdx.x % 64, slow = threadIdx.x / 64;
#pragma unroll
    for (int i = slow; i < 64; i += 4)
        if (first_channel + i < channels && first_pixel + fast < pixels)
            tile[i][fast] =
                from[picture + (long long)(first_channel + i) * pixels + first_pixel + fast];
    __syncthreads();
#pragma unroll
    for (int i = slow; i < 64; i += 4)
        if (first_pixel + i < pixels && first_channel + fast < channels)
            to[picture + (long long)(first_pixel + i) * channels + first_channel + fast] =
                tile[fast][i];
}
