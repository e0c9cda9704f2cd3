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
//
// An iteration is not arithmetic but waiting for memory, again and again: what does not depend on
// each other is asked for before any of it is needed, and blocks keep their rows of the system in
// shared memory if those fit, which leaves the cache to the vector that is read at random.

typedef unsigned short u16;

#define WARPS (THREADS / 32)
#define LANES 4               // that share a row of the system
#define AT_ONCE (48 / LANES)  // joins from others that a lane asks for before it adds them up

struct Problem {
    int count;         // unknown pixels
    int blocks;        // of this launch
    int areas;         // tiles of 32×32
    int open;          // of them, with unknown pixels
    int largest;       // tiles that the inverse is about
    int bits;          // halvings from them to an area
    int limit;         // iterations
    int room;          // bytes of shared memory for what a block keeps of the system
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
    const int* opened;      // areas with unknown pixels
    const float4* means8;
    const float4* means16;
    const float4* means32;
    const float4* means_largest;
    const float* inverses8;  // 16 each
    const float* inverses16;
    const float* inverses32;
    const float4* inverse;  // (4 · largest)² numbers
    float* x;
    float* residual;
    float* along;          // p and K·p of the literature
    float* along_image;
    float* guess;          // the residual preconditioned
    float* guess_image;
    float* moments8;       // of the residual, 4 each
    float* moments16;
    float* moments32;
    double* energies;      // of each block: guess · residual, guess · K·along, guess · K·guess
    u32* arrived;          // begins as 0
    float* outcome;        // iterations, relative residual
};

// A block's rows of the system, counted from its first one.
template <class Index>
struct Rows {
    const float* weights;
    const Index* others;
    const Index* ends;
    const int* incoming;
    const Index* sources;
};

// A lane's two pixels of a tile, fewer at its end: the first, and how many are there from it on.
struct Pair {
    int first, left;
};

struct Ahead {
    Pair pair;
    float residual[2], along[2], along_image[2], guess[2], guess_image[2], x[2];
    float4 colours[2];
};

// Waits for all threads of all blocks.
__device__ __forceinline__ void together(const Problem& p, u32& turn) {
    __syncthreads();
    turn += (u32)p.blocks;
    if (threadIdx.x == 0) wait_for_blocks(p.arrived, turn);
    __syncthreads();
}

// The sums of a block's threads of COUNT values, a warp for each, for all blocks to read.
template <int COUNT>
__device__ __forceinline__ void add_up(const Problem& p, const float (&values)[COUNT],
                                       float* shared, double* to) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll
    for (int k = 0; k < COUNT; k++) {
        const float value = warp_sum(values[k]);
        if (lane == 0) shared[k * WARPS + warp] = value;
    }
    __syncthreads();
    if (warp >= COUNT) return;
    const float sum = warp_sum(lane < WARPS ? shared[warp * WARPS + lane] : 0.f);
    if (lane == 0) to[warp * p.blocks + blockIdx.x] = (double)sum;
}

// The sums of what blocks have left in `energies`, the same in all threads: each warp adds them up.
__device__ __forceinline__ void of_all(const Problem& p, double (&found)[3]) {
    found[0] = found[1] = found[2] = 0;
    for (int some = threadIdx.x % 32; some < p.blocks; some += 32 * 5) {
        double one[3][5];
#pragma unroll
        for (int k = 0; k < 3; k++)
#pragma unroll
            for (int i = 0; i < 5; i++)
                one[k][i] =
                    some + 32 * i < p.blocks ? p.energies[k * p.blocks + some + 32 * i] : 0.;
#pragma unroll
        for (int k = 0; k < 3; k++)
#pragma unroll
            for (int i = 0; i < 5; i++) found[k] += one[k][i];
    }
#pragma unroll
    for (int k = 0; k < 3; k++)
#pragma unroll
        for (int other = 16; other > 0; other /= 2)
            found[k] += __shfl_xor_sync(ALL_LANES, found[k], other);
}

__device__ __forceinline__ Pair pair_of(const Problem& p, int tile) {
    const int first = p.starts[tile] + (int)threadIdx.x % 32;
    return {first, p.starts[tile + 1] - first};
}

// Asks for what is known of two pixels; what nobody uses of it is not read.
__device__ __forceinline__ Ahead ask(const Problem& p, const Pair& pair) {
    Ahead own;
    own.pair = pair;
#pragma unroll
    for (int k = 0; k < 2; k++) {
        const int i = pair.first + 32 * k;
        const bool there = 32 * k < pair.left;
        own.colours[k] = there ? p.colours[i] : make_float4(0.f, 0.f, 0.f, 0.f);
        own.residual[k] = there ? p.residual[i] : 0.f;
        own.along[k] = there ? p.along[i] : 0.f;
        own.along_image[k] = there ? p.along_image[i] : 0.f;
        own.guess[k] = there ? p.guess[i] : 0.f;
        own.guess_image[k] = there ? p.guess_image[i] : 0.f;
        own.x[k] = there ? p.x[i] : 0.f;
    }
    return own;
}

// Of a tile's four moments one, from those of the four tiles in it.
__device__ __forceinline__ float gathered(const float* smaller, const float (&away)[4], int which) {
    float sum = 0.f;
#pragma unroll
    for (int child = 0; child < 4; child++) {
        sum += smaller[4 * child + which];
        if (which) sum += away[child] * smaller[4 * child];
    }
    return sum;
}

// How far the four tiles in one are away from it in the colour that a moment is about.
__device__ __forceinline__ void set_off(const float4* smaller, const float4* larger, int tile,
                                        int which, float (&away)[4]) {
    const int colour = which ? which - 1 : 0;
    const float mean = ((const float*)(larger + tile))[colour];
#pragma unroll
    for (int child = 0; child < 4; child++)
        away[child] = ((const float*)(smaller + 4 * tile + child))[colour] - mean;
}

// What a block knows of its first area from beginning to end; most blocks have no other.
struct Area {
    int number;
    Pair pair;                  // in the warp's first tile
    float away8[4], away16[4];  // how far the tiles of 8 and 16 are away from those that they are in
};

__device__ __forceinline__ Area area_of(const Problem& p, int number) {
    const int which = threadIdx.x % 4, tile = 4 * number + (int)threadIdx.x / 4 % 4;
    Area area;
    area.number = number;
    area.pair = pair_of(p, 16 * number + (int)threadIdx.x / 32 % 16);
    set_off(p.means8, p.means16, tile, which, area.away8);
    set_off(p.means16, p.means32, number, which, area.away16);
    return area;
}

// Σ over the residual in each tile of the block's areas; `update` changes it before. `own` was asked
// for by each warp for its first tile.
template <class Update>
__device__ __forceinline__ void moments(const Problem& p, Area area, Ahead own, float* shared,
                                        Update update) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, which = lane % 4;
    float* const of8 = shared;         // 4 each
    float* const of16 = of8 + 4 * 16;  // 4 each
    for (int one = (int)blockIdx.x; one < p.open; one += p.blocks) {
        if (one != (int)blockIdx.x) {
            area = area_of(p, p.opened[one]);
            own = ask(p, area.pair);
            __syncthreads();
        }
        for (int within = warp; within < 16; within += WARPS) {
            const int tile = 16 * area.number + within;
            if (within != warp) own = ask(p, pair_of(p, tile));
            float sum[4] = {0.f, 0.f, 0.f, 0.f};
#pragma unroll
            for (int k = 0; k < 2; k++) {
                if (32 * k >= own.pair.left) continue;
                const int i = own.pair.first + 32 * k;
                const float r = update(own, k, i);
                const float4 c = own.colours[k];
                p.residual[i] = r;
                sum[0] += r, sum[1] += r * c.x, sum[2] += r * c.y, sum[3] += r * c.z;
            }
#pragma unroll
            for (int k = 0; k < 4; k++) sum[k] = warp_sum(sum[k]);
            if (lane < 4)
                p.moments8[4 * tile + lane] = of8[4 * within + lane] =
                    lane == 0 ? sum[0] : lane == 1 ? sum[1] : lane == 2 ? sum[2] : sum[3];
        }
        __syncthreads();
        if (warp != 0) continue;
        const float of_tile = gathered(of8 + lane / 4 % 4 * 16, area.away8, which);
        if (lane < 16) p.moments16[16 * area.number + lane] = of16[lane] = of_tile;
        __syncwarp();
        const float of_area = gathered(of16, area.away16, which);
        if (lane < 4) p.moments32[4 * area.number + lane] = of_area;
    }
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

// The answers of all tiles that hold a tile but the largest one, told from its mean.
__device__ __forceinline__ void answers(const Problem& p, int tile, float (&f8)[4]) {
    float f32[4], f16[4];
    answer(p.inverses32, p.moments32, tile / 16, f32);
    answer(p.inverses16, p.moments16, tile / 4, f16);
    answer(p.inverses8, p.moments8, tile, f8);
    const float4 mean = p.means16[tile / 4];
    add_larger(f16, f32, p.means32[tile / 16], mean);
    add_larger(f8, f16, mean, p.means8[tile]);
}

// What a thread's areas have to do with the four answers of a largest tile: its four rows of the
// inverse times their moments.
__device__ __forceinline__ void of_largest(const Problem& p, int largest, float (&sum)[4]) {
    for (int area = threadIdx.x; area < p.areas; area += THREADS) {
        const int there = area >> 2 * p.bits;
        const float4 m = ((const float4*)p.moments32)[area];
        const float4 here = p.means32[area], mean = p.means_largest[there];
        const float x = m.y + (here.x - mean.x) * m.x;
        const float y = m.z + (here.y - mean.y) * m.x;
        const float z = m.w + (here.z - mean.z) * m.x;
#pragma unroll
        for (int k = 0; k < 4; k++) {
            const float4 row = p.inverse[(4 * largest + k) * p.largest + there];
            sum[k] += row.x * m.x + row.y * x + row.z * y + row.w * z;
        }
    }
}

// guess = M·residual for the block's areas; leaves its products with residual and along_image in
// energies.
__device__ __forceinline__ void precondition(const Problem& p, const Area& first, float* shared) {
    float* const tops = shared;  // 4 of each warp
    float* const sums = tops + 4 * WARPS;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    float energies[2] = {0.f, 0.f};
    for (int one = (int)blockIdx.x; one < p.open; one += p.blocks) {
        int area = first.number;
        Pair pair = first.pair;
        if (one != (int)blockIdx.x) {
            area = p.opened[one];
            pair = pair_of(p, 16 * area + warp);
            __syncthreads();
        }
        float found[4], top[4] = {0.f, 0.f, 0.f, 0.f};
        const int largest = area >> 2 * p.bits;
        Ahead own = ask(p, pair);
        of_largest(p, largest, top);
        answers(p, 16 * area + warp, found);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            top[k] = warp_sum(top[k]);
            if (lane == 0) tops[4 * warp + k] = top[k];
        }
        const float4 mean = p.means_largest[largest];
        __syncthreads();
#pragma unroll
        for (int k = 0; k < 4; k++) {
            top[k] = 0.f;
#pragma unroll
            for (int i = 0; i < WARPS; i++) top[k] += tops[4 * i + k];
        }
        for (int within = warp; within < 16; within += WARPS) {
            const int tile = 16 * area + within;
            if (within != warp) {
                own = ask(p, pair_of(p, tile));
                answers(p, tile, found);
            }
            add_larger(found, top, mean, p.means8[tile]);
#pragma unroll
            for (int k = 0; k < 2; k++) {
                if (32 * k >= own.pair.left) continue;
                const float4 c = own.colours[k];
                const float r = own.residual[k];
                const float value =
                    r * c.w + found[0] + found[1] * c.x + found[2] * c.y + found[3] * c.z;
                p.guess[own.pair.first + 32 * k] = value;
                energies[0] += value * r;
                energies[1] += value * own.along_image[k];
            }
        }
    }
    add_up(p, energies, sums, p.energies);
}

// image = K·from, some threads a row; leaves from · image in energies.
template <class Index>
__device__ __forceinline__ void multiply(const Problem& p, const Rows<Index>& rows, int first,
                                         int count, const float* from, float* image,
                                         float* shared) {
    const int lane = threadIdx.x % LANES;
    float energy[1] = {0.f};
    for (int some = 0; some < count; some += THREADS / LANES) {
        const int at = some + (int)threadIdx.x / LANES, row = first + at;
        float sum = 0.f, alike = 0.f, mine = 0.f;
        if (at < count) {
            // A row's own pixel stands in for what is not there: its difference is 0.
            int near[STENCIL / LANES], like[(ALIKE + LANES - 1) / LANES];
#pragma unroll
            for (int k = 0; k < STENCIL / LANES; k++)
                near[k] = rows.others[at * STENCIL + k * LANES + lane];
#pragma unroll
            for (int k = 0; k < (ALIKE + LANES - 1) / LANES; k++) {
                const int i = k * LANES + lane;
                like[k] = i < ALIKE ? (int)rows.ends[at * ALIKE + i] : row;
                if (like[k] == p.count) like[k] = row;
            }
            const int begin = rows.incoming[at] + lane, end = rows.incoming[at + 1];
            mine = from[row];
#pragma unroll
            for (int k = 0; k < STENCIL / LANES; k++)
                sum += rows.weights[at * STENCIL + k * LANES + lane] * (mine - from[near[k]]);
#pragma unroll
            for (int k = 0; k < (ALIKE + LANES - 1) / LANES; k++) alike += mine - from[like[k]];
            for (int i = begin; i < end; i += AT_ONCE * LANES) {
                int source[AT_ONCE];
#pragma unroll
                for (int k = 0; k < AT_ONCE; k++)
                    source[k] = i + k * LANES < end ? (int)rows.sources[i + k * LANES] : row;
#pragma unroll
                for (int k = 0; k < AT_ONCE; k++) alike += mine - from[source[k]];
            }
            sum += p.weight * alike;
        }
#pragma unroll
        for (int other = LANES / 2; other > 0; other /= 2)
            sum += __shfl_xor_sync(ALL_LANES, sum, other);
        if (at < count && lane == 0) {
            sum += p.tied[row] * mine;
            image[row] = sum;
            energy[0] += sum * mine;
        }
    }
    add_up(p, energy, shared, p.energies + 2 * p.blocks);
}

// A copy in shared memory.
template <class To, class From>
__device__ __forceinline__ const To* kept(const From* from, int count, char*& room) {
    To* const to = (To*)room;
    for (int i = threadIdx.x; i < count; i += THREADS) to[i] = (To)from[i];
    room += (count * (int)sizeof(To) + 15) / 16 * 16;
    return to;
}

extern "C" __global__ void __launch_bounds__(THREADS, 1) descend(const Problem p) {
    float* const of_guess = (float*)shared_memory;   // 6 · WARPS
    float* const of_product = of_guess + 6 * WARPS;  // WARPS
    float* const of_tiles = of_product + WARPS;      // 80
    char* room = (char*)(of_tiles + 80);

    // The block's rows, one after the other; with places of 16 bits where they are kept.
    const int chunk = (p.count + p.blocks - 1) / p.blocks, first = (int)blockIdx.x * chunk;
    const int rows = first + chunk < p.count ? chunk : first < p.count ? p.count - first : 0;
    const Rows<int> there = {p.weights + (long long)first * STENCIL,
                             p.others + (long long)first * STENCIL,
                             p.ends + (long long)first * ALIKE, p.incoming + first, p.sources};
    Rows<u16> here;
    bool fits = rows > 0 && p.count < 65536;
    if (fits) {
        const int begin = p.incoming[first], joins = p.incoming[first + rows] - begin;
        const int bytes = rows * (STENCIL * 6 + ALIKE * 2 + 4) + joins * 2 + 4 + 5 * 15;
        fits = bytes <= p.room;
        if (fits)
            here = {kept<float>(there.weights, rows * STENCIL, room),
                    kept<u16>(there.others, rows * STENCIL, room),
                    kept<u16>(there.ends, rows * ALIKE, room),
                    kept<int>(there.incoming, rows + 1, room),
                    kept<u16>(there.sources + begin, joins, room) - begin};
    }
    const auto times = [&](const float* from) {
        if (fits)
            multiply(p, here, first, rows, from, p.guess_image, of_product);
        else
            multiply(p, there, first, rows, from, p.guess_image, of_product);
    };

    double found[3];
    u32 turn = 0;
    const int threads = p.blocks * THREADS, me = (int)(blockIdx.x * THREADS + threadIdx.x);
    const Area area = area_of(p, (int)blockIdx.x < p.open ? p.opened[blockIdx.x] : 0);
    moments(p, area, ask(p, area.pair), of_tiles, [&](const Ahead&, int, int i) {
        p.along_image[i] = 0.f;
        return p.right[i];
    });
    for (int i = me; i < p.count; i += threads) p.x[i] = 0.5f;
    together(p, turn);
    precondition(p, area, of_guess);
    times(p.x);
    together(p, turn);
    const Ahead first_step = ask(p, area.pair);
    of_all(p, found);
    const double whole = found[0];
    moments(p, area, first_step, of_tiles, [&](const Ahead& own, int k, int i) {
        p.along[i] = 0.f;
        return own.residual[k] - own.guess_image[k];
    });
    together(p, turn);
    double energy = 0, stiffness = 0;  // of the residual, and along · K·along
    int iteration = 0;
    for (;;) {
        precondition(p, area, of_guess);
        together(p, turn);
        times(p.guess);
        together(p, turn);
        const Ahead own = ask(p, area.pair);
        of_all(p, found);
        energy = found[0];
        const double before = found[1], image = found[2];
        if (!(energy > (double)p.tolerance * p.tolerance * whole) || iteration == p.limit) break;
        const double back = iteration ? -before / stiffness : 0;
        stiffness = image + back * before;
        if (!(stiffness > 0)) break;  // rounding has the better of it
        iteration++;
        const float b = (float)back, step = (float)(energy / stiffness);
        moments(p, area, own, of_tiles, [=](const Ahead& own, int k, int i) {
            const float d = own.guess[k] + b * own.along[k];
            const float q = own.guess_image[k] + b * own.along_image[k];
            p.along[i] = d;
            p.along_image[i] = q;
            p.x[i] = own.x[k] + step * d;
            return own.residual[k] - step * q;
        });
        together(p, turn);
    }
    if (me == 0) {
        p.outcome[0] = (float)iteration;
        p.outcome[1] = (float)sqrt(energy > 0 && whole > 0 ? energy / whole : 0);
    }
}
