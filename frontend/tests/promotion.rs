//! Tensors of several element types that meet: every function that takes more than one brings them to the largest.

use brolga_frontend::language::{self, Takes};
use brolga_frontend::{Model, Settings, no_imports};
use brolga_ir::DType;
use brolga_ir::ops::Role;

use crate::common::formulas;

const INPUTS: &str = "\"u\": \"u8[4, 3]\", \"i\": \"i32[4, 3]\", \"l\": \"i64[4, 3]\", \"x\": \"f32[4, 3]\", \"d\": \"f64[4, 3]\"";

/// A call, and the type of its result.
const CALLS: &[(&str, &str)] = &[
    ("concat([u, i], axis=0)", "i32[8, 3]"),
    ("concat([i, u, x], axis=1)", "f32[4, 9]"),
    ("concat([u > 1, l], axis=1)", "i64[4, 6]"),
    ("concat([d, x], axis=-1)", "f64[4, 6]"),
    ("stack([u, i])", "i32[2, 4, 3]"),
    ("stack([x, d])", "f64[2, 4, 3]"),
    ("split(u, 3)[0]", "u8[4, 1]"),
    ("pick(d, u[:, 0])", "f64[4]"),
    ("scatter(i, u[:2, 0], x[:2])", "f32[4, 3]"),
    ("put(u, i, d)", "f64[4, 3]"),
    ("slice(u, l[0, 0], 2)", "u8[2, 3]"),
    ("update_slice(u, i[:2], u[0, 0])", "i32[4, 3]"),
    ("shift(u, 1, 2)", "u8[4, 3]"),
    ("pad(u, [0, 1], 2)", "u8[4, 5]"),
    ("where(u > 1, i, x)", "f32[4, 3]"),
    ("where(x > 0, u, l)", "i64[4, 3]"),
    ("clip(u, i, x)", "f32[4, 3]"),
    ("min(u, i)", "i32[4, 3]"),
    ("max(u, i, d)", "f64[4, 3]"),
    ("atan2(x, d)", "f64[4, 3]"),
    ("atan2(u, i)", "f32[4, 3]"),
    ("xor(u, x)", "bool[4, 3]"),
    ("matmul(x, transpose(d))", "f64[4, 4]"),
    ("matmul(u, transpose(x))", "f32[4, 4]"),
    ("matmul([[1, 2, 3]], transpose(x))", "f32[1, 4]"),
    ("u @ transpose(d)", "f64[4, 4]"),
    ("attention(reshape(x, [4, 1, 3]), reshape(d, [4, 1, 3]), reshape(x, [4, 1, 3]))", "f64[4, 1, 3]"),
    ("take(d, u[:, 0])", "f64[4, 3]"),
    ("mse(x, d)", "f64[]"),
    ("l1(d, i)", "f64[]"),
    ("smooth_l1(x, d)", "f64[]"),
    ("huber(d, x)", "f64[]"),
    ("hinge(x, d)", "f64[]"),
    ("bce(sigmoid(x), sigmoid(d))", "f64[]"),
    ("bce_with_logits(x, sigmoid(d), weights=d, pos_weight=d)", "f64[]"),
    ("kl(x, sigmoid(d))", "f64[]"),
    ("gauss_nll(x, u, square(d))", "f64[]"),
    // Weights of classes take the type of the scores.
    ("cross_entropy(x, u[:, 0], weights=d[0])", "f32[]"),
    ("cross_entropy(x, softmax(d, axis=1))", "f64[]"),
    ("nll(d, l[:, 0], weights=x[0])", "f64[]"),
    ("focal(x, i[:, 0], weights=d[0])", "f32[]"),
    ("grad(sum(d * x), d)", "f64[4, 3]"),
    ("jvp(x * i, x, x)", "f32[4, 3]"),
    ("accuracy(d, u[:, 0])", "f32[]"),
    ("top_k_accuracy(d, u[:, 0], 2)", "f32[]"),
];

fn mistakes_or_type(body: &str, expression: &str) -> Result<String, String> {
    let text = formulas(INPUTS, body, &[expression]);
    let model = Model::parse("test.ron", &text, &no_imports);
    let instance = model.and_then(|model| model.instantiate(&Settings::default()));
    let instance = instance.map_err(|mistakes| mistakes.to_string())?;
    let graph = instance.graph("infer").ok_or("there is no entry")?;
    let output =
        graph.outputs().iter().find(|output| output.role == Role::Data).ok_or("there is no output")?;
    Ok(graph.ty(output.value).to_string())
}

#[test]
fn every_function_of_several_tensors_promotes() {
    let mut wrong = String::new();
    for (call, expected) in CALLS {
        match mistakes_or_type("", call) {
            Ok(found) if found == *expected => {}
            Ok(found) => wrong += &format!("{call}: {found}, not {expected}\n"),
            Err(mistakes) => wrong += &format!("{call}: {mistakes}\n"),
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    for function in language::functions() {
        // Lists of axes and extents are numbers.
        let holds = |name: &str| !["axis", "axes", "dims"].contains(&name);
        let tensors = function.arguments.iter().filter(|a| a.takes == Takes::Values && holds(a.name));
        let several = tensors.count() > 1;
        let parts = function.arguments.iter().any(|argument| argument.name == "parts");
        let is_there = CALLS.iter().any(|(call, _)| call.starts_with(&format!("{}(", function.name)));
        // A range has numbers only, and `r2` belongs into metrics.
        assert!(
            is_there || !(several || parts) || ["range", "r2"].contains(&function.name),
            "no row for `{}`",
            function.name
        );
    }
}

#[test]
fn branches_that_join_promote() {
    for (step, expected) in [
        ("Concat(axis: 1, branches: [\"u\", \"i\", \"x\"])", "f32[4, 9]"),
        ("Concat(axis: 0, branches: [\"u\", \"l\"])", "i64[8, 3]"),
        ("Add([\"u\", \"x\"])", "f32[4, 3]"),
        ("Multiply([\"i\", \"l\"])", "i64[4, 3]"),
    ] {
        assert_eq!(mistakes_or_type(step, "it").as_deref(), Ok(expected), "{step}");
    }
    // What does not fit by its shape is told by its shape.
    let mistakes = mistakes_or_type("", "concat([u, i[:2]], axis=1)").unwrap_err();
    assert!(mistakes.contains("all other axes must be equal"), "{mistakes}");
}

/// Messages name the types that the model has, not those that values are brought to beside each other; what it converts
/// itself is of the type that it says.
#[test]
fn messages_name_types_as_they_are_written() {
    for (call, message) in [
        ("concat([u, i[:2]], axis=1)", "u8[4, 3] and i32[2, 3] cannot be concatenated along axis 1"),
        ("u @ i", "u8[4, 3] and i32[4, 3] have no matrix product"),
        ("matmul(i, x)", "i32[4, 3] and f32[4, 3] have no matrix product"),
        ("attention(u, i, x)", "found queries u8[4, 3], keys i32[4, 3] and values f32[4, 3]"),
        ("u + x[:, :2]", "u8[4, 3] and f32[4, 2] cannot be combined elementwise"),
        ("u / l[:, :2]", "u8[4, 3] and i64[4, 2] cannot be combined elementwise"),
        ("where(x > 0, u[:, :2], x)", "bool[4, 3] and u8[4, 2] and f32[4, 3] cannot be combined elementwise"),
        ("min(u, d[:, :2])", "u8[4, 3] and f64[4, 2] cannot be combined elementwise"),
        ("stack([u, x[:2]])", "must have one shape, found u8[4, 3] and f32[2, 3]"),
        ("mse(x, i[:2])", "must have one shape, found f32[4, 3] and i32[2, 3]"),
        ("gauss_nll(x, i, u[:2])", "the variance u8[2, 3] does not fit the prediction f32[4, 3]"),
        ("softmax(u, axis=7)", "there is no axis 7 in u8[4, 3]"),
        ("cast(u, 'f32') @ d", "f32[4, 3] and f64[4, 3] have no matrix product"),
        ("float(u) @ d", "f32[4, 3] and f64[4, 3] have no matrix product"),
    ] {
        let mistakes = mistakes_or_type("", call).err().unwrap_or_default();
        assert!(mistakes.contains(message), "{call}: {mistakes}");
    }
    let mistakes = mistakes_or_type("Concat(axis: 1, branches: [\"u\", \"x[:2]\"])", "it").unwrap_err();
    assert!(mistakes.contains("u8[4, 3] and f32[2, 3] cannot be concatenated"), "{mistakes}");
}

/// Positions are i32, with numbers too; an axis that they cannot count is refused.
#[test]
fn positions_are_i32() {
    for call in ["argmax(x)", "argmin(d)", "argsort(u)[:, 0]", "top_k(x, 2)[1][:, 0]", "positions(l)[:, 0]"] {
        assert_eq!(mistakes_or_type("", call).as_deref(), Ok("i32[4]"), "{call}");
        assert_eq!(mistakes_or_type("", &format!("{call} * 1000000007")).as_deref(), Ok("i32[4]"), "{call}");
        let wide = format!("cast({call}, 'i64') * 1000000007");
        assert_eq!(mistakes_or_type("", &wide).as_deref(), Ok("i64[4]"), "{call}");
        let mistakes = mistakes_or_type("", &format!("{call} + 4294967296")).unwrap_err();
        assert!(mistakes.contains("does not fit into i32"), "{call}: {mistakes}");
    }
    for call in
        ["argmax(it, axis=0)", "argsort(it, axis=0)", "top_k(it, 2, axis=0)[1]", "positions(it, axis=0)"]
    {
        let long = |extent: u64| mistakes_or_type(&format!("Expr(\"zeros([{extent}], 'u8')\")"), call);
        assert!(long((1 << 31) - 1).is_ok(), "{call}: {:?}", long((1 << 31) - 1));
        assert!(long(1 << 31).unwrap_err().contains("positions are i32"), "{call}");
    }
}

/// What a function does not do with truth values is said of the function, not of the operators that it is made of.
#[test]
fn functions_of_truth_values_are_told_by_their_names() {
    let mistakes = mistakes_or_type("", "square(x > 0)").unwrap_err();
    assert!(
        mistakes.contains("`square`: truth values are no numbers") && mistakes.contains("int(x)"),
        "{mistakes}"
    );
    // Of the operator itself it is said as of the operator.
    let mistakes = mistakes_or_type("", "abs(x > 0)").unwrap_err();
    assert!(mistakes.contains("error: `abs` does not take truth values"), "{mistakes}");
    for call in ["Add([\"x > 0\", \"u > 1\"])", "Multiply([\"x > 0\", \"u > 1\"])"] {
        let mistakes = mistakes_or_type(call, "it").unwrap_err();
        assert!(mistakes.contains("does not take truth values"), "{call}: {mistakes}");
    }
    for function in language::functions() {
        let tensors = function.arguments.iter().filter(|argument| argument.required);
        let call = format!("{}({})", function.name, tensors.map(|_| "x > 0").collect::<Vec<_>>().join(", "));
        let mistakes = mistakes_or_type("", &call).err().unwrap_or_default();
        let own = format!("`{}` does not take truth values", function.name);
        let of_parts = mistakes.contains("does not take truth values") && !mistakes.contains(&own);
        assert!(!mistakes.contains("is not defined for") && !of_parts, "{call}: {mistakes}");
    }
}

/// Weights are of the model's type: an input of another is told with what to do, and not by an operator inside.
#[test]
fn weights_of_another_type_than_the_input_are_told() {
    for layer in ["Linear(2)", "Conv1d(2, 3)", "ConvTranspose1d(2, 3)", "MultiHeadAttention(2)"] {
        let built = |body: &str, float: DType| {
            let model =
                Model::parse("test.ron", &formulas("\"d\": \"f64[2, 4, 8]\"", body, &["it"]), &no_imports);
            let settings = Settings { float, ..Settings::default() };
            model.and_then(|model| model.instantiate(&settings)).map_err(|mistakes| mistakes.to_string())
        };
        let mistakes = built(layer, DType::F32).err().unwrap_or_default();
        for part in
            ["the weights are f32, but the input is f64[2, 4, 8]", "cast(it, 'f32')", "--precision f64"]
        {
            assert!(mistakes.contains(part), "{layer}: {mistakes}");
        }
        assert!(built(&format!("Expr(\"cast(it, 'f32')\"), {layer}"), DType::F32).is_ok(), "{layer}");
        assert!(built(layer, DType::F64).is_ok(), "{layer}");
    }
}
