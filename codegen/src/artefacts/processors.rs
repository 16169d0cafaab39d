//! Code for several processors in one object.

use brolga_runtime::Manifest;
use target_lexicon::Triple;

use super::chooser::chooses;
use crate::error::{Error, Result};
use crate::image::{Image, Source};
use crate::target::{Options, Target, TargetCpu};

/// The code of an object for one processor.
pub(crate) struct ProcessorCode {
    pub cpu: TargetCpu,
    pub image: Image,
    /// What the processor must have.
    pub features: Vec<String>,
}

/// What an object is made of.
pub(crate) struct Codes {
    /// One for each target, that which needs least first.
    pub all: Vec<ProcessorCode>,
    pub triple: Triple,
}

/// Compiles entries for each target.
///
/// # Errors
/// What compiling gives; no target, several systems, two targets that need the same.
pub(crate) fn compile(sources: &[Source<'_>], symbol: &str, targets: &[Options]) -> Result<Codes> {
    let Some(first) = targets.first() else { return Err(Error::new("no target processor was given")) };
    let mut all: Vec<ProcessorCode> = Vec::with_capacity(targets.len());
    for options in targets {
        if options.triple != first.triple {
            return Err(Error::new(format!(
                "an object is for one system: {} and {} were given",
                first.triple, options.triple
            )));
        }
        all.push(code(sources, symbol, options, &all)?);
    }
    all.sort_by_key(|code| code.features.len());
    if all[1..].iter().any(|code| !alike(&code.image, &all[0].image)) {
        return Err(Error::new("two targets lay the same program out in two ways; please report it"));
    }
    Ok(Codes { all, triple: first.triple.parsed()? })
}

/// Compiles entries for another target besides those that are there.
fn code(
    sources: &[Source<'_>],
    symbol: &str,
    options: &Options,
    others: &[ProcessorCode],
) -> Result<ProcessorCode> {
    let target = Target::new(options)?;
    let cpu = options.target_cpu;
    if let Some(other) = others.iter().find(|code| code.features == target.features) {
        return Err(Error::new(format!(
            "the target processors {} and {cpu} need the same: leave one of them out",
            other.cpu
        )));
    }
    if !others.is_empty() && !chooses(&*target.isa) {
        return Err(Error::new(format!("for {} code is made for one processor at a time", options.triple)));
    }
    Ok(ProcessorCode { cpu, image: Image::new(sources, symbol, &target, false)?, features: target.features })
}

/// Whether two codes take and give the same, and find it at the same places.
fn alike(a: &Image, b: &Image) -> bool {
    let manifest = |manifest: &Manifest| Manifest { cpu_features: Vec::new(), ..manifest.clone() };
    let entries = |image: &Image| -> Vec<(Manifest, bool)> {
        image.entries.iter().map(|e| (manifest(&e.placement.manifest), e.prepare.is_some())).collect()
    };
    a.constants == b.constants && entries(a) == entries(b)
}
