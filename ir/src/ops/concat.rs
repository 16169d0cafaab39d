//! `concat`: tensors one behind the other along an axis.

use super::*;
use crate::definition::{Element, Piece};
use crate::index::Index;

/// The operands, at least one, one behind the other along `axis`.
#[derive(Clone, PartialEq, Debug)]
pub struct Concat {
    /// The axis along which extents add up.
    pub axis: usize,
}

impl Concat {
    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        &["concat"]
    }

    pub(super) fn from_attributes(_: &str, attributes: &mut Attributes) -> Result<Concat, String> {
        Ok(Concat { axis: attributes.size("axis")? })
    }
}

impl Operator for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("axis", Attribute::Int(self.axis as i64))]
    }

    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, String> {
        let first = *operands.first().ok_or("takes at least 1 operand, found 0")?;
        expect_axis(self.axis, first)?;
        let mut result = first.clone();
        for other in &operands[1..] {
            let mut expected = (*other).clone();
            if other.rank() == first.rank() {
                expected.dims[self.axis] = first.dims[self.axis];
            }
            if expected != *first {
                return Err(format!(
                    "{first} and {other} differ in more than the extent of axis {}",
                    self.axis
                ));
            }
            result.dims[self.axis] = (Size::from(result.dims[self.axis]) + other.dims[self.axis]).get()?;
        }
        Ok(vec![result])
    }

    fn gradient(&self, cx: &mut GradientCx) -> Gradient {
        let dy = cx.cotangent(0)?;
        let dims = cx.b.dims(dy);
        let (mut start, mut limit) = (vec![0; dims.len()], dims.clone());
        let mut gradients = Vec::new();
        for &operand in cx.operands {
            limit[self.axis] = start[self.axis] + cx.b.dims(operand)[self.axis];
            gradients.push(Some(cx.b.slice(dy, &start, &limit, &vec![1; dims.len()])?));
            start[self.axis] = limit[self.axis];
        }
        Ok(gradients)
    }

    fn definition(&self, operands: &[&Type], _: &[Type]) -> Vec<Definition> {
        let mut first = 0;
        let mut pieces = Vec::new();
        for (operand, ty) in operands.iter().enumerate() {
            let mut index: Vec<Index> = (0..ty.rank() as u32).map(Index::var).collect();
            index[self.axis] = index[self.axis].plus(-(first as i64));
            let mut start = vec![0; ty.rank()];
            start[self.axis] = first;
            pieces.push(Piece { start, extents: ty.dims.clone(), value: Element::Operand(operand, index) });
            first += ty.dims[self.axis];
        }
        vec![Definition::Pieces(pieces)]
    }

    fn evaluate(&self, operands: &[&Tensor], results: &[Type]) -> Result<Vec<Tensor>, String> {
        let mut result = Tensor::try_zeros(&results[0])?;
        let to: Vec<isize> = results[0].strides().iter().map(|&step| step as isize).collect();
        let mut first = 0;
        for operand in operands {
            write_view(&mut result, first, &to, operand);
            first += operand.dims()[self.axis] * to[self.axis] as usize;
        }
        Ok(vec![result])
    }
}
