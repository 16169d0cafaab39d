//! Files that commands write and read: what is checked before work, what is not overwritten (`overwriting.rs`), what is never lost, and which of
//! two models a name means. All of it takes some 15 seconds.

#![cfg(feature = "cli")]

mod overwriting;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use brolga::runtime::{DType, TensorFile, read_tensors, write_tensors};
use brolga::{Model, Network, Settings, Tensor, Threads};

#[cfg(unix)]
use crate::cli::training::hears_signals;
use crate::cli::{bad, folder, good, run};

/// A classifier of 2 x 3 numbers, whose batch is the axis in the middle.
const MIDDLE: &str = "Model(
    inputs: { \"x\": \"f32[2, batch, 3]\", \"label\": \"i32[batch]\" },
    body: [Transpose([1, 0, 2]), Flatten, Linear(name: \"fc\", features: 4), As(\"logits\")],
    entries: {
        \"infer\": Infer(outputs: { \"y\": \"softmax(logits)\" }),
        \"train\": Train(loss: \"cross_entropy(logits, label)\", optimizer: Sgd(lr: 0.1)),
    },
)";

/// The same with the batch first.
fn first() -> String {
    MIDDLE.replace("[2, batch, 3]", "[batch, 2, 3]").replace("Transpose([1, 0, 2]), ", "")
}

fn write_models(at: &Path) {
    std::fs::write(at.join("middle.ron"), MIDDLE).unwrap();
    std::fs::write(at.join("first.ron"), first()).unwrap();
}

/// A batch for [`MIDDLE`], or for the other with the batch first.
fn write_batch(path: &Path, batch: usize, middle: bool) {
    let value = |row: usize, i: usize, j: usize| ((row * 7 + i * 3 + j) % 11) as f32 / 5.0 - 1.0;
    let x: Vec<f32> = if middle {
        (0..2).flat_map(|i| (0..batch).flat_map(move |row| (0..3).map(move |j| value(row, i, j)))).collect()
    } else {
        (0..batch).flat_map(|row| (0..2).flat_map(move |i| (0..3).map(move |j| value(row, i, j)))).collect()
    };
    let dims = if middle { [2, batch, 3] } else { [batch, 2, 3] };
    let label: Vec<i32> = (0..batch).map(|row| (row % 4) as i32).collect();
    let (x, label) = (Tensor::from_slice(&dims, &x).unwrap(), Tensor::from_slice(&[batch], &label).unwrap());
    write_tensors(path, &[("x", x.view()), ("label", label.view())]).unwrap();
}

/// A disk without room, as far as the system tells before: a limit of the size of files stands in for it.
#[cfg(target_os = "linux")]
#[test]
fn room_is_found_out_before_training() {
    let folder = folder();
    let at = folder.path();
    let script = "trap '' XFSZ; ulimit -f 16; exec \"$@\""; // blocks of 512 bytes, or 1024
    let arguments = ["train", "softmax-regression", "--epochs", "1", "--save", "w.safetensors"];
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh", env!("CARGO_BIN_EXE_brolga")]).args(arguments).current_dir(at);
    let output = shell.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(
        errors.contains("--save: cannot write `w.safetensors`: ") && !errors.contains("epoch"),
        "{errors}"
    );
    assert_eq!(std::fs::read_dir(at).unwrap().count(), 0);
}

/// A run that is at work; it is killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(unix)]
impl Running {
    /// Starts a run without end, by a shell that does `before` first, and waits for its first checkpoint.
    fn start(at: &Path, before: &str) -> Running {
        let script = format!("{before} exec \"$@\"");
        let arguments = "train middle.ron --data data.npz --batch 8 --epochs 1000000000 --checkpoint points --save out/w.safetensors";
        let mut command = Command::new("sh");
        command
            .args(["-c", &script, "sh", env!("CARGO_BIN_EXE_brolga")])
            .args(arguments.split_whitespace())
            .current_dir(at)
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(at.join("log.txt")).unwrap());
        hears_signals(&mut command);
        let mut running = Running(command.spawn().unwrap());
        running.wait_for(at, "a checkpoint", |running| running.steps(at) > 0);
        running
    }

    fn steps(&self, at: &Path) -> u64 {
        let Ok(entries) = std::fs::read_dir(at.join("points")) else { return 0 };
        let names = entries.filter_map(|e| Some(e.ok()?.file_name().to_string_lossy().into_owned()));
        names
            .filter_map(|n| n.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok())
            .max()
            .unwrap_or(0)
    }

    fn wait_for(&mut self, at: &Path, what: &str, there: impl Fn(&Running) -> bool) {
        let start = Instant::now();
        while !there(self) {
            let log = || std::fs::read_to_string(at.join("log.txt")).unwrap_or_default();
            assert!(self.0.try_wait().unwrap().is_none(), "it ended before {what}: {}", log());
            assert!(start.elapsed() < Duration::from_secs(60), "waiting for {what}: {}", log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn signal(&self, name: &str) {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// Its exit code, and what it wrote to standard error; a minute is enough to end.
    fn end(mut self, at: &Path) -> (Option<i32>, String) {
        let start = Instant::now();
        let status = loop {
            match self.0.try_wait().unwrap() {
                Some(status) => break status,
                None if start.elapsed() > Duration::from_secs(60) => {
                    self.0.kill().unwrap();
                    panic!(
                        "it does not end: {}",
                        std::fs::read_to_string(at.join("log.txt")).unwrap_or_default()
                    );
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        (status.code(), std::fs::read_to_string(at.join("log.txt")).unwrap())
    }
}

/// A checkpoint is written on SIGTERM, as on Ctrl-C, and one can go on from it. What was trained is kept where the place for
/// it has gone away meanwhile, and the place is named.
#[cfg(unix)]
#[test]
fn what_was_trained_is_not_lost() {
    let folder = folder();
    let at = folder.path();
    write_models(at);
    write_batch(&at.join("data.npz"), 40, false);
    std::fs::create_dir(at.join("out")).unwrap();
    let running = Running::start(at, "");
    std::fs::remove_dir(at.join("out")).unwrap();
    running.signal("TERM");
    let (code, errors) = running.end(at);
    assert_eq!(code, Some(143), "{errors}");
    assert!(
        errors.contains("--resume goes on from here") && errors.contains("checkpoint: points"),
        "{errors}"
    );
    assert!(errors.contains("error: cannot write `out/w.safetensors`: "), "{errors}");
    assert!(errors.contains("the weights are in `w-rescued.safetensors` instead"), "{errors}");
    assert!(!errors.contains("brolga-unfinished"), "{errors}");
    // The same weights as those of the checkpoint.
    let mut rescued = TensorFile::open(at.join("w-rescued.safetensors")).unwrap();
    let newest = std::fs::read_dir(at.join("points")).unwrap().map(|e| e.unwrap().path());
    let number = |path: &Path| -> u64 {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        name.strip_prefix("step-").and_then(|n| n.parse().ok()).unwrap_or(0)
    };
    let newest = newest.max_by_key(|path| number(path)).unwrap();
    let mut checkpoint = TensorFile::open(newest).unwrap();
    assert_eq!(rescued.read("fc.weight").unwrap(), checkpoint.read("fc.weight").unwrap());
}

/// A run that was told to survive its terminal does, and Ctrl-C there, as in the background of a script; the same signals end
/// others, with a checkpoint.
#[cfg(unix)]
#[test]
fn hanging_up() {
    let folder = folder();
    let at = folder.path();
    write_models(at);
    write_batch(&at.join("data.npz"), 40, false);
    std::fs::create_dir(at.join("out")).unwrap();
    let mut running = Running::start(at, "trap '' HUP INT;");
    running.signal("HUP");
    running.signal("INT");
    let before = running.steps(at);
    running.wait_for(at, "more steps", |running| running.steps(at) > before + 20);
    running.signal("TERM");
    assert_eq!(running.end(at).0, Some(143));
    std::fs::remove_dir_all(at.join("points")).unwrap();
    for (signal, expected) in [("HUP", 129), ("INT", 130)] {
        let running = Running::start(at, "");
        running.signal(signal);
        let (code, errors) = running.end(at);
        assert_eq!(code, Some(expected), "{errors}");
        assert!(errors.contains("goes on from here"), "{errors}");
        std::fs::remove_dir_all(at.join("points")).unwrap();
    }
}

/// A bare name is that of a model that comes along, and it is said where a file has it too; other bare names are files.
#[test]
fn a_file_hides_no_model() {
    let folder = folder();
    let at = folder.path();
    std::fs::write(at.join("lenet5"), MIDDLE).unwrap();
    std::fs::write(at.join("mine"), MIDDLE).unwrap();
    let output = run(at, "check lenet5");
    let (shown, notes) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(shown.contains("61,706 parameters"), "{shown}");
    assert!(notes.contains("the model that comes along; the file of that name is `./lenet5`"), "{notes}");
    assert!(good(at, "check ./lenet5").contains("28 parameters"));
    assert!(good(at, "check mine").contains("28 parameters"));
    // A program that was built of it is none.
    for content in [&b"\x7fELF\x02\x01\x01\0"[..], b""] {
        std::fs::write(at.join("lenet5"), content).unwrap();
        assert!(run(at, "check lenet5").stderr.is_empty(), "{content:?}");
    }
    std::fs::remove_file(at.join("lenet5")).unwrap();
    assert!(run(at, "check lenet5").stderr.is_empty());
}

/// `batch` is found in whatever axis it is: by `run` and `step` in the file, by data sets, and by the library; everywhere
/// the results are those of the model with the batch first.
#[test]
fn the_batch_is_any_axis() {
    let folder = folder();
    let at = folder.path();
    write_models(at);
    write_batch(&at.join("middle.npz"), 5, true);
    write_batch(&at.join("first.npz"), 5, false);
    write_batch(&at.join("data.npz"), 43, false);
    for model in ["middle", "first"] {
        good(at, &format!("run {model}.ron --inputs {model}.npz --outputs {model}-y.npz"));
        good(at, &format!("step {model}.ron --inputs {model}.npz --save {model}-s.safetensors"));
        let report = good(
            at,
            &format!("train {model}.ron --data data.npz --batch 8 --epochs 2 --save {model}-w.safetensors"),
        );
        assert!(report.contains("validation"), "{report}");
    }
    for name in ["y.npz", "s.safetensors", "w.safetensors"] {
        let read = |model: &str| read_tensors(at.join(format!("{model}-{name}"))).unwrap();
        assert_eq!(read("middle"), read("first"), "{name}");
    }
    let network = |text: &str| {
        let model = Model::from_text("m.ron", text, &Settings::default()).unwrap();
        Network::new(model, Threads::new(1).unwrap()).unwrap()
    };
    let samples: Vec<f32> = (0..7 * 6).map(|i| (i as f32).sin()).collect();
    let (mut middle, mut first) = (network(MIDDLE), network(&first()));
    assert_eq!(middle.infer(&samples).unwrap(), first.infer(&samples).unwrap());
    let x = Tensor::zeros(DType::F32, &[2, 3, 3]).unwrap();
    assert_eq!(middle.run("infer", &[("x", &x)]).unwrap()[0].1.dims(), [3, 4]);
}

/// What is told of samples is the same wherever the batch is: of inputs and of outputs, by `train`, `evaluate` and `run`.
#[test]
fn the_batch_is_any_axis_of_what_is_told() {
    let folder = folder();
    let at = folder.path();
    let turned = MIDDLE.replace("softmax(logits)", "transpose(softmax(logits), [1, 0])");
    std::fs::write(at.join("turned.ron"), turned).unwrap();
    write_models(at);
    write_batch(&at.join("data.npz"), 43, false);
    let told = |model: &str| {
        let weights = format!("{model}.safetensors");
        let trained =
            good(at, &format!("train {model}.ron --data data.npz --batch 8 --epochs 2 --save {weights}"));
        let lines: Vec<_> =
            trained.lines().filter(|line| line.contains("  loss ")).map(str::to_owned).collect();
        assert_eq!(lines.len(), 2, "{trained}");
        let evaluate =
            format!("evaluate {model}.ron --weights {weights} --data data.npz --predictions p.csv --force");
        let evaluated = good(at, &evaluate).replace(model, "MODEL");
        (lines, evaluated, std::fs::read_to_string(at.join("p.csv")).unwrap())
    };
    let first = told("first");
    assert!(first.1.contains("true \\ predicted"), "{}", first.1);
    assert!(first.2.starts_with("sample,true,predicted,y.0,y.1,y.2,y.3\n"), "{}", first.2);
    for model in ["middle", "turned"] {
        assert_eq!(told(model), first, "{model}");
    }

    let row = |body: &str| {
        format!(
            "Model(inputs: {{ \"x\": \"f32[batch, 3]\" }}, body: [Linear(name: \"fc\", features: 4), As(\"logits\")],
                entries: {{ \"infer\": Infer(outputs: {{ {body} }}) }})"
        )
    };
    std::fs::write(at.join("row.ron"), row("\"y\": \"softmax(logits)\"")).unwrap();
    std::fs::write(at.join("column.ron"), row("\"y\": \"transpose(softmax(logits), [1, 0])\"")).unwrap();
    std::fs::write(at.join("rows.csv"), "a,b,c\n1,2,3\n3,-1,2\n0,5,1\n").unwrap();
    let answers = |model: &str| {
        let json: serde_json::Value =
            serde_json::from_str(&good(at, &format!("run {model}.ron rows.csv --json"))).unwrap();
        let text = good(at, &format!("run {model}.ron rows.csv --outputs {model}.csv"));
        good(at, &format!("run {model}.ron rows.csv --outputs {model}.npz"));
        let table = std::fs::read_to_string(at.join(format!("{model}.csv"))).unwrap();
        (json["samples"].clone(), text, table, read_tensors(at.join(format!("{model}.npz"))).unwrap())
    };
    let expected = answers("row");
    assert!(expected.2.starts_with("sample,predicted,y.0,y.1,y.2,y.3\n"), "{}", expected.2);
    assert_eq!(expected.3[0].1.dims(), [3, 4]);
    assert_eq!(answers("column"), expected);

    // What is made of a whole batch is made of each sample alone, and that is said.
    std::fs::write(at.join("none.ron"), row("\"y\": \"softmax(logits)[0]\"")).unwrap();
    let output = run(at, "run none.ron rows.csv --json");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("note: `y` is of all samples of a call"),
        "{output:?}"
    );
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["samples"][2]["y"].as_array().map(Vec::len), Some(4), "{json}");
    let text = good(at, "run none.ron rows.csv --outputs none.npz");
    assert!(text.contains("line 2: y f32[4]"), "{text}");
    assert_eq!(read_tensors(at.join("none.npz")).unwrap()[0].1.dims(), [3, 4]);
}

/// A picture fills the axes that are not the batch, whichever that is, and whatever its size is by default.
#[test]
fn a_picture_fills_what_is_not_the_batch() {
    let folder = folder();
    let file = folder.path().join("red.png");
    let mut encoder = png::Encoder::new(std::fs::File::create(&file).unwrap(), 8, 8);
    encoder.set_color(png::ColorType::Rgb);
    let pixels: Vec<u8> = (0..64).flat_map(|i| [255, i, 0]).collect();
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    let picture = |dims: &str, batch: usize| {
        let text = format!(
            "Model(inputs: {{ \"x\": \"f32[{dims}]\" }}, body: [Expr(\"x * 2\")],
                entries: {{ \"infer\": Infer(outputs: {{ \"y\": \"it\" }}) }})"
        );
        let settings = Settings::default().dim("batch", batch);
        let model = Model::from_text("m.ron", &text, &settings).unwrap();
        let mut network = Network::new(model, Threads::new(1).unwrap()).unwrap();
        let picture = network.picture("infer", &file).unwrap();
        let twice = network.run("infer", &[("x", &picture)]).unwrap();
        assert_eq!(twice[0].1.dims(), picture.dims(), "{dims}");
        picture
    };
    for channels in [1, 3] {
        let expected = picture(&format!("batch, {channels}, 8, 8"), 3);
        assert_eq!(expected.dims(), [1, channels, 8, 8]);
        for batch in [1, 3, 8] {
            for (dims, given) in [
                (format!("{channels}, batch, 8, 8"), [channels, 1, 8, 8]),
                (format!("{channels}, 8, batch, 8"), [channels, 8, 1, 8]),
                (format!("{channels}, 8, 8, batch"), [channels, 8, 8, 1]),
            ] {
                let found = picture(&dims, batch);
                assert_eq!((found.dims(), found.bytes()), (&given[..], expected.bytes()), "{dims}, {batch}");
            }
        }
    }
}

/// Weights whose names begin otherwise are loaded by pairs of prefixes.
#[test]
fn partial_weights() {
    let folder = folder();
    let at = folder.path();
    write_models(at);
    std::fs::write(at.join("other.ron"), first().replace("\"fc\"", "\"net.head\"")).unwrap();
    write_batch(&at.join("in.npz"), 5, false);
    good(at, "step other.ron --inputs in.npz --save other.safetensors");
    let errors =
        bad(at, "run first.ron --inputs in.npz --weights other.safetensors --partial --outputs y.npz");
    assert!(errors.contains("it has `") && errors.contains("--partial=FROM:TO"), "{errors}");
    assert!(
        bad(at, "run first.ron --inputs in.npz --weights other.safetensors --partial=net --outputs y.npz")
            .contains("FROM:TO")
    );
    good(at, "run other.ron --inputs in.npz --weights other.safetensors --outputs other.npz");
    good(
        at,
        "run first.ron --inputs in.npz --weights other.safetensors --partial=net.head.:fc. --outputs y.npz",
    );
    assert_eq!(read_tensors(at.join("y.npz")).unwrap(), read_tensors(at.join("other.npz")).unwrap());
}

/// Where tensors are read, another file is called what it is.
#[test]
fn files_of_other_kinds_are_called_so() {
    let folder = folder();
    let at = folder.path();
    write_models(at);
    write_batch(&at.join("in.npz"), 5, false);
    std::fs::write(at.join("in.csv"), "a,b\n1,2\n").unwrap();
    std::fs::write(at.join("w.pt"), b"\x80\x02}q\0.").unwrap();
    std::fs::write(at.join("w.npy"), b"\x93NUMPY\x01\0").unwrap();
    std::fs::write(at.join("digit.png"), b"\x89PNG\r\n\x1a\n").unwrap();
    for (command, what) in [
        ("step first.ron --inputs in.csv", "a table (CSV)"),
        ("step first.ron --inputs digit.png", "a PNG image"),
        ("step first.ron --inputs in.npz --weights w.pt", "a Python pickle"),
        ("step first.ron --inputs in.npz --weights w.npy", "an array of NumPy"),
        ("step first.ron --inputs in.npz --weights in.npz", "the weights in `in.npz` do not fit the model"),
        ("step first.ron --inputs in.npz --weights first.ron", "a model in RON"),
    ] {
        let errors = bad(at, command);
        assert!(errors.contains(what) && !errors.contains("claims a header"), "{command}: {errors}");
    }
}

/// Symbols of C are C's names: the default one comes from the file's name.
#[test]
fn symbols_of_objects() {
    let folder = folder();
    let at = folder.path();
    write_models(at);
    for (name, symbol) in [
        ("main.o", "entry_main"),
        ("int.o", "entry_int"),
        ("2nd.o", "entry_2nd"),
        ("net.o", "net"),
        ("NULL.o", "entry_NULL"),
        ("abs.o", "entry_abs"),
        ("exp.o", "entry_exp"),
        ("größe.o", "gr_e"),
        ("_a__b_.o", "a_b"),
        ("日本.o", "net"),
    ] {
        let text = good(at, &format!("build first.ron -o {name}"));
        assert!(text.contains(&format!("int {symbol}_infer({symbol} *model, ")), "{text}");
    }
    for symbol in ["int", "main", "a-b", "NULL", "malloc"] {
        assert!(
            bad(at, &format!("build first.ron -o x.o --symbol {symbol}"))
                .contains("cannot be the name of a C function")
        );
    }
}

/// A name with a line break is shown on one line, whatever is wrong with the file, and where it is written to.
#[cfg(unix)]
#[test]
fn names_are_shown_on_one_line() {
    let folder = folder();
    let at = folder.path();
    write_models(at);
    write_batch(&at.join("in.npz"), 5, true);
    std::fs::write(at.join("text\nhere"), "text").unwrap();
    let rows: [(&[&str], bool); 6] = [
        (&["check", "a\nb.ron"], false),
        (&["run", "middle.ron", "--inputs", "a\nb.npz", "--outputs", "o.npz"], false),
        (&["run", "middle.ron", "--inputs", "text\nhere", "--outputs", "o.npz"], false),
        (&["run", "middle.ron", "--inputs", "in.npz", "--outputs", "no\nsuch/o.npz"], false),
        (&["run", "middle.ron", "--inputs", "in.npz", "--outputs", "text\nhere"], false),
        (&["run", "middle.ron", "--inputs", "in.npz", "--outputs", "o\n.npz"], true),
    ];
    for (arguments, works) in rows {
        let mut command = Command::new(env!("CARGO_BIN_EXE_brolga"));
        let output = command.args(arguments).current_dir(at).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(output.status.success(), works, "{text}");
        let name = arguments.iter().find(|argument| argument.contains('\n')).unwrap();
        assert!(text.contains(&name.replace('\n', "\\n")) && !text.contains(name), "{text}");
    }
}

/// The tools: models by chapter and word, completions, the language, tests by files.
#[test]
fn tools() {
    let folder = folder();
    let at = folder.path();
    let all = good(at, "models");
    assert!(all.contains("\nBasics\n") && all.contains("\nConvolutional networks\n"), "{all}");
    let some = good(at, "models ResNet he");
    assert!(some.contains("resnet50") && !some.contains("lenet5") && !some.contains("Basics"), "{some}");
    assert!(good(at, "models language").contains("bert-tiny-encoder"));
    assert!(bad(at, "models nothing-of-the-kind").contains("`brolga models` lists all"));

    for shell in ["bash", "zsh", "fish"] {
        let script = good(at, &format!("completions {shell}"));
        assert!(script.contains("brolga") && script.contains("checkpoint-every"), "{shell}: {script}");
    }
    assert!(bad(at, "completions sh").contains("bash"));

    let schema: serde_json::Value = serde_json::from_str(&good(at, "language --json")).unwrap();
    for callable in brolga::frontend::language::layers() {
        let properties = &schema["$defs"][format!("Layer.{}", callable.name)]["anyOf"][0]["properties"];
        for argument in &callable.arguments {
            assert!(properties[argument.name].is_object(), "{} {}", callable.name, argument.name);
        }
    }
    assert_eq!(
        schema["x-functions"].as_object().unwrap().len(),
        brolga::frontend::language::functions().len()
    );

    std::fs::create_dir_all(at.join("tests/simplify")).unwrap();
    let file = at.join("tests/simplify/twice.ir");
    let graph =
        "graph @f(%x: f32[2]) {\n  %0 = neg %x : f32[2]\n  %1 = neg %0 : f32[2]\n  return %1 as \"y\"\n}\n";
    std::fs::write(&file, graph).unwrap();
    let errors = bad(at, "filetest tests");
    assert!(errors.contains("found\ngraph @f") && errors.contains("0 of 1 files passed"), "{errors}");
    assert!(good(at, "filetest tests --bless").contains("1 of 1 files passed"));
    assert!(good(at, "filetest tests/simplify").contains("1 of 1 files passed"));
    assert!(std::fs::read_to_string(&file).unwrap().contains("// ---- after simplify\n"));
    assert!(bad(at, "filetest points").contains("cannot test the files in `points`"));
    std::fs::create_dir(at.join("empty")).unwrap();
    assert!(bad(at, "filetest empty").contains("no file ending in .ir"));
}

/// `help` knows every command, and all have examples.
#[test]
fn help_is_a_command() {
    let folder = folder();
    let at = folder.path();
    let help = good(at, "help");
    assert!(help.contains("First steps:") && help.contains("filetest"), "{help}");
    let commands =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let mut count = 0;
    for name in commands.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help") {
        let help = good(at, &format!("help {name}"));
        assert!(help.contains("Example") && help.contains(&format!("brolga {name}")), "{help}");
        count += 1;
    }
    assert!(count >= 14, "{help}");
}

/// What differs from a checkpoint is told in the words of the command line.
#[test]
fn resuming_speaks_of_options() {
    let folder = folder();
    let at = folder.path();
    write_models(at);
    write_batch(&at.join("data.npz"), 40, false);
    let train = "train first.ron --data data.npz --batch 8 --checkpoint points --save w.safetensors";
    good(at, &format!("{train} --epochs 1"));
    let errors = bad(at, &format!("{train} --epochs 2 --resume --algorithms none"));
    assert!(errors.contains("algorithms: winograd,strassen there, none here"), "{errors}");
    let errors = bad(at, &format!("{train} --epochs 2 --resume --precision bf16"));
    assert!(errors.contains("precision: f32 there, bf16 here"), "{errors}");
}
