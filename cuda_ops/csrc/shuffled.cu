// Sub-pixels that are channels of a pixel, put where they belong: twice as many rows and columns.
//
// x: pixels × (2 rows × 2 columns × CHANNELS); found: four times as many pixels × CHANNELS. A thread
// moves 16 bytes. Options: CHANNELS, VECTOR, THREADS.

#define VECTORS (CHANNELS / VECTOR)

extern "C" __global__ void __launch_bounds__(THREADS)
shuffled(const Vector* __restrict__ x, Vector* __restrict__ found, int pictures, int height,
         int width) {
    const int i = (int)(blockIdx.x * THREADS + threadIdx.x);  // of found
    if (i >= pictures * height * width * 4 * VECTORS) return;
    const int part = i % VECTORS, column = i / VECTORS % (2 * width);
    const int row = i / VECTORS / (2 * width);  // of all pictures
    const int sub = row % 2 * 2 + column % 2;
    found[i] = x[((row / 2 * width + column / 2) * 4 + sub) * VECTORS + part];
}
