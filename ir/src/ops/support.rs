//! What several operators share: checks of axes, strided copies.

use crate::graph::Graph;
use crate::size::Size;
use crate::tensor::{Data, Tensor, listed, room};
use crate::types::{DType, MAX_BYTES, Type};

/// An error unless there are `count` operands.
pub(crate) fn expect_operands(operands: &[&Type], count: usize) -> Result<(), String> {
    if operands.len() == count {
        return Ok(());
    }
    Err(format!("takes {count} operand{}, found {}", if count == 1 { "" } else { "s" }, operands.len()))
}

/// An error if one of the operands has a type that is only stored.
pub(crate) fn expect_numbers(operands: &[&Type]) -> Result<(), String> {
    match operands.iter().find(|ty| ty.dtype.is_storage()) {
        Some(ty) => {
            Err(format!("is not defined for {}, which only stores: convert it to f32 first", ty.dtype))
        }
        None => Ok(()),
    }
}

/// An error unless `axis` is one of `x`'s.
pub(crate) fn expect_axis(axis: usize, x: &Type) -> Result<(), String> {
    if axis < x.rank() { Ok(()) } else { Err(format!("axis {axis} is outside {x}")) }
}

/// An error unless `axes` are ascending axes of `x`.
pub(crate) fn expect_axes(axes: &[usize], x: &Type) -> Result<(), String> {
    if axes.is_sorted_by(|a, b| a < b) && axes.last().is_none_or(|&last| last < x.rank()) {
        return Ok(());
    }
    Err(format!("`axes` must name ascending axes of {x}, found {axes:?}"))
}

/// An error unless a list has one entry for each axis of `x`.
pub(crate) fn expect_per_axis(name: &str, found: usize, x: &Type) -> Result<(), String> {
    if found == x.rank() {
        return Ok(());
    }
    Err(format!("`{name}` needs one entry for each of the {} axes of {x}, found {found}", x.rank()))
}

/// An error if a size is so large that arithmetic with it could overflow.
pub(crate) fn expect_small(name: &str, sizes: &[usize]) -> Result<(), String> {
    match sizes.iter().find(|&&size| size > MAX_BYTES) {
        Some(size) => Err(format!("`{name}` holds {size}, the limit is 2^40")),
        None => Ok(()),
    }
}

/// What `extent` elements take at distances of `dilation`.
pub(crate) fn spread(extent: usize, dilation: usize) -> Size {
    if extent == 0 { Size::from(0) } else { (Size::from(extent) - 1) * dilation + 1 }
}

/// The most steps of one operator: products of its extents, in any order and rounded up to blocks, stay far from
/// overflow. (A processor that makes 10^11 steps a second would take eight days.)
const MAX_STEPS: i64 = 1 << 56;

/// An error if an operator combines more terms than [`MAX_STEPS`]: the product of those extents, zeros left out.
pub(crate) fn expect_steps<'e>(extents: impl IntoIterator<Item = &'e usize>) -> Result<(), String> {
    let steps = Size::product(extents.into_iter().map(|&extent| Size::from(extent.max(1))));
    if steps.number().is_some_and(|steps| steps <= MAX_STEPS) {
        return Ok(());
    }
    Err(format!("it would combine more than 2^56 terms ({steps})"))
}

/// Calls `f` with `first + Σ coordinate · step` for every coordinate of `dims`, in row-major order.
pub(crate) fn for_positions(dims: &[usize], first: usize, steps: &[isize], mut f: impl FnMut(usize)) {
    if dims.contains(&0) {
        return;
    }
    let Some((&inner, outer)) = dims.split_last() else {
        return f(first);
    };
    let inner_step = steps[outer.len()];
    let mut coordinates = vec![0; outer.len()];
    let mut row = first as isize;
    loop {
        for i in 0..inner {
            f((row + i as isize * inner_step) as usize);
        }
        let mut axis = outer.len();
        loop {
            if axis == 0 {
                return;
            }
            axis -= 1;
            coordinates[axis] += 1;
            row += steps[axis];
            if coordinates[axis] < outer[axis] {
                break;
            }
            row -= steps[axis] * outer[axis] as isize;
            coordinates[axis] = 0;
        }
    }
}

/// The elements of `x` at `first + Σ coordinate · step`, as a tensor of extents `dims`.
pub(crate) fn view(x: &Tensor, first: usize, steps: &[isize], dims: &[usize]) -> Result<Tensor, String> {
    fn copy<T: Copy>(x: &[T], first: usize, steps: &[isize], dims: &[usize]) -> Result<Vec<T>, String> {
        let mut result = room(dims.iter().product())?;
        for_positions(dims, first, steps, |position| result.push(x[position]));
        Ok(result)
    }
    let data = match x.data() {
        Data::Bool(v) => Data::Bool(copy(v, first, steps, dims)?),
        Data::U8(v) => Data::U8(copy(v, first, steps, dims)?),
        Data::I32(v) => Data::I32(copy(v, first, steps, dims)?),
        Data::I64(v) => Data::I64(copy(v, first, steps, dims)?),
        Data::Bf16(v) => Data::Bf16(copy(v, first, steps, dims)?),
        Data::F32(v) => Data::F32(copy(v, first, steps, dims)?),
        Data::F64(v) => Data::F64(copy(v, first, steps, dims)?),
    };
    Ok(Tensor::new(dims, data))
}

/// The tensor of type `ty` (with x's element type) whose element `i` is that of `x` at `position(i)`.
pub(crate) fn pick(x: &Tensor, ty: &Type, position: impl Fn(usize) -> usize) -> Result<Tensor, String> {
    pick_dyn(x, ty, &position)
}

/// [`pick`] itself, compiled once and not for each of its functions.
fn pick_dyn(x: &Tensor, ty: &Type, position: &dyn Fn(usize) -> usize) -> Result<Tensor, String> {
    let n = ty.elements();
    let data = match x.data() {
        Data::Bool(v) => Data::Bool(listed(n, |i| v[position(i)])?),
        Data::U8(v) => Data::U8(listed(n, |i| v[position(i)])?),
        Data::I32(v) => Data::I32(listed(n, |i| v[position(i)])?),
        Data::I64(v) => Data::I64(listed(n, |i| v[position(i)])?),
        Data::Bf16(v) => Data::Bf16(listed(n, |i| v[position(i)])?),
        Data::F32(v) => Data::F32(listed(n, |i| v[position(i)])?),
        Data::F64(v) => Data::F64(listed(n, |i| v[position(i)])?),
    };
    Ok(Tensor::new(ty.dims.clone(), data))
}

/// Writes the elements of `x` to `first + Σ coordinate · step` of `to`, which has the same element type.
pub(crate) fn write_view(to: &mut Tensor, first: usize, steps: &[isize], x: &Tensor) {
    fn copy<T: Copy>(to: &mut [T], x: &[T], dims: &[usize], first: usize, steps: &[isize]) {
        let mut source = x.iter();
        for_positions(dims, first, steps, |position| {
            if let Some(&value) = source.next() {
                to[position] = value;
            }
        });
    }
    let dims = x.dims();
    match (to.data_mut(), x.data()) {
        (Data::Bool(to), Data::Bool(x)) => copy(to, x, dims, first, steps),
        (Data::U8(to), Data::U8(x)) => copy(to, x, dims, first, steps),
        (Data::I32(to), Data::I32(x)) => copy(to, x, dims, first, steps),
        (Data::I64(to), Data::I64(x)) => copy(to, x, dims, first, steps),
        (Data::Bf16(to), Data::Bf16(x)) => copy(to, x, dims, first, steps),
        (Data::F32(to), Data::F32(x)) => copy(to, x, dims, first, steps),
        (Data::F64(to), Data::F64(x)) => copy(to, x, dims, first, steps),
        (to, x) => panic!("{x:?} is written into {to:?}"),
    }
}

/// The elements as `f64`; integers too large for it round.
pub(crate) fn to_f64(x: &Tensor) -> Result<Vec<f64>, String> {
    let n = x.elements();
    match x.data() {
        Data::Bool(v) => listed(n, |i| f64::from(v[i])),
        Data::U8(v) => listed(n, |i| f64::from(v[i])),
        Data::I32(v) => listed(n, |i| f64::from(v[i])),
        Data::I64(v) => listed(n, |i| v[i] as f64),
        Data::Bf16(v) => listed(n, |i| f64::from(v[i])),
        Data::F32(v) => listed(n, |i| f64::from(v[i])),
        Data::F64(v) => listed(n, |i| v[i]),
    }
}

/// The elements as `i64`; floats truncate.
pub(crate) fn to_i64(x: &Tensor) -> Result<Vec<i64>, String> {
    let n = x.elements();
    match x.data() {
        Data::Bool(v) => listed(n, |i| i64::from(v[i])),
        Data::U8(v) => listed(n, |i| i64::from(v[i])),
        Data::I32(v) => listed(n, |i| i64::from(v[i])),
        Data::I64(v) => listed(n, |i| v[i]),
        Data::Bf16(v) => listed(n, |i| v[i].to_f32() as i64),
        Data::F32(v) => listed(n, |i| v[i] as i64),
        Data::F64(v) => listed(n, |i| v[i] as i64),
    }
}

/// A float tensor of those elements, rounded once.
pub(crate) fn from_f64(ty: &Type, values: Vec<f64>) -> Result<Tensor, String> {
    let data = match ty.dtype {
        DType::F32 => Data::F32(listed(values.len(), |i| values[i] as f32)?),
        _ => Data::F64(values),
    };
    Ok(Tensor::new(ty.dims.clone(), data))
}

/// An integer tensor of those elements, wrapped.
pub(crate) fn from_i64(ty: &Type, values: Vec<i64>) -> Result<Tensor, String> {
    let data = match ty.dtype {
        DType::U8 => Data::U8(listed(values.len(), |i| values[i] as u8)?),
        DType::I32 => Data::I32(listed(values.len(), |i| values[i] as i32)?),
        _ => Data::I64(values),
    };
    Ok(Tensor::new(ty.dims.clone(), data))
}

/// A product formed by multiply and add of 64-bit numbers: floats as `f64`, integers wrapping, in one body.
pub(crate) trait Wide: Copy {
    const ZERO: Self;
    fn add_product(self, a: Self, b: Self) -> Self;
}

impl Wide for f64 {
    const ZERO: f64 = 0.0;
    fn add_product(self, a: f64, b: f64) -> f64 {
        self + a * b
    }
}

impl Wide for i64 {
    const ZERO: i64 = 0;
    fn add_product(self, a: i64, b: i64) -> i64 {
        self.wrapping_add(a.wrapping_mul(b))
    }
}

/// A name that no parameter of the graph has.
pub(crate) fn new_parameter_name(graph: &Graph, prefix: &str) -> String {
    let taken = |name: &String| {
        graph
            .parameters()
            .iter()
            .filter_map(|&id| graph.parameter(id))
            .any(|parameter| parameter.name == *name)
    };
    unused(prefix, graph.parameters().len(), taken)
}

/// A name that no output of the graph has.
pub(crate) fn new_output_name(graph: &Graph, prefix: &str) -> String {
    unused(prefix, graph.outputs().len(), |name| graph.outputs().iter().any(|output| output.name == *name))
}

fn unused(prefix: &str, from: usize, taken: impl Fn(&String) -> bool) -> String {
    let mut number = from;
    loop {
        let name = format!("{prefix}{number}");
        if !taken(&name) {
            return name;
        }
        number += 1;
    }
}
