//! Builds the launcher: a program of its own, by a cargo of its own.
//!
//! Its manifest is written here, since a package holds no package. It is built for the same target, small, and without
//! anything that the environment says about other programs; into a folder of its own, since cargo holds a lock on that of
//! this build. Nothing is downloaded: all that it needs, this crate needs too. `BROLGA_LAUNCHER=path` takes a launcher that is
//! there instead, and `BROLGA_LAUNCHER=` none.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The name of the program.
const NAME: &str = "brolga-launcher";

/// The crates of ours that it is built of, and the folders that they have in a checkout.
const CRATES: [(&str, &str); 3] =
    [("brolga-runtime", "runtime"), ("brolga-models", "models"), ("brolga-command", "command")];

/// Those of them that it names itself.
const NAMED: [&str; 2] = ["brolga-runtime", "brolga-command"];

fn main() {
    if let Err(error) = run() {
        println!(
            "cargo::error=the launcher of executables cannot be built: {error}; BROLGA_LAUNCHER=path takes one that is \
             there, and without the feature `exe` none is needed"
        );
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=BROLGA_LAUNCHER");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let file = out.join(NAME);
    if let Some(given) = env::var_os("BROLGA_LAUNCHER") {
        println!("cargo::rerun-if-changed=build.rs");
        if given.is_empty() {
            return Ok(fs::write(file, [])?);
        }
        println!("cargo::rerun-if-changed={}", Path::new(&given).display());
        fs::copy(&given, file).map_err(|e| format!("`{}`: {e}", Path::new(&given).display()))?;
        return Ok(());
    }
    if env::var("CARGO_CFG_TARGET_OS")? != "linux" || env::var("CARGO_CFG_TARGET_POINTER_WIDTH")? != "64" {
        println!("cargo::rerun-if-changed=build.rs");
        return Ok(fs::write(file, [])?);
    }
    let own = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let folder = out.join("launcher");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("Cargo.toml"), manifest(&own)?)?;
    lock(&own, &folder)?;
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=program");
    let built = build(&own, &folder)?;
    fs::copy(built, file)?;
    Ok(())
}

/// Where the crates are: in a checkout; else, if they are packages that lie beside this one, there.
enum Sources {
    Checkout,
    Packages,
    /// Wherever cargo finds them.
    Registry,
}

impl Sources {
    fn of(own: &Path, version: &str) -> Sources {
        let there = |path: &dyn Fn(&(&str, &str)) -> String| {
            CRATES.iter().all(|names| own.join("..").join(path(names)).join("Cargo.toml").is_file())
        };
        if there(&|(_, folder)| (*folder).to_owned()) {
            Sources::Checkout
        } else if there(&|(name, _)| format!("{name}-{version}")) {
            Sources::Packages
        } else {
            Sources::Registry
        }
    }
}

/// The manifest of the program.
fn manifest(own: &Path) -> Result<String, Box<dyn Error>> {
    let version = env::var("CARGO_PKG_VERSION")?;
    let sources = Sources::of(own, &version);
    let (mut dependencies, mut patches) = (String::new(), String::new());
    for (name, folder) in CRATES {
        let beside = |folder: &str| own.join("..").join(folder);
        let path = beside(folder);
        if let Sources::Checkout = &sources {
            for part in ["src", "Cargo.toml"] {
                println!("cargo::rerun-if-changed={}", path.join(part).display());
            }
        }
        if NAMED.contains(&name) {
            dependencies += &match &sources {
                Sources::Checkout => format!("{name} = {{ path = {} }}\n", quoted(&path)?),
                Sources::Packages | Sources::Registry => format!("{name} = \"={version}\"\n"),
            };
        }
        if let Sources::Packages = sources {
            let path = beside(&format!("{name}-{version}"));
            patches += &format!("{name} = {{ path = {} }}\n", quoted(&path)?);
        }
    }
    let main = quoted(&own.join("program").join("main.rs"))?;
    Ok(format!(
        "[package]\nname = \"{NAME}\"\nversion = \"{version}\"\nedition = \"2024\"\n\n\
         [[bin]]\nname = \"{NAME}\"\npath = {main}\n\n\
         [dependencies]\n{dependencies}\n\
         [patch.crates-io]\n{patches}\n\
         [workspace]\n\n\
         # Small, and soon built: crates are not optimised by themselves, but what is reached of all of them as a whole.\n\
         [profile.release]\nopt-level = \"s\"\ndebug = false\nlto = \"fat\"\ncodegen-units = 1\npanic = \"abort\"\n\
         strip = true\n\n\
         [profile.release.package.\"*\"]\nopt-level = 0\n"
    ))
}

/// A path as TOML has it.
fn quoted(path: &Path) -> Result<String, Box<dyn Error>> {
    let text = path.to_str().ok_or("its folder has a name that is no text")?;
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// Gives the program the versions of crates that this build has.
fn lock(own: &Path, folder: &Path) -> Result<(), Box<dyn Error>> {
    let known = [own.join("../Cargo.lock"), own.join("Cargo.lock")].into_iter().find(|file| file.is_file());
    if let Some(known) = known {
        println!("cargo::rerun-if-changed={}", known.display());
        fs::copy(known, folder.join("Cargo.lock"))?;
    }
    Ok(())
}

/// Builds the program; where it is.
fn build(own: &Path, folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let (target, into) = (env::var("TARGET")?, folder.join("target"));
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // Settings of cargo count from where it runs.
    cargo.current_dir(own).args(["build", "--release", "--offline", "--quiet", "--manifest-path"]);
    cargo.arg(folder.join("Cargo.toml")).arg("--target-dir").arg(&into).args(["--target", &target]);
    // Flags and wrappers are for other programs; empty values say so to settings in files, too.
    for name in ["CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
        cargo.env(name, "");
    }
    let is_setting = |name: &str| {
        name == "RUSTFLAGS"
            || name == "CARGO_TARGET_DIR"
            || name.starts_with("CARGO_BUILD_")
            || name.starts_with("CARGO_PROFILE_")
    };
    env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_setting)).for_each(|(name, _)| {
        cargo.env_remove(name);
    });
    let output = cargo.output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().replace('\n', " | ").into());
    }
    Ok(into.join(target).join("release").join(NAME))
}
