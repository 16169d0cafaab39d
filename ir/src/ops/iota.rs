//! `iota`: the position along one axis.

use super::*;
use crate::definition::Element;
use crate::index::Index;
use crate::scalar::Scalar;
use crate::types::DType;

/// A tensor whose element is its position along `axis`.
#[derive(Clone, PartialEq, Debug)]
pub struct Iota {
    /// The result's type; not `bool`.
    pub ty: Type,
    /// The axis that is counted.
    pub axis: usize,
}

impl Iota {
    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        &["iota"]
    }

    pub(super) fn from_attributes(_: &str, attributes: &mut Attributes) -> Result<Iota, String> {
        let name = attributes.name("dtype")?;
        let dtype = DType::from_name(&name).ok_or_else(|| format!("`{name}` is no element type"))?;
        Ok(Iota { ty: Type::new(dtype, attributes.sizes("dims")?), axis: attributes.size("axis")? })
    }
}

impl Operator for Iota {
    fn name(&self) -> &'static str {
        "iota"
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![
            ("dtype", Attribute::name(self.ty.dtype.name())),
            ("dims", Attribute::sizes(&self.ty.dims)),
            ("axis", Attribute::Int(self.axis as i64)),
        ]
    }

    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, String> {
        expect_operands(operands, 0)?;
        expect_numbers(&[&self.ty])?;
        if self.axis >= self.ty.rank() || self.ty.dtype == DType::Bool {
            return Err(format!("axis {} of {} cannot be counted", self.axis, self.ty));
        }
        Ok(vec![self.ty.clone()])
    }

    fn gradient(&self, _: &mut GradientCx) -> Gradient {
        Ok(Vec::new())
    }

    fn definition(&self, _: &[&Type], _: &[Type]) -> Vec<Definition> {
        vec![Definition::Element(Element::Index(Index::var(self.axis as u32), self.ty.dtype))]
    }

    fn evaluate(&self, _: &[&Tensor], results: &[Type]) -> Result<Vec<Tensor>, String> {
        let (stride, extent) = (self.ty.strides()[self.axis], self.ty.dims[self.axis]);
        let at = |i: usize| Scalar::from_i64(self.ty.dtype, (i / stride % extent) as i64);
        Ok(vec![Tensor::try_generate(&results[0], at)?])
    }
}
