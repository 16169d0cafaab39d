//! CIFAR-10 in its binary version (Krizhevsky 2009): records of a label and 3x32x32 bytes, planar.

use std::path::{Path, PathBuf};

use brolga_runtime::{Error, Result, read_regular};

use super::images::{Dims, Images};
use super::reading::{bad, entries, file_name, malformed};

const DIMS: Dims = [3, 32, 32];
const RECORD: usize = 1 + 3 * 32 * 32;
const CLASSES: u8 = 10;

/// The classes, as `batches.meta.txt` lists them.
const NAMES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// The folder that the archive unpacks to.
const UNPACKED: &str = "cifar-10-batches-bin";

/// Loads `data_batch_*.bin` and `test_batch.bin` from `folder` or the archive's folder below it; nothing where
/// there are none.
pub(super) fn load(folder: &Path) -> Result<Option<Images>> {
    let below = folder.join(UNPACKED);
    let files = entries(if below.is_dir() { &below } else { folder })?;
    let is_train = |name: &str| name.starts_with("data_batch") && name.ends_with(".bin");
    let train: Vec<&PathBuf> = files.iter().filter(|path| is_train(&file_name(path))).collect();
    let test = files.iter().find(|path| file_name(path) == "test_batch.bin");
    if train.is_empty() {
        return match test {
            Some(_) => Err(bad("expected data_batch_*.bin beside test_batch.bin")),
            None => Ok(None),
        };
    }
    let mut images = Images { dims: DIMS, classes: NAMES.map(str::to_owned).to_vec(), ..Images::default() };
    for file in train {
        append(&mut images, file)?;
    }
    if let Some(file) = test {
        let before = images.labels.len();
        append(&mut images, file)?;
        images.own.test = Some(images.labels.len() - before);
    }
    Ok(Some(images))
}

fn append(images: &mut Images, file: &Path) -> Result<()> {
    let bytes = read_regular(file, u64::MAX).map_err(|e| Error::io("read", file, e))?;
    if bytes.is_empty() || bytes.len() % RECORD != 0 {
        let message = format!("expected records of {RECORD} bytes, found {} bytes in all", bytes.len());
        return Err(malformed(file, message));
    }
    for (number, record) in bytes.chunks_exact(RECORD).enumerate() {
        if record[0] >= CLASSES {
            let message = format!("expected a class below {CLASSES}, found {} in record {number}", record[0]);
            return Err(malformed(file, message));
        }
        images.append(&record[1..], std::iter::once(i32::from(record[0])))?;
    }
    Ok(())
}
