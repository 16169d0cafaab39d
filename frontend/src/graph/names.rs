//! Which names state, inputs and outputs may have: files must be able to hold them, and no two things may share one.

use std::collections::HashSet;

use super::state::SlotKind;
use super::value::{Built, Fault};

/// The paths of all layers: those that the model gives, with the names of inputs, and those that were made for layers without a
/// name.
///
/// A name that is made must not be one that is given: where a layer is named `conv2`, the second one without a name becomes
/// `conv3`. Names that are given later, or in another entry point, are not known while an entry is built. So they are collected
/// over builds, and all entries are built again where a made name clashes with a given one.
#[derive(Debug, Default)]
pub(crate) struct LayerNames {
    given: HashSet<String>,
    automatic: HashSet<String>,
}

impl LayerNames {
    pub fn is_given(&self, path: &str) -> bool {
        self.given.contains(path)
    }

    /// A layer of that path is there.
    pub fn add(&mut self, path: &str, given: bool) {
        let set = if given { &mut self.given } else { &mut self.automatic };
        if !set.contains(path) {
            set.insert(path.to_owned());
        }
    }

    /// Whether an automatic name is a given one. The automatic ones are forgotten.
    pub fn clash(&mut self) -> bool {
        let automatic = std::mem::take(&mut self.automatic);
        !automatic.is_disjoint(&self.given)
    }
}

/// Marks names that stand in for names that are mistakes: `conv#3`. No other name may have it.
pub(super) const STANDS_IN: char = '#';

/// The beginning of the names of totals: `total.1`.
pub(super) const TOTAL: &str = "total.";

/// Whether a parameter stands for a total.
pub(super) fn is_total(name: &str) -> bool {
    name.starts_with(TOTAL)
}

/// The longest name, in bytes.
const MAX_NAME: usize = 1024;

/// An error if no tensor can have this name: files of tensors are read by names.
fn check(name: &str) -> Built<()> {
    let shown: String = name.chars().take(40).collect();
    let wrong = if name.is_empty() {
        "a name must not be empty".to_owned()
    } else if name == "__metadata__" {
        format!("`{name}` cannot be a name: safetensors files keep their metadata under it")
    } else if name.len() > MAX_NAME {
        format!("the name `{shown}…` has {} bytes, but {MAX_NAME} are the most", name.len())
    } else if name.contains(char::is_control) {
        format!("the name {shown:?} has control characters, which names must not")
    } else {
        return Ok(());
    };
    Err(Fault::new(wrong))
}

/// How the names of state begin that says where loops ended.
pub(crate) const KEPT: &str = "kept.";

/// An error if a piece of state cannot have this name.
pub(crate) fn check_state(name: &str, kind: SlotKind) -> Built<()> {
    check(name)?;
    let own = matches!(kind, SlotKind::Parameter | SlotKind::Buffer);
    if own && (["step", "seed"].contains(&name) || ["optim.", KEPT].iter().any(|of| name.starts_with(of))) {
        return Err(Fault::new(format!("`{name}` is the name of a part of the training state"))
            .note("`step`, `seed` and names that begin with `optim.` or `kept.` are taken for it: choose another name"));
    }
    if own && name.starts_with("augment.") {
        return Err(Fault::new(format!("`{name}` would be a state of `augment`, whose layers have none")).note(
            "`augment` is in training alone: what is trained belongs into the body, and others have no names that begin \
             with `augment.`",
        ));
    }
    if own && name.starts_with("data.") {
        return Err(Fault::new(format!("`{name}` is the name of what `prepare` fits to the data")).note(
            "`prepare` has no parameters that are trained, and others no names that begin with `data.`",
        ));
    }
    Ok(())
}

/// An error if an input cannot have this name.
pub(crate) fn check_input(name: &str) -> Built<()> {
    check(name)?;
    let taken = [
        ("random.", "random numbers that are given instead of drawn"),
        ("validation.", "the part of a data set that is held out"),
        ("#", "parts of a step of a loop"),
    ];
    match taken.iter().find(|(prefix, _)| name.starts_with(prefix)) {
        Some((prefix, what)) => Err(Fault::new(format!("an input cannot be named `{name}`"))
            .note(format!("names that begin with `{prefix}` are those of {what}: choose another name"))),
        None => Ok(()),
    }
}

/// An error if an output cannot have this name.
pub(crate) fn check_output(name: &str) -> Built<()> {
    check(name)?;
    if name.starts_with(TOTAL) {
        return Err(Fault::new(format!("an output cannot be named `{name}`")).note(format!(
            "names that begin with `{TOTAL}` are those of sums over a set: choose another name"
        )));
    }
    Ok(())
}

/// Whether `name` fits a pattern, in which `*` stands for any text.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else { return rest.is_empty() };
    for piece in middle {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// What the one `*` of a pattern stands for in a name that fits; nothing for others, and without a `*`.
pub(super) fn starred<'n>(pattern: &str, name: &'n str) -> Option<&'n str> {
    let (before, behind) = pattern.split_once('*')?;
    name.strip_prefix(before)?.strip_suffix(behind)
}

#[cfg(test)]
mod tests {
    use super::{matches, starred};

    #[test]
    fn stars_stand_for_texts() {
        assert_eq!(starred("fine.*", "fine.0.weight"), Some("0.weight"));
        assert_eq!(starred("*.bias", "fc.bias"), Some("fc"));
        assert_eq!([starred("a*a", "a"), starred("a.*", "b.w"), starred("a", "a")], [None; 3]);
    }

    #[test]
    fn patterns() {
        assert!(matches("fc.*", "fc.weight") && matches("*", "x") && matches("a*b*c", "aXbYc"));
        assert!(matches("fc.weight", "fc.weight") && matches("*.bias", "layer1.0.bias"));
        assert!(!matches("fc.*", "conv.weight") && !matches("a*b", "aXc") && !matches("fc", "fc.weight"));
    }
}
