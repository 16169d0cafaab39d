//! What rows came to, as a file: a line of CSV for each run, in the order of the rows.

use std::io::ErrorKind::NotFound;
use std::path::Path;

use brolga::codegen::NUMERICS_VERSION;
use brolga::models::data;
use brolga::models::rows::{Bound, Kind, ROWS, Run};
use brolga::runtime::{Shown, checksum, read_regular, write_atomically};
use brolga::{Error, Result};

/// The columns.
const HEAD: [&str; 7] = ["id", "command", "target", "value", "seed", "hash", "numerics"];

/// A file of results takes no more than that.
const MOST_BYTES: u64 = 1 << 20;

/// A line: what one run came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub id: String,
    /// The command that does the same as the run.
    pub command: String,
    /// What the value must be, such as `bits <= 1.812`.
    pub target: String,
    pub value: f64,
    pub seed: u64,
    /// The checksum of all that the value depends on besides the compiler.
    pub hash: String,
    /// The version of the compiler's arithmetic.
    pub numerics: String,
}

impl Line {
    pub fn new(id: &str, run: &Run, target: String, value: f64) -> Line {
        let seed = match run.kind {
            Kind::Trains { seed, .. } => seed,
            Kind::Parameters(_) | Kind::Gives { .. } => 0,
        };
        let numerics = NUMERICS_VERSION.to_string();
        Line { id: id.to_owned(), command: run.command(), target, value, seed, hash: hash(run), numerics }
    }

    /// Whether it is that of a run as it is now.
    pub fn is_fresh(&self, run: &Run) -> bool {
        self.hash == hash(run)
    }

    /// Whether the value is what the target says.
    pub fn holds(&self) -> bool {
        let words: Vec<&str> = self.target.rsplitn(3, ' ').collect();
        let [bound, relation, _] = words[..] else { return false };
        let Ok(bound) = bound.parse::<f64>() else { return false };
        match relation {
            "<=" => self.value <= bound,
            ">=" => self.value >= bound,
            _ => self.value == bound,
        }
    }
}

/// The checksum of all that a run's value depends on besides the compiler.
fn hash(run: &Run) -> String {
    checksum(run.decides().as_bytes())
}

/// What a value must be, as text; `known` are the numbers of the data set.
pub fn target(kind: &Kind, known: &[(&str, f64)]) -> Result<String> {
    Ok(match *kind {
        Kind::Parameters(count) => format!("parameters = {count}"),
        Kind::Trains { metric, bound, .. } | Kind::Gives { output: metric, bound, .. } => match bound {
            Bound::AtLeast(least) => format!("{metric} >= {least}"),
            Bound::AtMost(most) => format!("{metric} <= {most}"),
            Bound::AtMostAbove(name, margin) => {
                let found = known.iter().find(|(known, _)| *known == name);
                let (_, value) = found.ok_or_else(|| {
                    Error::Name(format!(
                        "of the data set no `{name}` is known, which `{metric}` is compared with"
                    ))
                })?;
                format!("{metric} <= {:.4}", value + margin)
            }
        },
    })
}

/// The line of a run, if it has one.
pub fn line<'l>(lines: &'l [Line], id: &str, run: &Run) -> Option<&'l Line> {
    lines.iter().find(|line| line.id == id && line.command == run.command())
}

/// Reads the lines of a file; none where there is no file.
///
/// # Errors
/// A file that is no such table: it is not written to either.
pub fn read(path: &Path) -> Result<Vec<Line>> {
    if let Err(error) = std::fs::metadata(path)
        && error.kind() == NotFound
    {
        return Ok(Vec::new());
    }
    let bytes = read_regular(path, MOST_BYTES).map_err(|error| Error::io("read", path, &error))?;
    let text = String::from_utf8_lossy(&bytes);
    let rows = data::rows(path, &text)?;
    let wrong =
        |message: &str| Error::Io(format!("`{}` holds no results of a catalogue: {message}", path.shown()));
    let Some((head, rows)) = rows.split_first() else { return Ok(Vec::new()) };
    if head[..] != HEAD {
        return Err(wrong(&format!("its first line is not `{}`", HEAD.join(","))));
    }
    let parsed = |row: &Vec<String>| {
        let [id, command, target, value, seed, hash, numerics] = &row[..] else { return None };
        let [id, command, target] = [id, command, target].map(String::clone);
        let (value, seed) = (value.parse().ok()?, seed.parse().ok()?);
        Some(Line { id, command, target, value, seed, hash: hash.clone(), numerics: numerics.clone() })
    };
    let line = |row: &Vec<String>| parsed(row).ok_or_else(|| wrong(&format!("found `{}`", row.join(","))));
    rows.iter().map(line).collect()
}

/// Puts a line in the place of that of the same run, and writes all whose runs there still are.
///
/// # Errors
/// A file that cannot be written; it is as before then.
pub fn keep(path: &Path, lines: &mut Vec<Line>, new: Line) -> Result<()> {
    lines.retain(|line| (&line.id, &line.command) != (&new.id, &new.command));
    lines.push(new);
    let known: &[Line] = lines;
    let runs = ROWS.iter().flat_map(|(id, runs)| runs.iter().map(move |run| (*id, run)));
    let kept: Vec<&Line> = runs.filter_map(|(id, run)| line(known, id, run)).collect();
    let cells = |line: &Line| {
        let Line { id, command, target, value, seed, hash, numerics } = line;
        format!("{id},{command},{target},{value},{seed},{hash},{numerics}\n")
    };
    let text = HEAD.join(",") + "\n" + &kept.into_iter().map(cells).collect::<String>();
    Ok(write_atomically(path, |file| std::io::Write::write_all(file, text.as_bytes()))?)
}
