//! Labels and indices of data that are none of the model's: found before the first update, in tables and arrays, in what is
//! trained on and what is held out, with the place where they stand. Takes about 3 seconds.

#![cfg(feature = "cli")]

use std::fs;
use std::path::Path;

use brolga::runtime::{TensorRef, write_tensors};

use crate::cli::{bad, folder, good};

/// Words in pairs, from 0 to 4, of three kinds, from 0 to 2.
const MODEL: &str = "Model(
    dims: { \"batch\": 4 },
    inputs: { \"words\": \"i32[batch, 2]\", \"kind\": \"i32[batch]\" },
    body: [Embedding(5, 2), Flatten, Linear(3), As(\"logits\")],
    entries: {
        \"infer\": Infer(outputs: { \"score\": \"softmax(logits)\" }),
        \"train\": Train(loss: \"cross_entropy(logits, kind)\", optimizer: Sgd(lr: 0.1)),
    },
)";

/// Samples: two words and the kind.
const ROWS: usize = 42;

type Row = [i32; 3];

/// What is right, changed by `change`.
fn rows(change: impl Fn(usize, &mut Row)) -> Vec<Row> {
    let row = |i: usize| {
        let mut row = [(i % 5) as i32, (i * i % 5) as i32, (i % 3) as i32];
        change(i, &mut row);
        row
    };
    (0..ROWS).map(row).collect()
}

fn write(at: &Path, rows: &[Row]) {
    let lines: String = rows.iter().map(|[a, b, kind]| format!("{a},{b},{kind}\n")).collect();
    fs::write(at.join("t.csv"), format!("a,b,kind\n{lines}")).unwrap();
    let words: Vec<i32> = rows.iter().flat_map(|row| [row[0], row[1]]).collect();
    let kinds: Vec<i64> = rows.iter().map(|row| row[2].into()).collect();
    let (pairs, single) = ([rows.len(), 2], [rows.len()]);
    let tensors = [
        ("words", TensorRef::from_slice(&pairs, &words).unwrap()),
        ("kind", TensorRef::from_slice(&single, &kinds).unwrap()),
    ];
    write_tensors(at.join("t.npz"), &tensors).unwrap();
}

#[test]
fn indices_out_of_range_are_found_before_the_first_update() {
    let folder = folder();
    let at = folder.path();
    fs::write(at.join("m.ron"), MODEL).unwrap();
    write(at, &rows(|_, _| {}));
    good(at, "train m.ron --data t.csv --epochs 1 --save w.safetensors");
    let shifted = rows(|_, row| row[2] += 1);
    let first = shifted.iter().position(|row| row[2] == 3).unwrap();
    let counted = "classes count from 0, as all indices do: are these counted from 1?";
    // What is changed; value, input and place in the sample, range, the sample, whether all are one too large.
    let cases = [
        (shifted, "3", "`kind`", "0 to 2", first, true),
        (rows(|i, row| row[2] = if i == 29 { 3 } else { row[2] }), "3", "`kind`", "0 to 2", 29, false),
        (rows(|i, row| row[2] = if i == 41 { -1 } else { row[2] }), "-1", "`kind`", "0 to 2", 41, false),
        (rows(|i, row| row[1] = if i == 7 { 5 } else { row[1] }), "5", "`words` at [1]", "0 to 4", 7, false),
    ];
    for (rows, value, input, range, sample, is_shifted) in cases {
        write(at, &rows);
        for (data, place) in [
            ("t.csv", format!("line {}", sample + 2)),
            ("t.npz", format!("sample {sample} (counted from 0)")),
        ] {
            let head = format!("the data has {value} in {input} of ");
            let tail = format!(", but only values from {range} are allowed");
            for seed in [0, 1, 2] {
                let told = bad(
                    at,
                    &format!("train m.ron --data {data} --seed {seed} --epochs 1 --save q.safetensors"),
                );
                assert!(told.contains(&head) && told.contains(&tail), "{told}");
                assert_eq!(told.contains(counted), is_shifted, "{told}");
                // Which of the shifted ones is first depends on what is held out.
                assert!(is_shifted || told.contains(&format!("{head}{place}{tail}")), "{told}");
                assert!(!told.contains("updates"), "found while training: {told}");
            }
            let told = bad(at, &format!("evaluate m.ron --weights w.safetensors --data {data}"));
            assert!(told.contains(&format!("{head}{place}{tail}")), "{told}");
        }
    }
    let files = fs::read_dir(at).unwrap().flatten().map(|file| file.file_name().into_string().unwrap());
    let files: Vec<String> = files.filter(|name| name.starts_with('q')).collect();
    assert_eq!(files, Vec::<String>::new(), "nothing was trained");
}
