//! What a training run is: by it, a checkpoint knows the run that it belongs to.

use crate::files::json::{self, Reader, listed, needed, once, quoted};

/// Lines of a text that are shown of each side where they differ.
const LINES: usize = 5;

/// What a run depends on, as named values. A checkpoint carries it, and a run that goes on from there must have the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// What must agree, such as the checksum of a graph.
    pub decides: Vec<(String, String)>,
    /// What is shown besides where that does not, because it says why: the text of the model, options as they were
    /// given. A value of several lines is compared line by line.
    pub explains: Vec<(String, String)>,
}

impl Fingerprint {
    /// What is different in the run that goes on (`self`) from the one that was written (`there`), a line each; nothing
    /// if all agrees that decides.
    pub(crate) fn differences(&self, there: &Fingerprint) -> Vec<String> {
        let mut lines = differences(&there.decides, &self.decides);
        if !lines.is_empty() {
            lines.extend(differences(&there.explains, &self.explains));
        }
        lines
    }

    /// As it stands in a checkpoint.
    pub(crate) fn to_json(&self) -> String {
        let all = |all: &[(String, String)]| {
            listed(all, |(name, value)| format!("[{},{}]", quoted(name), quoted(value)))
        };
        format!("{{\"decides\":{},\"explains\":{}}}", all(&self.decides), all(&self.explains))
    }

    /// Reads what is written so.
    pub(crate) fn from_json(reader: &mut Reader<'_>) -> json::Result<Fingerprint> {
        let all = |reader: &mut Reader<'_>| reader.all(|reader| reader.pair(Reader::text, Reader::text));
        let (mut decides, mut explains) = (None, None);
        reader.object(&mut |reader, field| match &*field {
            "decides" => once(&mut decides, &field, all(reader)?),
            "explains" => once(&mut explains, &field, all(reader)?),
            _ => Err(format!("`{field}` is not known")),
        })?;
        Ok(Fingerprint { decides: needed(decides, "decides")?, explains: needed(explains, "explains")? })
    }
}

fn differences(there: &[(String, String)], here: &[(String, String)]) -> Vec<String> {
    let value = |list: &[(String, String)], name: &str| {
        list.iter().find(|(known, _)| known == name).map_or("none".to_owned(), |(_, value)| value.clone())
    };
    let new = here.iter().filter(|(name, _)| !there.iter().any(|(known, _)| known == name));
    let mut lines = Vec::new();
    for (name, _) in there.iter().chain(new) {
        let (a, b) = (value(there, name), value(here, name));
        if a == b {
            continue;
        }
        if a.contains('\n') || b.contains('\n') {
            lines.push(format!("{name}:"));
            lines.extend(different_lines(&a, &b));
        } else {
            lines.push(format!("{name}: {a} there, {b} here"));
        }
    }
    lines
}

/// The first lines in which two texts differ.
fn different_lines(a: &str, b: &str) -> Vec<String> {
    let (a, b): (Vec<&str>, Vec<&str>) = (a.lines().collect(), b.lines().collect());
    let mut lines = Vec::new();
    let mut show = |at: usize, side: &str, line: &str| {
        lines.push(format!("  line {} {side}: {}", at + 1, line.trim()));
    };
    if a.len() == b.len() {
        let different = a.iter().zip(&b).enumerate().filter(|(_, (a, b))| a != b);
        for (at, (a, b)) in different.take(LINES) {
            show(at, "there", a);
            show(at, "here", b);
        }
        return lines;
    }
    // Some were added or taken away: all between what both begin and end with.
    let begin = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let rest = a[begin..].iter().rev().zip(b[begin..].iter().rev());
    let end = rest.take_while(|(a, b)| a == b).count();
    for (text, side) in [(&a, "there"), (&b, "here")] {
        let own = text.iter().enumerate().take(text.len() - end).skip(begin);
        own.take(LINES).for_each(|(at, line)| show(at, side, line));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(decides: &[(&str, &str)], explains: &[(&str, &str)]) -> Fingerprint {
        let own = |list: &[(&str, &str)]| list.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        Fingerprint { decides: own(decides), explains: own(explains) }
    }

    #[test]
    fn differences_are_named_with_both_values() {
        let there =
            print(&[("seed", "1"), ("graph", "ab"), ("old", "x")], &[("lr", "0.1"), ("file", "a\nb\nc")]);
        assert!(there.differences(&there).is_empty());
        // What only explains does not decide.
        let mut here = there.clone();
        here.explains[0].1 = "0.2".into();
        assert!(here.differences(&there).is_empty());
        let here =
            print(&[("seed", "1"), ("graph", "cd"), ("new", "y")], &[("lr", "0.2"), ("file", "a\nB\nc")]);
        assert_eq!(
            here.differences(&there),
            [
                "graph: ab there, cd here",
                "old: x there, none here",
                "new: none there, y here",
                "lr: 0.1 there, 0.2 here",
                "file:",
                "  line 2 there: b",
                "  line 2 here: B",
            ]
        );
    }

    #[test]
    fn lines_that_were_added_or_taken_away_are_shown() {
        assert_eq!(
            different_lines("a\nb\nc", "a\nx\ny\nc"),
            ["  line 2 there: b", "  line 2 here: x", "  line 3 here: y"]
        );
        assert_eq!(different_lines("a\na", "a"), ["  line 2 there: a"]);
        assert_eq!(different_lines("", "a"), ["  line 1 here: a"]);
    }
}
