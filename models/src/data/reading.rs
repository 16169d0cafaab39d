//! What all readers of data sets need: errors, folders, files that promise too much, lists that may find no memory.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use brolga_runtime::{Error, ErrorKind, Field, Result, Shown, TensorMut, open_regular, sorted, type_name};

/// An error of kind `Data`.
pub(super) fn bad(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Data, message)
}

/// An error of kind `Format` about a file.
pub(super) fn malformed(file: &Path, message: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Format, format!("`{}`: {message}", file.shown()))
}

/// The entries of a folder, sorted by name, without hidden ones.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = |e| Error::io("read the folder", folder, e);
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            paths.push(entry.path());
        }
    }
    Ok(sorted(paths, PathBuf::cmp))
}

/// The name of a path's last part, for messages and comparisons.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Reads exactly `expected` bytes of `what`, in memory that grows with what is there, so that a header that
/// promises too much costs nothing; anything less or more is an error.
pub(super) fn read_exactly(reader: impl Read, expected: usize, file: &Path, what: &str) -> Result<Vec<u8>> {
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
pub(super) fn reserve<T>(list: &mut Vec<T>, more: usize, what: &str) -> Result<()> {
    list.try_reserve(more).map_err(|_| {
        let bytes = more.saturating_mul(size_of::<T>());
        Error::new(ErrorKind::Memory, format!("there is no memory for {what}: {bytes} bytes were asked for"))
    })
}

/// So many zeros.
pub(super) fn zeros<T: Clone + Default>(count: usize, what: &str) -> Result<Vec<T>> {
    let mut list = Vec::new();
    reserve(&mut list, count, what)?;
    list.resize(count, T::default());
    Ok(list)
}

/// As many elements as there are, in a list.
pub(super) fn collect<T>(elements: impl Iterator<Item = T>, count: usize, what: &str) -> Result<Vec<T>> {
    let mut list = Vec::new();
    reserve(&mut list, count, what)?;
    list.extend(elements.take(count));
    Ok(list)
}

pub(super) fn open_read(file: &Path) -> Result<File> {
    let opened = open_regular(file).map_err(|e| Error::io("read", file, e))?;
    Ok(opened.0)
}

/// Checks that `out` is what [`Batches::fill`](brolga_runtime::Batches::fill) asks for: `count` samples of field number `field`.
pub(super) fn check_request(fields: &[Field], field: usize, count: usize, out: &TensorMut) -> Result<()> {
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
