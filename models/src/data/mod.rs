//! Data sets as implementations of [`Batches`], fitted to the inputs of a model.
//!
//! [`open`] recognises by content:
//!
//! | source | what it is |
//! |---|---|
//! | `digits` | the embedded optical digits of UCI: 1,797 images of 8x8, the first 1,437 to train, the last 360 held out |
//! | a folder of IDX files, plain or `.gz` | MNIST, Fashion-MNIST and their like |
//! | a folder with `data_batch_*.bin`, `test_batch.bin` | CIFAR-10, binary version |
//! | a folder with one folder of PNG images per class | classes in the order of their names; optionally below `train` and `val` or `test` |
//! | a `.npz` or `.safetensors` file | one array per input of the model, by name, `[samples, ...]`; optionally `validation.<name>` |
//!
//! **Images** go to the one floating-point input of the model, of `[channels, height, width]`, `[height, width]` or
//! `[n]` per sample (n = side² or 3 side²), and are resized to it by bilinear interpolation. Grey is repeated
//! over three channels; colour becomes luma for one. By default pixels are scaled to [0, 1] and then
//! standardised by mean and standard deviation of all pixels of the training part ([`Normalization`]). The class, from
//! 0, goes to inputs of `i32[]` or `i64[]` per sample.
//!
//! **Arrays** are handed through as they are, but for an exact change of type.
//!
//! **The part held out** is the data set's own test part where it has one, else a fifth of the samples (rounded
//! down), drawn by [`Options::seed`]. The order of training is the training loop's business.
//!
//! The embedded digits are E. Alpaydin and C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine
//! Learning Repository (1998), <https://doi.org/10.24432/C50P49>, CC BY 4.0: the selection of scikit-learn's
//! `load_digits`, in another order (its own goes by writer), so that the part held out has the same hands and
//! the classes in proportion. `models/data/digits.py` made them.

mod arrays;
mod cifar;
mod digits;
mod folder;
mod idx;
mod images;
mod parts;
mod resize;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use brolga_runtime::{
    Batches, Error, ErrorKind, Field, Result, TensorMut, open_regular, read_tensors, type_name,
};

/// The name by which [`open`] knows the embedded data set.
pub const DIGITS: &str = "digits";

/// How a data set is prepared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// What is done to pixels. Arrays are never changed.
    pub normalization: Normalization,
    /// Draws the fifth that is held out where a data set has no test part of its own.
    pub seed: u64,
}

/// What is done to pixels after scaling them to [0, 1].
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Normalization {
    /// Nothing.
    Scale,
    /// (x - mean) / std, both over all pixels of the training part, before resizing.
    #[default]
    Standardize,
    /// The same with each channel's own mean and std.
    StandardizeChannels,
    /// (x - mean) / std with these values, one for all channels or one for each.
    Given {
        /// The means.
        mean: Vec<f64>,
        /// The standard deviations, above 0.
        std: Vec<f64>,
    },
}

/// Opens the data set `source` (a path, or [`DIGITS`]) for the inputs `fields` of a model.
///
/// Errors are of kind `Data` where the data set cannot feed the fields, `Format` where a file is not what it should
/// be, `Io` where it cannot be read, and `Option` where the options do not fit.
pub fn open(source: &Path, fields: &[Field], options: &Options) -> Result<Box<dyn Batches>> {
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
        _ => error.within(format!("the data set `{}`", source.display())),
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
    if let Some(images) = folder::load(folder, fields)? {
        return boxed(images, fields, options);
    }
    Err(malformed(
        folder,
        "the folder holds neither IDX files, nor CIFAR-10's data_batch_*.bin, nor folders of PNG images (one per \
         class, or below `train` and `val` or `test`)",
    ))
}

fn open_file(file: &Path, fields: &[Field], options: &Options) -> Result<Box<dyn Batches>> {
    Ok(Box::new(arrays::ArrayBatches::new(read_tensors(file)?, fields, options)?))
}

/// An error of kind `Data`.
fn bad(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Data, message)
}

/// An error of kind `Format` about a file.
fn malformed(file: &Path, message: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Format, format!("`{}`: {message}", file.display()))
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
