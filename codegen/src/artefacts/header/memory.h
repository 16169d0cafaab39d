/* Types of elements. A bool is one byte, 0 or 1. */
enum { BROLGA_BOOL, BROLGA_U8, BROLGA_I32, BROLGA_I64, BROLGA_F32, BROLGA_F64 };
/* What a tensor of the state is for: a trained weight, a running statistic, what was fitted to the data, the memory of an
   optimiser, the number of updates, the key of random numbers, where a loop ended that goes on from call to call. The first
   two are weights: a file must have them. */
enum { BROLGA_PARAMETER, BROLGA_BUFFER, BROLGA_FITTED, BROLGA_OPTIMIZER, BROLGA_STEP, BROLGA_SEED, BROLGA_KEPT };

/* A tensor of the state. Its elements lie row by row: the last index runs fastest. */
typedef struct brolga_tensor {
    const char *name;     /* as in files of weights */
    int type;             /* BROLGA_F32, say */
    int kind;             /* BROLGA_PARAMETER, say */
    int rank;             /* the number of dims; a scalar has none */
    const uint64_t *dims;
    uint64_t offset;      /* bytes from the beginning of the state to it */
    uint64_t bytes;
    uint64_t in_file;     /* bytes from the beginning of a saved file to it */
    double fresh;         /* what its elements are before anything is trained, unless it is a weight */
} brolga_tensor;

/* The memory of a model, parts of what the caller has given; all is aligned to 64 bytes. */
typedef struct brolga_memory {
    unsigned char *state;
    unsigned char *prepared;
    unsigned char *outputs; /* where outputs are made for which there is no aligned memory */
    unsigned char *arena;
    unsigned char *local;   /* of all workers */
    brolga_parallel_for *parallel_for;
    void *pool;
    uint64_t processor;     /* which code runs, where there are several */
    uint64_t ready;         /* bit e: the prepared values of entry e are those of this state */
    int fixed;              /* whether the state lies where nobody may write */
} brolga_memory;

/* The first place from here on that is aligned to 64 bytes. */
static inline unsigned char *brolga_aligned(void *memory) {
    size_t room = (64 - (uintptr_t)memory % 64) % 64;
    return room == 0 ? (unsigned char *)memory : (unsigned char *)memory + room;
}

/* Divides scratch memory up; the prepared values lie elsewhere. */
static inline void brolga_divide(brolga_memory *memory, unsigned char *scratch, size_t outputs, size_t arena) {
    memory->outputs = scratch;
    memory->arena = scratch + outputs;
    memory->local = memory->arena + arena;
}

/* The bases of an entry but for inputs and outputs. `slots` are the tensors that it uses, by position in the table. */
static inline void brolga_bind(const brolga_memory *memory, unsigned char **bases, const unsigned char *constants,
                               size_t prepared, const brolga_tensor *tensors, const uint32_t *slots, size_t count) {
    bases[BROLGA_ARENA] = memory->arena;
    bases[BROLGA_PREPARED] = memory->prepared + prepared;
    bases[BROLGA_CONSTANTS] = (unsigned char *)(uintptr_t)constants;
    bases[BROLGA_LOCAL] = memory->local;
    for (size_t i = 0; i < count; i++) bases[BROLGA_STATE + i] = memory->state + tensors[slots[i]].offset;
}

/* Whether two pieces of memory have no byte in common. */
static inline int brolga_apart(const void *a, size_t a_bytes, const void *b, size_t b_bytes) {
    uintptr_t first = (uintptr_t)a, second = (uintptr_t)b;
    return first + a_bytes <= second || second + b_bytes <= first;
}

/* Where an output is made: at the caller's place if that is aligned, else in the next memory that is kept for outputs. */
static inline unsigned char *brolga_output(void *given, unsigned char **kept, size_t bytes) {
    unsigned char *own = *kept;
    *kept += (bytes + 63) / 64 * 64;
    return given != NULL && (uintptr_t)given % 64 == 0 ? (unsigned char *)given : own;
}

/* Brings an output to the caller's place, who may not want it. */
static inline void brolga_deliver(void *given, const unsigned char *made, size_t bytes) {
    if (given != NULL && given != (const void *)made && bytes > 0) memcpy(given, made, bytes);
}

/* Whether all elements, which are whole numbers or bools, lie in a range. Code relies on that where they are indices. */
static inline int brolga_in_range(const void *elements, int type, size_t count, int64_t low, int64_t high) {
    const unsigned char *at = (const unsigned char *)elements;
    for (size_t i = 0; i < count; i++) {
        int64_t value = 0;
        if (type == BROLGA_I64) {
            memcpy(&value, at + 8 * i, 8);
        } else if (type == BROLGA_I32) {
            int32_t narrow;
            memcpy(&narrow, at + 4 * i, 4);
            value = narrow;
        } else {
            value = at[i];
        }
        if (value < low || value > high) return 0;
    }
    return 1;
}

/* Gives all elements of a tensor the value that they have before anything is trained. */
static inline void brolga_refresh(const brolga_tensor *tensor, unsigned char *at) {
    unsigned char element[8] = {0};
    size_t size = 1;
    if (tensor->type == BROLGA_F32) {
        float value = (float)tensor->fresh;
        memcpy(element, &value, size = 4);
    } else if (tensor->type == BROLGA_F64) {
        memcpy(element, &tensor->fresh, size = 8);
    } else if (tensor->type == BROLGA_I32) {
        int32_t value = (int32_t)tensor->fresh;
        memcpy(element, &value, size = 4);
    } else if (tensor->type == BROLGA_I64) {
        int64_t value = (int64_t)tensor->fresh;
        memcpy(element, &value, size = 8);
    } else {
        element[0] = (unsigned char)tensor->fresh;
    }
    for (size_t i = 0; i < tensor->bytes; i += size) memcpy(at + i, element, size);
}
