//! The container back end: images of the same programs for several processors, as a container holds them
//! ([`brolga_runtime::container`]).

use std::cmp::Reverse;

use brolga_ir::program::Program;
use brolga_runtime::Manifest;
use brolga_runtime::container::{Code, Functions, MachineCode, Piece, Processor};

use crate::error::{Error, Result};
use crate::image::{Entry, Image, Source, verified};
use crate::target::{Options, Target};

/// Compiles programs, the entries of a model, for several processors; all give the same bits. Whoever opens the container gets
/// the code for the one that needs most of what the processor has. What the programs may do is that of
/// [`compile`](crate::compile): nothing in the code checks an access.
///
/// # Errors
/// A program that breaks a rule, memory that is not planned, a kernel that there is no code for; no program or no target; two
/// targets that need the same of a processor.
pub fn container(programs: &[&Program], targets: &[Options]) -> Result<Code> {
    programs.iter().try_for_each(|program| verified(program))?;
    let sources: Vec<Source<'_>> = programs.iter().map(|program| Source::of(program)).collect();
    let mut code: Option<Code> = None;
    for options in targets {
        let one = for_target(&sources, &Target::new(options)?)?;
        match &mut code {
            None => code = Some(one),
            Some(all) => add(all, one)?,
        }
    }
    let mut code = code.ok_or_else(|| Error::new("no target processor was given"))?;
    code.pieces.sort_by_key(|code| Reverse(code.piece.processor.features.len()));
    Ok(code)
}

/// The code for one processor.
fn for_target(sources: &[Source<'_>], target: &Target) -> Result<Code> {
    let first = sources.first().ok_or_else(|| Error::new("no program was given"))?;
    let image = Image::new(sources, first.symbol, target, false)?;
    let linked = image.link()?;
    let place = |entry: &Entry| Functions {
        entry: linked.functions[entry.function],
        prepare: entry.prepare.map(|prepare| linked.functions[prepare]),
    };
    let functions = image.entries.iter().map(place).collect();
    let processor = Processor {
        architecture: target.isa.triple().architecture.to_string(),
        convention: target.isa.default_call_conv().to_string(),
        features: target.features.clone(),
    };
    // Pages of the system, and what functions that count in pages want.
    let alignment = (1usize << target.isa.page_size_align_log2()).max(linked.alignment);
    let pieces = vec![MachineCode { piece: Piece { processor, functions }, bytes: linked.bytes, alignment }];
    let entries = image.entries.into_iter().map(|entry| manifest(entry.placement.manifest)).collect();
    Ok(Code { entries, constants: image.constants, pieces })
}

/// What an entry takes and gives, whatever the processor.
fn manifest(manifest: Manifest) -> Manifest {
    Manifest { cpu_features: Vec::new(), ..manifest }
}

/// Adds the code for another processor.
fn add(all: &mut Code, one: Code) -> Result<()> {
    // Layout and constants come from the programs alone.
    if one.entries != all.entries || one.constants != all.constants {
        return Err(Error::new("two targets lay the same program out in two ways; please report it"));
    }
    for code in one.pieces {
        let processor = &code.piece.processor;
        if all.pieces.iter().any(|known| known.piece.processor == *processor) {
            return Err(Error::new(format!(
                "two of the target processors need the same: {processor}; leave one of them out"
            )));
        }
        all.pieces.push(code);
    }
    Ok(())
}
