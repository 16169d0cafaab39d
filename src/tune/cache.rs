//! Measured tunings in a file, by processor and number of threads. A tuning is a line, below that of its machine:
//!
//! ```text
//! # Tunings of products, measured by `brolga --tune`. May be deleted at any time.
//! format 2, made by Brolga 0.1.0, numerics version 6
//! machine Some Processor, avx2 fma, 2 threads
//! rows 56, columns outermost: direct conv {stride: [1, 1]} f32[1, 8, 8, 16], f32[16, 16, 1, 1]
//! default: direct dot f32[1, 64], f32[64, 10]
//! end of 2 tunings
//! ```
//!
//! What is wrong with the file never stops work: it is told as a notice, and what is missing is measured again. A file
//! that is not a cache is left alone. Writing is atomic; of two processes that write at once, each reads what is there
//! first and adds its own, and at worst what one of them measured in between is measured again.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::io::Write;
use std::path::{Path, PathBuf};

use brolga_passes::Tuning;
use brolga_runtime::{MAX_TEXT, Shown, read_regular, write_atomically};

use crate::error::{Error, Result};

/// How a cache begins; what begins otherwise is something else.
const HEAD: &str = "# Tunings of products, measured by `brolga --tune`. May be deleted at any time.\n";

/// How caches of format 1 began, which are measured again.
const FORMER_HEAD: &str =
    "// Schedules of products, measured by `brolga --tune`. May be deleted at any time.\n";

/// The version of what follows.
const FORMAT: u32 = 2;

/// Tunings by machine, then by the key of a product.
#[derive(Clone, PartialEq, Debug, Default)]
struct Machines(BTreeMap<String, BTreeMap<String, Tuning>>);

/// Measured tunings, perhaps of a file.
#[derive(Debug, Default)]
pub struct Cache {
    path: Option<PathBuf>,
    machines: Machines,
    /// Whether the file may be written to.
    ours: bool,
}

/// What a file is found to be.
enum Found {
    Nothing,
    Cache(Machines),
    /// A cache that cannot be used, and why.
    Unusable(String),
    /// Something else, or what cannot be read.
    Foreign(String),
}

impl Cache {
    /// A cache that is kept nowhere.
    pub fn in_memory() -> Cache {
        Cache::default()
    }

    /// The cache of a file, which need not be there yet, and what is to be told about it.
    pub fn open(path: &Path) -> (Cache, Option<String>) {
        let at = path.shown();
        let (machines, ours, notice) = match read(path) {
            Found::Nothing => (Machines::default(), true, None),
            Found::Cache(machines) => {
                let (machines, wrong) = checked(machines);
                let again = "what is out of range is measured again";
                (machines, true, wrong.map(|wrong| format!("the tuning cache `{at}`: {wrong}; {again}")))
            }
            Found::Unusable(why) => {
                let notice = format!("the tuning cache `{at}` {why}; everything is measured again");
                (Machines::default(), true, Some(notice))
            }
            Found::Foreign(why) => {
                let notice = format!("`{at}` {why}; it is left alone, and what is measured is not kept");
                (Machines::default(), false, Some(notice))
            }
        };
        (Cache { path: Some(path.to_owned()), machines, ours }, notice)
    }

    /// The file in the user's folder of caches: `$XDG_CACHE_HOME/brolga/tunings.txt`, else
    /// `~/.cache/brolga/tunings.txt`. Nothing where there is no home.
    pub fn default_path() -> Option<PathBuf> {
        // What is not absolute is to be ignored (XDG Base Directory Specification).
        let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let caches = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
        Some(caches?.join("brolga").join("tunings.txt"))
    }

    /// Where it is kept.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// What was measured for a product on a machine.
    pub fn get(&self, machine: &str, key: &str) -> Option<Tuning> {
        self.machines.0.get(machine)?.get(key).copied()
    }

    /// Adds what was measured on a machine, and writes the file, if it has one that may be written to; whether it was.
    ///
    /// # Errors
    /// The file cannot be written. What was added is in the cache nevertheless.
    pub fn add<'k>(
        &mut self,
        machine: &str,
        measured: impl IntoIterator<Item = (&'k str, Tuning)>,
    ) -> Result<bool> {
        let own = self.machines.0.entry(machine.to_owned()).or_default();
        own.extend(measured.into_iter().map(|(key, tuning)| (key.to_owned(), tuning)));
        let Some(path) = self.path.as_ref().filter(|_| self.ours) else { return Ok(false) };
        // What another process has added since.
        if let Found::Cache(others) = read(path) {
            for (machine, tunings) in checked(others).0.0 {
                let own = self.machines.0.entry(machine).or_default();
                for (key, tuning) in tunings {
                    own.entry(key).or_insert(tuning);
                }
            }
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| Error::io("make the folder", folder, &e))?;
        }
        let (this, machines) = (compiler(), &self.machines);
        write_atomically(path, |writer| {
            write!(writer, "{HEAD}format {FORMAT}, made by Brolga {this}\n{machines}")
        })?;
        Ok(true)
    }
}

fn read(path: &Path) -> Found {
    let bytes = match read_regular(path, MAX_TEXT) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Found::Nothing,
        Err(error) => return Found::Foreign(format!("cannot be read: {error}")),
    };
    if bytes.is_empty() {
        return Found::Nothing;
    }
    if bytes.starts_with(FORMER_HEAD.as_bytes()) {
        return Found::Unusable(format!("has format 1, not {FORMAT}"));
    }
    let Some(rest) = bytes.strip_prefix(HEAD.as_bytes()) else {
        return Found::Foreign("is not a tuning cache".into());
    };
    understood(rest).unwrap_or_else(Found::Unusable)
}

/// What stands behind the head, or what is wrong with it.
fn understood(bytes: &[u8]) -> std::result::Result<Found, String> {
    let misread = |why: &str| format!("cannot be understood ({why})");
    let text = std::str::from_utf8(bytes).map_err(|_| misread("it is not text"))?;
    let (about, rest) = text.split_once('\n').unwrap_or((text, ""));
    let about = about.strip_prefix("format ").and_then(|about| about.split_once(", made by Brolga "));
    let (format, made_by) = about.ok_or_else(|| misread("line 2: expected its format and who made it"))?;
    if format.parse() != Ok(FORMAT) {
        return Err(format!("has format {}, not {FORMAT}", format.shown()));
    }
    let this = compiler();
    if made_by != this {
        return Err(format!("was made by Brolga {}, not {this}", made_by.shown()));
    }
    Machines::parse(rest).map(Found::Cache).map_err(|why| misread(&why))
}

impl Machines {
    /// What is printed, read again. The last line shows that nothing is missing.
    fn parse(text: &str) -> std::result::Result<Machines, String> {
        let mut machines = Machines::default();
        let mut tunings = None;
        let mut count = 0;
        let mut lines = text.split('\n').zip(3..);
        while let Some((line, number)) = lines.next() {
            if let Some(machine) = line.strip_prefix("machine ") {
                tunings = Some(machines.0.entry(machine.to_owned()).or_default());
            } else if let Some((tuning, key)) = line.split_once(": ") {
                let tuning: Tuning =
                    tuning.parse().map_err(|expected| format!("line {number}: {expected}"))?;
                let own = tunings.as_mut().ok_or_else(|| format!("line {number}: expected a machine"))?;
                own.insert(key.to_owned(), tuning);
                count += 1;
            } else if line == end(count) && lines.by_ref().map(|(line, _)| line).eq([""]) {
                return Ok(machines);
            } else {
                return Err(format!("line {number}: expected `machine …`, `tuning: product`, or the end"));
            }
        }
        Err("it has no end".into())
    }
}

/// The last line of a file with so many tunings.
fn end(tunings: usize) -> String {
    format!("end of {tunings} tunings")
}

/// Whether a name can be written.
fn is_line(name: &str) -> bool {
    !name.contains('\n')
}

impl Display for Machines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut count = 0;
        for (machine, tunings) in self.0.iter().filter(|(machine, _)| is_line(machine)) {
            writeln!(f, "machine {machine}")?;
            for (key, tuning) in tunings.iter().filter(|(key, _)| is_line(key)) {
                writeln!(f, "{tuning}: {key}")?;
                count += 1;
            }
        }
        writeln!(f, "{}", end(count))
    }
}

/// What is in range, and what is wrong with the first of what is not.
fn checked(mut machines: Machines) -> (Machines, Option<String>) {
    let mut wrong = None;
    for tunings in machines.0.values_mut() {
        tunings.retain(|key, tuning| match tuning.check() {
            Ok(()) => true,
            Err(error) => {
                wrong.get_or_insert_with(|| format!("{error}, for `{}`", key.shown()));
                false
            }
        });
    }
    (machines, wrong)
}

/// The compiler that tunings are for.
fn compiler() -> String {
    format!("{}, numerics version {}", env!("CARGO_PKG_VERSION"), brolga_codegen::NUMERICS_VERSION)
}

#[cfg(test)]
mod tests {
    use brolga_passes::Outer;

    use super::*;

    const KEY: &str = "direct conv {stride: [1, 1]} f32[1, 8, 8, 16], f32[16, 16, 1, 1]";

    fn tuning() -> Tuning {
        Tuning { rows: Some(56), outer: Some(Outer::Columns), ..Tuning::default() }
    }

    /// A file with one entry, and its text.
    fn written(path: &Path) -> String {
        let (mut cache, notice) = Cache::open(path);
        assert_eq!(notice, None);
        assert!(cache.add("a machine, 2 threads", [(KEY, tuning())]).expect("written"));
        std::fs::read_to_string(path).expect("a file")
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/er/tunings.txt");
        let text = written(&path);
        assert!(text.starts_with(HEAD) && text.contains("machine a machine, 2 threads\n"), "{text}");
        assert!(text.ends_with(&format!("rows 56, columns outermost: {KEY}\nend of 1 tunings\n")), "{text}");
        let (cache, notice) = Cache::open(&path);
        assert_eq!(notice, None);
        assert_eq!(cache.get("a machine, 2 threads", KEY), Some(tuning()));
        assert_eq!(cache.get("a machine, 1 thread", KEY), None);
        assert_eq!(cache.get("a machine, 2 threads", "direct dot"), None);
    }

    #[test]
    fn a_name_of_two_lines_is_kept_in_memory_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tunings.txt");
        let (mut cache, _) = Cache::open(&path);
        cache.add("m", [("a\nb", tuning()), ("c", tuning())]).expect("written");
        cache.add("m\nn", [("c", tuning())]).expect("written");
        assert_eq!((cache.get("m", "a\nb"), cache.get("m\nn", "c")), (Some(tuning()), Some(tuning())));
        let (again, notice) = Cache::open(&path);
        assert_eq!((again.get("m", "c"), notice), (Some(tuning()), None));
        assert_eq!(again.machines.0.values().map(BTreeMap::len).sum::<usize>(), 1);
    }

    #[test]
    fn two_writers_keep_what_the_other_wrote() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tunings.txt");
        let (mut first, _) = Cache::open(&path);
        let (mut second, _) = Cache::open(&path);
        first.add("m", [("a", tuning())]).expect("written");
        second.add("m", [("b", Tuning::default())]).expect("written");
        let (both, notice) = Cache::open(&path);
        assert_eq!(notice, None);
        assert_eq!((both.get("m", "a"), both.get("m", "b")), (Some(tuning()), Some(Tuning::default())));
    }

    #[test]
    fn writers_at_once_leave_a_whole_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tunings.txt");
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let path = &path;
                scope.spawn(move || {
                    for number in 0..10 {
                        let (mut cache, notice) = Cache::open(path);
                        assert_eq!(notice, None);
                        let key = format!("direct {writer} {number}");
                        cache.add("m", [(key.as_str(), tuning())]).expect("written");
                        assert_eq!(cache.get("m", &key), Some(tuning()));
                    }
                });
            }
        });
        assert_eq!(Cache::open(&path).1, None);
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn what_cannot_be_used_is_told_and_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tunings.txt");
        let good = written(&path);
        let old = good.replace(env!("CARGO_PKG_VERSION"), "0.0.1");
        let half = good[..good.len() / 2].to_owned();
        let unknown = good.replace("rows", "rewards");
        let later = good.replace("format 2", "format 3");
        let former = FORMER_HEAD.to_owned() + "Schedules(format: 1)";
        let more = good.clone() + "default: direct\n";
        let homeless = good.replace("machine ", "default: ");
        for (text, expected) in [
            (old, "was made by Brolga 0.0.1"),
            (half, "cannot be understood"),
            (unknown, "cannot be understood"),
            (later, "has format 3, not 2"),
            (former, "has format 1, not 2"),
            (more, "cannot be understood (line 5: "),
            (homeless, "cannot be understood (line 3: expected a machine)"),
        ] {
            std::fs::write(&path, text).expect("written");
            let (mut cache, notice) = Cache::open(&path);
            let notice = notice.expect("a notice");
            assert!(notice.contains(expected) && notice.contains("measured again"), "{notice}");
            assert_eq!(cache.get("a machine, 2 threads", KEY), None);
            assert!(cache.add("a machine, 2 threads", [(KEY, tuning())]).expect("written"));
            assert_eq!(std::fs::read_to_string(&path).expect("a file"), good);
        }
    }

    #[test]
    fn choices_out_of_range_are_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tunings.txt");
        let good = written(&path);
        std::fs::write(&path, good.replace("rows 56", "rows 0")).expect("written");
        let (cache, notice) = Cache::open(&path);
        let notice = notice.expect("a notice");
        assert!(
            notice.contains("expected rows from 1 to 65536, found 0") && notice.contains(KEY),
            "{notice}"
        );
        assert_eq!(cache.get("a machine, 2 threads", KEY), None);
    }

    #[test]
    fn other_files_are_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model.ron");
        std::fs::write(&path, "Model(inputs: {})").expect("written");
        let (mut cache, notice) = Cache::open(&path);
        assert!(notice.expect("a notice").contains("is not a tuning cache; it is left alone"));
        assert!(!cache.add("m", [(KEY, tuning())]).expect("not written"));
        assert_eq!(cache.get("m", KEY), Some(tuning()));
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), "Model(inputs: {})");
        let (_, notice) = Cache::open(folder.path());
        assert!(notice.expect("a notice").contains("cannot be read"));
    }
}
