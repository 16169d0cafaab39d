//! `scatter_add`, `scatter_set`: adds to, or overwrites, slices along one axis at computed indices.

use super::gather::inside;
use super::*;
use crate::scalar::{Comparison, ScalarOp};
use crate::types::DType;

/// Operands: base, indices (`i32` or `i64`, any extents), updates (base's extents with the axis replaced by those of
/// the indices). The result is base with `updates[a…, i…, b…]` added to or put at `[a…, indices[i…], b…]`, in
/// row-major order of the indices. Updates whose index lies outside the extent are dropped.
#[derive(Clone, PartialEq, Debug)]
pub struct Scatter {
    /// The axis of base that is indexed.
    pub axis: usize,
    /// What happens to the element that is there.
    pub mode: ScatterMode,
}

/// What an update does to the element that is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScatterMode {
    /// Is added to it.
    Add,
    /// Replaces it; the last one wins.
    Set,
}

impl Scatter {
    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        &["scatter_add", "scatter_set"]
    }

    pub(super) fn from_attributes(name: &str, attributes: &mut Attributes) -> Result<Scatter, String> {
        let mode = if name == "scatter_add" { ScatterMode::Add } else { ScatterMode::Set };
        Ok(Scatter { axis: attributes.size("axis")?, mode })
    }

    /// Which indices have an effect: those inside, and of several equal ones the last where they overwrite.
    fn effective(&self, b: &mut Builder, indices: Value, extent: usize) -> Result<Value, GraphError> {
        let inside = inside(b, indices, extent)?;
        if self.mode == ScatterMode::Add {
            return Ok(inside);
        }
        let dims = b.dims(indices);
        let axes: Vec<usize> = (0..dims.len()).collect();
        let position = b.position(&dims, &axes)?;
        let nobody = b.full(-1.0, &Type::new(DType::I32, [extent]))?;
        let writers =
            b.add_node(Scatter { axis: 0, mode: ScatterMode::Set }, &[nobody, indices, position])?;
        let writer = b.gather(writers, indices, 0)?;
        let wins = b.compare(Comparison::Eq, writer, position)?;
        b.elementwise(ScalarOp::And, &[inside, wins])
    }
}

/// The type of a base that takes updates of the type expected; `operands` are those of scattering.
pub(super) fn updated(operands: &[&Type], expected: &Type, mode: ScatterMode) -> Result<Vec<Type>, String> {
    let (base, indices, updates) = (operands[0], operands[1], operands[2]);
    if updates != expected {
        return Err(format!("updates of {base} at {indices} must be {expected}, found {updates}"));
    }
    if mode == ScatterMode::Add && base.dtype == DType::Bool {
        return Err("values of bool cannot be added".into());
    }
    Ok(vec![base.clone()])
}

impl Operator for Scatter {
    fn name(&self) -> &'static str {
        match self.mode {
            ScatterMode::Add => "scatter_add",
            ScatterMode::Set => "scatter_set",
        }
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("axis", Attribute::Int(self.axis as i64))]
    }

    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, String> {
        expect_operands(operands, 3)?;
        expect_numbers(operands)?;
        let expected = Gather { axis: self.axis }.taken(operands[0], operands[1])?;
        updated(operands, &expected, self.mode)
    }

    fn gradient(&self, cx: &mut GradientCx) -> Gradient {
        let dy = cx.cotangent(0)?;
        let (base, indices, updates) = (cx.operands[0], cx.operands[1], cx.operands[2]);
        let (dims, extent) = (cx.b.dims(updates), cx.b.dims(base)[self.axis]);
        if dims.contains(&0) || extent == 0 {
            return Ok(vec![Some(dy), None, Some(cx.b.zeros_like(updates)?)]);
        }
        let zero = cx.b.zeros_like(updates)?;
        let dbase = match self.mode {
            ScatterMode::Add => dy,
            ScatterMode::Set => cx.b.add_node(self.clone(), &[dy, indices, zero])?,
        };
        let effective = self.effective(&mut cx.b, indices, extent)?;
        let rank = cx.b.ty(indices).rank();
        let axes: Vec<usize> = (self.axis..self.axis + rank).collect();
        let effective = cx.b.broadcast(effective, &dims, &axes)?;
        let taken = cx.b.gather(dy, indices, self.axis)?;
        Ok(vec![Some(dbase), None, Some(cx.b.select(effective, taken, zero)?)])
    }

    fn definition(&self, _: &[&Type], _: &[Type]) -> Vec<Definition> {
        vec![Definition::Loops]
    }

    /// Each addition rounds, in row-major order of the indices.
    fn evaluate(&self, operands: &[&Tensor], _: &[Type]) -> Result<Vec<Tensor>, String> {
        let (base, indices, updates) = (operands[0], to_i64(operands[1])?, operands[2]);
        let extent = base.dims()[self.axis];
        let outer: usize = base.dims()[..self.axis].iter().product();
        let inner: usize = base.dims()[self.axis + 1..].iter().product();
        let mut result = base.try_clone()?;
        for (which, &index) in indices.iter().enumerate() {
            let Some(index) = usize::try_from(index).ok().filter(|&index| index < extent) else {
                continue;
            };
            for row in 0..outer {
                let (to, from) = ((row * extent + index) * inner, (row * indices.len() + which) * inner);
                for i in 0..inner {
                    let value = self.mode.apply(result.get(to + i), updates.get(from + i));
                    result.set(to + i, value);
                }
            }
        }
        Ok(vec![result])
    }
}

impl ScatterMode {
    /// The element that an update leaves.
    pub fn apply(self, old: crate::scalar::Scalar, update: crate::scalar::Scalar) -> crate::scalar::Scalar {
        match self {
            ScatterMode::Add => ScalarOp::Add.apply(&[old, update]),
            ScatterMode::Set => update,
        }
    }
}
