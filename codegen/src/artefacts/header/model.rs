//! Functions of a model: its memory, its state, its threads.
//!
//! They are templates: `$n` is the model's name, and `$N` the same in capital letters.

use brolga_runtime::SlotKind;

use super::macros::Macros;
use super::page::{About, Page};

const TYPE: &str = r"
/* A model in use. */
typedef struct $n {
    brolga_memory memory;
} $n;

/* Has the model's kernels run by this function. Scratch memory must have room for its workers. */
static inline void $n_threads($n *model, brolga_parallel_for *parallel_for, void *pool) {
    model->memory.parallel_for = parallel_for;
    model->memory.pool = pool;
}
";

const SETUP: &str = r"
/* Puts a model into its memory: $N_SCRATCH_BYTES of scratch, whose content does not matter, and $GIVEN */
static inline void $n_setup($n *model, void *state, void *scratch) {
    unsigned char *begin = brolga_aligned(scratch);
    $STATE
    model->memory.prepared = begin;
    model->memory.processor = $n_processor();
    model->memory.ready = 0;
    brolga_divide(&model->memory, begin + $N_PREPARED_BYTES, $N_OUTPUTS_BYTES, $N_ARENA_BYTES);
    $n_threads(model, brolga_serial_for, NULL);
}
";

const SHARE: &str = r"
/* Makes another model of the same state and prepared values, for another thread; its scratch memory has $N_SHARED_BYTES.
   As long as both are used, neither may change the state. */
static inline void $n_share($n *model, $n *other, void *scratch) {$PREPARE
    *other = *model;
    brolga_divide(&other->memory, brolga_aligned(scratch), $N_OUTPUTS_BYTES, $N_ARENA_BYTES);
    $n_threads(other, brolga_serial_for, NULL);
}
";

/// What `share` does first for each entry that prepares values.
const PREPARE: &str = r"
    {
        unsigned char *bases[$BASES];
        brolga_block block;
        $n_$ENTRY_begin(model, bases, &block);
    }";

const STATE: &str = r"
/* Where a tensor of the state lies, by its number. Whoever changes it calls $n_changed. */
static inline void *$n_tensor(const $n *model, int number) {
    return model->memory.state + $n_tensors[number].offset;
}

/* Says that the state was changed by other means than these functions. */
static inline void $n_changed($n *model) {
    model->memory.ready = 0;
}
";

const FILES: &str = r"
/* Takes the state out of a safetensors file in memory, such as `brolga train --save` writes. What else it has is passed over;
   what it lacks and is no weight becomes what it is before training. Returns 0; or the number, counted from 1, of a tensor of
   the state that the file lacks or has with another type, other dims or bools that are neither 0 nor 1; or BROLGA_NO_FILE
   where the bytes are no such file, or not all of one; or BROLGA_READ_ONLY where the state is the object's, or that of
   $n_use_file. Nothing is changed then. */
static inline int $n_load_state($n *model, const void *file, size_t bytes) {
    uint64_t places[$N_TENSORS];
    if (model->memory.fixed) return BROLGA_READ_ONLY;
    return brolga_load(&model->memory, $n_tensors, $N_TENSORS, places, file, bytes);
}

/* Uses the state of a file where it lies: one that `brolga build --mapped` has written for this model. Map it $HOW.
   It stays mapped as long as it is used. Returns 0; or BROLGA_NO_FILE where the bytes are another file, not all of one, or
   not aligned to 64 bytes. */
static inline int $n_use_file($n *model, const void *file, size_t bytes) {
    unsigned char *state = brolga_state_in(file, bytes, $N_STATE_KEY, $BLOCK);
    if (state == NULL) return BROLGA_NO_FILE;
    model->memory.state = state;
    model->memory.fixed = $FIXED;
    model->memory.ready = 0;
    return 0;
}

/* Writes the state into memory of $N_FILE_BYTES, as a safetensors file that `brolga` reads. */
static inline void $n_save_state(const $n *model, void *file) {
    brolga_save(&model->memory, $n_tensors, $N_TENSORS, $n_file, $N_FILE_HEADER_BYTES, file);
}
";

const RESET: &str = r"
/* Gives the state the values that the object has. */
static inline void $n_reset($n *model) {
    if (model->memory.fixed) return;
    memcpy(model->memory.state, $n_weights, $N_WEIGHTS_BYTES);
    memset(model->memory.state + $N_WEIGHTS_BYTES, 0, $BLOCK - $N_WEIGHTS_BYTES);
    model->memory.ready = 0;
}
";

const ANEW: &str = r"
/* Has the loops that go on from call to call begin anew. */
static inline void $n_begin_anew($n *model) {
    for (int at = 0; at < $N_TENSORS; at++) {
        const brolga_tensor *tensor = &$n_tensors[at];
        if (tensor->kind == BROLGA_KEPT) memset(model->memory.state + tensor->offset, 0, tensor->bytes);
    }
}
";

/// The type, and what puts a model into its memory.
pub(super) fn setup(page: &mut Page, about: &About<'_>) {
    page.fill(TYPE, about, &[]);
    let state = match (about.has_state(), about.in_place()) {
        (false, _) => "(void)state;\n    model->memory.state = NULL;\n    model->memory.fixed = 1;",
        (true, false) => "model->memory.state = brolga_aligned(state);\n    model->memory.fixed = 0;",
        (true, true) => {
            "model->memory.state = state == NULL ? (unsigned char *)(uintptr_t)$n_weights : brolga_aligned(state);\n    \
             model->memory.fixed = state == NULL;"
        }
    };
    page.fill(SETUP, about, &[("$GIVEN", about.state_given()), ("$STATE", state)]);
}

/// What works on a model, behind the functions that begin a call.
pub(super) fn functions(page: &mut Page, about: &About<'_>, macros: &Macros) {
    let prepares = about.entries.iter().zip(&macros.entries).filter(|(entry, _)| entry.prepares);
    let prepares = prepares.map(|(entry, begin)| {
        PREPARE.replace("$BASES", &format!("{begin}_BASES")).replace("$ENTRY", &entry.name)
    });
    let prepares: String = prepares.collect();
    page.fill(SHARE, about, &[("$PREPARE", prepares.as_str())]);
    if !about.has_state() {
        return;
    }
    page.fill(STATE, about, &[]);
    let bytes = about.block.bytes.to_string();
    let (how, fixed) = match about.updates() {
        true => ("privately, and writable: the\n   file stays as it is", "0"),
        false => ("read-only", "1"),
    };
    page.fill(FILES, about, &[("$BLOCK", bytes.as_str()), ("$HOW", how), ("$FIXED", fixed)]);
    if about.weights_bytes.is_some() {
        page.fill(RESET, about, &[("$BLOCK", bytes.as_str())]);
    }
    if about.block.tensors.iter().any(|tensor| tensor.kind == SlotKind::Kept) {
        page.fill(ANEW, about, &[]);
    }
}

impl About<'_> {
    /// What the caller gives as the state.
    fn state_given(&self) -> &'static str {
        match (self.has_state(), self.weights_bytes.is_some()) {
            (false, _) => "no state.",
            (true, false) => {
                "$N_STATE_BYTES of\n   state, which is used as it is: one from before, or what $n_load_state puts there; or \
                 NULL, and $n_use_file says where\n   it is. Several models may have one state, as long as none changes \
                 it."
            }
            (true, true) if self.in_place() => {
                "$N_STATE_BYTES of\n   state, which is used as it is; or NULL: then the state is the one that the object has."
            }
            (true, true) => {
                "$N_STATE_BYTES of\n   state, which is used as it is: one from before, or what $n_reset puts there."
            }
        }
    }
}
