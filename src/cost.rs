//! What a graph costs, counted from its shapes.

use std::collections::HashMap;

use brolga_ir::ops::{ConvForm, RegionOp};
use brolga_ir::{Graph, NodeId, Op};

/// Floating-point operations of the convolutions and matrix products of a graph, two for each multiply-add; what
/// else a graph does is not counted, as is customary. Regions count too.
pub fn flops(graph: &Graph) -> u64 {
    graph.order().into_iter().map(|id| node_flops(graph, id)).fold(0, u64::saturating_add)
}

/// The same by layer: by the part of the nodes' origin before the first slash.
pub fn flops_by_layer(graph: &Graph) -> HashMap<String, u64> {
    let mut layers = HashMap::new();
    for id in graph.order() {
        let path = &graph.node(id).origin.path;
        let layer = path.split('/').next().unwrap_or(path);
        let sum: &mut u64 = layers.entry(layer.to_owned()).or_default();
        *sum = sum.saturating_add(node_flops(graph, id));
    }
    layers
}

fn node_flops(graph: &Graph, id: NodeId) -> u64 {
    let node = graph.node(id);
    let operands = graph.operand_types(id);
    let product =
        |sizes: &mut dyn Iterator<Item = usize>| sizes.map(|s| s as u64).fold(2, u64::saturating_mul);
    match &node.op {
        Op::Dot(dot) => {
            let contracted = dot.contract[0].iter().map(|&axis| operands[0].dims[axis]);
            product(&mut node.types[0].dims.iter().copied().chain(contracted))
        }
        Op::Conv(conv) => {
            // Every element of y meets every weight of its output channel: all of w but its first axis.
            let (y, w) = match conv.form {
                ConvForm::Forward => (&node.types[0], operands[1]),
                ConvForm::InputGradient { .. } => (operands[0], operands[1]),
                ConvForm::WeightGradient { .. } => (operands[1], &node.types[0]),
            };
            product(&mut y.dims.iter().chain(w.dims.iter().skip(1)).copied())
        }
        op => match op.region_op() {
            // A loop counts as one iteration, a condition as both branches.
            Some(RegionOp::Fused(_) | RegionOp::Scan(_) | RegionOp::While(_) | RegionOp::Cond(_)) => {
                op.regions().into_iter().map(flops).fold(0, u64::saturating_add)
            }
            None => 0,
        },
    }
}

#[cfg(test)]
mod tests {
    use brolga_ir::ops::{Conv, Role};
    use brolga_ir::{Builder, DType, Origin, Type};

    use super::*;

    #[test]
    fn counts_two_for_each_multiply_add() {
        let mut graph = Graph::new("g");
        let x = graph.add_parameter("x", Role::Data, Type::new(DType::F32, [2, 3, 8, 8]));
        let w = graph.add_parameter("w", Role::State, Type::new(DType::F32, [5, 3, 3, 3]));
        let v = graph.add_parameter("v", Role::State, Type::new(DType::F32, [7, 5 * 36]));
        let conv = Conv::new(2);
        let mut b = Builder::new(&mut graph, Origin::new("conv1"));
        let y = b.conv(conv, x, w).unwrap();
        let mut b = Builder::new(&mut graph, Origin::new("fc/backward"));
        let flat = b.reshape(y, &[2, 5 * 36]).unwrap();
        let z = b.dot(flat, v, [&[], &[]], [&[1], &[1]]).unwrap();
        graph.add_output("z", Role::Data, z);
        let (first, second) = (2 * (2 * 5 * 6 * 6) * 27, 2 * (2 * 7) * 180);
        assert_eq!(flops(&graph), first + second);
        let layers = flops_by_layer(&graph);
        assert_eq!((layers["conv1"], layers["fc"]), (first, second));
    }
}
