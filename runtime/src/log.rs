//! The log of a training run: a CSV file with a row per epoch, and per step if asked.
//!
//! Columns: `kind` (`step` or `epoch`), `epoch` (from 1), `step` (in all), `train_<metric>` (of the step, or the
//! mean over the epoch), `validation_<metric>` (empty in rows of steps), `seconds` since the start.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::atomic::write_atomically;
use crate::error::{Error, ErrorKind, Result};

pub(crate) struct Log {
    path: PathBuf,
    file: File,
    line: String,
    validation: usize,
}

/// Where a run that goes on stands: rows after this are dropped, since they will be written again.
#[derive(Clone, Copy)]
pub(crate) struct Position {
    /// Epochs completed.
    pub(crate) epoch: u64,
    /// Steps done.
    pub(crate) step: u64,
}

impl Log {
    /// Starts a log, or takes up the one of the run that goes on.
    pub(crate) fn open(
        path: &Path,
        train: &[String],
        validation: &[String],
        resumed: Option<Position>,
    ) -> Result<Log> {
        let columns = ["kind", "epoch", "step"].map(String::from).into_iter();
        let columns = columns
            .chain(train.iter().map(|m| format!("train_{m}")))
            .chain(validation.iter().map(|m| format!("validation_{m}")))
            .chain(["seconds".to_string()]);
        let header = columns.map(|c| quote(&c)).collect::<Vec<_>>().join(",");
        let mut text = format!("{header}\n");
        if let (Some(at), true) = (resumed, path.exists()) {
            let old = std::fs::read_to_string(path).map_err(|e| Error::io("read the log", path, e))?;
            let mut lines = old.split_inclusive('\n');
            let found = lines.next().unwrap_or_default().trim_end();
            if !found.is_empty() && found != header {
                let message = format!(
                    "the log `{}` has the columns {found}, but this run writes {header}; choose another file",
                    path.display()
                );
                return Err(Error::new(ErrorKind::Option, message));
            }
            // A row without its newline was cut short by a kill.
            lines.filter(|l| l.ends_with('\n') && keep(l, at)).for_each(|l| text.push_str(l));
        }
        write_atomically(path, |file| file.write_all(text.as_bytes()))?;
        let file =
            OpenOptions::new().append(true).open(path).map_err(|e| Error::io("open the log", path, e))?;
        Ok(Log { path: path.to_path_buf(), file, line: String::new(), validation: validation.len() })
    }

    /// Writes the row of a step; `epoch` counts from 1.
    pub(crate) fn step(&mut self, epoch: u64, step: u64, metrics: &[f64], seconds: f64) -> Result<()> {
        self.row("step", epoch, step, metrics, &[], seconds)
    }

    /// Writes the row of an epoch; `epoch` counts from 1.
    pub(crate) fn epoch(
        &mut self,
        epoch: u64,
        step: u64,
        train: &[f64],
        validation: &[f64],
        seconds: f64,
    ) -> Result<()> {
        self.row("epoch", epoch, step, train, validation, seconds)
    }

    /// Makes all rows durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|e| Error::io("sync the log", &self.path, e))
    }

    fn row(
        &mut self,
        kind: &str,
        epoch: u64,
        step: u64,
        train: &[f64],
        validation: &[f64],
        seconds: f64,
    ) -> Result<()> {
        use std::fmt::Write as _;
        self.line.clear();
        let line = &mut self.line;
        // Writing to a string cannot fail.
        let _ = write!(line, "{kind},{epoch},{step}");
        for value in train.iter().chain(validation) {
            let _ = write!(line, ",{value}");
        }
        line.extend(std::iter::repeat_n(',', self.validation - validation.len()));
        let _ = writeln!(line, ",{seconds:.3}");
        // One write for the whole row, so that a kill hardly ever cuts one.
        self.file.write_all(self.line.as_bytes()).map_err(|e| Error::io("write the log", &self.path, e))
    }
}

/// Whether a row was written before the point from which the run goes on.
fn keep(line: &str, at: Position) -> bool {
    let mut cells = line.split(',');
    let kind = cells.next();
    let mut number = || cells.next().and_then(|c| c.parse::<u64>().ok());
    match (kind, number(), number()) {
        (Some("step"), Some(_), Some(step)) => step <= at.step,
        (Some("epoch"), Some(epoch), Some(_)) => epoch <= at.epoch,
        _ => false,
    }
}

fn quote(cell: &str) -> String {
    if cell.contains([',', '"', '\n']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_string()
    }
}
