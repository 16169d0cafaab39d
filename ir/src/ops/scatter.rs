//! `scatter_add`, `scatter_set`, `scatter_max`, `scatter_min`: changes slices along one axis at computed indices.

use super::gather::inside;
use super::*;
use crate::scalar::{Comparison, ScalarOp};
use crate::types::DType;

/// Operands: base, indices (`i32` or `i64`, any extents), updates (base's extents with the axis replaced by those of
/// the indices). The result is base with `updates[a…, i…, b…]` added to, put at, or compared with what is at
/// `[a…, indices[i…], b…]`, in row-major order of the indices. Updates whose index lies outside the extent are dropped.
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
    /// The larger stays, as `max` has it: NaN wins.
    Max,
    /// The smaller stays, as `min` has it: NaN wins.
    Min,
}

impl Scatter {
    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        &["scatter_add", "scatter_set", "scatter_max", "scatter_min"]
    }

    pub(super) fn from_attributes(name: &str, attributes: &mut Attributes) -> Result<Scatter, String> {
        let mode = ScatterMode::named(Scatter::names(), name);
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
    if mode != ScatterMode::Set && base.dtype == DType::Bool {
        return Err("values of bool cannot be added or compared".into());
    }
    Ok(vec![base.clone()])
}

/// The places that a scattering changes: what it is with any mode, what takes from them, and which updates reach one.
pub(super) struct Places {
    pub scatter: Box<dyn Fn(ScatterMode) -> Op>,
    pub gather: Op,
    pub indices: Value,
    /// As `bool`, with the extents of the updates.
    pub inside: Value,
}

impl Places {
    fn scatter(
        &self,
        b: &mut Builder,
        mode: ScatterMode,
        base: Value,
        updates: Value,
    ) -> Result<Value, GraphError> {
        b.add_node((self.scatter)(mode), &[base, self.indices, updates])
    }

    fn gather(&self, b: &mut Builder, x: Value) -> Result<Value, GraphError> {
        b.add_node(self.gather.clone(), &[x, self.indices])
    }

    /// The gradient where one element stays of all that meet, base or update: the last one if they overwrite. Of the largest
    /// or smallest it is the first, base before updates, and NaN wins.
    pub fn gradient(&self, cx: &mut GradientCx, mode: ScatterMode) -> Gradient {
        let dy = cx.cotangent(0)?;
        let (base, updates, y) = (cx.operands[0], cx.operands[2], cx.results[0]);
        let b = &mut cx.b;
        let (dims, places) = (b.dims(updates), Type::new(DType::I32, b.dims(base)));
        let axes: Vec<usize> = (0..dims.len()).collect();
        let position = b.position(&dims, &axes)?;
        // The position of the update that stays at each place; where it is nobody's, the base stays.
        let (nobody, writers) = if mode == ScatterMode::Set {
            let nobody = b.full(-1.0, &places)?;
            (nobody, self.scatter(b, mode, nobody, position)?)
        } else {
            let (stays, there) = (attains(b, base, y)?, self.gather(b, y)?);
            let (beaten, equal) = (self.gather(b, stays)?, attains(b, updates, there)?);
            let free = b.elementwise(ScalarOp::Not, &[beaten])?;
            let candidate = b.elementwise(ScalarOp::And, &[equal, free])?;
            let (nobody, far) = (b.full(FAR, &places)?, b.full_like(position, FAR)?);
            let candidates = b.select(candidate, position, far)?;
            (nobody, self.scatter(b, ScatterMode::Min, nobody, candidates)?)
        };
        let (zero, none) = (b.zeros_like(base)?, b.zeros_like(updates)?);
        let stays = b.compare(Comparison::Eq, writers, nobody)?;
        let dbase = b.select(stays, dy, zero)?;
        let writer = self.gather(b, writers)?;
        let wins = b.compare(Comparison::Eq, writer, position)?;
        let wins = b.elementwise(ScalarOp::And, &[wins, self.inside])?;
        let taken = self.gather(b, dy)?;
        Ok(vec![Some(dbase), None, Some(b.select(wins, taken, none)?)])
    }
}

/// Beyond every position.
const FAR: f64 = 2_147_483_647.0;

/// Whether an element is the winner, as which NaN counts.
fn attains(b: &mut Builder, x: Value, winner: Value) -> Result<Value, GraphError> {
    let equal = b.compare(Comparison::Eq, x, winner)?;
    if !b.ty(x).dtype.is_float() {
        return Ok(equal);
    }
    let undefined = b.compare(Comparison::Ne, x, x)?;
    b.elementwise(ScalarOp::Or, &[equal, undefined])
}

impl Operator for Scatter {
    fn name(&self) -> &'static str {
        Scatter::names()[self.mode as usize]
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
        let axis = self.axis;
        let axes: Vec<usize> = (axis..axis + cx.b.ty(indices).rank()).collect();
        if matches!(self.mode, ScatterMode::Max | ScatterMode::Min) {
            let inside = inside(&mut cx.b, indices, extent)?;
            let inside = cx.b.broadcast(inside, &dims, &axes)?;
            let scatter = Box::new(move |mode| Op::from(Scatter { axis, mode }));
            let places = Places { scatter, gather: Gather { axis }.into(), indices, inside };
            return places.gradient(cx, self.mode);
        }
        let zero = cx.b.zeros_like(updates)?;
        let dbase = match self.mode {
            ScatterMode::Set => cx.b.add_node(self.clone(), &[dy, indices, zero])?,
            _ => dy,
        };
        let effective = self.effective(&mut cx.b, indices, extent)?;
        let effective = cx.b.broadcast(effective, &dims, &axes)?;
        let taken = cx.b.gather(dy, indices, self.axis)?;
        Ok(vec![Some(dbase), None, Some(cx.b.select(effective, taken, zero)?)])
    }

    fn definition(&self, _: &[&Type], _: &[Type]) -> Vec<Definition> {
        vec![Definition::Loops]
    }

    /// In row-major order of the indices; each addition rounds.
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
    /// All of them, in the order of the operators' names.
    pub const ALL: [ScatterMode; 4] =
        [ScatterMode::Add, ScatterMode::Set, ScatterMode::Max, ScatterMode::Min];

    /// The mode whose operator has that name, among those of all modes.
    pub(super) fn named(names: &[&str], name: &str) -> ScatterMode {
        let found = ScatterMode::ALL.into_iter().zip(names).find(|(_, other)| **other == name);
        found.map_or(ScatterMode::Set, |(mode, _)| mode)
    }

    /// What is made of the element that is there and the update; nothing where this replaces it.
    pub fn operation(self) -> Option<ScalarOp> {
        match self {
            ScatterMode::Add => Some(ScalarOp::Add),
            ScatterMode::Set => None,
            ScatterMode::Max => Some(ScalarOp::Max),
            ScatterMode::Min => Some(ScalarOp::Min),
        }
    }

    /// The element that an update leaves.
    pub fn apply(self, old: crate::scalar::Scalar, update: crate::scalar::Scalar) -> crate::scalar::Scalar {
        self.operation().map_or(update, |op| op.apply(&[old, update]))
    }
}
