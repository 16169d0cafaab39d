//! `pad`: surrounds a tensor, and separates its elements, by copies of a scalar.

use super::*;
use crate::definition::{Element, Piece};
use crate::index::{Atom, Index};

/// Along each axis: `low` copies of the scalar, the elements with `interior` copies between neighbours, and
/// `high` copies. Operands: the tensor, the scalar.
#[derive(Clone, PartialEq, Debug)]
pub struct Pad {
    /// Copies before the first element, for each axis.
    pub low: Vec<usize>,
    /// Copies behind the last element, for each axis.
    pub high: Vec<usize>,
    /// Copies between neighbours, for each axis.
    pub interior: Vec<usize>,
}

impl Pad {
    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        &["pad"]
    }

    pub(super) fn from_attributes(_: &str, attributes: &mut Attributes) -> Result<Pad, String> {
        let low = attributes.sizes("low")?;
        let interior = attributes.sizes_or("interior", vec![0; low.len()])?;
        Ok(Pad { low, high: attributes.sizes("high")?, interior })
    }

    /// The extent that the elements and what lies between them take.
    fn spread(&self, axis: usize, extent: usize) -> usize {
        if extent == 0 { 0 } else { (extent - 1) * (self.interior[axis] + 1) + 1 }
    }
}

impl Operator for Pad {
    fn name(&self) -> &'static str {
        "pad"
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let mut attributes =
            vec![("low", Attribute::sizes(&self.low)), ("high", Attribute::sizes(&self.high))];
        if self.interior.iter().any(|&interior| interior != 0) {
            attributes.push(("interior", Attribute::sizes(&self.interior)));
        }
        attributes
    }

    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, String> {
        expect_operands(operands, 2)?;
        let (x, value) = (operands[0], operands[1]);
        if *value != Type::scalar(x.dtype) {
            return Err(format!("pads {x} by a scalar {}[], found {value}", x.dtype));
        }
        for (name, list) in [("low", &self.low), ("high", &self.high), ("interior", &self.interior)] {
            expect_per_axis(name, list.len(), x)?;
            expect_small(name, list)?;
        }
        let whole = |(axis, &extent): (usize, &usize)| {
            let whole = spread(extent, self.interior[axis] + 1) + self.low[axis] + self.high[axis];
            whole.get().map_err(|_| format!("axis {axis} of {x} becomes too large"))
        };
        let dims = x.dims.iter().enumerate().map(whole).collect::<Result<Vec<_>, _>>()?;
        Ok(vec![x.with_dims(dims)])
    }

    fn gradient(&self, cx: &mut GradientCx) -> Gradient {
        let dy = cx.cotangent(0)?;
        let (from, to) = (cx.b.dims(cx.operands[0]), cx.b.dims(dy));
        let limit: Vec<usize> = (0..from.len()).map(|a| self.low[a] + self.spread(a, from[a])).collect();
        let stride: Vec<usize> = self.interior.iter().map(|&interior| interior + 1).collect();
        let dx = cx.b.slice(dy, &self.low, &limit, &stride)?;
        let axes: Vec<usize> = (0..to.len()).collect();
        // What is left when the elements are taken out.
        let (all, inside) = (cx.b.sum(dy, &axes)?, cx.b.sum(dx, &axes)?);
        Ok(vec![Some(dx), Some(cx.b.sub(all, inside)?)])
    }

    /// A box for the tensor and two for each padded axis; one guarded expression where elements are separated.
    fn definition(&self, operands: &[&Type], results: &[Type]) -> Vec<Definition> {
        let (from, to) = (&operands[0].dims, &results[0].dims);
        let outside = Element::Operand(1, Vec::new());
        if self.interior.iter().any(|&interior| interior != 0) {
            let range = |atom: &Atom| match atom {
                Atom::Var(axis) => Some((0, to[*axis as usize] as i64 - 1)),
                _ => None,
            };
            let (mut bounds, mut index) = (Vec::new(), Vec::new());
            for (axis, &extent) in from.iter().enumerate() {
                let at = Index::var(axis as u32).plus(-(self.low[axis] as i64));
                let step = self.interior[axis] as i64 + 1;
                index.push(at.div(step, &range));
                bounds.push((at.div(step, &range), extent));
                if step > 1 {
                    bounds.push((at.rem(step, &range), 1));
                }
            }
            let then = Box::new(Element::Operand(0, index));
            return vec![Definition::Element(Element::Guard { bounds, then, otherwise: Box::new(outside) })];
        }
        let index = self
            .low
            .iter()
            .enumerate()
            .map(|(axis, &low)| Index::var(axis as u32).plus(-(low as i64)))
            .collect();
        let inside = Element::Operand(0, index);
        let mut pieces = vec![Piece { start: self.low.clone(), extents: from.clone(), value: inside }];
        // Axis by axis: what lies before and behind, narrowed to the tensor along the axes already done.
        let (mut start, mut extents) = (vec![0; to.len()], to.clone());
        for axis in 0..to.len() {
            let behind = self.low[axis] + from[axis];
            for (first, extent) in [(0, self.low[axis]), (behind, self.high[axis])] {
                if extent > 0 {
                    let (mut start, mut extents) = (start.clone(), extents.clone());
                    (start[axis], extents[axis]) = (first, extent);
                    pieces.push(Piece { start, extents, value: outside.clone() });
                }
            }
            (start[axis], extents[axis]) = (self.low[axis], from[axis]);
        }
        vec![Definition::Pieces(pieces)]
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[Type]) -> Result<Vec<Tensor>, String> {
        let x = operands[0];
        let mut result = Tensor::try_full(&results[0], operands[1].get(0))?;
        let to = results[0].strides();
        let first: usize = to.iter().zip(&self.low).map(|(&step, &low)| step * low).sum();
        let steps: Vec<isize> = to
            .iter()
            .zip(&self.interior)
            .map(|(&step, &interior)| (step * (interior + 1)) as isize)
            .collect();
        write_view(&mut result, first, &steps, x);
        Ok(vec![result])
    }
}
