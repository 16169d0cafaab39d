//! `scatter_add_along` and its like: changes elements along one axis, each row at its own indices.

use super::gather::inside;
use super::gather_along::position_along;
use super::scatter::{Places, updated};
use super::*;
use crate::definition::Element;
use crate::index::Index;
use crate::scalar::{Comparison, ScalarOp};

/// Operands: base, indices (`i32` or `i64`, extents of base but for the axis, along which they are any), updates
/// (extents of the indices). The result is base with `updates[a…, i, b…]` added to, put at, or compared with what is at
/// `[a…, indices[a…, i, b…], b…]`, in row-major order. Updates whose index lies outside the extent are dropped.
#[derive(Clone, PartialEq, Debug)]
pub struct ScatterAlong {
    /// The axis of base that is indexed.
    pub axis: usize,
    /// What happens to the element that is there.
    pub mode: ScatterMode,
}

impl ScatterAlong {
    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        &["scatter_add_along", "scatter_set_along", "scatter_max_along", "scatter_min_along"]
    }

    pub(super) fn from_attributes(name: &str, attributes: &mut Attributes) -> Result<ScatterAlong, String> {
        let mode = ScatterMode::named(ScatterAlong::names(), name);
        Ok(ScatterAlong { axis: attributes.size("axis")?, mode })
    }
}

impl Operator for ScatterAlong {
    fn name(&self) -> &'static str {
        ScatterAlong::names()[self.mode as usize]
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("axis", Attribute::Int(self.axis as i64))]
    }

    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, String> {
        expect_operands(operands, 3)?;
        expect_numbers(operands)?;
        let expected = GatherAlong { axis: self.axis }.taken(operands[0], operands[1])?;
        updated(operands, &expected, self.mode)
    }

    fn gradient(&self, cx: &mut GradientCx) -> Gradient {
        let dy = cx.cotangent(0)?;
        let (base, indices, updates) = (cx.operands[0], cx.operands[1], cx.operands[2]);
        let extent = cx.b.dims(base)[self.axis];
        let zero = cx.b.zeros_like(updates)?;
        if cx.b.dims(updates).contains(&0) || extent == 0 {
            return Ok(vec![Some(dy), None, Some(zero)]);
        }
        let inside = inside(&mut cx.b, indices, extent)?;
        if self.mode != ScatterMode::Add {
            let axis = self.axis;
            let scatter = Box::new(move |mode| Op::from(ScatterAlong { axis, mode }));
            let places = Places { scatter, gather: GatherAlong { axis }.into(), indices, inside };
            return places.gradient(cx, self.mode);
        }
        let taken = cx.b.gather_along(dy, indices, self.axis)?;
        Ok(vec![Some(dy), None, Some(cx.b.select(inside, taken, zero)?)])
    }

    /// Where each row has one index, an element is changed at that index and `base` elsewhere: a comparison
    /// that fuses, instead of a loop of its own.
    fn definition(&self, operands: &[&Type], _: &[Type]) -> Vec<Definition> {
        let (base, indices) = (operands[0], operands[1]);
        if indices.dims[self.axis] != 1 {
            return vec![Definition::Loops];
        }
        let index =
            |axis: usize| if axis == self.axis { Index::constant(0) } else { Index::var(axis as u32) };
        let row: Vec<Index> = (0..base.rank()).map(index).collect();
        let here = Element::Index(Index::var(self.axis as u32), indices.dtype);
        let chosen =
            Element::Op(ScalarOp::Compare(Comparison::Eq), vec![Element::Operand(1, row.clone()), here]);
        let old = Element::same(0, base.rank());
        let update = Element::Operand(2, row);
        let new = match self.mode.operation() {
            Some(op) => Element::Op(op, vec![old.clone(), update]),
            None => update,
        };
        vec![Definition::Element(Element::Op(ScalarOp::Select, vec![chosen, new, old]))]
    }

    /// In row-major order; each addition rounds.
    fn evaluate(&self, operands: &[&Tensor], _: &[Type]) -> Result<Vec<Tensor>, String> {
        let (base, indices, updates) = (operands[0], to_i64(operands[1])?, operands[2]);
        let mut result = base.try_clone()?;
        for (i, &index) in indices.iter().enumerate() {
            let Some(index) = usize::try_from(index).ok().filter(|&index| index < base.dims()[self.axis])
            else {
                continue;
            };
            let to = position_along(base.dims(), updates.dims(), self.axis, i, index);
            let value = self.mode.apply(result.get(to), updates.get(i));
            result.set(to, value);
        }
        Ok(vec![result])
    }
}
