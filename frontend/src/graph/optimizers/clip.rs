//! Gradient clipping, by value and by global norm (Pascanu, Mikolov & Bengio 2013).

use crate::graph::ops::Ops;
use crate::graph::value::{Built, Tensor};

/// Every element into `-max..=max`.
pub(crate) fn by_value(ops: &mut Ops, gradients: &mut [Tensor], max: f64) -> Built<()> {
    for gradient in gradients {
        *gradient = ops.saturate(*gradient, -max, max)?;
    }
    Ok(())
}

/// All gradients times `min(1, max / (norm + 1e-6))`, the norm that of all of them together (PyTorch's
/// `clip_grad_norm_`).
pub(crate) fn by_norm(ops: &mut Ops, gradients: &mut [Tensor], max: f64) -> Built<()> {
    let mut total = None;
    for &gradient in gradients.iter() {
        let square = ops.square(gradient)?;
        let sum = ops.sum_all(square)?;
        total = Some(match total {
            None => sum,
            Some(total) => ops.add(total, sum)?,
        });
    }
    let Some(total) = total else { return Ok(()) };
    let norm = ops.sqrt(total)?;
    let norm = ops.add_num(norm, 1e-6)?;
    let dtype = ops.dtype(norm);
    let max = ops.scalar(max, dtype)?;
    let factor = ops.div(max, norm)?;
    let factor = ops.min_num(factor, 1.0)?;
    for gradient in gradients {
        *gradient = ops.mul(*gradient, factor)?;
    }
    Ok(())
}
