// Preconditioned conjugate gradients, all of it in one launch: its blocks wait for each other.
//
// Source: A. Chronopoulos, C. Gear, "s-step iterative methods for symmetric linear systems", J.
// Comput. Appl. Math. 25, 1989: one iteration is a product with the system, and the sums of its
// dot products are waited for together. As in Y. Notay, "Flexible Conjugate Gradients", SIAM J. Sci.
// Comput. 22, 2000, directions are made conjugate by what K·p is, not by what it should be: the
// preconditioner is rounded. What one block writes and others read lies in plain memory; `together`
// orders that. All sums are added in one order: results are the same in every run.
//
// The preconditioner adds what is found pixel by pixel and, of ever larger tiles, by functions that
// are linear in colour: tiles of 8, 16 and 32 pixels each for itself (Jacobi), the largest ones
// together (a dense inverse). Source: J. Bramble, J. Pasciak, J. Xu, "Parallel multilevel
// preconditioners", Math. Comp. 55, 1990; with the functions that the matting Laplacian is nearly
// blind to in place of theirs.

struct Problem {
    int count;         // unknown pixels
    int blocks;        // of this launch
    int areas;         // tiles of 32×32
    int largest;       // tiles that the inverse is about
    int bits;          // halvings from them to an area
    int limit;         // iterations
    float tolerance;   // of the residual as the preconditioner measures it, against that of x = 0
    float weight;      // of a join of look-alikes
    const float* weights;  // STENCIL each, and the next four: the system
    const int* others;
    const int* ends;       // ALIKE each, `count` = none
    const int* incoming;   // count + 1: where its joins from others begin in `sources`
    const int* sources;
    const float* tied;
    const float* right;
    const float4* colours;  // less the tile's mean; then 1 / diagonal
    const int* starts;      // first pixel of each 8×8 tile, 16 · areas + 1
    const float4* means8;
    const float4* means16;
    const float4* means32;
    const float4* means_largest;
    const float* inverses8;  // 16 each
    const float* inverses16;
    const float* inverses32;
    const float* inverse;  // (4 · largest)²
    float* x;
    float* residual;
    float* along;          // p and K·p of the literature
    float* along_image;
    float* guess;          // the residual preconditioned
    float* guess_image;
    float* moments8;       // of the residual, 4 each
    float* moments16;
    float* moments32;
    double* energies;      // of each block: guess · residual, guess · K·guess, guess · K·along
    u32* arrived;          // begins as 0
    float* outcome;        // iterations, relative residual
};

// Waits for all threads of all blocks. Fences on both sides, also for what caches hold.
__device__ __forceinline__ void together(const Problem& p, u32& turn) {
    __syncthreads();
    turn += (u32)p.blocks;
    if (threadIdx.x == 0) wait_for_blocks(p.arrived, turn);
    __syncthreads();
}

__device__ __forceinline__ void shift(float (&moment)[4], const float4& from, const float4& to) {
    moment[1] += (from.x - to.x) * moment[0];
    moment[2] += (from.y - to.y) * moment[0];
    moment[3] += (from.z - to.z) * moment[0];
}

// One of a tile's four moments from those of the four tiles in it.
__device__ __forceinline__ void gather(const float* smaller, const float4* smaller_means,
                                       float* larger, const float4* larger_means, int tile,
                                       int which) {
    float sum = 0.f;
    const float4 mean = larger_means[tile];
#pragma unroll
    for (int child = 4 * tile; child < 4 * tile + 4; child++) {
        const float4 m = smaller_means[child];
        const float away = which == 1 ? m.x - mean.x : which == 2 ? m.y - mean.y : m.z - mean.z;
        sum += smaller[4 * child + which];
        if (which) sum += away * smaller[4 * child];
    }
    larger[4 * tile + which] = sum;
}

// Σ over the residual in each tile of the block's areas; `update` changes it before.
template <class Update>
__device__ __forceinline__ void moments(const Problem& p, Update update) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    for (int area = (int)blockIdx.x; area < p.areas; area += p.blocks) {
        if (p.starts[16 * area] == p.starts[16 * area + 16]) continue;  // theirs stay 0
        for (int tile = 16 * area + warp; tile < 16 * area + 16; tile += THREADS / 32) {
            float sum[4] = {0.f, 0.f, 0.f, 0.f};
            for (int i = p.starts[tile] + lane; i < p.starts[tile + 1]; i += 32) {
                const float r = update(i);
                p.residual[i] = r;
                const float4 c = p.colours[i];
                sum[0] += r, sum[1] += r * c.x, sum[2] += r * c.y, sum[3] += r * c.z;
            }
#pragma unroll
            for (int k = 0; k < 4; k++) sum[k] = warp_sum(sum[k]);
            if (lane < 4)
                p.moments8[4 * tile + lane] =
                    lane == 0 ? sum[0] : lane == 1 ? sum[1] : lane == 2 ? sum[2] : sum[3];
        }
        __syncthreads();
        const int which = threadIdx.x % 4;
        if (threadIdx.x < 16)
            gather(p.moments8, p.means8, p.moments16, p.means16, 4 * area + (int)threadIdx.x / 4,
                   which);
        __syncthreads();
        if (threadIdx.x < 4) gather(p.moments16, p.means16, p.moments32, p.means32, area, which);
    }
}

// The sums of a block's threads of COUNT values, by its first ones, `stride` apart.
template <int COUNT>
__device__ __forceinline__ void add_up(const float (&values)[COUNT], float* shared, double* to,
                                       int stride) {
#pragma unroll
    for (int k = 0; k < COUNT; k++) {
        const float value = warp_sum(values[k]);
        if (threadIdx.x % 32 == 0) shared[k * (THREADS / 32) + threadIdx.x / 32] = value;
    }
    __syncthreads();
    if (threadIdx.x < COUNT) {
        double sum = 0;
        for (int i = 0; i < THREADS / 32; i++)
            sum += (double)shared[threadIdx.x * (THREADS / 32) + i];
        to[threadIdx.x * stride] = sum;
    }
    __syncthreads();
}

// The sums of what blocks have left in `energies`, the same in all threads; a warp for each.
__device__ __forceinline__ void of_all(const Problem& p, double (&found)[3], double* shared) {
    const int lane = threadIdx.x % 32;
    for (int k = threadIdx.x / 32; k < 3; k += THREADS / 32) {
        double sum = 0;
#pragma unroll 4
        for (int i = lane; i < p.blocks; i += 32) sum += p.energies[k * p.blocks + i];
#pragma unroll
        for (int other = 16; other > 0; other /= 2) sum += __shfl_xor_sync(ALL_LANES, sum, other);
        if (lane == 0) shared[k] = sum;
    }
    __syncthreads();
    for (int k = 0; k < 3; k++) found[k] = shared[k];
    __syncthreads();
}

// A tile's answer of four, in every lane: its inverse times its moments.
__device__ __forceinline__ void answer(const float* inverses, const float* of_residual, int tile,
                                       float (&found)[4]) {
    const int lane = threadIdx.x % 16;
    float value = inverses[16 * tile + lane] * of_residual[4 * tile + lane % 4];
    value += __shfl_xor_sync(ALL_LANES, value, 1);
    value += __shfl_xor_sync(ALL_LANES, value, 2);
#pragma unroll
    for (int k = 0; k < 4; k++) found[k] = __shfl_sync(ALL_LANES, value, 4 * k);
}

// A function of a larger tile, told from a smaller one's mean.
__device__ __forceinline__ void add_larger(float (&to)[4], const float (&f)[4], const float4& larger,
                                           const float4& smaller) {
    to[0] += f[0] + f[1] * (smaller.x - larger.x) + f[2] * (smaller.y - larger.y) +
             f[3] * (smaller.z - larger.z);
    to[1] += f[1], to[2] += f[2], to[3] += f[3];
}

// guess = M·residual for the block's areas; leaves guess · residual in energies.
__device__ __forceinline__ void precondition(const Problem& p, float* shared) {
    float* const top = shared;                   // 4 each
    float* const top_answer = top + 4 * p.largest;  // 4
    float* const sums = top_answer + 4;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, rank = 4 * p.largest;
    const int inside = 1 << 2 * p.bits;  // areas in a largest tile
    for (int tile = threadIdx.x; tile < p.largest; tile += THREADS) {
        float sum[4] = {0.f, 0.f, 0.f, 0.f};
        const float4 mean = p.means_largest[tile];
        for (int area = tile * inside; area < (tile + 1) * inside; area++) {
            float moment[4];
            for (int k = 0; k < 4; k++) moment[k] = p.moments32[4 * area + k];
            shift(moment, p.means32[area], mean);
            for (int k = 0; k < 4; k++) sum[k] += moment[k];
        }
        for (int k = 0; k < 4; k++) top[4 * tile + k] = sum[k];
    }
    __syncthreads();
    float energy = 0.f;
    for (int area = (int)blockIdx.x; area < p.areas; area += p.blocks) {
        if (p.starts[16 * area] == p.starts[16 * area + 16]) continue;
        const int largest = area / inside;
        for (int k = warp; k < 4; k += THREADS / 32) {
            const float* const row = p.inverse + (long long)(4 * largest + k) * rank;
            float sum = 0.f;
            for (int i = lane; i < rank; i += 32) sum += row[i] * top[i];
            sum = warp_sum(sum);
            if (lane == 0) top_answer[k] = sum;
        }
        __syncthreads();
        for (int tile = 16 * area + warp; tile < 16 * area + 16; tile += THREADS / 32) {
            float f32[4], f16[4], f8[4];
            answer(p.inverses32, p.moments32, area, f32);
            answer(p.inverses16, p.moments16, tile / 4, f16);
            answer(p.inverses8, p.moments8, tile, f8);
            const float all[4] = {top_answer[0], top_answer[1], top_answer[2], top_answer[3]};
            add_larger(f32, all, p.means_largest[largest], p.means32[area]);
            add_larger(f16, f32, p.means32[area], p.means16[tile / 4]);
            add_larger(f8, f16, p.means16[tile / 4], p.means8[tile]);
            for (int i = p.starts[tile] + lane; i < p.starts[tile + 1]; i += 32) {
                const float4 c = p.colours[i];
                const float r = p.residual[i];
                const float found = r * c.w + f8[0] + f8[1] * c.x + f8[2] * c.y + f8[3] * c.z;
                p.guess[i] = found;
                energy += found * r;
            }
        }
        __syncthreads();
    }
    add_up({energy}, sums, p.energies + blockIdx.x, 0);
}

// image = K·from, eight threads a row; leaves from · image and from · along_image in energies.
__device__ __forceinline__ void multiply(const Problem& p, const float* from, float* image,
                                         float* shared) {
    const int at_once = p.blocks * (THREADS / 8), lane = threadIdx.x % 8;
    float energy = 0.f, before = 0.f;
    for (int some = 0; some < p.count; some += at_once) {
        const int row = some + (int)blockIdx.x * (THREADS / 8) + (int)threadIdx.x / 8;
        float sum = 0.f, alike = 0.f, mine = 0.f;
        if (row < p.count) {
            mine = from[row];
#pragma unroll
            for (int i = lane; i < STENCIL; i += 8)
                sum += p.weights[(long long)row * STENCIL + i] *
                       (mine - from[p.others[(long long)row * STENCIL + i]]);
#pragma unroll 4
            for (int i = lane; i < ALIKE; i += 8) {
                const int other = p.ends[(long long)row * ALIKE + i];
                if (other < p.count) alike += mine - from[other];
            }
            for (int i = p.incoming[row] + lane; i < p.incoming[row + 1]; i += 8)
                alike += mine - from[p.sources[i]];
            sum += p.weight * alike;
        }
#pragma unroll
        for (int other = 4; other > 0; other /= 2)
            sum += __shfl_xor_sync(ALL_LANES, sum, other);
        if (row < p.count && lane == 0) {
            sum += p.tied[row] * mine;
            image[row] = sum;
            energy += sum * mine;
            before += p.along_image[row] * mine;
        }
    }
    add_up({energy, before}, shared, p.energies + p.blocks + blockIdx.x, p.blocks);
}

extern "C" __global__ void __launch_bounds__(THREADS, 2) descend(const Problem p) {
    float* const shared = (float*)shared_memory;
    double* const sums = (double*)(shared + 4 * p.largest + 4 + 2 * (THREADS / 32));
    double found[3];
    u32 turn = 0;
    const int threads = p.blocks * THREADS, me = (int)(blockIdx.x * THREADS + threadIdx.x);
    moments(p, [&](int i) {
        p.along_image[i] = 0.f;
        return p.right[i];
    });
    for (int i = me; i < p.count; i += threads) p.x[i] = 0.5f;
    together(p, turn);
    precondition(p, shared);
    multiply(p, p.x, p.guess_image, shared);
    together(p, turn);
    of_all(p, found, sums);
    const double whole = found[0];
    moments(p, [&](int i) {
        p.along[i] = 0.f;
        return p.right[i] - p.guess_image[i];
    });
    together(p, turn);
    double energy = 0, stiffness = 0;  // of the residual, and along · K·along
    int iteration = 0;
    for (;;) {
        precondition(p, shared);
        together(p, turn);
        multiply(p, p.guess, p.guess_image, shared);
        together(p, turn);
        of_all(p, found, sums);
        energy = found[0];
        const double image = found[1], before = found[2];
        if (!(energy > (double)p.tolerance * p.tolerance * whole) || iteration == p.limit) break;
        const double back = iteration ? -before / stiffness : 0;
        stiffness = image + back * before;
        if (!(stiffness > 0)) break;  // rounding has the better of it
        iteration++;
        const float b = (float)back, step = (float)(energy / stiffness);
        moments(p, [=](int i) {
            const float d = p.guess[i] + b * p.along[i], q = p.guess_image[i] + b * p.along_image[i];
            p.along[i] = d;
            p.along_image[i] = q;
            p.x[i] += step * d;
            return p.residual[i] - step * q;
        });
        together(p, turn);
    }
    if (me == 0) {
        p.outcome[0] = (float)iteration;
        p.outcome[1] = (float)sqrt(energy > 0 && whole > 0 ? energy / whole : 0);
    }
}
