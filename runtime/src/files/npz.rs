//! NumPy's files: one array in `.npy`, several in `.npz` (a zip archive of `.npy` members).
//!
//! Format: "numpy.lib.format", versions 1.0 to 3.0, in NumPy's reference.

use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::files::atomic::write_atomically;
use crate::files::convert::{Stored, by_rows, swap_bytes};
use crate::files::safetensors::{TensorFile, write_safetensors};
use crate::files::zip::{Archive, Writer};
use crate::names::check_name;
use crate::paths::content::Content;
use crate::paths::regular::open_regular;
use crate::shown::Shown;
use crate::tensors::dtype::{DType, byte_len};
use crate::tensors::memory::zeros;
use crate::tensors::tensor::{Tensor, TensorRef};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// The longest header that is read; NumPy's own stay below 200 bytes for these types.
const MAX_HEADER: u64 = 1 << 16;
/// Marks results: the comment of an archive, the key in the metadata of safetensors.
const RESULTS: &str = "brolga.results";
/// Spaces behind the header of a single array that is a result: more than NumPy writes, which fills up to 64 bytes and leaves
/// room for 21 digits.
const MARKING_SPACES: usize = 128;
/// No deflate stream expands more than this (zlib's technical notes: 1032 to 1).
const MAX_EXPANSION: u64 = 1032;

/// Reads all tensors of a file: `.npz`, `.npy` (one tensor, named like the file), or safetensors. What it is, its content
/// says; where that says nothing, its name. What an archive has besides is passed over.
///
/// # Errors
/// A file that cannot be read, is cut short or holds something else; too little memory.
pub fn read_tensors(path: impl AsRef<Path>) -> Result<Vec<(String, Tensor)>> {
    Ok(read_tensors_and_others(path)?.0)
}

/// What an archive has beside tensors: arrays of texts, say, and files of other kinds. For each its name, and what to say to
/// whoever asks for it.
pub type Others = Vec<(String, Error)>;

/// Reads all tensors of a file, as [`read_tensors`] does, and names what else it has.
///
/// # Errors
/// Those of [`read_tensors`].
pub fn read_tensors_and_others(path: impl AsRef<Path>) -> Result<(Vec<(String, Tensor)>, Others)> {
    let path = path.as_ref();
    let content = Content::of(path).map_err(|e| Error::io("read", path, e))?;
    match (content, extension(path).as_str()) {
        (Content::Empty, "npz" | "npy") => Err(empty(path)),
        (Content::Npz, _) | (Content::Zip | Content::Unknown, "npz") => read_npz(path),
        (Content::Npy, _) | (Content::Unknown, "npy") => {
            let (file, size) = open_regular(path).map_err(|e| Error::io("read", path, e))?;
            let tensor = read_npy(&mut BufReader::new(file), size).map_err(|e| e.within(in_file(path)))?;
            let name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
            Ok((vec![(name, tensor)], Others::new()))
        }
        _ => Ok((TensorFile::open(path)?.read_all()?, Others::new())),
    }
}

/// The tensor of a `.npy` file that is in memory, as it comes through a pipe.
///
/// # Errors
/// Bytes that are none; too little memory.
pub fn read_array(bytes: &[u8]) -> Result<Tensor> {
    read_npy(&mut &bytes[..], bytes.len() as u64)
}

/// Opens a file of weights: safetensors, or an archive of arrays (`.npz`), which is read at once.
pub(crate) fn open_weights(path: &Path) -> Result<TensorFile> {
    match Content::of(path) {
        Ok(Content::Npz) => Ok(TensorFile::in_memory(path, read_npz(path)?.0)),
        Ok(Content::Empty) if extension(path) == "npz" => Err(empty(path)),
        _ => TensorFile::open(path),
    }
}

/// Writes tensors atomically, as `.npz` where the extension says so, or else as safetensors.
///
/// # Errors
/// A file that cannot be written; several tensors for a `.npy`; a name that the file cannot hold. The file is as
/// before then.
pub fn write_tensors(path: impl AsRef<Path>, tensors: &[(&str, TensorRef<'_>)]) -> Result<()> {
    write_marked(path.as_ref(), tensors, false)
}

/// Writes tensors as [`write_tensors`] does, marked as results, so that [`holds_results`] knows them again. Other readers
/// see no difference: an archive has a comment, a single array more spaces behind its header, safetensors an entry in their
/// metadata.
///
/// # Errors
/// Those of [`write_tensors`].
pub fn write_results(path: impl AsRef<Path>, tensors: &[(&str, TensorRef<'_>)]) -> Result<()> {
    write_marked(path.as_ref(), tensors, true)
}

/// Whether a file was written by [`write_results`], and can be made again therefore.
pub fn holds_results(path: impl AsRef<Path>) -> bool {
    let path = path.as_ref();
    let marked = || -> Option<bool> {
        Some(match Content::of(path).ok()? {
            Content::Npz => {
                let (file, size) = open_regular(path).ok()?;
                Archive::open(file, size).ok()?.comment() == RESULTS.as_bytes()
            }
            Content::Npy => {
                let (file, _) = open_regular(path).ok()?;
                let mut start = Vec::new();
                file.take(MAX_HEADER).read_to_end(&mut start).ok()?;
                let header = start.get(10..)?.split(|&byte| byte == b'\n').next()?;
                header.len() - header.trim_ascii_end().len() >= MARKING_SPACES
            }
            Content::Safetensors => TensorFile::open(path).ok()?.metadata(RESULTS).is_some(),
            _ => false,
        })
    };
    marked().unwrap_or(false)
}

fn write_marked(path: &Path, tensors: &[(&str, TensorRef<'_>)], results: bool) -> Result<()> {
    match extension(path).as_str() {
        "npz" => write_npz(path, tensors, results),
        "npy" => match tensors {
            [(_, tensor)] => write_atomically(path, |file| write_npy(file, tensor, results)),
            _ => {
                let (path, n) = (path.shown(), tensors.len());
                let message = format!("`{path}` can hold one array, but there are {n}; choose `.npz`");
                Err(Error::new(ErrorKind::Count, message))
            }
        },
        _ => write_safetensors(path, tensors, results.then_some((RESULTS, "results"))),
    }
}

fn extension(path: &Path) -> String {
    path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default()
}

fn in_file(path: &Path) -> String {
    format!("in `{}`", path.shown())
}

fn format_error(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Format, message)
}

/// A file without a byte, such as one that was begun and never written.
fn empty(path: &Path) -> Error {
    format_error("the file is empty: it has 0 bytes, and so no arrays").within(in_file(path))
}

fn read_npz(path: &Path) -> Result<(Vec<(String, Tensor)>, Others)> {
    let (file, size) = open_regular(path).map_err(|e| Error::io("read", path, e))?;
    let broken =
        |e: io::Error| format_error(format!("it is not a whole zip archive: {e}")).within(in_file(path));
    let mut archive = Archive::open(file, size).map_err(broken)?;
    if let Some(name) = archive.used_twice() {
        let message = format!("the name `{}` is used twice", name.strip_suffix(".npy").unwrap_or(&name));
        return Err(Error::new(ErrorKind::Name, message).within(in_file(path)));
    }
    let (mut tensors, mut others) = (Vec::new(), Others::new());
    for at in 0..archive.len() {
        let full = archive.name(at);
        let Some(name) = full.strip_suffix(".npy") else {
            let message = format!("member `{full}` is not a NumPy array (.npy)");
            others.push((full.clone(), format_error(message).within(in_file(path))));
            continue;
        };
        // What the archive says of the size is believed only as far as the bytes of the file can expand.
        let limit = size.saturating_mul(MAX_EXPANSION).min(archive.bytes(at));
        let tensor = read_npy(&mut archive.content(at).map_err(broken)?, limit)
            .map_err(|e| e.within(format!("array `{name}` in `{}`", path.shown())));
        match tensor {
            Ok(tensor) => tensors.push((name.to_string(), tensor)),
            Err(error) if error.kind() == ErrorKind::DType => others.push((name.to_string(), error)),
            // What is damaged is not passed over.
            Err(error) => return Err(error),
        }
    }
    match others.pop() {
        Some((_, error)) if tensors.is_empty() => Err(error),
        last => {
            others.extend(last);
            Ok((tensors, others))
        }
    }
}

/// Reads one `.npy` stream of at most `limit` bytes.
fn read_npy(source: &mut dyn Read, limit: u64) -> Result<Tensor> {
    let short = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => format_error("the array is cut short"),
        _ => format_error(format!("the array cannot be read: {e}")),
    };
    let mut start = [0; 8];
    source.read_exact(&mut start).map_err(short)?;
    if &start[..6] != MAGIC {
        return Err(format_error("it does not begin like a NumPy array"));
    }
    let header = match start[6] {
        1 => {
            let mut length = [0; 2];
            source.read_exact(&mut length).map_err(short)?;
            u64::from(u16::from_le_bytes(length))
        }
        2 | 3 => {
            let mut length = [0; 4];
            source.read_exact(&mut length).map_err(short)?;
            u64::from(u32::from_le_bytes(length))
        }
        version => return Err(format_error(format!("its format version {version} is unknown"))),
    };
    if header > MAX_HEADER.min(limit) {
        return Err(format_error(format!("its header claims {header} bytes")));
    }
    let mut text = zeros(header as usize, "the header of an array")?;
    source.read_exact(&mut text).map_err(short)?;
    let text = String::from_utf8(text).map_err(|_| format_error("its header is not text"))?;
    let header = parse_header(&text)?;
    let bytes = byte_len(DType::U8, &[&header.dims[..], &[header.stored.size()]].concat())?;
    if bytes as u64 > limit {
        return Err(format_error(format!("its shape asks for {bytes} bytes, but there are at most {limit}")));
    }
    let mut elements = zeros(bytes, "an array")?;
    source.read_exact(&mut elements).map_err(short)?;
    let mut rest = [0; 1];
    if source.read(&mut rest).map_err(short)? > 0 {
        return Err(format_error(format!("more data follows than its shape asks for ({bytes} bytes)")));
    }
    if header.big_endian {
        swap_bytes(&mut elements, header.stored.size());
    }
    let tensor = header.stored.tensor(&header.dims, &elements)?;
    if header.by_columns { by_rows(&tensor) } else { Ok(tensor) }
}

/// What an array's header says.
struct Header {
    stored: Stored,
    big_endian: bool,
    /// Fortran's order: the first axis runs fastest.
    by_columns: bool,
    dims: Vec<usize>,
}

/// The element type of NumPy's code without the byte order: `f4`.
fn stored(code: &str) -> Option<Stored> {
    Some(match code {
        "b1" => Stored::Own(DType::Bool),
        "u1" => Stored::Own(DType::U8),
        "i4" => Stored::Own(DType::I32),
        "i8" => Stored::Own(DType::I64),
        "f4" => Stored::Own(DType::F32),
        "f8" => Stored::Own(DType::F64),
        "f2" => Stored::F16,
        // Two bytes without a meaning for NumPy: as it saves bfloat16 of other packages.
        "V2" => Stored::Bf16,
        "i1" => Stored::I8,
        "i2" => Stored::I16,
        "u2" => Stored::U16,
        "u4" => Stored::U32,
        "u8" => Stored::U64,
        _ => return None,
    })
}

/// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`, a Python dictionary in this order or
/// another.
fn parse_header(text: &str) -> Result<Header> {
    let value = |key: &str| {
        let at = text.find(&format!("'{key}'")).map(|at| at + key.len() + 2);
        let rest = at.and_then(|at| text[at..].trim_start().strip_prefix(':')).map(str::trim_start);
        rest.ok_or_else(|| format_error(format!("its header has no `{key}`: {}", text.trim())))
    };
    let descr = value("descr")?;
    let code = descr.strip_prefix('\'').and_then(|d| d.split_once('\'')).map(|(code, _)| code);
    let Some(code) = code else {
        let message = "it is a structured array; save each of its fields as an array of its own";
        return Err(Error::new(ErrorKind::DType, message));
    };
    let (order, name) = code.split_at_checked(1).unwrap_or(("", code));
    let stored = stored(name).filter(|_| ["<", ">", "|", "="].contains(&order));
    let Some(stored) = stored else {
        let message = format!(
            "its elements are `{code}`; truth values, whole numbers and floats of up to 64 bits are read: convert it \
             before saving (`array.astype(numpy.float32)`)"
        );
        return Err(Error::new(ErrorKind::DType, message));
    };
    let shape = value("shape")?;
    let inside = shape.strip_prefix('(').and_then(|s| s.split_once(')')).map(|(inside, _)| inside);
    let dims = inside.and_then(|inside| {
        let dims = inside.split(',').map(str::trim).filter(|d| !d.is_empty());
        dims.map(|d| d.parse().ok()).collect::<Option<Vec<usize>>>()
    });
    let dims = dims.ok_or_else(|| format_error(format!("its shape cannot be read: {}", text.trim())))?;
    let by_columns = value("fortran_order")?.starts_with("True");
    Ok(Header { stored, big_endian: order == ">", by_columns, dims })
}

fn write_npz(path: &Path, tensors: &[(&str, TensorRef<'_>)], results: bool) -> Result<()> {
    for (name, _) in tensors {
        check_name(name).map_err(|e| e.within(format!("cannot write `{}`", path.shown())))?;
    }
    write_atomically(path, |file| {
        let mut archive = Writer::new(file);
        for (name, tensor) in tensors {
            // Stored, as `numpy.savez` does: weights and images hardly shrink.
            archive.store(&format!("{name}.npy"), &[&npy_header(tensor, false)?, tensor.bytes()])?;
        }
        archive.finish(if results { RESULTS } else { "" })
    })
}

fn write_npy(file: &mut dyn Write, tensor: &TensorRef<'_>, results: bool) -> io::Result<()> {
    file.write_all(&npy_header(tensor, results)?)?;
    file.write_all(tensor.bytes())
}

/// What stands before the elements in a `.npy` file.
fn npy_header(tensor: &TensorRef<'_>, results: bool) -> io::Result<Vec<u8>> {
    let code = match tensor.dtype() {
        DType::Bool => "|b1",
        DType::U8 => "|u1",
        DType::I32 => "<i4",
        DType::I64 => "<i8",
        DType::F32 => "<f4",
        DType::F64 => "<f8",
    };
    // A Python tuple: `()`, `(3,)`, `(3, 4)`.
    let dims: Vec<String> = tensor.dims().iter().map(usize::to_string).collect();
    let dims = dims.join(", ") + if dims.len() == 1 { "," } else { "" };
    let mut header = format!("{{'descr': '{code}', 'fortran_order': False, 'shape': ({dims}), }}");
    if results {
        header.extend(std::iter::repeat_n(' ', MARKING_SPACES));
    }
    // Magic, version, length, header and a newline fill a multiple of 64 bytes.
    let prefix = MAGIC.len() + 4;
    let padded = (prefix + header.len() + 1).next_multiple_of(64) - prefix - 1;
    header.extend(std::iter::repeat_n(' ', padded - header.len()));
    header.push('\n');
    let length = u16::try_from(header.len()).map_err(|_| io::Error::other("too many dimensions"))?;
    Ok([&MAGIC[..], &[1, 0], &length.to_le_bytes(), header.as_bytes()].concat())
}
