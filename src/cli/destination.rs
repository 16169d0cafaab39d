//! Files that a command is going to write, looked at before it works: what it makes must not be lost in the end, and what
//! is of another kind is not overwritten unless `--force` is given.

use std::path::{Path, PathBuf};

use brolga::runtime::{Content, TensorFile, check_writable};
use brolga::{Error, Result, State};

/// What a command writes into a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Weights or a training state: safetensors.
    State,
    /// Tensors: `.npz`, `.npy`, or safetensors.
    Tensors,
    /// A table of answers or predictions.
    Table,
    /// The log of a training run.
    Log,
    /// A trace of a profile.
    Trace,
    /// An object file.
    Object,
    /// Its C header.
    Header,
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
            Written::Header => "a C header is written",
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
            Written::Header => &["h", "hpp"],
        }
    }

    /// Whether the command itself writes such files.
    fn is_own(self, content: Content) -> bool {
        match self {
            Written::State => content == Content::Safetensors,
            Written::Tensors => matches!(content, Content::Safetensors | Content::Npz | Content::Npy),
            Written::Table => content == Content::Table,
            Written::Log => content == Content::Log,
            Written::Trace => content == Content::Trace,
            Written::Object => content == Content::Object,
            Written::Header => content == Content::Header,
        }
    }
}

/// The files that a command reads and writes, checked one by one as they are named.
#[derive(Default)]
pub struct Destinations {
    force: bool,
    read: Vec<(&'static str, PathBuf)>,
    written: Vec<(&'static str, PathBuf)>,
}

impl Destinations {
    /// None yet; with `force` everything that can be overwritten may be.
    pub fn new(force: bool) -> Destinations {
        Destinations { force, ..Destinations::default() }
    }

    /// A file that is read, if one is, and that nothing should be written into.
    pub fn reads(mut self, option: &'static str, file: Option<&Path>) -> Destinations {
        self.read.extend(file.map(|file| (option, place(file))));
        self
    }

    /// A file of about so many bytes that will be written.
    ///
    /// # Errors
    /// A name that promises another format; a folder, a folder that is not there or takes no files, a disk that is full; two
    /// options that name one file; a file that is there and of another kind, read-only, or an input.
    pub fn writes(&mut self, option: &'static str, file: &Path, what: Written, bytes: usize) -> Result<()> {
        let shown = file.display();
        if !self.force {
            check_ending(option, file, what)?;
        }
        check_writable(file, bytes as u64).map_err(|e| Error::Io(format!("{option}: {e}")))?;
        let place = place(file);
        if let Some((other, _)) = self.written.iter().find(|(_, path)| *path == place) {
            return Err(Error::Name(format!(
                "{other} and {option} both name `{shown}`: give each its own file"
            )));
        }
        self.written.push((option, place.clone()));
        if self.force {
            return Ok(());
        }
        let ask = |why: String| {
            Err(Error::Name(format!(
                "{option} would overwrite `{shown}`, {why}: name another file, or give --force"
            )))
        };
        if let Some((other, _)) = self.read.iter().find(|(_, path)| *path == place) {
            return ask(format!("which is what {other} reads"));
        }
        let Ok(content) = Content::of(file) else { return Ok(()) };
        if std::fs::metadata(file).is_ok_and(|there| there.permissions().readonly()) {
            return ask("which is read-only".into());
        }
        if content != Content::Empty && !what.is_own(content) {
            return ask(format!("which is {content}"));
        }
        // Results of a call are not weights, though both are safetensors.
        let weights = || TensorFile::open(file).is_ok_and(|file| file.metadata("format").is_some());
        if what == Written::Tensors && content == Content::Safetensors && weights() {
            return ask("which holds weights".into());
        }
        Ok(())
    }
}

/// A name that promises another format than the one that is written.
fn check_ending(option: &str, file: &Path, what: Written) -> Result<()> {
    let ending = file.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    let promised = ENDINGS.iter().find(|(_, endings)| endings.contains(&ending.as_str()));
    match promised {
        Some((format, _)) if !what.endings().contains(&ending.as_str()) => Err(Error::Name(format!(
            "{option} `{}` says {format}, but {}: let the name end in .{}, or give --force",
            file.display(),
            what.name(),
            what.endings()[0]
        ))),
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

/// Saves weights in another place than the one that failed: its folder, the current one, that of temporary files. Nothing is
/// overwritten.
pub fn rescue(state: &State, file: &Path, suffix: &str) -> Option<PathBuf> {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let own = file.parent().unwrap_or(Path::new("")).to_path_buf();
    let folders = [own, PathBuf::new(), std::env::temp_dir()];
    folders.iter().find_map(|folder| {
        let names = (1..100).map(|number| match number {
            1 => format!("{stem}-{suffix}.safetensors"),
            _ => format!("{stem}-{suffix}-{number}.safetensors"),
        });
        let free = names.map(|name| folder.join(name)).find(|path| !path.exists())?;
        state.save_weights(&free).ok().map(|()| free)
    })
}
