//! Files that a command is going to write, looked at before it works: what it makes must not be lost in the end, and what
//! is of another kind is not overwritten unless `--force` is given.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use brolga_runtime::{
    Content, Error, ErrorKind, Result, Shown, State, TensorFile, check_writable, holds_results,
};

use crate::csv::is_written_table;
use crate::refused;

/// What a command writes into a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Weights or a training state: safetensors; which of those that are there it may replace, [`Destinations::saves`] says.
    State,
    /// Tensors: `.npz`, `.npy`, or safetensors.
    Tensors,
    /// A table of answers or predictions; which of those that are there it may replace, [`Destinations::replaces`] says.
    Table,
    /// The log of a training run.
    Log,
    /// A trace of a profile.
    Trace,
    /// An object file.
    Object,
    /// A static library.
    Library,
    /// A container.
    Container,
    /// A program that carries a container.
    Executable,
    /// A shared library.
    SharedLibrary,
    /// The C header of an object or a library.
    Header,
    /// What `pkg-config` reads of a library.
    PkgConfig,
    /// Weights that programs with an object map.
    Mapped,
}

/// What endings of names promise. Others promise nothing.
const ENDINGS: &[(&str, &[&str])] = &[
    ("safetensors", &["safetensors"]),
    ("NumPy's arrays", &["npz", "npy"]),
    ("a table", &["csv", "tsv"]),
    ("an image", &["png", "jpg", "jpeg", "gif", "bmp", "tif", "tiff"]),
    ("a model", &["ron"]),
    ("JSON", &["json"]),
    ("PyTorch's format", &["pt", "pth"]),
    ("a pickle", &["pkl", "pickle"]),
    ("HDF5", &["h5", "hdf5", "keras"]),
    ("ONNX", &["onnx"]),
    ("text", &["txt", "md", "log", "ir", "toml", "yaml", "yml", "xml", "html"]),
    ("a program's source", &["c", "cc", "cpp", "rs", "py", "sh"]),
    ("a C header", &["h", "hpp"]),
    ("an object file", &["o", "obj"]),
    ("a library or program", &["a", "so", "dll", "dylib", "exe"]),
    ("a compiled model", &["brolga"]),
    ("an archive", &["zip", "gz", "tar", "xz", "zst"]),
];

impl Written {
    /// What it is called.
    fn name(self) -> &'static str {
        match self {
            Written::State => "weights are written as safetensors",
            Written::Tensors => "tensors are written as safetensors, .npz or .npy",
            Written::Table => "a table is written as CSV",
            Written::Log => "the log is written as CSV",
            Written::Trace => "the trace is written as JSON",
            Written::Object => "an object file is written",
            Written::Library => "a static library is written",
            Written::Container => "a compiled model is written",
            Written::Executable => "a program is written",
            Written::SharedLibrary => "a shared library is written",
            Written::Header => "a C header is written",
            Written::PkgConfig => "a file for pkg-config is written",
            Written::Mapped => "weights to be mapped are written",
        }
    }

    /// Endings that fit, the best first.
    fn endings(self) -> &'static [&'static str] {
        match self {
            Written::State => &["safetensors"],
            Written::Tensors => &["npz", "npy", "safetensors"],
            Written::Table => &["csv"],
            Written::Log => &["csv", "log", "txt"],
            Written::Trace => &["json"],
            Written::Object => &["o", "obj"],
            Written::Library => &["a"],
            Written::Container => &["brolga"],
            Written::Executable => &["", "exe"],
            Written::SharedLibrary => &["so"],
            Written::Header => &["h", "hpp"],
            Written::PkgConfig => &["pc"],
            Written::Mapped => &["weights"],
        }
    }

    /// Whether the command itself writes files that begin so.
    fn is_own(self, content: Content) -> bool {
        match self {
            Written::State => content == Content::Safetensors,
            Written::Tensors => matches!(content, Content::Safetensors | Content::Npz | Content::Npy),
            Written::Table => content == Content::Predictions,
            Written::Log => content == Content::Log,
            Written::Trace => content == Content::Trace,
            // Both begin as every file of the system with code does.
            Written::Object | Written::SharedLibrary => content == Content::Object,
            Written::Library => content == Content::Library,
            Written::Container => content == Content::Container,
            Written::Executable => content == Content::Executable,
            Written::Header => content == Content::Header,
            Written::PkgConfig => content == Content::PkgConfig,
            Written::Mapped => content == Content::Mapped,
        }
    }
}

/// The files that a command reads and writes, checked one by one as they are named.
#[derive(Default)]
pub struct Destinations {
    /// Whether everything that can be overwritten may be.
    force: bool,
    read: Vec<(String, PathBuf)>,
    written: Vec<(&'static str, PathBuf)>,
    /// Folders of checkpoints.
    checkpoints: Vec<(&'static str, PathBuf)>,
}

impl Destinations {
    /// None yet; with `force` everything that can be overwritten may be.
    pub fn new(force: bool) -> Destinations {
        Destinations { force, ..Destinations::default() }
    }

    /// A file is read, which an option or argument names.
    pub fn reads(&mut self, option: impl Into<String>, file: &Path) {
        self.read.push((option.into(), place(file)));
    }

    /// The files of a model are read.
    pub fn reads_model(&mut self, files: &[PathBuf]) {
        files.iter().for_each(|file| self.reads("MODEL", file));
    }

    /// A data set is read, whoever names it.
    pub fn reads_data(&mut self, source: &Path) {
        self.read.push(("the model's `data`".to_owned(), place(source)));
    }

    /// A folder of checkpoints, which are read and written.
    ///
    /// # Errors
    /// A place that takes no folder or no files; one among the data, with anything else in it than checkpoints.
    pub fn checkpoints(&mut self, option: &'static str, folder: &Path) -> Result<()> {
        let mut there = folder.to_path_buf();
        while !there.exists() {
            there = match there.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
                _ => PathBuf::from("."),
            };
        }
        if !there.is_dir() {
            let message = format!("{option} `{}`: `{}` is no folder", folder.shown(), there.shown());
            return Err(failed(message));
        }
        if let Err(e) = std::fs::metadata(folder)
            && e.kind() != std::io::ErrorKind::NotFound
        {
            return Err(failed(format!("{option} `{}`: {e}", folder.shown())));
        }
        check_writable(&there.join(format!("step-{}.safetensors", u64::MAX)), 0)
            .map_err(|e| failed(format!("{option}: {e}")))?;
        let place = place(folder);
        let own = |name: &str| name.starts_with("step-") || name.starts_with('.');
        let others = || {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries.into_iter().any(|entry| !own(&entry.file_name().to_string_lossy()))
        };
        let reader = self.read.iter().find(|(_, read)| read.is_dir() && place.starts_with(read));
        if let (Some((reader, _)), false) = (reader, self.force)
            && others()
        {
            let message = format!(
                "{option} would write checkpoints into `{}`, among what {reader} reads: name another folder, or give --force",
                folder.shown()
            );
            return Err(refused(message));
        }
        self.checkpoints.push((option, place));
        Ok(())
    }

    /// A file of about so many bytes that will be written.
    ///
    /// # Errors
    /// A name that promises another format, or stands for standard output; a folder, a folder that is not there or takes no files, a disk that is full; two
    /// options that name one file; a file that is there and of another kind, read-only, or an input.
    pub fn writes(&mut self, option: &'static str, file: &Path, what: Written, bytes: usize) -> Result<()> {
        let shown = file.shown();
        if file == Path::new("-") {
            let message = "takes a file, and `-` is none: only text goes to standard output; a file of that name is `./-`";
            return Err(refused(format!("{option} {message}")));
        }
        if !self.force {
            check_ending(option, file, what)?;
        }
        check_writable(file, bytes as u64).map_err(|e| failed(format!("{option}: {e}")))?;
        let place = place(file);
        if let Some((other, _)) = self.written.iter().find(|(_, path)| *path == place) {
            return Err(refused(format!("{other} and {option} both name `{shown}`: give each its own file")));
        }
        self.written.push((option, place.clone()));
        if self.force {
            return Ok(());
        }
        let ask = |why: String| Err(would_overwrite(option, file, &why));
        if let Some((other, _)) = self.read.iter().find(|(_, path)| *path == place) {
            return ask(format!("which is what {other} reads"));
        }
        let step = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("step-"));
        let of = self.checkpoints.iter().find(|(_, folder)| place.parent() == Some(folder.as_path()));
        if let (Some((other, _)), true) = (of, step && file.exists()) {
            return ask(format!("which is a checkpoint of {other}"));
        }
        let Ok(content) = Content::of(file) else { return Ok(()) };
        if std::fs::metadata(file).is_ok_and(|there| there.permissions().readonly()) {
            return ask("which is read-only".into());
        }
        if content != Content::Empty && !what.is_own(content) {
            return ask(format!("which is {content}"));
        }
        // Objects and libraries are known by the header that was written with them.
        let header = || Content::of(beside(file, "h")).is_ok_and(|beside| beside == Content::Header);
        if matches!(content, Content::Object | Content::Library) && !header() {
            return ask("which has no header of ours beside it".into());
        }
        // Results of a call are not weights, though both are safetensors.
        let weights = || TensorFile::open(file).is_ok_and(|file| file.metadata("format").is_some());
        if what == Written::Tensors && content == Content::Safetensors && weights() {
            return ask("which holds weights".into());
        }
        if what == Written::Tensors && content != Content::Empty && !holds_results(file) {
            return ask(format!("which is {content}, and not the result of an earlier run"));
        }
        Ok(())
    }

    /// A file of about so many bytes with weights or a training state like this one; where no update was made of it (`idle`
    /// says why), nothing is replaced: what is there may be trained.
    ///
    /// # Errors
    /// Those of [`writes`](Destinations::writes); what is there and holds other tensors than those of the model, or was not
    /// written here.
    pub fn saves(&mut self, file: &Path, state: &State, bytes: usize, idle: Option<&str>) -> Result<()> {
        self.writes("--save", file, Written::State, bytes)?;
        if self.force || is_free(file) {
            return Ok(());
        }
        if let Some(idle) = idle {
            let why = format!("which may hold trained weights, while {idle}");
            return Err(would_overwrite("--save", file, &why));
        }
        if state.is_saved_in(file) {
            return Ok(());
        }
        let why = if state.is_in_unmarked(file) {
            "which holds weights of this model without the mark of a run: other programs write none, nor did earlier \
             versions (what is saved from now on has it)"
        } else {
            "which does not hold the weights of this model as an earlier run has saved them"
        };
        Err(would_overwrite("--save", file, why))
    }

    /// Whether a file has other weights than a state, which only `--force` gives up for less than a whole run.
    pub fn keeps(&self, file: &Path, state: &State) -> bool {
        let holds_them = || {
            let mut there = state.try_clone()?;
            there.load(file)?;
            let mut slots = state.slots().iter().zip(there.slots());
            let same = slots.all(|(a, b)| !a.kind().is_saved() || a.tensor() == b.tensor());
            Ok::<bool, Error>(same)
        };
        !self.force && !is_free(file) && !holds_them().unwrap_or(false)
    }

    /// A table of answers that will be written with these names of columns: one that is there is replaced if it has the
    /// same, and rows as they are written.
    ///
    /// # Errors
    /// Another table.
    pub fn replaces(&self, option: &str, file: &Path, columns: &[String]) -> Result<()> {
        if self.force || is_free(file) || is_written_table(file, columns) {
            return Ok(());
        }
        Err(would_overwrite(option, file, "which is no table of such answers from an earlier run"))
    }
}

/// The file with another ending that is written beside an object or a library: `net.h` beside `net.o`, `libnet.a` and
/// `libnet.so`.
pub fn beside(file: &Path, ending: &str) -> PathBuf {
    let stem = file.file_stem().unwrap_or_default();
    let is_library = |ending: &&OsStr| *ending == "a" || *ending == "so";
    let of_library = || file.extension().filter(is_library).and(stem.to_str()?.strip_prefix("lib"));
    let mut name = of_library().map_or(stem, OsStr::new).to_os_string();
    name.push(".");
    name.push(ending);
    file.with_file_name(name)
}

/// Whether nothing is lost where a file is written: there is none, or an empty one, or a device.
fn is_free(file: &Path) -> bool {
    !file.is_file() || Content::of(file).is_ok_and(|content| content == Content::Empty)
}

/// A file that cannot be written.
fn failed(message: String) -> Error {
    Error::new(ErrorKind::Io, message)
}

/// What is asked before something is overwritten.
fn would_overwrite(option: &str, file: &Path, why: &str) -> Error {
    let shown = file.shown();
    refused(format!("{option} would overwrite `{shown}`, {why}: name another file, or give --force"))
}

/// A name that promises another format than the one that is written.
fn check_ending(option: &str, file: &Path, what: Written) -> Result<()> {
    let ending = file.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let promised = ENDINGS.iter().find(|(_, endings)| endings.contains(&ending.as_str()));
    match promised {
        Some((format, _)) if !what.endings().contains(&ending.as_str()) => {
            let better = match what.endings()[0] {
                "" => "take the ending away".to_owned(),
                ending => format!("let the name end in .{ending}"),
            };
            let (file, what) = (file.shown(), what.name());
            Err(refused(format!("{option} `{file}` says {format}, but {what}: {better}, or give --force")))
        }
        _ => Ok(()),
    }
}

/// Where a file is, whether it is there or not, so that two names of one file are found equal.
fn place(file: &Path) -> PathBuf {
    if let Ok(found) = std::fs::canonicalize(file) {
        return found;
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match (std::fs::canonicalize(folder), file.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => file.to_path_buf(),
    }
}

/// The bytes that a state's weights take in a file, about.
pub fn weight_bytes(state: &State) -> usize {
    let weights = state.slots().iter().filter(|slot| slot.kind().is_weight());
    weights.map(|slot| slot.tensor().bytes().len() + slot.name().len() + 64).sum()
}

/// Bytes of a name that a rescued file has from the one that failed, which may have been too long.
const RESCUED_STEM: usize = 40;

/// Saves weights in another place than the one that failed: its folder, the current one, that of temporary files; under its
/// name, or if that is refused there, too, under one that no file system refuses. Nothing is overwritten.
pub fn rescue(state: &State, file: &Path, suffix: &str) -> Option<PathBuf> {
    let mut stem = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    stem.truncate(stem.floor_char_boundary(RESCUED_STEM));
    // Beside a device is no place for files.
    let device = file.exists() && !file.is_file();
    let own = if device { PathBuf::new() } else { file.parent().unwrap_or(Path::new("")).to_path_buf() };
    let folders = [own, PathBuf::new(), std::env::temp_dir()];
    let mut places = folders.iter().flat_map(|folder| [(folder, &*stem), (folder, "weights")]);
    places.find_map(|(folder, stem)| {
        let names = (1..100).map(|number| match number {
            1 => format!("{stem}-{suffix}.safetensors"),
            _ => format!("{stem}-{suffix}-{number}.safetensors"),
        });
        let free = names.map(|name| folder.join(name)).find(|path| !path.exists())?;
        state.save_weights(&free).ok().map(|()| free)
    })
}
