//! Data sets that are made: what their samples are, and what is told of wrong arguments.

use std::path::Path;

use brolga_models::data::{comes_along, known, made_sets, open};
use brolga_runtime::{DType, ErrorKind, Field, Split, Tensor};

use super::{RAW, field, fill, lengths, says};

/// Each set with what a model would ask of it, and how many samples it has.
fn sets() -> Vec<(&'static str, Vec<Field>, (usize, usize))> {
    use DType::{Bool, F32, I32};
    let chain = || vec![field("symbol", I32, &[20]), field("next", I32, &[20])];
    vec![
        ("mk1", chain(), (3_125, 625)),
        ("mk2(seed: 3)", chain(), (3_125, 625)),
        ("add(length: 12, count: 500)", vec![field("x", F32, &[12, 2]), field("y", F32, &[])], (500, 1_000)),
        ("copy(5, count: 100)", vec![field("symbol", I32, &[25]), field("target", I32, &[25])], (100, 500)),
        (
            "xor_window(2)",
            vec![
                field("bit", F32, &[15, 1]),
                field("label", I32, &[15]),
                field("counted", Bool, &[15]),
                field("length", I32, &[]),
            ],
            (4_000, 1_000),
        ),
        (
            "erg",
            vec![
                field("symbol", I32, &[30]),
                field("next", I32, &[30]),
                field("legal", Bool, &[30, 7]),
                field("length", I32, &[]),
            ],
            (4_000, 500),
        ),
        (
            "formulas(depth: 3)",
            vec![
                field("symbol", I32, &[15]),
                field("left", I32, &[15]),
                field("right", I32, &[15]),
                field("nodes", I32, &[]),
                field("label", I32, &[]),
            ],
            (8_000, 1_000),
        ),
    ]
}

fn set(name: &str) -> Vec<Tensor> {
    let (name, fields, _) = sets().into_iter().find(|(text, ..)| text.starts_with(name)).expect("a set");
    let mut data = open(Path::new(name), &fields, &RAW).unwrap();
    let indices: Vec<usize> = (0..data.len(Split::Validation)).collect();
    (0..fields.len()).map(|field| fill(&mut *data, Split::Validation, &indices, field)).collect()
}

fn whole(tensor: &Tensor) -> &[i32] {
    tensor.as_slice().unwrap()
}

#[test]
fn every_set_fills_what_a_model_asks_for() {
    assert_eq!(sets().len(), made_sets().count());
    for ((text, fields, count), (name, _)) in sets().into_iter().zip(made_sets()) {
        let known_as = name.split('(').next().unwrap();
        assert!(comes_along(text) && text.starts_with(known_as), "{text} {name}");
        let opened =
            |text: &str| open(Path::new(text), &fields, &RAW).unwrap_or_else(|e| panic!("{text}: {e}"));
        let data = opened(text);
        assert_eq!(lengths(&*data), count, "{text}");
        assert_eq!(data.own_part(), Some("validation"));
        assert_eq!(data.checksum(), opened(text).checksum(), "{text}");
        let arguments = text.split_once('(').map_or("", |(_, rest)| rest.trim_end_matches(')'));
        let other = format!("{known_as}({arguments}, seed: 77)").replace("(, ", "(").replace("seed: 3, ", "");
        assert_ne!(data.checksum(), opened(&other).checksum(), "{other}");
        for (name, value) in known(text, &fields).unwrap() {
            assert!(value.is_finite() && value > 0.0, "{text}: {name} {value}");
        }
    }
    assert!(!comes_along("mk3") && !comes_along("add/") && comes_along("add(nothing: 1)"));
}

/// More samples to train on change none that are held out.
#[test]
fn the_held_out_part_is_the_same_for_any_count() {
    let fields = [field("x", DType::F32, &[10, 2])];
    let [few, many] = [500, 700].map(|count| {
        let text = format!("add(count: {count})");
        let mut data = open(Path::new(&text), &fields, &RAW).unwrap();
        let mut of = |split| fill(&mut *data, split, &[0, 7, 499], 0).as_slice::<f32>().unwrap().to_vec();
        (of(Split::Train), of(Split::Validation))
    });
    assert_eq!(few, many);
    assert_ne!(few.0, few.1);
}

#[test]
fn wrong_arguments_name_those_that_there_are() {
    let fields = [field("x", DType::F32, &[12, 2]), field("y", DType::F32, &[])];
    let refused = |text: &str| open(Path::new(text), &fields, &RAW).err().expect("an error");
    let names = "[\"length\", \"count\", \"seed\"]";
    says(&refused("add(lenght: 5)"), ErrorKind::Option, &["`add(lenght: 5)`", "`lenght`", names]);
    says(&refused("add(length: 1)"), ErrorKind::Option, &["from 2 to 100000", "found 1", names]);
    says(&refused("add(length: 5"), ErrorKind::Option, &["`)`"]);
    // The arguments are right, but not for this model.
    says(&refused("add(length: 5)"), ErrorKind::Data, &["`x`", "f32[samples, 12, 2]", "5, 2]"]);
    says(&refused("mk1"), ErrorKind::Data, &["`x`", "\"symbol\", \"next\""]);
}

#[test]
fn sums_are_of_one_number_of_each_half() {
    let tensors = set("add");
    let [x, y] = &tensors[..] else { panic!("{}", tensors.len()) };
    let (x, y): (&[f32], &[f32]) = (x.as_slice().unwrap(), y.as_slice().unwrap());
    let mut squares = 0.0;
    for (row, sum) in x.chunks(24).zip(y) {
        let marked: Vec<usize> = (0..12).filter(|at| row[2 * at + 1] == 1.0).collect();
        assert!(marked.len() == 2 && marked[0] < 6 && marked[1] >= 6, "{marked:?}");
        assert!(row.iter().skip(1).step_by(2).all(|mark| [0.0, 1.0].contains(mark)));
        assert_eq!(row[2 * marked[0]] + row[2 * marked[1]], *sum);
        squares += f64::from(sum - 1.0).powi(2);
    }
    // The variance of a sum of two uniform numbers: 1/6, with a standard error of 0.006.
    assert!((squares / y.len() as f64 - 1.0 / 6.0).abs() < 0.03, "{squares}");
}

#[test]
fn copies_are_due_after_the_delay() {
    let tensors = set("copy");
    let [symbol, target] = &tensors[..] else { panic!("{}", tensors.len()) };
    for (read, said) in whole(symbol).chunks(25).zip(whole(target).chunks(25)) {
        assert!(read[..10].iter().all(|symbol| (0..8).contains(symbol)));
        assert_eq!(read[10..], [8, 8, 8, 8, 9, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8]);
        assert_eq!((&said[..15], &said[15..]), (&[8; 15][..], &read[..10]));
    }
    let baseline = known("copy", &[]).unwrap()[0].1;
    assert!((baseline - 10.0 * 8f64.ln() / 50.0).abs() < 1e-12);
}

#[test]
fn labels_of_windows_need_both_sides() {
    let tensors = set("xor_window");
    let [bit, label, counted, length] = &tensors[..] else { panic!("{}", tensors.len()) };
    let bits: &[f32] = bit.as_slice().unwrap();
    let (mut seen, mut ones, mut agree) = (0.0, 0.0, 0.0);
    let rows = bits.chunks(15).zip(whole(label).chunks(15)).zip(counted.bytes().chunks(15));
    for (((bits, labels), counted), &length) in rows.zip(whole(length)) {
        let length = length as usize;
        assert!((5..=15).contains(&length) && bits[length..].iter().all(|bit| *bit == 0.0));
        for at in 0..15 {
            assert_eq!(counted[at] == 1, at >= 2 && at + 2 < length);
            if counted[at] == 1 {
                assert_eq!(labels[at] == 1, bits[at - 2] != bits[at + 2]);
                seen += 1.0;
                ones += f64::from(labels[at]);
                agree += if (bits[at - 2] == 1.0) == (labels[at] == 1) { 1.0 } else { 0.0 };
            }
        }
    }
    // Labels are even, and one side says nothing of them: within five standard errors.
    for share in [ones / seen, agree / seen] {
        assert!((share - 0.5f64).abs() < 5.0 * 0.5 / f64::sqrt(seen), "{share} of {seen}");
    }
}

#[test]
fn strings_of_the_grammar_go_on_legally() {
    let tensors = set("erg");
    let [symbol, next, legal, length] = &tensors[..] else { panic!("{}", tensors.len()) };
    let rows = whole(symbol).chunks(30).zip(whole(next).chunks(30)).zip(legal.bytes().chunks(210));
    for (((symbols, nexts), legal), &length) in rows.zip(whole(length)) {
        let length = length as usize;
        assert!((8..=30).contains(&length));
        assert_eq!(symbols[1..length], nexts[..length - 1]);
        assert_eq!((symbols[0], nexts[length - 1], symbols[1]), (0, 6, symbols[length - 1]));
        for at in 0..30 {
            let legal = &legal[7 * at..7 * (at + 1)];
            let choices = legal.iter().filter(|&&may| may == 1).count();
            assert!(if at < length { (1..=2).contains(&choices) } else { choices == 0 });
            assert!(at >= length || legal[nexts[at] as usize] == 1);
        }
    }
}

#[test]
fn formulas_are_as_true_as_their_trees() {
    let tensors = set("formulas");
    let [symbol, left, right, nodes, label] = &tensors[..] else { panic!("{}", tensors.len()) };
    let trees = whole(symbol).chunks(15).zip(whole(left).chunks(15)).zip(whole(right).chunks(15));
    let mut truths = 0;
    for ((((symbols, lefts), rights), &nodes), &label) in trees.zip(whole(nodes)).zip(whole(label)) {
        let nodes = nodes as usize;
        let mut values: Vec<bool> = Vec::new();
        for at in 0..nodes {
            let child = |number: i32| values[number as usize];
            values.push(match symbols[at] {
                2 => child(lefts[at]) && child(rights[at]),
                3 => child(lefts[at]) || child(rights[at]),
                leaf => {
                    assert_eq!((lefts[at], rights[at]), (-1, -1));
                    leaf == 1
                }
            });
        }
        assert!(nodes >= 3 && symbols[nodes..].iter().all(|symbol| *symbol == 0));
        assert_eq!(values.last(), Some(&(label == 1)));
        truths += label;
    }
    assert!((430..570).contains(&truths), "of 1,000: {truths}");
}
