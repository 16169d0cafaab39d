//! One picture from a file: PNG or JPEG, told apart by their first bytes.
//!
//! Grey stays grey where one channel is wanted, and is repeated where three are; colour becomes luma for one channel. 16 bits
//! become 8, transparency lets white through. JPEG is decoded without the processor's vector instructions, so that the
//! pixels are the same everywhere; as in other frameworks, an orientation that a camera noted is not applied.

use std::collections::HashSet;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use brolga_runtime::{Content, DType, Error, Field, Result, Tensor, read_regular, sorted};
use png::Transformations;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::images::{Dims, image_dims, luma};
use super::reading::{bad, collect, entries, malformed, reserve, zeros};
use super::resize::Resampler;

/// Larger pictures are refused before memory is asked for.
const MOST_PIXELS: usize = 1 << 25;

/// Larger files are not read.
const MOST_BYTES: u64 = 1 << 28;

/// What names of pictures that can be read end in.
const READ: [&str; 3] = ["png", "jpg", "jpeg"];

/// What names of other pictures end in: leaving such files out silently would be a surprise.
const OTHERS: [&str; 7] = ["gif", "bmp", "webp", "tif", "tiff", "heic", "avif"];

/// A format of pictures: how its files begin, and what decodes them. A program has what decodes the formats that it names.
pub struct Format {
    /// What it is called.
    pub name: &'static str,
    beginning: &'static [u8],
    decode: fn(&Path, &[u8]) -> Result<Picture>,
}

/// PNG.
pub static PNG: Format = Format { name: "PNG", beginning: &[0x89, b'P', b'N', b'G'], decode: decode_png };

/// JPEG, whose decoder is larger than all else that reads pictures.
pub static JPEG: Format = Format { name: "JPEG", beginning: &[0xff, 0xd8, 0xff], decode: decode_jpeg };

/// All formats that can be read.
pub static FORMATS: [&Format; 2] = [&PNG, &JPEG];

/// Pixels of three colours.
struct Picture {
    width: usize,
    height: usize,
    pixels: Vec<[u8; 3]>,
}

/// Whether a name is that of a picture; an error for pictures of other kinds.
fn is_picture(file: &Path) -> Result<bool> {
    let extension = file.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    if OTHERS.contains(&extension.as_str()) {
        return Err(malformed(
            file,
            "pictures are read as PNG or JPEG; convert it, or take it out of the folder",
        ));
    }
    Ok(READ.contains(&extension.as_str()))
}

/// The pictures that a path stands for: itself, or those in a folder and the folders in it, by name.
///
/// # Errors
/// A folder that cannot be read, that has no pictures, or has pictures of other kinds.
pub fn pictures(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let found = pictures_below(path)?;
    if found.is_empty() {
        return Err(malformed(path, "the folder has no PNG or JPEG pictures"));
    }
    Ok(found)
}

/// The pictures in a folder and the folders in it, by name. Each folder is read once: a link may lead back to one above it.
pub(super) fn pictures_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut read) = (Vec::new(), HashSet::new());
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        if !read.insert(folder.canonicalize().map_err(|e| Error::io("read the folder", &folder, e))?) {
            continue;
        }
        for entry in entries(&folder)? {
            if entry.is_dir() {
                folders.push(entry);
            } else if is_picture(&entry)? {
                found.push(entry);
            }
        }
    }
    Ok(sorted(found, PathBuf::cmp))
}

/// A picture as a model's input takes it, `[1, ...]`: resized to it, black 0 and white 1, as in training on a folder.
///
/// # Errors
/// An input that takes no picture; a file that cannot be read, or is no PNG or JPEG.
pub fn picture(file: &Path, field: &Field) -> Result<Tensor> {
    picture_of(file, field, &FORMATS)
}

/// Whether an input takes pictures in colour.
pub fn takes_colour(field: &Field) -> bool {
    image_dims(field, None).is_ok_and(|[channels, ..]| channels == 3)
}

/// The same of pictures in some formats.
///
/// # Errors
/// Those of [`picture`]; a file in another format.
pub fn picture_of(file: &Path, field: &Field, formats: &[&Format]) -> Result<Tensor> {
    let dims = image_dims(field, None)?;
    let planes = planes(decode(file, formats)?, dims)?;
    let all: Vec<usize> = [&[1], &field.dims[..]].concat();
    let mut tensor = Tensor::zeros(field.dtype, &all)?;
    match field.dtype {
        DType::F32 => {
            tensor.as_mut_slice::<f32>()?.iter_mut().zip(planes).for_each(|(t, p)| *t = f32::from(p) / 255.0);
        }
        DType::F64 => {
            let values = tensor.as_mut_slice::<f64>()?.iter_mut().zip(planes);
            values.for_each(|(t, p)| *t = f64::from(f32::from(p) / 255.0));
        }
        other => {
            return Err(bad(format!("the input `{}` takes {other}; pictures are floats", field.name)));
        }
    }
    Ok(tensor)
}

/// The planes of a picture in a file, resized.
pub(super) fn load(file: &Path, dims: Dims) -> Result<Vec<u8>> {
    planes(decode(file, &FORMATS)?, dims)
}

/// The planes of a picture, resized.
fn planes(picture: Picture, dims: Dims) -> Result<Vec<u8>> {
    let pixels = &picture.pixels;
    let planes: Vec<u8> = match dims[0] {
        1 => collect(pixels.iter().map(|&pixel| luma(pixel)), pixels.len(), "a picture")?,
        channels => {
            let planes = (0..channels).flat_map(|c| pixels.iter().map(move |pixel| pixel[c]));
            collect(planes, pixels.len().saturating_mul(channels), "a picture")?
        }
    };
    let (size, target) = ((picture.height, picture.width), (dims[1], dims[2]));
    if size == target {
        return Ok(planes);
    }
    let resampler = Resampler::new(size, target);
    let mut resized = zeros(target.0 * target.1, "a picture")?;
    let mut between = zeros(size.0 * target.1, "resizing a picture")?;
    let mut all = Vec::new();
    reserve(&mut all, dims.iter().product(), "a picture")?;
    for plane in planes.chunks_exact(size.0 * size.1) {
        resampler.plane(plane, &mut between, &mut resized);
        all.extend(resized.iter().map(|v: &f32| v.round() as u8));
    }
    Ok(all)
}

fn decode(file: &Path, formats: &[&Format]) -> Result<Picture> {
    let bytes = read_regular(file, MOST_BYTES).map_err(|e| Error::io("read", file, e))?;
    if let Some(format) = formats.iter().find(|format| bytes.starts_with(format.beginning)) {
        return (format.decode)(file, &bytes);
    }
    Err(match Content::of_bytes(&bytes) {
        Content::Empty => malformed(file, "the file is empty"),
        Content::Jpeg => malformed(
            file,
            "a JPEG image, and this program reads PNG alone: convert it, or build the program with --whole",
        ),
        _ => malformed(file, "neither a PNG image nor a JPEG image, by its first bytes"),
    })
}

fn check_size(file: &Path, width: usize, height: usize) -> Result<()> {
    if width.saturating_mul(height) <= MOST_PIXELS {
        return Ok(());
    }
    let message = format!("expected an image of at most {MOST_PIXELS} pixels, found {width} x {height}");
    Err(malformed(file, message))
}

/// What the decoder says, with chunks by their names: it shows the fields of its type.
fn by_name(message: &str) -> String {
    let mut plain = String::new();
    let mut rest = message;
    while let Some((before, chunk)) = rest.split_once("ChunkType {") {
        let (fields, behind) = chunk.split_once('}').unwrap_or((chunk, ""));
        let name = fields.trim_start().strip_prefix("type: ").and_then(|fields| fields.split(',').next());
        plain = plain + before + name.unwrap_or("?");
        rest = behind;
    }
    plain + rest
}

fn decode_png(file: &Path, bytes: &[u8]) -> Result<Picture> {
    let failed = |e: png::DecodingError| {
        malformed(file, format!("not a PNG image that can be read: {}", by_name(&e.to_string())))
    };
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(Transformations::normalize_to_color8());
    let header = decoder.read_header_info().map_err(failed)?;
    let (width, height) = (header.width as usize, header.height as usize);
    check_size(file, width, height)?;
    let mut reader = decoder.read_info().map_err(failed)?;
    let size = reader.output_buffer_size().ok_or_else(|| malformed(file, "the image is too large"))?;
    let mut bytes = zeros(size, "an image")?;
    let frame = reader.next_frame(&mut bytes).map_err(failed)?;
    bytes.truncate(frame.buffer_size());
    let over_white = |value: u8, alpha: u8| {
        let alpha = u32::from(alpha);
        ((u32::from(value) * alpha + 255 * (255 - alpha) + 127) / 255) as u8
    };
    let rgb = |pixel: &[u8]| match *pixel {
        [v] => [v; 3],
        [v, a] => [over_white(v, a); 3],
        [r, g, b, a] => [over_white(r, a), over_white(g, a), over_white(b, a)],
        [r, g, b, ..] => [r, g, b],
        [] => [0; 3],
    };
    let pixels = bytes.chunks_exact(frame.color_type.samples()).map(rgb);
    Ok(Picture { width, height, pixels: collect(pixels, width * height, "an image")? })
}

fn decode_jpeg(file: &Path, bytes: &[u8]) -> Result<Picture> {
    let failed = |e: &dyn std::fmt::Display| {
        malformed(file, format!("not a JPEG image that can be read: {}", e.to_string().trim_matches('"')))
    };
    // Strict: a file that is cut short is not half a picture.
    let options = DecoderOptions::default().set_strict_mode(true).jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|e| failed(&e))?;
    let (width, height) = decoder.dimensions().unwrap_or((0, 0));
    check_size(file, width, height)?;
    let decoded = decoder.decode().map_err(|e| failed(&e))?;
    if width == 0 || decoded.len() != 3 * width * height {
        return Err(failed(&"its colours are not red, green and blue"));
    }
    let pixels = decoded.as_chunks().0.iter().copied();
    Ok(Picture { width, height, pixels: collect(pixels, width * height, "an image")? })
}
