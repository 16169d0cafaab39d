//! Contractions, windows, indexing, random numbers and gradients, in the frontend's conventions.

use brolga_ir::program::Combine;
use brolga_ir::scalar::{Function, Scalar, ScalarOp};
use brolga_ir::{DType, Type};

use super::ops::{Ops, Range, Tensor};
use super::value::{Built, Fault};

/// Attributes of a convolution over the spatial axes.
pub(crate) struct Convolution<'a> {
    pub stride: &'a [usize],
    pub padding: &'a [(usize, usize)],
    /// Zeros between the elements of the input: transposed convolution.
    pub input_dilation: &'a [usize],
    pub dilation: &'a [usize],
    pub groups: usize,
}

fn missing() -> Fault {
    Fault::new("not built yet")
}

impl Ops<'_> {
    pub fn stop_gradient(&mut self, x: Tensor) -> Built {
        Err(missing())
    }
    pub fn gradient(&mut self, loss: Tensor, wrt: &[Tensor]) -> Built<Vec<Tensor>> {
        Err(missing())
    }
    pub fn matmul(&mut self, a: Tensor, b: Tensor) -> Built {
        Err(missing())
    }
    pub fn linear(&mut self, x: Tensor, weight: Tensor) -> Built {
        Err(missing())
    }
    pub fn conv(&mut self, x: Tensor, weight: Tensor, attributes: &Convolution) -> Built {
        Err(missing())
    }
    pub fn reduce_window(
        &mut self,
        combine: Combine,
        x: Tensor,
        window: &[usize],
        stride: &[usize],
        padding: &[(usize, usize)],
    ) -> Built {
        Err(missing())
    }
    pub fn concat(&mut self, parts: &[Tensor], axis: i64) -> Built {
        Err(missing())
    }
    pub fn transpose(&mut self, x: Tensor, axes: &[usize]) -> Built {
        Err(missing())
    }
    pub fn reverse(&mut self, x: Tensor, axes: &[usize]) -> Built {
        Err(missing())
    }
    pub fn slice(&mut self, x: Tensor, start: &[usize], stop: &[usize], step: &[usize]) -> Built {
        Err(missing())
    }
    pub fn pad(&mut self, x: Tensor, padding: &[(i64, i64)], value: f64) -> Built {
        Err(missing())
    }
    pub fn take(&mut self, x: Tensor, indices: Tensor, axis: usize) -> Built {
        Err(missing())
    }
    pub fn pick(&mut self, x: Tensor, indices: Tensor, axis: usize) -> Built {
        Err(missing())
    }
    pub fn cumsum(&mut self, x: Tensor, axis: usize) -> Built {
        Err(missing())
    }
    pub fn arg_extreme(&mut self, x: Tensor, axis: usize, largest: bool) -> Built {
        Err(missing())
    }
    pub fn uniform(&mut self, seed: Tensor, step: Option<Tensor>, path: &str, ty: &Type) -> Built {
        Err(missing())
    }
    pub fn normal(&mut self, seed: Tensor, step: Option<Tensor>, path: &str, ty: &Type) -> Built {
        Err(missing())
    }

    // Compositions.

    /// Pools over the spatial axes of `[batch, channels, spatial...]`.
    pub fn pool(
        &mut self,
        combine: Combine,
        x: Tensor,
        kernel: &[usize],
        stride: &[usize],
        padding: &[(usize, usize)],
    ) -> Built {
        let window: Vec<usize> = [1, 1].into_iter().chain(kernel.iter().copied()).collect();
        let strides: Vec<usize> = [1, 1].into_iter().chain(stride.iter().copied()).collect();
        let paddings: Vec<(usize, usize)> = [(0, 0), (0, 0)].into_iter().chain(padding.iter().copied()).collect();
        self.reduce_window(combine, x, &window, &strides, &paddings)
    }

    /// A vector of constants.
    pub fn constants(&mut self, values: &[f64], dtype: DType) -> Built {
        let ty = Type::new(dtype, [values.len()]);
        let tensor = brolga_ir::Tensor::generate(&ty, |i| Scalar::from_f64(dtype, values[i]));
        Ok(self.b.constant(tensor)?)
    }

    /// `x^exponent` for a fixed exponent.
    pub fn pow_num(&mut self, x: Tensor, exponent: f64) -> Built {
        match exponent {
            0.0 => {
                let ty = self.ty(x);
                return self.full(1.0, &ty);
            }
            1.0 => return Ok(x),
            2.0 => return self.square(x),
            0.5 => return self.sqrt(x),
            _ => {}
        }
        let exponent = self.full(exponent, &self.ty(x))?;
        Ok(self.b.elementwise(ScalarOp::Function(Function::Pow), &[x, exponent])?)
    }

    /// Every `step`-th element along one axis, from `start` to below `stop`.
    pub fn slice_axis(&mut self, x: Tensor, axis: usize, start: usize, stop: usize, step: usize) -> Built {
        let dims = self.dims(x);
        let (mut starts, mut stops, mut steps) = (vec![0; dims.len()], dims.clone(), vec![1; dims.len()]);
        (starts[axis], stops[axis], steps[axis]) = (start, stop, step);
        self.slice(x, &starts, &stops, &steps)
    }

    /// Equal parts along an axis.
    pub fn split(&mut self, x: Tensor, axis: usize, parts: usize) -> Built<Vec<Tensor>> {
        let extent = self.dims(x)[axis];
        if parts == 0 || !extent.is_multiple_of(parts) {
            return Err(Fault::new(format!("axis {axis} of {} cannot be split into {parts} parts", self.ty(x))));
        }
        let size = extent / parts;
        (0..parts).map(|part| self.slice_axis(x, axis, part * size, (part + 1) * size, 1)).collect()
    }

    /// Indexing as in Python: `x[1, :, ::2]`; negative bounds count from the end, steps are positive.
    pub fn index(&mut self, x: Tensor, ranges: &[Range]) -> Built {
        let dims = self.dims(x);
        if ranges.len() > dims.len() {
            return Err(Fault::new(format!("{} has {} axes, but {} are indexed", self.ty(x), dims.len(), ranges.len())));
        }
        let (mut starts, mut stops, mut steps) = (vec![0; dims.len()], dims.clone(), vec![1; dims.len()]);
        let mut kept: Vec<usize> = Vec::new();
        for (axis, &extent) in dims.iter().enumerate() {
            let Some(&(start, stop, step, single)) = ranges.get(axis) else {
                kept.push(extent);
                continue;
            };
            let length = extent as i64;
            let wrap = |bound: i64| if bound < 0 { bound + length } else { bound };
            if single {
                let at = wrap(start.unwrap_or(0));
                if !(0..length).contains(&at) {
                    let message = format!("the index {} is outside of axis {axis} of {}", start.unwrap_or(0), self.ty(x));
                    return Err(Fault::new(message));
                }
                (starts[axis], stops[axis]) = (at as usize, at as usize + 1);
                continue;
            }
            let step = step.unwrap_or(1);
            if step < 1 {
                return Err(Fault::new(format!("a step must be from 1 on, found {step}")));
            }
            let start = wrap(start.unwrap_or(0)).clamp(0, length);
            let stop = wrap(stop.unwrap_or(length)).clamp(start, length);
            (starts[axis], stops[axis], steps[axis]) = (start as usize, stop as usize, step as usize);
            kept.push((stop - start).unsigned_abs().div_ceil(step.unsigned_abs()) as usize);
        }
        let slice = self.slice(x, &starts, &stops, &steps)?;
        self.reshape(slice, &kept)
    }

    /// Another shape; one extent may be -1 and is computed.
    pub fn reshape_to(&mut self, x: Tensor, dims: &[i64]) -> Built {
        let ty = self.ty(x);
        let wrong = || Fault::new(format!("{ty} cannot be reshaped to {dims:?}: the number of elements differs"));
        let known: i64 = dims.iter().filter(|&&dim| dim >= 0).try_fold(1i64, |n, &dim| n.checked_mul(dim)).ok_or_else(wrong)?;
        let open = dims.iter().filter(|&&dim| dim < 0).count();
        if open > 1 || dims.iter().any(|&dim| dim < -1) {
            return Err(Fault::new(format!("only one size can be left open with -1, found {dims:?}")));
        }
        let elements = ty.elements() as i64;
        let rest = if open == 1 && known != 0 && elements % known == 0 { elements / known } else { 1 };
        let result: Vec<usize> = dims.iter().map(|&dim| if dim < 0 { rest as usize } else { dim as usize }).collect();
        if result.iter().product::<usize>() != ty.elements() {
            return Err(wrong());
        }
        self.reshape(x, &result)
    }
}
