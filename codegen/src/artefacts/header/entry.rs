//! The function of an entry, with a parameter for each input and output.

use brolga_runtime::{BASE_STATE, DType, IndexRange, SlotKind, byte_len, type_name};

use super::macros::Macros;
use super::names::{comment, parameters};
use super::page::{About, AboutEntry, Page, c_type, type_macro};

/// How a call begins: a template, as those of `model.rs`.
const BEGIN: &str = r"
/* Bases of a call but for inputs and outputs; prepared values, where they are not those of this state. */
static inline void $n_$ENTRY_begin($n *model, unsigned char **bases, brolga_block *block) {
    brolga_bind(&model->memory, bases, $CONSTANTS, $AT, $STATE);
    block->bases = bases;
    block->parallel_for = $FOR;
    block->pool = $POOL;
    block->processor = model->memory.processor;$PREPARE
}
";

const PREPARE: &str = r"
    if ((model->memory.ready >> $BIT & 1) == 0) {
        $n_$ENTRY_prepare(block);
        model->memory.ready |= (uint64_t)1 << $BIT;
    }";

/// Letters of a prototype that stands on one line.
const LINE: usize = 100;

/// The function of an entry.
pub(super) struct Function<'a> {
    about: &'a About<'a>,
    entry: &'a AboutEntry<'a>,
    /// The number of the entry.
    number: usize,
    /// Where its prepared values begin among those of all entries.
    prepared: usize,
    inputs: Vec<Parameter<'a>>,
    outputs: Vec<Parameter<'a>>,
}

/// A parameter of the function.
struct Parameter<'a> {
    /// Its name in C.
    name: String,
    dtype: DType,
    dims: &'a [usize],
    /// The values that are allowed, where not all are.
    range: Option<IndexRange>,
    /// Its position in the table of bases.
    base: usize,
}

impl Parameter<'_> {
    fn elements(&self) -> usize {
        self.dims.iter().product()
    }

    /// Bytes; whoever made the manifest has checked that they can be said.
    fn bytes(&self) -> usize {
        byte_len(self.dtype, self.dims).unwrap_or(0)
    }

    /// As the function declares an input: a scalar is given by its value.
    fn input(&self) -> String {
        let (ty, name) = (c_type(self.dtype), &self.name);
        if self.dims.is_empty() { format!("{ty} {name}") } else { format!("const {ty} *{name}") }
    }

    fn output(&self) -> String {
        format!("{} *{}", c_type(self.dtype), self.name)
    }

    /// Where an input lies.
    fn address(&self) -> String {
        let name = &self.name;
        if self.dims.is_empty() { format!("&{name}") } else { name.clone() }
    }

    /// Its line in the comment.
    fn described(&self) -> String {
        let (name, ty) = (&self.name, type_name(self.dtype, self.dims));
        match self.range {
            Some(IndexRange { low, high }) => format!("{name}: {ty}, from {low} to {high}"),
            None => format!("{name}: {ty}"),
        }
    }
}

impl<'a> Function<'a> {
    pub fn new(
        about: &'a About<'a>,
        entry: &'a AboutEntry<'a>,
        number: usize,
        prepared: usize,
    ) -> Function<'a> {
        let manifest = entry.manifest;
        let inputs: Vec<&str> = manifest.inputs.iter().map(|input| input.name.as_str()).collect();
        let outputs: Vec<&str> = manifest.outputs.iter().map(|output| output.name.as_str()).collect();
        let mut names = parameters(about.symbol, &inputs, &outputs).into_iter();
        let mut base = BASE_STATE + manifest.state.len();
        let mut parameter = |dtype: DType, dims: &'a [usize], range: Option<IndexRange>| {
            base += 1;
            // There are as many names as parameters.
            Parameter { name: names.next().unwrap_or_default(), dtype, dims, range, base: base - 1 }
        };
        let bool_range = IndexRange { low: 0, high: 1 };
        let mut function =
            Function { about, entry, number, prepared, inputs: Vec::new(), outputs: Vec::new() };
        for input in &manifest.inputs {
            let range = input.range.or((input.dtype == DType::Bool).then_some(bool_range));
            function.inputs.push(parameter(input.dtype, &input.dims, range));
        }
        for output in &manifest.outputs {
            function.outputs.push(parameter(output.dtype, &output.dims, None));
        }
        function
    }

    fn name(&self) -> String {
        format!("{}_{}", self.about.symbol, self.entry.name)
    }

    /// As C declares it.
    pub fn prototype(&self) -> String {
        format!("int {}({})", self.name(), self.declared().join(", "))
    }

    /// The declarations of its parameters.
    fn declared(&self) -> Vec<String> {
        let model = format!("{} *model", self.about.symbol);
        let inputs = self.inputs.iter().map(Parameter::input);
        let outputs = self.outputs.iter().map(Parameter::output);
        [model].into_iter().chain(inputs).chain(outputs).collect()
    }

    /// A call, for an example.
    pub fn call(&self) -> String {
        let names = self.inputs.iter().chain(&self.outputs).map(|parameter| parameter.name.clone());
        let all: Vec<String> = ["&model".to_owned()].into_iter().chain(names).collect();
        format!("{}({})", self.name(), all.join(", "))
    }

    /// The function that makes the bases of a call, and the prepared values.
    pub fn begin(&self, page: &mut Page) {
        let manifest = self.entry.manifest;
        let constants = if self.about.constants_bytes > 0 { "$n_constants" } else { "NULL" };
        let state = match manifest.state.len() {
            0 => "NULL, NULL, 0".to_owned(),
            count => format!("$n_tensors, {}_slots, {count}", self.name()),
        };
        let threads = match manifest.parallel {
            true => ["model->memory.parallel_for", "model->memory.pool"],
            // The work does not pay for threads.
            false => ["brolga_serial_for", "NULL"],
        };
        let (at, bit) = (self.prepared.to_string(), self.number.to_string());
        let values = [
            ("$PREPARE", if self.entry.prepares { PREPARE } else { "" }),
            ("$ENTRY", self.entry.name.as_str()),
            ("$CONSTANTS", constants),
            ("$AT", at.as_str()),
            ("$STATE", state.as_str()),
            ("$FOR", threads[0]),
            ("$POOL", threads[1]),
            ("$BIT", bit.as_str()),
        ];
        page.fill(BEGIN, self.about, &values);
    }

    /// The function, with its comment.
    pub fn write(&self, page: &mut Page, macros: &Macros) {
        self.comment(page);
        let (name, begin) = (self.name(), &macros.entries[self.number]);
        let prototype = match self.prototype() {
            short if short.len() < LINE => short,
            _ => format!("int {name}({})", self.declared().join(",\n        ")),
        };
        page.line(format_args!("static inline {prototype} {{"));
        let kept = if self.outputs.is_empty() { "" } else { ", *brolga_kept = model->memory.outputs" };
        page.line(format_args!(
            "    unsigned char *brolga_bases[{begin}_BASES]{kept};\n    brolga_block brolga_call;"
        ));
        self.checks(page);
        page.line(format_args!("    {name}_begin(model, brolga_bases, &brolga_call);"));
        for input in &self.inputs {
            let (base, address) = (input.base, input.address());
            page.line(format_args!("    brolga_bases[{base}] = (unsigned char *)(uintptr_t){address};"));
        }
        for output in &self.outputs {
            let (given, base, bytes) = (self.given(output), output.base, output.bytes());
            page.line(format_args!(
                "    brolga_bases[{base}] = brolga_output({given}, &brolga_kept, {bytes});"
            ));
        }
        page.line(format_args!("    {name}_call(&brolga_call);"));
        for output in &self.outputs {
            let (name, base, bytes) = (&output.name, output.base, output.bytes());
            page.line(format_args!("    brolga_deliver({name}, brolga_bases[{base}], {bytes});"));
        }
        self.after(page);
        page.line(format_args!("    return 0;\n}}"));
    }

    /// The inputs that lie in memory of the caller.
    fn arrays(&self) -> impl Iterator<Item = &Parameter<'a>> {
        self.inputs.iter().filter(|input| !input.dims.is_empty())
    }

    /// The caller's place for an output, where that overlaps no input: code may write there before it has read all of them.
    fn given(&self, output: &Parameter<'_>) -> String {
        let (name, bytes) = (&output.name, output.bytes());
        let apart = self
            .arrays()
            .map(|input| format!("brolga_apart({name}, {bytes}, {}, {})", input.name, input.bytes()));
        let apart: Vec<String> = apart.collect();
        if apart.is_empty() { name.clone() } else { format!("{} ? {name} : NULL", apart.join(" && ")) }
    }

    /// What code relies on is true of the inputs.
    fn checks(&self, page: &mut Page) {
        for (input, number) in self.inputs.iter().zip(1..) {
            let Some(IndexRange { low, high }) = input.range else { continue };
            page.line(format_args!(
                "    if (!brolga_in_range({}, {}, {}, {}, {})) return {number};",
                input.address(),
                type_macro(input.dtype),
                input.elements(),
                constant(low),
                constant(high),
            ));
        }
    }

    /// What the state needs after a call.
    fn after(&self, page: &mut Page) {
        let symbol = self.about.symbol;
        if let Some((seed, at)) = self.seed() {
            page.line(format_args!(
                "    /* The key of later random numbers is the seed, too. */\n    \
                 memcpy({symbol}_tensor(model, {at}), {}, 8);",
                seed.address()
            ));
        }
        if self.entry.outdates != 0 {
            page.line(format_args!("    model->memory.ready &= ~(uint64_t){:#x};", self.entry.outdates));
        }
    }

    /// Of the entry `init`, its seed and the number of the tensor that is the key of random numbers: `init` draws the weights
    /// from the seed, and leaves that tensor to the caller.
    fn seed(&self) -> Option<(&Parameter<'a>, usize)> {
        let manifest = self.entry.manifest;
        let input = manifest.inputs.iter().position(|input| input.name == "seed")?;
        let seed = &self.inputs[input];
        let at = self.about.block.tensors.iter().position(|tensor| tensor.kind == SlotKind::Seed)?;
        let is_key = seed.dtype == DType::I64 && seed.dims.is_empty();
        (manifest.entry == "init" && is_key).then_some((seed, at))
    }

    fn comment(&self, page: &mut Page) {
        let manifest = self.entry.manifest;
        let updates = if manifest.updates_state() { ", which updates the state" } else { "" };
        page.line(format_args!("\n/* The entry `{}`{updates}.", comment(&manifest.entry)));
        for (what, parameters) in [("Takes", &self.inputs), ("Gives", &self.outputs)] {
            if !parameters.is_empty() {
                let lines: Vec<String> = parameters.iter().map(Parameter::described).collect();
                page.line(format_args!("   {what} {}.", lines.join("\n         ")));
            }
        }
        let outputs = match (self.outputs.is_empty(), self.arrays().next()) {
            (true, _) => "",
            (false, None) => "An output may be NULL. ",
            (false, Some(_)) => "An output may be NULL, or overlap inputs. ",
        };
        let wrong = match self.inputs.iter().any(|input| input.range.is_some()) {
            true => {
                "0, or the number, counted from 1, of an input with other elements than these: nothing\n   has happened then"
            }
            false => "0",
        };
        page.line(format_args!("   {outputs}Returns {wrong}. */"));
    }
}

/// A whole number as C writes it.
fn constant(value: i64) -> String {
    match i32::try_from(value) {
        Ok(_) => value.to_string(),
        // C has no negative constants.
        Err(_) if value == i64::MIN => "INT64_MIN".to_owned(),
        Err(_) => format!("INT64_C({value})"),
    }
}
