//! Checkpoints: a directory of full states, from which training goes on to the same bits.
//!
//! Each is `step-<n>.safetensors`: the whole state, and in the file's metadata the [`Cursor`], which says where
//! in the data the run stood. Files appear whole or not at all (temporary file, fsync, rename, fsync of the
//! directory) and carry a checksum; older ones are removed only after a newer one is durable.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::atomic::{TEMPORARY, sync_directory};
use crate::error::{Error, ErrorKind, Result};
use crate::state::State;
use crate::tensor_file::{TensorFile, data_crc, write_safetensors};

/// The key of the cursor in a file's metadata.
const CURSOR_KEY: &str = "brolga.cursor";

/// Where in the data a training run stands, and what it has summed up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// Epochs completed.
    pub(crate) epoch: u64,
    /// Batches done in the epoch that is not complete.
    pub(crate) position: u64,
    /// Steps done in all.
    pub(crate) step: u64,
    /// Sums of the metrics over these batches, as the bits of f64.
    pub(crate) sums: Vec<u64>,
    /// Means of the last completed epoch, as the bits of f64.
    pub(crate) train: Vec<(String, u64)>,
    /// Validation after the last completed epoch, as the bits of f64.
    pub(crate) validation: Vec<(String, u64)>,
    /// Seconds spent so far.
    pub(crate) seconds: f64,
    /// What the order of the data depends on; a run that goes on must agree.
    pub(crate) data: DataKey,
    /// Numerics version of the train executable.
    pub(crate) numerics: u32,
    /// CRC-32 of the tensors' data; filled in on saving.
    pub(crate) crc: u32,
}

/// What the order of the data depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DataKey {
    pub(crate) seed: u64,
    pub(crate) batch: u64,
    pub(crate) samples: u64,
}

impl std::fmt::Display for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {}, batch {}, {} training samples", self.seed, self.batch, self.samples)
    }
}

/// A directory of checkpoints.
pub(crate) struct Checkpoints {
    directory: PathBuf,
    keep: usize,
}

impl Checkpoints {
    /// Makes the directory where it is missing, and removes what interrupted writes left in it. `keep` newest
    /// files (at least one) are kept.
    pub(crate) fn open(directory: &Path, keep: usize) -> Result<Checkpoints> {
        let io = |e| Error::io("use the checkpoint directory", directory, e);
        std::fs::create_dir_all(directory).map_err(io)?;
        for entry in std::fs::read_dir(directory).map_err(io)? {
            let entry = entry.map_err(io)?;
            if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                std::fs::remove_file(entry.path()).map_err(io)?;
            }
        }
        Ok(Checkpoints { directory: directory.to_path_buf(), keep: keep.max(1) })
    }

    /// Fails where the directory already has checkpoints: a new run would mix with them.
    pub(crate) fn require_empty(&self) -> Result<()> {
        let Some((_, path)) = self.list()?.into_iter().next() else { return Ok(()) };
        let message = format!(
            "`{}` is from an earlier run; resume it, or choose another directory for the checkpoints",
            path.display()
        );
        Err(Error::new(ErrorKind::Option, message))
    }

    /// The files, the newest first.
    pub(crate) fn list(&self) -> Result<Vec<(u64, PathBuf)>> {
        let io = |e| Error::io("list the checkpoints in", &self.directory, e);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.directory).map_err(io)? {
            let entry = entry.map_err(io)?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|n| n.strip_prefix("step-")?.strip_suffix(".safetensors"));
            if let Some(step) = number.and_then(|n| n.parse().ok()) {
                found.push((step, entry.path()));
            }
        }
        found.sort_by(|a, b| b.cmp(a));
        Ok(found)
    }

    /// Writes a checkpoint durably, then removes those that are no longer kept.
    pub(crate) fn save(&self, state: &State, mut cursor: Cursor) -> Result<PathBuf> {
        let tensors = state.tensors(|_| true);
        cursor.crc = data_crc(&tensors);
        let step = cursor.step;
        let text = ron::to_string(&cursor).map_err(|e| {
            Error::new(ErrorKind::Format, format!("cannot write the cursor of step {step}: {e}"))
        })?;
        let path = self.directory.join(format!("step-{step}.safetensors"));
        write_safetensors(&path, &tensors, Some((CURSOR_KEY, &text)))?;
        // Files of later steps can only be ones that resuming found broken and passed over.
        let (older, broken): (Vec<_>, Vec<_>) = self.list()?.into_iter().partition(|(s, _)| *s <= step);
        for (_, old) in older.iter().skip(self.keep).chain(&broken) {
            std::fs::remove_file(old).map_err(|e| Error::io("remove the old checkpoint", old, e))?;
        }
        sync_directory(&self.directory).map_err(|e| Error::io("sync", &self.directory, e))?;
        Ok(path)
    }

    /// Loads the newest checkpoint that is whole; `notice` hears of those passed over. `None` where there are no
    /// files at all; an error where none is whole, or the newest whole one belongs to another model.
    pub(crate) fn resume(
        &self,
        state: &mut State,
        notice: &mut dyn FnMut(&str),
    ) -> Result<Option<(Cursor, PathBuf)>> {
        let files = self.list()?;
        if files.is_empty() {
            return Ok(None);
        }
        for (step, path) in &files {
            match open(path, *step) {
                Ok((mut file, cursor)) => {
                    let report = state.load_file(&mut file, false)?;
                    if let Some(name) = report.kept.iter().chain(&report.unused).next() {
                        let message = format!(
                            "`{}` was written by training with another optimiser or another model: `{name}` is \
                             in only one of them; load it as weights instead",
                            path.display()
                        );
                        return Err(Error::new(ErrorKind::State, message));
                    }
                    return Ok(Some((cursor, path.clone())));
                }
                Err(e) => notice(&format!("passing over a broken checkpoint: {e}")),
            }
        }
        let (directory, count) = (self.directory.display(), files.len());
        let message = format!(
            "none of the {count} checkpoints in `{directory}` can be read; remove them to start from the beginning"
        );
        Err(Error::new(ErrorKind::Format, message))
    }
}

/// Opens a checkpoint and checks that it is whole.
fn open(path: &Path, step: u64) -> Result<(TensorFile, Cursor)> {
    let mut file = TensorFile::open(path)?;
    let wrong = |message: String| Error::new(ErrorKind::Format, message).within(path.display());
    let text =
        file.metadata(CURSOR_KEY).ok_or_else(|| wrong("it is a state file without a cursor".into()))?;
    let cursor: Cursor = ron::from_str(text).map_err(|e| wrong(format!("its cursor cannot be read: {e}")))?;
    if cursor.step != step {
        return Err(wrong(format!("its name says step {step}, but it is of step {}", cursor.step)));
    }
    if file.data_crc()? != cursor.crc {
        return Err(wrong("its checksum does not fit its data".into()));
    }
    Ok((file, cursor))
}
