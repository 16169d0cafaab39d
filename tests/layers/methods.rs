//! Which file calls methods that stand in another one: read from the text, as `layers.rs` defines it.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Crate, Module, block, is_word};

/// A block of methods.
struct Implementation<'c> {
    /// The name of the type that they are of.
    of: &'c str,
    /// Whether it is that of a trait.
    of_trait: bool,
    body: &'c str,
}

/// What types the names of values are declared with, each without references and parameters.
type Declared<'c> = BTreeMap<&'c str, BTreeSet<&'c str>>;

/// For each file, the files that it calls methods of.
pub fn calls(files: &Crate) -> BTreeMap<Module, BTreeSet<Module>> {
    let methods = methods(files);
    let spread: BTreeSet<&str> = methods.keys().map(|(of, _)| *of).collect();
    // What a name is in every file that declares it, it is in closures too.
    let mut everywhere = Declared::new();
    for module in files.modules() {
        for (name, types) in declared(files.code(module)) {
            let known = |of: &str| spread.contains(of) && files.knows(module, of);
            let types = types.into_iter().map(|of| if known(of) { of } else { "" });
            everywhere.entry(name).or_default().extend(types);
        }
    }
    let of_file = |module: &Module| {
        let code = files.code(module);
        let declared = declared(code);
        let known = |of: &&str| spread.contains(of) && files.knows(module, of);
        let type_of = |name: &str| match declared.get(name) {
            Some(types) => only(types).filter(known),
            None => everywhere.get(name).and_then(only).filter(|of| spread.contains(of)),
        };
        let mut found: Vec<(&str, &str)> = called(code, &type_of);
        for own in implementations(code) {
            found.extend(called(own.body, &|name| (name == "self").then_some(own.of)));
            found.extend(associated(own.body).map(|name| (own.of, name)));
        }
        let stand = found.iter().filter_map(|call| methods.get(call).and_then(only).cloned());
        (module.clone(), stand.filter(|file| file != module).collect())
    };
    files.modules().map(of_file).collect()
}

/// The one thing that there is.
fn only<T: Copy + Ord>(all: &BTreeSet<T>) -> Option<T> {
    all.first().copied().filter(|_| all.len() == 1)
}

/// The methods of types that have some in several files: by type and name, the files that they stand in.
fn methods(files: &Crate) -> BTreeMap<(&str, &str), BTreeSet<&Module>> {
    let mut methods: BTreeMap<_, BTreeSet<&Module>> = BTreeMap::new();
    let mut places: BTreeMap<&str, BTreeSet<&Module>> = BTreeMap::new();
    for module in files.modules() {
        for own in implementations(files.code(module)).filter(|own| !own.of_trait) {
            places.entry(own.of).or_default().insert(module);
            for name in functions(own.body) {
                methods.entry((own.of, name)).or_default().insert(module);
            }
        }
    }
    methods.retain(|(of, _), _| places[of].len() > 1);
    methods
}

/// All blocks of methods.
fn implementations(code: &str) -> impl Iterator<Item = Implementation<'_>> {
    code.match_indices("impl").filter_map(|(at, word)| {
        let before = code[..at].trim_end();
        let rest = &code[at + word.len()..];
        let item = before.is_empty() || before.ends_with([';', '{', '}', ']']) || before.ends_with("unsafe");
        if !item || !rest.starts_with(|c: char| c == '<' || c.is_whitespace()) {
            return None;
        }
        let open = rest.find('{')?;
        let words = plain_words(&rest[..open]);
        let traits = words.iter().position(|word| *word == "for");
        let of = words.get(traits.map_or(0, |at| at + 1))?;
        let body = &rest[open..open + block(&rest[open..])];
        Some(Implementation { of: last_segment(of), of_trait: traits.is_some(), body })
    })
}

/// The words of the head of an implementation, without what stands in angle brackets and signs of references.
fn plain_words(head: &str) -> Vec<&str> {
    let (mut depth, mut from, mut words) = (0, 0, Vec::new());
    let mut before = ' ';
    for (at, character) in head.char_indices().chain([(head.len(), ' ')]) {
        if depth == 0 && !(character.is_ascii_alphanumeric() || matches!(character, '_' | ':')) {
            words.extend((from < at).then(|| &head[from..at]));
        }
        match character {
            '<' => depth += 1,
            '>' if before != '-' => depth -= 1,
            _ => {}
        }
        if depth > 0 || !(character.is_ascii_alphanumeric() || matches!(character, '_' | ':')) {
            from = at + character.len_utf8();
        }
        before = character;
    }
    let words = words.into_iter().take_while(|word| *word != "where");
    words.filter(|word| !matches!(*word, "mut" | "dyn")).collect()
}

fn last_segment(path: &str) -> &str {
    path.rsplit("::").next().unwrap_or(path)
}

/// The names of the functions that stand directly in a block.
fn functions(body: &str) -> Vec<&str> {
    let (mut depth, mut found) = (0, Vec::new());
    for (at, byte) in body.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b'f' if depth == 1 && body[at..].starts_with("fn ") && !is_word(body.as_bytes()[at - 1]) => {
                found.push(first_word(&body[at + "fn ".len()..]));
            }
            _ => {}
        }
    }
    found
}

/// What types names are declared with: of parameters and fields, and of variables that have one.
fn declared(code: &str) -> Declared<'_> {
    let mut found = Declared::new();
    for (at, _) in code.match_indices(':') {
        if code[..at].ends_with(':') || code[at + 1..].starts_with(':') {
            continue;
        }
        let name = last_word(code[..at].trim_end());
        let mut of = code[at + 1..].trim_start().trim_start_matches('&').trim_start();
        if let Some(rest) = of.strip_prefix('\'') {
            of = rest[first_word(rest).len()..].trim_start();
        }
        of = of.strip_prefix("mut ").unwrap_or(of);
        let end = of.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':').unwrap_or(of.len());
        let of = last_segment(of[..end].trim_end_matches(':'));
        if !name.is_empty() && of.starts_with(|c: char| c.is_ascii_uppercase()) {
            found.entry(name).or_default().insert(of);
        }
    }
    found
}

/// The methods called on names whose type is known, with these types.
fn called<'c>(code: &'c str, type_of: &dyn Fn(&str) -> Option<&'c str>) -> Vec<(&'c str, &'c str)> {
    let call = |(at, _): (usize, &str)| {
        let name = first_word(&code[at + 1..]);
        let behind = &code[at + 1 + name.len()..];
        let is_call = !name.is_empty() && (behind.starts_with('(') || behind.starts_with("::<"));
        is_call.then(|| type_of(last_word(code[..at].trim_end()))).flatten().map(|of| (of, name))
    };
    code.match_indices('.').filter_map(call).collect()
}

/// What is named as `Self::name`.
fn associated(code: &str) -> impl Iterator<Item = &str> {
    code.match_indices("Self::").map(|(at, word)| first_word(&code[at + word.len()..]))
}

fn first_word(text: &str) -> &str {
    &text[..text.bytes().take_while(|byte| is_word(*byte)).count()]
}

fn last_word(text: &str) -> &str {
    &text[text.len() - text.bytes().rev().take_while(|byte| is_word(*byte)).count()..]
}
