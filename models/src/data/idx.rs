//! IDX files: MNIST (LeCun, Cortes & Burges), Fashion-MNIST (Xiao, Rasul & Vollgraf 2017) and their like.
//!
//! A file is a big-endian header (two zero bytes, the element type, the number of dimensions, each dimension in
//! four bytes) and the elements, row-major; optionally all of it in gzip.

use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use brolga_runtime::{Error, Result, Shown};
use flate2::read::MultiGzDecoder;

use super::images::{Dims, Images};
use super::reading::{bad, collect, entries, file_name, malformed, open_read, read_exactly};

/// The element type of unsigned bytes, the only one that these data sets use.
const UNSIGNED_BYTE: u8 = 8;

/// Loads the IDX files in `folder`; nothing where there are none. Files with `train` in their name are trained on,
/// those with `t10k` or `test` are held out, and may be alone; images have three dimensions, labels one.
pub(super) fn load(folder: &Path) -> Result<Option<Images>> {
    let [train, test] = find(folder)?;
    let mut images = match train {
        [None, None] if test == [None, None] => return Ok(None),
        // Enough to evaluate.
        [None, None] => Images::default(),
        [Some(images), Some(labels)] => read(&images, &labels)?,
        [images, _] => {
            let missing = if images.is_none() { "images" } else { "labels" };
            return Err(bad(format!("expected IDX files of training images and labels, found no {missing}")));
        }
    };
    match test {
        [None, None] => {}
        [Some(test_images), Some(test_labels)] => {
            let test = read(&test_images, &test_labels)?;
            if images.labels.is_empty() {
                images.dims = test.dims;
            }
            if test.dims != images.dims {
                let [[_, h, w], [_, th, tw]] = [images.dims, test.dims];
                return Err(malformed(
                    &test_images,
                    format!("expected images of {h}x{w} as in training, found {th}x{tw}"),
                ));
            }
            images.own.test = Some(test.labels.len());
            images.append(&test.pixels, test.labels.into_iter())?;
        }
        _ => return Err(bad("expected IDX files of both test images and test labels, found one of them")),
    }
    Ok(Some(images))
}

/// The IDX files of a folder: images and labels of training, and those of the test part.
fn find(folder: &Path) -> Result<[[Option<PathBuf>; 2]; 2]> {
    let mut found: [[Option<PathBuf>; 2]; 2] = Default::default();
    for path in entries(folder)?.into_iter().filter(|path| path.is_file()) {
        let Some(rank) = rank(&path)? else { continue };
        let name = file_name(&path).to_lowercase();
        let part = if name.contains("train") {
            0
        } else if name.contains("t10k") || name.contains("test") {
            1
        } else {
            return Err(malformed(&path, "expected `train`, `t10k` or `test` in the name of an IDX file"));
        };
        let kind = match rank {
            3 => 0,
            1 => 1,
            _ => {
                return Err(malformed(
                    &path,
                    format!("expected 3 dimensions (images) or 1 (labels), found {rank}"),
                ));
            }
        };
        match &found[part][kind] {
            None => found[part][kind] = Some(path),
            // The same file once more, packed.
            Some(other) if *other == path.with_extension("") => {}
            Some(other) => {
                return Err(malformed(&path, format!("`{}` takes the same place", other.shown())));
            }
        }
    }
    Ok(found)
}

fn read(images_file: &Path, labels_file: &Path) -> Result<Images> {
    let (dims, pixels) = parse_images(open_read(images_file)?, images_file)?;
    let labels = parse_labels(open_read(labels_file)?, labels_file)?;
    let count = pixels.len() / dims.iter().product::<usize>();
    if labels.len() != count {
        let message = format!("expected a label for each of {count} images, found {}", labels.len());
        return Err(malformed(labels_file, message));
    }
    Ok(Images { dims, pixels, labels, ..Images::default() })
}

/// The images of a file: their dimensions, none of them 0, and their pixels.
pub(super) fn parse_images(reader: impl Read, file: &Path) -> Result<(Dims, Vec<u8>)> {
    let (dims, pixels) = parse(reader, file)?;
    match dims[..] {
        [_, height, width] if !pixels.is_empty() => Ok(([1, height, width], pixels)),
        _ => {
            Err(malformed(file, format!("expected [images, height, width], none of them 0, found {dims:?}")))
        }
    }
}

/// The labels of a file.
pub(super) fn parse_labels(reader: impl Read, file: &Path) -> Result<Vec<i32>> {
    let (dims, labels) = parse(reader, file)?;
    match dims[..] {
        [count] => collect(labels.into_iter().map(i32::from), count, "labels"),
        _ => Err(malformed(file, format!("expected labels of one dimension, found {dims:?}"))),
    }
}

/// The number of dimensions, if the file is an IDX file.
fn rank(file: &Path) -> Result<Option<usize>> {
    let mut start = Vec::new();
    let reader = unpacked(open_read(file)?).map_err(|e| Error::io("read", file, e))?;
    let read = reader.take(4).read_to_end(&mut start);
    if let Err(error) = read {
        return match file_name(file).contains("idx") {
            true => Err(malformed(file, format!("it cannot be unpacked: {error}"))),
            false => Ok(None),
        };
    }
    Ok(match start[..] {
        [0, 0, UNSIGNED_BYTE..=14, rank] => Some(usize::from(rank)),
        _ => None, // some other file
    })
}

fn unpacked<'a>(reader: impl Read + 'a) -> std::io::Result<Box<dyn Read + 'a>> {
    let mut reader = BufReader::new(reader);
    let packed = std::io::BufRead::fill_buf(&mut reader)?.starts_with(&[0x1f, 0x8b]);
    Ok(if packed { Box::new(MultiGzDecoder::new(reader)) } else { Box::new(reader) })
}

fn parse(reader: impl Read, file: &Path) -> Result<(Vec<usize>, Vec<u8>)> {
    let mut reader = unpacked(reader).map_err(|e| Error::io("read", file, e))?;
    let mut word = |what: &str| -> Result<[u8; 4]> {
        let mut bytes = [0; 4];
        let read = reader.read_exact(&mut bytes);
        read.map_err(|e| malformed(file, format!("expected 4 bytes of {what} in the header: {e}")))?;
        Ok(bytes)
    };
    let [zero, another, kind, rank] = word("magic number")?;
    if zero != 0 || another != 0 || kind != UNSIGNED_BYTE {
        let found = u32::from_be_bytes([zero, another, kind, rank]);
        let message = format!("expected the magic number of bytes in IDX, 0x000008.., found {found:#010x}");
        return Err(malformed(file, message));
    }
    let dims = (0..rank).map(|_| Ok(u32::from_be_bytes(word("dimensions")?) as usize));
    let dims = dims.collect::<Result<Vec<usize>>>()?;
    let count = dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).filter(|n| *n < isize::MAX as usize);
    let count = count.ok_or_else(|| malformed(file, format!("dimensions {dims:?} are beyond any memory")))?;
    let elements = read_exactly(reader, count, file, &format!("elements ({dims:?})"))?;
    Ok((dims, elements))
}
