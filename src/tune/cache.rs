//! Measured tunings in a file: RON, by processor and number of threads.
//!
//! What is wrong with the file never stops work: it is told as a notice, and what is missing is measured again. A file
//! that is not a cache is left alone. Writing is atomic; of two processes that write at once, each reads what is there
//! first and adds its own, and at worst what one of them measured in between is measured again.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use brolga_passes::{Outer, Tuning};
use brolga_runtime::{MAX_TEXT, Shown, read_regular, write_atomically};
use ron::ser::PrettyConfig;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How a cache begins; what begins otherwise is something else.
const HEAD: &str = "// Schedules of products, measured by `brolga --tune`. May be deleted at any time.\n";

/// The version of what follows.
const FORMAT: u32 = 1;

/// By machine, then by the key of a product.
type Machines = BTreeMap<String, BTreeMap<String, Kept>>;

#[derive(Serialize, Deserialize)]
#[serde(rename = "Schedules", deny_unknown_fields)]
struct File {
    format: u32,
    compiler: String,
    machines: Machines,
}

/// A tuning in the file.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Kept {
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    columns: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    depth: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outermost: Option<Outermost>,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
enum Outermost {
    Positions,
    Columns,
}

impl From<Tuning> for Kept {
    fn from(Tuning { rows, columns, depth, outer }: Tuning) -> Kept {
        let outermost = outer.map(|outer| match outer {
            Outer::Positions => Outermost::Positions,
            Outer::Columns => Outermost::Columns,
        });
        Kept { rows, columns, depth, outermost }
    }
}

impl From<Kept> for Tuning {
    fn from(Kept { rows, columns, depth, outermost }: Kept) -> Tuning {
        let outer = outermost.map(|outermost| match outermost {
            Outermost::Positions => Outer::Positions,
            Outermost::Columns => Outer::Columns,
        });
        Tuning { rows, columns, depth, outer }
    }
}

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
            Found::Nothing => (Machines::new(), true, None),
            Found::Cache(machines) => {
                let (machines, wrong) = checked(machines);
                let again = "what is out of range is measured again";
                (machines, true, wrong.map(|wrong| format!("the tuning cache `{at}`: {wrong}; {again}")))
            }
            Found::Unusable(why) => {
                let notice = format!("the tuning cache `{at}` {why}; everything is measured again");
                (Machines::new(), true, Some(notice))
            }
            Found::Foreign(why) => {
                let notice = format!("`{at}` {why}; it is left alone, and what is measured is not kept");
                (Machines::new(), false, Some(notice))
            }
        };
        (Cache { path: Some(path.to_owned()), machines, ours }, notice)
    }

    /// The file in the user's folder of caches: `$XDG_CACHE_HOME/brolga/schedules.ron`, else
    /// `~/.cache/brolga/schedules.ron`. Nothing where there is no home.
    pub fn default_path() -> Option<PathBuf> {
        // What is not absolute is to be ignored (XDG Base Directory Specification).
        let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let caches = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")));
        Some(caches?.join("brolga").join("schedules.ron"))
    }

    /// Where it is kept.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// What was measured for a product on a machine.
    pub fn get(&self, machine: &str, key: &str) -> Option<Tuning> {
        self.machines.get(machine)?.get(key).map(|&choice| choice.into())
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
        let own = self.machines.entry(machine.to_owned()).or_default();
        own.extend(measured.into_iter().map(|(key, tuning)| (key.to_owned(), tuning.into())));
        let Some(path) = self.path.as_ref().filter(|_| self.ours) else { return Ok(false) };
        // What another process has added since.
        if let Found::Cache(others) = read(path) {
            for (machine, choices) in checked(others).0 {
                let own = self.machines.entry(machine).or_default();
                for (key, choice) in choices {
                    own.entry(key).or_insert(choice);
                }
            }
        }
        let file = File { format: FORMAT, compiler: compiler(), machines: self.machines.clone() };
        let pretty = PrettyConfig::new().depth_limit(3);
        let pretty = pretty.extensions(ron::extensions::Extensions::IMPLICIT_SOME);
        let text = ron::ser::to_string_pretty(&file, pretty)
            .map_err(|error| Error::Io(format!("cannot write the tuning cache: {error}")))?;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| Error::io("make the folder", folder, &e))?;
        }
        write_atomically(path, |writer| writeln!(writer, "{HEAD}{text}"))?;
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
    if !bytes.starts_with(HEAD.as_bytes()) {
        return Found::Foreign("is not a tuning cache".into());
    }
    let file: File = match ron::de::from_bytes(&bytes) {
        Ok(file) => file,
        Err(error) => return Found::Unusable(format!("cannot be understood ({error})")),
    };
    if file.format != FORMAT {
        return Found::Unusable(format!("has format {}, not {FORMAT}", file.format));
    }
    let this = compiler();
    if file.compiler != this {
        return Found::Unusable(format!("was made by Brolga {}, not {this}", file.compiler));
    }
    Found::Cache(file.machines)
}

/// What is in range, and what is wrong with the first of what is not.
fn checked(mut machines: Machines) -> (Machines, Option<String>) {
    let mut wrong = None;
    for choices in machines.values_mut() {
        choices.retain(|key, &mut choice| match Tuning::from(choice).check() {
            Ok(()) => true,
            Err(error) => {
                wrong.get_or_insert_with(|| format!("{error}, for `{key}`"));
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
        let path = folder.path().join("deep/er/schedules.ron");
        let text = written(&path);
        assert!(text.starts_with(HEAD) && text.contains("rows: 56") && text.contains("Columns"), "{text}");
        assert!(!text.contains("None") && !text.contains("Some"), "{text}");
        let (cache, notice) = Cache::open(&path);
        assert_eq!(notice, None);
        assert_eq!(cache.get("a machine, 2 threads", KEY), Some(tuning()));
        assert_eq!(cache.get("a machine, 1 thread", KEY), None);
        assert_eq!(cache.get("a machine, 2 threads", "direct dot"), None);
    }

    #[test]
    fn two_writers_keep_what_the_other_wrote() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("schedules.ron");
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
        let path = folder.path().join("schedules.ron");
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
        let path = folder.path().join("schedules.ron");
        let good = written(&path);
        let old = good.replace(env!("CARGO_PKG_VERSION"), "0.0.1");
        let half = good[..good.len() / 2].to_owned();
        let unknown = good.replace("rows", "rewards");
        let later = good.replace("format: 1", "format: 2");
        for (text, expected) in [
            (old, "was made by Brolga 0.0.1"),
            (half, "cannot be understood"),
            (unknown, "cannot be understood"),
            (later, "has format 2, not 1"),
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
        let path = folder.path().join("schedules.ron");
        let good = written(&path);
        std::fs::write(&path, good.replace("rows: 56", "rows: 0")).expect("written");
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
