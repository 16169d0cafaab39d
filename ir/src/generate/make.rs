//! The makers: each adds one operator, with operands from the pool. Here: those of shapes, indices and products.

use super::elementwise::{
    binary, bitcast, compare, compare_ints, convert, extremum, fma, function, int, integer, logical,
    rounding, select, to_integer, unary,
};
use super::maker::{Config, Made, Make, Maker, value};
use crate::choice::{Choice, Layout};
use crate::graph::Value;
use crate::ops::{
    Broadcast, Concat, Conv, ConvForm, Cumulative, Distribution, Dot, Gather, GatherAlong, Iota, Op, Pad,
    Random, Reduce, ReduceWindow, Reshape, Reverse, Scatter, ScatterAlong, ScatterMode, SelectForm, Slice,
    Sort, StopGradient, Transpose, WindowSelect,
};
use crate::program::Combine;
use crate::types::{DType, Type};

/// The makers that a configuration allows; frequent ones several times.
pub(super) fn makers(config: &Config) -> Vec<Make> {
    let mut makers: Vec<Make> = vec![
        unary,
        unary,
        unary,
        function,
        function,
        function,
        binary,
        binary,
        binary,
        binary,
        extremum,
        fma,
        select,
        integer,
        integer,
        logical,
        compare_ints,
        convert,
        stop,
        iota,
        constant,
        random,
        broadcast,
        broadcast,
        reshape,
        reshape,
        transpose,
        transpose,
        slice,
        slice,
        reverse,
        pad,
        pad,
        concat,
        gather,
        gather_along,
        scatter,
        scatter_along,
        reduce,
        reduce,
        reduce,
        reduce_logical,
        cumulative,
        window_sum,
        window_extremum,
        dot,
        dot,
        conv,
        conv,
    ];
    if !config.continuous {
        makers.extend([rounding as Make, rounding, compare, compare, sort, window_select, to_integer]);
        if !config.differentiable {
            makers.push(bitcast);
        }
    }
    if config.regions {
        makers.extend([super::regions::scan as Make, super::regions::cell, super::regions::nested]);
        makers.extend([super::regions::guarded as Make, super::regions::cond]);
        if !config.differentiable {
            makers.extend([super::regions::looped as Make, super::regions::fused]);
        }
    }
    makers
}

fn stop(m: &mut Maker) -> Made {
    let x = m.any_float(0);
    m.add(StopGradient::default(), &[x])
}

fn iota(m: &mut Maker) -> Made {
    let rank = 1 + m.rng.below(3);
    let dims = m.dims(rank);
    let float = m.config.float;
    let dtype = m.rng.of(&[DType::I32, DType::I32, DType::I64, float]);
    let axis = m.rng.below(rank);
    m.add(Iota { ty: Type::new(dtype, dims), axis }, &[])
}

fn constant(m: &mut Maker) -> Made {
    let rank = m.rng.below(3);
    let dims = m.dims(rank);
    let float = m.config.float;
    let dtype = m.rng.of(&[float, float, DType::I32, DType::Bool]);
    let value = value(&mut m.rng, &Type::new(dtype, dims));
    Ok(vec![m.b().constant(value)?])
}

fn random(m: &mut Maker) -> Made {
    let distribution = m.rng.of(&Distribution::ALL);
    let dtype = if distribution == Distribution::Bits { DType::I32 } else { m.config.float };
    let rank = m.rng.below(4);
    let ty = Type::new(dtype, m.dims(rank));
    let long = Type::scalar(DType::I64);
    let count = 2 + usize::from(m.rng.once_in(3));
    let operands: Vec<Value> = (0..count).map(|_| m.of_type(&long)).collect();
    let stream = m.rng.bits() as u32;
    m.add(Random { stream, distribution, ty }, &operands)
}

fn broadcast(m: &mut Maker) -> Made {
    let x = m.any_float(0);
    let (mut dims, mut axes) = (Vec::new(), Vec::new());
    for extent in m.extents(x) {
        while m.rng.once_in(3) && dims.len() < 4 {
            dims.push(1 + m.rng.below(4));
        }
        axes.push(dims.len());
        dims.push(if extent == 1 { 1 + m.rng.below(3) } else { extent });
    }
    if dims.len() < 4 {
        dims.push(1 + m.rng.below(4));
    }
    m.add(Broadcast { dims, axes }, &[x])
}

fn reshape(m: &mut Maker) -> Made {
    let x = m.any_float(0);
    let mut rest: usize = m.extents(x).iter().product();
    let mut dims = Vec::new();
    for _ in 0..m.rng.below(3) {
        let divisors: Vec<usize> = (1..=rest).filter(|d| rest.is_multiple_of(*d)).collect();
        let extent = divisors.get(m.rng.below(divisors.len())).copied().unwrap_or(1);
        dims.push(extent);
        rest /= extent;
    }
    dims.push(rest);
    m.add(Reshape { dims }, &[x])
}

fn transpose(m: &mut Maker) -> Made {
    let x = m.any_float(2);
    let mut axes: Vec<usize> = (0..m.extents(x).len()).collect();
    for i in (1..axes.len()).rev() {
        axes.swap(i, m.rng.below(i + 1));
    }
    m.add(Transpose { axes }, &[x])
}

fn slice(m: &mut Maker) -> Made {
    let x = m.any_float(1);
    let mut op = Slice { start: Vec::new(), limit: Vec::new(), stride: Vec::new() };
    for extent in m.extents(x) {
        let start = m.rng.below(extent + 1).min(m.rng.below(extent + 1));
        op.start.push(start);
        op.limit.push(extent - m.rng.below(extent - start + 1).min(m.rng.below(2)));
        op.stride.push(1 + m.rng.below(3).min(m.rng.below(3)));
    }
    m.add(op, &[x])
}

fn reverse(m: &mut Maker) -> Made {
    let x = m.any_float(1);
    let axes = axes(m, x);
    m.add(Reverse { axes }, &[x])
}

/// Some axes of a value, at least one.
fn axes(m: &mut Maker, x: Value) -> Vec<usize> {
    let always = m.axis(x);
    (0..m.extents(x).len()).filter(|&axis| axis == always || m.rng.once_in(3)).collect()
}

fn pad(m: &mut Maker) -> Made {
    let x = m.any_float(1);
    let rank = m.extents(x).len();
    let spaced = m.rng.once_in(3);
    let mut sizes = |limit: usize| -> Vec<usize> { (0..rank).map(|_| m.rng.below(limit)).collect() };
    let (low, high) = (sizes(3), sizes(3));
    let interior = sizes(if spaced { 3 } else { 1 });
    let scalar = Type::scalar(m.config.float);
    let value = m.of_type(&scalar);
    m.add(Pad { low, high, interior }, &[x, value])
}

fn concat(m: &mut Maker) -> Made {
    let x = m.any_float(1);
    let axis = m.axis(x);
    let mut operands = vec![x];
    for _ in 0..m.rng.below(3) {
        let mut dims = m.extents(x);
        dims[axis] = m.rng.below(4);
        let ty = Type::new(m.config.float, dims);
        let other = m.of_type(&ty);
        operands.push(other);
    }
    m.add(Concat { axis }, &operands)
}

fn gather(m: &mut Maker) -> Made {
    let x = m.any_float(1);
    let axis = m.axis(x);
    let rank = m.rng.below(3);
    let dims = m.dims(rank);
    let indices = m.indices(&dims);
    m.add(Gather { axis }, &[x, indices])
}

fn along(m: &mut Maker) -> (Value, usize, Value) {
    let x = m.any_float(1);
    let axis = m.axis(x);
    let mut dims = m.extents(x);
    dims[axis] = m.rng.of(&[1, 1, 1, 2, 4]);
    let indices = m.indices(&dims);
    (x, axis, indices)
}

fn gather_along(m: &mut Maker) -> Made {
    let (x, axis, indices) = along(m);
    m.add(GatherAlong { axis }, &[x, indices])
}

fn scatter(m: &mut Maker) -> Made {
    let base = m.any_float(1);
    let axis = m.axis(base);
    let mode = m.rng.of(&ScatterMode::ALL);
    let rank = m.rng.below(3);
    let taken = m.dims(rank);
    let dims = m.extents(base);
    let updates = Type::new(m.config.float, [&dims[..axis], &taken, &dims[axis + 1..]].concat());
    if updates.elements() > m.config.elements {
        return Err(m.b().error("too large"));
    }
    let (indices, updates) = (m.indices(&taken), m.of_type(&updates));
    m.add(Scatter { axis, mode }, &[base, indices, updates])
}

fn scatter_along(m: &mut Maker) -> Made {
    let (base, axis, indices) = along(m);
    let updates = Type::new(m.config.float, m.extents(indices));
    let updates = m.of_type(&updates);
    let mode = m.rng.of(&ScatterMode::ALL);
    m.add(ScatterAlong { axis, mode }, &[base, indices, updates])
}

fn reduce(m: &mut Maker) -> Made {
    let x = m.any_float(1);
    let axes = axes(m, x);
    let combine = m.rng.of(&[Combine::Add, Combine::Add, Combine::Max, Combine::Min, Combine::Mul]);
    if combine == Combine::Mul {
        let x = m.positive(x, 0.5)?;
        let x = m.bounded(x)?;
        return m.add(Reduce { combine, axes }, &[x]);
    }
    m.add(Reduce { combine, axes }, &[x])
}

fn reduce_logical(m: &mut Maker) -> Made {
    let dtype = m.rng.of(&[DType::Bool, DType::I32]);
    let x = int(m, dtype);
    if m.extents(x).is_empty() {
        return Err(m.b().error("a scalar"));
    }
    let axes = axes(m, x);
    let combine = m.rng.of(&[Combine::And, Combine::Or]);
    m.add(Reduce { combine, axes }, &[x])
}

fn cumulative(m: &mut Maker) -> Made {
    let mut x = m.any_float(1);
    let axis = m.axis(x);
    let combine = m.rng.of(&[Combine::Add, Combine::Mul, Combine::Max, Combine::Min]);
    if combine == Combine::Mul {
        x = m.positive(x, 0.5)?;
        x = m.bounded(x)?;
    }
    let op = Cumulative { axis, combine, reverse: m.rng.once_in(2), exclusive: m.rng.once_in(3) };
    let results = m.add(op.clone(), &[x])?;
    if op.exclusive && matches!(combine, Combine::Max | Combine::Min) {
        // Infinities at the start would spread.
        return Ok(vec![m.bounded(results[0])?]);
    }
    Ok(results)
}

/// A window over a value that sees something everywhere.
fn window(m: &mut Maker, x: Value, combine: Combine) -> ReduceWindow {
    let dims = m.extents(x);
    let mut op = ReduceWindow::new(combine, &vec![1; dims.len()], &vec![1; dims.len()]);
    for (axis, &extent) in dims.iter().enumerate() {
        if m.rng.once_in(3) || extent == 0 {
            continue;
        }
        op.window[axis] = 1 + m.rng.below(extent.min(3));
        op.stride[axis] = 1 + m.rng.below(3);
        let fits = op.window[axis] * 2 <= extent;
        op.window_dilation[axis] = if fits && m.rng.once_in(3) { 2 } else { 1 };
        if op.window_dilation[axis] == 1 {
            let most = op.window[axis];
            op.padding[axis] = (m.rng.below(most) as i64, m.rng.below(most) as i64);
        }
    }
    op
}

fn window_sum(m: &mut Maker) -> Made {
    let x = m.any_float(1);
    let mut op = window(m, x, Combine::Add);
    for axis in 0..op.window.len() {
        if m.rng.once_in(4) {
            op.base_dilation[axis] = 2;
            op.padding[axis] = (m.rng.below(3) as i64, m.rng.below(3) as i64 - 1);
        }
    }
    m.add(op, &[x])
}

fn window_extremum(m: &mut Maker) -> Made {
    let x = m.any_float(1);
    let combine = m.rng.of(&[Combine::Max, Combine::Min]);
    let op = window(m, x, combine);
    m.add(op, &[x])
}

fn window_select(m: &mut Maker) -> Made {
    let x = m.any_float(1);
    let combine = m.rng.of(&[Combine::Max, Combine::Min]);
    let window = window(m, x, combine);
    let form = m.rng.of(&[SelectForm::Scatter, SelectForm::Gather]);
    let second = match form {
        SelectForm::Scatter => {
            let results = ReduceWindow::clone(&window);
            let results = Op::from(results).get().infer(&[&m.graph.ty(x).clone()]);
            results.map_err(|message| m.b().error(message))?.remove(0)
        }
        SelectForm::Gather => m.graph.ty(x).clone(),
    };
    let second = m.of_type(&second);
    m.add(WindowSelect { window, form }, &[x, second])
}

fn sort(m: &mut Maker) -> Made {
    let x = m.any_float(1);
    let axis = m.axis(x);
    let mut operands = vec![x];
    if m.rng.once_in(2) {
        operands.push(m.like(x));
    }
    if m.rng.once_in(2) {
        let ty = Type::new(DType::I32, m.extents(x));
        operands.push(m.of_type(&ty));
    }
    let descending = m.rng.once_in(2);
    let extent = m.extents(x)[axis];
    let first = if m.rng.once_in(3) { Some(m.rng.below(extent + 1)) } else { None };
    m.add(Sort { axis, descending, first }, &operands)
}

fn dot(m: &mut Maker) -> Made {
    // Some of them such as Strassen's algorithm applies to.
    if m.rng.once_in(4) {
        let [rows, terms, columns] = [(); 3].map(|()| 2 + 2 * m.rng.below(2));
        let outer = 1 + m.rng.below(3);
        let types =
            [vec![outer, rows, terms], vec![terms, columns]].map(|dims| Type::new(m.config.float, dims));
        let operands = types.map(|ty| m.of_type(&ty));
        return m.add(Dot::new([vec![], vec![]], [vec![2], vec![0]]), &operands);
    }
    let a = m.any_float(1);
    let dims = m.extents(a);
    let mut op = Dot::default();
    let mut other = Vec::new();
    for (axis, &extent) in dims.iter().enumerate() {
        match m.rng.below(4) {
            0 if op.batch[0].len() < 2 => {
                op.batch[0].push(axis);
                op.batch[1].push(other.len());
                other.push(extent);
            }
            1 | 2 => {
                op.contract[0].push(axis);
                op.contract[1].push(other.len());
                other.push(extent);
            }
            _ => {}
        }
    }
    if m.rng.once_in(2) && other.len() < 4 {
        other.push(1 + m.rng.below(5));
    }
    let b = Type::new(m.config.float, other);
    let b = m.of_type(&b);
    m.add(op, &[a, b])
}

fn conv(m: &mut Maker) -> Made {
    // Some of them such as Winograd's algorithm applies to.
    let plain = m.rng.once_in(3);
    let spatial = if plain { 2 } else { m.rng.of(&[1, 2, 2, 2, 3]) };
    let groups = if plain { 1 } else { m.rng.of(&[1, 1, 1, 2]) };
    let (inner, outputs) = (1 + m.rng.below(2), groups * (1 + m.rng.below(3)));
    let (mut x, mut w) = (vec![1 + m.rng.below(2), groups * inner], vec![outputs, inner]);
    let mut conv = Conv { groups, ..Conv::new(spatial) };
    for axis in 0..spatial {
        let kernel = if plain { 3 } else { 1 + m.rng.below(3) };
        w.push(kernel);
        x.push(kernel + m.rng.below(3));
        if plain {
            conv.padding[axis] = (m.rng.below(3), m.rng.below(3));
            continue;
        }
        conv.stride[axis] = m.rng.of(&[1, 1, 2, 3]);
        conv.padding[axis] = (m.rng.below(3).min(m.rng.below(3)), m.rng.below(3).min(m.rng.below(3)));
        conv.lhs_dilation[axis] = m.rng.of(&[1, 1, 1, 2]);
        if m.rng.once_in(4) {
            conv.rhs_dilation[axis] = 2;
            x[axis + 2] += kernel;
        }
    }
    let float = m.config.float;
    let layout = if m.rng.once_in(3) { Layout::ChannelsLast } else { Layout::ChannelsFirst };
    let x = layout.dims(x[0], x[1], &x[2..]);
    let (x, w) = (Type::new(float, x), Type::new(float, w));
    let form = m.rng.below(3);
    if form == 0 {
        let (x, w) = (m.of_type(&x), m.of_type(&w));
        return m.add_chosen(conv, layout, &[x, w]);
    }
    let forward = Choice::from(layout).infer(&conv.clone().into(), &[&x, &w]);
    let y = forward.map_err(|message| m.b().error(message))?.remove(0);
    let y = m.of_type(&y);
    if form == 1 {
        let size = layout.extents(&x).to_vec();
        let w = m.of_type(&w);
        return m.add_chosen(conv.with_form(ConvForm::InputGradient { size }), layout, &[y, w]);
    }
    let kernel = w.dims[2..].to_vec();
    let x = m.of_type(&x);
    m.add_chosen(conv.with_form(ConvForm::WeightGradient { kernel }), layout, &[x, y])
}
