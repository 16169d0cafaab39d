//! Data sets as implementations of [`Batches`], fitted to the inputs of a model.
//!
//! [`open`] recognises by content:
//!
//! | source | what it is |
//! |---|---|
//! | `digits` | the embedded optical digits of UCI: 1,797 images of 8x8, the first 1,437 to train, the last 360 held out |
//! | a folder of IDX files, plain or `.gz` | MNIST, Fashion-MNIST and their like |
//! | a folder with `data_batch_*.bin`, `test_batch.bin` | CIFAR-10, binary version |
//! | a folder with one folder of PNG or JPEG pictures per class | classes in the order of their names, with the pictures of folders inside; optionally below `train`, and `val`, `test` or both |
//! | a `.npz` or `.safetensors` file | one array per input of the model, by name, `[samples, ...]`; optionally `validation.<name>` |
//! | a `.csv` or `.tsv` file | a table with a header: columns by the names of inputs, a target, the rest for the one input that takes several numbers |
//!
//! **Images** go to the one floating-point input of the model, of `[channels, height, width]`, `[height, width]` or
//! `[n]` per sample (n = side² or 3 side²), and are resized to it by bilinear interpolation. Grey is repeated
//! over three channels; colour becomes luma for one. Black is 0 and white 1; what else is done to values is the model's
//! business, which says so in `prepare`. The class, from 0, goes to inputs of `i32[]` or `i64[]` per sample.
//!
//! **Arrays and tables** are handed through as they are, but for a change of type ([`Tensor::converted`]).
//!
//! **The part held out** is what [`HeldOut`] says, by default the data set's own test part where it has one, else a fifth of
//! the samples (rounded down), drawn by [`Options::seed`]. The order of training is the training loop's business.
//!
//! [`Tensor::converted`]: brolga_runtime::Tensor::converted
//!
//! The embedded digits are E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine
//! Learning Repository (1998), <https://doi.org/10.24432/C50P49>, CC BY 4.0: the selection of scikit-learn's
//! `load_digits`, in another order (its own goes by writer), so that the part held out has the same hands and
//! the classes in proportion. `models/data/digits.py` made them.

mod arrays;
mod cifar;
#[cfg(feature = "embedded")]
mod digits;
mod folder;
mod idx;
mod images;
mod parts;
mod picture;
mod resize;
mod table;

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use brolga_runtime::{
    Batches, DataRecord, Error, ErrorKind, Field, Result, Shown, TensorMut, open_regular, read_tensors,
    type_name,
};

pub use picture::{picture, pictures};
pub use table::rows;

/// The name by which [`open`] knows the embedded data set.
pub const DIGITS: &str = "digits";

/// Whether [`open`] knows a data set of this name without a file.
pub fn comes_along(name: &str) -> bool {
    cfg!(feature = "embedded") && name == DIGITS
}

/// How a data set is read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// Draws what is held out.
    pub seed: u64,
    /// What is held out.
    pub held_out: HeldOut,
    /// Names of the classes, in the order of their numbers; empty if the data set says them.
    pub classes: Vec<String>,
    /// Of inputs that take a whole number a sample, the texts that stand for the numbers of a table, in their order; of those
    /// that are not here, but for the classes, the table says them.
    pub vocabularies: Vec<(String, Vec<String>)>,
    /// The column of a table for the one input without a column of its name.
    pub target: Option<String>,
    /// Whether the target may be missing, as nothing is compared with it.
    pub unlabelled: bool,
    /// The columns of a table for the one input that takes several numbers; empty for all that are left.
    pub columns: Vec<String>,
    /// Inputs of one number a sample that are not asked for here, as the target is not where a network is only run: columns
    /// of their names are not among those that are left.
    pub others: Vec<String>,
}

impl Options {
    /// The same for a network that was trained: its classes, vocabularies, columns and target are those that it knows.
    pub fn known_to(self, record: &DataRecord) -> Options {
        let or = |known: &[String], own: Vec<String>| if known.is_empty() { own } else { known.to_vec() };
        Options {
            classes: or(&record.classes, self.classes),
            columns: or(&record.columns, self.columns),
            vocabularies: match record.vocabularies.is_empty() {
                true => self.vocabularies,
                false => record.vocabularies.clone(),
            },
            target: record.target.clone().or(self.target),
            ..self
        }
    }
}

/// Which samples are held out from training.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum HeldOut {
    /// The data set's own part for validation, or its test part, or a fifth where it has neither.
    #[default]
    Default,
    /// So much of what is not the own test part, which is left alone.
    Fraction {
        /// Between 0 and 1.
        fraction: f64,
        /// Whether of each class in proportion.
        stratified: bool,
    },
    /// One of several equal parts of what is not the own test part.
    Fold {
        /// Which one, from 0.
        number: usize,
        /// How many there are.
        of: usize,
        /// Whether each has all classes in proportion.
        stratified: bool,
    },
    /// The data set's own test part, or that for validation, or every sample where it has neither: to evaluate, with nothing
    /// to train on.
    Test,
    /// Every sample.
    All,
}

impl fmt::Display for HeldOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = |stratified: bool| if stratified { " of each class" } else { "" };
        match *self {
            HeldOut::Default => f.write_str("own part, or a fifth"),
            HeldOut::Fraction { fraction, stratified } => {
                write!(f, "fraction {fraction}{}", each(stratified))
            }
            HeldOut::Fold { number, of, stratified } => {
                write!(f, "fold {} of {of}{}", number + 1, each(stratified))
            }
            HeldOut::Test => f.write_str("test part"),
            HeldOut::All => f.write_str("all"),
        }
    }
}

impl FromStr for HeldOut {
    type Err = Error;

    /// Reads what it is displayed as.
    fn from_str(text: &str) -> Result<HeldOut> {
        let (rule, stratified) = match text.strip_suffix(" of each class") {
            Some(rule) => (rule, true),
            None => (text, false),
        };
        let fraction = || {
            let fraction = rule.strip_prefix("fraction ")?.parse().ok()?;
            Some(HeldOut::Fraction { fraction, stratified })
        };
        let fold = || {
            let (number, of) = rule.strip_prefix("fold ")?.split_once(" of ")?;
            let number = number.parse::<usize>().ok()?.checked_sub(1)?;
            Some(HeldOut::Fold { number, of: of.parse().ok()?, stratified })
        };
        let fixed = [HeldOut::Default, HeldOut::Test, HeldOut::All];
        let fixed = || fixed.into_iter().find(|rule| rule.to_string() == text);
        fixed().or_else(fraction).or_else(fold).ok_or_else(|| {
            Error::new(ErrorKind::Format, format!("`{text}` is no rule by which samples are held out"))
        })
    }
}

/// Opens the data set `source` (a path, or [`DIGITS`]) for the inputs `fields` of a model.
///
/// Errors are of kind `Data` where the data set cannot feed the fields, `Format` where a file is not what it should
/// be, `Io` where it cannot be read, and `Option` where the options do not fit.
pub fn open(source: &Path, fields: &[Field], options: &Options) -> Result<Box<dyn Batches>> {
    #[cfg(feature = "embedded")]
    if source == Path::new(DIGITS) && !source.exists() {
        return boxed(digits::load()?, fields, options);
    }
    let opened = if source.is_dir() {
        open_folder(source, fields, options)
    } else {
        open_file(source, fields, options)
    };
    opened.map_err(|error| match error.kind() {
        ErrorKind::Format | ErrorKind::Io | ErrorKind::DType => error, // these name the file
        _ => error.within(format!("the data set `{}`", source.shown())),
    })
}

fn boxed(images: images::Images, fields: &[Field], options: &Options) -> Result<Box<dyn Batches>> {
    Ok(Box::new(images::ImageBatches::new(images, fields, options)?))
}

fn open_folder(folder: &Path, fields: &[Field], options: &Options) -> Result<Box<dyn Batches>> {
    // By name first: a CIFAR record may begin like an IDX header.
    if let Some(images) = cifar::load(folder)? {
        return boxed(images, fields, options);
    }
    if let Some(images) = idx::load(folder)? {
        return boxed(images, fields, options);
    }
    if let Some(images) = folder::load(folder, fields, options)? {
        return boxed(images, fields, options);
    }
    Err(malformed(
        folder,
        "the folder holds neither IDX files, nor CIFAR-10's data_batch_*.bin, nor folders of PNG or JPEG pictures \
         (one per class, or below `train`, `val` and `test`)",
    ))
}

fn open_file(file: &Path, fields: &[Field], options: &Options) -> Result<Box<dyn Batches>> {
    if is_table(file) {
        let filled = table::load(file, fields, options)?;
        return Ok(Box::new(arrays::ArrayBatches::filled(filled, fields, options)?));
    }
    Ok(Box::new(arrays::ArrayBatches::new(read_tensors(file)?, fields, options)?))
}

/// Whether a file is a table as text, by the ending of its name.
pub fn is_table(file: &Path) -> bool {
    let extension = file.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    ["csv", "tsv"].contains(&extension.as_str())
}

/// An error of kind `Data`.
fn bad(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Data, message)
}

/// An error of kind `Format` about a file.
fn malformed(file: &Path, message: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Format, format!("`{}`: {message}", file.shown()))
}

/// The entries of a folder, sorted by name, without hidden ones.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = |e| Error::io("read the folder", folder, e);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

/// The name of a path's last part, for messages and comparisons.
fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Reads exactly `expected` bytes of `what`, in memory that grows with what is there, so that a header that
/// promises too much costs nothing; anything less or more is an error.
fn read_exactly(reader: impl Read, expected: usize, file: &Path, what: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = (expected as u64).saturating_add(1);
    let read = reader.take(limit).read_to_end(&mut bytes);
    match bytes.len() {
        found if found < expected => {
            let why = read.err().map_or("the file is cut short".into(), |e| e.to_string());
            Err(malformed(file, format!("expected {expected} bytes of {what}, found {found}: {why}")))
        }
        found if found > expected => Err(malformed(
            file,
            format!("expected {expected} bytes of {what}, but the file goes on after them"),
        )),
        _ => Ok(bytes),
    }
}

/// Room for more in a list, or an error that says how much for what.
fn reserve<T>(list: &mut Vec<T>, more: usize, what: &str) -> Result<()> {
    list.try_reserve(more).map_err(|_| {
        let bytes = more.saturating_mul(size_of::<T>());
        Error::new(ErrorKind::Memory, format!("there is no memory for {what}: {bytes} bytes were asked for"))
    })
}

/// So many zeros.
fn zeros<T: Clone + Default>(count: usize, what: &str) -> Result<Vec<T>> {
    let mut list = Vec::new();
    reserve(&mut list, count, what)?;
    list.resize(count, T::default());
    Ok(list)
}

/// As many elements as there are, in a list.
fn collect<T>(elements: impl Iterator<Item = T>, count: usize, what: &str) -> Result<Vec<T>> {
    let mut list = Vec::new();
    reserve(&mut list, count, what)?;
    list.extend(elements.take(count));
    Ok(list)
}

fn open_read(file: &Path) -> Result<File> {
    let opened = open_regular(file).map_err(|e| Error::io("read", file, e))?;
    Ok(opened.0)
}

/// Checks that `out` is what [`Batches::fill`] asks for: `count` samples of field number `field`.
fn check_request(fields: &[Field], field: usize, count: usize, out: &TensorMut) -> Result<()> {
    let Some(field) = fields.get(field) else {
        let message = format!("field {field} was asked for, but the data set has {} fields", fields.len());
        return Err(Error::new(ErrorKind::Range, message));
    };
    if out.dtype() == field.dtype && out.dims().first() == Some(&count) && out.dims()[1..] == field.dims[..] {
        return Ok(());
    }
    let expected = type_name(field.dtype, &[&[count], &field.dims[..]].concat());
    let found = type_name(out.dtype(), out.dims());
    let message =
        format!("the buffer for {count} samples of `{}` is {found}, expected {expected}", field.name);
    Err(Error::new(ErrorKind::Shape, message))
}
