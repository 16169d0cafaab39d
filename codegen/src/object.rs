//! The object back end: an image as an object file for a linker, and a C header that says how to call it.

use std::collections::HashSet;

use brolga_ir::program::{Place, Program, Step};
use brolga_runtime::{Manifest, State};
use object::write::{self, StandardSection, Symbol, SymbolSection};
use object::{Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope};
use target_lexicon::Triple;

use crate::archive::archive;
use crate::choice::{self, Code, Codes};
use crate::error::Error;
use crate::header::{About, AboutEntry, check_symbol, entry_names, header};
use crate::image::{Entry, Image, Source, symbol_name, verified};
use crate::state_block::{StateBlock, StateTensor};
use crate::target::Options;

/// A compiled model as files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Object {
    /// The object file, in the format of the target system (ELF, Mach-O, COFF). It has no undefined symbols.
    pub bytes: Vec<u8>,
    /// The C header.
    pub header: String,
    /// What each entry needs and gives, as for the JIT.
    pub manifests: Vec<Manifest>,
    /// The prototypes of the C functions of the entries.
    pub functions: Vec<String>,
    /// The names that a linker finds in the object.
    pub symbols: Vec<String>,
}

impl Object {
    /// A static library of the object, for linkers of ELF and COFF; `name` is that of its member.
    ///
    /// # Errors
    /// An object that is too large for one; one in the format Mach-O, whose linkers read other libraries.
    pub fn archive(&self, name: &str) -> Result<Vec<u8>, Error> {
        if self.bytes.starts_with(&object::macho::MH_MAGIC_64.to_le_bytes()) {
            return Err(Error::new(
                "static libraries of Mach-O are not written here: link the object itself",
            ));
        }
        archive(name, &self.bytes, &self.symbols)
    }
}

/// Compiles the entries of a model into an object file. Each is a program, and the name that its function has in C behind
/// `symbol` and `_`; `symbol` is the name of the model's type. With several targets, of one system, the object has code for
/// each, and a program that it is linked into runs that which needs most of what the processor has; all give the same bits.
/// `state` are all tensors of the model's state in their order; those that no entry uses are left out. With `weights` their
/// values are part of the object.
///
/// What programs may do is that of [`compile`](crate::compile): nothing in the object checks an access, but the functions of
/// the header check the inputs that are indices.
///
/// # Errors
/// Names that C does not allow; no entries, or more than 64; no targets, those of several systems, or two that need the same of
/// a processor; state that is not in `state`, or has another type in two entries or in `weights`; what
/// [`compile`](crate::compile) refuses.
pub fn emit_object(
    entries: &[(&Program, &str)],
    state: &[StateTensor<'_>],
    weights: Option<&State>,
    symbol: &str,
    targets: &[Options],
) -> Result<Object, Error> {
    check_symbol(symbol)?;
    let names: Vec<&str> = entries.iter().map(|(_, name)| *name).collect();
    let names = entry_names(symbol, &names)?;
    let programs: Vec<&Program> = entries.iter().map(|(program, _)| *program).collect();
    programs.iter().try_for_each(|program| verified(program))?;
    let symbols: Vec<String> = names.iter().map(|name| format!("{symbol}_{name}")).collect();
    let sources: Vec<Source<'_>> = (programs.iter().zip(&symbols))
        .map(|(program, symbol)| Source { symbol, call: "_call", ..Source::of(program) })
        .collect();
    let codes = choice::compile(&sources, symbol, targets)?;
    // The others have all this in common with it.
    let image = &codes.all[0].image;
    let manifests: Vec<&Manifest> = image.entries.iter().map(|entry| &entry.layout.manifest).collect();
    let record = weights.map(|weights| weights.record().clone()).unwrap_or_default();
    let block = StateBlock::new(&manifests, state, &record)?;
    // What an entry updates is copied first, and need not be there whole.
    let whole = !manifests.iter().any(|manifest| manifest.updates_state());
    let weights = weights.filter(|_| !block.tensors.is_empty());
    let weights = weights.map(|weights| block.content(weights, whole)).transpose()?;
    let header = header(&About {
        symbol,
        entries: described(image, names, &programs),
        block: &block,
        constants_bytes: image.constants.len(),
        weights_bytes: weights.as_ref().map(Vec::len),
        others: codes.all[1..].iter().map(|code| code.features.as_slice()).collect(),
    })?;
    let data = Data { constants: &image.constants, weights: weights.as_deref(), block: &block };
    let (file, symbols) = file(&codes, &data, symbol)?;
    let bytes = file
        .write()
        .map_err(|e| Error::new(format!("the object file of `{symbol}` cannot be written: {e}")))?;
    let manifests = manifests.into_iter().cloned().collect();
    Ok(Object { bytes, header: header.text, manifests, functions: header.functions, symbols })
}

/// What the header says of the entries.
fn described<'a>(image: &'a Image, names: Vec<String>, programs: &[&Program]) -> Vec<AboutEntry<'a>> {
    let reads: Vec<HashSet<&str>> = programs.iter().map(|program| read_by_prepare(program)).collect();
    let about = |(name, entry): (String, &'a Entry)| {
        let manifest = &entry.layout.manifest;
        let updated = || manifest.state.iter().filter(|slot| slot.updated);
        let outdated = |reads: &HashSet<&str>| updated().any(|slot| reads.contains(slot.name.as_str()));
        let bits = reads.iter().enumerate().filter(|(_, reads)| outdated(reads)).map(|(bit, _)| 1u64 << bit);
        AboutEntry { name, manifest, prepares: entry.prepare.is_some(), outdates: bits.sum() }
    };
    names.into_iter().zip(&image.entries).map(about).collect()
}

/// The state that a program's prepared values are made of.
fn read_by_prepare(program: &Program) -> HashSet<&str> {
    fn read<'p>(program: &'p Program, steps: &[Step], names: &mut HashSet<&'p str>) {
        for step in steps {
            let buffers = step.args().iter().map(|arg| &program.buffers[arg.buffer.0 as usize]);
            let state = buffers.filter(|buffer| matches!(buffer.place, Place::State { .. }));
            names.extend(state.map(|buffer| buffer.name.as_str()));
            step.bodies().into_iter().for_each(|body| read(program, body, names));
        }
    }
    let mut names = HashSet::new();
    read(program, &program.prepare, &mut names);
    names
}

/// What an object has besides code.
struct Data<'a> {
    constants: &'a [u8],
    weights: Option<&'a [u8]>,
    block: &'a StateBlock,
}

impl Data<'_> {
    /// Each with what its name ends in.
    fn parts(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let header: &[u8] = if self.block.tensors.is_empty() { &[] } else { &self.block.file_header };
        let all =
            [("constants", self.constants), ("weights", self.weights.unwrap_or_default()), ("file", header)];
        all.into_iter().filter(|(_, bytes)| !bytes.is_empty())
    }
}

/// An object file in the making.
struct File {
    object: write::Object<'static>,
    text: write::SectionId,
    /// The names that it exports.
    exported: Vec<String>,
}

/// The object file: each code with its tables in one piece, and read-only data. Nothing in it needs to be relocated.
fn file(
    codes: &Codes,
    data: &Data<'_>,
    symbol: &str,
) -> Result<(write::Object<'static>, Vec<String>), Error> {
    let mut object = empty(&codes.triple)?;
    object.add_file_symbol(symbol.into());
    let text = object.section_id(StandardSection::Text);
    let mut file = File { object, text, exported: Vec::new() };
    let several = codes.all.len() > 1;
    let functions: Vec<Vec<usize>> =
        codes.all.iter().map(|code| file.code(code, several)).collect::<Result<_, Error>>()?;
    if several {
        file.choice(codes, &functions, symbol)?;
    }
    for (end, bytes) in data.parts() {
        let section = file.object.section_id(StandardSection::ReadOnlyData);
        let at = file.object.append_section_data(section, bytes, brolga_runtime::ALIGNMENT as u64) as usize;
        let (own, size) = (format!("{symbol}_{end}"), bytes.len());
        file.name((section, at), Named { name: &own, kind: SymbolKind::Data, exported: true, size });
    }
    if file.object.format() == BinaryFormat::Elf {
        // Without it linkers make the stack executable.
        file.object.add_section(Vec::new(), b".note.GNU-stack".to_vec(), SectionKind::Linker);
    }
    Ok((file.object, file.exported))
}

impl File {
    /// Adds the code for one processor, and gives the places of its functions. Where it is one of several, nobody else sees them.
    fn code(&mut self, code: &Code, several: bool) -> Result<Vec<usize>, Error> {
        let linked = code.image.link()?;
        let text = self.text;
        let begin = self.object.append_section_data(text, &linked.bytes, linked.alignment as u64) as usize;
        let end = if several { format!("_{}", symbol_name(code.cpu.name())) } else { String::new() };
        let own = |name: &str| format!("{name}{end}");
        let mut places = Vec::with_capacity(linked.functions.len());
        for (function, at) in code.image.functions.iter().zip(linked.functions) {
            let (name, exported, size) =
                (&own(&function.name), function.exported && !several, function.code.len());
            self.name((text, begin + at), Named { name, kind: SymbolKind::Text, exported, size });
            places.push(begin + at);
        }
        for (table, at) in code.image.tables.iter().zip(linked.tables) {
            let (name, size) = (&own(&table.name), 8 * table.words.len());
            self.name((text, begin + at), Named { name, kind: SymbolKind::Data, exported: false, size });
        }
        Ok(places)
    }

    /// Adds the functions that choose a code; `places` are those of the functions of each code.
    fn choice(&mut self, codes: &Codes, places: &[Vec<usize>], symbol: &str) -> Result<(), Error> {
        self.function(&choice::chooser(symbol), |_| choice::choose(&codes.all))?;
        let first = &codes.all[0].image;
        for (number, entry) in first.entries.iter().enumerate() {
            let functions: [(Option<usize>, fn(&Entry) -> Option<usize>); 2] = [
                (Some(entry.function), |entry| Some(entry.function)),
                (entry.prepare, |entry| entry.prepare),
            ];
            for (own, position) in functions {
                let Some(own) = own else { continue };
                let alike = codes.all.iter().zip(places);
                let alike =
                    alike.filter_map(|(code, places)| Some(places[position(&code.image.entries[number])?]));
                let alike: Vec<usize> = alike.collect();
                self.function(&first.functions[own].name, |at| choice::jump(&alike, at))?;
            }
        }
        Ok(())
    }

    /// Adds a function that others call, whose code is made for its place.
    fn function(
        &mut self,
        name: &str,
        code: impl FnOnce(usize) -> Result<Vec<u8>, Error>,
    ) -> Result<(), Error> {
        let at = self.object.append_section_data(self.text, &[], FUNCTION_ALIGNMENT) as usize;
        let code = code(at)?;
        self.object.append_section_data(self.text, &code, 1);
        self.name((self.text, at), Named { name, kind: SymbolKind::Text, exported: true, size: code.len() });
        Ok(())
    }

    fn name(&mut self, place: (write::SectionId, usize), named: Named<'_>) {
        if named.exported {
            self.exported.push(named.name.to_owned());
        }
        self.object.add_symbol(Symbol {
            name: named.name.into(),
            value: place.1 as u64,
            size: named.size as u64,
            kind: named.kind,
            scope: if named.exported { SymbolScope::Dynamic } else { SymbolScope::Compilation },
            weak: false,
            section: SymbolSection::Section(place.0),
            flags: SymbolFlags::None,
        });
    }
}

/// What functions that choose begin at a multiple of.
const FUNCTION_ALIGNMENT: u64 = 16;

/// What a symbol names.
struct Named<'a> {
    name: &'a str,
    kind: SymbolKind,
    exported: bool,
    size: usize,
}

/// An object file of a system and a processor, with nothing in it.
fn empty(triple: &Triple) -> Result<write::Object<'static>, Error> {
    let unknown = || Error::new(format!("there is no object file for {triple}"));
    let format = match triple.binary_format {
        target_lexicon::BinaryFormat::Elf => BinaryFormat::Elf,
        target_lexicon::BinaryFormat::Macho => BinaryFormat::MachO,
        target_lexicon::BinaryFormat::Coff => BinaryFormat::Coff,
        _ => return Err(unknown()),
    };
    let architecture = match triple.architecture {
        target_lexicon::Architecture::X86_64 => Architecture::X86_64,
        target_lexicon::Architecture::Aarch64(_) => Architecture::Aarch64,
        _ => return Err(unknown()),
    };
    let mut file = write::Object::new(format, architecture, Endianness::Little);
    if format == BinaryFormat::MachO {
        let mut build = write::MachOBuildVersion::default();
        build.platform = object::macho::PLATFORM_MACOS;
        file.set_macho_build_version(build);
    }
    Ok(file)
}
