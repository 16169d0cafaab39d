//! The macro [`launcher!`]: a program, linked from the crates of the build that the macro is part of, as bytes.
//!
//! The launcher (`program/`) needs nothing but crates that `brolga` is linked from as well. So it is not built of them anew, by a
//! cargo inside of the build, which takes longer than 60 s: it is compiled and linked, in about a second, when the program that has
//! the macro is, whose crates are all there then. Where they are is in the arguments of the compiler that calls the macro, which
//! is called again, with the same target and linker.
//!
//! It is part of every executable, and has to be small: see `smaller`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use proc_macro::TokenStream;

/// The source of the program.
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/program/main.rs");

/// What of the program the linker leaves out.
const DISCARDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/program/discard.ld");

/// The same as text: whoever changes it has this crate, and what uses it, built again.
const _: [&str; 5] = [
    include_str!("../program/main.rs"),
    include_str!("../program/backtrace.rs"),
    include_str!("../program/discard.ld"),
    include_str!("../program/place.rs"),
    include_str!("../program/unwind.rs"),
];

/// The crates that the program uses.
const CRATES: [&str; 2] = ["brolga_command", "brolga_runtime"];

/// Options of code generation that are the target's, and not those of one program.
const OF_TARGET: [&str; 6] =
    ["linker", "linker-flavor", "link-arg", "link-args", "target-feature", "instrument-coverage"];

/// The launcher: a `&'static [u8]`. `launcher!(whole)` is the one that trains and evaluates, and reads JPEG, too. Empty where nothing is linked
/// (`cargo check`), where the target has no ELF files, and with `BROLGA_LAUNCHER=`; with `BROLGA_LAUNCHER=path` that file. Only
/// for programs that depend on `brolga-command` and `brolga-runtime`: what is no program may be compiled before the code of its
/// crates is there.
#[proc_macro]
pub fn launcher(input: TokenStream) -> TokenStream {
    let expression = match input.to_string().as_str() {
        "" => linked(false),
        "whole" => linked(true),
        other => Err(format!("`{other}` is no launcher: write `launcher!()`, or `launcher!(whole)`")),
    };
    let expression = match expression {
        Ok(Some(path)) => format!("include_bytes!({path:?})"),
        Ok(None) => "&[]".to_owned(),
        Err(error) => format!("compile_error!({:?})", format!("the launcher cannot be linked: {error}")),
    };
    // Read at run time of the macro, so the compiler must be told.
    let told = "const _: Option<&str> = option_env!(\"BROLGA_LAUNCHER\");";
    let tokens = format!("{{ {told} const LAUNCHER: &[u8] = {expression}; LAUNCHER }}");
    tokens.parse().unwrap_or_default()
}

/// The arguments of a compiler.
struct Arguments(Vec<String>);

impl Arguments {
    /// Those of the compiler that calls the macro; of very many, it has the name of a file that holds them.
    fn own() -> Arguments {
        let own = env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
        let of_file = |argument: String| -> Vec<String> {
            let file = argument.strip_prefix('@').and_then(|file| fs::read_to_string(file).ok());
            file.map_or_else(|| vec![argument], |text| text.lines().map(str::to_owned).collect())
        };
        Arguments(own.flat_map(of_file).collect())
    }

    /// The values of an option, as `--option value` or `--option=value`.
    fn values(&self, option: &str) -> Vec<&str> {
        let behind = self.0.windows(2).filter(|pair| pair[0] == option).map(|pair| pair[1].as_str());
        let joined = format!("{option}=");
        let joined = self.0.iter().filter_map(|argument| argument.strip_prefix(&joined));
        behind.chain(joined).collect()
    }

    /// The first value of an option.
    fn value(&self, option: &str) -> Option<&str> {
        self.values(option).first().copied()
    }

    /// The file of a crate that is used.
    fn library(&self, name: &str) -> Option<&str> {
        let is_named = |given: &&str| {
            // Options may stand before the name.
            let Some((before, path)) = given.split_once('=') else { return false };
            before.rsplit(':').next() == Some(name) && path.ends_with(".rlib")
        };
        self.values("--extern").into_iter().find(is_named)
    }
}

/// The launcher's file, if there is one.
fn linked(whole: bool) -> Result<Option<PathBuf>, String> {
    if let Some(given) = env::var_os("BROLGA_LAUNCHER") {
        let path = Path::new(&given);
        return match given.is_empty() {
            true => Ok(None),
            false => path.canonicalize().map(Some).map_err(|e| format!("`{}`: {e}", path.display())),
        };
    }
    let arguments = Arguments::own();
    let target = arguments.value("--target");
    if target.map_or(!cfg!(target_os = "linux"), |target| !target.contains("linux")) {
        return Ok(None);
    }
    let libraries: Option<Vec<&str>> = CRATES.into_iter().map(|name| arguments.library(name)).collect();
    let (Some(libraries), Some(folder)) = (libraries, arguments.value("--out-dir")) else {
        return Ok(None);
    };
    let crate_name = arguments.value("--crate-name").unwrap_or("program");
    let codegen = arguments.values("-C");
    let suffix = codegen.iter().find_map(|option| option.strip_prefix("extra-filename="));
    let kind = if whole { "whole" } else { "small" };
    let path = Path::new(folder).join(format!("{crate_name}{}.{kind}.launcher", suffix.unwrap_or("")));

    let compiler = env::current_exe().map_err(|e| e.to_string())?;
    let of_target = |option: &&&str| OF_TARGET.contains(&option.split('=').next().unwrap_or(""));
    let of_target: Vec<&str> = codegen.iter().filter(of_target).copied().collect();
    let mut why = String::new();
    for smaller in smaller(&compiler, target, whole) {
        let mut command = Command::new(&compiler);
        command.args([PROGRAM, "--crate-name", "brolga_launcher", "--crate-type", "bin"]);
        command.args(["--edition", "2024", "-C", "opt-level=s", "-C", "panic=abort"]);
        command.args(["-C", "strip=symbols", "-C", "codegen-units=1"]);
        command.args(if whole { &["--cfg", "whole"][..] } else { &[] });
        libraries.iter().for_each(|library| _ = command.args(["--extern", library]));
        arguments.values("-L").iter().for_each(|path| _ = command.args(["-L", path]));
        target.iter().for_each(|target| _ = command.args(["--target", target]));
        let options = of_target.iter().map(|option| (*option).to_owned()).chain(smaller);
        options.for_each(|option| _ = command.args(["-C", &option]));
        let output = command.arg("-o").arg(&path).output().map_err(|e| e.to_string())?;
        if output.status.success() {
            return path.canonicalize().map(Some).map_err(|e| e.to_string());
        }
        why = String::from_utf8_lossy(&output.stderr).into_owned();
    }
    Err(why)
}

/// Options of the linker that make the program smaller, each list to be tried where the one before is not understood: linkers know
/// different ones, and the last list is empty.
///
/// Of 2.5 MB that a program for all commands would have, 250 KB are what shows the calls at a panic, 300 KB what describes how to
/// unwind the stack, and 100 KB functions that are the same as others. A tenth of the small program would be relocations: it has
/// a fixed address, and libraries and memory have any.
fn smaller(compiler: &Path, target: Option<&str>, whole: bool) -> [Vec<String>; 3] {
    let mut known = vec![format!("link-arg=-Wl,-T,{DISCARDED}"), "link-arg=-Wl,--no-eh-frame-hdr".to_owned()];
    let shown =
        shown(compiler, target).map(|name| format!("link-arg=-Wl,--defsym={name}=brolga_no_backtrace"));
    known.extend(shown);
    known.extend((!whole).then(|| "relocation-model=static".to_owned()));
    let folded = known.iter().cloned().chain(["link-arg=-Wl,--icf=all".to_owned()]).collect();
    [folded, known, Vec::new()]
}

/// The symbol of the function of the standard library that shows the calls at a panic. Symbols have another hash in each version
/// of the compiler, but are listed where the library's archive begins. Nothing where no symbol is like it, or several are.
fn shown(compiler: &Path, target: Option<&str>) -> Option<String> {
    let mut command = Command::new(compiler);
    command.args(["--print", "target-libdir"]);
    target.iter().for_each(|target| _ = command.args(["--target", target]));
    let output = command.output().ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    let entries = fs::read_dir(folder.trim()).ok()?.flatten().map(|entry| entry.path());
    let is_std = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    };
    let archive = fs::read(entries.into_iter().find(is_std)?).ok()?;
    // Magic, and the head of the first member with its size in digits; its content are names that end with zeros.
    let size = str::from_utf8(archive.get(8 + 48..8 + 58)?).ok()?.trim().parse::<usize>().ok()?;
    let names = archive.get(8 + 60..)?.get(..size)?.split(|&byte| byte == 0);
    let names = names.filter_map(|name| str::from_utf8(name).ok());
    let is_it = |name: &&str| {
        let parts = ["BacktraceLock", "DisplayBacktrace", "Display", "3fmt"];
        parts.iter().all(|part| name.contains(part))
    };
    let mut found = names.filter(is_it);
    let (first, second) = (found.next(), found.next());
    first.filter(|_| second.is_none()).map(str::to_owned)
}
