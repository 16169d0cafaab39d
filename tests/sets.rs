//! Data sets and what a network knows of them: what goes with weights goes with every file that has them, which part is meant,
//! and options that are not used. All of it takes some 6 seconds.

#![cfg(feature = "cli")]

use std::fs;
use std::path::Path;

use brolga::runtime::{read_tensors, write_tensors};

use crate::cli::{bad, folder, good, run};

/// A regression of three columns, and classes of two, by the same rows.
const PRICE: &str = "Model(
    data: Data(set: \"t.csv\", target: \"price\", prepare: { \"x\": [Standardize] }, split: Folds(count: 4)),
    dims: { \"batch\": 4 },
    inputs: { \"x\": \"f32[batch, 3]\", \"y\": \"f32[batch]\" },
    body: [Linear(1), Expr(\"it[:, 0]\")],
    entries: {
        \"infer\": Infer(outputs: { \"y\": \"it\" }),
        \"train\": Train(loss: \"mse(it, y)\", optimizer: Sgd(lr: 0.01)),
    },
)";

const KIND: &str = "Model(
    data: Data(split: Holdout(fraction: 0.25, stratified: true)),
    dims: { \"batch\": 4 },
    inputs: { \"x\": \"f32[batch, 3]\", \"kind\": \"i32[batch]\" },
    body: [Linear(3), As(\"logits\")],
    entries: {
        \"infer\": Infer(outputs: { \"score\": \"softmax(logits)\" }),
        \"train\": Train(loss: \"cross_entropy(logits, kind)\", optimizer: Sgd(lr: 0.1)),
    },
)";

/// The models and their tables.
fn write(at: &Path) {
    fs::write(at.join("price.ron"), PRICE).unwrap();
    fs::write(at.join("kind.ron"), KIND).unwrap();
    let row = |i: usize| (i % 7, 100 * (i % 5), (i * i) % 11);
    let price = |i: usize| {
        let (a, b, c) = row(i);
        format!("{a},{b},{c},{}\n", 2 * a + b + c)
    };
    let kind = |i: usize| {
        let (a, b, c) = row(i);
        format!("{a},{b},{c},{}\n", ["red", "green", "blue"][(a + c) % 3])
    };
    fs::write(at.join("t.csv"), "a,b,c,price\n".to_owned() + &(0..40).map(price).collect::<String>())
        .unwrap();
    fs::write(at.join("k.csv"), "a,b,c,kind\n".to_owned() + &(0..40).map(kind).collect::<String>()).unwrap();
}

/// Standard error of a run that succeeds.
fn told(at: &Path, arguments: &str) -> String {
    let output = run(at, arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "brolga {arguments}\n{errors}");
    errors
}

/// The last checkpoint of a run, as weights, is what the weights of its end are: in evaluations, in answers, and for training
/// that starts from them.
#[test]
fn a_checkpoint_knows_what_weights_know() {
    let folder = folder();
    let at = folder.path();
    write(at);
    for (model, data, output) in [("price", "t.csv", "y"), ("kind", "k.csv", "score")] {
        let train =
            format!("train {model}.ron --data {data} --epochs 2 --seed 5 --checkpoint points-{model}");
        good(at, &train);
        let steps = fs::read_dir(at.join(format!("points-{model}"))).unwrap().flatten();
        let number =
            |name: &str| name.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse::<u64>().ok();
        let last = steps.filter_map(|file| number(&file.file_name().to_string_lossy())).max().unwrap();
        let point = format!("points-{model}/step-{last}.safetensors");
        let end = format!("{model}.safetensors");
        let text = fs::read_to_string(at.join(data)).unwrap();
        // Other columns first, and one more.
        let turned = |line: &str| {
            let cells: Vec<&str> = line.split(',').collect();
            format!("{},9,{},{},{}\n", cells[2], cells[0], cells[1], cells[3])
        };
        let other: String = text.lines().map(turned).collect();
        fs::write(at.join("other.csv"), other.replacen(",9,", ",more,", 1)).unwrap();
        for line in [
            format!("evaluate {model}.ron --data {data} --json"),
            format!("evaluate {model}.ron --data {data} --all"),
            format!("evaluate {model}.ron --data {data}"),
            format!("run {model}.ron other.csv"),
        ] {
            let of = |weights: &str| good(at, &format!("{line} --weights {weights}"));
            assert_eq!(of(&point), of(&end), "{line}");
        }
        let evaluated = good(at, &format!("evaluate {model}.ron --data {data} --weights {point}"));
        assert!(evaluated.contains(": 10 samples, those held out in training"), "{evaluated}");
        // What is held out is the same in any precision.
        let evaluated =
            good(at, &format!("evaluate {model}.ron --data {data} --weights {end} --precision f64"));
        assert!(evaluated.contains(": 10 samples, those held out in training"), "{evaluated}");
        // The same rows, whatever stands first.
        let answer = |data: &str| good(at, &format!("run {model}.ron {data} --weights {point}"));
        assert_eq!(answer(data), answer("other.csv"), "{output}");
        let told = told(
            at,
            &format!(
                "train {model}.ron --data other.csv --epochs 1 --weights {point} --save {model}-again.safetensors"
            ),
        );
        assert!(told.contains("  columns a, b, c\n"), "{told}");
    }
    // A part of the weights brings the columns if it brings what was fitted to them, and no classes.
    let told = told(
        at,
        "train price.ron --data other.csv --target more --epochs 1 --weights price.safetensors --partial --save p.safetensors",
    );
    assert!(told.contains("  columns a, b, c\n"), "{told}");
}

/// A split that is not the one of the weights' training is never taken for it: not by a checkpoint, not by an evaluation.
#[test]
fn what_is_held_out_is_known() {
    let folder = folder();
    let at = folder.path();
    write(at);
    good(at, "train price.ron --epochs 1 --fold 1 --checkpoint points");
    let errors = bad(at, "train price.ron --epochs 2 --fold 2 --checkpoint points --resume");
    assert!(errors.contains("held out: fold 1 of 4 there, fold 2 of 4 here"), "{errors}");
    good(at, "train price.ron --epochs 2 --fold 1 --checkpoint points --resume");
    // The model file says otherwise now.
    fs::write(at.join("price.ron"), PRICE.replace("Folds(count: 4)", "Holdout(fraction: 0.5)")).unwrap();
    let errors = bad(at, "train price.ron --epochs 3 --checkpoint points --resume");
    assert!(errors.contains("held out: fold 1 of 4 there, fraction 0.5 here"), "{errors}");
    let evaluated = good(at, "evaluate price.ron --weights price.safetensors");
    assert!(evaluated.contains(": 10 samples, those held out in training"), "{evaluated}");
    // One row more: other data, all of it is evaluated, and that is told.
    let text = fs::read_to_string(at.join("t.csv")).unwrap();
    fs::write(at.join("t.csv"), text + "1,2,3,4\n").unwrap();
    let output = run(at, "evaluate price.ron --weights price.safetensors");
    let note = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(note.contains("not exactly the data") && note.contains("all 41 samples"), "{note}");
}

/// A grey picture of 4 x 4 of one value, in a folder that is made.
fn picture(file: &Path, value: u8) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let mut encoder = png::Encoder::new(fs::File::create(file).unwrap(), 4, 4);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.write_header().unwrap().write_image_data(&[value; 16]).unwrap();
}

const SHADE: &str = "Model(
    dims: { \"batch\": 2 },
    inputs: { \"image\": \"f32[batch, 1, 4, 4]\", \"label\": \"i32[batch]\" },
    body: [Flatten, Linear(2), As(\"logits\")],
    entries: {
        \"infer\": Infer(outputs: { \"score\": \"softmax(logits)\" }),
        \"train\": Train(loss: \"cross_entropy(logits, label)\", optimizer: Sgd(lr: 0.1)),
    },
)";

/// Folders for training, for looking at it, and for the end, in any letters; pictures in folders below count.
#[test]
fn parts_of_pictures() {
    let folder = folder();
    let at = folder.path();
    fs::write(at.join("shade.ron"), SHADE).unwrap();
    for (part, count) in [("Train", 6), ("Validation", 3), ("TEST", 2)] {
        for (class, value) in [("dark", 10), ("light", 200)] {
            for number in 0..count {
                let below = if number % 2 == 0 { "a/b" } else { "" };
                let file = at.join("p").join(part).join(class).join(below).join(format!("{number}.png"));
                picture(&file, value + number);
            }
        }
    }
    let told = told(at, "train shade.ron --data p --epochs 1");
    assert!(told.contains("12 samples, 6 held out"), "{told}");
    let evaluate = "evaluate shade.ron --weights shade.safetensors --data p";
    let evaluated = good(at, evaluate);
    assert!(evaluated.contains(": 4 samples, the part `TEST`"), "{evaluated}");
    assert!(good(at, &format!("{evaluate} --all")).contains(": 22 samples\n"));
    fs::remove_dir_all(at.join("p/TEST")).unwrap();
    let evaluated = good(at, evaluate);
    assert!(evaluated.contains(": 6 samples, the part `Validation`"), "{evaluated}");
}

/// A model without data.
const WALK: &str = "Model(
    body: [Parameter(name: \"a\", dims: [2], init: Normal(std: 1))],
    entries: { \"train\": Train(loss: \"mean(it ** 2)\", optimizer: Sgd(lr: 0.1)) },
)";

/// Options of commands that read data sets, where there is nothing that they could say something about: each is an error,
/// which says what.
const UNUSED: &[(&str, &str, &str)] = &[
    ("--data", "train walk.ron --data t.csv", "has no inputs that --data could feed"),
    ("--target", "train walk.ron --target price", "has no inputs, and so no data for --target"),
    (
        "--target",
        "train shade.ron --data p --target price",
        "--target names a column of a table, and `p` is none",
    ),
    ("--target", "train lenet5 --target price", "--target names a column of a table, and `digits` is none"),
    ("--target", "train price.ron --target prise", "has no column `prise`; it has a, b, c, price"),
    ("--target", "train kind.ron --data k.csv --target nothere", "has no column `nothere`"),
    (
        "--target",
        "train kind.ron --data k.csv --target a",
        "the target `a` is not used: all inputs of one number",
    ),
    ("--target", "train there.ron --data k.csv", "has no column `nothere`"),
    (
        "--target",
        "evaluate kind.ron --weights kind.safetensors --data k.csv --target nothere",
        "has no column `nothere`",
    ),
    (
        "--target",
        "evaluate kind.ron --weights kind.safetensors --data k.csv --target a",
        "the target `a` is not used",
    ),
    ("--target", "evaluate shade.ron --weights shade.safetensors --data p --target a", "`p` is none"),
    ("--fold", "train walk.ron --fold 1", "has no inputs, and so no data for --fold"),
    ("--fold", "train kind.ron --data k.csv --fold 1", "does not say that its data are split into folds"),
    ("--fold", "train price.ron --fold 5", "there are folds 1 to 4, not 5"),
    (
        "--batch",
        "train kind.ron --data k.csv --batch 4 --dim batch=8",
        "--batch and --dim batch=… say the same",
    ),
    ("--fitted", "run price.ron --weights price.safetensors t.csv --fitted x.mean=1", "has `data.x.mean`"),
    ("--fitted", "evaluate price.ron --weights price.safetensors --fitted x.std=2", "has `data.x.std`"),
    (
        "--fitted",
        "evaluate kind.ron --weights kind.safetensors --data k.csv --fitted x.std=2",
        "fitted value",
    ),
    (
        "--fitted",
        "run price.ron --weights plain.npz t.csv --fitted x.mean=1,2",
        "one number, or 3 separated by commas",
    ),
    ("--partial", "train price.ron --partial", "--weights"),
    (
        "--predictions",
        "evaluate only.ron --weights only.safetensors --data k.csv --predictions p.csv",
        "nothing to predict",
    ),
    ("--all", "", ""),
];

/// Options of these commands that say nothing about data.
const OTHERS: &str = "--dim --set --entry --epochs --seed --weights --save --checkpoint --checkpoint-every --resume \
    --resume-anyway --log --log-steps --json --force --threads --target-cpu --algorithms --precision --memory-limit --tune \
    --inputs --outputs --help";

#[test]
fn no_option_about_data_is_passed_over() {
    let folder = folder();
    let at = folder.path();
    write(at);
    for command in ["train", "evaluate", "run"] {
        let help = good(at, &format!("help {command}"));
        let options = help.lines().filter_map(|line| {
            let words = line.split_whitespace().take(2);
            words.filter_map(|word| word.strip_prefix("--")).next()
        });
        for option in options {
            let option = format!("--{}", option.split(['=', '[']).next().unwrap());
            let row = UNUSED.iter().any(|row| row.0 == option);
            let other = OTHERS.split_whitespace().any(|other| other == option);
            assert!(row != other, "`{command} {option}` needs a row, or says nothing about data");
        }
    }
    fs::write(at.join("walk.ron"), WALK).unwrap();
    fs::write(at.join("shade.ron"), SHADE).unwrap();
    fs::write(at.join("there.ron"), KIND.replace("data: Data(", "data: Data(target: \"nothere\", ")).unwrap();
    fs::write(
        at.join("only.ron"),
        KIND.replace("\"infer\": Infer(outputs: { \"score\": \"softmax(logits)\" }),", ""),
    )
    .unwrap();
    for (class, value) in [("dark", 10), ("light", 200)] {
        (0..4).for_each(|number| picture(&at.join(format!("p/{class}/{number}.png")), value + number));
    }
    good(at, "train price.ron --epochs 1");
    good(at, "train kind.ron --data k.csv --epochs 1");
    good(at, "train shade.ron --data p --epochs 1");
    good(at, "train only.ron --data k.csv --epochs 1");
    let mut weights = read_tensors(at.join("price.safetensors")).unwrap();
    weights.retain(|(name, _)| !name.starts_with("data."));
    let views: Vec<_> = weights.iter().map(|(name, tensor)| (name.as_str(), tensor.view())).collect();
    write_tensors(at.join("plain.npz"), &views).unwrap();
    for (option, line, expected) in UNUSED.iter().filter(|row| !row.1.is_empty()) {
        let errors = bad(at, line);
        assert!(errors.contains(expected), "{option}: brolga {line}\n{errors}");
        assert!(!errors.contains("training "), "before the work: {line}\n{errors}");
    }
    // A target that is the input's own name is one.
    good(at, "train kind.ron --data k.csv --epochs 1 --target kind");
}

/// Classes that the model cannot tell apart are an error before training, and so are weights that are NaN.
#[test]
fn what_cannot_be_right_is_refused() {
    let folder = folder();
    let at = folder.path();
    write(at);
    fs::write(at.join("two.ron"), KIND.replace("Linear(3)", "Linear(2)")).unwrap();
    fs::write(at.join("four.ron"), KIND.replace("Linear(3)", "Linear(4)")).unwrap();
    let errors = bad(at, "train two.ron --data k.csv --epochs 1");
    let expected =
        "the data have 3 classes (blue, green, red), but the model tells 2 apart: `kind` is from 0 to 1";
    assert!(errors.contains(expected), "{errors}");
    let note = told(at, "train four.ron --data k.csv --epochs 1");
    assert!(note.contains("note: the data have 3 classes, the model tells 4 apart"), "{note}");
    let rows: String = (0..8).map(|i| format!("{i},1,2,red\n")).collect();
    fs::write(at.join("one.csv"), format!("a,b,c,kind\n{rows}")).unwrap();
    let note = told(at, "train two.ron --data one.csv --epochs 1");
    assert!(note.contains("note: the data have 1 class, the model tells 2 apart"), "{note}");

    good(at, "train kind.ron --data k.csv --epochs 1");
    let mut weights = read_tensors(at.join("kind.safetensors")).unwrap();
    let bias = weights.iter_mut().find(|(name, _)| name.ends_with("bias")).unwrap();
    bias.1.as_mut_slice::<f32>().unwrap()[1] = f32::NAN;
    let views: Vec<_> = weights.iter().map(|(name, tensor)| (name.as_str(), tensor.view())).collect();
    write_tensors(at.join("nan.safetensors"), &views).unwrap();
    let errors = bad(at, "train kind.ron --data k.csv --epochs 1 --weights nan.safetensors");
    assert!(errors.contains("weights that hold NaN, as `") && errors.contains("bias` does"), "{errors}");
}

/// Tables of predictions are alike, whoever writes them, and no two columns have one name; lines of several tables have the
/// table's.
#[test]
fn tables_of_predictions() {
    let folder = folder();
    let at = folder.path();
    write(at);
    good(at, "train price.ron --epochs 1");
    good(at, "train kind.ron --data k.csv --epochs 1");
    let header = |file: &str| fs::read_to_string(at.join(file)).unwrap().lines().next().unwrap().to_owned();
    for (model, data, columns) in
        [("price", "t.csv", "y"), ("kind", "k.csv", "predicted,score.blue,score.green,score.red")]
    {
        good(
            at,
            &format!(
                "evaluate {model}.ron --weights {model}.safetensors --data {data} --all --predictions {model}-p.csv"
            ),
        );
        good(at, &format!("run {model}.ron --weights {model}.safetensors {data} --outputs {model}-o.csv"));
        assert_eq!(header(&format!("{model}-p.csv")), format!("sample,true,{columns}"));
        assert_eq!(header(&format!("{model}-o.csv")), format!("sample,{columns}"));
        let rows = |file: &str| -> Vec<Vec<String>> {
            let text = fs::read_to_string(at.join(file)).unwrap();
            text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
        };
        for (mut whole, own) in
            rows(&format!("{model}-p.csv")).into_iter().zip(rows(&format!("{model}-o.csv")))
        {
            whole.remove(1);
            assert_eq!(whole, own);
        }
    }
    let text = good(at, "run price.ron --weights price.safetensors t.csv t.csv");
    assert!(text.starts_with("t.csv line 2: y "), "{text}");
}

/// What is wrong with what is given is said once and whole.
#[test]
fn messages_about_data() {
    let folder = folder();
    let at = folder.path();
    write(at);
    fs::write(at.join("shade.ron"), SHADE).unwrap();
    for (class, value) in [("dark", 10), ("light", 200)] {
        (0..4).for_each(|number| picture(&at.join(format!("p/{class}/{number}.png")), value + number));
    }
    good(at, "train shade.ron --data p --epochs 1");
    // Pictures that cannot be read keep no others from their answers.
    fs::write(at.join("p/dark/4.png"), "no picture").unwrap();
    fs::write(at.join("p/light/4.png"), "no picture").unwrap();
    let output = run(at, "run shade.ron --weights shade.safetensors p --outputs o.csv");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("p/dark/4.png") && errors.contains("p/light/4.png"), "{errors}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 8);
    assert_eq!(fs::read_to_string(at.join("o.csv")).unwrap().lines().count(), 9);
    let errors = bad(at, "train shade.ron --data p --epochs 1");
    assert!(errors.contains("p/dark/4.png") && errors.contains("p/light/4.png"), "{errors}");
    let errors = bad(at, "run shade.ron --weights shade.safetensors -");
    assert!(errors.contains("standard input is not read here"), "{errors}");
    assert!(
        bad(at, "run shade.ron --weights shade.safetensors")
            .contains("give pictures, folders of them or tables")
    );

    let text = fs::read_to_string(at.join("t.csv")).unwrap();
    fs::write(at.join("t.csv"), text.replace(",100,", ",NA,")).unwrap();
    let errors = bad(at, "train price.ron --epochs 1");
    assert!(errors.contains("the value of `b` is missing (`NA`), one of 8 in this column"), "{errors}");
    fs::write(at.join("t.csv"), text.replace(",100,", ",oak,")).unwrap();
    let errors = bad(at, "train price.ron --epochs 1");
    assert!(
        errors.contains("`oak` in the column `b` is no number; texts are for an input of their own"),
        "{errors}"
    );
    for option in ["--epochs x", "--epochs -1", "--batch 1.5", "--threads -2"] {
        let errors = bad(at, &format!("train price.ron {option}"));
        assert!(errors.contains("expected a whole number from 0 to"), "{option}: {errors}");
    }
}
