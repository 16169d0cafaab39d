//! Models in C programs: built, trained, saved and loaded by commands and by C alike, to the same bits.

#![cfg(all(feature = "cli", unix))]

use std::path::Path;
use std::process::Command;

use brolga::runtime::{Instance, Purpose, Random, read_tensors, write_tensors};
use brolga::{Model, Settings, Tensor, Threads};

#[cfg(target_os = "linux")]
use crate::cli::{bad, run};
use crate::cli::{folder, good};

/// Chance, running statistics, and an optimiser whose memory does not begin with zeros.
const MODEL: &str = "Model(
    inputs: { \"x\": \"f32[batch, 12]\", \"label\": \"i32[batch]\" },
    body: [
        Linear(name: \"first\", features: 16), BatchNorm(name: \"norm\"), Relu, Dropout(0.5),
        Linear(name: \"last\", features: 4), As(\"logits\"),
    ],
    entries: {
        \"infer\": Infer(outputs: { \"probability\": \"softmax(logits)\" }),
        \"train\": Train(loss: \"cross_entropy(logits, label)\", optimizer: NAdam(lr: 0.01)),
    },
)";

/// Makes so many updates of a state that is drawn, or comes from a file, and writes the state.
const TRAIN: &str = r#"
#include "net.h"
#include <stdio.h>
#include <stdlib.h>
static unsigned char state[NET_STATE_BYTES], scratch[NET_SCRATCH_BYTES], file[NET_FILE_BYTES];
static float x[NET_TRAIN_STEP_INPUT_X_ELEMENTS];
static int32_t label[NET_TRAIN_STEP_INPUT_LABEL_ELEMENTS];
static int get(const char *name, void *to, size_t bytes) {
    FILE *from = fopen(name, "rb");
    size_t got = from == NULL ? 0 : fread(to, 1, bytes, from);
    if (from != NULL) fclose(from);
    return got == bytes;
}
int main(int count, char **words) {
    net model;
    net_setup(&model, state, scratch);
    if (count < 2 || !get("x", x, sizeof x) || !get("label", label, sizeof label)) return 1;
    if (count == 2 && net_init(&model, 7) != 0) return 2;
    if (count > 2 && !get(words[2], file, sizeof file)) return 3;
    if (count > 2 && net_load_state(&model, file, sizeof file) != 0) return 4;
    for (int left = atoi(words[1]); left > 0; left--) {
        if (net_train_step(&model, x, label, NULL) != 0) return 5;
    }
    label[2] = 4;
    if (net_train_step(&model, x, label, NULL) <= 0) return 6;
    net_save_state(&model, file);
    fwrite(file, 1, sizeof file, stdout);
    return 0;
}
"#;

/// The answer for one sample.
const INFER: &str = r#"
#include "net.h"
#include <stdio.h>
static unsigned char scratch[NET_SCRATCH_BYTES];
int main(void) {
    static float x[NET_INFER_INPUT_X_BYTES / 4], probability[NET_INFER_OUTPUT_PROBABILITY_BYTES / 4];
    net model;
    net_setup(&model, NULL, scratch);
    if (fread(x, 1, sizeof x, stdin) != sizeof x || net_infer(&model, x, probability) != 0) return 1;
    fwrite(probability, 1, sizeof probability, stdout);
    return 0;
}
"#;

/// A loop that goes on from call to call.
const STREAM: &str = "Model(
    inputs: { \"x\": \"f32[1, 2, 3]\" },
    body: [Scan(name: \"rnn\", body: [
        Carry(name: \"h\", start: \"full([1, 5], 0.5)\", kept: true),
        Add([[Linear(name: \"ih\", features: 5)], [Expr(\"prev.h\"), Linear(name: \"hh\", features: 5)]]), Tanh, As(\"h\"),
    ])],
    entries: { \"infer\": Infer(outputs: { \"h\": \"it\" }) },
)";

/// Three calls, each with the next two steps; then the first one anew.
const GOES_ON: &str = r#"
#include "net.h"
#include <stdio.h>
static unsigned char state[NET_STATE_BYTES], scratch[NET_SCRATCH_BYTES];
int main(void) {
    static float x[3][NET_INFER_STEP_INPUT_X_BYTES / 4], h[NET_INFER_STEP_OUTPUT_H_BYTES / 4];
    net model;
    net_setup(&model, state, scratch);
    if (fread(x, 1, sizeof x, stdin) != sizeof x || net_init(&model, 7) != 0) return 1;
    for (int call = 0; call < 4; call++) {
        if (call == 3) net_begin_anew(&model);
        if (net_infer_step(&model, x[call % 3], h) != 0) return 2;
        fwrite(h, 1, sizeof h, stdout);
    }
    return 0;
}
"#;

/// A batch for the commands, and the same for C: `batch.npz`, `x` and `label`.
fn write_batch(at: &Path, batch: usize) {
    let mut random = Random::new(5, Purpose::Augment, 0, 0);
    let x: Vec<f32> = (0..batch * 12).map(|_| random.uniform() * 2.0 - 1.0).collect();
    let label: Vec<i32> = (0..batch).map(|_| random.below(4) as i32).collect();
    let x = Tensor::from_slice(&[batch, 12], &x).unwrap();
    let label = Tensor::from_slice(&[batch], &label).unwrap();
    write_tensors(at.join("batch.npz"), &[("x", x.view()), ("label", label.view())]).unwrap();
    std::fs::write(at.join("x"), x.bytes()).unwrap();
    std::fs::write(at.join("label"), label.bytes()).unwrap();
}

/// Compiles a program by a line for the shell, behind the compiler and its warnings.
fn compile(at: &Path, main: &str, line: &str) {
    std::fs::write(at.join("main.c"), main).unwrap();
    shell(at, &format!("cc -std=c99 -Wall -Wextra -Wpedantic -Werror main.c {line} -o main"));
}

/// What the C compiler takes for programs that watch what they read and write.
pub const SANITIZERS: &str = "-g -fsanitize=address,undefined -fno-sanitize-recover=all";

/// What stands before a program that Valgrind watches.
pub const VALGRIND: &str = "valgrind --quiet --error-exitcode=9 --leak-check=full ";

/// What the command is told for programs that Valgrind watches, which does not know AVX-512.
pub fn for_valgrind() -> &'static str {
    if cfg!(target_arch = "x86_64") { "--target-cpu x86-64-v3" } else { "--target-cpu portable" }
}

/// Whether a tool is there; says so where it is not.
pub fn has(line: &str) -> bool {
    let there = Command::new("sh").args(["-c", line]).output().is_ok_and(|output| output.status.success());
    if !there {
        println!("skipped: not here: {line}");
    }
    there
}

/// What a line for the shell prints, which must succeed and may call the command.
pub fn shell(at: &Path, line: &str) -> Vec<u8> {
    let own = Path::new(env!("CARGO_BIN_EXE_brolga")).parent().unwrap().to_path_buf();
    let others = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([own].into_iter().chain(std::env::split_paths(&others))).unwrap();
    let output = Command::new("sh").args(["-c", line]).current_dir(at).env("PATH", path).output().unwrap();
    assert!(
        output.status.success(),
        "{line}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

#[test]
fn a_c_program_trains_to_the_bits_of_the_command() {
    let folder = folder();
    let at = folder.path();
    std::fs::write(at.join("net.ron"), MODEL).unwrap();
    write_batch(at, 8);
    good(at, "build net.ron --entry init,infer,train --dim train.batch=8 --dim infer.batch=1 -o net.o");
    compile(at, TRAIN, "net.o");
    assert!(!shell(at, "readelf -SW net.o").windows(6).any(|name| name == b"_array"), "constructors");
    assert!(shell(at, "nm -u net.o").is_empty(), "undefined symbols");
    let step = |arguments: &str, to: &str| {
        good(at, &format!("step net.ron --inputs batch.npz --save {to} {arguments}"));
        std::fs::read(at.join(to)).unwrap()
    };
    assert!(shell(at, "./main 0") == step("--seed 7 --steps 0", "0.st"), "what is drawn");
    assert!(shell(at, "./main 3") == step("--seed 7 --steps 3", "3.st"), "three updates");
    // Begun by the command, and gone on with in C; then the other way round.
    let five = step("--seed 7 --steps 5", "5.st");
    assert!(shell(at, "./main 2 3.st") == five, "two updates of what the command has saved");
    std::fs::write(at.join("c.st"), shell(at, "./main 3")).unwrap();
    assert!(step("--weights c.st --steps 2", "again.st") == five, "two updates of what C has saved");
    // A program that Valgrind watches gives the same.
    if has("valgrind --version") {
        let sizes = "--dim train.batch=8 --dim infer.batch=1";
        good(at, &format!("build net.ron --entry init,infer,train {sizes} -o net.o {}", for_valgrind()));
        compile(at, TRAIN, "-g net.o");
        assert!(shell(at, &format!("{VALGRIND}./main 2 3.st")) == five, "under Valgrind");
    }
}

#[test]
fn loops_go_on_from_call_to_call_and_begin_anew() {
    let folder = folder();
    let at = folder.path();
    std::fs::write(at.join("net.ron"), STREAM).unwrap();
    let mut random = Random::new(5, Purpose::Augment, 0, 0);
    let x: Vec<f32> = (0..3 * 6).map(|_| random.uniform() * 2.0 - 1.0).collect();
    std::fs::write(at.join("x"), Tensor::from_slice(&[18], &x).unwrap().bytes()).unwrap();
    good(at, "build net.ron --entry init,infer -o net.o");
    compile(at, GOES_ON, "net.o");
    let found = shell(at, "./main < x");

    let model = Model::from_text("net", STREAM, &Settings::default()).unwrap();
    let mut state = model.initial_state(7).unwrap();
    let mut instance = Instance::bind(model.compile("infer").unwrap(), &state, &Threads::serial()).unwrap();
    let mut expected = Vec::new();
    for piece in x.chunks_exact(6) {
        let piece = Tensor::from_slice(&[1, 2, 3], piece).unwrap();
        expected.push(
            instance.run_named(&mut state, &[("x", &piece)]).unwrap().swap_remove(0).1.bytes().to_vec(),
        );
    }
    assert!(found == [&expected[..], &expected[..1]].concat().concat());
    assert_ne!(expected[0], expected[1]);
}

/// What is called alike has one header, which describes all of it.
#[test]
#[cfg(target_os = "linux")]
fn a_header_describes_all_that_share_it() {
    let folder = folder();
    let at = folder.path();
    std::fs::write(at.join("net.ron"), MODEL).unwrap();
    let build = "build net.ron --dim batch=";
    for library in ["libnet.a", "libnet.so"] {
        let text = good(at, &format!("{build}1 -o {library}"));
        assert!(text.ends_with("\n  x: f32[1, 12] -> probability: f32[1, 4]\n"), "{text}");
    }
    let read = |file: &str| std::fs::read(at.join(file)).unwrap();
    let before = ["libnet.a", "libnet.so", "net.h", "net.pc"].map(read);
    for (line, other) in
        [("2 -o libnet.so", "libnet.a"), ("2 -o libnet.a", "libnet.so"), ("1 -o net.o", "libnet.a")]
    {
        let errors = bad(at, &format!("{build}{line}"));
        let expected =
            format!("error: `net.h` is the header of `{other}`, too, and would describe that no more");
        assert!(errors.contains(&expected) && errors.contains("--force"), "{line}: {errors}");
    }
    assert!(["libnet.a", "libnet.so", "net.h", "net.pc"].map(read) == before);
    assert!(!at.join("net.o").exists());
    good(at, &format!("{build}2 -o libnet.so --force"));
    good(at, &format!("{build}2 -o libnet.a"));
    // What some systems take for one file is told.
    good(at, &format!("{build}1 -o one.o"));
    let output = run(at, &format!("{build}1 -o One.o"));
    let notes = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && notes.contains("note: `One.h` and `one.h` are one file"), "{notes}");
    let errors = bad(at, &format!("{build}1 -o libnet.so.1.2"));
    assert!(errors.contains("has a version, and linkers find libNAME.so alone"), "{errors}");
}

#[test]
fn weights_in_a_library_answer_with_the_bits_of_the_command() {
    let folder = folder();
    let at = folder.path();
    std::fs::write(at.join("net.ron"), MODEL).unwrap();
    // One sample has no statistics.
    write_batch(at, 2);
    good(at, "step net.ron --inputs batch.npz --steps 0 --seed 3 --save w.st");
    write_batch(at, 1);
    good(at, "run net.ron --weights w.st --inputs batch.npz --outputs out.npz");
    let expected = read_tensors(at.join("out.npz")).unwrap().remove(0).1;
    let text = good(at, "build net.ron --dim batch=1 --weights w.st --emit lib -o libnet.a");
    assert!(text.contains("libnet.a") && text.contains("net.h") && text.contains("net.pc"), "{text}");
    compile(at, INFER, "-L. -lnet");
    assert!(shell(at, "./main < x") == expected.bytes());
    // Weights are read here, whatever the object is for.
    good(
        at,
        "build net.ron --dim batch=1 --weights w.st --target aarch64-unknown-linux-gnu --symbol net -o far.o",
    );
    if cfg!(target_os = "linux") {
        let shared = at.join("shared");
        std::fs::create_dir(&shared).unwrap();
        good(at, "build net.ron --dim batch=1 --weights w.st -o shared/libnet.so");
        // Both kinds of library find room in one folder.
        for file in ["net.h", "net.pc"] {
            let read = |folder: &Path| std::fs::read_to_string(folder.join(file)).unwrap();
            assert_eq!(read(at), read(&shared), "{file}");
        }
        compile(&shared, INFER, "-L. -lnet -Wl,-rpath,'$ORIGIN'");
        let twice = shell(&shared, "./main < ../x && strip libnet.so && ./main < ../x");
        assert!(twice == expected.bytes().repeat(2), "shared");
    }
    if Command::new("pkg-config").arg("--version").output().is_err() {
        println!("skipped: there is no `pkg-config`");
        return;
    }
    std::fs::create_dir(at.join("elsewhere")).unwrap();
    let elsewhere = at.join("elsewhere");
    let flags = "$(PKG_CONFIG_PATH=.. pkg-config --cflags --libs net)";
    compile(&elsewhere, INFER, flags);
    assert!(shell(&elsewhere, "./main < ../x") == expected.bytes());
}
