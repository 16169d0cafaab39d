//! Texts of a table that stand for whole numbers: the classes, and a vocabulary of each other input. Both are saved with the
//! weights, so that another table, and one row of it, mean the same.

#![cfg(feature = "cli")]

use std::fs;
use std::path::Path;

use brolga::{Model, Settings};

use crate::cli::{folder, run};

/// Two inputs of whole numbers and the label: a colour in words, and a size in numbers.
const MODEL: &str = "Model(
    inputs: { \"x\": \"f32[batch, 2]\", \"colour\": \"i32[batch]\", \"size\": \"i32[batch]\", \"label\": \"i32[batch]\" },
    body: [
        Concat(axis: 1, branches: [[], \"one_hot(colour, 3)\", \"reshape(float(size), [batch, 1])\"]), Linear(2), As(\"logits\"),
    ],
    entries: {
        \"infer\": Infer(outputs: { \"colours\": \"one_hot(colour, 3)\", \"score\": \"softmax(logits)\" }),
        \"train\": Train(loss: \"cross_entropy(logits, label)\", optimizer: Sgd(lr: 0.01), metrics: { \"accuracy\": \"accuracy(logits, label)\" }),
    },
)";

/// Whether it succeeds, and both streams.
fn brolga(at: &Path, arguments: &str) -> (bool, String) {
    let output = run(at, arguments);
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

fn good(at: &Path, arguments: &str) -> String {
    let (good, text) = brolga(at, arguments);
    assert!(good, "brolga {arguments}\n{text}");
    text
}

#[test]
fn vocabularies_are_saved_with_the_weights() {
    let folder = folder();
    let at = folder.path();
    fs::write(at.join("m.ron"), MODEL).unwrap();
    let row = |i: usize| {
        let (colour, label) = (["red", "green", "blue"][i % 3], ["yes", "no"][i % 2]);
        format!("{},{},{colour},{},{label}\n", i % 7, i % 5, 38 + i % 9)
    };
    let rows: String = (0..40).map(row).collect();
    fs::write(at.join("t.csv"), format!("a,b,colour,size,label\n{rows}")).unwrap();
    let told = good(at, "train m.ron --data t.csv --epochs 1 --batch 8 --save w.safetensors");
    assert!(told.contains("  classes no, yes\n") && told.contains("  colour blue, green, red\n"), "{told}");
    assert!(!told.contains("  size "), "numbers have no vocabulary: {told}");
    let mut state = Model::from_text("m.ron", MODEL, &Settings::default()).unwrap().initial_state(0).unwrap();
    state.load(at.join("w.safetensors")).unwrap();
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<String>>();
    assert_eq!(state.record().classes, texts(&["no", "yes"]));
    let vocabularies = state.record().vocabularies.clone();
    assert_eq!(vocabularies, [("colour".into(), texts(&["blue", "green", "red"])), ("size".into(), vec![])]);

    // A table without some of the texts, in another order of columns, without the label: the numbers are those of training.
    fs::write(at.join("one.csv"), "size,colour,b,a\n99,red,0,1\n3,green,0,1\n").unwrap();
    good(at, "run m.ron --weights w.safetensors one.csv --outputs out.csv");
    let out = fs::read_to_string(at.join("out.csv")).unwrap();
    let header: Vec<&str> = out.lines().next().unwrap().split(',').collect();
    for (line, colour) in out.lines().skip(1).zip([2, 1]) {
        let cells: Vec<&str> = line.split(',').collect();
        let scores = header.iter().zip(&cells).filter(|(name, _)| name.starts_with("colours."));
        let scores: Vec<f32> = scores.map(|(_, cell)| cell.parse().unwrap()).collect();
        assert_eq!(scores, [0, 1, 2].map(|i| f32::from(u8::from(i == colour))), "{out}");
    }
    let told = good(at, "evaluate m.ron --weights w.safetensors --data t.csv --all --predictions p.csv");
    assert!(told.contains("accuracy"), "{told}");
    // What is true is the label, and not a whole number that the network is asked with.
    let table = fs::read_to_string(at.join("p.csv")).unwrap();
    for (number, line) in table.lines().skip(1).enumerate() {
        assert_eq!(line.split(',').nth(1), Some(["yes", "no"][number % 2]), "{table}");
    }

    // Training that goes on from these weights numbers texts as they do, and takes the columns that they had.
    fs::write(at.join("more.csv"), "b,colour,size,a,label\n1,red,40,0,yes\n0,red,41,1,yes\n").unwrap();
    let told = good(
        at,
        "train m.ron --data more.csv --epochs 1 --batch 1 --weights w.safetensors --save w2.safetensors",
    );
    for line in ["  classes no, yes\n", "  colour blue, green, red\n", "  columns a, b\n"] {
        assert!(told.contains(line), "{line}: {told}");
    }

    fs::write(at.join("other.csv"), "a,b,colour,size\n1,0,purple,2\n").unwrap();
    let (good, told) = brolga(at, "run m.ron --weights w.safetensors other.csv --outputs out2.csv");
    let expected = "line 2: `purple` is none of what is known of `colour` [\"blue\", \"green\", \"red\"]";
    assert!(!good && told.contains(expected), "{told}");
}
