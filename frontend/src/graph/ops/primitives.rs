//! Contractions, windows, indexing, random numbers and gradients, in the frontend's conventions.

use brolga_ir::ops::{Conv, ConvForm, Distribution, ReduceWindow};
use brolga_ir::program::Combine;
use brolga_ir::scalar::{Comparison, Scalar};
use brolga_ir::{DType, Size, Type};

use super::{Ops, common_dims};
use crate::expr::Binary;
use crate::graph::value::{Built, Fault, Tensor};

/// Attributes of a convolution over the spatial axes.
pub(crate) struct Convolution<'a> {
    pub stride: &'a [usize],
    pub padding: &'a [(usize, usize)],
    pub dilation: &'a [usize],
    pub groups: usize,
}

impl Convolution<'_> {
    fn operator(&self, form: ConvForm) -> Conv {
        Conv {
            form,
            groups: self.groups,
            stride: self.stride.to_vec(),
            padding: self.padding.to_vec(),
            rhs_dilation: self.dilation.to_vec(),
            ..Conv::new(self.stride.len())
        }
    }
}

/// A window over the axes of a tensor, or over the spatial ones.
pub(crate) struct Window<'a> {
    pub kernel: &'a [usize],
    pub stride: &'a [usize],
    pub padding: &'a [(usize, usize)],
    pub dilation: &'a [usize],
}

/// How an index outside of an axis is treated.
#[derive(Clone, Copy)]
pub(crate) enum Outside {
    /// The nearest element.
    Clip,
    /// The element at the index modulo the extent.
    Wrap,
    /// This scalar.
    Fill(Tensor),
}

/// A stream of random numbers for a layer's path: FNV-1a over its bytes.
fn stream(path: &str) -> u32 {
    path.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

impl Ops<'_> {
    // Differentiation.

    /// The value that earlier steps of an entry have left of a state.
    pub fn settled(&mut self, state: &str, x: Tensor) -> Built {
        Ok(self.b.settled(state, x)?)
    }

    /// The gradients of a scalar.
    pub fn gradient(&mut self, loss: Tensor, wrt: &[Tensor]) -> Built<Vec<Tensor>> {
        Ok(self.b.gradient(loss, wrt)?)
    }

    // Contractions.

    /// The matrix product over the last two axes, as `torch.matmul`: axes before them are batch axes, which repeat by
    /// numpy's rule; a vector on the left is a row, on the right a column, and its axis vanishes.
    pub fn matmul(&mut self, a: Tensor, b: Tensor) -> Built {
        let (left, right) = (self.ty(a), self.ty(b));
        let written = [self.written(a), self.written(b)];
        let wrong = || {
            Fault::new(format!("{} and {} have no matrix product", written[0], written[1]))
                .note("`a @ b` needs [..., m, k] and [..., k, n], or a vector [k] on either side")
        };
        if left.rank() == 0 || right.rank() == 0 {
            return Err(wrong());
        }
        // Where the axes that are contracted stand.
        let (last, row) = (left.rank() - 1, right.rank().saturating_sub(2));
        if left.dims[last] != right.dims[row] {
            return Err(wrong());
        }
        let (m, n) = (last.saturating_sub(1), row);
        if n == 0 || left.rank() == 1 {
            return Ok(self.b.dot(a, b, [&[], &[]], [&[last], &[row]])?);
        }
        let (left_batch, right_batch) = (left.dims[..m].to_vec(), right.dims[..n].to_vec());
        if m == 0 {
            // [m, k] [..., k, n]: the axes of the right operand come behind, and go back to the front.
            let product = self.b.dot(a, b, [&[], &[]], [&[1], &[n]])?;
            let mut axes: Vec<usize> = (1..=n).collect();
            axes.extend([0, n + 1]);
            return self.transpose(product, &axes);
        }
        let Some(batch) = common_dims(&[left_batch, right_batch]) else { return Err(wrong()) };
        let whole = |ty: &Type| [&batch[..], &ty.dims[ty.rank() - 2..]].concat();
        let (a, b) = (self.broadcast_to(a, &whole(&left))?, self.broadcast_to(b, &whole(&right))?);
        let axes: Vec<usize> = (0..batch.len()).collect();
        Ok(self.b.dot(a, b, [&axes, &axes], [&[batch.len() + 1], &[batch.len()]])?)
    }

    /// An error unless an input has the element type of the weights that it meets.
    fn expect_type_of(&self, weight: Tensor, x: Tensor) -> Built<()> {
        let (found, weights) = (self.ty(x), self.dtype(weight));
        if found.dtype == weights {
            return Ok(());
        }
        Err(Fault::new(format!("the weights are {weights}, but the input is {found}"))
            .help("convert it with `Expr(\"cast(it, 'f32')\")`, or build the model with `--precision f64`"))
    }

    /// `x weight^T` along the last axis: `[..., in]` and `[out, in]` to `[..., out]`.
    pub fn linear(&mut self, x: Tensor, weight: Tensor) -> Built {
        self.expect_type_of(weight, x)?;
        let last = self.rank(x) - 1;
        Ok(self.b.dot(x, weight, [&[], &[]], [&[last], &[1]])?)
    }

    /// `[batch, in, spatial...]` and `[out, in / groups, kernel...]`.
    pub fn conv(&mut self, x: Tensor, weight: Tensor, attributes: &Convolution) -> Built {
        self.expect_type_of(weight, x)?;
        Ok(self.b.conv(attributes.operator(ConvForm::Forward), x, weight)?)
    }

    /// The transpose of [`Self::conv`]: from its result to its input, whose spatial extents are `size`.
    pub fn conv_transpose(
        &mut self,
        y: Tensor,
        weight: Tensor,
        size: &[usize],
        attributes: &Convolution,
    ) -> Built {
        self.expect_type_of(weight, y)?;
        Ok(self.b.conv(attributes.operator(ConvForm::InputGradient { size: size.to_vec() }), y, weight)?)
    }

    pub fn reduce_window(&mut self, combine: Combine, x: Tensor, window: &Window) -> Built {
        let operator = ReduceWindow {
            combine,
            window: window.kernel.to_vec(),
            stride: window.stride.to_vec(),
            padding: window.padding.iter().map(|&(low, high)| (low as i64, high as i64)).collect(),
            window_dilation: window.dilation.to_vec(),
            base_dilation: vec![1; window.kernel.len()],
        };
        Ok(self.b.reduce_window(operator, x)?)
    }

    // Arrangement.

    pub fn concat(&mut self, parts: &[Tensor], axis: impl Into<Size>) -> Built {
        let Some(&first) = parts.first() else { return Err(Fault::new("there is nothing to concatenate")) };
        let axis = self.axis(first, axis)?;
        let expected = self.written(first);
        for &part in parts {
            let ty = self.written(part);
            let same = ty.rank() == expected.rank()
                && (0..ty.rank()).all(|at| at == axis || ty.dims[at] == expected.dims[at]);
            if !same {
                return Err(Fault::new(format!(
                    "{expected} and {ty} cannot be concatenated along axis {axis}"
                ))
                .note("all other axes must be equal"));
            }
        }
        let parts = self.of_one_type(parts)?;
        Ok(self.b.concat(&parts, axis)?)
    }

    pub fn transpose(&mut self, x: Tensor, axes: &[usize]) -> Built {
        let mut sorted = axes.to_vec();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..self.rank(x)) {
            return Err(Fault::new(format!("{axes:?} does not name every axis of {} once", self.written(x))));
        }
        Ok(self.b.transpose(x, axes)?)
    }

    pub fn slice(&mut self, x: Tensor, start: &[usize], stop: &[usize], step: &[usize]) -> Built {
        Ok(self.b.slice(x, start, stop, step)?)
    }

    /// Surrounds by the scalar `value`; negative padding crops.
    pub fn pad(&mut self, x: Tensor, padding: &[(Size, Size)], value: Tensor) -> Built {
        let ty = self.ty(x);
        let (mut start, mut stop) = (Vec::new(), Vec::new());
        for (axis, (&extent, &(low, high))) in ty.dims.iter().zip(padding).enumerate() {
            let first = Size::ZERO - low.min(0);
            let last = Size::from(extent) + high.min(0);
            if last.is_below(first) {
                return Err(Fault::new(format!("more is cropped from axis {axis} of {ty} than it has")));
            }
            start.push(first.get()?);
            stop.push(last.get()?);
        }
        let cropped = self.slice(x, &start, &stop, &vec![1; ty.rank()])?;
        let size = |bound: Size| bound.max(0).get();
        let low = padding.iter().map(|&(low, _)| size(low)).collect::<Result<Vec<_>, _>>()?;
        let high = padding.iter().map(|&(_, high)| size(high)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.b.pad(cropped, value, &low, &high, &vec![0; ty.rank()])?)
    }

    // Computed indices.

    pub(super) fn indices(&mut self, indices: Tensor) -> Built {
        match self.dtype(indices) {
            DType::I32 | DType::I64 => Ok(indices),
            DType::U8 => self.convert(indices, DType::I32),
            _ => Err(Fault::new(format!("indices are integers, found {}", self.ty(indices)))),
        }
    }

    /// Slices along `axis` at indices, whose axes take its place. Indices outside: those of an input are refused before
    /// anything runs, computed ones become the nearest inside.
    pub fn take(&mut self, x: Tensor, indices: Tensor, axis: usize) -> Built {
        let indices = self.indices(indices)?;
        Ok(self.b.gather(x, indices, axis)?)
    }

    /// As [`Self::take`], with a rule for indices outside.
    pub fn take_by(&mut self, x: Tensor, indices: Tensor, axis: usize, outside: Outside) -> Built {
        let indices = self.indices(indices)?;
        let (ty, extent) = (self.ty(x), self.dims(x)[axis]);
        if extent == 0 {
            return Err(Fault::new(format!("axis {axis} of {ty} has no elements to take")));
        }
        let size = self.int_scalar(extent as i64, self.dtype(indices))?;
        if let Outside::Wrap = outside {
            let inside = self.int_division(Binary::Rem, indices, size)?;
            return Ok(self.b.gather(x, inside, axis)?);
        }
        let last = self.int_scalar(extent as i64 - 1, self.dtype(indices))?;
        let inside = self.max_num(indices, 0.0)?;
        let inside = self.min(inside, last)?;
        let taken = self.b.gather(x, inside, axis)?;
        let Outside::Fill(value) = outside else { return Ok(taken) };
        let dims = self.dims(taken);
        let hit = self.compare(Comparison::Eq, indices, inside)?;
        let axes: Vec<usize> = (axis..axis + self.rank(indices)).collect();
        let hit = self.b.broadcast(hit, &dims, &axes)?;
        let value = self.broadcast_to(value, &dims)?;
        Ok(self.b.select(hit, taken, value)?)
    }

    /// One element along `axis` for each position of the other axes, by index.
    pub fn pick(&mut self, x: Tensor, indices: Tensor, axis: usize) -> Built {
        let indices = self.indices(indices)?;
        let picked = self.dims(indices);
        let mut dims = picked.clone();
        dims.insert(axis, 1);
        let indices = self.reshape(indices, &dims)?;
        let rows = self.b.gather_along(x, indices, axis)?;
        self.reshape(rows, &picked)
    }

    /// Sums of all elements up to each position along an axis.
    pub fn cumsum(&mut self, x: Tensor, axis: usize) -> Built {
        let x = if self.dtype(x) == DType::Bool { self.convert(x, DType::I64)? } else { x };
        Ok(self.b.cumulative(Combine::Add, x, axis)?)
    }

    // Random numbers.

    /// Uniform numbers from 0 to below 1. Without `step` they are those of step 0.
    pub fn uniform(&mut self, seed: Tensor, step: Option<Tensor>, path: &str, ty: &Type) -> Built {
        self.random(Distribution::Uniform, seed, step, path, ty)
    }

    /// Standard normal numbers.
    pub fn normal(&mut self, seed: Tensor, step: Option<Tensor>, path: &str, ty: &Type) -> Built {
        self.random(Distribution::Normal, seed, step, path, ty)
    }

    /// Numbers of a distribution. Without `step` they are those of step 0.
    pub fn random(
        &mut self,
        kind: Distribution,
        seed: Tensor,
        step: Option<Tensor>,
        path: &str,
        ty: &Type,
    ) -> Built {
        let step = match step {
            Some(step) => step,
            None => self.int_scalar(0, DType::I64)?,
        };
        Ok(self.b.random(kind, stream(path), ty, seed, step)?)
    }

    // Compositions.

    /// Pools over the spatial axes of `[batch, channels, spatial...]`.
    pub fn pool(&mut self, combine: Combine, x: Tensor, window: &Window) -> Built {
        fn behind<T: Clone>(first: T, rest: &[T]) -> Vec<T> {
            [&[first.clone(), first][..], rest].concat()
        }
        let all = Window {
            kernel: &behind(1, window.kernel),
            stride: &behind(1, window.stride),
            padding: &behind((0, 0), window.padding),
            dilation: &behind(1, window.dilation),
        };
        self.reduce_window(combine, x, &all)
    }

    /// A vector of constants.
    pub fn constants(&mut self, values: &[f64], dtype: DType) -> Built {
        let ty = Type::new(dtype, [values.len()]);
        let tensor = brolga_ir::Tensor::generate(&ty, |i| Scalar::from_f64(dtype, values[i]));
        Ok(self.b.constant(tensor)?)
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
            return Err(Fault::new(format!(
                "axis {axis} of {} cannot be split into {parts} parts",
                self.ty(x)
            )));
        }
        let size = extent / parts;
        (0..parts).map(|part| self.slice_axis(x, axis, part * size, (part + 1) * size, 1)).collect()
    }

    /// Another shape; one extent may be -1 and is computed.
    pub fn reshape_to(&mut self, x: Tensor, dims: &[Size]) -> Built {
        let ty = self.ty(x);
        let shown = || format!("[{}]", dims.iter().map(Size::to_string).collect::<Vec<_>>().join(", "));
        let wrong =
            || Fault::new(format!("{ty} cannot be reshaped to {}: the number of elements differs", shown()));
        let (open, known): (Vec<Size>, Vec<Size>) = dims.iter().partition(|dim| dim.is_below(0));
        if open.len() > 1 || open.iter().any(|&dim| dim != Size::from(-1)) {
            return Err(Fault::new(format!("only one size can be left open with -1, found {}", shown())));
        }
        let known = Size::product(known).get().map_err(|_| wrong())?;
        let elements = ty.elements();
        let rest = if known != 0 && elements.is_multiple_of(known) { elements / known } else { 1 };
        let all = || dims.iter().map(|&dim| if dim.is_below(0) { Size::from(rest) } else { dim });
        if Size::product(all()) != Size::from(elements) {
            return Err(wrong());
        }
        let result = all().map(Size::get).collect::<Result<Vec<_>, _>>()?;
        self.reshape(x, &result)
    }
}
