//! Lists as tensors: wherever a function takes a tensor it takes a list, with the same result. The rows are the language's own
//! list of functions: a new one fails here until it has a row, or is said to take numbers only.

use std::collections::HashMap;

use brolga_frontend::language::{Takes, functions};
use brolga_frontend::{Model, Settings, no_imports};
use brolga_ir::scalar::Scalar;
use brolga_ir::{DType, Tensor, Type};

use crate::common::{formulas, mistakes, numbers, run};

/// What takes numbers only, or texts; what is computed from other values; of the last two, what belongs to the data is not in an
/// output.
const NO_TENSORS: &[(&str, &str)] = &[
    ("len", "x"),
    ("range", "start"),
    ("range", "stop"),
    ("range", "step"),
    ("divisible", "x"),
    ("parameter", "name"),
    ("take", "fill"),
    ("shift", "fill"),
    ("pad", "padding"),
    ("pad", "value"),
    ("grad", "y"),
    ("grad", "x"),
    ("jvp", "y"),
    ("jvp", "x"),
    ("jvp", "v"),
    ("r2", "x"),
    ("r2", "target"),
    ("total", "x"),
];

/// What every function of one tensor is called with.
const ALONE: [&str; 2] = ["[0.25, 0.75]", "[[1, 2], [3, 4]]"];

/// Calls, with lists for `#0`, `#1`, …
const ROWS: &[(&str, &[&str])] = &[
    (
        "min(x=#0, y=#1, z=#2, u=#3, v=#4, w=#5)",
        &["[3, 1]", "[2, 2]", "[5, 5]", "[4, 0]", "[9, 9]", "[8, 8]"],
    ),
    (
        "max(x=#0, y=#1, z=#2, u=#3, v=#4, w=#5)",
        &["[3, 1]", "[2, 2]", "[5.5, 5]", "[4, 0]", "[9, 9]", "[8, 8]"],
    ),
    ("min(x=#0)", &["[[3, 1], [2, 5]]"]),
    ("max(x=#0)", &["[0.5, 1.5]"]),
    ("min(x=#0, axis=0)", &["[[3, 1], [2, 5]]"]),
    ("sum(x=#0, axis=1)", &["[[3, 1], [2, 5]]"]),
    ("sum(x=#0, keepdims=true)", &["[[3, 1, 2]]"]),
    ("size(x=#0, axis=1)", &["[[3, 1, 2]]"]),
    ("atan2(y=#0, x=#1)", &["[0.5, -1.5]", "[2, 1]"]),
    ("xor(a=#0, b=#1)", &["[true, false]", "[true, true]"]),
    ("clip(x=#0, low=#1, high=#2)", &["[1, 5, 9]", "[2, 2, 2]", "[4, 6, 8]"]),
    ("where(condition=#0, a=#1, b=#2)", &["[true, false]", "[1.5, 2.5]", "[[3], [4]]"]),
    ("matmul(a=#0, b=#1)", &["[[1.5, 2], [3, 4]]", "[1, 2]"]),
    ("reshape(x=#0, dims=[2, 1])", &["[1, 2]"]),
    ("concat(parts=[#0, #1], axis=0)", &["[1, 2]", "[0.5]"]),
    ("stack(parts=[#0, #1], axis=1)", &["[1, 2]", "[3.5, 4]"]),
    ("one_hot(x=#0, classes=3)", &["[2, 0]"]),
    ("take(x=#0, indices=#1)", &["[1.5, 2.5, 3.5]", "[2, 0]"]),
    ("split(x=#0, parts=2)[1]", &["[1.5, 2.5]"]),
    ("mask(lengths=#0, longest=3)", &["[2, 0]"]),
    ("pick(x=#0, indices=#1)", &["[[1.5, 2.5], [3, 4]]", "[1, 0]"]),
    ("scatter(x=#0, indices=#1, y=#2)", &["[1.5, 2.5, 3.5]", "[2, 0]", "[0.5, 1]"]),
    ("put(x=#0, indices=#1, y=#2)", &["[[1.5, 2.5], [3, 4]]", "[1, 0]", "[0.5, 1]"]),
    ("slice(x=#0, start=#1, size=2)", &["[1.5, 2.5, 3.5]", "[1]"]),
    ("update_slice(x=#0, y=#1, start=#2)", &["[1.5, 2.5, 3.5]", "[0.5, 1]", "[1]"]),
    ("shift(x=#0, n=1)", &["[1.5, 2.5]"]),
    ("pad(x=#0, padding=[1])", &["[1.5, 2.5]"]),
    ("full(dims=[2, 2], value=#0)", &["[1, 2]"]),
    ("full(dims=[2, 2], value=#0, dtype='u8')", &["[1, 2]"]),
    ("cast(x=#0, dtype='i32')", &["[1.5, -2.5]"]),
    ("cast(x=#0, dtype='f64')", &["[1, 2]"]),
    // Nothing is left to chance in these.
    ("bernoulli(p=#0)", &["[[0, 1], [1, 0]]"]),
    ("categorical(logits=#0)", &["[[0.5, 500.0], [500.0, 1.5]]"]),
    ("top_k(x=#0, k=1)[0]", &["[1, 3, 2]"]),
    ("attention(q=#0, k=#1, v=#2)", &["[[[1.5, 2.0]]]", "[[[0.5, 1.0], [1.0, 0.0]]]", "[[[1, 2], [3, 4]]]"]),
    (
        "attention(q=#0, k=#1, v=#1, mask=#2, key_mask=#3)",
        &["[[[1.5, 2.0]]]", "[[[0.5, 1.0], [1.0, 0.0]]]", "[[0.5, 0.25]]", "[[true, false]]"],
    ),
    ("cross_entropy(logits=#0, label=#1, weights=#2)", &["[[0.5, 1.5], [2.0, 1.0]]", "[1, 0]", "[1.0, 2.0]"]),
    ("cross_entropy(logits=#0, label=#1)", &["[[1, 2, 4], [3, 1, 0]]", "[1, 2]"]),
    ("cross_entropy(logits=#0, label=#1)", &["[0.5, 1.5]", "[0.25, 0.75]"]),
    (
        "nll(log_probability=#0, label=#1, weights=#2)",
        &["[[-0.5, -1.5], [-2.0, -1.0]]", "[1, 0]", "[1.0, 2.0]"],
    ),
    ("focal(logits=#0, label=#1, weights=#2)", &["[[0.5, 1.5], [2.0, 1.0]]", "[1, 0]", "[1.0, 2.0]"]),
    ("mse(x=#0, target=#1)", &["[0.5, 1.5]", "[1, 2]"]),
    ("l1(x=#0, target=#1)", &["[0.5, 1.5]", "[1, 2]"]),
    ("smooth_l1(x=#0, target=#1)", &["[0.5, 1.5]", "[1, 3]"]),
    ("huber(x=#0, target=#1)", &["[0.5, 1.5]", "[1, 3]"]),
    ("hinge(x=#0, target=#1)", &["[0.5, 1.5]", "[-1, 1]"]),
    (
        "bce(x=#0, target=#1, pos_weight=#2, weights=#3)",
        &["[[0.5, 0.25]]", "[[1, 0]]", "[3, 4]", "[[0.5, 2]]"],
    ),
    (
        "bce_with_logits(x=#0, target=#1, pos_weight=#2, weights=#3)",
        &["[[0.5, 0.25]]", "[[1, 0]]", "[3, 4]", "[[0.5, 2]]"],
    ),
    ("kl(log_q=#0, p=#1)", &["[-0.5, -1.5]", "[0.25, 0.75]"]),
    ("gauss_nll(x=#0, target=#1, variance=#2)", &["[[0.5, 1.5]]", "[[1, 2]]", "[2]"]),
    ("accuracy(logits=#0, label=#1)", &["[[0.5, 1.5], [2.0, 1.0]]", "[1, 1]"]),
    ("top_k_accuracy(logits=#0, label=#1, k=1)", &["[[0.5, 1.5], [2.0, 1.0]]", "[1, 1]"]),
];

/// Operators between two tensors, which must not both be lists.
const OPERATORS: [&str; 14] = ["+", "-", "*", "/", "//", "%", "**", "@", "==", "!=", "<", "<=", ">", ">="];

/// The extents of a list: of each level how many lists or numbers there are for one of the level around it.
fn extents(list: &str) -> Vec<usize> {
    let (mut counts, mut level) = (Vec::new(), 0);
    for c in list.chars() {
        match c {
            '[' => {
                counts.resize(counts.len().max(level + 1), 0);
                counts[level] += 1;
                level += 1;
            }
            ']' => level -= 1,
            _ => {}
        }
    }
    counts.push(values(list).len());
    counts.windows(2).map(|pair| pair[1] / pair[0]).collect()
}

fn values(list: &str) -> Vec<f64> {
    let texts = list.split(|c| "[], ".contains(c)).filter(|text| !text.is_empty());
    let value = |text: &str| match text {
        "true" => 1.0,
        "false" => 0.0,
        number => number.parse().expect("a number"),
    };
    texts.map(value).collect()
}

/// The type of a list by itself.
fn ty(list: &str) -> Type {
    let dtype = match list {
        _ if list.contains('e') => DType::Bool,
        _ if list.contains('.') => DType::F32,
        _ => DType::I64,
    };
    Type::new(dtype, extents(list))
}

/// A call or formula, the lists in it, and whether all of them may be lists at once.
type Row = (String, Vec<&'static str>, bool);

/// With tensors alone, then with a list in place of each of them, and of all.
fn variants(number: usize, (text, lists, all): &Row) -> Vec<String> {
    let with = |chosen: &dyn Fn(usize) -> bool| {
        let names = lists.iter().enumerate();
        names.fold(text.clone(), |text, (at, list)| {
            let value = if chosen(at) { (*list).to_owned() } else { format!("t{number}_{at}") };
            text.replace(&format!("#{at}"), &value)
        })
    };
    let mut found = vec![with(&|_| false)];
    found.extend((0..lists.len()).map(|one| with(&|at| at == one)));
    if *all && lists.len() > 1 {
        found.push(with(&|_| true));
    }
    found
}

/// Each row gives the same with lists as with tensors of their numbers, in type and value.
fn compare(rows: &[Row]) {
    let (mut inputs, mut given) = (Vec::new(), HashMap::new());
    for (number, (_, lists, _)) in rows.iter().enumerate() {
        for (at, list) in lists.iter().enumerate() {
            let (name, ty, values) = (format!("t{number}_{at}"), ty(list), values(list));
            inputs.push(format!("\"{name}\": \"{ty}\""));
            let value = Tensor::generate(&ty, |i| Scalar::from_f64(ty.dtype, values[i]));
            given.insert(name, value);
        }
    }
    for name in ["seed", "optim.infer.calls"] {
        given.insert(name.to_owned(), Tensor::generate(&Type::scalar(DType::I64), |_| Scalar::I64(3)));
    }
    let texts: Vec<Vec<String>> =
        rows.iter().enumerate().map(|(number, row)| variants(number, row)).collect();
    let all: Vec<&str> = texts.iter().flatten().map(String::as_str).collect();
    let instance = Model::parse("test.ron", &formulas(&inputs.join(", "), "", &all), &no_imports)
        .and_then(|model| model.instantiate(&Settings::default()))
        .unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    let results = run(instance.graph("infer").expect("infer"), &given);
    let mut next = 0;
    for texts in &texts {
        let expected = &results[&next.to_string()];
        for (at, text) in texts.iter().enumerate() {
            let found = &results[&(next + at).to_string()];
            assert_eq!(found.ty(), expected.ty(), "{text}");
            let (found, expected) = (numbers(found), numbers(expected));
            let same = |(a, b): (&f64, &f64)| a == b || a.is_nan() && b.is_nan();
            assert!(found.iter().zip(&expected).all(same), "{text}: {found:?}, not {expected:?}");
        }
        next += texts.len();
    }
}

#[test]
fn every_argument_that_takes_a_tensor_takes_a_list() {
    let mut rows: Vec<Row> =
        ROWS.iter().map(|(text, lists)| ((*text).to_owned(), lists.to_vec(), true)).collect();
    for function in functions() {
        let name = function.name;
        let numeric = |argument: &str| {
            ["axis", "axes", "dims"].contains(&argument) || NO_TENSORS.contains(&(name, argument))
        };
        let values = function.arguments.iter().filter(|argument| argument.takes == Takes::Values);
        let tensors: Vec<&str> = values.map(|argument| argument.name).filter(|name| !numeric(name)).collect();
        if tensors == ["x"] && function.arguments.iter().all(|other| other.name == "x" || !other.required) {
            rows.extend(ALONE.map(|list| (format!("{name}(x=#0)"), vec![list], true)));
            continue;
        }
        for argument in tensors {
            let forms = [format!("{argument}=#"), format!("{argument}=[#")];
            let row = ROWS.iter().find(|(text, _)| {
                text.starts_with(&format!("{name}(")) && forms.iter().any(|form| text.contains(form))
            });
            assert!(row.is_some(), "`{argument}` of `{name}` needs a row");
        }
    }
    compare(&rows);
}

#[test]
fn operators_take_a_list_beside_a_tensor() {
    let two = |operator: &str| format!("#0 {operator} #1");
    let mut rows: Vec<Row> = Vec::new();
    rows.extend(OPERATORS.map(|operator| (two(operator), vec!["[1.5, 2.5]", "[2.0, 0.5]"], false)));
    rows.extend(["and", "or"].map(|word| (two(word), vec!["[true, false]", "[true, true]"], false)));
    rows.push(("-#0".into(), vec!["[1, 2]"], true));
    rows.push(("not #0".into(), vec!["[true, false]"], true));
    compare(&rows);
}

/// Lists and tensors inside of a list have one shape together, however they are mixed.
#[test]
fn lists_hold_tensors_and_lists() {
    let inputs = "\"x\": \"f32[2]\", \"i\": \"i32[2]\"";
    let given = HashMap::from([
        ("x".to_owned(), Tensor::f32([2], vec![5.0, 6.0])),
        ("i".to_owned(), Tensor::i32([2], vec![7, 8])),
    ]);
    let rows: [(&str, &[usize], &[f64]); 7] = [
        ("stack([[1, 2], x])", &[2, 2], &[1.0, 2.0, 5.0, 6.0]),
        ("stack([x, i, [1, 2]])", &[3, 2], &[5.0, 6.0, 7.0, 8.0, 1.0, 2.0]),
        ("[[x[0], 1], [2, x[1]], x] * 1", &[3, 2], &[5.0, 1.0, 2.0, 6.0, 5.0, 6.0]),
        ("[[[1, 2], x]] * i", &[1, 2, 2], &[7.0, 16.0, 35.0, 48.0]),
        ("concat([[1, 2, 3], x, [4]], axis=0)", &[6], &[1.0, 2.0, 3.0, 5.0, 6.0, 4.0]),
        ("max([x, [1, 9]])", &[2], &[5.0, 9.0]),
        ("cross_entropy([[0, 0]], [1]) + x * 0", &[2], &[std::f64::consts::LN_2; 2]),
    ];
    let expressions: Vec<&str> = rows.iter().map(|row| row.0).collect();
    let instance = Model::parse("test.ron", &formulas(inputs, "", &expressions), &no_imports)
        .and_then(|model| model.instantiate(&Settings::default()))
        .unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    let results = run(instance.graph("infer").expect("infer"), &given);
    for (position, (text, dims, expected)) in rows.iter().enumerate() {
        let found = &results[&position.to_string()];
        assert_eq!((found.dtype(), found.dims()), (DType::F32, *dims), "{text}");
        let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-6;
        assert!(numbers(found).iter().zip(*expected).all(close), "{text}: {:?}", numbers(found));
    }
}

/// Branches may be lists, too.
#[test]
fn branches_are_lists() {
    let body = "Concat(axis: 1, branches: [[], \"[[1, 2], [3, 4]]\"]), Add([[], \"[[1, 2, 3, 4]]\"])";
    let text = formulas("\"x\": \"f32[2, 2]\"", body, &["it"]);
    let instance = Model::parse("test.ron", &text, &no_imports)
        .and_then(|model| model.instantiate(&Settings::default()))
        .unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    let given = HashMap::from([("x".to_owned(), Tensor::f32([2, 2], vec![0.5; 4]))]);
    let results = run(instance.graph("infer").expect("infer"), &given);
    assert_eq!(numbers(&results["0"]), [1.5, 2.5, 4.0, 6.0, 1.5, 2.5, 6.0, 8.0]);
}

/// What stays refused says what to write.
#[test]
fn lists_that_are_no_tensors_say_what_is() {
    for (expression, message) in [
        ("concat([1, 2], x)", "the parts are one list: `concat([a, b], axis=0)`"),
        ("stack([1, 2], x)", "the parts are one list: `stack([a, b], axis=0)`"),
        ("concat([1, x], axis=0)", "a tensor of one number is `[1]`; `stack` puts numbers together"),
        ("concat(x)", "as in `concat([a, b], axis=0)`"),
        ("[1, 2] - [1, 1]", "by itself `stack([1, 2])` is one"),
        ("[1, 2] * 0.5", "by itself `stack([1, 2])` is one"),
        ("[true] and [false]", "by itself `stack([1, 2])` is one"),
        ("[1, 2, 3][1:]", "by itself `stack([1, 2])` is one"),
        ("full([2], [1, 300], 'u8')", "300 does not fit into u8: its numbers are 0 to 255"),
        ("x * sum([1, 2], axis=0)", "a list of numbers has no axes, but `stack([1, 2])` has one"),
        ("x * max([1, 2], keepdims=true)", "a list of numbers has no axes, but `stack([1, 2])` has one"),
        ("len(x)", "the extent of an axis of a tensor is `size(x, 0)`"),
        ("stack([[1, 2, 3], x])", "the elements of a list must have one shape"),
        ("cross_entropy([[1, 2]], [2])", "2 is no class: they are 0 to 1"),
        ("cross_entropy([[1, 2]], [0.5])", "class probabilities must have the scores' shape"),
        ("nll([[1, 2]], [0.5])", "labels are integers"),
        ("attention([[[1]]], [[[1]]], [[[1]]], mask=[[1]])", "compare it, as in `mask=m > 0`"),
        ("x * 'a'", "cannot take a tensor and 'a'"),
        ("relu(['a'])", "expected a tensor or a number, found 'a'"),
        ("-['a']", "expected a tensor or a number, found 'a'"),
    ] {
        let found = mistakes(&formulas("\"x\": \"f32[2]\"", "", &[expression]));
        assert!(found.contains(message), "{expression}: {found}");
        assert_eq!(found.matches("error: ").count(), 1, "{expression}: {found}");
    }
    let found = mistakes(&formulas("\"x\": \"f32[2]\"", "", &["-[1, missing]"]));
    assert_eq!(found.matches("error: ").count(), 1, "{found}");
}
