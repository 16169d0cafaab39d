//! Checkpoints: a directory of full states, from which training goes on to the same bits.
//!
//! Each is `step-<n>.safetensors`: the whole state, and in the file's metadata the [`Cursor`], which says where in its
//! plan and its data the run stood, and what it depends on. Files appear whole or not at all (temporary file, fsync, rename, fsync of
//! the directory) and carry a checksum of all their bytes; older ones are removed only after a newer one is durable. One
//! run at a time has the directory ([`Lock`]).

use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::files::atomic::{remove_unfinished, sync_directory};
use crate::files::json::{self, Reader, listed, needed, once, quoted};
use crate::files::lock::Lock;
use crate::files::record::{CHECKPOINT, noted};
use crate::files::safetensors::{TensorFile, write_sealed};
use crate::run::state::State;
use crate::shown::Shown;
use crate::training::fingerprint::Fingerprint;

/// The key in files of earlier versions, whose checksum was one of the tensors alone.
const OLD_KEY: &str = "brolga.cursor";

/// Where in its plan a training run stands, and what it has summed up.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Cursor {
    /// Phases completed.
    pub(crate) phase: u64,
    /// Epochs or updates done of the phase that is not complete; those of the last one stay.
    pub(crate) done: u64,
    /// Steps done in all.
    pub(crate) step: u64,
    /// Rows of epochs that the log has.
    pub(crate) told: u64,
    /// How far each trainee is.
    pub(crate) ways: Vec<Way>,
    /// Epoch (from 1) and step with the first loss that was not finite.
    pub(crate) diverged: Option<(u64, u64)>,
    /// Seconds spent so far.
    pub(crate) seconds: f64,
    /// Numerics version of the executables.
    pub(crate) numerics: u32,
    /// What the run depends on; one that goes on must agree.
    pub(crate) fingerprint: Fingerprint,
    /// A checksum of the weights that it began from; earlier versions did not write it.
    pub(crate) begun: Option<String>,
}

/// A trainee's way through its data.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Way {
    /// Epochs completed.
    pub(crate) epoch: u64,
    /// Batches done in the epoch that is not complete.
    pub(crate) position: u64,
    /// What the metrics of these batches are made of ([`MetricSums`](crate::MetricSums)), as the bits of f64.
    pub(crate) sums: Vec<u64>,
    /// Metrics of the last completed epoch, as the bits of f64.
    pub(crate) train: Vec<(String, u64)>,
    /// The last validation, as the bits of f64.
    pub(crate) validation: Vec<(String, u64)>,
    /// Whether that was behind its last update.
    pub(crate) is_evaluated: bool,
}

impl Way {
    /// The beginning, with so many sums.
    pub(crate) fn new(sums: usize) -> Way {
        Way { sums: vec![0f64.to_bits(); sums], is_evaluated: true, ..Way::default() }
    }

    fn to_json(&self) -> String {
        let metrics =
            |all: &[(String, u64)]| listed(all, |(name, bits)| format!("[{},{bits}]", quoted(name)));
        format!(
            "{{\"epoch\":{},\"position\":{},\"sums\":{},\"train\":{},\"validation\":{},\"evaluated\":{}}}",
            self.epoch,
            self.position,
            listed(&self.sums, u64::to_string),
            metrics(&self.train),
            metrics(&self.validation),
            u64::from(self.is_evaluated),
        )
    }

    fn from_json(reader: &mut Reader<'_>) -> json::Result<Way> {
        let metrics =
            |reader: &mut Reader<'_>| reader.all(|reader| reader.pair(Reader::text, Reader::number));
        let [mut epoch, mut position, mut evaluated] = [None::<u64>; 3];
        let (mut sums, mut train, mut validation) = (None, None, None);
        reader.object(&mut |reader, field| match &*field {
            "epoch" => once(&mut epoch, &field, reader.number()?),
            "position" => once(&mut position, &field, reader.number()?),
            "sums" => once(&mut sums, &field, reader.all(Reader::number)?),
            "train" => once(&mut train, &field, metrics(reader)?),
            "validation" => once(&mut validation, &field, metrics(reader)?),
            "evaluated" => once(&mut evaluated, &field, reader.number()?),
            _ => Err(format!("`{field}` is not known")),
        })?;
        Ok(Way {
            epoch: needed(epoch, "epoch")?,
            position: needed(position, "position")?,
            sums: needed(sums, "sums")?,
            train: needed(train, "train")?,
            validation: needed(validation, "validation")?,
            is_evaluated: needed(evaluated, "evaluated")? != 0,
        })
    }
}

impl Cursor {
    /// As it stands in a checkpoint.
    fn to_json(&self) -> String {
        let diverged = self.diverged.map_or("null".to_owned(), |(epoch, step)| format!("[{epoch},{step}]"));
        let begun = self.begun.as_deref().map_or("null".to_owned(), quoted);
        format!(
            "{{\"phase\":{},\"done\":{},\"step\":{},\"told\":{},\"ways\":{},\
             \"diverged\":{diverged},\"seconds\":{:?},\"numerics\":{},\"fingerprint\":{},\"begun\":{begun}}}",
            self.phase,
            self.done,
            self.step,
            self.told,
            listed(&self.ways, Way::to_json),
            self.seconds,
            self.numerics,
            self.fingerprint.to_json()
        )
    }

    /// Reads what is written so.
    fn from_json(reader: &mut Reader<'_>) -> json::Result<Cursor> {
        let [mut phase, mut done, mut step, mut told] = [None; 4];
        let (mut ways, mut diverged) = (None, None);
        let (mut seconds, mut numerics, mut fingerprint, mut begun) = (None, None, None, None);
        reader.object(&mut |reader, field| match &*field {
            "phase" => once(&mut phase, &field, reader.number()?),
            "done" => once(&mut done, &field, reader.number()?),
            "step" => once(&mut step, &field, reader.number()?),
            "told" => once(&mut told, &field, reader.number()?),
            "ways" => once(&mut ways, &field, reader.all(Way::from_json)?),
            "diverged" => {
                let both = |reader: &mut Reader<'_>| reader.pair(Reader::number, Reader::number);
                once(&mut diverged, &field, reader.option(both)?)
            }
            "seconds" => once(&mut seconds, &field, reader.number()?),
            "numerics" => once(&mut numerics, &field, reader.number()?),
            "fingerprint" => once(&mut fingerprint, &field, Fingerprint::from_json(reader)?),
            "begun" => once(&mut begun, &field, reader.option(Reader::text)?),
            _ => Err(format!("`{field}` is not known")),
        })?;
        Ok(Cursor {
            phase: needed(phase, "phase")?,
            done: needed(done, "done")?,
            step: needed(step, "step")?,
            told: needed(told, "told")?,
            ways: needed(ways, "ways")?,
            diverged: diverged.flatten(),
            seconds: needed(seconds, "seconds")?,
            numerics: needed(numerics, "numerics")?,
            fingerprint: needed(fingerprint, "fingerprint")?,
            begun: begun.flatten(),
        })
    }
}

/// A directory of checkpoints that this run has for itself.
pub(crate) struct Checkpoints {
    directory: PathBuf,
    keep: usize,
    /// Nothing where the file system has no locks.
    lock: Option<Lock>,
}

/// A checkpoint that can be gone on from.
pub(crate) struct Found {
    pub(crate) cursor: Cursor,
    pub(crate) path: PathBuf,
    file: TensorFile,
}

impl Checkpoints {
    /// Makes the directory where it is missing, locks it, and removes what interrupted writes left in it. `keep` newest
    /// files (at least one) are kept.
    pub(crate) fn open(directory: &Path, keep: usize) -> Result<Checkpoints> {
        let io = |e| Error::io("use the checkpoint directory", directory, e);
        std::fs::create_dir_all(directory).map_err(io)?;
        let lock = Lock::take(directory)?;
        remove_unfinished(directory).map_err(io)?;
        Ok(Checkpoints { directory: directory.to_path_buf(), keep: keep.max(1), lock })
    }

    /// Whether another run is kept out of the directory.
    pub(crate) fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// Fails where the directory already has checkpoints: a new run would mix with them.
    pub(crate) fn require_empty(&self) -> Result<()> {
        let Some((_, path)) = self.list()?.into_iter().next() else { return Ok(()) };
        let message = format!(
            "`{}` is from an earlier run; resume it, or choose another directory for the checkpoints",
            path.shown()
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

    /// Writes a checkpoint durably.
    pub(crate) fn save(&self, state: &State, cursor: &Cursor) -> Result<PathBuf> {
        if self.lock.as_ref().is_some_and(|lock| !lock.is_held()) {
            let message = format!(
                "the checkpoint directory `{}` was removed or replaced while the run used it",
                self.directory.shown()
            );
            return Err(Error::new(ErrorKind::Io, message));
        }
        let step = cursor.step;
        let text = cursor.to_json();
        let path = self.directory.join(format!("step-{step}.safetensors"));
        let metadata = state.record().metadata()?;
        write_sealed(&path, &state.tensors(|_| true), (CHECKPOINT, &text), &noted(&metadata))?;
        Ok(path)
    }

    /// Removes those that are no longer kept, now that there is one of this step.
    pub(crate) fn remove_old(&self, step: u64) -> Result<()> {
        // Files of later steps can only be ones that resuming found broken and passed over.
        let (older, broken): (Vec<_>, Vec<_>) = self.list()?.into_iter().partition(|(s, _)| *s <= step);
        for (_, old) in older.iter().skip(self.keep).chain(&broken) {
            match std::fs::remove_file(old) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("remove the old checkpoint", old, e));
                }
                _ => {}
            }
        }
        sync_directory(&self.directory).map_err(|e| Error::io("sync", &self.directory, e))
    }

    /// The newest checkpoint that is whole; `notice` hears of those passed over. `None` where there are no files at all;
    /// an error where none is whole.
    pub(crate) fn newest(&self, notice: &mut dyn FnMut(&str)) -> Result<Option<Found>> {
        let files = self.list()?;
        let mut first = None;
        for (step, path) in &files {
            match open(path, *step) {
                Ok(found) => return Ok(Some(found)),
                Err(e) => {
                    notice(&format!("passing over a broken checkpoint: {e}"));
                    first.get_or_insert(e);
                }
            }
        }
        let Some(first) = first else { return Ok(None) };
        let (directory, count) = (self.directory.shown(), files.len());
        let message = format!(
            "none of the {count} checkpoints in `{directory}` can be read; remove them to start from the beginning\n\
             the newest: {first}"
        );
        Err(Error::new(ErrorKind::Format, message))
    }
}

impl Found {
    /// Loads the state. All tensors must fit; or, if `anyway`, those that both have by name, and the others are told.
    pub(crate) fn load(
        &mut self,
        state: &mut State,
        anyway: bool,
        notice: &mut dyn FnMut(&str),
    ) -> Result<()> {
        let path = self.path.shown();
        let report = state.load_file(&mut self.file, anyway)?;
        let Some(name) = report.kept.iter().chain(&report.unused).next() else { return Ok(()) };
        if !anyway {
            let message = format!(
                "`{path}` was written by training with another optimiser or another model: `{name}` is in only one of \
                 them; load it as weights instead"
            );
            return Err(Error::new(ErrorKind::State, message));
        }
        for (what, names) in
            [("are not in it and stay fresh", &report.kept), ("are not used", &report.unused)]
        {
            if let Some(first) = names.first() {
                notice(&format!("of the tensors of `{path}`, {} {what}, such as `{first}`", names.len()));
            }
        }
        Ok(())
    }
}

/// Opens a checkpoint and checks that it is whole.
fn open(path: &Path, step: u64) -> Result<Found> {
    let mut file = TensorFile::open(path)?;
    let wrong = |message: String| Error::new(ErrorKind::Format, message).within(path.shown());
    if file.metadata(OLD_KEY).is_some() {
        return Err(wrong(
            "it is from an earlier version, whose checkpoints could be changed without being noticed; it can be loaded \
             as weights (--weights) into a run of its own"
                .into(),
        ));
    }
    let text = file.sealed(CHECKPOINT)?.ok_or_else(|| wrong("it is a state file without a cursor".into()))?;
    if text.starts_with('(') || text.starts_with("{\"epoch\"") {
        let way_out = "it can be loaded as weights (--weights) into a run of its own";
        return Err(wrong(format!(
            "it is from an earlier version, which wrote its cursor in another way; {way_out}"
        )));
    }
    let cursor: Cursor = json::read(text.as_bytes(), Cursor::from_json)
        .map_err(|e| wrong(format!("its cursor cannot be read: {e}")))?;
    if cursor.step != step {
        return Err(wrong(format!("its name says step {step}, but it is of step {}", cursor.step)));
    }
    Ok(Found { cursor, path: path.to_path_buf(), file })
}
