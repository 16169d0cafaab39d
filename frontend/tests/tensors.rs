//! Indexing, products, choices, tensors made of numbers, casts: by the reference interpreter, compared with PyTorch and numpy
//! (`references/tensors.py` writes the values).

use std::collections::HashMap;

use brolga_frontend::{Model, Settings, no_imports};
use brolga_ir::scalar::Scalar;
use brolga_ir::{DType, Tensor, Type};

use crate::common::{formulas, lines, mistakes, numbers, run};

/// As in `references/tensors.py`; no values stand for the ramp there.
const INPUTS: [(&str, DType, &[usize], &[f64]); 13] = [
    ("x", DType::F32, &[2, 3, 4], &[]),
    ("v", DType::F32, &[4], &[]),
    ("w", DType::F32, &[3], &[]),
    ("m", DType::F32, &[4, 5], &[]),
    ("p", DType::F32, &[5, 2, 3, 4], &[]),
    ("q", DType::F32, &[1, 4, 2], &[]),
    ("r", DType::F32, &[5, 1, 4, 2], &[]),
    ("i", DType::I32, &[3], &[1.0, -1.0, 0.0]),
    ("j", DType::I64, &[2, 2], &[0.0, -2.0, 1.0, 1.0]),
    ("k", DType::I32, &[], &[1.0]),
    ("u", DType::U8, &[2], &[2.0, 0.0]),
    ("c", DType::Bool, &[2, 1], &[1.0, 0.0]),
    ("d", DType::Bool, &[4], &[1.0, 0.0, 1.0, 1.0]),
];

fn declared() -> String {
    let ty = |dtype: DType, dims: &[usize]| Type::new(dtype, dims.to_vec()).to_string();
    let inputs = INPUTS.iter().map(|(name, dtype, dims, _)| format!("\"{name}\": \"{}\"", ty(*dtype, dims)));
    inputs.collect::<Vec<_>>().join(", ")
}

fn given() -> HashMap<String, Tensor> {
    let value = |&(name, dtype, dims, values): &(&str, DType, &[usize], &[f64])| {
        let ramp = |i: usize| ((i * 5) % 13) as f64 - 6.0;
        let at = |i: usize| Scalar::from_f64(dtype, values.get(i).copied().unwrap_or_else(|| ramp(i)));
        (name.to_owned(), Tensor::generate(&Type::new(dtype, dims.to_vec()), at))
    };
    INPUTS.iter().map(value).collect()
}

#[test]
fn expressions_are_those_of_pytorch() {
    let rows: Vec<Vec<&str>> = lines(include_str!("references/tensors.tsv")).collect();
    assert!(rows.len() >= 160);
    let expressions: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    let text = formulas(&declared(), "", &expressions);
    let instance = Model::parse("test.ron", &text, &no_imports)
        .and_then(|model| model.instantiate(&Settings::default()))
        .unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    let results = run(instance.graph("infer").expect("infer"), &given());
    for (position, row) in rows.iter().enumerate() {
        let found = &results[&position.to_string()];
        let dims: Vec<usize> = row[2].split_whitespace().map(|n| n.parse().expect("an extent")).collect();
        assert_eq!((found.dtype().name(), found.dims()), (row[1], &dims[..]), "{}", row[0]);
        let expected: Vec<f64> = row[3].split_whitespace().map(|v| v.parse().unwrap_or(f64::NAN)).collect();
        let same = |(a, b): (&f64, &f64)| a == b || a.is_nan() && b.is_nan();
        let found = numbers(found);
        assert!(found.iter().zip(&expected).all(same), "{}: {found:?}, not {expected:?}", row[0]);
    }
}

/// Powers by constants that are functions of their own: a root of minus infinity is NaN, as in PyTorch.
#[test]
fn powers_by_constants_at_the_ends_of_the_numbers() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let table = [
        ("x ** 0.5", [nan, nan, 0.0, 2.0, inf, nan]),
        ("x ** -0.5", [nan, nan, inf, 0.5, 0.0, nan]),
        ("x ** 2", [inf, 1.0, 0.0, 16.0, inf, nan]),
        ("x ** 3", [-inf, -1.0, 0.0, 64.0, inf, nan]),
    ];
    let text = formulas("\"x\": \"f32[6]\"", "", &table.map(|(expression, _)| expression));
    let instance = Model::parse("test.ron", &text, &no_imports)
        .and_then(|model| model.instantiate(&Settings::default()))
        .unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    let x = Tensor::f32([6], [-inf, -1.0, 0.0, 4.0, inf, nan]);
    let results = run(instance.graph("infer").expect("infer"), &HashMap::from([("x".to_owned(), x)]));
    for (position, (expression, expected)) in table.iter().enumerate() {
        let found = numbers(&results[&position.to_string()]);
        let same = |(a, &b): (&f64, &f32)| *a == f64::from(b) || a.is_nan() && b.is_nan();
        assert!(found.iter().zip(expected).all(same), "{expression}: {found:?}, not {expected:?}");
    }
}

/// What cannot be indexed, multiplied or put together is reported, with what would be right.
#[test]
fn mistakes_say_what_is_right() {
    for (expression, message) in [
        ("x[d]", "choose elementwise with `where(mask, x, otherwise)`"),
        ("x[x > 0]", "a mask picks a number of elements that is not known"),
        ("x[v]", "indices are integers"),
        ("x[0.5]", "an index must be a whole number, found 0.5"),
        ("x[true]", "an index must be a whole number, found true"),
        ("x[[2]]", "the index 2 is outside of axis 0 of f32[2, 3, 4]"),
        ("x[:, [0, -4]]", "the index -4 is outside of axis 1"),
        ("x[:, [true, false]]", "a mask of 2 does not fit axis 1"),
        ("x[..., 0, ...]", "`...` can stand in an index once"),
        ("x[0, ..., 1, 2, 3]", "has 3 axes, but 4 are indexed"),
        ("x[::0]", "a step cannot be 0"),
        ("x[:, [[0], [1, 2]]]", "the lists in a list must have equal lengths"),
        ("x[[0, 1], [0, 1, 2]]", "cannot be combined elementwise"),
        ("x + [1, 2]", "cannot be combined elementwise"),
        ("u + [1, 300]", "300 does not fit into u8"),
        ("v + [[1], 2]", "the lists in a list must have equal lengths"),
        ("stack([v, w])", "the elements of a list must have one shape"),
        ("v @ w", "f32[4] and f32[3] have no matrix product"),
        ("x @ p", "have no matrix product"),
        ("v @ 2", "have no matrix product"),
        ("p @ p[:3]", "have no matrix product"),
        ("d - d", "`-` does not take truth values"),
        ("i ** -1", "an integer to a negative power is a fraction"),
        ("cast(v, 'f16')", "'f32', 'f64', 'i32', 'i64', 'u8', 'bool'"),
        ("zeros([-1])", "a size of -1 is not from 0"),
        ("top_k(v, 5)", "k is 5, but axis 0 has 4 elements"),
        ("scatter(v, 4, 1)", "the index 4 is outside of axis 0 of f32[4]"),
        ("scatter(x, 0, v[:3])", "cannot be repeated to [3, 4]"),
        ("scatter(x, [i, i, i], 1, axis=1)", "there are indices into 3 axes from axis 1 on of f32[2, 3, 4]"),
        ("put(d, 0, true, mode='add')", "truth values can be set only"),
        ("slice(v, 3, 2)", "they begin at 0 to 2"),
        ("slice(v, 0, 5)", "axis 0 of f32[4] has no 5 elements"),
        ("update_slice(x, v, 0)", "f32[4] must have the extents of f32[2, 3, 4] but for axis 0"),
        ("where(v, 1, 2)", "a condition is made of truth values"),
        ("where(c, v, w)", "cannot be combined elementwise"),
    ] {
        let found = mistakes(&formulas(&declared(), "", &[expression]));
        assert!(found.contains(message), "{expression}: {found}");
    }
}

/// Long sums are one level of an expression, however many terms they have.
#[test]
fn long_expressions() {
    let terms = |count: usize, term: &str, by: &str| vec![term; count].join(by);
    let expressions = [
        format!("v + {}", terms(2000, "1", " + ")),
        format!("v * 0 + {}", terms(1000, "v", " + ")),
        format!("v * 0 + {}", terms(500, "v[0]", " - ")),
        format!("float({})", terms(400, "d", " and ")),
        format!("float({})", terms(400, "d", " == ")),
        format!("{} * v", terms(900, "1", " * ")),
    ];
    let texts: Vec<&str> = expressions.iter().map(String::as_str).collect();
    let instance = Model::parse("test.ron", &formulas(&declared(), "", &texts), &no_imports)
        .and_then(|model| model.instantiate(&Settings::default()))
        .unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    let results = run(instance.graph("infer").expect("infer"), &given());
    let v = [-6.0, -1.0, 4.0, -4.0];
    let expected = [
        v.map(|v| v + 2000.0),
        v.map(|v| v * 1000.0),
        [-6.0 + 499.0 * 6.0; 4],
        [1.0, 0.0, 1.0, 1.0],
        [1.0; 4],
        v,
    ];
    for (position, expected) in expected.iter().enumerate() {
        assert_eq!(numbers(&results[&position.to_string()]), *expected, "{}", &texts[position][..40]);
    }
}

/// `nan`, `inf` and `pi` are numbers.
#[test]
fn literals() {
    let expressions =
        ["where(d, v, nan)", "max(v, -inf)", "v * pi", "min(inf, 3) + v", "v + (inf - inf)", "inf > v"];
    let instance = Model::parse("test.ron", &formulas(&declared(), "", &expressions), &no_imports)
        .and_then(|model| model.instantiate(&Settings::default()))
        .unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    let results = run(instance.graph("infer").expect("infer"), &given());
    let found: Vec<Vec<f64>> = (0..6).map(|i| numbers(&results[&i.to_string()])).collect();
    assert!(found[0][1].is_nan() && found[0][0] == -6.0);
    assert_eq!(found[1], [-6.0, -1.0, 4.0, -4.0]);
    assert_eq!(found[2][1], -f64::from(std::f32::consts::PI));
    assert_eq!(found[3], [-3.0, 2.0, 7.0, -1.0]);
    assert!(found[4].iter().all(|v| v.is_nan()));
    assert_eq!(found[5], [1.0; 4]);
}

/// Python's order: sorted values with their positions, NaN last, equal elements in their order.
#[test]
fn order() {
    let inputs = "\"x\": \"f32[2, 4]\", \"i\": \"i64[4]\", \"b\": \"bool[4]\"";
    let given = HashMap::from([
        ("x".to_owned(), Tensor::f32([2, 4], [3.0, f32::NAN, -1.0, 3.0, 0.0, -0.0, 2.0, 1.0])),
        (
            "i".to_owned(),
            Tensor::generate(&Type::new(DType::I64, [4]), |i| Scalar::I64([5, -7, 1 << 40, 5][i])),
        ),
        ("b".to_owned(), Tensor::generate(&Type::new(DType::Bool, [4]), |i| Scalar::Bool(i % 2 == 0))),
    ]);
    let nan = f64::NAN;
    let table: [(&str, DType, &[f64]); 12] = [
        ("sort(x)", DType::F32, &[-1.0, 3.0, 3.0, nan, 0.0, -0.0, 1.0, 2.0]),
        ("argsort(x)", DType::I32, &[2.0, 0.0, 3.0, 1.0, 0.0, 1.0, 3.0, 2.0]),
        ("sort(x, descending=true)", DType::F32, &[nan, 3.0, 3.0, -1.0, 2.0, 1.0, 0.0, -0.0]),
        ("sort(x, axis=0)", DType::F32, &[0.0, -0.0, -1.0, 1.0, 3.0, nan, 2.0, 3.0]),
        ("sort(i)", DType::I64, &[-7.0, 5.0, 5.0, (1u64 << 40) as f64]),
        ("argsort(i, descending=true)", DType::I32, &[2.0, 0.0, 3.0, 1.0]),
        ("sort(b)", DType::Bool, &[0.0, 0.0, 1.0, 1.0]),
        ("top_k(x, 2)[0]", DType::F32, &[nan, 3.0, 2.0, 1.0]),
        ("top_k(x, 2)[1]", DType::I32, &[1.0, 0.0, 2.0, 3.0]),
        ("top_k(x, 1, axis=0)[0]", DType::F32, &[3.0, nan, 2.0, 3.0]),
        ("top_k(i, 2, largest=false)[1]", DType::I32, &[1.0, 0.0]),
        ("cumprod(i)", DType::I64, &[5.0, -35.0, -35.0 * (1u64 << 40) as f64, -175.0 * (1u64 << 40) as f64]),
    ];
    let expressions: Vec<&str> = table.iter().map(|row| row.0).collect();
    let instance = Model::parse("test.ron", &formulas(inputs, "", &expressions), &no_imports)
        .and_then(|model| model.instantiate(&Settings::default()))
        .unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    let results = run(instance.graph("infer").expect("infer"), &given);
    for (position, (expression, dtype, expected)) in table.iter().enumerate() {
        let found = &results[&position.to_string()];
        let same = |(a, b): (&f64, &f64)| a == b || a.is_nan() && b.is_nan();
        assert_eq!(found.dtype(), *dtype, "{expression}");
        let found = numbers(found);
        assert!(found.iter().zip(*expected).all(same), "{expression}: {found:?}");
    }
}
