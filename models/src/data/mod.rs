//! Data sets as implementations of [`Batches`], fitted to the inputs of a model.
//!
//! [`open`] recognises by content:
//!
//! | source | what it is |
//! |---|---|
//! | `digits` | the embedded optical digits of UCI: 1,797 images of 8x8, the first 1,437 to train, the last 360 held out |
//! | `mk1`, `add(length: 50)`, … | made from a seed, with arguments ([`made_sets`] lists them): arrays with a part held out |
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
#[cfg(feature = "embedded")]
mod following;
mod idx;
mod images;
#[cfg(feature = "embedded")]
mod made;
mod options;
mod parts;
mod picture;
mod reading;
mod resize;
mod table;

use std::path::Path;

use brolga_runtime::{Batches, Error, ErrorKind, Field, Result, Shown, read_tensors_and_others};

use reading::malformed;

#[cfg(feature = "embedded")]
pub use made::{MADE_VERSION, known, made_sets};
pub use options::{HeldOut, Options};
pub use picture::{FORMATS, Format, PNG, picture, picture_of, pictures, takes_colour};
pub use table::rows;

/// The name by which [`open`] knows the embedded data set.
pub const DIGITS: &str = "digits";

/// Whether [`open`] knows a data set of this name without a file.
pub fn comes_along(name: &str) -> bool {
    cfg!(feature = "embedded") && (name == DIGITS || is_made(name))
}

#[cfg(feature = "embedded")]
fn is_made(name: &str) -> bool {
    made::is_one(name)
}

/// Without what makes them there are none.
#[cfg(not(feature = "embedded"))]
fn is_made(_: &str) -> bool {
    false
}

/// Opens the data set `source` (a path, or a name that [`comes_along`]) for the inputs `fields` of a model.
///
/// Errors are of kind `Data` where the data set cannot feed the fields, `Format` where a file is not what it should
/// be, `Io` where it cannot be read, and `Option` where the options do not fit.
pub fn open(source: &Path, fields: &[Field], options: &Options) -> Result<Box<dyn Batches>> {
    #[cfg(feature = "embedded")]
    if source == Path::new(DIGITS) && !source.exists() {
        return boxed(digits::load()?, fields, options);
    }
    #[cfg(feature = "embedded")]
    if let Some(name) = source.to_str().filter(|name| is_made(name) && !source.exists()) {
        return open_made(name, fields, options).map_err(|error| of_set(source, error));
    }
    let opened = match source.is_dir() {
        true => open_folder(source, fields, options),
        false if is_table(source) => return table(source, fields, options),
        false => open_arrays(source, fields, options),
    };
    opened.map_err(|error| of_set(source, error))
}

/// An error about a data set, which names it.
fn of_set(source: &Path, error: Error) -> Error {
    match error.kind() {
        ErrorKind::Format | ErrorKind::Io | ErrorKind::DType => error, // these name the file
        _ => error.within(format!("the data set `{}`", source.shown())),
    }
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

fn open_arrays(file: &Path, fields: &[Field], options: &Options) -> Result<Box<dyn Batches>> {
    let (tensors, others) = read_tensors_and_others(file)?;
    Ok(Box::new(arrays::ArrayBatches::new(tensors, others, fields, options)?))
}

#[cfg(feature = "embedded")]
fn open_made(name: &str, fields: &[Field], options: &Options) -> Result<Box<dyn Batches>> {
    let open = |fields: &[Field]| -> Result<Box<dyn Batches>> {
        let arrays = made::arrays(name, fields, arrays::VALIDATION)?;
        Ok(Box::new(arrays::ArrayBatches::new(arrays, Vec::new(), fields, options)?))
    };
    match made::is_sequence(name, fields)? {
        true => Ok(Box::new(following::Following::new(fields, open)?)),
        false => open(fields),
    }
}

/// Opens a table for the inputs `fields` of a model: [`open`], of which nothing else is needed.
///
/// # Errors
/// Those of [`open`].
pub fn table(file: &Path, fields: &[Field], options: &Options) -> Result<Box<dyn Batches>> {
    let batches = table::load(file, fields, options)
        .and_then(|filled| arrays::ArrayBatches::filled(filled, fields, options));
    Ok(Box::new(batches.map_err(|error| of_set(file, error))?))
}

/// Whether a file is a table as text, by the ending of its name.
pub fn is_table(file: &Path) -> bool {
    let extension = file.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    ["csv", "tsv"].contains(&extension.as_str())
}
