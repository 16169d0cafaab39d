/* What compiled code is called with, and what calls a kernel for many parts. */
typedef struct brolga_block brolga_block;
typedef void brolga_kernel(const brolga_block *block, const uint64_t *row, uint64_t part, uint64_t worker);
/* Calls the kernel for every part below `parts`, in any order and on any threads, and returns when all are done. Workers
   are numbered from 0; calls at the same time have different workers, and each of them has local memory. */
typedef void brolga_parallel_for(void *pool, brolga_kernel *kernel, const brolga_block *block, const uint64_t *row,
                                 uint64_t parts);
/* Compiled code expects rounding to nearest and denormals kept, as programs begin. */
struct brolga_block {
    /* Memory: arena, prepared values, constants, local memory (of all workers, one behind the other), state, inputs,
       outputs. It is aligned to 64 bytes, but that of inputs. */
    unsigned char *const *bases;
    brolga_parallel_for *parallel_for;
    /* The first argument of parallel_for. */
    void *pool;
    /* Which code runs, where there is code for several processors: what NAME_processor() gives. 0 is the code that needs
       least. */
    uint64_t processor;
};
/* Positions of bases; state, inputs and outputs follow. */
enum { BROLGA_ARENA, BROLGA_PREPARED, BROLGA_CONSTANTS, BROLGA_LOCAL, BROLGA_STATE };

/* A parallel_for on the calling thread, which is worker 0. */
static inline void brolga_serial_for(void *pool, brolga_kernel *kernel, const brolga_block *block,
                                     const uint64_t *row, uint64_t parts) {
    (void)pool;
    for (uint64_t part = 0; part < parts; part++) kernel(block, row, part, 0);
}
