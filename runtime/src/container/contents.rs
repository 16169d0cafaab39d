//! What a container holds, as its manifest says it, and the rules of that.

use std::fmt;

use super::about::About;
use super::format::{Kind, Section};
use crate::error::{Error, ErrorKind, Result};
use crate::names::{MAX_NAME, check_name};
use crate::order::order;
use crate::run::executable::cpu_has;
use crate::run::manifest::{Manifest, StateSlot};
use crate::run::record::DataRecord;
use crate::run::state::SlotKind;
use crate::shown::Shown;
use crate::tensors::dtype::{DType, byte_len, type_name};
use crate::tensors::memory::ALIGNMENT;

/// What functions of compiled code begin at a multiple of, in bytes.
const FUNCTION_ALIGNMENT: u64 = 16;

/// The most dimensions of a tensor.
const MAX_RANK: usize = 64;

/// What a container holds, as its manifest says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The name of the model.
    pub model: String,
    /// What each entry takes and gives. The processor features are empty here: they belong to the pieces of code.
    pub entries: Vec<Manifest>,
    /// What each section of code is for, in the order of the sections: best first.
    pub code: Vec<Piece>,
    /// The state of the model, in its order: all slots of all entries, and others.
    pub state: Vec<StoredSlot>,
    /// For each entry, where its prepared values begin in their section; `None` where they are not kept.
    pub prepared: Vec<Option<usize>>,
    /// What the model declares.
    pub about: About,
    /// What the network knows of the data that it was trained on.
    pub record: DataRecord,
}

/// A section of code: what it needs, and where its functions begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it runs.
    pub processor: Processor,
    /// The functions of each entry, in the order of the entries.
    pub functions: Vec<Functions>,
}

/// A kind of processor, and how functions are called there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processor {
    /// The architecture, by Rust's name: `x86_64`, `aarch64`.
    pub architecture: String,
    /// The calling convention of C there: `system_v` (the one of the architecture, but for the systems that have one of their
    /// own), `windows_fastcall`, `apple_aarch64`.
    pub convention: String,
    /// What it must have besides, by Rust's names (`avx2`, `fma`, `avx512f`).
    pub features: Vec<String>,
}

/// Where the functions of an entry begin, in bytes from the beginning of the section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Functions {
    /// The entry function.
    pub entry: usize,
    /// The function that fills the prepared values, if there is one.
    pub prepare: Option<usize>,
}

/// A tensor of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSlot {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: DType,
    /// Its dimensions.
    pub dims: Vec<usize>,
    /// What it is for.
    pub kind: SlotKind,
    /// Where its value begins in the section of weights: row-major elements, little-endian. `None` where it is not kept, and
    /// begins as zeros.
    pub at: Option<usize>,
}

impl Processor {
    /// The calling convention of C on this system.
    const CONVENTION: &'static str = if cfg!(windows) {
        "windows_fastcall"
    } else if cfg!(all(target_vendor = "apple", target_arch = "aarch64")) {
        "apple_aarch64"
    } else {
        "system_v"
    };

    /// What the processor and the system at hand lack of it; nothing where code for it runs here.
    fn lacking(&self) -> Vec<&str> {
        let here = [(&self.architecture, std::env::consts::ARCH), (&self.convention, Processor::CONVENTION)];
        let other = here.into_iter().filter(|(wanted, have)| wanted != have).map(|(wanted, _)| wanted);
        let features = self.features.iter().filter(|feature| !cpu_has(feature));
        other.chain(features).map(String::as_str).collect()
    }
}

impl fmt::Display for Processor {
    /// `x86_64 (system_v) with avx2, fma`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.architecture.shown(), self.convention.shown())?;
        match self.features.is_empty() {
            true => Ok(()),
            false => write!(f, " with {}", self.features.join(", ").shown()),
        }
    }
}

impl Contents {
    /// The sizes that an entry was compiled for; none where they are not known.
    pub fn sizes(&self, entry: usize) -> &[(String, usize)] {
        self.about.sizes.get(entry).map_or(&[], Vec::as_slice)
    }

    /// Whether all parameters and buffers of the state are in the file.
    pub fn has_weights(&self) -> bool {
        self.state.iter().filter(|slot| slot.kind.is_weight()).all(|slot| slot.at.is_some())
    }

    /// The position of the first piece of code that runs on this processor.
    ///
    /// # Errors
    /// There is none; what each of them needs.
    pub fn best_piece(&self) -> Result<usize> {
        if let Some(at) = self.code.iter().position(|piece| piece.processor.lacking().is_empty()) {
            return Ok(at);
        }
        let lacks = |Piece { processor, .. }: &Piece| {
            format!("code for {processor}, but lacks {}", processor.lacking().join(", ").shown())
        };
        let pieces: Vec<String> = self.code.iter().map(lacks).collect();
        let message = format!(
            "nothing in it runs on this processor ({}), which would need:\n  {}\nbuild it for this processor too",
            std::env::consts::ARCH,
            pieces.join("\n  ")
        );
        Err(Error::new(ErrorKind::Cpu, message))
    }

    /// Checks the manifest by itself, and against the numerics version and the sections of the file.
    pub(super) fn check(&self, numerics: u32, sections: &[Section]) -> Result<()> {
        let bytes = |kind| sections.iter().filter(|s| s.kind == kind).map(|s| s.bytes).sum::<u64>();
        self.check_entries(numerics, bytes(Kind::Constants))?;
        self.about.check()?;
        let code: Vec<u64> = sections.iter().filter(|s| s.kind == Kind::Code).map(|s| s.bytes).collect();
        self.check_code(&code)?;
        self.check_state()?;
        self.check_weights(bytes(Kind::Weights))?;
        self.check_prepared(bytes(Kind::Prepared))
    }

    fn check_entries(&self, numerics: u32, constants: u64) -> Result<()> {
        if self.entries.is_empty() {
            return Err(wrong("it has no entry point"));
        }
        let (entries, with_sizes) = (self.entries.len(), self.about.sizes.len());
        if ![0, entries].contains(&with_sizes) {
            return Err(wrong(format!("it has sizes of {with_sizes} entries, but there are {entries}")));
        }
        for manifest in &self.entries {
            check_tensors(manifest)?;
            manifest.validate()?;
            let name = &manifest.entry;
            if manifest.numerics != numerics {
                let (found, expected) = (manifest.numerics, numerics);
                let versions = format!("is of numerics version {found}, but the file is of {expected}");
                return Err(wrong(format!("`{name}` {versions}")));
            }
            if !manifest.cpu_features.is_empty() {
                return Err(wrong(format!("`{name}` asks for processor features, which its code must do")));
            }
            if manifest.constants_bytes as u64 != constants {
                let asked = manifest.constants_bytes;
                return Err(wrong(format!(
                    "`{name}` has {asked} bytes of constants, but the file has {constants}"
                )));
            }
        }
        let key = |at: usize| (&self.entries[at].entry, self.sizes(at));
        let order = order(entries, &mut |a, b| key(a).cmp(&key(b)));
        if let Some(pair) = order.windows(2).find(|pair| key(pair[0]) == key(pair[1])) {
            let name = &self.entries[pair[0]].entry;
            return Err(wrong(format!("it has two entry points `{name}` of the same sizes")));
        }
        Ok(())
    }

    /// Checks the pieces against the bytes of the sections of code.
    fn check_code(&self, sections: &[u64]) -> Result<()> {
        if self.code.is_empty() {
            return Err(wrong("it has no code"));
        }
        if self.code.len() != sections.len() {
            let (pieces, found) = (self.code.len(), sections.len());
            return Err(wrong(format!("its manifest has {pieces} pieces of code, but the file has {found}")));
        }
        for (number, (piece, bytes)) in self.code.iter().zip(sections).enumerate() {
            let Processor { architecture, convention, features } = &piece.processor;
            [architecture, convention].into_iter().chain(features).try_for_each(|word| check_word(word))?;
            let of = |message: String| Err(wrong(message).within(format!("code for {}", piece.processor)));
            if self.code[..number].iter().any(|before| before.processor == piece.processor) {
                return of("it is there twice".into());
            }
            if piece.functions.len() != self.entries.len() {
                let (found, entries) = (piece.functions.len(), self.entries.len());
                return of(format!("it has functions of {found} entries, but there are {entries}"));
            }
            for (functions, manifest) in piece.functions.iter().zip(&self.entries) {
                let name = &manifest.entry;
                if functions.prepare.is_none() && manifest.prepared_bytes > 0 {
                    return of(format!("`{name}` has prepared values, but nothing that prepares them"));
                }
                let begins = [Some(functions.entry), functions.prepare];
                let is_outside =
                    |at: &usize| *at as u64 >= *bytes || !(*at as u64).is_multiple_of(FUNCTION_ALIGNMENT);
                if let Some(at) = begins.into_iter().flatten().find(is_outside) {
                    return of(format!("a function of `{name}` cannot begin at byte {at} of {bytes}"));
                }
            }
        }
        Ok(())
    }

    /// Checks the table of state by itself, and that it has every slot of the entries with its type.
    fn check_state(&self) -> Result<()> {
        for slot in &self.state {
            check_tensor(&slot.name, &slot.dims)?;
            byte_len(slot.dtype, &slot.dims).map_err(|e| e.within(format!("state `{}`", slot.name)))?;
        }
        let known = self.state_by_name();
        if let Some(twice) = known.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(wrong(format!("its state has `{}` twice", twice[0].name)));
        }
        for manifest in &self.entries {
            for StateSlot { name, dtype, dims, .. } in &manifest.state {
                let found = find(&known, name);
                if found.is_none_or(|found| (found.dtype, &found.dims) != (*dtype, dims)) {
                    let wanted = type_name(*dtype, dims);
                    let has =
                        found.map_or("no such slot".into(), |found| type_name(found.dtype, &found.dims));
                    let asks = format!("`{}` needs `{name}`: {wanted}", manifest.entry);
                    return Err(wrong(format!("{asks}, but the state of the file has {has}")));
                }
            }
        }
        Ok(())
    }

    /// The table of state in the order of the names.
    fn state_by_name(&self) -> Vec<&StoredSlot> {
        let order = order(self.state.len(), &mut |a, b| self.state[a].name.cmp(&self.state[b].name));
        order.into_iter().map(|at| &self.state[at]).collect()
    }

    /// Checks that values of the state lie one behind the other, and fill their section.
    fn check_weights(&self, section: u64) -> Result<()> {
        let mut end = 0;
        for slot in &self.state {
            if let Some(at) = slot.at {
                end = behind(end, at, byte_len(slot.dtype, &slot.dims)?)
                    .map_err(|e| e.within(format!("the value of `{}`", slot.name)))?;
            }
        }
        fills(end, section, Kind::Weights)
    }

    /// The same of prepared values; what they were made of must be in the file.
    fn check_prepared(&self, section: u64) -> Result<()> {
        if self.prepared.len() != self.entries.len() {
            let (found, entries) = (self.prepared.len(), self.entries.len());
            return Err(wrong(format!("it has prepared values of {found} entries, but there are {entries}")));
        }
        let known = self.state_by_name();
        let is_kept = |name: &str| find(&known, name).is_some_and(|slot| slot.at.is_some());
        let mut end = 0;
        for (manifest, at) in self.entries.iter().zip(&self.prepared) {
            let Some(at) = *at else { continue };
            let of = |e: Error| e.within(format!("the prepared values of `{}`", manifest.entry));
            end = behind(end, at, manifest.prepared_bytes).map_err(of)?;
            if manifest.prepared_bytes == 0 {
                return Err(of(wrong("there are none to be kept")));
            }
            if let Some(slot) = manifest.state.iter().find(|slot| !is_kept(&slot.name)) {
                return Err(of(wrong(format!(
                    "they may be made of `{}`, whose value is not in the file",
                    slot.name
                ))));
            }
        }
        fills(end, section, Kind::Prepared)
    }
}

/// The slot of this name, in a table that is in the order of the names.
fn find<'a>(slots: &[&'a StoredSlot], name: &str) -> Option<&'a StoredSlot> {
    slots.binary_search_by(|slot| slot.name.as_str().cmp(name)).ok().map(|at| slots[at])
}

/// Checks names and numbers of dimensions of an entry, so that messages can have them.
fn check_tensors(manifest: &Manifest) -> Result<()> {
    check_name(&manifest.entry).map_err(|e| e.within("an entry point"))?;
    let inputs = manifest.inputs.iter().map(|input| (&input.name, &input.dims));
    let outputs = manifest.outputs.iter().map(|output| (&output.name, &output.dims));
    let state = manifest.state.iter().map(|slot| (&slot.name, &slot.dims));
    inputs
        .chain(outputs)
        .chain(state)
        .try_for_each(|(name, dims)| check_tensor(name, dims))
        .map_err(|e| e.within(format!("`{}`", manifest.entry)))
}

fn check_tensor(name: &str, dims: &[usize]) -> Result<()> {
    check_name(name)?;
    match dims.len() <= MAX_RANK {
        true => Ok(()),
        false => Err(wrong(format!("`{name}` has {} dimensions, of {MAX_RANK} at most", dims.len()))),
    }
}

/// Checks that a word of a processor is one.
fn check_word(word: &str) -> Result<()> {
    let is_word = (1..=MAX_NAME).contains(&word.len()) && !word.contains(char::is_control);
    is_word
        .then_some(())
        .ok_or_else(|| wrong("its code is for a processor whose name or features are no words"))
}

/// The end of what begins at `at` and has so many bytes, and must be the first behind `end`.
fn behind(end: usize, at: usize, bytes: usize) -> Result<usize> {
    let expected = end.checked_next_multiple_of(ALIGNMENT);
    if expected != Some(at) {
        let place =
            expected.map_or("beyond all memory".into(), |at| format!("at byte {at} of their section"));
        return Err(wrong(format!("it is said to begin at byte {at}, but its place is {place}")));
    }
    at.checked_add(bytes).ok_or_else(|| wrong(format!("{bytes} bytes are more than any file has")))
}

/// Checks that what ends so fills its section.
fn fills(end: usize, section: u64, kind: Kind) -> Result<()> {
    if end as u64 == section {
        return Ok(());
    }
    let what = kind.name();
    Err(wrong(format!("its manifest asks for {end} bytes of {what}, but the file has {section}")))
}

/// A container that breaks a rule.
pub(super) fn wrong(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Format, message)
}
