//! Objects linked into C programs for this machine and for others, which an emulator runs: what tests of several crates share.

#![allow(dead_code, reason = "each test file uses a part")]

use std::fmt::Write as _;
use std::process::{Command, Stdio};

use brolga_codegen::Object;
use brolga_runtime::{Manifest, State, Tensor, byte_len, read_tensors};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

/// A machine that C programs are compiled for, and how they are run.
#[derive(Clone, Copy)]
pub struct Machine {
    /// The C compiler with its options.
    compiler: &'static [&'static str],
    /// What runs its programs, unless they run by themselves.
    emulator: Option<&'static str>,
}

/// This machine.
pub const HERE: Machine = Machine { compiler: &["cc"], emulator: None };

/// Linux on aarch64. Debian's packages are gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user.
pub const AARCH64: Machine =
    Machine { compiler: &["aarch64-linux-gnu-gcc", "-static"], emulator: Some("qemu-aarch64") };

impl Machine {
    /// Whether its tools are installed; what is not is told.
    pub fn is_there(self) -> bool {
        let tools = [Some(self.compiler[0]), self.emulator];
        tools.into_iter().flatten().all(|tool| {
            let runs =
                Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            if runs.is_err() {
                println!("skipped: there is no `{tool}`");
            }
            runs.is_ok()
        })
    }

    /// What a C program computes with the object of the model `net`: the bytes of all outputs of its entries, which are
    /// called one after the other with these inputs, and the state afterwards.
    pub fn run(
        self,
        object: &Object,
        entries: &[&str],
        inputs: &[Vec<Tensor>],
        state: &State,
    ) -> (Vec<u8>, Vec<(String, Tensor)>) {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path();
        let write = |name: &str, bytes: &[u8]| std::fs::write(at.join(name), bytes).expect("a file");
        write("net.o", &object.bytes);
        write("net.h", object.header.as_bytes());
        write("main.c", main(&object.manifests, entries).as_bytes());
        let (compiler, options) = self.compiler.split_first().expect("a compiler");
        let output = Command::new(compiler)
            .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-O1", "main.c", "net.o", "-o", "main"])
            .args(options)
            .current_dir(at)
            .output()
            .expect("a C compiler");
        assert!(output.status.success(), "{compiler}: {}", String::from_utf8_lossy(&output.stderr));
        state.save(at.join("before.safetensors")).expect("a state");
        let saved = std::fs::read(at.join("before.safetensors")).expect("a state");
        let mut stdin = (saved.len() as u64).to_le_bytes().to_vec();
        stdin.extend(saved);
        inputs.iter().flatten().for_each(|input| stdin.extend(input.bytes()));
        write("in", &stdin);
        let program = at.join("main");
        let mut command = match self.emulator {
            Some(emulator) => Command::new(emulator),
            None => Command::new(&program),
        };
        if self.emulator.is_some() {
            command.arg(&program);
        }
        let stdin = std::fs::File::open(at.join("in")).expect("a file");
        let output = command.stdin(stdin).output().expect("the program");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{compiler}: {}\n{errors}", output.status);
        let mut outputs = output.stdout;
        let bytes = object.manifests.iter().flat_map(|manifest| &manifest.outputs);
        let bytes = bytes.map(|output| byte_len(output.dtype, &output.dims).expect("a size")).sum();
        write("after.safetensors", &outputs.split_off(bytes));
        (outputs, read_tensors(at.join("after.safetensors")).expect("a state"))
    }
}

/// A program that reads a state behind its length, then the inputs of each entry, and writes the outputs of each, then the
/// state.
fn main(manifests: &[Manifest], entries: &[&str]) -> String {
    let mut text = include_str!("machine.c").to_owned();
    for (manifest, entry) in manifests.iter().zip(entries) {
        let inputs = manifest.inputs.iter().map(|input| (input.dtype, &input.dims));
        let outputs = manifest.outputs.iter().map(|output| (output.dtype, &output.dims));
        let list = |sizes: Vec<usize>| -> String { sizes.iter().map(|size| format!("{size}, ")).collect() };
        let bytes = |(dtype, dims): (_, &Vec<usize>)| byte_len(dtype, dims).expect("a size");
        let (inputs, outputs) = (list(inputs.map(bytes).collect()), list(outputs.map(bytes).collect()));
        let first = manifest.state.len();
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "    {{\n        static const size_t inputs[] = {{{inputs}SIZE_MAX}}, outputs[] = {{{outputs}SIZE_MAX}};\n        \
             call(&model, net_{entry}_begin, net_{entry}_call, BROLGA_STATE + {first}, inputs, outputs);\n    }}\n"
        );
    }
    text.push_str(
        "    net_save_state(&model, saved);\n    fwrite(saved, 1, sizeof saved, stdout);\n    return 0;\n}\n",
    );
    text
}

/// Whatever a linker would have to find elsewhere or to put in: nothing, in an object of ours.
pub fn references(object: &[u8]) -> Vec<String> {
    let file = object::File::parse(object).expect("an object file");
    let undefined = file.symbols().filter(|symbol| symbol.is_undefined());
    let names = undefined.map(|symbol| symbol.name().expect("a name").to_owned());
    let relocated = file.sections().filter(|section| section.relocations().next().is_some());
    let relocated = relocated.map(|section| format!("in {}", section.name().expect("a name")));
    names.chain(relocated).filter(|name| !name.is_empty()).collect()
}
