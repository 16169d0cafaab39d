//! Nodes that look through windows: what their passes have in common.

use brolga_ir::ops::{Op, ReduceWindow, SelectForm, WindowSelect};
use brolga_ir::{Builder, Graph, GraphError, NodeId, Type, Value};

/// A value that is built.
pub(crate) type Built = Result<Value, GraphError>;

/// A node that looks through windows.
pub(crate) struct Windowed {
    pub(crate) window: ReduceWindow,
    /// Nothing where it combines.
    pub(crate) form: Option<SelectForm>,
    pub(crate) operands: Vec<Value>,
    /// What windows look at, and a tensor with an element for each of them.
    pub(crate) x: Type,
    pub(crate) y: Type,
}

impl Windowed {
    /// Whether an operator looks through windows.
    pub(crate) fn is_one(op: &Op) -> bool {
        matches!(op, Op::ReduceWindow(_) | Op::WindowSelect(_))
    }

    /// The node, if it is one and has elements and windows.
    pub(crate) fn at(graph: &Graph, id: NodeId) -> Option<Windowed> {
        let node = graph.node(id);
        let (window, form) = match &node.op {
            Op::ReduceWindow(window) => (window.clone(), None),
            Op::WindowSelect(WindowSelect { window, form }) => (window.clone(), Some(*form)),
            _ => return None,
        };
        let operands = node.operands.clone();
        let x = graph.ty(operands[0]).clone();
        let y = match form {
            Some(SelectForm::Scatter) => graph.ty(operands[1]).clone(),
            _ => node.types[0].clone(),
        };
        (x.elements() > 0 && y.elements() > 0).then_some(Windowed { window, form, operands, x, y })
    }

    /// The same through another window.
    pub(crate) fn through(&self, b: &mut Builder, window: ReduceWindow, operands: &[Value]) -> Built {
        match self.form {
            None => b.add_node(window, operands),
            Some(form) => b.add_node(WindowSelect { window, form }, operands),
        }
    }
}
