//! Paths that lead to no regular file: devices and pipes, which may never end, and folders.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const MODEL: &str = r#"Model(
    inputs: { "x": "f32[batch, 4]", "label": "i32[batch]" },
    body: [Linear(name: "fc", features: 3), As("logits")],
    entries: {
        "infer": Infer(outputs: { "y": "softmax(logits)" }),
        "train": Train(loss: "cross_entropy(logits, label)", optimizer: Sgd(lr: 0.1)),
    },
)
"#;

/// What the command says of those arguments, which must be an error at once.
fn refused(folder: &Path, arguments: &[&str]) -> String {
    let start = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_brolga"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(folder.join("err")).expect("a file"))
        .spawn()
        .expect("the command runs");
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        if start.elapsed() > Duration::from_secs(60) {
            child.kill().expect("a child");
            panic!("it does not end: {arguments:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let text = std::fs::read_to_string(folder.join("err")).expect("a file");
    assert_eq!(status.code(), Some(1), "{arguments:?}: {text}");
    text
}

#[test]
fn only_regular_files_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("net.ron"), MODEL).expect("a file");
    std::fs::create_dir(at("folder.npz")).expect("a folder");
    std::fs::create_dir(at("folder.ron")).expect("a folder");
    for pipe in ["pipe", "pipe.npz", "pipe.ron"] {
        assert!(Command::new("mkfifo").arg(at(pipe)).status().expect("mkfifo runs").success());
    }
    for source in ["/dev/zero", "pipe.ron", "folder.ron"] {
        let import = MODEL.replace("body: [", &format!("body: [Import(model: \"{source}\"), "));
        std::fs::write(at("import.ron"), import).expect("a file");
        let said = refused(folder.path(), &["check", "import.ron"]);
        assert!(said.contains("a device or a pipe") || said.contains("a folder"), "{source}: {said}");
    }
    for source in ["/dev/zero", "/dev/stdin", "pipe", "pipe.npz", "folder.npz"] {
        for arguments in [
            vec!["train", "net.ron", "--data", source],
            vec!["run", "net.ron", "--inputs", source, "--outputs", "y.npz"],
            vec!["step", "net.ron", "--inputs", source],
            vec!["train", "net.ron", "--data", "folder.npz", "--weights", source],
            vec!["step", "net.ron", "--inputs", "folder.npz", "--weights", source],
            vec!["opt", "--passes", "fuse", source],
        ] {
            refused(folder.path(), &arguments);
        }
    }
    for source in ["/dev/zero", "pipe.ron", "folder.ron"] {
        let said = refused(folder.path(), &["check", &format!("./{source}").replace(".//", "/")]);
        assert!(
            said.contains("a device or a pipe") || said.contains("a folder") || said.contains("no model"),
            "{said}"
        );
    }
}
