//! `brolga build --emit obj` and `lib`

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use brolga::codegen::{Object, check_symbol};
use brolga::runtime::Shown;
use brolga::{Error, Model, Result, State};
use brolga_command::report::{bytes, shapes};

use super::args::{BuildArgs, has_version};
use super::sizes::{Sizes, tuned, weights};
use crate::cli::destination::{Destinations, Written, beside};
use crate::cli::files::write;

/// What is written besides the object or library.
struct Files<'a> {
    header: PathBuf,
    /// For `pkg-config`, of a library.
    described: Option<PathBuf>,
    /// The weights, where they lie apart.
    mapped: Option<&'a PathBuf>,
}

impl<'a> Files<'a> {
    /// When it is known that they can be written.
    fn of(
        args: &'a BuildArgs,
        library: Option<&LibraryName>,
        destinations: &mut Destinations,
    ) -> Result<Files<'a>> {
        let header = beside(&args.output, "h");
        let what = match library {
            None => Written::Object,
            Some(library) if library.shared => Written::SharedLibrary,
            Some(_) => Written::Library,
        };
        destinations.writes("-o", &args.output, what, 0)?;
        destinations.writes("the header of -o", &header, Written::Header, 0)?;
        let described = library.map(|_| beside(&args.output, "pc"));
        if let Some(described) = &described {
            destinations.writes("the pkg-config file of -o", described, Written::PkgConfig, 0)?;
        }
        if let Some(mapped) = &args.mapped {
            destinations.writes("--mapped", mapped, Written::Mapped, 0)?;
        }
        Ok(Files { header, described, mapped: args.mapped.as_ref() })
    }
}

pub fn run(
    args: &BuildArgs,
    mut destinations: Destinations,
    library: Option<LibraryName>,
) -> Result<ExitCode> {
    if beside(&args.output, "h") == args.output {
        return Err(Error::Name(format!(
            "`{}` is the header's name: give the object another",
            args.output.shown()
        )));
    }
    let sizes = Sizes::of(args)?;
    let mut model = sizes.model(args)?;
    destinations.reads_model(model.files());
    let files = Files::of(args, library.as_ref(), &mut destinations)?;
    if args.machine.tune.is_some() {
        if args.targets()?.iter().any(|target| !target.triple.is_host()) {
            let message = "--tune measures on this machine: leave it out with the --target of another";
            return Err(Error::Name(message.into()));
        }
        model = tuned(model, args, &sizes)?;
    }
    let symbol = args.symbol.clone().unwrap_or_else(|| c_name(&files.header));
    let weights = weights(&model, args)?;
    let inside = weights.as_ref().filter(|_| files.mapped.is_none());
    let object = compiled(&model, args, &sizes, inside, &symbol, library.as_ref())?;
    if !args.overwrite.force {
        describes_all(&files.header, &args.output, &object.header)?;
    }
    write_code(args, &object, &symbol, library.as_ref())?;
    if let (Some(library), Some(described)) = (&library, &files.described) {
        write(described, pkg_config(&library.name, &args.entries).as_bytes())?;
        outln!("pkg-config: {}", described.shown());
    }
    if let (Some(file), Some(weights)) = (files.mapped, &weights) {
        let content = object.state_file(weights)?;
        write(file, &content)?;
        outln!("weights: {} ({})", file.shown(), bytes(content.len()));
    }
    write(&files.header, object.header.as_bytes())?;
    outln!("header: {}", files.header.shown());
    note_alike(&files.header);
    for (function, manifest) in object.functions.iter().zip(&object.manifests) {
        outln!("entry: {function}\n  {}", shapes(manifest));
    }
    Ok(ExitCode::SUCCESS)
}

/// Refuses a header that objects and libraries of the same name share, but that describes the one which is written alone.
fn describes_all(header: &Path, output: &Path, text: &str) -> Result<()> {
    let name = header.file_stem().unwrap_or_default().to_string_lossy();
    let all = [format!("{name}.o"), format!("{name}.obj"), format!("lib{name}.a"), format!("lib{name}.so")];
    let others = all.iter().map(|file| header.with_file_name(file));
    let mut others = others.filter(|other| other.file_name() != output.file_name() && other.is_file());
    let there = || std::fs::read(header).is_ok_and(|there| there != text.as_bytes());
    match others.next() {
        Some(other) if there() => Err(Error::Name(format!(
            "`{}` is the header of `{}`, too, and would describe that no more: give one of them another name, or give --force, and \
             build the other again in the same way",
            header.shown(),
            other.shown()
        ))),
        _ => Ok(()),
    }
}

/// Says where another header has a name that differs from this one's in case alone.
fn note_alike(header: &Path) {
    let folder = header.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let own = header.file_name().unwrap_or_default().to_string_lossy();
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for file in files {
        let other = file.file_name().to_string_lossy().into_owned();
        if other != own && other.to_lowercase() == own.to_lowercase() {
            errln!(
                "note: `{}` and `{}` are one file on systems that do not tell case: name one of them otherwise",
                own.shown(),
                other.shown()
            );
        }
    }
}

/// The object, or the shared library.
fn compiled(
    model: &Model,
    args: &BuildArgs,
    sizes: &Sizes<'_>,
    weights: Option<&State>,
    symbol: &str,
    library: Option<&LibraryName>,
) -> Result<Object> {
    let (entries, targets) = (sizes.entries(), args.targets()?);
    match library {
        Some(LibraryName { file, shared: true, .. }) => {
            model.shared_library(&entries, weights, symbol, file, &targets)
        }
        Some(_) => model.static_library(&entries, weights, symbol, &targets),
        None => model.object(&entries, weights, symbol, &targets),
    }
}

/// Writes the object or the library.
fn write_code(args: &BuildArgs, object: &Object, symbol: &str, library: Option<&LibraryName>) -> Result<()> {
    let (what, archive) = match library {
        None => ("object", None),
        Some(LibraryName { shared: true, .. }) => ("library", None),
        Some(_) => ("library", Some(object.archive(symbol)?)),
    };
    let code = archive.as_ref().unwrap_or(&object.bytes);
    write(&args.output, code)?;
    outln!("{what}: {} ({})", args.output.shown(), bytes(code.len()));
    Ok(())
}

/// A name that C accepts for a model of ours, from that of the header: `größe 2.h` has `gr_e_2`. What C does not know becomes one
/// `_`, since two of them belong to the compiler; a name that is taken, or begins with a digit, gets a word before it.
fn c_name(header: &Path) -> String {
    let name = header.file_stem().unwrap_or_default().to_string_lossy();
    let parts: Vec<&str> =
        name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty()).collect();
    match parts.join("_") {
        name if name.is_empty() => "net".to_owned(),
        name if check_symbol(&name).is_ok() => name,
        name => format!("entry_{name}"),
    }
}

/// What a library is called.
pub struct LibraryName {
    /// As linkers have it: `net` of `libnet.a`.
    name: String,
    /// The name of its file.
    file: String,
    /// Whether programs find it when they start.
    shared: bool,
}

impl LibraryName {
    pub fn of(path: &Path) -> Result<LibraryName> {
        let file = path.file_name().and_then(|file| file.to_str());
        let named = file.and_then(|file| {
            let (name, ending) = file.strip_prefix("lib")?.rsplit_once('.')?;
            let known = !name.is_empty() && matches!(ending, "a" | "so");
            known.then(|| LibraryName { name: name.into(), file: file.into(), shared: ending == "so" })
        });
        named.ok_or_else(|| {
            if has_version(path) {
                return Error::Name(format!(
                    "`{}` has a version, and linkers find libNAME.so alone: build that, and give it other names by links",
                    path.shown()
                ));
            }
            Error::Name(format!(
                "`{}` is no library that linkers find by name: call it libNAME.a or libNAME.so",
                path.shown()
            ))
        })
    }
}

/// What `pkg-config` reads: header and library lie where this file does.
fn pkg_config(name: &str, entries: &[String]) -> String {
    format!(
        "# Compiled by Brolga.\nName: {name}\nDescription: A neural network, compiled: {}\nVersion: {}\n\
         Cflags: -I\"${{pcfiledir}}\"\nLibs: -L\"${{pcfiledir}}\" -l{name}\n",
        entries.join(", "),
        env!("CARGO_PKG_VERSION")
    )
}
