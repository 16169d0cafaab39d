//! Inputs for measurements.

use crate::error::Result;
use crate::random::{Purpose, Random};
use crate::run::manifest::Input;
use crate::tensors::dtype::DType;
use crate::tensors::tensor::Tensor;

/// Random values: floats uniform in [-1, 1), integers within the bounds of the input, or below 10.
///
/// # Errors
/// Too little memory.
pub fn random_inputs(inputs: &[Input]) -> Result<Vec<Tensor>> {
    let mut tensors = Vec::with_capacity(inputs.len());
    for (number, input) in inputs.iter().enumerate() {
        let mut random = Random::new(0, Purpose::Augment, 0, number as u32);
        let mut tensor = Tensor::zeros(input.dtype, &input.dims)?;
        let (low, high) = input.range.map_or((0, 9), |range| (range.low, range.high));
        let span = high.abs_diff(low).saturating_add(1);
        let mut integer = || low.wrapping_add_unsigned(random.below(span));
        match input.dtype {
            DType::Bool => tensor.bytes_mut().iter_mut().for_each(|v| *v = (integer() & 1) as u8),
            DType::U8 => tensor.as_mut_slice::<u8>()?.iter_mut().for_each(|v| *v = integer() as u8),
            DType::I32 => tensor.as_mut_slice::<i32>()?.iter_mut().for_each(|v| *v = integer() as i32),
            DType::I64 => tensor.as_mut_slice::<i64>()?.iter_mut().for_each(|v| *v = integer()),
            DType::F32 => {
                tensor.as_mut_slice::<f32>()?.iter_mut().for_each(|v| *v = random.uniform() * 2.0 - 1.0)
            }
            DType::F64 => {
                tensor
                    .as_mut_slice::<f64>()?
                    .iter_mut()
                    .for_each(|v| *v = f64::from(random.uniform()) * 2.0 - 1.0);
            }
        }
        tensors.push(tensor);
    }
    Ok(tensors)
}
