//! Functions that make tensors of numbers, put tensors together, or change their element type.

use brolga_ir::{DType, Type};

use super::function::{Function, function, tensor_value, wrong};
use crate::graph::arguments::tensor;
use crate::graph::builder::Builder;
use crate::graph::value::{Args, Built, Fault, Val, extents};
use crate::signature::{Parameter, Rule, Words, int, required, ruled, size, word};
use crate::source::Spanned;

/// The element types of the language: those that are computed with.
const ELEMENTS: [DType; 6] = [DType::F32, DType::F64, DType::I32, DType::I64, DType::U8, DType::Bool];

/// Their names.
const NAMES: [&str; ELEMENTS.len()] = {
    let mut names = [""; ELEMENTS.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = ELEMENTS[at].name();
        at += 1;
    }
    names
};

impl Words for DType {
    const NAMES: &'static [&'static str] = &NAMES;
    const ALL: &'static [DType] = &ELEMENTS;

    fn name(self) -> &'static str {
        DType::name(self)
    }
}

const EQUAL: [Parameter; 2] = [ruled("dims", Rule::Ints, true), word::<DType>("dtype", false).or_word("f32")];
const FULL: [Parameter; 3] =
    [ruled("dims", Rule::Ints, true), required("value"), word::<DType>("dtype", false)];

pub(super) const FUNCTIONS: [Function; 6] = [
    function("zeros", &EQUAL, |builder, args| equal(builder, args, 0.0)),
    function("ones", &EQUAL, |builder, args| equal(builder, args, 1.0)),
    function("full", &FULL, full),
    function("eye", &[size("n")], |builder, args| {
        let (n, float) = (args.size("n")?.get()?, builder.float());
        Type::new(float, [n, n]).check_size().map_err(Fault::new)?;
        let b = &mut builder.ops().b;
        let rows = b.iota(DType::I32, &[n], 0)?;
        Ok(Val::Tensor(b.one_hot(rows, n, float)?))
    }),
    function("stack", &[required("parts"), int("axis").or_int(0)], stack),
    function("cast", &[required("x"), word::<DType>("dtype", true)], cast),
];

/// The argument `dtype`; `f32` is what stands for it in this build.
fn element(builder: &Builder, args: &Args) -> Built<Option<DType>> {
    if !args.has("dtype") {
        return Ok(None);
    }
    Ok(Some(match args.word("dtype", DType::F32)? {
        DType::F32 => builder.float(),
        other => other,
    }))
}

pub(super) fn dims(args: &Args) -> Built<Vec<usize>> {
    extents(&args.ints("dims")?.unwrap_or_default())
}

/// Another element type. Numbers become floats of that type at once, without another rounding; whole numbers become other
/// integers as those of a list do, from i64.
fn cast(builder: &mut Builder, args: &Args) -> Built<Val> {
    let dtype = element(builder, args)?.unwrap_or(builder.float());
    if let Some(number @ Spanned { value: Val::List(_) | Val::Int(_) | Val::Float(_), .. }) = args.get("x")
        && dtype.is_float()
    {
        let mut ops = builder.ops();
        let x = if let Val::List(_) = number.value {
            ops.list(number, dtype)
        } else {
            ops.literal(number, dtype)
        };
        return tensor_value(x);
    }
    let x = match args.get("x") {
        Some(number @ Spanned { value: Val::Int(_), .. }) => builder.ops().tensor(number)?,
        _ => tensor(builder, args, "x")?,
    };
    tensor_value(builder.ops().convert(x, dtype))
}

/// A tensor of equal elements, floats if nothing is said.
fn equal(builder: &mut Builder, args: &Args, value: f64) -> Built<Val> {
    let dtype = element(builder, args)?.unwrap_or(builder.float());
    let ty = Type::new(dtype, dims(args)?);
    tensor_value(builder.ops().full(value, &ty))
}

/// A tensor of equal elements, of the number's type if nothing is said.
fn full(builder: &mut Builder, args: &Args) -> Built<Val> {
    let (dims, dtype) = (dims(args)?, element(builder, args)?);
    let Some(value) = args.get("value") else { return Err(wrong(args, "value", "a value is missing")) };
    let mut ops = builder.ops();
    let element = match (dtype, &value.value) {
        (Some(dtype), Val::Tensor(tensor)) => ops.convert(*tensor, dtype)?,
        (Some(dtype), Val::List(_)) => ops.list(value, dtype)?,
        (Some(dtype), _) => ops.literal_as(value, dtype)?,
        (None, _) => ops.tensor(value)?,
    };
    tensor_value(ops.broadcast_to(element, &dims))
}

/// Tensors and numbers of one shape along a new axis.
fn stack(builder: &mut Builder, args: &Args) -> Built<Val> {
    let Some(parts @ Spanned { value: Val::List(items), .. }) = args.get("parts") else {
        return Err(wrong(args, "parts", "expected a list of tensors"));
    };
    if items.is_empty() {
        return Err(wrong(args, "parts", "there is nothing to stack"));
    }
    let axis = args.int_or("axis", 0)?;
    let mut ops = builder.ops();
    let whole = ops.tensor(parts)?;
    let rank = ops.rank(whole);
    let axis = ops.axis(whole, axis)?;
    // The new axis is the first one; it goes to its place.
    let mut axes: Vec<usize> = (1..rank).collect();
    axes.insert(axis, 0);
    tensor_value(ops.transpose(whole, &axes))
}
