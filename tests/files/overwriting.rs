//! What is not overwritten: files of another kind than a command writes, and what it reads.

use std::path::Path;

use brolga::Tensor;
use brolga::runtime::{read_tensors, write_safetensors, write_tensors};

use super::{MIDDLE, write_batch, write_models};
use crate::cli::{bad, folder, good, run};

const GRAPH: &str = "graph @f(%x: f32[2, 5, 3]) {\n  %0 = tanh %x : f32[2, 5, 3]\n  return %0 as \"y\"\n}\n";
/// Every option that names a file to write: nothing of another kind is overwritten without `--force`, names that promise
/// another format are refused, and so are folders; with `--force`, or where the file is of the command's own kind, it is
/// written.
#[test]
fn nothing_else_is_overwritten() {
    let folder = folder();
    let at = folder.path();
    write_models(at);
    write_batch(&at.join("in.npz"), 5, true);
    write_batch(&at.join("data.npz"), 40, false);
    std::fs::write(at.join("f.ir"), GRAPH).unwrap();
    let cases = [
        ("train middle.ron --epochs 1 --batch 8 --data data.npz --save", "safetensors"),
        ("train middle.ron --epochs 1 --batch 8 --data data.npz --save w.safetensors --log", "csv"),
        ("step middle.ron --inputs in.npz --save", "safetensors"),
        ("step middle.ron --inputs in.npz --grads", "npz"),
        ("run middle.ron --inputs in.npz --outputs", "npz"),
        ("eval f.ir --inputs in.npz --outputs", "npz"),
        ("profile middle.ron --seconds 0 --trace", "json"),
        ("build middle.ron --emit obj -o", "o"),
        ("build middle.ron --emit container -o", "brolga"),
    ];
    for (command, ending) in cases {
        // Without an ending the name promises nothing; the content decides.
        for (name, content) in [("middle.ron", MIDDLE), ("notes", "to be kept\n")] {
            let errors = bad(at, &format!("{command} {name}"));
            assert!(errors.contains("--force") && errors.contains(name), "{command}: {errors}");
            assert!(!errors.contains("epoch"), "{command}: before the work\n{errors}");
            std::fs::write(at.join("notes"), "to be kept\n").unwrap();
            assert_eq!(std::fs::read_to_string(at.join(name)).unwrap(), content, "{command}");
        }
        let endings = ["csv", "png", "npz"];
        // Of samples there may be a table, too.
        let table = |other: &str| command.starts_with("run ") && other == "csv";
        for other in endings.into_iter().filter(|other| *other != ending && !table(other)) {
            let errors = bad(at, &format!("{command} new.{other}"));
            assert!(
                errors.contains("says") && errors.contains("let the name end in ."),
                "{command}: {errors}"
            );
            assert!(!at.join(format!("new.{other}")).exists());
        }
        std::fs::create_dir_all(at.join("sub")).unwrap();
        assert!(bad(at, &format!("{command} sub")).contains("it is a folder"), "{command}");
        assert!(bad(at, &format!("{command} no/such")).contains("there is no folder `no`"), "{command}");
        // Asked for, it is; a second time nobody needs to ask.
        good(at, &format!("{command} notes --force"));
        good(at, &format!("{command} notes"));
        let own = at.join("notes");
        let mut permissions = std::fs::metadata(&own).unwrap().permissions();
        permissions.set_readonly(true);
        std::fs::set_permissions(&own, permissions).unwrap();
        assert!(bad(at, &format!("{command} notes")).contains("read-only"), "{command}");
        std::fs::remove_file(&own).unwrap();
        let _ = std::fs::remove_file(at.join("notes.h"));
    }
    // What is read is no place for what is written, though both are arrays; nor are weights one for outputs.
    let before = std::fs::read(at.join("in.npz")).unwrap();
    for command in ["run middle.ron --inputs in.npz --outputs", "step middle.ron --inputs in.npz --grads"] {
        assert!(bad(at, &format!("{command} sub/../in.npz")).contains("which is what --inputs reads"));
        assert!(bad(at, &format!("{command} w.safetensors")).contains("which holds weights"));
    }
    assert_eq!(std::fs::read(at.join("in.npz")).unwrap(), before);
    let errors = bad(at, "step middle.ron --inputs in.npz --save same --grads same");
    assert!(errors.contains("--save and --grads both name `same`"), "{errors}");
}

/// What looks like a result, but is none, is not overwritten; a result is, a second time, in every format.
#[test]
fn only_results_are_replaced_unasked() {
    let folder = folder();
    let at = folder.path();
    write_models(at);
    write_table(at);
    write_batch(&at.join("in.npz"), 5, true);
    std::fs::write(at.join("f.ir"), GRAPH).unwrap();
    good(at, "train row.ron --epochs 1 --batch 4 --save row.st");
    let run = "run row.ron --weights row.st row.csv --outputs";
    let evaluate = "evaluate row.ron --weights row.st --predictions";
    let train = "train row.ron --epochs 1 --batch 4 --save other.st --log";
    let tables = [
        (run, "sample,temperature\n1,20.5\n"),
        (run, "sample,t\n1,20.5\n"),
        (run, "sample,t\nline 2,cold\n"),
        (run, "sample,t,mine\nline 2,1,2\n"),
        (run, "sample,true,t\nline 2,1,2\n"),
        (evaluate, "sample,true,label\n1,2,3\n"),
        (evaluate, "sample,t\nline 2,1\n"),
        (train, "kind,epoch,step\nflood,2,3\n"),
        (train, "kind,epoch,step,seconds\nflood,2,3,4\n"),
    ];
    for (command, text) in tables {
        std::fs::write(at.join("lab.csv"), text).unwrap();
        let errors = bad(at, &format!("{command} lab.csv"));
        assert!(errors.contains("--force"), "{command}: {text:?}: {errors}");
        assert_eq!(std::fs::read_to_string(at.join("lab.csv")).unwrap(), text, "{command}");
    }
    let profile = "profile middle.ron --seconds 0 --trace";
    std::fs::write(at.join("others.json"), "{\"traceEvents\":[]}").unwrap();
    assert!(bad(at, &format!("{profile} others.json")).contains("--force"));
    let arrays = [
        "run middle.ron --inputs in.npz --outputs",
        "step middle.ron --inputs in.npz --grads",
        "eval f.ir --inputs in.npz --outputs",
        run,
    ];
    for command in arrays {
        for name in ["data.npz", "data.npy", "data.safetensors"] {
            let some = Tensor::from_slice(&[3], &[1.0f32, 2.0, 3.0]).unwrap();
            write_tensors(at.join(name), &[("x", some.view())]).unwrap();
            let before = std::fs::read(at.join(name)).unwrap();
            let errors = bad(at, &format!("{command} {name}"));
            assert!(errors.contains("not the result of an earlier run"), "{command} {name}: {errors}");
            assert_eq!(std::fs::read(at.join(name)).unwrap(), before, "{command} {name}");
        }
    }
    for (command, name) in [
        (run, "a.csv"),
        (run, "a.npz"),
        (run, "a.npy"),
        (run, "a.safetensors"),
        (evaluate, "b.csv"),
        (train, "c.csv"),
        (profile, "d.json"),
        ("run middle.ron --inputs in.npz --outputs", "e.npz"),
        ("step middle.ron --inputs in.npz --grads", "f.npz"),
        ("eval f.ir --inputs in.npz --outputs", "g.npy"),
    ] {
        good(at, &format!("{command} {name}"));
        good(at, &format!("{command} {name}"));
    }
    // What is marked is read as ever.
    let one = read_tensors(at.join("a.npz")).unwrap();
    for name in ["a.npy", "a.safetensors"] {
        assert_eq!(read_tensors(at.join(name)).unwrap()[0].1.bytes(), one[0].1.bytes(), "{name}");
    }
}

/// Weights are replaced unasked where they are this model's, by name and shape, and were written here; and never by a command
/// that makes no update. Every option that writes weights has a row.
#[test]
fn only_weights_of_this_model_that_were_saved_here_are_replaced_unasked() {
    let folder = folder();
    let at = folder.path();
    write_models(at);
    std::fs::write(at.join("row.ron"), ROW).unwrap();
    std::fs::write(at.join("wide.ron"), MIDDLE.replace("features: 4", "features: 5")).unwrap();
    std::fs::write(at.join("row.csv"), "a,b,t\n1,2,3\n4,5,6\n7,8,9\n1,3,5\n2,4,6\n").unwrap();
    write_batch(&at.join("in.npz"), 5, true);
    write_batch(&at.join("data.npz"), 40, false);
    good(at, "train middle.ron --epochs 1 --batch 8 --data data.npz --save own.st");
    good(at, "train wide.ron --epochs 1 --batch 8 --data data.npz --save wide.st");
    good(at, "train row.ron --epochs 1 --batch 2 --save row.st");
    good(at, "train middle.ron --epochs 1 --batch 8 --data data.npz --save o.st --checkpoint points");
    // The same tensors, as PyTorch's users save them, and without any metadata.
    let tensors = read_tensors(at.join("own.st")).unwrap();
    let views: Vec<_> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.view())).collect();
    write_safetensors(at.join("torch.st"), &views, Some(("format", "pt"))).unwrap();
    write_safetensors(at.join("bare.st"), &views, None).unwrap();
    let point = std::fs::read_dir(at.join("points")).unwrap().map(|entry| entry.unwrap().path());
    let point = point.filter(|path| path.extension().is_some()).max().unwrap();
    std::fs::copy(point, at.join("point.st")).unwrap();
    let train = "train middle.ron --epochs 1 --batch 8 --data data.npz --save";
    let step = "step middle.ron --inputs in.npz --save";
    let call = "run middle.ron --entry train --inputs in.npz --outputs y.npz --save";
    let label = "run row.ron --entry train --weights row.st row.csv --outputs y.csv --save";
    let kept = |command: &str, name: &str, why: &str| {
        let before = std::fs::read(at.join(name)).unwrap();
        let errors = bad(at, &format!("{command} {name}"));
        assert!(errors.contains(why) && errors.contains("give --force"), "{command} {name}: {errors}");
        assert!(!errors.contains("epoch "), "before the work: {errors}");
        assert_eq!(std::fs::read(at.join(name)).unwrap(), before, "{command} {name}");
    };
    let foreign = "does not hold the weights of this model as an earlier run has saved them";
    let unmarked = "other programs write none, nor did earlier versions (what is saved from now on has it)";
    for command in [train, step, call] {
        for name in ["wide.st", "row.st", "point.st"] {
            kept(command, name, foreign);
        }
        // As earlier versions saved them, too.
        for name in ["torch.st", "bare.st"] {
            kept(command, name, unmarked);
        }
        // Weights by weights or by a whole state, and that by weights.
        for _ in 0..2 {
            good(at, &format!("{command} own.st"));
        }
        std::fs::copy(at.join("torch.st"), at.join("asked.st")).unwrap();
        good(at, &format!("{command} asked.st --force"));
    }
    kept(label, "own.st", foreign);
    // The name by default.
    std::fs::copy(at.join("torch.st"), at.join("middle.safetensors")).unwrap();
    kept("train middle.ron --epochs 1 --batch 8 --data data.npz --save", "middle.safetensors", unmarked);
    let errors = bad(at, "train middle.ron --epochs 1 --batch 8 --data data.npz");
    assert!(errors.contains(unmarked), "{errors}");

    for (command, why) in [
        ("train middle.ron --epochs 0 --batch 8 --data data.npz --save", "--epochs 0 trains nothing"),
        ("step middle.ron --inputs in.npz --steps 0 --save", "--steps 0 trains nothing"),
        ("run middle.ron --inputs in.npz --outputs y.npz --save", "the entry point updates nothing"),
        ("run row.ron row.csv --save", "the entry point updates nothing"),
    ] {
        kept(command, "own.st", why);
        good(at, &format!("{command} new.st"));
        good(at, &format!("{command} own.st --force"));
        std::fs::remove_file(at.join("new.st")).unwrap();
    }
    let notes = run(at, "train middle.ron --epochs 0 --batch 8 --data data.npz --save new.st").stderr;
    let notes = String::from_utf8(notes).unwrap();
    assert!(notes.contains("nothing was trained: the weights are saved as they began"), "{notes}");
}

/// Weights that are there are kept where a run does not come to its end; so are objects without a header of ours.
#[test]
fn less_than_a_whole_run_replaces_nothing() {
    let folder = folder();
    let at = folder.path();
    write_models(at);
    write_batch(&at.join("data.npz"), 40, false);
    let train = "train middle.ron --data data.npz --batch 8 --save good.st";
    good(at, &format!("{train} --epochs 2"));
    let before = std::fs::read(at.join("good.st")).unwrap();
    // Its first update leaves the range of f32.
    let far = MIDDLE.replace("\"cross_entropy", "\"1e38 * cross_entropy").replace("lr: 0.1", "lr: 1e30");
    std::fs::write(at.join("middle.ron"), far).unwrap();
    // A run that diverges has its table of results all the same.
    let diverged = |arguments: &str| {
        let output = run(at, arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let errors = diverged(&format!("{train} --epochs 2"));
    assert!(errors.contains("`good.st` is kept, since the run diverged"), "{errors}");
    assert!(errors.contains("good-unfinished.safetensors"), "{errors}");
    assert_eq!(std::fs::read(at.join("good.st")).unwrap(), before);
    assert!(at.join("good-unfinished.safetensors").is_file());
    diverged(&format!("{train} --epochs 2 --force"));
    assert_ne!(std::fs::read(at.join("good.st")).unwrap(), before);

    good(at, "build first.ron -o first.o");
    good(at, "build first.ron -o first.o");
    std::fs::remove_file(at.join("first.h")).unwrap();
    assert!(bad(at, "build first.ron -o first.o").contains("no header of ours beside it"));
    std::fs::remove_file(at.join("first.o")).unwrap();
    std::fs::copy("/bin/sh", at.join("program")).unwrap();
    assert!(bad(at, "build first.ron --emit obj -o program").contains("no header of ours beside it"));
    // Of programs, those that carry a model are replaced.
    assert!(bad(at, "build first.ron -o program").contains("which is an object file"));
    let library = "build first.ron --emit lib -o libfirst.a";
    good(at, library);
    good(at, library);
    std::fs::write(at.join("first.pc"), "Name: mine\n").unwrap();
    assert!(bad(at, library).contains("first.pc"));
    std::fs::remove_file(at.join("first.pc")).unwrap();
    std::fs::remove_file(at.join("first.h")).unwrap();
    assert!(bad(at, library).contains("no header of ours beside it"));
}

/// A name that is too long, a pipe and a socket are refused before the work, by every option that writes a file.
#[cfg(unix)]
#[test]
fn what_cannot_be_written_to_is_refused_before_the_work() {
    let folder = folder();
    let at = folder.path();
    write_models(at);
    write_table(at);
    write_batch(&at.join("in.npz"), 5, true);
    std::fs::write(at.join("f.ir"), GRAPH).unwrap();
    good(at, "train row.ron --epochs 1 --batch 4 --save row.st");
    let names = ["pipe", "pipe.csv"].map(|name| at.join(name));
    assert!(std::process::Command::new("mkfifo").args(names).status().unwrap().success());
    let _bound =
        ["socket", "socket.csv"].map(|name| std::os::unix::net::UnixListener::bind(at.join(name)).unwrap());
    let long = "a".repeat(300);
    let commands = [
        ("train", "--save", "train row.ron --epochs 1 --batch 4"),
        ("train", "--log", "train row.ron --epochs 1 --batch 4 --save w.st"),
        ("train", "--checkpoint", "train row.ron --epochs 1 --batch 4 --save w.st"),
        ("run", "--outputs", "run row.ron --weights row.st row.csv"),
        ("run", "--save", "run row.ron --weights row.st row.csv --outputs o.csv"),
        ("evaluate", "--predictions", "evaluate row.ron --weights row.st"),
        ("step", "--save", "step middle.ron --inputs in.npz"),
        ("step", "--grads", "step middle.ron --inputs in.npz"),
        ("profile", "--trace", "profile middle.ron --seconds 0"),
        ("eval", "--outputs", "eval f.ir --inputs in.npz"),
        ("build", "--output", "build middle.ron"),
        ("build", "--mapped", "build row.ron --weights row.st -o row.o"),
    ];
    for (command, options) in WRITTEN {
        for option in options.split(' ') {
            let row = commands.iter().any(|row| (row.0, row.1) == (*command, option));
            assert!(row, "`{command} {option}` needs a row");
        }
    }
    // Standard output is no place for arrays, nor for what else is written.
    let folders = ["--checkpoint", "--predictions"];
    for (_, option, command) in commands.iter().filter(|row| !folders.contains(&row.1)) {
        let errors = bad(at, &format!("{command} {option} - --force"));
        assert!(errors.contains("takes a file, and `-` is none"), "{command} {option}: {errors}");
    }
    for (_, option, command) in commands {
        for name in ["pipe", "socket", &*long] {
            for force in ["", " --force"] {
                // Predictions have names that say so.
                let ending = if option == "--predictions" { ".csv" } else { "" };
                let errors = bad(at, &format!("{command} {option} {name}{ending}{force}"));
                let why = match (name, option) {
                    ("pipe" | "socket", "--checkpoint") => "is no folder",
                    ("pipe" | "socket", _) => "neither a file nor a device",
                    _ => "too long",
                };
                assert!(errors.contains(why), "{command} {option} {name}: {errors}");
                assert!(!errors.contains("epoch"), "before the work: {errors}");
            }
        }
    }
}

/// How a command is called so that it reads a file by an option, and the options by which it would write over that file.
const READ_AND_WRITTEN: &[(&str, &str, &str, &str)] = &[
    ("train", "--data", "train first.ron --epochs 1 --batch 8 --data READ", "--save --log"),
    (
        "train",
        "--weights",
        "train first.ron --epochs 1 --batch 8 --data data.npz --weights READ",
        "--save --log",
    ),
    ("run", "PATH", "run row.ron READ", "--outputs --save"),
    ("run", "--inputs", "run middle.ron --inputs READ", "--outputs"),
    ("run", "--weights", "run middle.ron --inputs in.npz --weights READ", "--outputs"),
    ("evaluate", "--data", "evaluate row.ron --weights row.st --data READ", "--predictions"),
    ("evaluate", "--weights", "evaluate row.ron --data row.csv --weights READ", "--predictions"),
    ("step", "--inputs", "step middle.ron --inputs READ", "--save --grads"),
    ("step", "--weights", "step middle.ron --inputs in.npz --weights READ", "--save --grads"),
    ("eval", "--inputs", "eval f.ir --inputs READ", "--outputs"),
    ("eval", "FILE", "eval READ --inputs in.npz", "--outputs"),
    ("bench", "--tune", "", ""),
    ("train", "--tune", "train first.ron --epochs 1 --batch 8 --data data.npz --tune=READ", "--save --log"),
    ("run", "--tune", "run middle.ron --inputs in.npz --tune=READ", "--outputs"),
    ("evaluate", "--tune", "evaluate row.ron --data row.csv --weights row.st --tune=READ", "--predictions"),
    ("step", "--tune", "step middle.ron --inputs in.npz --tune=READ", "--save --grads"),
    ("profile", "--tune", "profile middle.ron --seconds 0 --tune=READ", "--trace"),
    ("build", "--tune", "build middle.ron --tune=READ", "-o"),
    ("train", "MODEL", "train ./READ --epochs 1 --batch 8 --data data.npz", "--save --log"),
    ("run", "MODEL", "run ./READ --inputs in.npz", "--outputs"),
    ("run", "MODEL", "run ./READ --inputs in.npz --outputs y.npz", "--save"),
    ("evaluate", "MODEL", "evaluate ./READ --data row.csv --weights row.st", "--predictions"),
    ("step", "MODEL", "step ./READ --inputs in.npz", "--save --grads"),
    ("profile", "MODEL", "profile ./READ --seconds 0", "--trace"),
    ("build", "MODEL", "build ./READ", "-o"),
    ("build", "--weights", "build row.ron --weights READ", "-o"),
    ("build", "--weights", "build row.ron --weights READ -o row.o", "--mapped"),
    ("build", "--launcher", "build row.ron --emit exe --launcher READ", "-o"),
    // These write to standard output alone, or into the files that they are about.
    ("check", "MODEL", "", ""),
    ("dump", "MODEL", "", ""),
    ("bench", "MODEL", "", ""),
    ("opt", "FILE", "", ""),
    ("filetest", "FOLDER", "", ""),
];

/// Options that say where a command writes.
const WRITTEN: &[(&str, &str)] = &[
    ("train", "--save --log --checkpoint"),
    ("run", "--outputs --save"),
    ("evaluate", "--predictions"),
    ("step", "--save --grads"),
    ("profile", "--trace"),
    ("eval", "--outputs"),
    ("build", "--output --mapped"),
];

/// A file of a command's own, which it reads and writes; it refuses others (`tests/catalogue.rs`).
const KEPT: (&str, &str) = ("catalogue", "--results");

/// What the help of a command calls the values of its arguments that are no paths; all others are.
const NO_PATHS: [&str; 22] = [
    "A,B",
    "COLUMN",
    "CPU",
    "E",
    "F",
    "FILTER",
    "FROM:TO",
    "KIND",
    "M",
    "N",
    "NAME",
    "NAME=NUMBERS",
    "NAME=SIZE",
    "NAME=VALUE",
    "S",
    "SHELL",
    "STEPS",
    "T",
    "TRIPLE",
    "f32|f64|bf16|bf16-native",
    "true|false",
    "winograd,strassen|none",
];

/// The model [`ROW`], and a table for it of twenty rows.
fn write_table(at: &Path) {
    std::fs::write(at.join("row.ron"), ROW).unwrap();
    let rows: String = (0..20).map(|i| format!("{i},{},{}\n", i % 3, i % 5)).collect();
    std::fs::write(at.join("row.csv"), format!("a,b,t\n{rows}")).unwrap();
}

/// A model of one row of a table.
const ROW: &str = "Model(
    data: Data(set: \"row.csv\", target: \"t\"),
    inputs: { \"x\": \"f32[batch, 2]\", \"t\": \"f32[batch]\" },
    body: [Linear(1), Expr(\"it[:, 0]\")],
    entries: {
        \"infer\": Infer(outputs: { \"t\": \"it\" }),
        \"train\": Train(loss: \"mse(it, t)\", optimizer: Sgd(lr: 0.01)),
    },
)";

/// The arguments of a command that take a value, as its help shows them, with what it calls the value: `--save` and `FILE`, or
/// `PATH` twice of one without a name.
fn arguments(help: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for line in help.lines().map(str::trim_start).filter(|line| line.starts_with(['-', '[', '<'])) {
        let mut words = line.split_whitespace().peekable();
        let (mut name, mut value) = (None, None);
        while let Some(word) = words.next_if(|word| word.starts_with('-')) {
            let word = word.trim_end_matches(',');
            let end = word.find(['=', '[']).unwrap_or(word.len());
            name = Some(word[..end].to_owned());
            value = Some(&word[end..]).filter(|value| !value.is_empty());
        }
        let is_value = |word: &str| word.starts_with(['<', '[']) && word.ends_with(['>', ']']);
        let next = words.next().map(|word| word.trim_end_matches("...")).filter(|word| is_value(word));
        if let Some(value) = value.or(next) {
            let value = value.trim_matches(['=', '[', ']', '<', '>']).to_owned();
            found.push((name.unwrap_or_else(|| value.clone()), value));
        }
    }
    found
}

/// The arguments of a command that are paths.
fn path_arguments(at: &Path, command: &str) -> Vec<String> {
    let all = arguments(&good(at, &format!("help {command}")));
    all.into_iter().filter(|(_, value)| !NO_PATHS.contains(&value.as_str())).map(|(name, _)| name).collect()
}

/// A path is one whatever the help calls it.
#[test]
fn arguments_are_found_in_help() {
    let help = "Usage: x [OPTIONS] <MODEL>\n\nArguments:\n  <MODEL>  A model\n  [PATH]...  Some\n\nOptions:\n      --new <FILE.npz>\n          \
                Text <of>, or\n          [default: 1]\n      --tune[=<FILE>]\n      --json\n  -o, --output <OUT>\n  -h, --help  Print help\n";
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let expected = [
        pair("MODEL", "MODEL"),
        pair("PATH", "PATH"),
        pair("--new", "FILE.npz"),
        pair("--tune", "FILE"),
        pair("--output", "OUT"),
    ];
    assert_eq!(arguments(help), expected);
}

/// Whatever a command reads, by whatever option, it does not write over; the rows are the arguments of all commands that
/// are paths, as their help tells them.
#[test]
fn nothing_that_is_read_is_overwritten() {
    let folder = folder();
    let at = folder.path();
    let help = good(at, "help");
    let commands =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands = commands.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    for command in commands {
        for argument in path_arguments(at, command) {
            let read = READ_AND_WRITTEN.iter().any(|row| (row.0, row.1) == (command, &*argument));
            let written =
                WRITTEN.iter().any(|row| row.0 == command && row.1.split(' ').any(|o| o == argument));
            if (command, &*argument) == KEPT {
                continue;
            }
            assert!(read != written, "`{command} {argument}` needs a row, among those read or those written");
        }
    }
    for command in ["train", "run", "evaluate"] {
        assert!(path_arguments(at, command).len() > 2, "{:?}", path_arguments(at, command));
    }
    write_models(at);
    write_table(at);
    write_batch(&at.join("in.npz"), 5, true);
    write_batch(&at.join("data.npz"), 40, false);
    std::fs::write(at.join("f.ir"), GRAPH).unwrap();
    good(at, "train row.ron --epochs 1 --batch 4 --save row.st");
    std::fs::copy(at.join("row.st"), at.join("row.st.csv")).unwrap();
    good(at, "step middle.ron --inputs in.npz --save middle.st");
    std::fs::write(at.join("plain"), MIDDLE).unwrap();
    std::fs::write(at.join("plain.csv"), ROW).unwrap();
    for &(_, option, command, writing) in READ_AND_WRITTEN {
        let kept = match (option, command.split(' ').nth(1).unwrap_or("")) {
            ("--data" | "--inputs", "first.ron") => "data.npz",
            ("--data" | "PATH", _) => "row.csv",
            // Predictions have names that say so.
            ("--weights", "row.ron") => "row.st.csv",
            ("--tune", "row.ron") => "tuned.csv",
            ("--weights", _) => "middle.st",
            // Of a name that promises nothing, and for predictions of one that they may have.
            ("MODEL", _) if command.starts_with("evaluate") => "plain.csv",
            ("MODEL", _) => "plain",
            ("FILE", _) => "f.ir",
            ("--tune", _) => "tuned",
            _ => "in.npz",
        };
        std::fs::write(at.join("tuned"), "").unwrap();
        std::fs::write(at.join("tuned.csv"), "").unwrap();
        let before = std::fs::read(at.join(kept)).unwrap();
        for writing in writing.split(' ').filter(|writing| !writing.is_empty()) {
            let line = format!("{} {writing} ./{kept}", command.replace("READ", kept));
            let errors = bad(at, &line);
            // A name that promises another format is refused for that.
            let told = errors.contains(" says ") || errors.contains(&format!("which is what {option} reads"));
            assert!(told && errors.contains("--force") && errors.contains(kept), "{line}: {errors}");
            assert_eq!(std::fs::read(at.join(kept)).unwrap(), before, "{line}");
        }
    }
}

/// What the model names is read as well: its data set; so are checkpoints. Tables that nobody knows are not overwritten.
#[test]
fn data_sets_and_checkpoints_are_not_overwritten() {
    let folder = folder();
    let at = folder.path();
    write_models(at);
    write_batch(&at.join("first.safetensors"), 40, false);
    let data = std::fs::read(at.join("first.safetensors")).unwrap();
    // The name that weights have by default.
    let errors = bad(at, "train first.ron --data first.safetensors --epochs 1 --batch 8");
    assert!(
        errors.contains("--save would overwrite `first.safetensors`, which is what --data reads"),
        "{errors}"
    );
    assert_eq!(std::fs::read(at.join("first.safetensors")).unwrap(), data);

    write_table(at);
    std::fs::write(at.join("mine.csv"), "a,b\n1,2\n").unwrap();
    good(at, "train row.ron --epochs 1 --batch 4 --checkpoint points");
    for (command, target) in [
        ("evaluate row.ron --weights row.safetensors --predictions", "row.csv"),
        ("evaluate row.ron --weights row.safetensors --predictions", "mine.csv"),
        ("run row.ron --weights row.safetensors row.csv --outputs", "mine.csv"),
        ("train row.ron --epochs 1 --batch 4 --log", "row.csv"),
        (
            "train row.ron --epochs 2 --batch 4 --checkpoint points --resume --save",
            "points/step-4.safetensors",
        ),
    ] {
        let before = std::fs::read(at.join(target)).unwrap();
        let errors = bad(at, &format!("{command} {target}"));
        assert!(errors.contains("would overwrite") && errors.contains("--force"), "{command}: {errors}");
        assert!(!errors.contains("training row"), "before the work: {errors}");
        assert_eq!(std::fs::read(at.join(target)).unwrap(), before);
    }
    // Predictions of an earlier time are.
    for _ in 0..2 {
        good(at, "evaluate row.ron --weights row.safetensors --predictions p.csv");
        good(at, "run row.ron --weights row.safetensors row.csv --outputs o.csv");
    }
    good(at, "evaluate row.ron --weights row.safetensors --predictions mine.csv --force");
    // Checkpoints among the data would be data.
    std::fs::create_dir(at.join("pictures")).unwrap();
    std::fs::write(at.join("pictures/a.txt"), "").unwrap();
    let errors = bad(at, "train row.ron --data pictures --checkpoint pictures");
    assert!(errors.contains("among what --data reads"), "{errors}");
    assert!(bad(at, "train row.ron --checkpoint row.csv").contains("`row.csv` is no folder"));
}
