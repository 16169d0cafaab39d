//! The table of a model's state.

use brolga_runtime::{SlotKind, type_name};

use super::macros::Macros;
use super::names::{comment, quoted};
use super::page::{About, Page, type_macro};
use crate::artefacts::state_block::BlockTensor;

/// Numbers of tensors, the table, and for each entry the tensors that it uses.
pub(super) fn write(page: &mut Page, about: &About<'_>, macros: &Macros) {
    if !about.has_state() {
        return;
    }
    let (symbol, upper, tensors) = (about.symbol, about.upper(), &about.block.tensors);
    page.line(format_args!("\n/* The tensors of the state, by number, and how many there are. */"));
    for (at, (name, tensor)) in macros.state.iter().zip(tensors).enumerate() {
        let ty = type_name(tensor.dtype, &tensor.dims);
        page.line(format_args!("#define {name} {at} /* {}: {ty} */", comment(&tensor.name)));
    }
    page.line(format_args!("#define {upper}_TENSORS {}\n", tensors.len()));
    let mut dims: Vec<String> =
        tensors.iter().flat_map(|tensor| &tensor.dims).map(usize::to_string).collect();
    // A list in C has an element.
    dims.push("0".to_owned());
    page.line(format_args!("static const uint64_t {symbol}_dims[] = {{{}}};", wrapped(&dims)));
    page.line(format_args!("static const brolga_tensor {symbol}_tensors[{upper}_TENSORS] = {{"));
    let mut first_dim = 0;
    for tensor in tensors {
        row(page, symbol, tensor, first_dim);
        first_dim += tensor.dims.len();
    }
    page.line(format_args!("}};"));
    for entry in about.entries.iter().filter(|entry| !entry.manifest.state.is_empty()) {
        let slots: Vec<String> = about.block.slots(entry.manifest).iter().map(usize::to_string).collect();
        page.line(format_args!(
            "static const uint32_t {symbol}_{}_slots[] = {{{}}};",
            entry.name,
            wrapped(&slots)
        ));
    }
}

/// A line of the table.
fn row(page: &mut Page, symbol: &str, tensor: &BlockTensor, first_dim: usize) {
    let BlockTensor { name, kind, fresh, dtype, dims, bytes, offset, in_file } = tensor;
    page.line(format_args!(
        "    {{{}, {}, {}, {}, {symbol}_dims + {first_dim}, {offset}, {bytes}, {in_file}, {fresh:?}}},",
        quoted(name),
        type_macro(*dtype),
        kind_macro(*kind),
        dims.len()
    ));
}

/// The name that the header has for a kind.
fn kind_macro(kind: SlotKind) -> &'static str {
    match kind {
        SlotKind::Parameter => "BROLGA_PARAMETER",
        SlotKind::Buffer => "BROLGA_BUFFER",
        SlotKind::Fitted => "BROLGA_FITTED",
        SlotKind::Optimizer => "BROLGA_OPTIMIZER",
        SlotKind::Step => "BROLGA_STEP",
        SlotKind::Seed => "BROLGA_SEED",
        SlotKind::Kept => "BROLGA_KEPT",
    }
}

/// A list, in lines of sixteen numbers.
fn wrapped(numbers: &[String]) -> String {
    numbers.chunks(16).map(|line| line.join(", ")).collect::<Vec<String>>().join(",\n    ")
}
