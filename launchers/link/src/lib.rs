//! The macro [`launcher!`]: a program, linked from the crates of the build that the macro is part of, as bytes.
//!
//! The launcher (`program/`) needs nothing but crates that `brolga` is linked from as well. So it is not built of them anew, by a
//! cargo inside of the build, which takes longer than 60 s: it is compiled and linked, in about a second, when the program that has
//! the macro is, whose crates are all there then. Where they are is in the arguments of the compiler that calls the macro, which
//! is called again, with the same target and linker.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use proc_macro::TokenStream;

/// The source of the program.
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/program/main.rs");

/// The same as text: whoever changes it has this crate, and what uses it, built again.
const _: [&str; 3] = [
    include_str!("../program/main.rs"),
    include_str!("../program/place.rs"),
    include_str!("../program/unwind.rs"),
];

/// The crates that the program uses.
const CRATES: [&str; 2] = ["brolga_command", "brolga_runtime"];

/// Options of code generation that are the target's, and not those of one program.
const OF_TARGET: [&str; 6] =
    ["linker", "linker-flavor", "link-arg", "link-args", "target-feature", "instrument-coverage"];

/// The launcher: a `&'static [u8]`. Empty where nothing is linked (`cargo check`), where the target has no ELF files, and with
/// `BROLGA_LAUNCHER=`; with `BROLGA_LAUNCHER=path` that file. Only for programs that depend on `brolga-command` and
/// `brolga-runtime`: what is no program may be compiled before the code of its crates is there.
#[proc_macro]
pub fn launcher(_: TokenStream) -> TokenStream {
    let expression = match found() {
        Ok(Some(path)) => format!("include_bytes!({path:?})"),
        Ok(None) => "&[]".to_owned(),
        Err(error) => format!("compile_error!({:?})", format!("the launcher cannot be linked: {error}")),
    };
    // Read at run time of the macro, so the compiler must be told.
    let told = "const _: Option<&str> = option_env!(\"BROLGA_LAUNCHER\");";
    let tokens = format!("{{ {told} const LAUNCHER: &[u8] = {expression}; LAUNCHER }}");
    tokens.parse().unwrap_or_default()
}

/// The arguments of the compiler that calls the macro; of very many, it has the name of a file that holds them.
fn arguments() -> Vec<String> {
    let own = env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    let of_file = |argument: String| -> Vec<String> {
        let file = argument.strip_prefix('@').and_then(|file| std::fs::read_to_string(file).ok());
        file.map_or_else(|| vec![argument], |text| text.lines().map(str::to_owned).collect())
    };
    own.flat_map(of_file).collect()
}

/// The launcher's file, if there is one.
fn found() -> Result<Option<PathBuf>, String> {
    if let Some(given) = env::var_os("BROLGA_LAUNCHER") {
        let path = Path::new(&given);
        return match given.is_empty() {
            true => Ok(None),
            false => path.canonicalize().map(Some).map_err(|e| format!("`{}`: {e}", path.display())),
        };
    }
    let arguments = arguments();
    let values = |option: &str| -> Vec<&str> {
        let behind = arguments.windows(2).filter(|pair| pair[0] == option).map(|pair| pair[1].as_str());
        let joined = format!("{option}=");
        let joined = arguments.iter().filter_map(|argument| argument.strip_prefix(&joined));
        behind.chain(joined).collect()
    };
    let target = values("--target").first().copied();
    if target.map_or(!cfg!(target_os = "linux"), |target| !target.contains("linux")) {
        return Ok(None);
    }
    let externs = values("--extern");
    let library = |name: &str| {
        let is_named = |given: &&&str| {
            // Options may stand before the name.
            let Some((before, path)) = given.split_once('=') else { return false };
            before.rsplit(':').next() == Some(name) && path.ends_with(".rlib")
        };
        externs.iter().find(is_named).copied()
    };
    let libraries: Option<Vec<&str>> = CRATES.into_iter().map(library).collect();
    let (Some(libraries), Some(folder)) = (libraries, values("--out-dir").first().copied()) else {
        return Ok(None);
    };
    let crate_name = values("--crate-name").first().copied().unwrap_or("program");
    let suffix = values("-C").into_iter().find_map(|option| option.strip_prefix("extra-filename="));
    let path = Path::new(folder).join(format!("{crate_name}{}.launcher", suffix.unwrap_or("")));

    let mut compiler = Command::new(env::current_exe().map_err(|e| e.to_string())?);
    compiler.args([PROGRAM, "--crate-name", "brolga_launcher", "--crate-type", "bin", "--edition", "2024"]);
    compiler.args(["-C", "opt-level=s", "-C", "panic=abort", "-C", "strip=symbols", "-C", "codegen-units=1"]);
    libraries.iter().for_each(|library| _ = compiler.args(["--extern", library]));
    values("-L").iter().for_each(|path| _ = compiler.args(["-L", path]));
    target.iter().for_each(|target| _ = compiler.args(["--target", target]));
    let of_target = |option: &&&str| OF_TARGET.contains(&option.split('=').next().unwrap_or(""));
    values("-C").iter().filter(of_target).for_each(|option| _ = compiler.args(["-C", option]));
    let output = compiler.arg("-o").arg(&path).output().map_err(|e| e.to_string())?;
    match output.status.success() {
        true => path.canonicalize().map(Some).map_err(|e| e.to_string()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}
