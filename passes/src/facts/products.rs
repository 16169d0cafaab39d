//! What is true of products: matrix products, convolutions and their gradients.

use brolga_ir::choice::Layout;
use brolga_ir::ops::{Conv, ConvForm, Op};
use brolga_ir::{Graph, NodeId, Type};

use super::blocking::code;
use crate::tuning::ProductKind;

/// The key of a product that is a node of a graph.
pub(crate) fn key(kind: ProductKind, graph: &Graph, id: NodeId) -> String {
    let operands: Vec<String> = graph.operand_types(id).into_iter().map(Type::to_string).collect();
    format!("{} {} {}", kind.name(), graph.describe(id), operands.join(", "))
}

/// Whether an operator can be the root of a region: its kernel takes an epilogue.
pub(crate) fn takes_epilogue(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    match &node.op {
        Op::Conv(conv) if graph.choice(id).layout == Layout::ChannelsLast => {
            !matches!(conv.form, ConvForm::WeightGradient { .. })
        }
        Op::Conv(conv) => has_lanes_last(conv, graph.ty(node.operands[1])),
        // Some products have other kernels in the end, see `lower/products/fused.rs`.
        Op::Dot(dot) => {
            node.types[0].dtype.is_float() && dot.batch[0].is_empty() && dot.contract[0].len() == 1
        }
        _ => false,
    }
}

/// Whether a convolution with the channels first leaves the last of several axes as it is, by weights of that type: lanes can be
/// positions along that axis.
pub(crate) fn has_lanes_last(conv: &Conv, w: &Type) -> bool {
    let Some(last) = conv.spatial().checked_sub(1).filter(|&last| last > 0) else { return false };
    let steps = [conv.stride[last], conv.lhs_dilation[last], conv.rhs_dilation[last]];
    conv.form == ConvForm::Forward
        && w.dims.last() == Some(&1)
        && steps == [1; 3]
        && conv.padding[last].0 == 0
        && w.dims[2..].iter().product::<usize>() <= code::KERNEL
}
