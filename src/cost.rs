//! What a graph costs, counted from its shapes.

use std::collections::HashMap;

use brolga_ir::ops::{ConvForm, RegionOp};
use brolga_ir::{Graph, NodeId, Op};

/// Floating-point operations of the convolutions and matrix products of a graph, two for each multiply-add; what
/// else a graph does is not counted, as is customary. Regions count too, the body of a `scan` for each of its steps.
pub fn flops(graph: &Graph) -> u64 {
    let mut sum: u64 = 0;
    each(graph, 1, &mut |_, flops| sum = sum.saturating_add(flops));
    sum
}

/// The same by layer: by the part of the nodes' origin before the first slash.
pub fn flops_by_layer(graph: &Graph) -> HashMap<String, u64> {
    let mut layers: HashMap<String, u64> = HashMap::new();
    each(graph, 1, &mut |path, flops| {
        let layer = path.split('/').next().unwrap_or(path);
        let sum = layers.entry(layer.to_owned()).or_default();
        *sum = sum.saturating_add(flops);
    });
    layers
}

/// Shows the origin of each node, and its operations in so many runs of the graph. Layers in a loop have origins of their own.
fn each(graph: &Graph, runs: u64, visit: &mut dyn FnMut(&str, u64)) {
    for id in graph.order() {
        match &graph.node(id).op {
            Op::Scan(scan) => each(&scan.body, runs.saturating_mul(scan.length as u64), visit),
            _ => visit(&graph.node(id).origin.path, runs.saturating_mul(node_flops(graph, id))),
        }
    }
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
            // A loop that ends by a condition counts as one iteration, a condition as both branches.
            Some(RegionOp::Fused(_) | RegionOp::Scan(_) | RegionOp::While(_) | RegionOp::Cond(_)) => {
                op.regions().into_iter().map(flops).fold(0, u64::saturating_add)
            }
            None => 0,
        },
    }
}

#[cfg(test)]
mod tests {
    use brolga_ir::ops::{Conv, Role, Scan};
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
    #[test]
    fn loops_count_for_each_step() {
        let (row, matrix) = (Type::new(DType::F32, [2, 3]), Type::new(DType::F32, [3, 3]));
        let mut body = Graph::new("step");
        let [h, x, w] = [("h", &row), ("x", &row), ("w", &matrix)]
            .map(|(name, ty)| body.add_parameter(name, Role::Data, ty.clone()));
        let mut b = Builder::new(&mut body, Origin::new("in"));
        let of_input = b.matmul(x, w).unwrap();
        b.origin = Origin::new("out");
        let of_state = b.matmul(h, w).unwrap();
        let sum = b.add(of_input, of_state).unwrap();
        body.add_output("h", Role::Data, sum);
        let mut graph = Graph::new("g");
        let [h, x, w] = [("h", row), ("x", Type::new(DType::F32, [9, 2, 3])), ("w", matrix)]
            .map(|(name, ty)| graph.add_parameter(name, Role::Data, ty));
        let scan = Scan {
            body,
            length: 9,
            carries: 1,
            slices: 1,
            reverse: false,
            guarded: false,
            segments: Default::default(),
        };
        let h = Builder::new(&mut graph, Origin::new("loop")).add_node(scan, &[h, x, w]).unwrap();
        graph.add_output("h", Role::Data, h);
        let one = 2 * 2 * 3 * 3;
        assert_eq!(flops(&graph), 9 * 2 * one);
        let layers = flops_by_layer(&graph);
        assert_eq!((layers.get("in"), layers.get("out")), (Some(&(9 * one)), Some(&(9 * one))));
    }
}
