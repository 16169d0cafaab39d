//! Functions that arrange elements, and access to parameters.

use brolga_ir::DType;
use brolga_ir::names::nearest;

use super::classes::check_classes;
use super::function::{Function, axis, counted_axis, function, promoted, tensor_value, wrong};
use crate::graph::arguments::tensor;
use crate::graph::builder::Builder;
use crate::graph::ops::Outside;
use crate::graph::value::{Args, Built, Tensor, Val};
use crate::signature::{Parameter, Rule, int, optional, required, ruled, size, word, words};
use crate::source::Spanned;

words! {
    /// What `take` gives for an index outside.
    enum Mode { Clip = "clip", Wrap = "wrap", Fill = "fill" }
}

const TAKE: [Parameter; 5] = [
    required("x"),
    required("indices"),
    int("axis").or_int(0),
    word::<Mode>("mode", false),
    optional("fill"),
];

/// An argument that holds whole numbers: a tensor, a list or a number.
pub(super) fn whole(builder: &mut Builder, args: &Args, name: &str, what: &str) -> Built {
    let indices = match args.get(name) {
        Some(value @ Spanned { value: Val::Int(_) | Val::List(_), .. }) => builder.ops().tensor(value)?,
        Some(Spanned { value: found @ (Val::Float(_) | Val::Bool(_)), .. }) => {
            return Err(wrong(args, name, format!("{what} are integers, found {}", found.describe())));
        }
        _ => tensor(builder, args, name)?,
    };
    let ty = builder.ops().ty(indices);
    if ty.dtype.is_int() {
        Ok(indices)
    } else {
        Err(wrong(args, name, format!("{what} are integers, found {ty}")))
    }
}

/// Slices along an axis. Without a mode, indices that are constants are checked here and count from the end below 0, those
/// that are an input are checked before anything runs, and computed ones are clipped; a mode computes the index.
fn take(builder: &mut Builder, args: &Args) -> Built<Val> {
    let (x, indices) = (tensor(builder, args, "x")?, whole(builder, args, "indices", "indices")?);
    let axis = axis(builder, args, x, 0)?;
    if !args.has("mode") {
        let mut ops = builder.ops();
        let ty = ops.ty(x);
        let indices = ops.checked_indices(&ty, axis, indices).map_err(|fault| {
            let fault = fault.help("a mode says what to take there: `mode='clip'`, `'wrap'` or `'fill'`");
            fault.at(args.place("indices").unwrap_or_default())
        })?;
        return tensor_value(ops.take(x, indices, axis));
    }
    let outside = match args.word("mode", Mode::Clip)? {
        Mode::Clip => Outside::Clip,
        Mode::Wrap => Outside::Wrap,
        Mode::Fill => Outside::Fill(fill(builder, x, args)?),
    };
    tensor_value(builder.ops().take_by(x, indices, axis, outside))
}

/// What `take` fills with: the argument `fill`, or as JAX NaN, the least integer, for `u8` the greatest, or true.
fn fill(builder: &mut Builder, x: Tensor, args: &Args) -> Built {
    let mut ops = builder.ops();
    let dtype = ops.dtype(x);
    match (args.get("fill"), dtype) {
        (Some(value), _) => ops.literal(value, dtype),
        (None, DType::I32) => ops.int_scalar(i64::from(i32::MIN), dtype),
        (None, DType::I64) => ops.int_scalar(i64::MIN, dtype),
        (None, DType::U8) => ops.int_scalar(i64::from(u8::MAX), dtype),
        (None, DType::Bool) => ops.int_scalar(1, dtype),
        (None, DType::Bf16 | DType::F32 | DType::F64) => ops.scalar(f64::NAN, dtype),
    }
}

/// Tensors and lists along an axis that they have; a number has none.
fn concat(builder: &mut Builder, args: &Args) -> Built<Val> {
    let Some(Spanned { value: Val::List(items), span }) = args.get("parts") else {
        return Err(wrong(args, "parts", "expected a list of tensors").help("as in `concat([a, b], axis=0)`"));
    };
    if let Some(other) = items.iter().find(|item| !matches!(item, Val::Tensor(_) | Val::List(_))) {
        let fault = wrong(args, "parts", format!("expected a tensor, found {}", other.describe()));
        return Err(fault.help("a tensor of one number is `[1]`; `stack` puts numbers together"));
    }
    let axis = args.int_or("axis", 1)?;
    let parts: Vec<Spanned<Val>> = items.iter().map(|item| Spanned::new(item.clone(), *span)).collect();
    let mut ops = builder.ops();
    let parts = ops.promote(&parts.iter().collect::<Vec<_>>())?;
    tensor_value(ops.concat(&parts, axis))
}

pub(super) const FUNCTIONS: [Function; 8] = [
    function("matmul", &[required("a"), required("b")], |builder, args| {
        let [a, b] = promoted(builder, args, ["a", "b"])?;
        tensor_value(builder.ops().matmul(a, b))
    }),
    function("transpose", &[required("x"), ruled("axes", Rule::Ints, false)], |builder, args| {
        let x = tensor(builder, args, "x")?;
        let axes = args.ints("axes")?;
        let mut ops = builder.ops();
        let rank = ops.rank(x);
        let axes = match axes {
            None => (0..rank).rev().collect(),
            Some(axes) => axes.into_iter().map(|axis| ops.axis(x, axis)).collect::<Built<Vec<_>>>()?,
        };
        tensor_value(ops.transpose(x, &axes))
    }),
    function("reshape", &[required("x"), ruled("dims", Rule::Ints, true)], |builder, args| {
        let x = tensor(builder, args, "x")?;
        let dims = args.ints("dims")?.unwrap_or_default();
        tensor_value(builder.ops().reshape_to(x, &dims))
    }),
    function("concat", &[required("parts"), int("axis").or_int(1)], concat),
    function("one_hot", &[required("x"), size("classes")], |builder, args| {
        let x = whole(builder, args, "x", "class indices")?;
        let (classes, float) = (args.size("classes")?.get()?, builder.float());
        let mut ops = builder.ops();
        check_classes(&mut ops, x, classes).map_err(|message| wrong(args, "x", message))?;
        // Classes are compared in the type of the indices, which must hold them all.
        let x = if ops.dtype(x) == DType::U8 { ops.convert(x, DType::I32)? } else { x };
        Ok(Val::Tensor(ops.b.one_hot(x, classes, float)?))
    }),
    function("take", &TAKE, take),
    function("parameter", &[required("name")], |builder, args| {
        let mut name = args.text("name")?.unwrap_or_default().to_owned();
        if let Some(star) = &builder.star {
            name = name.replace('*', star);
        }
        if let Some(value) = builder.state_here(&name) {
            return Ok(Val::Tensor(value));
        }
        if builder.misses(&name) {
            return Ok(Val::Unknown);
        }
        let names: Vec<String> = builder.slots.list().iter().map(|slot| slot.name.clone()).collect();
        let fault = wrong(args, "name", format!("there is no parameter '{name}' before this place"));
        Err(match nearest(&name, names.iter().map(String::as_str)) {
            Some(near) => fault.help(format!("did you mean '{near}'?")),
            None => fault,
        })
    }),
    function("positions", &[required("x"), int("axis").or_int(-1)], |builder, args| {
        let x = tensor(builder, args, "x")?;
        let axis = counted_axis(builder, args, x)?;
        let mut ops = builder.ops();
        let dims = ops.dims(x);
        Ok(Val::Tensor(ops.b.iota(DType::I32, &dims, axis)?))
    }),
];
