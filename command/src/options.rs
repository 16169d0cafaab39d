//! The arguments of an executable: few options, which are listed once for reading and for help.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use brolga_runtime::{Error, Result, Shown};

use crate::refused;

/// An option: its name with the dashes, what its value is called if it takes one, and what it is for.
pub(crate) struct Known {
    pub name: &'static str,
    pub value: Option<&'static str>,
    pub about: &'static str,
}

/// An option that takes a value.
pub(crate) const fn valued(name: &'static str, value: &'static str, about: &'static str) -> Known {
    Known { name, value: Some(value), about }
}

/// An option that is there or not.
pub(crate) const fn flag(name: &'static str, about: &'static str) -> Known {
    Known { name, value: None, about }
}

/// What was given.
#[derive(Debug, Default)]
pub(crate) struct Given {
    options: Vec<(&'static str, OsString)>,
    /// What is no option.
    pub paths: Vec<PathBuf>,
}

impl Given {
    /// Reads arguments: `--name value`, `--name=value`, `--name`; behind `--` everything is a path, and so is `-`. Short for
    /// `--help` and `--version` are `-h` and `-V`.
    ///
    /// # Errors
    /// Options that are not known, are given twice, lack their value or take none.
    pub fn read(arguments: impl Iterator<Item = OsString>, known: &[&[Known]]) -> Result<Given> {
        let all = || known.iter().copied().flatten();
        let (mut given, mut arguments) = (Given::default(), arguments);
        while let Some(argument) = arguments.next() {
            if argument == "--" {
                given.paths.extend(arguments.by_ref().map(PathBuf::from));
                continue;
            }
            if argument == "-" || !argument.as_encoded_bytes().starts_with(b"-") {
                given.paths.push(argument.into());
                continue;
            }
            let text = match argument.to_str() {
                Some("-h") => "--help".into(),
                Some("-V") => "--version".into(),
                _ => argument.to_string_lossy(),
            };
            let (name, value) = match text.split_once('=') {
                Some((name, _)) => (name, Some(behind(&argument, name.len() + 1))),
                None => (&*text, None),
            };
            let option = all().find(|option| option.name == name);
            let option = option.ok_or_else(|| match name {
                "--save" if all().any(|option| option.name == "--outputs") => {
                    refused("--save says where `train` puts weights; where answers go, --outputs says")
                }
                _ => Error::unknown("option", name, all().map(|option| option.name)),
            })?;
            if given.has(option.name) {
                return Err(refused(format!("{name} is given twice")));
            }
            let value = match (option.value, value) {
                (Some(_), Some(value)) => value,
                (Some(what), None) => {
                    arguments.next().ok_or_else(|| refused(format!("{name} needs a value: {name} {what}")))?
                }
                (None, Some(_)) => return Err(refused(format!("{name} takes no value"))),
                (None, None) => OsString::new(),
            };
            given.options.push((option.name, value));
        }
        Ok(given)
    }

    /// Whether an option is there.
    pub fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    fn value(&self, name: &str) -> Option<&OsStr> {
        self.options.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_os_str())
    }

    /// The value of an option as a path.
    pub fn path(&self, name: &str) -> Option<&Path> {
        self.value(name).map(Path::new)
    }

    /// The value of an option as text.
    ///
    /// # Errors
    /// Bytes that are no text.
    pub fn text(&self, name: &str) -> Result<Option<&str>> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let wrong = || refused(format!("the value of {name} is no text: {}", Path::new(value).shown()));
        value.to_str().ok_or_else(wrong).map(Some)
    }

    /// The value of an option as a number.
    ///
    /// # Errors
    /// What is none; `expected` says what is one.
    pub fn number<T: FromStr>(&self, name: &str, expected: &str) -> Result<Option<T>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let wrong = |_| refused(format!("{name} takes {expected}, found `{}`", text.shown()));
        text.parse().map(Some).map_err(wrong)
    }
}

/// What is behind so many bytes of text.
fn behind(argument: &OsStr, bytes: usize) -> OsString {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::{OsStrExt, OsStringExt};
        // What is before it has been found in the text that stands for the bytes: the same, up to the first that is no text.
        let found = argument.as_bytes().iter().position(|byte| *byte == b'=').map_or(bytes, |at| at + 1);
        OsString::from_vec(argument.as_bytes()[found..].to_vec())
    }
    #[cfg(not(unix))]
    argument.to_string_lossy()[bytes..].to_owned().into()
}

/// The lines of help about some options.
pub(crate) fn help(known: &[&[Known]]) -> String {
    let form = |option: &Known| match option.value {
        Some(value) => format!("{} {value}", option.name),
        None => option.name.to_owned(),
    };
    let all = || known.iter().copied().flatten();
    let width = all().map(|option| form(option).len()).max().unwrap_or(0);
    all().map(|option| format!("  {:<width$}  {}\n", form(option), option.about)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [Known; 3] =
        [valued("--outputs", "FILE", "where"), valued("--seconds", "S", "how long"), flag("--json", "JSON")];

    fn read(arguments: &[&str]) -> Result<Given> {
        Given::read(arguments.iter().map(OsString::from), &[&KNOWN])
    }

    #[test]
    fn options_stand_anywhere() {
        let given =
            read(&["a.png", "--outputs", "x=y.csv", "--json", "--seconds=1.5", "--", "--b", "-"]).unwrap();
        assert_eq!(given.paths, ["a.png", "--b", "-"].map(PathBuf::from));
        assert_eq!(given.path("--outputs"), Some(Path::new("x=y.csv")));
        assert!(given.has("--json") && !given.has("--more"));
        assert!(
            Given::read([OsString::from("-h")].into_iter(), &[&[flag("--help", "this")]])
                .unwrap()
                .has("--help")
        );
        assert_eq!(given.number::<f64>("--seconds", "seconds").unwrap(), Some(1.5));
    }

    #[test]
    fn mistakes_are_told() {
        let wrong = |arguments: &[&str]| read(arguments).unwrap_err().to_string();
        assert_eq!(wrong(&["--output", "x"]), "there is no option `--output`; did you mean `--outputs`?");
        // No other name is meant, though others are near.
        assert_eq!(
            wrong(&["--save=x"]),
            "--save says where `train` puts weights; where answers go, --outputs says"
        );
        assert_eq!(wrong(&["--outputs"]), "--outputs needs a value: --outputs FILE");
        assert_eq!(wrong(&["--json=1"]), "--json takes no value");
        assert_eq!(wrong(&["--json", "--json"]), "--json is given twice");
        assert_eq!(wrong(&["-o", "x"]), "there is no option `-o`; there are --outputs, --seconds, --json");
        let number = read(&["--seconds", "long"]).unwrap().number::<f64>("--seconds", "seconds");
        assert_eq!(number.unwrap_err().to_string(), "--seconds takes seconds, found `long`");
        assert_eq!(
            help(&[&KNOWN]),
            "  --outputs FILE  where\n  --seconds S     how long\n  --json          JSON\n"
        );
    }
}
