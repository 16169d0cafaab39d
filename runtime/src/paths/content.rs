//! What a file holds, told by how it begins: for messages about files that hold something else than what was asked for, and
//! to know what would be overwritten.

use std::fmt;
use std::io::{Read, Result};
use std::path::Path;

use crate::paths::regular::open_regular;

/// How every container begins. The first byte is no text in any encoding that has ASCII in it, and the last one is changed
/// by whoever converts the ends of lines.
pub(crate) const CONTAINER: [u8; 8] = *b"\x89BROLGA\n";

/// Bytes that are looked at.
const LOOKED_AT: u64 = 4096;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Content {
    /// Nothing at all.
    Empty,
    /// Tensors by name, as weights and states are kept.
    Safetensors,
    /// One array of NumPy.
    Npy,
    /// Arrays of NumPy by name.
    Npz,
    /// What `torch.save` writes.
    PyTorch,
    /// Another zip archive.
    Zip,
    /// Python objects.
    Pickle,
    /// A file of HDF5, such as Keras writes.
    Hdf5,
    /// What `gzip` writes.
    Gzip,
    /// A PNG image.
    Png,
    /// A JPEG image.
    Jpeg,
    /// Another image.
    Image,
    /// The log of a training run.
    Log,
    /// A table whose first column is `sample`, as those of answers and predictions are.
    Predictions,
    /// A table with a separator between its columns.
    Table,
    /// A model in RON.
    Model,
    /// The text of a graph or a kernel program.
    Ir,
    /// A C header that belongs to a compiled model.
    Header,
    /// What `pkg-config` reads of a compiled model.
    PkgConfig,
    /// An object file.
    Object,
    /// A compiled model.
    Container,
    /// A program that carries a compiled model.
    Executable,
    /// A static library.
    Library,
    /// The state of an object, which programs use where it lies.
    Mapped,
    /// A Chrome trace.
    Trace,
    /// Other JSON.
    Json,
    /// Other text.
    Text,
    /// None of these.
    Unknown,
}

/// How files of a kind begin.
const BEGINNINGS: &[(&[u8], Content)] = &[
    (b"\x93NUMPY", Content::Npy),
    (b"\x89PNG\r\n\x1a\n", Content::Png),
    (b"\xff\xd8\xff", Content::Jpeg),
    (b"GIF8", Content::Image),
    (b"BM", Content::Image),
    (b"II*\0", Content::Image),
    (b"MM\0*", Content::Image),
    (b"\x89HDF\r\n\x1a\n", Content::Hdf5),
    (b"\x1f\x8b", Content::Gzip),
    (b"\x7fELF", Content::Object),
    (b"\xcf\xfa\xed\xfe", Content::Object),
    (b"\x64\x86", Content::Object),
    (&CONTAINER, Content::Container),
    // `torch.save` of old, and pickles of protocols 2 to 5.
    (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", Content::PyTorch),
    (b"\x80\x02", Content::Pickle),
    (b"\x80\x03", Content::Pickle),
    (b"\x80\x04", Content::Pickle),
    (b"\x80\x05", Content::Pickle),
    (b"!<arch>\n", Content::Library),
    (b"brolga state 1\n\0", Content::Mapped),
    (b"/* Compiled by Brolga", Content::Header),
    (b"# Compiled by Brolga", Content::PkgConfig),
    (b"kind,epoch,step", Content::Log),
    (b"sample,", Content::Predictions),
    // Told apart from those of other programs by who has written it.
    (b"{\"otherData\":{\"by\":\"brolga\"},\"traceEvents\"", Content::Trace),
];

/// What the notes of the program are called that carries a compiled model.
const NOTE: &[u8] = b"brolga room\0";

impl Content {
    /// What a regular file holds.
    ///
    /// # Errors
    /// Those of [`open_regular`], and of reading.
    pub fn of(path: impl AsRef<Path>) -> Result<Content> {
        let (file, _) = open_regular(path)?;
        let mut bytes = Vec::new();
        file.take(LOOKED_AT).read_to_end(&mut bytes)?;
        Ok(Content::of_bytes(&bytes))
    }

    /// The same for the first bytes of a file.
    pub fn of_bytes(bytes: &[u8]) -> Content {
        if bytes.is_empty() {
            return Content::Empty;
        }
        // The length of a header, and the header, which is JSON.
        if bytes.get(4..9).is_some_and(|end| end == [0, 0, 0, 0, b'{']) {
            return Content::Safetensors;
        }
        if bytes.starts_with(b"PK\x03\x04") {
            return archive(bytes);
        }
        // An archive without members, as `numpy.savez("none.npz")` writes it.
        if bytes.starts_with(b"PK\x05\x06") {
            return Content::Npz;
        }
        // Programs are known by a note of our launcher, which lies where programs begin.
        if bytes.starts_with(b"\x7fELF") && bytes.windows(NOTE.len()).any(|part| part == NOTE) {
            return Content::Executable;
        }
        let known = BEGINNINGS.iter().find(|(beginning, _)| bytes.starts_with(beginning));
        match (known, text(bytes)) {
            (Some((_, Content::Log)), Some(text)) if !is_log(text) => kind_of_text(text),
            // What begins like an image and is text all through is text.
            (Some((_, content)), None) => *content,
            (
                Some((
                    _,
                    content @ (Content::Header
                    | Content::PkgConfig
                    | Content::Log
                    | Content::Predictions
                    | Content::Trace),
                )),
                Some(_),
            ) => *content,
            (_, Some(text)) => kind_of_text(text),
            (None, None) => Content::Unknown,
        }
    }

    /// How to get tensors from it that can be read; nothing where there is no common way.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Content::Npz => {
                "in Python `safetensors.numpy.save_file(dict(numpy.load(FILE)), \"w.safetensors\")` converts it"
            }
            Content::Npy => {
                "it has no names: weights are read from safetensors, and from arrays with names (in Python \
                 `numpy.savez(\"w.npz\", NAME=array)`)"
            }
            Content::PyTorch | Content::Pickle => {
                "in Python `safetensors.torch.save_file(torch.load(FILE, map_location=\"cpu\"), \"w.safetensors\")` \
                 converts a `state_dict`"
            }
            Content::Hdf5 => {
                "in Python `safetensors.numpy.save_file({name: array}, \"w.safetensors\")` writes what can be read"
            }
            Content::Gzip => "unpack it first",
            Content::Png | Content::Jpeg | Content::Image => {
                "folders of images by class are data sets (`--data FOLDER`); where tensors are read, `numpy.savez(\"in.npz\", NAME=pixels)` writes \
                 what is needed"
            }
            Content::Table | Content::Log | Content::Predictions => {
                "tables are data sets (`--data`); where tensors are read, `numpy.savez(\"in.npz\", NAME=columns)` writes \
                 what is needed"
            }
            Content::Model => "it belongs where the model is named",
            Content::Container | Content::Executable => "it has its weights with it, if it has any",
            Content::Mapped => {
                "it belongs to the object that it was written with; its weights come from a safetensors file"
            }
            _ => "tensors are read from safetensors, .npz and .npy",
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Content::Empty => "an empty file",
            Content::Safetensors => "a safetensors file",
            Content::Npy => "an array of NumPy (.npy)",
            Content::Npz => "an archive of NumPy's arrays (.npz)",
            Content::PyTorch => "a file of PyTorch (torch.save)",
            Content::Zip => "a zip archive",
            Content::Pickle => "a Python pickle",
            Content::Hdf5 => "a HDF5 file",
            Content::Gzip => "a gzip archive",
            Content::Png => "a PNG image",
            Content::Jpeg => "a JPEG image",
            Content::Image => "an image",
            Content::Log => "the log of a training run",
            Content::Predictions | Content::Table => "a table (CSV)",
            Content::Model => "a model in RON",
            Content::Ir => "the text of a graph or kernel program",
            Content::Header => "a C header of a compiled model",
            Content::PkgConfig => "a description of a compiled model for pkg-config",
            Content::Object => "an object file",
            Content::Container => "a compiled model (.brolga)",
            Content::Executable => "a program of a compiled model",
            Content::Library => "a static library",
            Content::Mapped => "weights of an object, to be mapped",
            Content::Trace => "a Chrome trace of a profile",
            Content::Json => "JSON",
            Content::Text => "text",
            Content::Unknown => "of a kind that is not known",
        })
    }
}

/// What a zip archive holds, by its first member.
fn archive(bytes: &[u8]) -> Content {
    let length = bytes.get(26..28).map_or(0, |l| usize::from(u16::from_le_bytes([l[0], l[1]])));
    let name = bytes.get(30..30 + length).unwrap_or_default();
    if name.ends_with(b".npy") {
        Content::Npz
    } else if name.ends_with(b"/data.pkl") || name.ends_with(b"/version") || name.ends_with(b"/byteorder") {
        Content::PyTorch
    } else {
        Content::Zip
    }
}

/// The bytes as text, if they are that; a character may be cut at the end.
fn text(bytes: &[u8]) -> Option<&str> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) if e.error_len().is_none() && e.valid_up_to() > 0 => {
            std::str::from_utf8(&bytes[..e.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let strange = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\x0c');
    (!text.contains(strange)).then_some(text)
}

/// Whether a text has the columns of a log, and rows of steps and epochs; the last line may be cut.
fn is_log(text: &str) -> bool {
    let (head, rows) = text.split_once('\n').unwrap_or((text, ""));
    let whole = rows.rfind('\n').map_or("", |end| &rows[..end]);
    head.ends_with(",seconds")
        && whole.lines().all(|row| row.starts_with("epoch,") || row.starts_with("step,"))
}

fn kind_of_text(text: &str) -> Content {
    let code = text.lines().map(|line| line.split("//").next().unwrap_or("").trim());
    let mut code = code.filter(|line| !line.is_empty());
    let first = code.next().unwrap_or("");
    if first.starts_with("Model(") {
        return Content::Model;
    }
    if first.starts_with("graph @") || first.starts_with("program @") {
        return Content::Ir;
    }
    if first.starts_with(['{', '[']) {
        return Content::Json;
    }
    // The same separator, as often, in the first two lines; the last one that was read may be cut.
    let mut lines = text.lines();
    let (Some(one), two) = (lines.next(), lines.next()) else { return Content::Text };
    // What stands between two values; code ends its lines with some of it.
    let is_code = |line: &str| line.trim_end().ends_with([';', '{', '}']);
    let count = |line: &str, separator: char| match separator {
        ';' => line.trim_end().trim_end_matches(';').matches(';').count(),
        _ if is_code(line) => 0,
        _ => line.matches(separator).count(),
    };
    let columns = |separator: &char| {
        let first = count(one, *separator);
        first > 0 && two.is_none_or(|two| count(two, *separator) == first)
    };
    if [',', ';', '\t'].iter().any(columns) { Content::Table } else { Content::Text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_how_they_begin() {
        let mut torch = b"PK\x03\x04".to_vec();
        torch.resize(26, 0);
        let npz = [&torch[..], b"\x09\0\0\0image.npy"].concat();
        torch.extend(b"\x10\0\0\0archive/data.pkl");
        let cases: [(&[u8], Content); 39] = [
            (b"", Content::Empty),
            (b"\x10\0\0\0\0\0\0\0{\"a\":", Content::Safetensors),
            (b"\x93NUMPY\x01\0", Content::Npy),
            (&npz, Content::Npz),
            (&torch, Content::PyTorch),
            (b"PK\x03\x04", Content::Zip),
            (b"PK\x05\x06\0\0\0\0", Content::Npz),
            (b"\x80\x04\x95", Content::Pickle),
            (b"\x89PNG\r\n\x1a\n\0\0", Content::Png),
            (b"\xff\xd8\xff\xe0", Content::Jpeg),
            (b"\x7fELF\x02\x01\x01\0", Content::Object),
            (b"\x7fELF\x02\x01\x01\0\x0c\0\0\0brolga room\0", Content::Executable),
            (b"\x89BROLGA\n\x01\0\0\0", Content::Container),
            (b"!<arch>\n/               0           \0\0\0\x01", Content::Library),
            (b"brolga state 1\n\0\x01\0", Content::Mapped),
            (b"/* Compiled by Brolga: infer.\n", Content::Header),
            (b"# Compiled by Brolga.\n", Content::PkgConfig),
            (b"kind,epoch,step,train_loss,seconds\nepoch,1,2,0.5,0.1\nst", Content::Log),
            (b"kind,epoch,step,train_loss\nepoch,1,2,0.5\n", Content::Table),
            (b"kind,epoch,step,seconds\nflood,2,3,4\n", Content::Table),
            (b"kind,epoch,step,mine", Content::Table),
            (b"{\"traceEvents\":[]}", Content::Json),
            (b"{\"otherData\":{\"by\":\"brolga\"},\"traceEvents\":[]}", Content::Trace),
            (b"BMI,weight\n20,70\n", Content::Table),
            (b"sample,true,price\nline 2,1,2\n", Content::Predictions),
            (b"samples,true,price\na,1,2\n", Content::Table),
            (b"a,b,c\n1,2,3\n", Content::Table),
            (b"a;b;c\n1,5;2;3\n", Content::Table),
            (b"a;b;\n1;2;\n", Content::Table),
            (b"a\tb\r\n1\t2\r\n", Content::Table),
            (b"int mine;\nint b;\n", Content::Text),
            (b"int a, b;\nint c, d;\n", Content::Text),
            (b"void f(int a, int b) {\n  g(a, b);\n", Content::Text),
            (b"import numpy as np, os\n\nx = 1\n", Content::Text),
            (b"// LeNet-5\nModel(\n", Content::Model),
            (b"graph @f(%x: f32[2, 5]) {\n  %0 = tanh %x : f32[2, 5]\n", Content::Ir),
            (b"{\"a\": 1}", Content::Json),
            ("Größe".as_bytes(), Content::Text),
            (&[0xde, 0xad, 0xbe, 0xef], Content::Unknown),
        ];
        for (bytes, content) in cases {
            assert_eq!(Content::of_bytes(bytes), content, "{:?}", String::from_utf8_lossy(bytes));
        }
        // A character that is cut is text as well.
        assert_eq!(Content::of_bytes(&"Größe".as_bytes()[..3]), Content::Text);
    }
}
