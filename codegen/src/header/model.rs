//! Functions of a model: its memory, its state, its threads.

use super::{About, Macros, Page};

/// The type, and what puts a model into its memory.
pub(super) fn setup(page: &mut Page, about: &About<'_>) {
    let (symbol, upper) = (about.symbol, about.upper());
    page.line(format_args!(
        "\n/* A model in use. */\ntypedef struct {symbol} {{\n    brolga_memory memory;\n}} {symbol};\n"
    ));
    page.line(format_args!(
        "/* Has the model's kernels run by this function. Scratch memory must have room for its workers. */\n\
         static inline void {symbol}_threads({symbol} *model, brolga_parallel_for *parallel_for, void *pool) {{\n    \
         model->memory.parallel_for = parallel_for;\n    model->memory.pool = pool;\n}}\n"
    ));
    page.line(format_args!(
        "/* Puts a model into its memory: {upper}_SCRATCH_BYTES of scratch, whose content does not matter, and {}",
        about.state_given()
    ));
    page.line(format_args!(
        "static inline void {symbol}_setup({symbol} *model, void *state, void *scratch) {{\n    \
         unsigned char *begin = brolga_aligned(scratch);"
    ));
    match (about.has_state(), about.in_place()) {
        (false, _) => page.line(format_args!("    (void)state;\n    model->memory.state = NULL;")),
        (true, false) => page.line(format_args!("    model->memory.state = brolga_aligned(state);")),
        (true, true) => page.line(format_args!(
            "    model->memory.state = state == NULL ? (unsigned char *){symbol}_weights : brolga_aligned(state);"
        )),
    }
    page.line(format_args!(
        "    model->memory.prepared = begin;\n    model->memory.ready = 0;\n    brolga_divide(&model->memory, begin + \
         {upper}_PREPARED_BYTES, {upper}_OUTPUTS_BYTES, {upper}_ARENA_BYTES);\n    {symbol}_threads(model, \
         brolga_serial_for, NULL);\n}}"
    ));
}

impl About<'_> {
    /// What the caller gives as the state, up to the end of the comment.
    fn state_given(&self) -> String {
        let (symbol, upper) = (self.symbol, self.upper());
        let bytes = format!("{upper}_STATE_BYTES of\n   state");
        match (self.has_state(), self.weights_bytes.is_some()) {
            (false, _) => "no state. */".to_owned(),
            (true, false) => format!(
                "{bytes}, which is used as it is: a state from before, or what {symbol}_load_state puts there. Several models \
                 may\n   have one state, as long as none changes it. */"
            ),
            (true, true) if self.in_place() => format!(
                "{bytes}, which is used as it is; or NULL: then the weights are used that the object has. */"
            ),
            (true, true) => format!(
                "{bytes}, which is used as it is; {symbol}_reset puts those weights there that the object has. */"
            ),
        }
    }
}

/// What works on a model, behind the functions that begin a call.
pub(super) fn functions(page: &mut Page, about: &About<'_>, macros: &Macros) {
    share(page, about, macros);
    if about.has_state() {
        state(page, about);
        files(page, about);
    }
    if about.has_state() && about.weights_bytes.is_some() {
        reset(page, about);
    }
}

/// Several models with one set of prepared values.
fn share(page: &mut Page, about: &About<'_>, macros: &Macros) {
    let (symbol, upper) = (about.symbol, about.upper());
    page.line(format_args!(
        "\n/* Makes another model of the same state and prepared values, for another thread; its scratch memory has\n   \
         {upper}_SHARED_BYTES. As long as both are used, neither may change the state. */\n\
         static inline void {symbol}_share({symbol} *model, {symbol} *other, void *scratch) {{"
    ));
    for (entry, begin) in about.entries.iter().zip(&macros.entries).filter(|(entry, _)| entry.prepares) {
        page.line(format_args!(
            "    {{\n        unsigned char *bases[{begin}_BASES];\n        brolga_block block;\n        \
             {symbol}_{}_begin(model, bases, &block);\n    }}",
            entry.name
        ));
    }
    page.line(format_args!(
        "    *other = *model;\n    brolga_divide(&other->memory, brolga_aligned(scratch), {upper}_OUTPUTS_BYTES, \
         {upper}_ARENA_BYTES);\n    {symbol}_threads(other, brolga_serial_for, NULL);\n}}"
    ));
}

/// Single tensors of the state.
fn state(page: &mut Page, about: &About<'_>) {
    let symbol = about.symbol;
    page.line(format_args!(
        "\n/* Where a tensor of the state lies, by its number. Whoever changes it calls {symbol}_changed. */\n\
         static inline void *{symbol}_tensor(const {symbol} *model, int number) {{\n    \
         return model->memory.state + {symbol}_tensors[number].offset;\n}}\n\n\
         /* Says that the state was changed by other means than these functions. */\n\
         static inline void {symbol}_changed({symbol} *model) {{\n    model->memory.ready = 0;\n}}"
    ));
}

/// Files of weights.
fn files(page: &mut Page, about: &About<'_>) {
    let (symbol, upper) = (about.symbol, about.upper());
    page.line(format_args!(
        "\n/* Takes the state out of a safetensors file in memory, such as `brolga train --save` writes. What else it has is passed \
         over;\n   what it lacks and is no weight is as before training. Returns 0; the number, counted from 1, of a tensor of \
         the state that\n   the file lacks or has with another type, other dims or bools that are neither 0 nor 1; \
         BROLGA_NO_FILE if the bytes are no\n   such file, or not all of one; BROLGA_READ_ONLY if the state is not the \
         caller's. Nothing is changed then. */\n\
         static inline int {symbol}_load_state({symbol} *model, const void *file, size_t bytes) {{\n    \
         uint64_t places[{upper}_TENSORS];"
    ));
    if about.in_place() {
        page.line(format_args!("    if (model->memory.state == {symbol}_weights) return BROLGA_READ_ONLY;"));
    }
    page.line(format_args!(
        "    return brolga_load(&model->memory, {symbol}_tensors, {upper}_TENSORS, places, file, bytes);\n}}\n\n\
         /* Writes the state into memory of {upper}_FILE_BYTES, as a safetensors file that `brolga` reads. */\n\
         static inline void {symbol}_save_state(const {symbol} *model, void *file) {{\n    \
         brolga_save(&model->memory, {symbol}_tensors, {upper}_TENSORS, {symbol}_file, {upper}_FILE_HEADER_BYTES, \
         file);\n}}"
    ));
}

/// The weights of the object.
fn reset(page: &mut Page, about: &About<'_>) {
    let (symbol, upper, bytes) = (about.symbol, about.upper(), about.block.bytes);
    page.line(format_args!(
        "\n/* Gives the state the values that the object has. */\n\
         static inline void {symbol}_reset({symbol} *model) {{\n    \
         if (model->memory.state == {symbol}_weights) return;\n    \
         memcpy(model->memory.state, {symbol}_weights, {upper}_WEIGHTS_BYTES);\n    \
         memset(model->memory.state + {upper}_WEIGHTS_BYTES, 0, {bytes} - {upper}_WEIGHTS_BYTES);\n    \
         model->memory.ready = 0;\n}}"
    ));
}
