//! A pass of one's own: what is negated twice is not negated at all.
//!
//! A pass is a plain function over a graph (or a kernel program) with a name and a promise of what it does to the bits of
//! results. `tests/filetests.rs` tests it by files, as the compiler's own passes are tested; `cargo test -p own-pass` runs
//! them, and with `BROLGA_BLESS=1` writes what comes out into them.

use brolga_ir::{Graph, GraphError, NodeId};
use brolga_passes::{GraphPass, Kind, Options, Pass};

/// The pass by its name, which its folder of files bears too.
pub const UNNEG: GraphPass = Pass::new("unneg", Kind::Exact, unneg).outside("it is an example");

/// Makes users of `neg (neg x)` use `x`. What nobody uses then is left to `dce`. Linear in the nodes.
///
/// # Errors
/// None; other passes may refuse a graph.
pub fn unneg(graph: &mut Graph, _: &Options) -> Result<bool, GraphError> {
    let mut changed = false;
    for id in graph.order() {
        let Some(inner) = negated(graph, id) else { continue };
        let Some(x) = negated(graph, inner.node) else { continue };
        if graph.use_count(graph.result(id)) > 0 {
            graph.replace_uses(graph.result(id), x);
            changed = true;
        }
    }
    Ok(changed)
}

/// What a node negates, if it does.
fn negated(graph: &Graph, id: NodeId) -> Option<brolga_ir::Value> {
    let node = graph.node(id);
    (node.op.get().name() == "neg").then(|| node.operands[0])
}
