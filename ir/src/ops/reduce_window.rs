//! `reduce_window`: combines the elements under a window that slides over all axes.

use super::*;
use crate::definition::{Element, Order};
use crate::index::{Atom, Index};
use crate::program::Combine;
use crate::scalar::ScalarOp;
use crate::types::{DType, MAX_BYTES};

/// Combines by sum, maximum or minimum the elements under a window. Along each axis the window at position `p` sees
/// the elements `i` with `i · base_dilation = p · stride + r · window_dilation - low` for `r` in `0..window`; what
/// lies outside the operand is left out (a window that sees nothing gives the identity). A negative padding cuts.
/// The text form's name is `reduce_window_add`, ….
#[derive(Clone, PartialEq, Debug)]
pub struct ReduceWindow {
    /// `Add`, `Max` or `Min`.
    pub combine: Combine,
    /// Extent of the window, for each axis.
    pub window: Vec<usize>,
    /// Steps of the window, for each axis.
    pub stride: Vec<usize>,
    /// Points before and behind the operand, for each axis.
    pub padding: Vec<(i64, i64)>,
    /// Distance of neighbours in the window, for each axis; 1 is dense.
    pub window_dilation: Vec<usize>,
    /// Distance of neighbours in the operand, for each axis; 1 is dense.
    pub base_dilation: Vec<usize>,
}

impl ReduceWindow {
    /// A window without padding and dilation.
    pub fn new(combine: Combine, window: &[usize], stride: &[usize]) -> ReduceWindow {
        let rank = window.len();
        ReduceWindow {
            combine,
            window: window.to_vec(),
            stride: stride.to_vec(),
            padding: vec![(0, 0); rank],
            window_dilation: vec![1; rank],
            base_dilation: vec![1; rank],
        }
    }

    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        &["reduce_window_add", "reduce_window_max", "reduce_window_min"]
    }

    pub(super) fn from_attributes(name: &str, attributes: &mut Attributes) -> Result<ReduceWindow, String> {
        let combine = match name {
            "reduce_window_add" => Combine::Add,
            "reduce_window_max" => Combine::Max,
            _ => Combine::Min,
        };
        ReduceWindow::window_from(combine, attributes)
    }

    /// The attributes of a window, whatever is done under it.
    pub(super) fn window_from(combine: Combine, attributes: &mut Attributes) -> Result<ReduceWindow, String> {
        let window = attributes.sizes("window")?;
        let rank = window.len();
        let padding = attributes.int_lists_or("padding", vec![vec![0, 0]; rank])?;
        let padding = padding.into_iter().map(|pair| match pair.as_slice() {
            &[low, high] => Ok((low, high)),
            other => Err(format!("`padding` must hold pairs of integers, found {other:?}")),
        });
        Ok(ReduceWindow {
            combine,
            stride: attributes.sizes_or("stride", vec![1; rank])?,
            padding: padding.collect::<Result<_, _>>()?,
            window_dilation: attributes.sizes_or("window_dilation", vec![1; rank])?,
            base_dilation: attributes.sizes_or("base_dilation", vec![1; rank])?,
            window,
        })
    }

    pub(super) fn window_attributes(&self) -> Vec<(&'static str, Attribute)> {
        let mut attributes = vec![("window", Attribute::sizes(&self.window))];
        let mut unless_one = |name, list: &[usize]| {
            if list.iter().any(|&v| v != 1) {
                attributes.push((name, Attribute::sizes(list)));
            }
        };
        unless_one("stride", &self.stride);
        unless_one("window_dilation", &self.window_dilation);
        unless_one("base_dilation", &self.base_dilation);
        if self.padding.iter().any(|&pair| pair != (0, 0)) {
            let pairs = self.padding.iter().map(|&(low, high)| Attribute::ints(&[low, high]));
            attributes.push(("padding", Attribute::List(pairs.collect())));
        }
        attributes
    }

    /// The extents of the result for an operand.
    pub(super) fn output(&self, x: &Type) -> Result<Vec<usize>, String> {
        let lists = [
            ("window", &self.window),
            ("stride", &self.stride),
            ("window_dilation", &self.window_dilation),
            ("base_dilation", &self.base_dilation),
        ];
        for (name, list) in lists {
            expect_per_axis(name, list.len(), x)?;
            expect_small(name, list)?;
            if list.contains(&0) {
                return Err(format!("`{name}` must be at least 1, found {list:?}"));
            }
        }
        expect_per_axis("padding", self.padding.len(), x)?;
        let limit = MAX_BYTES as u64;
        let mut dims = Vec::new();
        for (axis, &extent) in x.dims.iter().enumerate() {
            let (low, high) = self.padding[axis];
            if [low, high].iter().any(|padding| padding.unsigned_abs() > limit) {
                return Err(format!("a padding of {low}, {high} is beyond the limit of 2^40"));
            }
            // What lies under all windows, and under one of them.
            let whole = spread(extent, self.base_dilation[axis]);
            let total = whole + low + high;
            let window = spread(self.window[axis], self.window_dilation[axis]);
            whole.get()?;
            total.max(0).get()?;
            window.get()?;
            let count =
                if total.is_below(window) { Size::from(0) } else { (total - window) / self.stride[axis] + 1 };
            dims.push(count.get()?);
        }
        expect_steps(self.window.iter().chain(&dims))?;
        Ok(dims)
    }

    /// For every result position, in row-major order, calls `f` with it and the operand positions that its window
    /// sees, in row-major order of the window.
    pub(super) fn for_windows(&self, x: &[usize], y: &[usize], mut f: impl FnMut(usize, &[usize])) {
        // By elements, not by places of the window: these may be many more.
        let seen = |axis: usize, p: usize| -> Vec<usize> {
            let first = p as i64 * self.stride[axis] as i64 - self.padding[axis].0;
            let (window, dilation) = (self.window[axis] as i64, self.window_dilation[axis] as i64);
            let base = self.base_dilation[axis] as i64;
            let end = (first + (window - 1) * dilation).div_euclid(base) + 1;
            let (from, end) = ((first.max(0) + base - 1) / base, end.clamp(0, x[axis] as i64));
            let sees = |i: &i64| (i * base - first) % dilation == 0;
            (from..end).filter(sees).map(|i| i as usize).collect()
        };
        let table: Vec<Vec<Vec<usize>>> =
            (0..x.len()).map(|axis| (0..y[axis]).map(|p| seen(axis, p)).collect()).collect();
        let strides = Type::new(DType::Bool, y).strides();
        let (mut points, mut next) = (Vec::new(), Vec::new());
        for position in 0..y.iter().product() {
            points.clear();
            points.push(0);
            for axis in 0..x.len() {
                let along = &table[axis][position / strides[axis] % y[axis]];
                next.clear();
                for &point in &points {
                    next.extend(along.iter().map(|&i| point * x[axis] + i));
                }
                std::mem::swap(&mut points, &mut next);
            }
            f(position, &points);
        }
    }
}

impl Operator for ReduceWindow {
    fn name(&self) -> &'static str {
        match self.combine {
            Combine::Add => "reduce_window_add",
            Combine::Max => "reduce_window_max",
            _ => "reduce_window_min",
        }
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        self.window_attributes()
    }

    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, String> {
        expect_operands(operands, 1)?;
        expect_numbers(operands)?;
        let x = operands[0];
        match self.combine {
            Combine::Add | Combine::Max | Combine::Min if x.dtype != DType::Bool => {}
            combine => return Err(format!("a window of {} over {x} is not defined", combine.name())),
        }
        Ok(vec![x.with_dims(self.output(x)?)])
    }

    fn gradient(&self, cx: &mut GradientCx) -> Gradient {
        let dy = cx.cotangent(0)?;
        let x = cx.operands[0];
        if !cx.b.ty(x).dtype.is_float() {
            return Ok(vec![None]);
        }
        if self.combine != Combine::Add {
            let op = WindowSelect { window: self.clone(), form: SelectForm::Scatter };
            return Ok(vec![Some(cx.b.add_node(op, &[x, dy])?)]);
        }
        // The sum over the windows that see an element: a window over the spread cotangent, mirrored.
        let (from, to) = (cx.b.dims(x), cx.b.dims(dy));
        if to.contains(&0) || from.contains(&0) {
            return Ok(vec![Some(cx.b.zeros_like(x)?)]);
        }
        let padding = (0..from.len()).map(|axis| {
            let reach = ((self.window[axis] - 1) * self.window_dilation[axis]) as i64;
            let last = ((from[axis] - 1) * self.base_dilation[axis]) as i64 + self.padding[axis].0;
            (reach - self.padding[axis].0, last - ((to[axis] - 1) * self.stride[axis]) as i64)
        });
        let op = ReduceWindow {
            combine: Combine::Add,
            window: self.window.clone(),
            stride: self.base_dilation.clone(),
            padding: padding.collect(),
            window_dilation: self.window_dilation.clone(),
            base_dilation: self.stride.clone(),
        };
        Ok(vec![Some(cx.b.add_node(op, &[dy])?)])
    }

    /// Reduction axes are those along which the window is wider than 1.
    fn definition(&self, operands: &[&Type], results: &[Type]) -> Vec<Definition> {
        let (from, to) = (&operands[0].dims, &results[0].dims);
        let reduced: Vec<usize> = (0..from.len()).filter(|&axis| self.window[axis] > 1).collect();
        let variable = |axis: usize| reduced.iter().position(|&a| a == axis).map(|r| (from.len() + r) as u32);
        let range = |atom: &Atom| match atom {
            Atom::Var(var) => match to.get(*var as usize) {
                Some(&extent) => Some((0, extent as i64 - 1)),
                None => Some((0, self.window[reduced[*var as usize - to.len()]] as i64 - 1)),
            },
            _ => None,
        };
        let (mut bounds, mut index) = (Vec::new(), Vec::new());
        for (axis, &extent) in from.iter().enumerate() {
            let mut at = Index::var(axis as u32).scale(self.stride[axis] as i64).plus(-self.padding[axis].0);
            if let Some(var) = variable(axis) {
                at = at.add(&Index::var(var).scale(self.window_dilation[axis] as i64));
            }
            let dilation = self.base_dilation[axis] as i64;
            let element = at.div(dilation, &range);
            if dilation > 1 {
                bounds.push((at.rem(dilation, &range), 1));
            }
            let inside = |(low, high): (i64, i64)| low >= 0 && high < extent as i64;
            if !element.range(&range).is_some_and(inside) {
                bounds.push((element.clone(), extent));
            }
            index.push(element);
        }
        let mut element = Element::Operand(0, index);
        let identity = Element::Constant(self.combine.identity(results[0].dtype));
        if reduced.is_empty() && self.combine == Combine::Add {
            // A sum of one element starts at zero as any other: that of -0 is +0.
            element = Element::Op(ScalarOp::Add, vec![identity.clone(), element]);
        }
        let value = match bounds.is_empty() {
            true => element,
            false => Element::Guard { bounds, then: Box::new(element), otherwise: Box::new(identity) },
        };
        if reduced.is_empty() {
            return vec![Definition::Element(value)];
        }
        let extents = reduced.iter().map(|&axis| self.window[axis]).collect();
        vec![Definition::Reduce { extents, combine: self.combine, order: Order::Chain, value }]
    }

    /// Sums of floats are formed in f64 and rounded once.
    fn evaluate(&self, operands: &[&Tensor], results: &[Type]) -> Result<Vec<Tensor>, String> {
        let (x, ty) = (operands[0], &results[0]);
        if self.combine == Combine::Add && ty.dtype.is_float() {
            let (elements, mut sums) = (to_f64(x)?, filled(0.0, ty.elements())?);
            self.for_windows(x.dims(), &ty.dims, |position, seen| {
                sums[position] = seen.iter().fold(0.0, |sum, &i| sum + elements[i]);
            });
            return Ok(vec![from_f64(ty, sums)?]);
        }
        let mut result = Tensor::try_full(ty, self.combine.identity(ty.dtype))?;
        self.for_windows(x.dims(), &ty.dims, |position, seen| {
            let combined =
                seen.iter().fold(result.get(position), |sum, &i| self.combine.apply(sum, x.get(i)));
            result.set(position, combined);
        });
        Ok(vec![result])
    }
}
