//! Sums, means and what is made of them.

use brolga_ir::DType;
use brolga_ir::program::Combine;
use brolga_ir::scalar::Function;

use super::{Ops, no_truths};
use crate::graph::value::{Built, Fault, Tensor};

/// The statistics by which a normalisation rescales a tensor, and the tensor without its mean.
pub(crate) struct Moments {
    pub mean: Tensor,
    pub variance: Tensor,
    /// The tensor without its mean.
    pub centred: Tensor,
}

impl Ops<'_> {
    /// Combines along axes; they stay with extent 1 if `keep`.
    pub fn reduce(&mut self, combine: Combine, x: Tensor, axes: &[usize], keep: bool) -> Built {
        let rank = self.rank(x);
        if self.dtype(x) == DType::Bool && matches!(combine, Combine::Add | Combine::Mul) {
            return Err(no_truths(if combine == Combine::Add { "sum" } else { "prod" }));
        }
        let reduced = self.b.reduce(combine, x, axes)?;
        if keep { self.unsqueeze(reduced, axes, rank) } else { Ok(reduced) }
    }

    pub fn sum(&mut self, x: Tensor, axes: &[usize], keep: bool) -> Built {
        self.reduce(Combine::Add, x, axes, keep)
    }

    /// The sum divided by the count, for floats.
    pub fn mean(&mut self, x: Tensor, axes: &[usize], keep: bool) -> Built {
        let rank = self.rank(x);
        let mean = self.b.mean(x, axes)?;
        if keep { self.unsqueeze(mean, axes, rank) } else { Ok(mean) }
    }

    /// The mean of all elements.
    pub fn mean_all(&mut self, x: Tensor) -> Built {
        if self.precise {
            let (sum, count) = (self.sum_all(x)?, self.ty(x).elements());
            return self.div_num(sum, count as f64);
        }
        let axes: Vec<usize> = (0..self.rank(x)).collect();
        self.mean(x, &axes, false)
    }

    pub fn sum_all(&mut self, x: Tensor) -> Built {
        if self.precise {
            let parts = self.parts(x)?;
            let sum = self.sum(parts, &[0], false)?;
            self.note_sum(sum);
            return Ok(sum);
        }
        let axes: Vec<usize> = (0..self.rank(x)).collect();
        self.sum(x, &axes, false)
    }

    /// Notes a sum of all elements of a metric or loss.
    pub fn note_sum(&mut self, sum: Tensor) {
        if self.precise {
            self.sums.push(sum);
        }
    }

    /// Whether sums and means of all elements are formed in f64.
    pub fn is_precise(&self) -> bool {
        self.precise
    }

    /// The sums over all axes but the first, as f64: those of samples, where this is their axis. Whole numbers are added in
    /// i64; floats within a sample as they are, so that no batch changes a bit of what is added up.
    pub fn parts(&mut self, x: Tensor) -> Built {
        let rank = self.rank(x);
        let x = if rank == 0 { self.reshape(x, &[1])? } else { x };
        let x = self.widened(x)?;
        let axes: Vec<usize> = (1..rank).collect();
        let sums = if axes.is_empty() { x } else { self.sum(x, &axes, false)? };
        if self.dtype(sums) == DType::F64 { Ok(sums) } else { self.convert(sums, DType::F64) }
    }

    /// Mean and biased variance along axes (which stay with extent 1), the variance around the mean; and what is left of x
    /// without its mean. Who goes on with that same value has one gradient by it, whose sum is that by the mean.
    pub fn moments(&mut self, x: Tensor, axes: &[usize]) -> Built<Moments> {
        let mean = self.mean(x, axes, true)?;
        let centred = self.sub(x, mean)?;
        let square = self.square(centred)?;
        let variance = self.mean(square, axes, true)?;
        Ok(Moments { mean, variance, centred })
    }

    /// `x - max - ln sum exp(x - max)` along an axis. No gradient flows through the maximum: it cancels.
    pub fn log_softmax(&mut self, x: Tensor, axis: usize) -> Built {
        let shifted = self.shifted(x, axis)?;
        let exp = self.function(Function::Exp, shifted)?;
        let sum = self.sum(exp, &[axis], true)?;
        let log = self.function(Function::Log, sum)?;
        self.sub(shifted, log)
    }

    /// `exp(x - max) / sum exp(x - max)` along an axis.
    pub fn softmax(&mut self, x: Tensor, axis: usize) -> Built {
        let shifted = self.shifted(x, axis)?;
        let exp = self.function(Function::Exp, shifted)?;
        let sum = self.sum(exp, &[axis], true)?;
        self.div(exp, sum)
    }

    fn shifted(&mut self, x: Tensor, axis: usize) -> Built {
        if !self.dtype(x).is_float() {
            return Err(Fault::new(format!("softmax takes floating-point numbers, found {}", self.ty(x))));
        }
        let max = self.reduce(Combine::Max, x, &[axis], true)?;
        let max = self.stop_gradient(max)?;
        self.sub(x, max)
    }

    /// Puts back axes of extent 1 that a reduction removed.
    fn unsqueeze(&mut self, x: Tensor, axes: &[usize], rank: usize) -> Built {
        let mut kept = self.dims(x).into_iter();
        let dims: Vec<usize> =
            (0..rank).map(|axis| if axes.contains(&axis) { 1 } else { kept.next().unwrap_or(1) }).collect();
        self.reshape(x, &dims)
    }
}
