//! The safetensors format: reading tensor by tensor, and writing atomically. Archives of arrays are read through the same type.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result, nearest_hint};
use crate::files::atomic::write_atomically;
use crate::files::convert::Stored;
use crate::files::json::{self, Reader, needed, once, quoted};
use crate::names::check_name;
use crate::order::{self, order};
use crate::paths::content::Content;
use crate::paths::regular::open_regular;
use crate::shown::Shown;
use crate::tensors::dtype::{DType, byte_len, type_found};
use crate::tensors::memory::zeros;
use crate::tensors::tensor::{Tensor, TensorRef};

/// Bytes of the header's length at the beginning of a file.
const LENGTH_BYTES: u64 = 8;
/// The longest header that the format allows.
const MAX_HEADER: u64 = 100_000_000;

/// An open safetensors file: its header is read and checked, its tensors are read one by one.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    content: Held,
    entries: Vec<FileTensor>,
    /// Positions in `entries`, by name.
    index: HashMap<String, usize>,
    metadata: HashMap<String, String>,
}

/// Where the tensors of a file are.
#[derive(Debug)]
enum Held {
    /// In the file, from this byte on.
    InFile(File, u64),
    /// Read already, in the order of the entries: an archive's arrays.
    InMemory(Vec<Tensor>),
}

/// One tensor of a file, in the order of the data.
#[derive(Debug)]
pub(crate) struct FileTensor {
    pub(crate) name: String,
    dtype: &'static str,
    /// The element type in the file that tensors in memory were read from, if it is none of ours.
    read_as: Option<&'static str>,
    pub(crate) dims: Vec<usize>,
    offset: usize,
    len: usize,
}

impl FileTensor {
    /// The element type of what is read: one that the runtime has and that has the same numbers.
    pub(crate) fn dtype(&self) -> Result<DType> {
        Ok(self.stored()?.dtype())
    }

    /// Its type as the file has it.
    pub(crate) fn type_found(&self) -> Result<String> {
        let stored = self.stored()?;
        Ok(type_found(stored.dtype(), self.read_as.or(stored.foreign()), &self.dims))
    }

    /// The element type in the file; an error, with a way out, where it is not read.
    fn stored(&self) -> Result<Stored> {
        Ok(match self.dtype {
            "BOOL" => Stored::Own(DType::Bool),
            "U8" => Stored::Own(DType::U8),
            "I32" => Stored::Own(DType::I32),
            "I64" => Stored::Own(DType::I64),
            "F32" => Stored::Own(DType::F32),
            "F64" => Stored::Own(DType::F64),
            "F16" => Stored::F16,
            "BF16" => Stored::Bf16,
            "I8" => Stored::I8,
            "I16" => Stored::I16,
            "U16" => Stored::U16,
            "U32" => Stored::U32,
            "U64" => Stored::U64,
            other => {
                let message = format!(
                    "`{}` holds elements of {other}; truth values, whole numbers and floats of 16 to 64 bits are read: \
                     convert it before saving (in PyTorch `tensor.float()`)",
                    self.name
                );
                return Err(Error::new(ErrorKind::DType, message));
            }
        })
    }
}

impl TensorFile {
    /// Opens a file and checks its header against the size of the file. Memory is proportional to the header.
    ///
    /// # Errors
    /// A file that cannot be read, or is no safetensors file: of another kind, cut short, or with a header that
    /// contradicts itself or the size of the file.
    pub fn open(path: impl AsRef<Path>) -> Result<TensorFile> {
        let path = path.as_ref();
        let io = |e| Error::io("read", path, e);
        let format = |message: String| {
            let shown = path.shown();
            let message = match Content::of(path) {
                Ok(Content::Empty | Content::Safetensors | Content::Unknown) | Err(_) => message,
                Ok(other) => {
                    format!("it is {other}; {}", other.advice().replace("FILE", &format!("\"{shown}\"")))
                }
            };
            Error::new(ErrorKind::Format, message)
                .within(format!("`{shown}` is not a whole safetensors file"))
        };
        let (mut file, size) = open_regular(path).map_err(io)?;
        if size < LENGTH_BYTES {
            return Err(format(format!("it has {size} bytes, fewer than the length of a header takes")));
        }
        let mut length = [0; LENGTH_BYTES as usize];
        file.read_exact(&mut length).map_err(io)?;
        let header = u64::from_le_bytes(length);
        if header > MAX_HEADER || header > size - LENGTH_BYTES {
            return Err(format(format!("it claims a header of {header} bytes, but has {size} bytes in all")));
        }
        let mut text = zeros(header as usize, &format!("the header of `{}`", path.shown()))?;
        file.read_exact(&mut text).map_err(io)?;
        let wrong = |e: String| format(format!("its header is wrong: {e}"));
        let (entries, metadata) = parse_header(&text).map_err(wrong)?;
        let place = |entry: &FileTensor| (entry.offset, entry.len);
        let entries =
            order::sorted(entries, |a, b| place(a).cmp(&place(b)).then_with(|| a.name.cmp(&b.name)));
        let expected = check_layout(&entries).map_err(wrong)? as u64;
        let found = size - LENGTH_BYTES - header;
        if found != expected {
            return Err(format(format!("its header announces {expected} bytes of data, but {found} follow")));
        }
        Ok(TensorFile::of(path, Held::InFile(file, LENGTH_BYTES + header), entries, metadata))
    }

    /// The same of tensors that have been read from that file.
    pub(crate) fn in_memory(path: &Path, tensors: Vec<(String, Tensor)>) -> TensorFile {
        let entry = |(name, tensor): &(String, Tensor)| FileTensor {
            name: name.clone(),
            dtype: dtype_in_files(tensor.dtype()),
            read_as: tensor.stored(),
            dims: tensor.dims().to_vec(),
            offset: 0,
            len: tensor.bytes().len(),
        };
        let entries = tensors.iter().map(entry).collect();
        let tensors = tensors.into_iter().map(|(_, tensor)| tensor).collect();
        TensorFile::of(path, Held::InMemory(tensors), entries, HashMap::new())
    }

    fn of(
        path: &Path,
        content: Held,
        entries: Vec<FileTensor>,
        metadata: HashMap<String, String>,
    ) -> TensorFile {
        let index = entries.iter().enumerate().map(|(at, entry)| (entry.name.clone(), at)).collect();
        TensorFile { path: path.to_path_buf(), content, entries, index, metadata }
    }

    /// The names of the tensors, in the order of the data.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|e| e.name.as_str())
    }

    /// Gives the tensors other names from now on: where a name begins with the first of a pair, that is replaced by the
    /// second, by the first pair that fits.
    ///
    /// # Errors
    /// Two tensors that have one name then.
    pub(crate) fn rename(&mut self, prefixes: &[(String, String)]) -> Result<()> {
        let mut index = HashMap::new();
        for (at, entry) in self.entries.iter_mut().enumerate() {
            let fits =
                prefixes.iter().find_map(|(from, to)| Some((entry.name.strip_prefix(from.as_str())?, to)));
            let renamed = fits.map(|(rest, to)| format!("{to}{rest}"));
            if let Some(name) = renamed {
                entry.name = name;
            }
            if index.insert(entry.name.clone(), at).is_some() {
                let message = format!(
                    "with these prefixes two tensors of `{}` are `{}`",
                    self.path.shown(),
                    entry.name
                );
                return Err(Error::new(ErrorKind::Name, message));
            }
        }
        self.index = index;
        Ok(())
    }

    /// An entry of the file's free-form metadata.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// Whether there is a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.index.contains_key(name)
    }

    /// Reads one tensor; one of a type that tensors do not have becomes the smallest type with the same numbers.
    ///
    /// # Errors
    /// There is no tensor of this name; it has a type without a counterpart here; the file cannot be read; too little
    /// memory.
    pub fn read(&mut self, name: &str) -> Result<Tensor> {
        let Some(&at) = self.index.get(name) else {
            let hint = nearest_hint(name, self.names());
            let message = format!("`{}` has no tensor `{name}`{hint}", self.path.shown());
            return Err(Error::new(ErrorKind::Name, message));
        };
        self.read_entry(at)
    }

    /// Reads all tensors, each as [`TensorFile::read`] does.
    ///
    /// # Errors
    /// Those of [`TensorFile::read`].
    pub fn read_all(&mut self) -> Result<Vec<(String, Tensor)>> {
        (0..self.entries.len()).map(|at| Ok((self.entries[at].name.clone(), self.read_entry(at)?))).collect()
    }

    pub(crate) fn entries(&self) -> &[FileTensor] {
        &self.entries
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn read_entry(&mut self, at: usize) -> Result<Tensor> {
        let entry = &self.entries[at];
        let place = || format!("in `{}`", self.path.shown());
        let io = |e| Error::io("read", &self.path, e);
        let (file, data) = match &mut self.content {
            Held::InFile(file, data) => (file, *data),
            Held::InMemory(tensors) => return tensors[at].try_clone(),
        };
        let stored = entry.stored().map_err(|e| e.within(place()))?;
        let of_tensor = |e: Error| e.within(format!("{}, tensor `{}`", place(), entry.name));
        file.seek(SeekFrom::Start(data + entry.offset as u64)).map_err(io)?;
        if let Stored::Own(dtype) = stored {
            let mut tensor = Tensor::zeros(dtype, &entry.dims)?;
            file.read_exact(tensor.bytes_mut()).map_err(io)?;
            tensor.check_bools().map_err(of_tensor)?;
            return Ok(tensor);
        }
        let mut bytes = zeros(entry.len, &format!("`{}`", entry.name))?;
        file.read_exact(&mut bytes).map_err(io)?;
        stored.tensor(&entry.dims, &bytes).map_err(of_tensor)
    }

    /// What a sealed file carries under this key, checked: every byte of the file is as it was written. An error where it
    /// is not, `None` where the file has no such key.
    pub(crate) fn sealed(&mut self, key: &str) -> Result<Option<String>> {
        let Some(value) = self.metadata.get(key).cloned() else { return Ok(None) };
        let Held::InFile(file, data) = &mut self.content else { return Ok(None) };
        let io = |e| Error::io("read", &self.path, e);
        let broken = || {
            let message = "its checksum does not fit its content";
            Error::new(ErrorKind::Format, message).within(self.path.shown())
        };
        let mut start = zeros(*data as usize, &format!("the header of `{}`", self.path.shown()))?;
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        file.read_exact(&mut start).map_err(io)?;
        let seal = find_seal(&start, key).ok_or_else(broken)?;
        let written = start[seal.clone()].to_vec();
        start[seal].copy_from_slice(NO_SEAL);
        let mut crc = crc32fast::Hasher::new();
        crc.update(&start);
        let mut buffer = zeros(BUFFER, "a buffer")?;
        loop {
            match file.read(&mut buffer).map_err(io)? {
                0 => break,
                n => crc.update(&buffer[..n]),
            }
        }
        if seal_of(crc).as_bytes() != written {
            return Err(broken());
        }
        Ok(Some(value[NO_SEAL.len()..].to_owned()))
    }
}

/// The element types of the format, and the bits that each takes, by ascending alignment.
const TYPES: [(&str, usize); 22] = [
    ("BOOL", 8),
    ("F4", 4),
    ("F6_E2M3", 6),
    ("F6_E3M2", 6),
    ("U8", 8),
    ("I8", 8),
    ("F8_E5M2", 8),
    ("F8_E4M3", 8),
    ("F8_E8M0", 8),
    ("F8_E4M3FNUZ", 8),
    ("F8_E5M2FNUZ", 8),
    ("I16", 16),
    ("U16", 16),
    ("F16", 16),
    ("BF16", 16),
    ("I32", 32),
    ("U32", 32),
    ("F32", 32),
    ("C64", 64),
    ("F64", 64),
    ("I64", 64),
    ("U64", 64),
];

/// The place of a type among [`TYPES`].
fn type_at(name: &str) -> Option<usize> {
    TYPES.iter().position(|(known, _)| *known == name)
}

/// The key of the metadata, among the names of tensors.
const METADATA: &str = "__metadata__";

/// The tensors and the metadata of a header, as they stand there.
fn parse_header(header: &[u8]) -> json::Result<(Vec<FileTensor>, HashMap<String, String>)> {
    let (mut entries, mut metadata, mut seen) = (Vec::new(), None, HashSet::new());
    json::read(header, |reader| {
        reader.object(&mut |reader, name| {
            if !seen.insert(name.clone()) {
                return Err(format!("the name `{name}` is used twice"));
            }
            if name == METADATA {
                metadata = reader.option(pairs)?;
            } else {
                entries.push(tensor(reader, name)?);
            }
            Ok(())
        })
    })?;
    Ok((entries, metadata.unwrap_or_default()))
}

/// Metadata: texts by name.
fn pairs(reader: &mut Reader<'_>) -> json::Result<HashMap<String, String>> {
    let mut pairs = HashMap::new();
    reader.object(&mut |reader, name| {
        pairs.insert(name, reader.text()?);
        Ok(())
    })?;
    Ok(pairs)
}

/// A tensor as a header has it. What else stands there is passed over.
fn tensor(reader: &mut Reader<'_>, name: String) -> json::Result<FileTensor> {
    let (mut dtype, mut dims, mut offsets) = (None, None, None);
    reader.object(&mut |reader, field| match &*field {
        "dtype" => {
            let found = reader.text()?;
            let at = type_at(&found).ok_or_else(|| reader.wrong(format_args!("`{found}` is no type")))?;
            once(&mut dtype, &field, TYPES[at].0)
        }
        "shape" => {
            let found = reader.all(Reader::number::<usize>)?;
            once(&mut dims, &field, found)
        }
        "data_offsets" => {
            let found = reader.pair(Reader::number::<usize>, Reader::number::<usize>)?;
            once(&mut offsets, &field, found)
        }
        _ => reader.skip(),
    })?;
    let (dtype, dims) = (needed(dtype, "dtype")?, needed(dims, "shape")?);
    let (begin, end) = needed(offsets, "data_offsets")?;
    let len = end.checked_sub(begin).ok_or_else(|| format!("invalid offset for tensor `{name}`"))?;
    Ok(FileTensor { name, dtype, read_as: None, dims, offset: begin, len })
}

/// The bytes that all tensors take, which are in the order of the data. They follow each other without gaps or overlaps, and
/// agree with their shapes.
fn check_layout(entries: &[FileTensor]) -> json::Result<usize> {
    let mut next = 0;
    for entry in entries {
        if entry.offset != next {
            return Err(format!("invalid offset for tensor `{}`", entry.name));
        }
        let bits = entry.dims.iter().try_fold(1usize, |all, &dim| all.checked_mul(dim));
        let bits = bits.zip(type_at(entry.dtype)).and_then(|(count, at)| count.checked_mul(TYPES[at].1));
        let bits =
            bits.ok_or_else(|| "overflow computing buffer size from shape and/or element type".to_owned())?;
        if bits % 8 != 0 || bits / 8 != entry.len {
            return Err("invalid shape, data type, or offset for tensor".to_owned());
        }
        next += entry.len;
    }
    Ok(next)
}

/// Our element types as the format names them.
fn dtype_in_files(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "BOOL",
        DType::U8 => "U8",
        DType::I32 => "I32",
        DType::I64 => "I64",
        DType::F32 => "F32",
        DType::F64 => "F64",
    }
}

/// Bytes that are read at a time.
const BUFFER: usize = 1 << 20;

/// What stands for the checksum of a file in the file that the checksum is of: eight digits, and the text follows.
const NO_SEAL: &[u8] = b"00000000";

fn seal_of(crc: crc32fast::Hasher) -> String {
    format!("{:08x}", crc.finalize())
}

/// Where in the beginning of a sealed file its checksum is. The quotes make the place unique: inside of strings they are
/// written as `\"`.
fn find_seal(start: &[u8], key: &str) -> Option<std::ops::Range<usize>> {
    let before = format!("\"{key}\":\"");
    let at = start.windows(before.len()).position(|w| w == before.as_bytes())? + before.len();
    start.get(at..at + NO_SEAL.len()).map(|_| at..at + NO_SEAL.len())
}

/// A tensor as a header describes it: its name, its type and its dimensions.
pub(crate) type Described<'a> = (&'a str, DType, &'a [usize]);

/// The order of tensors in a file: by falling alignment, then by name, as the reference implementation does,
/// so that equal tensors give equal files.
pub(crate) fn in_file_order(a: Described<'_>, b: Described<'_>) -> Ordering {
    let place = |dtype| type_at(dtype_in_files(dtype));
    (place(b.1), a.0).cmp(&(place(a.1), b.0))
}

/// Tensors in that order.
fn sorted<'a>(tensors: &[(&'a str, TensorRef<'a>)]) -> Vec<(&'a str, TensorRef<'a>)> {
    let described = |at: usize| (tensors[at].0, tensors[at].1.dtype(), tensors[at].1.dims());
    let order = order(tensors.len(), &mut |a, b| in_file_order(described(a), described(b)));
    order.into_iter().map(|at| tensors[at]).collect()
}

/// Writes a safetensors file atomically.
///
/// # Errors
/// A file that cannot be written; it is as before then.
pub fn write_safetensors(
    path: impl AsRef<Path>,
    tensors: &[(&str, TensorRef<'_>)],
    metadata: Option<(&str, &str)>,
) -> Result<()> {
    write_noted(path.as_ref(), tensors, metadata.as_slice())
}

/// The same with several pairs of metadata, which the file has in this order: equal states give equal files.
pub(crate) fn write_noted(
    path: &Path,
    tensors: &[(&str, TensorRef<'_>)],
    metadata: &[(&str, &str)],
) -> Result<()> {
    let sorted = sorted(tensors);
    write(path, &header_for(path, &sorted, metadata)?, &sorted)
}

/// Writes a safetensors file atomically, with a text under a key of its metadata, and a checksum of the whole file, its
/// header and its length included, before the text; other metadata follow.
pub(crate) fn write_sealed(
    path: &Path,
    tensors: &[(&str, TensorRef<'_>)],
    (key, text): (&str, &str),
    metadata: &[(&str, &str)],
) -> Result<()> {
    let sorted = sorted(tensors);
    let value = [str::from_utf8(NO_SEAL).unwrap_or_default(), text].concat();
    let mut header = header_for(path, &sorted, &[&[(key, &*value)], metadata].concat())?;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&header);
    sorted.iter().for_each(|(_, tensor)| crc.update(tensor.bytes()));
    let seal = find_seal(&header, key);
    let seal =
        seal.ok_or_else(|| Error::new(ErrorKind::Format, "the header has no place for its checksum"))?;
    header[seal].copy_from_slice(seal_of(crc).as_bytes());
    write(path, &header, &sorted)
}

/// The beginning of a file that is written here.
fn header_for(path: &Path, sorted: &[(&str, TensorRef<'_>)], metadata: &[(&str, &str)]) -> Result<Vec<u8>> {
    let described: Vec<Described<'_>> =
        sorted.iter().map(|(name, tensor)| (*name, tensor.dtype(), tensor.dims())).collect();
    header(&described, metadata).map_err(|e| e.within(format!("cannot write `{}`", path.shown())))
}

/// The beginning of a file: the length of its header, and the header. Tensors are in the order of the file.
pub(crate) fn header(sorted: &[Described<'_>], metadata: &[(&str, &str)]) -> Result<Vec<u8>> {
    let mut fields = Vec::with_capacity(sorted.len() + 1);
    if !metadata.is_empty() {
        // First in the header, and in this order.
        let pairs: Vec<String> =
            metadata.iter().map(|(key, value)| format!("{}:{}", quoted(key), quoted(value))).collect();
        fields.push(format!("\"{METADATA}\":{{{}}}", pairs.join(",")));
    }
    let (mut offset, mut seen) = (0, HashSet::new());
    for &(name, dtype, dims) in sorted {
        check_name(name)?;
        if !seen.insert(name) {
            return Err(Error::new(ErrorKind::Name, format!("the name `{name}` is used twice")));
        }
        let end = offset + byte_len(dtype, dims)?;
        let (name, dtype, shape) =
            (quoted(name), dtype_in_files(dtype), json::listed(dims, usize::to_string));
        fields.push(format!(
            "{name}:{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":[{offset},{end}]}}"
        ));
        offset = end;
    }
    let header = format!("{{{}}}", fields.join(","));
    let len = header.len().next_multiple_of(8);
    if len as u64 > MAX_HEADER {
        let why = format!("names and shapes take {len} bytes, and the format allows {MAX_HEADER}");
        return Err(Error::new(ErrorKind::Format, why));
    }
    let mut start = (len as u64).to_le_bytes().to_vec();
    start.extend(header.bytes());
    start.resize(LENGTH_BYTES as usize + len, b' ');
    Ok(start)
}

fn write(path: &Path, header: &[u8], sorted: &[(&str, TensorRef<'_>)]) -> Result<()> {
    write_atomically(path, |file| {
        file.write_all(header)?;
        sorted.iter().try_for_each(|(_, tensor)| file.write_all(tensor.bytes()))
    })
}
