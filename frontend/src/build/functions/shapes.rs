//! Functions that arrange elements, and access to parameters.

use brolga_ir::DType;
use brolga_ir::names::nearest;

use super::{Function, axis, function, tensor, tensor_value, wrong};
use crate::arguments::{optional, required};
use crate::build::value::{Built, Val};

pub(super) static FUNCTIONS: [Function; 8] = [
    function("matmul", &[required("a"), required("b")], |builder, args| {
        let (a, b) = (args.tensor("a")?, args.tensor("b")?);
        tensor_value(builder.ops().matmul(a, b))
    }),
    function("transpose", &[required("x"), optional("axes")], |builder, args| {
        let x = args.tensor("x")?;
        let axes = args.ints("axes")?;
        let mut ops = builder.ops();
        let rank = ops.rank(x);
        let axes = match axes {
            None => (0..rank).rev().collect(),
            Some(axes) => axes.into_iter().map(|axis| ops.axis(x, axis)).collect::<Built<Vec<_>>>()?,
        };
        tensor_value(ops.transpose(x, &axes))
    }),
    function("reshape", &[required("x"), required("dims")], |builder, args| {
        let x = args.tensor("x")?;
        let dims = args.ints("dims")?.unwrap_or_default();
        tensor_value(builder.ops().reshape_to(x, &dims))
    }),
    function("concat", &[required("parts"), optional("axis")], |builder, args| {
        let Some(Val::List(items)) = args.get("parts").map(|parts| &parts.value) else {
            return Err(wrong(args, "parts", "expected a list of tensors"));
        };
        let mut tensors = Vec::new();
        for item in items {
            match item {
                Val::Tensor(tensor) => tensors.push(*tensor),
                other => {
                    return Err(wrong(
                        args,
                        "parts",
                        format!("expected a tensor, found {}", other.describe()),
                    ));
                }
            }
        }
        let axis = args.int_or("axis", 1)?;
        tensor_value(builder.ops().concat(&tensors, axis))
    }),
    function("one_hot", &[required("x"), required("classes")], |builder, args| {
        let x = args.tensor("x")?;
        let (classes, float) = (args.size("classes")?, builder.float());
        let mut ops = builder.ops();
        if !ops.dtype(x).is_int() {
            return Err(wrong(args, "x", format!("class indices are integers, found {}", ops.ty(x))));
        }
        Ok(Val::Tensor(ops.b.one_hot(x, classes, float)?))
    }),
    function("take", &[required("x"), required("indices"), optional("axis")], |builder, args| {
        let (x, indices) = (args.tensor("x")?, args.tensor("indices")?);
        let axis = axis(builder, args, x, 0)?;
        tensor_value(builder.ops().take(x, indices, axis))
    }),
    function("parameter", &[required("name")], |builder, args| {
        let name = args.text("name")?.unwrap_or_default().to_owned();
        if let Some((_, value)) = builder.slots.get(&name) {
            return Ok(Val::Tensor(value));
        }
        let names: Vec<String> = builder.slots.list().iter().map(|slot| slot.name.clone()).collect();
        let fault = wrong(args, "name", format!("there is no parameter '{name}' before this place"));
        Err(match nearest(&name, names.iter().map(String::as_str)) {
            Some(near) => fault.help(format!("did you mean '{near}'?")),
            None => fault,
        })
    }),
    function("positions", &[required("x"), optional("axis")], |builder, args| {
        let x = tensor(builder, args, "x")?;
        let axis = axis(builder, args, x, -1)?;
        let mut ops = builder.ops();
        let dims = ops.dims(x);
        Ok(Val::Tensor(ops.b.iota(DType::I32, &dims, axis)?))
    }),
];
