//! Data sets that are made from a seed, by names with arguments: `mk1`, `add(length: 50)`.
//!
//! Each has a part to train on and one that is held out, of which the second does not depend on how large the first is.

mod call;
mod chain;
mod formulas;
mod part;
mod reber;
mod tasks;

use brolga_runtime::{Field, Result, Tensor};

use call::{Arguments, Parameter};
use chain::Chain;
use part::{Arrays, Part, Stream, stream};

/// The version of what makes data sets: another one makes other samples of the same arguments.
pub const MADE_VERSION: u32 = 1;

/// What the number of samples held out is a multiple of, where these follow each other.
const FOLLOWING: usize = 64;

/// A data set that is made.
struct Set {
    name: &'static str,
    /// What it is, in a few words.
    about: &'static str,
    parameters: &'static [Parameter],
    /// Samples that are held out.
    held_out: usize,
    make: fn(&mut Part<'_>) -> Result<Arrays>,
    /// Numbers that a result is compared with, by name.
    known: fn(&Arguments<'_>) -> Vec<(&'static str, f64)>,
}

const SETS: &[Set] = &[
    Set {
        name: "mk1",
        about: "a Markov chain of order 1",
        parameters: chain::PARAMETERS,
        held_out: 625,
        make: |part| chain::make(part, 1),
        known: |arguments| entropies(arguments, 1),
    },
    Set {
        name: "mk2",
        about: "a Markov chain of order 2",
        parameters: chain::PARAMETERS,
        held_out: 625,
        make: |part| chain::make(part, 2),
        known: |arguments| entropies(arguments, 2),
    },
    Set {
        name: "add",
        about: "the sum of two marked numbers",
        parameters: tasks::ADD,
        held_out: 1_000,
        make: tasks::add,
        known: |_| vec![("baseline", tasks::ADD_BASELINE)],
    },
    Set {
        name: "copy",
        about: "symbols to be said again later",
        parameters: tasks::COPY,
        held_out: 500,
        make: tasks::copy,
        known: |arguments| vec![("baseline", tasks::copy_baseline(arguments.get("delay")))],
    },
    Set {
        name: "xor_window",
        about: "the exclusive or of a bit before and one behind",
        parameters: tasks::XOR_WINDOW,
        held_out: 1_000,
        make: tasks::xor_window,
        known: |_| vec![("baseline", 0.5)],
    },
    Set {
        name: "erg",
        about: "the embedded Reber grammar",
        parameters: reber::PARAMETERS,
        held_out: 500,
        make: reber::make,
        known: |_| Vec::new(),
    },
    Set {
        name: "formulas",
        about: "boolean formulas as trees",
        parameters: formulas::PARAMETERS,
        held_out: 1_000,
        make: formulas::make,
        known: |_| vec![("baseline", 0.5)],
    },
];

fn entropies(arguments: &Arguments<'_>, order: u32) -> Vec<(&'static str, f64)> {
    let chain = Chain::drawn(arguments, order);
    let rows = chain.entropy_of_rows(arguments.get("length"));
    vec![("entropy", chain.entropy()), ("entropy of rows", rows)]
}

fn find(text: &str) -> Option<&'static Set> {
    let name = call::name(text);
    SETS.iter().find(|set| set.name == name)
}

/// Whether a text is the name of a made data set, whatever its arguments.
pub(super) fn is_one(text: &str) -> bool {
    find(text).is_some()
}

/// What can be made: name and arguments, and what it is.
pub fn made_sets() -> impl Iterator<Item = (String, &'static str)> {
    SETS.iter().map(|set| {
        let names: Vec<&str> = set.parameters.iter().map(|parameter| parameter.name).collect();
        (format!("{}({})", set.name, names.join(", ")), set.about)
    })
}

/// What is known of a made data set without learning, by name: `entropy` of a chain and `entropy of rows`, in bits for each symbol,
/// the second of rows of which nothing is known that was before them; `baseline`, what is reached by knowing nothing of the
/// samples. Empty for other data sets.
///
/// # Errors
/// Arguments that the data set does not take.
pub fn known(source: &str, fields: &[Field]) -> Result<Vec<(&'static str, f64)>> {
    let Some(set) = find(source) else { return Ok(Vec::new()) };
    Ok((set.known)(&Arguments::read(source, set.parameters, fields)?))
}

/// Whether the samples of a made data set follow each other, and batches are to go through them so.
///
/// # Errors
/// Arguments that the data set does not take.
pub(super) fn is_sequence(source: &str, fields: &[Field]) -> Result<bool> {
    let Some(set) = find(source) else { return Ok(false) };
    Ok(Arguments::read(source, set.parameters, fields)?.get("continuous") == 1)
}

/// The arrays of a made data set, those of the part held out behind `held_out`, a prefix of their names; nothing for another name.
///
/// # Errors
/// Arguments that the data set does not take; no memory.
pub(super) fn arrays(source: &str, fields: &[Field], held_out: &str) -> Result<Vec<(String, Tensor)>> {
    let Some(set) = find(source) else { return Ok(Vec::new()) };
    let arguments = Arguments::read(source, set.parameters, fields)?;
    let part = |samples: usize, which: Stream| {
        let random = stream(&arguments, which);
        (set.make)(&mut Part { arguments: &arguments, samples, random })
    };
    let train = part(arguments.get("count"), Stream::Train)?;
    // Samples that follow each other are evaluated in whole batches.
    let is_sequence = arguments.get("continuous") == 1;
    let samples = if is_sequence { set.held_out.next_multiple_of(FOLLOWING) } else { set.held_out };
    let test = part(samples, Stream::HeldOut)?;
    let train = train.into_iter().map(|(name, tensor)| (name.to_owned(), tensor));
    let test = test.into_iter().map(|(name, tensor)| (format!("{held_out}{name}"), tensor));
    Ok(train.chain(test).collect())
}
