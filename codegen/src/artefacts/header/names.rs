//! Names of C: which ones functions may have, and how things whose names are equal there are told apart.

use std::collections::{HashMap, HashSet};

use super::c_names::{is_macro_of_c, is_of_c};
use crate::error::Error;
use crate::image::symbol_name;

/// Words that name nothing of one's own in C or C++: keywords, and the alternative spellings of operators.
const KEYWORDS: &str = " alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t char32_t \
    char8_t class co_await co_return co_yield compl concept const const_cast consteval constexpr constinit continue \
    decltype default delete do double dynamic_cast else enum explicit export extern false float for friend goto if inline \
    int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected public register \
    reinterpret_cast requires restrict return short signed sizeof static static_assert static_cast struct switch template \
    this thread_local throw true try typedef typeid typename typeof typeof_unqual union unsigned using virtual void \
    volatile wchar_t while xor xor_eq ";

/// Whether a model can be called so in C and C++: it is the name of a type, and the beginning of those of functions.
///
/// # Errors
/// What is no name, a keyword, `main`, a name that compilers keep for themselves, one of C's headers and library, or one of the
/// header's own.
pub fn check_symbol(symbol: &str) -> Result<(), Error> {
    let why = match fault(symbol) {
        Some(why) => why,
        None if is_of_c(symbol) => "a header or the library of C has this name",
        None => return Ok(()),
    };
    Err(Error::new(format!("`{symbol}` cannot be the name of a C function: {why}")))
}

/// Why nothing can be called so in C and C++, whatever its library has.
fn fault(name: &str) -> Option<&'static str> {
    let own = name.to_ascii_lowercase();
    let reserved =
        || name.contains("__") || name.strip_prefix('_').is_some_and(|r| r.starts_with(char::is_uppercase));
    if symbol_name(name) != name || !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        Some("use letters, digits and _, not beginning with a digit")
    } else if KEYWORDS.contains(&format!(" {name} ")) {
        Some("it is a keyword of C or C++")
    } else if name == "main" {
        Some("it is where a program begins")
    } else if own == "brolga" || own.starts_with("brolga_") {
        Some("the header gives this name to something else")
    } else if reserved() {
        Some("such names belong to the compiler")
    } else {
        None
    }
}

/// Behind the symbol and `_`: what every header gives a name to, besides what it has for each entry.
const OF_MODELS: [&str; 19] = [
    "setup",
    "processor",
    "share",
    "threads",
    "load_state",
    "save_state",
    "use_file",
    "reset",
    "begin_anew",
    "changed",
    "tensor",
    "tensors",
    "dims",
    "file",
    "weights",
    "constants",
    "file_begin",
    "weights_begin",
    "constants_begin",
];

/// The function of a library that returns the address of data.
pub(crate) fn address_function(symbol: &str, data: &str) -> String {
    format!("{symbol}_{data}_begin")
}

/// The names of entries in C, behind the symbol and `_`.
///
/// # Errors
/// Two things of the header that would have one name; a name that C does not allow.
pub(super) fn entry_names(symbol: &str, entries: &[&str]) -> Result<Vec<String>, Error> {
    let mut taken: HashSet<String> = OF_MODELS.map(|name| format!("{symbol}_{name}")).into();
    let mut names = Vec::with_capacity(entries.len());
    for entry in entries {
        let name = symbol_name(entry);
        let function = format!("{symbol}_{name}");
        check_symbol(&function)?;
        for end in ["", "_call", "_prepare", "_begin", "_slots"] {
            if !taken.insert(format!("{function}{end}")) {
                return Err(Error::new(format!(
                    "the entry `{entry}` cannot have a function in C: the header gives the name `{function}{end}` to \
                     something else"
                )));
            }
        }
        names.push(name);
    }
    Ok(names)
}

/// Names that are taken.
#[derive(Default)]
pub(super) struct Names(HashSet<String>);

impl Names {
    /// These are taken.
    pub fn with(names: impl IntoIterator<Item = String>) -> Names {
        Names(names.into_iter().collect())
    }

    /// Names for several things, which would be called as in `plain`. A name that two would have, or that is taken, has the
    /// number of the thing behind it, so that none is taken for the other; numbers begin with `first`. `ends` are what is
    /// put behind each name.
    pub fn tell_apart(&mut self, plain: &[String], first: usize, ends: &[&str]) -> Vec<String> {
        let all = |name: &str| ends.iter().map(|end| format!("{name}{end}")).collect::<Vec<String>>();
        let mut wanted: HashMap<String, usize> = HashMap::new();
        for name in plain.iter().flat_map(|name| all(name)) {
            *wanted.entry(name).or_default() += 1;
        }
        let mut told = Vec::with_capacity(plain.len());
        for (number, name) in plain.iter().enumerate() {
            let mut own = name.clone();
            let is_free = |own: &String| {
                // Another name is nobody's.
                let most = usize::from(own == name);
                all(own).iter().all(|n| wanted.get(n).is_none_or(|&w| w <= most) && !self.0.contains(n))
            };
            while !is_free(&own) {
                own = format!("{own}_{}", first + number);
            }
            self.0.extend(all(&own));
            told.push(own);
        }
        told
    }
}

/// The names that the function of an entry has for its inputs and outputs, which are told apart from each other and from what
/// else the header names.
pub(super) fn parameters(symbol: &str, inputs: &[&str], outputs: &[&str]) -> Vec<String> {
    let inputs: Vec<String> = inputs.iter().map(|name| symbol_name(name)).collect();
    let outputs: Vec<String> = outputs.iter().map(|name| symbol_name(name)).collect();
    let symbol = symbol.to_ascii_lowercase();
    let plain = |role: &str, name: &String, others: &[String]| {
        let lower = name.to_ascii_lowercase();
        let is_ours =
            lower.strip_prefix(&symbol).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'));
        // Functions of the library may be hidden by a parameter.
        if fault(name).is_none() && !is_macro_of_c(name) && !is_ours && !others.contains(name) {
            return name.clone();
        }
        let mut other = format!("{role}_{name}");
        while other.contains("__") {
            other = other.replace("__", "_");
        }
        other
    };
    let of_inputs = inputs.iter().map(|name| plain("input", name, &outputs));
    let of_outputs = outputs.iter().map(|name| plain("output", name, &inputs));
    let all: Vec<String> = of_inputs.chain(of_outputs).collect();
    Names::with(["model", "memcpy"].map(str::to_owned)).tell_apart(&all, 1, &[""])
}

/// A name inside a comment: what would end it, or begin another, stays out.
pub(super) fn comment(name: &str) -> String {
    let shown: String = name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    shown.replace("*/", "* /").replace("/*", "/ *").replace('\\', "/")
}

/// A text as C has it between quotes: bytes that are no ASCII, and what has a meaning of its own there, as octal numbers.
pub(super) fn quoted(text: &str) -> String {
    let letter = |byte: u8| match byte {
        b'"' | b'\\' | b'?' | 0..=31 | 127.. => format!("\\{byte:03o}"),
        _ => char::from(byte).to_string(),
    };
    format!("\"{}\"", text.bytes().map(letter).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_are_told_apart() {
        let plain = ["a", "b", "a", "a_0", "c", "c_bytes"].map(str::to_owned);
        let mut names = Names::with(["b".to_owned()]);
        assert_eq!(
            names.tell_apart(&plain, 0, &["", "_bytes"]),
            ["a_0_0", "b_1", "a_2", "a_0", "c_4", "c_bytes_5"]
        );
    }

    #[test]
    fn parameters_have_names_of_c() {
        let inputs = ["x", "class", "a.b", "a_b", "2d", "model", "net_call", "__x", "index", "network"];
        assert_eq!(
            parameters("net", &inputs, &["x", "y", "NULL"]),
            [
                "input_x_1",
                "input_class",
                "a_b_3",
                "a_b_4",
                "input_2d",
                "model_6",
                "input_net_call",
                "input_x_8",
                "index",
                "network",
                "output_x",
                "y",
                "output_NULL"
            ]
        );
    }

    #[test]
    fn texts_of_c_are_ascii() {
        assert_eq!(quoted("a.b"), "\"a.b\"");
        assert_eq!(quoted("ä \"?\\"), "\"\\303\\244 \\042\\077\\134\"");
        assert_eq!(comment("a */ b\n"), "a * / b ");
    }

    #[test]
    fn entries_have_names_of_c() {
        assert_eq!(entry_names("net", &["infer", "train.eval"]).unwrap(), ["infer", "train_eval"]);
        for entries in [&["a.b", "a_b"][..], &["setup"], &["f", "f_call"], &["_x"], &["constants"]] {
            assert!(entry_names("net", entries).is_err(), "{entries:?}");
        }
        assert!(entry_names("size", &["t"]).unwrap_err().to_string().contains("`size_t`"));
    }
}
