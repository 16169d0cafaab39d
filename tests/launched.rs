//! Executables do what the command does, with the same texts and the same bits: answers, evaluation and training. One code does
//! it (the crate `command`), here with a container, there with a compiler.

#![cfg(all(feature = "cli", feature = "exe", target_os = "linux"))]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use brolga::runtime::{Purpose, Random, read_tensors, write_tensors};
use brolga::{Model, Settings, Tensor};

use crate::cli::training::kill;
use crate::cli::{bad, folder, good, run};

/// Samples of the data set: batches of 32, and some that are left.
const SAMPLES: usize = 101;

/// Whether there is a launcher; it says so where there is none.
pub fn has_launcher() -> bool {
    let none = option_env!("BROLGA_LAUNCHER") == Some("");
    if none {
        eprintln!("skipped: there is no launcher");
    }
    !none
}

/// Weights of LeNet-5, and data that it is asked with. Nothing where no launcher was built.
fn prepare(at: &Path) -> bool {
    if !has_launcher() {
        return false;
    }
    let model = Model::load("lenet5", &Settings::default()).unwrap();
    model.initial_state(3).unwrap().save_weights(at.join("w.safetensors")).unwrap();
    let mut random = Random::new(7, Purpose::Augment, 0, 0);
    let image: Vec<f32> = (0..SAMPLES * 784).map(|_| random.uniform()).collect();
    let label: Vec<i32> = (0..SAMPLES).map(|_| random.below(10) as i32).collect();
    let image = Tensor::from_slice(&[SAMPLES, 1, 28, 28], &image).unwrap();
    let label = Tensor::from_slice(&[SAMPLES], &label).unwrap();
    write_tensors(at.join("data.npz"), &[("image", image.view()), ("label", label.view())]).unwrap();
    write_tensors(at.join("images.npz"), &[("image", image.view())]).unwrap();
    write_tensors(at.join("images.npy"), &[("image", image.view())]).unwrap();
    fs::create_dir(at.join("digits")).unwrap();
    for number in 0..3u8 {
        let file = fs::File::create(at.join(format!("digits/{number}.png"))).unwrap();
        let mut encoder = png::Encoder::new(file, 20, 20);
        encoder.set_color(png::ColorType::Grayscale);
        let pixels: Vec<u8> = (0..400).map(|_| random.below(256) as u8).collect();
        encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    }
    true
}

/// A program, to be run in a folder with words as arguments.
fn command(at: &Path, line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new(at.join(words.next().unwrap()));
    command.args(words).current_dir(at).env("NO_COLOR", "1").env("RUST_BACKTRACE", "0").stdin(Stdio::null());
    command
}

fn program(at: &Path, line: &str) -> Output {
    command(at, line).output().unwrap()
}

/// What a program prints, which must succeed.
pub fn prints(at: &Path, line: &str) -> String {
    let output = program(at, line);
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Standard error of a program that must fail, without a panic and without results.
pub fn fails(at: &Path, line: &str) -> String {
    let output = program(at, line);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && output.stdout.is_empty(), "{line}: {errors}");
    assert!(errors.contains("error: ") && !errors.contains("panicked"), "{line}: {errors}");
    errors
}

fn same_file(at: &Path, one: &str, other: &str) {
    assert!(fs::read(at.join(one)).unwrap() == fs::read(at.join(other)).unwrap(), "{one} and {other}");
}

/// The same text but for the time.
fn without_time(text: &str) -> String {
    let without = |line: &str| match (line.rsplit_once(", "), line.rsplit_once("  ")) {
        (Some((start, time)), _) if time.ends_with(" s") => start.to_owned(),
        (_, Some((start, time))) if time.ends_with(" s") => start.to_owned(),
        _ => line.to_owned(),
    };
    text.lines().map(without).collect::<Vec<_>>().join("\n")
}

#[test]
fn samples_get_the_answers_of_the_command() {
    let folder = folder();
    let at = folder.path();
    if !prepare(at) {
        return;
    }
    good(at, "build lenet5 --weights w.safetensors -o net");
    let asked = "run lenet5 --weights w.safetensors";
    for paths in ["digits/1.png", "digits", "digits/2.png digits --json"] {
        assert_eq!(prints(at, &format!("net {paths}")), good(at, &format!("{asked} {paths}")), "{paths}");
    }
    for ending in ["csv", "npz"] {
        good(at, &format!("{asked} digits --outputs command.{ending}"));
        prints(at, &format!("net digits --outputs program.{ending} --threads 2"));
        same_file(at, &format!("command.{ending}"), &format!("program.{ending}"));
    }
    // Samples of a file, as many as there are: each has the bits that it has in one batch.
    good(at, &format!("{asked} --inputs images.npz --outputs all.npz"));
    prints(at, "net --inputs images.npz --outputs parts.npz");
    assert_eq!(read_tensors(at.join("all.npz")).unwrap(), read_tensors(at.join("parts.npz")).unwrap());
    fs::rename(at.join("images.npy"), at.join("some.npy")).unwrap();
    good(at, &format!("{asked} --inputs some.npy --outputs some.npz"));
    same_file(at, "some.npz", "all.npz");
    let lines = prints(at, "net --inputs images.npz");
    assert_eq!(prints(at, "net --inputs some.npy"), lines);
    fs::rename(at.join("some.npy"), at.join("images.npy")).unwrap();
    assert_eq!(lines.lines().count(), SAMPLES);
    assert_eq!(good(at, &format!("{asked} --inputs images.npz")), lines);
    let json = prints(at, "net --inputs images.npz --json");
    assert_eq!(good(at, &format!("{asked} --inputs images.npz --json")), json);
    good(at, &format!("{asked} --inputs images.npz --outputs arrays-command.csv"));
    prints(at, "net --inputs images.npz --outputs arrays-program.csv");
    same_file(at, "arrays-command.csv", "arrays-program.csv");
    assert!(lines.starts_with("0: ") && lines.contains("probability 0."), "{lines}");
    let file = fs::File::open(at.join("images.npy")).unwrap();
    let piped = command(at, "net --json").stdin(file).output().unwrap();
    assert!(piped.status.success(), "{}", String::from_utf8_lossy(&piped.stderr));
    assert_eq!(String::from_utf8(piped.stdout).unwrap(), json);
}

#[test]
fn mistakes_are_told_and_help_is_given() {
    let folder = folder();
    let at = folder.path();
    if !prepare(at) {
        return;
    }
    good(at, "build lenet5 --weights w.safetensors -o net");
    let piped = command(at, "net").stdin(fs::File::open(at.join("images.npz")).unwrap()).output().unwrap();
    let errors = String::from_utf8_lossy(&piped.stderr);
    assert!(errors.contains("standard input is an archive of NumPy's arrays (.npz)"), "{errors}");
    let endless = command(at, "net").stdin(fs::File::open("/dev/zero").unwrap()).output().unwrap();
    let errors = String::from_utf8_lossy(&endless.stderr);
    assert!(errors.contains("takes an array (.npy) alone"), "{errors}");
    let grey = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tests/data/grey.jpg");
    fs::copy(grey, at.join("grey.jpg")).unwrap();
    assert_eq!(prints(at, "net -h"), prints(at, "net --help"));
    assert_eq!(prints(at, "net -V"), prints(at, "net --version"));
    let version = prints(at, "net --version");
    assert!(version.starts_with("lenet5 (brolga ") && version.contains("numerics version"), "{version}");
    let help = prints(at, "net --help");
    for part in ["--inputs FILE", "image: f32[1, 1, 28, 28]", "probability: f32[1, 10]", "bench [OPTIONS]"] {
        assert!(help.contains(part), "{part} in {help}");
    }
    assert!(!help.contains("train [OPTIONS]") && help.contains("pictures (PNG,"), "{help}");
    let wrong = [
        ("net", "there is nothing to answer for"),
        ("net none.png", "none.png"),
        ("net images.npy", "is an array of NumPy (.npy): tensors are given with --inputs"),
        ("net -x", "there is no option `-x`"),
        ("net --entry infer --inputs images.npz --entry infer", "--entry is given twice"),
        ("net --output x.npz", "did you mean `--outputs`?"),
        ("net digits --save x.npz", "where answers go, --outputs says"),
        ("net digits --outputs -", "--outputs takes a file, and `-` is none"),
        ("net --inputs images.npz --outputs -", "--outputs takes a file, and `-` is none"),
        ("net digits --outputs w.safetensors", "which holds weights"),
        ("net digits --threads many", "--threads takes a whole number"),
        ("net train --data data.npz", "was compiled without training"),
        ("net grey.jpg", "this program reads PNG alone: convert it, or build the program with --whole"),
        ("net --entry train --inputs data.npz --outputs x.npz", "has no entry point `train`"),
    ];
    for (line, expected) in wrong {
        let found = fails(at, line);
        assert!(found.contains(expected), "{line}: {found}");
    }
    for words in [&["bench", "a\nb"][..], &["a\nb.png"]] {
        let output = command(at, "net").args(words).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains("`a\\nb") && errors.lines().count() == 1, "{errors}");
    }
    let bench = prints(at, "net bench --seconds 0.01 --json");
    let bench: serde_json::Value = serde_json::from_str(&bench).unwrap();
    assert_eq!((&bench["entry"], &bench["dims"]["batch"]), (&"infer".into(), &1.into()));
    assert!(bench["median_ms"].as_f64().unwrap() > 0.0);
}

/// JPEG is read by programs that were asked for it, that train, or that take pictures in colour.
#[test]
fn whole_programs_read_all_pictures() {
    let folder = folder();
    let at = folder.path();
    if !prepare(at) {
        return;
    }
    for name in ["grey.jpg", "baseline.jpg"] {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tests/data");
        fs::copy(data.join(name), at.join(name)).unwrap();
    }
    let pictures = "grey.jpg baseline.jpg digits/0.png";
    let expected = good(at, &format!("run lenet5 --weights w.safetensors {pictures}"));
    for (number, asked) in ["--whole", "--entry infer,train"].into_iter().enumerate() {
        good(at, &format!("build lenet5 --weights w.safetensors {asked} -o net{number}"));
        assert_eq!(prints(at, &format!("net{number} {pictures}")), expected, "{asked}");
    }
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/lenet5.ron")).unwrap();
    let colour = text.replace("f32[batch, 1, 28, 28]", "f32[batch, 3, 28, 28]");
    assert!(colour != text);
    fs::write(at.join("colour.ron"), colour).unwrap();
    good(at, "build colour.ron --entry infer,init -o colour");
    assert_eq!(prints(at, "colour baseline.jpg --seed 0").lines().count(), 1);
}

/// Nobody takes random answers for real ones; weights are found beside the program, however that is called.
#[test]
fn without_weights_nothing_is_answered() {
    let folder = folder();
    let at = folder.path();
    if !prepare(at) {
        return;
    }
    good(at, "build lenet5 -o bare");
    let errors = fails(at, "bare digits");
    assert!(errors.contains("or lay them beside it as `bare.safetensors`\n"), "{errors}");
    assert!(fails(at, "bare digits --seed 3").contains("nothing that draws any"));
    good(at, "build lenet5 --entry infer,init -o net");
    for line in ["net digits", "net --inputs images.npz --outputs out.npz", "net --inputs images.npz"] {
        let errors = fails(at, line);
        assert!(errors.contains("or have some drawn with --seed N"), "{line}: {errors}");
    }
    assert_eq!(prints(at, "net digits --seed 3"), good(at, "run lenet5 digits --seed 3"));
    prints(at, "net bench --seconds 0.01");

    let elsewhere = at.join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(at.join("net"), elsewhere.join("digit")).unwrap();
    let expected = good(at, "run lenet5 --weights w.safetensors digits");
    for beside in ["net.safetensors", "lenet5.safetensors", "elsewhere/digit.safetensors"] {
        fs::copy(at.join("w.safetensors"), at.join(beside)).unwrap();
        for (path, called) in [(".", "elsewhere/digit"), ("elsewhere", "digit"), (".", "net")] {
            if called == "net" && beside.contains("digit") {
                continue;
            }
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", &format!("exec {called} digits")]).current_dir(at).env("PATH", at.join(path));
            let output = shell.output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{beside}, {called}: {errors}");
        }
        fs::remove_file(at.join(beside)).unwrap();
    }
}

/// An entry point that draws.
const DRAWN: &str = "Model(
    inputs: { \"x\": \"f32[batch, 8]\" },
    body: [Linear(8), Dropout(0.5)],
    entries: { \"infer\": Entry(mode: \"train\", steps: [], outputs: { \"y\": \"it\" }) },
)";

/// The seed draws what a model draws, whether or not the program carries the weights.
#[test]
fn a_seed_is_that_of_the_command() {
    let folder = folder();
    let at = folder.path();
    if !has_launcher() {
        return;
    }
    fs::write(at.join("drawn.ron"), DRAWN).unwrap();
    let x = Tensor::from_slice(&[1, 8], &[1f32; 8]).unwrap();
    write_tensors(at.join("in.npz"), &[("x", x.view())]).unwrap();
    let model = Model::load(at.join("drawn.ron").to_str().unwrap(), &Settings::default().dim("batch", 1));
    model.unwrap().initial_state(0).unwrap().save_weights(at.join("w.safetensors")).unwrap();
    good(at, "build drawn.ron --dim batch=1 --weights w.safetensors -o inside");
    good(at, "build drawn.ron --dim batch=1 -o outside");
    let out = |name: &str| read_tensors(at.join(name)).unwrap();
    for seed in ["", "--seed 1", "--seed 2"] {
        let asked = format!("--inputs in.npz {seed} --outputs");
        good(at, &format!("run drawn.ron --weights w.safetensors {asked} command.npz"));
        prints(at, &format!("inside {asked} inside.npz"));
        prints(at, &format!("outside --weights w.safetensors {asked} outside.npz"));
        assert_eq!(out("inside.npz"), out("command.npz"), "{seed}");
        assert_eq!(out("outside.npz"), out("command.npz"), "{seed}");
    }
    prints(at, "inside --inputs in.npz --outputs inside.npz");
    assert_ne!(out("inside.npz"), out("command.npz"));
}

#[test]
fn training_gives_the_bits_of_the_command() {
    let folder = folder();
    let at = folder.path();
    if !prepare(at) {
        return;
    }
    good(at, "build lenet5 --entry infer,train -o net");
    assert!(prints(at, "net --help").contains("train [OPTIONS]"));
    let options = "--data data.npz --epochs 2 --seed 5";
    let command = run(at, &format!("train lenet5 {options} --save command.safetensors --log command.csv"));
    assert!(command.status.success());
    let found = program(at, &format!("net train {options} --save program.safetensors --log program.csv"));
    let text = |bytes: &[u8], name: &str| without_time(&String::from_utf8_lossy(bytes)).replace(name, "NAME");
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    assert_eq!(text(&found.stdout, "program"), text(&command.stdout, "command"));
    assert_eq!(text(&found.stderr, "program"), text(&command.stderr, "command"));
    same_file(at, "program.safetensors", "command.safetensors");
    let evaluate = "--weights program.safetensors --data data.npz --json --predictions";
    let command = good(at, &format!("evaluate lenet5 {evaluate} command.csv --force"));
    let found = prints(at, &format!("net evaluate {evaluate} program.csv --force"));
    assert_eq!(found.replace("program.csv", "command.csv"), command);
    same_file(at, "program.csv", "command.csv");
    // What is trained answers.
    let asked = "--weights program.safetensors digits";
    let answers = good(at, &format!("run lenet5 {asked}"));
    assert_eq!(prints(at, &format!("net {asked}")), answers);
    // So does what lies beside the program, by the name that training gives it.
    fs::copy(at.join("program.safetensors"), at.join("lenet5.safetensors")).unwrap();
    assert_eq!(prints(at, "net digits"), answers);
    assert!(fails(at, "net digits --weights none.safetensors").contains("none.safetensors"));
    assert!(fails(at, "net train --epochs 1 --data none.npz").contains("none.npz"));
}

/// A run of the program goes on where it ended, the command goes on from there, and the program from what the command wrote.
#[test]
fn training_goes_on_from_checkpoints() {
    let folder = folder();
    let at = folder.path();
    if !prepare(at) {
        return;
    }
    good(at, "build lenet5 --entry train --weights w.safetensors -o net");
    let data = "--data data.npz --checkpoint run --save";
    good(at, "train lenet5 --weights w.safetensors --data data.npz --epochs 3 --save whole.safetensors");
    assert!(fails(at, "net digits").contains("compiled without an entry point that answers"));
    prints(at, "net bench --seconds 0.01");
    prints(at, &format!("net train {data} one.safetensors --epochs 1"));
    assert!(fails(at, &format!("net train {data} two.safetensors --epochs 2")).contains("resume it"));
    assert!(
        fails(at, &format!("net train {data} two.safetensors --epochs 2 --resume --seed 1")).contains("seed")
    );
    prints(at, &format!("net train {data} two.safetensors --epochs 2 --resume"));
    good(at, &format!("train lenet5 --weights w.safetensors {data} three.safetensors --epochs 3 --resume"));
    same_file(at, "three.safetensors", "whole.safetensors");
    good(
        at,
        "train lenet5 --weights w.safetensors --data data.npz --checkpoint other --save one.safetensors --epochs 1",
    );
    prints(at, "net train --data data.npz --checkpoint other --resume --save four.safetensors --epochs 3");
    same_file(at, "four.safetensors", "whole.safetensors");
}

/// A small model with all that a run draws and keeps besides its weights: masks, an optimiser's state, the order of the data, a
/// state that it sets itself; with loops.
const DROPS: &str = "Model(
    inputs: { \"x\": \"f32[batch, 8]\", \"label\": \"i64[batch]\" },
    dims: { \"batch\": 8 },
    body: [
        State(name: \"seen\", type: \"i32[]\"), Update({ \"seen\": \"it + 1\" }), Ref(\"x\"),
        Linear(8), Relu, Dropout(0.3), Reshape([-1, 4, 2]), Gru(name: \"gru\", features: 5, layers: 2, dropout: 0.2),
        Ref(\"gru.last.h\"), Linear(3), As(\"logits\"),
    ],
    entries: {
        \"infer\": Infer(outputs: { \"p\": \"softmax(logits)\" }),
        \"train\": Train(loss: \"cross_entropy(logits, label)\", optimizer: Adam(lr: 0.01)),
    },
)";

/// Killed with SIGKILL again and again and resumed, a program ends with the bits of its whole run, and of the command's.
#[test]
fn a_killed_program_goes_on_to_the_same_bits() {
    let folder = folder();
    let at = folder.path();
    if !has_launcher() {
        return;
    }
    fs::write(at.join("net.ron"), DROPS).unwrap();
    let mut random = Random::new(9, Purpose::Augment, 0, 0);
    let x: Vec<f32> = (0..64 * 8).map(|_| random.uniform()).collect();
    let label: Vec<i64> = (0..64).map(|_| random.below(3) as i64).collect();
    let (x, label) = (Tensor::from_slice(&[64, 8], &x).unwrap(), Tensor::from_slice(&[64], &label).unwrap());
    write_tensors(at.join("data.npz"), &[("x", x.view()), ("label", label.view())]).unwrap();
    write_tensors(at.join("x.npz"), &[("x", x.view())]).unwrap();
    good(at, "build net.ron --entry infer,train -o net");
    let options = "--data data.npz --epochs 30 --seed 3 --threads 2";
    good(at, &format!("train net.ron {options} --save command.safetensors"));
    let start = Instant::now();
    let checkpoints = "--checkpoint-every 4 --checkpoint";
    prints(at, &format!("net train {options} {checkpoints} alone --save whole.safetensors"));
    let whole = start.elapsed();
    same_file(at, "whole.safetensors", "command.safetensors");
    let resumed = format!("net train {options} {checkpoints} points --resume --save killed.safetensors");
    let killed = kill(&at.join("points"), 6, whole, || command(at, &resumed));
    prints(at, &resumed);
    assert!(killed >= 3, "only {killed} kills before the run was over");
    same_file(at, "killed.safetensors", "whole.safetensors");
    // What is trained may go on with the command.
    good(at, &format!("train net.ron {options} --checkpoint points --resume --save further.safetensors"));
    same_file(at, "further.safetensors", "whole.safetensors");
    let asked = "--weights killed.safetensors --inputs x.npz --outputs";
    good(at, &format!("run net.ron {asked} command.npz"));
    prints(at, &format!("net {asked} program.npz"));
    let out = |name: &str| read_tensors(at.join(name)).unwrap();
    assert_eq!(out("program.npz"), out("command.npz"));
}

/// A parameter whose shape is that of the batch.
const ROWS: &str = "Model(
    inputs: { \"x\": \"f32[batch, 2]\", \"y\": \"f32[batch]\" },
    dims: { \"batch\": 8 },
    body: [
        Parameter(name: \"p\", dims: [\"batch\", 2], init: Ones), Expr(\"it + x\"), Linear(1), Expr(\"it[:, 0]\"), As(\"q\"),
    ],
    entries: {
        \"infer\": Infer(outputs: { \"q\": \"q\" }),
        \"train\": Train(loss: \"mse(q, y)\", optimizer: Sgd(lr: 0.1)),
    },
)";

/// Where the state's shapes depend on the batch there is one batch for all: that of training, or single samples.
#[test]
fn a_state_that_depends_on_the_batch_has_one() {
    let folder = folder();
    let at = folder.path();
    fs::write(at.join("rows.ron"), ROWS).unwrap();
    let both = "build rows.ron --entry infer,train";
    let text = good(at, &format!("{both} -o rows.brolga"));
    assert_eq!(text.matches("batch=8\n").count(), 4, "{text}");
    assert!(!text.contains("batch=1\n"), "{text}");
    let text = good(at, "build rows.ron -o rows.brolga");
    assert!(text.contains("entry: infer batch=1\n  x: f32[1, 2] -> q: f32[1]\n"), "{text}");
    assert!(!text.contains("batch=8"), "{text}");
    let errors = bad(at, &format!("{both} --dim infer.batch=1 -o rows.brolga"));
    let expected = "the state `p` is f32[8, 2] in `train`, but f32[1, 2]";
    let other = "the state `p` is f32[1, 2] in `infer`, but f32[8, 2]";
    assert!(errors.contains(expected) || errors.contains(other), "{errors}");
    assert!(errors.contains("--dim batch=8"), "{errors}");
    if !has_launcher() {
        return;
    }
    good(at, &format!("{both} -o net"));
    let mut random = Random::new(4, Purpose::Augment, 0, 0);
    let x: Vec<f32> = (0..80 * 2).map(|_| random.uniform()).collect();
    let write = |file: &str, samples: usize| {
        let x = Tensor::from_slice(&[samples, 2], &x[..samples * 2]).unwrap();
        let y = Tensor::from_slice(&[samples], &x.as_slice::<f32>().unwrap()[..samples]).unwrap();
        write_tensors(at.join(file), &[("x", x.view()), ("y", y.view())]).unwrap();
    };
    write("data.npz", 80);
    write("eight.npz", 8);
    write("seven.npz", 7);
    good(at, "train rows.ron --data data.npz --epochs 2 --save command.safetensors");
    prints(at, "net train --data data.npz --epochs 2 --save program.safetensors");
    same_file(at, "program.safetensors", "command.safetensors");
    let weights = "--weights command.safetensors --inputs";
    good(at, &format!("run rows.ron {weights} eight.npz --outputs command.npz"));
    prints(at, &format!("net {weights} eight.npz --outputs program.npz"));
    assert_eq!(read_tensors(at.join("program.npz")).unwrap(), read_tensors(at.join("command.npz")).unwrap());
    assert!(
        fails(at, &format!("net {weights} seven.npz --outputs seven.out.npz")).contains("give whole batches")
    );
}

/// Inputs that are one for all samples, such as a scalar, are given as they are; and so is all of an entry point without samples.
#[test]
fn inputs_without_samples_are_given_whole() {
    let folder = folder();
    let at = folder.path();
    if !has_launcher() {
        return;
    }
    let model = |inputs: &str, y: &str| {
        format!(
            "Model(inputs: {{ {inputs} }}, body: [], entries: {{ \"infer\": Infer(outputs: {{ \"y\": \"{y}\" }}) }})"
        )
    };
    let scaled =
        model("\"x\": \"f32[batch, 3]\", \"scale\": \"f32[]\", \"more\": \"f32[3]\"", "x * scale + more");
    fs::write(at.join("scaled.ron"), scaled).unwrap();
    fs::write(at.join("whole.ron"), model("\"more\": \"f32[3]\"", "more * 2")).unwrap();
    let x = Tensor::from_slice(&[7, 3], &(0..21u8).map(f32::from).collect::<Vec<_>>()).unwrap();
    let (scale, more) =
        (Tensor::scalar(2f32).unwrap(), Tensor::from_slice(&[3], &[0.5f32, 0.25, 4.0]).unwrap());
    let tensors = [("x", x.view()), ("scale", scale.view()), ("more", more.view())];
    write_tensors(at.join("in.npz"), &tensors).unwrap();
    good(at, "run scaled.ron --inputs in.npz --outputs command.npz");
    let expected = read_tensors(at.join("command.npz")).unwrap();
    for (batch, name) in [("", "single"), ("--dim batch=2", "both")] {
        good(at, &format!("build scaled.ron {batch} -o {name}"));
        prints(at, &format!("{name} --inputs in.npz --outputs {name}.npz"));
        assert_eq!(read_tensors(at.join(format!("{name}.npz"))).unwrap(), expected, "{name}");
    }
    let text = prints(at, "single --inputs in.npz --json");
    let found: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found["samples"][6]["y"], serde_json::json!({"0": 36.5, "1": 38.25, "2": 44.0}), "{text}");
    good(at, "build whole.ron -o whole");
    let text = prints(at, "whole --inputs in.npz --json");
    assert!(text.contains("\"y\":[1.0,0.5,8.0]"), "{text}");
    // Nor need there be any.
    let none = "Model(inputs: {}, body: [Parameter(name: \"p\", dims: [3], init: Ones)], entries: { \"infer\": Infer(outputs: { \"y\": \"it\" }) })";
    fs::write(at.join("none.ron"), none).unwrap();
    let model = Model::load(at.join("none.ron").to_str().unwrap(), &Settings::default()).unwrap();
    model.initial_state(0).unwrap().save_weights(at.join("p.safetensors")).unwrap();
    good(at, "build none.ron --weights p.safetensors -o none");
    let text = prints(at, "none --json");
    assert!(text.contains("\"samples\":[{\"name\":\"0\",\"y\":[1.0,1.0,1.0]}]"));
    assert_eq!(good(at, "run none.ron --weights p.safetensors --json"), text);
}
