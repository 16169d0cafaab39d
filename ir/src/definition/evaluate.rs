//! Definitions as values: one element after the other. For tests, and for what is folded when compiling.

use super::{Definition, Element};
use crate::index::{Atom, Index};
use crate::scalar::Scalar;
use crate::tensor::Tensor;
use crate::types::Type;

impl Definition {
    /// The result of that type for those operands; nothing for [`Definition::Loops`]. Reductions combine in row-major
    /// order of their axes, in the type of the result.
    pub fn evaluate(&self, operands: &[&Tensor], result: &Type) -> Option<Tensor> {
        let mut cx = Point { operands, axes: Vec::new(), values: Vec::new() };
        Some(match self {
            Definition::Element(element) => Tensor::generate(result, |position| {
                cx.axes = coordinates(position, &result.dims);
                cx.element(element)
            }),
            Definition::Pieces(pieces) => {
                let mut tensor = Tensor::zeros(result);
                let strides = result.strides();
                for piece in pieces {
                    for position in 0..piece.extents.iter().product() {
                        cx.axes = coordinates(position, &piece.extents);
                        cx.axes.iter_mut().zip(&piece.start).for_each(|(axis, &start)| *axis += start as i64);
                        let at: usize =
                            cx.axes.iter().zip(&strides).map(|(&i, &stride)| i as usize * stride).sum();
                        tensor.set(at, cx.element(&piece.value));
                    }
                }
                tensor
            }
            Definition::Reduce { extents, combine, value, .. } => Tensor::generate(result, |position| {
                let outer = coordinates(position, &result.dims);
                let mut sum = combine.identity(result.dtype);
                for inner in 0..extents.iter().product() {
                    cx.axes.clone_from(&outer);
                    cx.axes.extend(coordinates(inner, extents));
                    let element = match value {
                        Element::Guard { bounds, then, .. } if cx.inside(bounds) => cx.element(then),
                        Element::Guard { .. } => continue,
                        value => cx.element(value),
                    };
                    sum = combine.apply(sum, element);
                }
                sum
            }),
            Definition::Loops => return None,
        })
    }
}

/// The coordinates of a row-major position.
fn coordinates(mut position: usize, dims: &[usize]) -> Vec<i64> {
    let mut coordinates = vec![0; dims.len()];
    for (coordinate, &extent) in coordinates.iter_mut().zip(dims).rev() {
        *coordinate = (position % extent) as i64;
        position /= extent;
    }
    coordinates
}

/// Where expressions are evaluated.
struct Point<'a> {
    operands: &'a [&'a Tensor],
    /// The axes of the result, then those of the reduction.
    axes: Vec<i64>,
    /// Gathered values in scope, with their numbers.
    values: Vec<(u32, i64)>,
}

impl Point<'_> {
    fn index(&self, index: &Index) -> i64 {
        index.evaluate(&|atom| match atom {
            Atom::Var(axis) => self.axes[*axis as usize],
            Atom::Value(value) => {
                let bound = self.values.iter().rev().find(|(number, _)| number == value);
                bound.expect("a definition uses a value that it binds").1
            }
            Atom::Div(..) | Atom::Rem(..) => unreachable!("an index looks up variables and values only"),
        })
    }

    fn inside(&self, bounds: &[(Index, usize)]) -> bool {
        bounds.iter().all(|(index, extent)| (0..*extent as i64).contains(&self.index(index)))
    }

    fn element(&mut self, element: &Element) -> Scalar {
        match element {
            Element::Operand(operand, index) => {
                let tensor = self.operands[*operand];
                let position = index.iter().zip(tensor.dims()).fold(0, |position, (index, &extent)| {
                    let at = self.index(index);
                    assert!(
                        (0..extent as i64).contains(&at),
                        "index {at} of operand {operand} leaves 0..{extent}"
                    );
                    position * extent + at as usize
                });
                tensor.get(position)
            }
            Element::Constant(scalar) => *scalar,
            Element::Index(index, dtype) => Scalar::from_i64(*dtype, self.index(index)),
            Element::Op(op, args) => {
                let args: Vec<Scalar> = args.iter().map(|arg| self.element(arg)).collect();
                op.apply(&args)
            }
            Element::Guard { bounds, then, otherwise } => {
                let chosen = if self.inside(bounds) { then } else { otherwise };
                self.element(chosen)
            }
            Element::Shared(element) => self.element(element),
            Element::Gathered { first, values, body } => {
                let before = self.values.len();
                for (number, (value, extent)) in (*first..).zip(values) {
                    let index = self.element(value).to_i64().clamp(0, *extent as i64 - 1);
                    self.values.push((number, index));
                }
                let result = self.element(body);
                self.values.truncate(before);
                result
            }
        }
    }
}
