//! The modules of a crate, and which file names which: read from the text, as `layers.rs` defines it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A module by the names on the way to it, the root being empty.
pub type Module = Vec<String>;

/// `lower::products`, and `lib` for the root.
pub fn name(module: &[String]) -> String {
    if module.is_empty() { "lib".to_owned() } else { module.join("::") }
}

/// What a file brings into its scope.
struct Use {
    path: Vec<String>,
    /// The name it has in the file.
    name: String,
    /// Whether it is passed on (`pub use`, `pub(crate) use`).
    passed_on: bool,
}

/// A module that is a file.
struct File {
    uses: Vec<Use>,
    /// What is left without comments, strings, tests and uses.
    code: String,
}

/// The files of a crate, by their modules.
pub struct Crate {
    files: BTreeMap<Module, File>,
}

impl Crate {
    /// Reads a crate from its root, `src/lib.rs` or `src/main.rs`.
    pub fn read(root: &Path) -> Crate {
        let mut files = BTreeMap::new();
        load(root, Vec::new(), &mut files);
        Crate { files }
    }

    /// A crate of texts, for tests.
    pub fn of(texts: &[(&str, &str)]) -> Crate {
        let path = |name: &str| -> Module {
            if name == "lib" { Vec::new() } else { name.split("::").map(str::to_owned).collect() }
        };
        Crate { files: texts.iter().map(|(name, text)| (path(name), File::of(&code_of(text)))).collect() }
    }

    /// The modules that are files.
    pub fn modules(&self) -> impl Iterator<Item = &Module> {
        self.files.keys()
    }

    /// For each file, the files of the crate that it uses.
    pub fn edges(&self) -> BTreeMap<Module, BTreeSet<Module>> {
        let of = |(module, file): (&Module, &File)| {
            let own = file.uses.iter().filter(|used| !used.passed_on).map(|used| used.path.clone());
            let inline = file.paths().into_iter().map(|path| self.through_uses(module, path));
            let all = own.chain(inline).filter_map(|path| self.resolve(module, &path, 0));
            (module.clone(), all.filter(|used| used != module).collect())
        };
        self.files.iter().map(of).collect()
    }

    /// The code of a file: without comments, strings, tests and uses.
    pub fn code(&self, module: &Module) -> &str {
        &self.files[module].code
    }

    /// Whether a name in a file is that of a type of this crate.
    pub fn knows(&self, module: &Module, name: &str) -> bool {
        let file = &self.files[module];
        let imported = |used: &Use| used.name == name && self.resolve(module, &used.path, 0).is_some();
        let is_it = |at: usize| {
            let rest = file.code[at..].trim_start().strip_prefix(name);
            rest.is_some_and(|rest| !rest.bytes().next().is_some_and(is_word))
        };
        let defined = |kind: &&str| behind(&file.code, kind).any(is_it);
        file.uses.iter().any(imported) || ["struct", "enum"].iter().any(defined)
    }

    /// All paths of other crates that a file names.
    pub fn outside(&self, module: &Module) -> Vec<String> {
        let file = &self.files[module];
        let uses = file.uses.iter().map(|used| used.path.clone());
        uses.chain(file.paths()).map(|path| path.join("::")).collect()
    }

    /// A path that begins with a name that the file has brought into its scope, written out.
    fn through_uses(&self, module: &Module, path: Vec<String>) -> Vec<String> {
        let child: Module = module.iter().chain(&path[..1]).cloned().collect();
        match self.files[module].uses.iter().find(|used| used.name == path[0]) {
            Some(used) if !self.files.contains_key(&child) => [&used.path[..], &path[1..]].concat(),
            _ => path,
        }
    }

    /// The file that a path names: the last module on it, or where that module has the next name from.
    fn resolve(&self, from: &Module, path: &[String], steps: usize) -> Option<Module> {
        let (mut at, mut rest): (Module, &[String]) = match path.first()?.as_str() {
            "crate" => (Vec::new(), &path[1..]),
            "self" | "super" => (from.clone(), path),
            first => {
                let child: Module = from.iter().cloned().chain([first.to_owned()]).collect();
                self.files.contains_key(&child).then(|| (from.clone(), path))?
            }
        };
        while let Some((first, behind)) = rest.split_first() {
            match first.as_str() {
                "self" => {}
                "super" => drop(at.pop()),
                _ => {
                    at.push(first.clone());
                    if !self.files.contains_key(&at) {
                        at.pop();
                        break;
                    }
                }
            }
            rest = behind;
        }
        let passed =
            rest.first().and_then(|name| self.files[&at].uses.iter().find(|used| used.name == *name));
        match passed {
            Some(used) if steps < 8 => {
                let on = [&used.path[..], &rest[1..]].concat();
                let own = matches!(on[0].as_str(), "crate" | "self" | "super");
                self.resolve(&at, &on, steps + 1).or(own.then_some(at))
            }
            _ => Some(at),
        }
    }
}

/// Reads the file of a module and of all below it.
fn load(path: &Path, module: Module, files: &mut BTreeMap<Module, File>) {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let code = code_of(&text);
    let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
    let folder = path.parent().expect("a folder");
    let below = match stem {
        "lib" | "main" | "mod" => folder.to_path_buf(),
        _ => folder.join(stem),
    };
    for child in declared(&code) {
        let file = [below.join(format!("{child}.rs")), below.join(&child).join("mod.rs")];
        let file = file.iter().find(|file| file.exists());
        let file = file.unwrap_or_else(|| panic!("{}: no file for `mod {child};`", path.display()));
        load(file, module.iter().cloned().chain([child]).collect(), files);
    }
    files.insert(module, File::of(&code));
}

/// The text without comments, strings and tests.
fn code_of(text: &str) -> String {
    without_tests(&blank(text))
}

/// The text with spaces in the place of comments, strings and characters.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = at + ignored(&bytes[at..], at > 0 && is_word(bytes[at - 1]));
        code[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        at = end.max(at + 1);
    }
    String::from_utf8(code).expect("whole characters are blanked")
}

/// How many bytes of comment, string or character stand at the beginning.
fn ignored(bytes: &[u8], in_word: bool) -> usize {
    let until = |from: usize, end: &[u8]| {
        let rest = &bytes[from..];
        let found = rest.windows(end.len()).position(|window| window == end);
        found.map_or(bytes.len(), |at| from + at + end.len())
    };
    match bytes {
        [b'/', b'/', ..] => bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len()),
        [b'/', b'*', ..] => until(2, b"*/"),
        [b'b', rest @ ..] if !in_word && matches!(rest, [b'"' | b'\'', ..] | [b'r', b'"' | b'#', ..]) => {
            1 + ignored(rest, false)
        }
        [b'r', rest @ ..] if !in_word => {
            let marks = rest.iter().take_while(|byte| **byte == b'#').count();
            match rest.get(marks) {
                Some(b'"') => until(marks + 2, &[&b"\""[..], &b"#".repeat(marks)[..]].concat()),
                _ => 0,
            }
        }
        [b'"', ..] => 1 + quoted(&bytes[1..], b'"'),
        [b'\'', b'\\', ..] => 1 + quoted(&bytes[1..], b'\''),
        // A character, and no lifetime.
        [b'\'', rest @ ..] => match std::str::from_utf8(&rest[..rest.len().min(5)]) {
            Ok(text) => one_character(text),
            Err(error) => one_character(std::str::from_utf8(&rest[..error.valid_up_to()]).unwrap_or("")),
        },
        _ => 0,
    }
}

/// The bytes of `x'` behind a quote, with it; 0 if that is no character.
fn one_character(text: &str) -> usize {
    let mut characters = text.chars();
    let first = characters.next().map_or(0, char::len_utf8);
    if characters.next() == Some('\'') { first + 2 } else { 0 }
}

/// The bytes up to the end of a string that may have escapes.
fn quoted(bytes: &[u8], end: u8) -> usize {
    let mut at = 0;
    while at < bytes.len() && bytes[at] != end {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

pub fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The code without what is compiled for tests only.
fn without_tests(code: &str) -> String {
    let mut left = String::new();
    let mut rest = code;
    while let Some(at) = ["#[cfg(test)]", "#[cfg(all(test"].iter().filter_map(|mark| rest.find(mark)).min() {
        left.push_str(&rest[..at]);
        rest = &rest[at..];
        let body = rest.find(']').expect("an attribute ends");
        let end = rest[body..].find([';', '{']).map_or(rest.len(), |end| body + end);
        rest = match rest[end..].starts_with('{') {
            true => &rest[end + block(&rest[end..])..],
            false => rest.get(end + 1..).unwrap_or(""),
        };
    }
    left + rest
}

/// The length of a block in braces.
pub fn block(code: &str) -> usize {
    let mut depth = 0;
    for (at, character) in code.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// The positions behind a word of the code that stands alone.
fn behind<'c>(code: &'c str, word: &'c str) -> impl Iterator<Item = usize> + 'c {
    code.match_indices(word).map(move |(at, _)| (at, at + word.len())).filter_map(move |(at, end)| {
        let before = at == 0 || !is_word(code.as_bytes()[at - 1]);
        let after = code.as_bytes().get(end).is_some_and(u8::is_ascii_whitespace);
        (before && after).then_some(end)
    })
}

/// Whether what follows belongs to a value or a type, or is the name of a macro's variable. (`..` is a range.)
fn has_owner(before: &str) -> bool {
    before.ends_with("::") || before.ends_with('$') || (before.ends_with('.') && !before.ends_with(".."))
}

/// Where modules inside of the code begin and end.
fn inner(code: &str) -> Vec<(usize, usize)> {
    let module = |at: usize| {
        let open = at + code[at..].find(['{', ';'])?;
        code[open..].starts_with('{').then(|| (open, open + block(&code[open..])))
    };
    behind(code, "mod").filter_map(module).collect()
}

/// How many of them are around a place.
fn depth(inner: &[(usize, usize)], at: usize) -> usize {
    inner.iter().filter(|(open, close)| (*open..*close).contains(&at)).count()
}

/// A path that stands so deep in modules inside of a file, as the file would write it.
fn of_file(path: Vec<String>, depth: usize) -> Vec<String> {
    let supers = path.iter().take_while(|name| *name == "super").count().min(depth);
    if supers == 0 { path } else { [&["self".to_owned()][..], &path[supers..]].concat() }
}

/// The names of the modules that are files of their own.
fn declared(code: &str) -> Vec<String> {
    let name = |at: usize| code[at..].split_once(';').map(|(name, _)| name.trim().to_owned());
    behind(code, "mod").filter_map(name).filter(|name| name.bytes().all(is_word)).collect()
}

impl File {
    fn of(code: &str) -> File {
        let (mut uses, mut left, mut from) = (Vec::new(), String::new(), 0);
        let inner = inner(code);
        for at in behind(code, "use") {
            let start = at - "use".len();
            let before = code[..start].trim_end();
            let statement = before.is_empty() || before.ends_with([';', '{', '}', ']']);
            let passed_on = before.ends_with("pub") || before.ends_with(')');
            // `impl Trait + use<'_>` is none.
            if start < from || !(statement || passed_on) {
                continue;
            }
            let Some((tree, _)) = code[at..].split_once(';') else { continue };
            let depth = depth(&inner, start);
            leaves(&[], tree, &mut |path, name| {
                uses.push(Use { path: of_file(path, depth), name, passed_on })
            });
            left.push_str(&code[from..start]);
            from = at + tree.len() + 1;
        }
        left.push_str(&code[from..]);
        File { uses, code: left }
    }

    /// The paths in the code that begin with a name in small letters. Modules inside of the file are the file.
    fn paths(&self) -> Vec<Vec<String>> {
        let code = self.code.as_str();
        let inner = inner(code);
        let mut paths = Vec::new();
        let mut at = 0;
        while let Some(colons) = code[at..].find("::").map(|found| at + found) {
            let start = code[..colons].rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let start = start.map_or(0, |at| at + code[at..].chars().next().map_or(1, char::len_utf8));
            let end = code[colons..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
            let end = end.map_or(code.len(), |end| colons + end);
            at = end.max(colons + 2);
            let before = code[..start].trim_end();
            let first = code[start..].chars().next().unwrap_or(':');
            // What is generic, belongs to a value or says who may see something is no path of a module.
            if !first.is_ascii_lowercase() || has_owner(before) || before.ends_with("(in") {
                continue;
            }
            let names = code[start..end].split("::").filter(|name| !name.is_empty());
            let path = of_file(names.map(str::to_owned).collect(), depth(&inner, start));
            paths.extend((path.len() > 1).then_some(path));
        }
        paths
    }
}

/// Calls `leaf` with every path of a tree like `a::{b, c::{self, d as e}}`, and its name.
fn leaves(before: &[String], tree: &str, leaf: &mut dyn FnMut(Vec<String>, String)) {
    let tree = tree.trim();
    let segments = |text: &str| -> Vec<String> {
        let names = text.split("::").map(str::trim).filter(|name| !name.is_empty());
        before.iter().cloned().chain(names.map(str::to_owned)).collect()
    };
    if let Some((head, rest)) = tree.split_once('{') {
        let head = segments(head);
        let body = rest.rsplit_once('}').map_or(rest, |(body, _)| body);
        let (mut depth, mut from) = (0, 0);
        for (at, character) in body.char_indices().chain([(body.len(), ',')]) {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    if !body[from..at].trim().is_empty() {
                        leaves(&head, &body[from..at], leaf);
                    }
                    from = at + 1;
                }
                _ => {}
            }
        }
        return;
    }
    let (path, alias) =
        tree.split_once(" as ").map_or((tree, None), |(path, name)| (path, Some(name.trim())));
    let mut path = segments(path);
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    let name = alias.map_or_else(|| path.last().cloned().unwrap_or_default(), str::to_owned);
    leaf(path, name);
}
