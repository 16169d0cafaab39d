//! Standard output and standard error that are closed, full, or have no reader: no subcommand panics, and none loses what
//! it computes.

#![cfg(all(feature = "cli", target_os = "linux"))]

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use brolga::Tensor;
use brolga::runtime::{DType, write_tensors};

/// What a stream leads to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Leads {
    /// To the test, which reads it.
    Read,
    /// Nowhere: it is closed.
    Closed,
    /// To a device that is full.
    Full,
    /// To a pipe whose reader has gone.
    Gone,
}

impl Leads {
    fn stdio(self) -> Stdio {
        match self {
            // Closed by the shell.
            Leads::Read | Leads::Closed => Stdio::piped(),
            Leads::Full => File::options().write(true).open("/dev/full").unwrap().into(),
            Leads::Gone => {
                let (reader, writer) = std::io::pipe().unwrap();
                drop(reader);
                writer.into()
            }
        }
    }
}

/// Runs the command with these streams, from a closed standard input.
fn run(folder: &Path, arguments: &str, out: Leads, err: Leads) -> Output {
    let close = |stream, leads| if leads == Leads::Closed { stream } else { "" };
    let script = format!("exec \"$@\" <&- {} {}", close("1>&-", out), close("2>&-", err));
    let mut shell = Command::new("sh");
    shell.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_brolga")]).args(arguments.split_whitespace());
    shell.current_dir(folder).env("NO_COLOR", "1").env("RUST_BACKTRACE", "0");
    shell.stdout(out.stdio()).stderr(err.stdio()).output().unwrap()
}

/// For each subcommand its arguments, and the files that it must leave.
const COMMANDS: [(&str, &str, &[&str]); 17] = [
    ("models", "lenet5", &[]),
    ("catalogue", "", &[]),
    ("check", "tiny.ron", &[]),
    ("train", "tiny.ron --epochs 2 --checkpoint points --save w.st --log log.csv", &["w.st", "log.csv"]),
    ("run", "tiny.ron --inputs batch.npz --outputs out.npz", &["out.npz"]),
    ("evaluate", "tiny.ron --weights weights.st --predictions p.csv", &["p.csv"]),
    ("step", "tiny.ron --inputs batch.npz --steps 2 --save s.st --grads g.st", &["s.st", "g.st"]),
    ("bench", "tiny.ron --seconds 0", &[]),
    ("profile", "tiny.ron --seconds 0 --threads 1 --trace trace.json", &["trace.json"]),
    ("dump", "tiny.ron --stage program", &[]),
    ("opt", "--passes dce --time --print-after tiny.ir", &[]),
    ("eval", "double.ir --inputs x.npz --outputs y.npz", &["y.npz"]),
    ("build", "tiny.ron -o tiny.o", &["tiny.o", "tiny.h"]),
    ("filetest", "dce", &[]),
    ("language", "--json", &[]),
    ("completions", "bash", &[]),
    ("help", "train", &[]),
];

const MODEL: &str = "Model(
    data: \"digits\",
    inputs: { \"image\": \"f32[batch, 64]\", \"label\": \"i32[batch]\" },
    body: [Linear(10), As(\"logits\")],
    entries: {
        \"infer\": Infer(outputs: { \"probability\": \"softmax(logits)\" }),
        \"train\": Train(loss: \"cross_entropy(logits, label)\", optimizer: Sgd(lr: 0.1)),
    },
)";

/// The subcommands, as the help lists them.
fn subcommands(folder: &Path) -> Vec<String> {
    let help = run(folder, "--help", Leads::Read, Leads::Read).stdout;
    let help = String::from_utf8(help).unwrap();
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    lines
        .take_while(|l| !l.is_empty())
        .filter_map(|l| l.split_whitespace().next())
        .map(String::from)
        .collect()
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("tiny.ron"), MODEL).unwrap();
    let (image, label) = (Tensor::zeros(DType::F32, &[4, 64]), Tensor::zeros(DType::I32, &[4]));
    let (image, label) = (image.unwrap(), label.unwrap());
    write_tensors(at.join("batch.npz"), &[("image", image.view()), ("label", label.view())]).unwrap();
    let double = "graph @double(%x: f32[4]) {\n  %0 = add %x, %x : f32[4]\n  return %0 as \"y\"\n}\n";
    std::fs::write(at.join("double.ir"), double).unwrap();
    std::fs::create_dir(at.join("dce")).unwrap();
    std::fs::write(at.join("dce/double.ir"), format!("{double}\n// ---- after dce\n// unchanged\n")).unwrap();
    let step = run(at, "step tiny.ron --inputs batch.npz --save weights.st", Leads::Read, Leads::Read);
    assert!(step.status.success(), "{step:?}");
    let x = Tensor::zeros(DType::F32, &[4]).unwrap();
    write_tensors(at.join("x.npz"), &[("x", x.view())]).unwrap();
    let graph = run(at, "dump tiny.ron --stage graph", Leads::Read, Leads::Read).stdout;
    std::fs::write(at.join("tiny.ir"), graph).unwrap();
    folder
}

#[test]
fn no_subcommand_depends_on_who_listens() {
    let folder = folder();
    let at = folder.path();
    let names = subcommands(at);
    assert_eq!(names, COMMANDS.map(|(name, _, _)| name), "every subcommand has a row");
    use Leads::*;
    // Each stream in each way, with the other in another.
    let ways = [(Full, Read), (Closed, Full), (Gone, Closed), (Read, Gone), (Full, Full)];
    for (name, arguments, files) in COMMANDS {
        for (out, err) in ways {
            let _ = std::fs::remove_dir_all(at.join("points"));
            let output = run(at, &format!("{name} {arguments}"), out, err);
            let text = String::from_utf8_lossy(&output.stderr);
            let place = format!("brolga {name} with {out:?} and {err:?}: {}\n{text}", output.status);
            assert!(!text.contains("panicked"), "{place}");
            // Results that cannot be written are told; a reader that has gone does not want them.
            let code = if out == Full { 1 } else { 0 };
            assert_eq!(output.status.code(), Some(code), "{place}");
            if (out, err) == (Full, Read) {
                assert!(text.contains("cannot write to standard output: No space left"), "{place}");
            }
            if (out, err) == (Read, Gone) {
                assert!(!output.stdout.is_empty(), "{place}");
            }
            for file in files {
                std::fs::remove_file(at.join(file)).unwrap_or_else(|e| panic!("{place}{file}: {e}"));
            }
        }
    }
}

/// Help, mistakes in arguments, and errors are told the same way.
#[test]
fn mistakes_and_help_do_not_panic() {
    let folder = tempfile::tempdir().unwrap();
    use Leads::*;
    let full =
        [("--help", 1), ("--version", 1), ("train --help", 1), ("chekc lenet5", 2), ("check none.ron", 1)];
    for (arguments, code) in full {
        for err in [Full, Closed, Gone] {
            let output = run(folder.path(), arguments, Full, err);
            assert_eq!(output.status.code(), Some(code), "brolga {arguments} with {err:?}");
        }
    }
    for arguments in ["--help", "--version"] {
        assert_eq!(run(folder.path(), arguments, Gone, Read).status.code(), Some(0), "{arguments}");
    }
    // Nothing can be read from a standard input that is closed.
    let output = run(folder.path(), "opt --passes dce -", Read, Read);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}
