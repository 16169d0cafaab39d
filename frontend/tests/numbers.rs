//! Element types of results, whole numbers that do not wrap, indexing: by the reference interpreter. Operators on every
//! pair of types are compared with PyTorch (`references/promotion.py` writes the values).

use std::collections::HashMap;

use brolga_frontend::{Model, Settings, no_imports};
use brolga_ir::tensor::Data;
use brolga_ir::{DType, Tensor, Type};

use crate::common::{formulas, lines, mistakes, numbers, run};

/// The values of some expressions.
fn values(inputs: &str, given: &[(&str, Tensor)], expressions: &[&str]) -> Vec<Tensor> {
    let text = formulas(inputs, "", expressions);
    let instance = Model::parse("test.ron", &text, &no_imports)
        .and_then(|model| model.instantiate(&Settings::default()))
        .unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    let given: HashMap<String, Tensor> =
        given.iter().map(|(name, tensor)| (name.to_string(), tensor.clone())).collect();
    let results = run(instance.graph("infer").expect("infer"), &given);
    (0..expressions.len()).map(|i| results[&i.to_string()].clone()).collect()
}

fn value(inputs: &str, given: &[(&str, Tensor)], expression: &str) -> Tensor {
    values(inputs, given, &[expression]).remove(0)
}

fn tensor(dtype: DType, values: &[f64]) -> Tensor {
    let ty = Type::new(dtype, [values.len()]);
    Tensor::generate(&ty, |i| brolga_ir::scalar::Scalar::from_f64(dtype, values[i]))
}

/// The name of an element type, and the values of a tensor of it.
type TypeValues = (&'static str, [f64; 4]);

/// As in `references/promotion.py`.
const SIDES: [(&str, [TypeValues; 6]); 2] = [
    (
        "l",
        [
            ("bool", [1.0, 0.0, 1.0, 1.0]),
            ("u8", [0.0, 1.0, 7.0, 255.0]),
            ("i32", [-7.0, 2.0, 0.0, 3.0]),
            ("i64", [-5.0, 4294967297.0, 9.0, 2.0]),
            ("f32", [-2.5, 0.75, 6.0, 3.5]),
            ("f64", [7.25, -0.5, 2.0, -9.0]),
        ],
    ),
    (
        "r",
        [
            ("bool", [1.0, 1.0, 1.0, 1.0]),
            ("u8", [1.0, 3.0, 200.0, 2.0]),
            ("i32", [-3.0, 2.0, 5.0, -1.0]),
            ("i64", [7.0, -2.0, 4294967296.0, 3.0]),
            ("f32", [0.5, -2.0, 4.0, 1.5]),
            ("f64", [-1.25, 2.0, 0.5, 4.0]),
        ],
    ),
];

/// Every operator, `min`, `max` and `where`, on every pair of types, and of a type and a number on either side.
#[test]
fn operators_on_all_types() {
    let condition = Tensor::new([4], Data::Bool(vec![true, false, true, false]));
    let mut inputs = "\"c\": \"bool[4]\"".to_owned();
    let mut given = vec![("c".to_owned(), condition)];
    for (side, types) in &SIDES {
        for (name, values) in types {
            inputs += &format!(", \"{side}_{name}\": \"{name}[4]\"");
            given.push((format!("{side}_{name}"), tensor(DType::from_name(name).expect("a type"), values)));
        }
    }
    let given: Vec<(&str, Tensor)> =
        given.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    let rows: Vec<Vec<&str>> = lines(include_str!("references/promotion.tsv")).collect();
    assert!(rows.len() > 1400);
    let (wrong, right): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row[1] == "error");
    let expressions: Vec<&str> = right.iter().map(|row| row[0]).collect();
    for (row, found) in right.iter().zip(values(&inputs, &given, &expressions)) {
        assert_eq!(found.dtype().name(), row[1], "{}", row[0]);
        let expected = row[2].split(' ').map(|v| v.parse::<f64>().unwrap_or(f64::NAN));
        for (found, expected) in numbers(&found).into_iter().zip(expected) {
            let close = found == expected || (found - expected).abs() <= 3e-7 * expected.abs();
            assert!(close || found.is_nan() && expected.is_nan(), "{}: {found}, not {expected}", row[0]);
        }
    }
    assert!(wrong.len() > 100);
    for row in wrong {
        assert_ne!(mistakes(&formulas(&inputs, "", &[row[0]])), "", "{}", row[0]);
    }
}

/// A number that the type cannot hold is a mistake at its place, wherever numbers and tensors meet.
#[test]
fn numbers_that_do_not_fit() {
    let inputs =
        "\"u\": \"u8[4]\", \"i\": \"i32[4]\", \"l\": \"i64[4]\", \"x\": \"f32[4]\", \"m\": \"u8[2, 2]\"";
    for (expression, number) in [
        ("u == 300", "300"),
        ("u > -1", "-1"),
        ("300 + u", "300"),
        ("u // 256", "256"),
        ("u % 256", "256"),
        ("u ** 256", "256"),
        ("i + 4294967296", "4294967296"),
        ("i < 2147483648", "2147483648"),
        ("min(u, 300)", "300"),
        ("max(-1, u)", "-1"),
        ("max([u, 300])", "[u, 300]"),
        ("clip(u, -1, 300)", "-1"),
        ("clip(u, 0, 300)", "300"),
        ("where(u > 1, u, 300)", "300"),
        ("where(u > 1, -1, u)", "-1"),
        ("positions(i) < 4294967296", "4294967296"),
        ("take(u, i, mode='fill', fill=300)", "300"),
        ("take(u, i, mode='fill', fill=0.5)", "0.5"),
        ("sum([u, 300])", "[u, 300]"),
        ("x + 1e39", "1e39"),
        ("x < -1e39", "-1e39"),
    ] {
        let found = mistakes(&formulas(inputs, "", &[expression]));
        assert!(found.contains("does not fit into"), "{expression}: {found}");
        let marked = "^".repeat(number.len());
        let marks = |line: &str| line.trim_start_matches([' ', '|']) == marked;
        assert!(found.lines().any(marks), "{expression}: the place of {number}\n{found}");
    }
    let pad = mistakes(&formulas("\"m\": \"u8[2, 2]\"", "Pad(padding: [1, 1], value: 300)", &["it"]));
    assert!(pad.contains("300 does not fit into u8"), "{pad}");
    let zero = mistakes(&formulas(inputs, "", &["i // 0"]));
    assert!(zero.contains("division by zero"), "{zero}");
    for good in [
        "u == 255",
        "u + 0",
        "i > -2147483648",
        "l + 9007199254740993",
        "x + 3e38",
        "u * 0.5",
        "u < 300.0",
        "u + inf",
    ] {
        assert_eq!(mistakes(&formulas(inputs, "", &[good])), "", "{good}");
    }
}

/// Sums, means, products and running sums of whole numbers and truth values are formed in i64, as in PyTorch.
#[test]
fn sums_of_whole_numbers() {
    let inputs = "\"b\": \"bool[4]\", \"u\": \"u8[4]\", \"i\": \"i32[4]\", \"l\": \"i64[4]\"";
    let big = f64::from(i32::MAX);
    let given = [
        ("b", tensor(DType::Bool, &[1.0, 0.0, 1.0, 1.0])),
        ("u", tensor(DType::U8, &[200.0, 100.0, 255.0, 3.0])),
        ("i", tensor(DType::I32, &[big, big, big, 1.0])),
        ("l", tensor(DType::I64, &[4294967296.0, 5.0, 1.0, 1.0])),
    ];
    let table: [(&str, DType, &[f64]); 21] = [
        ("sum(b)", DType::I64, &[3.0]),
        ("sum(u)", DType::I64, &[558.0]),
        ("sum(i)", DType::I64, &[3.0 * big + 1.0]),
        ("sum(l)", DType::I64, &[4294967303.0]),
        ("sum(u, axis=0, keepdims=true)", DType::I64, &[558.0]),
        ("prod(u)", DType::I64, &[15300000.0]),
        ("prod(i[1:])", DType::I64, &[big * big]),
        ("prod(b)", DType::I64, &[0.0]),
        ("cumsum(u)", DType::I64, &[200.0, 300.0, 555.0, 558.0]),
        ("cumsum(b)", DType::I64, &[1.0, 1.0, 2.0, 3.0]),
        ("cumsum(i)", DType::I64, &[big, 2.0 * big, 3.0 * big, 3.0 * big + 1.0]),
        ("mean(b)", DType::F32, &[0.75]),
        ("mean(u)", DType::F32, &[139.5]),
        ("mean(i)", DType::F32, &[(3.0 * big + 1.0) / 4.0]),
        ("max(u)", DType::U8, &[255.0]),
        ("all(u)", DType::Bool, &[1.0]),
        ("any(u * 0)", DType::Bool, &[0.0]),
        ("all(float(b))", DType::Bool, &[0.0]),
        ("any(float(b))", DType::Bool, &[1.0]),
        ("all(b, axis=0)", DType::Bool, &[0.0]),
        ("mean(l)", DType::F32, &[1073741824.0]),
    ];
    let expressions: Vec<&str> = table.iter().map(|row| row.0).collect();
    for ((expression, dtype, expected), found) in table.iter().zip(values(inputs, &given, &expressions)) {
        assert_eq!(found.dtype(), *dtype, "{expression}");
        let expected: Vec<f64> =
            expected.iter().map(|&v| if *dtype == DType::F32 { f64::from(v as f32) } else { v }).collect();
        assert_eq!(numbers(&found), expected, "{expression}");
    }
}

#[test]
fn functions_keep_whole_numbers() {
    let inputs = "\"u\": \"u8[4]\", \"i\": \"i32[4]\", \"l\": \"i64[4]\", \"x\": \"f32[4]\"";
    let given = [
        ("u", tensor(DType::U8, &[0.0, 44.0, 255.0, 7.0])),
        ("i", tensor(DType::I32, &[-7.0, 2.0, 0.0, 3.0])),
        ("l", tensor(DType::I64, &[-1.0, 3.0, 0.0, 4294967297.0])),
        ("x", tensor(DType::F32, &[0.0, f64::NAN, -1.0, 0.0])),
    ];
    let table: [(&str, DType, &[f64]); 32] = [
        ("where(l > 0, l, 0)", DType::I64, &[0.0, 3.0, 0.0, 4294967297.0]),
        ("where(l > 0, 1, 0)", DType::I64, &[0.0, 1.0, 0.0, 1.0]),
        ("where(l > 0, l, 0.5)", DType::F32, &[0.5, 3.0, 0.5, 4294967296.0]),
        ("clip(i, 0, 2)", DType::I32, &[0.0, 2.0, 0.0, 2.0]),
        ("clip(i, 0.5, 2)", DType::F32, &[0.5, 2.0, 0.5, 2.0]),
        ("clip(i, u, 40)", DType::I32, &[0.0, 40.0, 40.0, 7.0]),
        ("floor(l)", DType::I64, &[-1.0, 3.0, 0.0, 4294967297.0]),
        ("trunc(i) + round(i) + ceil(i)", DType::I32, &[-21.0, 6.0, 0.0, 9.0]),
        ("int(l)", DType::I64, &[-1.0, 3.0, 0.0, 4294967297.0]),
        ("int(u)", DType::I32, &[0.0, 44.0, 255.0, 7.0]),
        ("i // 2", DType::I32, &[-4.0, 1.0, 0.0, 1.0]),
        ("i % 2", DType::I32, &[1.0, 0.0, 0.0, 1.0]),
        ("-7 // (i + 1)", DType::I32, &[1.0, -3.0, -7.0, -2.0]),
        ("i // (i * 0)", DType::I32, &[0.0, 0.0, 0.0, 0.0]),
        ("i ** 3", DType::I32, &[-343.0, 8.0, 0.0, 27.0]),
        ("i ** 0", DType::I32, &[1.0, 1.0, 1.0, 1.0]),
        ("all(x)", DType::Bool, &[0.0]),
        ("any(x)", DType::Bool, &[1.0]),
        ("relu(l)", DType::I64, &[0.0, 3.0, 0.0, 4294967297.0]),
        ("cast(300, 'u8')", DType::U8, &[44.0]),
        ("cast(-2, 'bool')", DType::Bool, &[1.0]),
        ("cast(16777217, 'i32')", DType::I32, &[16777217.0]),
        ("cast([2 ** 40 + 1], 'i64')", DType::I64, &[1099511627777.0]),
        // What is no tensor becomes one of its own type, alone as in a list.
        ("16777217", DType::I64, &[16777217.0]),
        ("[16777217]", DType::I64, &[16777217.0]),
        ("2 ** 40 + 1", DType::I64, &[1099511627777.0]),
        ("-7 // 2", DType::I64, &[-4.0]),
        ("size(x, 0)", DType::I64, &[4.0]),
        ("7 / 2", DType::F32, &[3.5]),
        ("6 / 2", DType::F32, &[3.0]),
        ("1.0", DType::F32, &[1.0]),
        ("1 < 2", DType::Bool, &[1.0]),
    ];
    let expressions: Vec<&str> = table.iter().map(|row| row.0).collect();
    for ((expression, dtype, expected), found) in table.iter().zip(values(inputs, &given, &expressions)) {
        assert_eq!(found.dtype(), *dtype, "{expression}");
        assert_eq!(numbers(&found), *expected, "{expression}");
    }
    let rest = value(inputs, &given, "i % (i * 0)");
    assert_eq!(numbers(&rest), [-7.0, 2.0, 0.0, 3.0], "the remainder of a division by 0 is the dividend");
}

/// More classes than a u8 has values; labels beyond i32.
#[test]
fn classes_of_narrow_labels() {
    let inputs = "\"u\": \"u8[2]\", \"l\": \"i64[2]\", \"x\": \"f32[2, 3]\"";
    let given = [
        ("u", tensor(DType::U8, &[3.0, 255.0])),
        ("l", tensor(DType::I64, &[4294967297.0, -1.0])),
        ("x", Tensor::f32([2, 3], [0.0, 9.0, 1.0, 5.0, 1.0, 2.0])),
    ];
    let hot = value(inputs, &given, "sum(one_hot(u, 600), axis=1)");
    assert_eq!(numbers(&hot), [1.0, 1.0]);
    let none = value(inputs, &given, "sum(one_hot(l, 3), axis=1)");
    assert_eq!(numbers(&none), [0.0, 0.0], "a label outside is a row of zeros");
    let found = value(inputs, &given, "top_k_accuracy(x, l, 1)");
    assert_eq!(numbers(&found), [0.0], "2^32 + 1 is not 1");
}

/// `none` in an index is a new axis, as in numpy.
#[test]
fn new_axes() {
    let inputs = "\"x\": \"f32[2, 3]\"";
    let given = [("x", Tensor::f32([2, 3], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]))];
    let table: [(&str, &[usize], &[f64]); 10] = [
        ("x[:, None]", &[2, 1, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
        ("x[:, none]", &[2, 1, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
        ("x[None]", &[1, 2, 3], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
        ("x[:, :, None]", &[2, 3, 1], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]),
        ("x[1, None]", &[1, 3], &[3.0, 4.0, 5.0]),
        ("x[None, 1]", &[1, 3], &[3.0, 4.0, 5.0]),
        ("x[:, None, 2]", &[2, 1], &[2.0, 5.0]),
        ("x[None, :, None, ::2, None]", &[1, 2, 1, 2, 1], &[0.0, 2.0, 3.0, 5.0]),
        ("x[none:1]", &[1, 3], &[0.0, 1.0, 2.0]),
        (
            "x[:, None] - x[None]",
            &[2, 2, 3],
            &[0.0, 0.0, 0.0, -3.0, -3.0, -3.0, 3.0, 3.0, 3.0, 0.0, 0.0, 0.0],
        ),
    ];
    for (expression, dims, expected) in table {
        let found = value(inputs, &given, expression);
        assert_eq!((found.dims(), &numbers(&found)[..]), (dims, expected), "{expression}");
    }
    let found = mistakes(&formulas(inputs, "", &["x[0, None, 1, 2]"]));
    assert!(found.contains("has 2 axes, but 3 are indexed"), "{found}");
}

/// What `take` gives for indices outside, by its mode.
#[test]
fn modes_of_take() {
    let inputs =
        "\"x\": \"f32[3, 2]\", \"n\": \"i64[3]\", \"i\": \"i32[5]\", \"b\": \"bool[2]\", \"u\": \"u8[2]\"";
    let given = [
        ("x", Tensor::f32([3, 2], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0])),
        ("n", tensor(DType::I64, &[10.0, 20.0, 30.0])),
        ("i", tensor(DType::I32, &[0.0, 2.0, -1.0, 3.0, -4.0])),
        ("b", tensor(DType::Bool, &[0.0, 0.0])),
        ("u", tensor(DType::U8, &[1.0, 2.0])),
    ];
    let least = i64::MIN as f64;
    let table: [(&str, &[f64]); 9] = [
        ("take(n, i, mode='clip')", &[10.0, 30.0, 10.0, 30.0, 10.0]),
        ("take(n, i + 0)", &[10.0, 30.0, 10.0, 30.0, 10.0]),
        ("take(n, i, mode='wrap')", &[10.0, 30.0, 30.0, 10.0, 30.0]),
        ("take(n, i, mode='fill')", &[10.0, 30.0, least, least, least]),
        ("take(n, i, mode='fill', fill=-1)", &[10.0, 30.0, -1.0, -1.0, -1.0]),
        ("take(u, i, mode='fill')", &[1.0, 255.0, 255.0, 255.0, 255.0]),
        ("take(b, i, mode='fill')", &[0.0, 1.0, 1.0, 1.0, 1.0]),
        ("take(x, i, axis=1, mode='fill', fill=9)[2]", &[4.0, 9.0, 9.0, 9.0, 9.0]),
        ("take(x, i, mode='wrap')[:, 1]", &[1.0, 5.0, 5.0, 1.0, 5.0]),
    ];
    for (expression, expected) in table {
        assert_eq!(numbers(&value(inputs, &given, expression)), expected, "{expression}");
    }
    let filled = numbers(&value(inputs, &given, "take(x, i, mode='fill')[:, 0]"));
    assert!(filled[2..].iter().all(|v| v.is_nan()) && filled[..2] == [0.0, 4.0], "{filled:?}");
    let empty = mistakes(&formulas("\"x\": \"f32[0]\", \"i\": \"i32[2]\"", "", &["take(x, i, mode='clip')"]));
    assert!(empty.contains("has no elements to take"), "{empty}");
}

/// Indices that are constants count from the end below 0, as those of lists, and none is outside; what a mode takes, and
/// what is computed, may be.
#[test]
fn indices_that_are_constants() {
    let inputs = "\"x\": \"f32[2, 3]\", \"i\": \"i32[2]\"";
    let x = Tensor::f32([2, 3], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let given = [("x", x), ("i", tensor(DType::I32, &[0.0, 1.0]))];
    let table: [(&str, &[f64]); 15] = [
        ("take(x, [0, -1], axis=1)[0]", &[0.0, 2.0]),
        ("take(x, [-3], axis=1)[1]", &[3.0]),
        ("take(x, -1)", &[3.0, 4.0, 5.0]),
        ("take(x, size(x, 1) - 1, axis=1)", &[2.0, 5.0]),
        ("take(x, full([2], -3, 'i32'), axis=1)[1]", &[3.0, 3.0]),
        ("take(x, full([1], 2, 'u8') - 1, axis=1)[1]", &[4.0]),
        ("x[[0, -1]][:, 0]", &[0.0, 3.0]),
        ("x[full([1], -1, 'i64')][0]", &[3.0, 4.0, 5.0]),
        ("take(x, [7, -1], axis=1, mode='clip')[0]", &[2.0, 0.0]),
        ("take(x, [7, -1], axis=1, mode='wrap')[0]", &[1.0, 2.0]),
        ("take(x, i + 7, axis=1)[0]", &[2.0, 2.0]),
        ("take(x, i - 7, axis=1)[0]", &[0.0, 0.0]),
        ("one_hot([0, 2], 3)", &[1.0, 0.0, 0.0, 0.0, 0.0, 1.0]),
        ("one_hot(1, 3)", &[0.0, 1.0, 0.0]),
        ("one_hot(i + 1, 2)", &[0.0, 1.0, 0.0, 0.0]),
    ];
    for (expression, expected) in table {
        assert_eq!(numbers(&value(inputs, &given, expression)), expected, "{expression}");
    }
    for (expression, message, place) in [
        ("take(x, [7], axis=1)", "the index 7 is outside of axis 1 of f32[2, 3]", "[7]"),
        ("take(x, 9)", "the index 9 is outside of axis 0", "9"),
        ("take(x, [0, -4], axis=1)", "the index -4 is outside of axis 1", "[0, -4]"),
        ("take(x, size(x, 1), axis=1)", "the index 3 is outside of axis 1", "size(x, 1)"),
        ("take(x, full([2], 7, 'i64'), axis=1)", "the index 7 is outside of axis 1", "full([2], 7, 'i64')"),
        ("x[[0, 7]]", "the index 7 is outside of axis 0", "[0, 7]"),
        ("x[:, full([2], 7, 'i64')]", "the index 7 is outside of axis 1", "x[:, full([2], 7, 'i64')]"),
        ("one_hot([0, 3], 3)", "3 is no class: they are 0 to 2", "[0, 3]"),
        ("one_hot(-1, 3)", "-1 is no class: they are 0 to 2", "-1"),
        ("nll(x, full([2], 3, 'i64'))", "3 is no class: they are 0 to 2", "full([2], 3, 'i64')"),
    ] {
        let found = mistakes(&formulas(inputs, "", &[expression]));
        assert!(found.contains(message), "{expression}: {found}");
        let marked = "^".repeat(place.len());
        let marks = |line: &str| line.trim_start_matches([' ', '|']) == marked;
        assert!(found.lines().any(marks), "{expression}: the place of {place}\n{found}");
    }
    let found = mistakes(&formulas(inputs, "", &["take(x, [7], axis=1)"]));
    assert!(found.contains("0 to 2, from the end -1 to -3") && found.contains("mode='clip'"), "{found}");
    let body = "Expr(\"full([2], 9, 'i32')\"), Embedding(5, 2)";
    let found = mistakes(&formulas(inputs, body, &["it"]));
    assert!(found.contains("the index 9 is outside of axis 0 of f32[5, 2]"), "{found}");
}

/// What is a constant does not depend on how many elements it has, nor on how many parts it is put together from; what is
/// computed is none.
#[test]
fn constant_indices_are_told_by_what_they_are() {
    let inputs = "\"x\": \"f32[2, 3]\"";
    let given = [("x", Tensor::f32([2, 3], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]))];
    let joined =
        |value: i64| format!("concat([{}], axis=0)", vec![format!("full([1], {value})"); 40].join(", "));
    let (first, last): (&[f64], &[f64]) = (&[0.0, 1.0, 2.0], &[3.0, 4.0, 5.0]);
    let nested = format!("{}full([1], -1){}", "reshape(".repeat(30), ", [1, 1]), [1])".repeat(15));
    for (indices, expected) in [
        ("full([100001], -1)", last),
        ("full([1000, 1001], -1)[0]", first),
        ("cast([0, -1], 'i32')", last),
        ("reshape([0, -1, 0, -1], [2, 2])[0]", first),
        ("stack([0, -1])", last),
        (joined(-1).as_str(), last),
        (nested.as_str(), last),
        // Computed: moved to the end.
        ("cumsum(full([2], -1))", first),
        ("full([2], -1) * 1", first),
        ("full([2], 7) + 0", last),
        ("positions(full([9], 0))", last),
        ("cast(full([2], 300), 'u8')", last),
    ] {
        let found = numbers(&value(inputs, &given, &format!("take(x, {indices})[-1]")));
        assert_eq!(found, expected, "{indices}");
    }
    // By `x[...]` they count from the end even so.
    assert_eq!(numbers(&value(inputs, &given, "x[cumsum(full([2], -1))][0]")), last);
    for indices in
        ["full([2], 9)", "full([100001], 9)", "cast([0, 9], 'i32')", "[[0], [9]]", joined(9).as_str()]
    {
        for expression in [format!("take(x, {indices})"), format!("x[{indices}]")] {
            let found = mistakes(&formulas(inputs, "", &[&expression]));
            let said = "the index 9 is outside of axis 0 of f32[2, 3]";
            assert!(
                found.contains(said) && found.contains("0 to 1, from the end -1 to -2"),
                "{expression}: {found}"
            );
        }
    }
    // One text for whatever way an index is written.
    for expression in ["x[9]", "x[[0, 9]]", "x[:, 0][9]"] {
        let found = mistakes(&formulas(inputs, "", &[expression]));
        assert!(found.contains("the index 9 is outside of axis 0"), "{expression}: {found}");
        assert!(found.contains("its indices are 0 to 1, from the end -1 to -2"), "{expression}: {found}");
    }
    let fine = ["take(x, full([0], 9))", "x[full([0], 9)]", "take(x, full([2], 9), mode='clip')"];
    assert_eq!(mistakes(&formulas(inputs, "", &fine)), "");
}

/// What is said of operands that an operator does not take helps.
#[test]
fn advice_about_types() {
    let inputs = "\"b\": \"bool[4]\", \"u\": \"u8[4]\", \"x\": \"f32[4]\"";
    for (expression, message, help) in [
        ("-b", "`-` does not take truth values", "convert with `float(x)`"),
        ("abs(b)", "`abs` does not take truth values", "convert with `float(x)`"),
        ("b - b", "`-` does not take truth values", "convert with `float(x)`"),
        ("u + 300", "300 does not fit into u8", "`int(x)` makes the tensor i32"),
        ("full([2], 300, 'u8')", "300 does not fit into u8", "'i64' holds it"),
        ("full([2], 0.5, 'u8')", "0.5 does not fit into u8", "'f32' holds fractions"),
        ("take(x, 1.5)", "indices are integers, found 1.5", ""),
        ("take(x, [1.5])", "indices are integers, found f32[1]", ""),
        ("one_hot(0.5, 3)", "class indices are integers, found 0.5", ""),
    ] {
        let found = mistakes(&formulas(inputs, "", &[expression]));
        assert!(found.contains(message) && found.contains(help), "{expression}: {found}");
        assert!(!expression.starts_with("full") || !found.contains("int(x)"), "{expression}: {found}");
    }
}

/// A variance without the last axis belongs to the rows; one that fits nothing is a mistake. So is a target of another
/// shape.
#[test]
fn shapes_of_targets() {
    let inputs = "\"x\": \"f32[2, 3]\", \"t\": \"f32[2, 3]\", \"v\": \"f32[3]\", \"r\": \"f32[2]\"";
    let found = mistakes(&formulas(inputs, "", &["gauss_nll(x, t, v)"]));
    assert!(found.contains("the variance f32[3] does not fit the prediction f32[2, 3]"), "{found}");
    assert_eq!(mistakes(&formulas(inputs, "", &["gauss_nll(x, t, r)", "gauss_nll(x, t, 0.5)"])), "");
    for loss in ["mse(x, v)", "l1(x, r)", "kl(x, v)", "bce(x, v)"] {
        let found = mistakes(&formulas(inputs, "", &[loss]));
        assert!(found.contains("must have one shape"), "{loss}: {found}");
    }
}
