//! The log of a training run: a CSV file with a row per epoch, and per step if asked.
//!
//! Columns: `kind` (`step` or `epoch`), `epoch` (from 1), `step` (in all), `train_<metric>` (of the step, or the
//! mean over the epoch), `validation_<metric>` (empty in rows of steps), `seconds` since the start.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::files::atomic::{durable, write_atomically};
use crate::paths::regular::read_regular;
use crate::shown::Shown;

/// Rows that may wait for a disk that is full; past that, rows are lost.
const MAX_PENDING: usize = 16 << 20;

pub(crate) struct Log {
    path: PathBuf,
    file: File,
    /// What is still to be written: one row, or more after a write that failed.
    pending: String,
    /// Rows that were given up.
    lost: u64,
    /// Columns of metrics.
    train: usize,
    validation: usize,
}

/// Where a run that goes on stands: rows after this are dropped, since they will be written again.
#[derive(Clone, Copy)]
pub(crate) struct Position {
    /// Rows of epochs that have been written.
    pub(crate) epochs: u64,
    /// Steps done.
    pub(crate) step: u64,
}

/// Where a trainee's metrics begin among the columns of both kinds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Place {
    pub(crate) train: usize,
    pub(crate) validation: usize,
}

/// A row: a step's or an epoch's, which counts from 1, with the values of the metrics.
struct Row<'a> {
    kind: &'a str,
    place: Place,
    epoch: u64,
    step: u64,
    train: &'a [f64],
    validation: &'a [f64],
    seconds: f64,
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
            let read = read_regular(path, u64::MAX)
                .and_then(|bytes| String::from_utf8(bytes).map_err(std::io::Error::other));
            let old = read.map_err(|e| Error::io("read the log", path, e))?;
            let mut lines = old.split_inclusive('\n');
            let found = lines.next().unwrap_or_default().trim_end();
            if !found.is_empty() && found != header {
                let message = format!(
                    "the log `{}` has the columns {found}, but this run writes {header}; choose another file",
                    path.shown()
                );
                return Err(Error::new(ErrorKind::Option, message));
            }
            let columns = train.len() + validation.len() + 4;
            let mut epochs = 0;
            for line in lines.filter(|line| stays(line, columns, at, &mut epochs)) {
                text.push_str(line.strip_suffix('\n').unwrap_or(line));
                text.push('\n');
            }
        }
        write_atomically(path, |file| file.write_all(text.as_bytes()))?;
        let file =
            OpenOptions::new().append(true).open(path).map_err(|e| Error::io("open the log", path, e))?;
        Ok(Log {
            path: path.to_path_buf(),
            file,
            pending: String::new(),
            lost: 0,
            train: train.len(),
            validation: validation.len(),
        })
    }

    /// Writes the row of a step; `epoch` counts from 1.
    pub(crate) fn step(
        &mut self,
        place: Place,
        epoch: u64,
        step: u64,
        metrics: &[f64],
        seconds: f64,
    ) -> Result<()> {
        self.row(&Row { kind: "step", place, epoch, step, train: metrics, validation: &[], seconds })
    }

    /// Writes the row of an epoch; `epoch` counts from 1.
    pub(crate) fn epoch(
        &mut self,
        place: Place,
        epoch: u64,
        step: u64,
        train: &[f64],
        validation: &[f64],
        seconds: f64,
    ) -> Result<()> {
        self.row(&Row { kind: "epoch", place, epoch, step, train, validation, seconds })
    }

    /// Makes all rows durable.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.write()?;
        let failed = |e| Error::io("sync the log", &self.path, e);
        durable(self.file.sync_data()).map_err(failed)?;
        // What is written to a file that has no name any more goes nowhere.
        std::fs::metadata(&self.path).map_err(|e| Error::io("find the log", &self.path, e))?;
        match self.lost {
            0 => Ok(()),
            lost => {
                let message = format!("{lost} rows of the log `{}` could not be written", self.path.shown());
                Err(Error::new(ErrorKind::Io, message))
            }
        }
    }

    /// Writes what is pending. What cannot be written stays for the next time.
    fn write(&mut self) -> Result<()> {
        while !self.pending.is_empty() {
            // One write for a whole row, so that a kill hardly ever cuts one.
            match self.file.write(self.pending.as_bytes()) {
                Ok(0) => {
                    let error = std::io::ErrorKind::WriteZero.into();
                    return Err(Error::io("write the log", &self.path, error));
                }
                // Rows are ASCII but for names of metrics, which are in the header alone.
                Ok(written) => drop(self.pending.drain(..written)),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io("write the log", &self.path, e)),
            }
        }
        Ok(())
    }

    fn row(&mut self, row: &Row<'_>) -> Result<()> {
        use std::fmt::Write as _;
        if self.pending.len() > MAX_PENDING {
            self.lost += 1;
            return self.write();
        }
        let Row { kind, place, epoch, step, train, validation, seconds } = *row;
        let line = &mut self.pending;
        // Writing to a string cannot fail.
        let _ = write!(line, "{kind},{epoch},{step}");
        for (values, at, columns) in
            [(train, place.train, self.train), (validation, place.validation, self.validation)]
        {
            line.extend(std::iter::repeat_n(',', at));
            for value in values {
                let _ = write!(line, ",{value}");
            }
            line.extend(std::iter::repeat_n(',', columns - at - values.len()));
        }
        let _ = writeln!(line, ",{seconds:.3}");
        self.write()
    }
}

/// Whether a line stays when a run goes on. Rows behind the point from which it does are written again, and one that a kill cut
/// short has no newline and too few cells. What is no row of a run is somebody's, and stays. `epochs` counts the rows of epochs.
fn stays(line: &str, columns: usize, at: Position, epochs: &mut u64) -> bool {
    let mut cells = line.split(',');
    let kind = cells.next().unwrap_or_default();
    let mut number = || cells.next().and_then(|c| c.parse::<u64>().ok());
    let cut = !line.ends_with('\n') && (line.ends_with(',') || line.split(',').count() < columns);
    match (kind, number(), number()) {
        ("step" | "epoch", ..) if cut => false,
        ("step", Some(_), Some(step)) => step <= at.step,
        ("epoch", Some(_), Some(_)) => {
            *epochs += 1;
            *epochs <= at.epochs
        }
        _ if cut => !["step", "epoch"].iter().any(|kind| kind.starts_with(line)),
        _ => true,
    }
}

fn quote(cell: &str) -> String {
    if cell.contains([',', '"', '\n']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log that is taken up keeps every line that is not written again, those that nobody can read too.
    #[test]
    fn lines_of_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.csv");
        let head = "kind,epoch,step,train_loss,validation_loss,seconds\n";
        let taken_up = |rows: &str| {
            std::fs::write(&path, format!("{head}{rows}")).unwrap();
            let position = Position { epochs: 1, step: 2 };
            Log::open(&path, &["loss".into()], &["loss".into()], Some(position)).unwrap();
            std::fs::read_to_string(&path).unwrap().strip_prefix(head).unwrap().to_owned()
        };
        let own = "step,1,1,0.5,,0.1\nstep,1,2,0.25,,0.2\nepoch,1,2,0.375,0.5,0.3\n";
        let later = "step,2,3,0.2,,0.4\nepoch,2,4,0.2,0.4,0.5\n";
        assert_eq!(taken_up(&format!("{own}{later}")), own, "what comes later is written again");
        for line in
            ["# a note", "", "halved the rate here, at step 2", "step,one,1,0.5,,0.1", "epoch", "x,1,9,,,"]
        {
            let with = format!("{line}\n{own}{line}\n");
            assert_eq!(taken_up(&format!("{with}{later}")), with, "{line:?}");
            if !line.is_empty() && line != "epoch" {
                assert_eq!(
                    taken_up(&format!("{own}{line}")),
                    format!("{own}{line}\n"),
                    "{line:?} without an end"
                );
            }
        }
        // An editor may take the last newline; a kill leaves less of a row.
        assert_eq!(taken_up(own.trim_end()), own);
        let last = "step,1,2,0.25,,0.2";
        for end in 1..last.len() - 2 {
            assert_eq!(taken_up(&format!("{own}{}", &last[..end])), own, "{:?}", &last[..end]);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn rows_wait_for_a_disk_that_is_full() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.csv");
        let mut log = Log::open(&path, &["loss".into()], &[], None).unwrap();
        log.step(Place::default(), 1, 1, &[0.5], 0.0).unwrap();
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let disk = std::mem::replace(&mut log.file, full);
        for step in 2..4 {
            assert!(
                log.step(Place::default(), 1, step, &[0.25], 0.0)
                    .unwrap_err()
                    .to_string()
                    .contains("No space left")
            );
        }
        assert!(log.sync().is_err());
        log.file = disk;
        log.epoch(Place::default(), 1, 3, &[0.25], &[], 0.0).unwrap();
        log.sync().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let rows: Vec<&str> = text.lines().skip(1).map(|l| l.split(',').nth(2).unwrap()).collect();
        assert_eq!(rows, ["1", "2", "3", "3"]);
    }
}
