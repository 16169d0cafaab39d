//! The object back end: an image as an object file for a linker, or as a shared library, and a C header that says how to call
//! it.

use std::collections::HashSet;

use brolga_ir::program::{Place, Program, Step};
use brolga_runtime::{Manifest, State};
use object::write::{self, StandardSection, Symbol, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, RelocationFlags, SectionKind, SymbolFlags, SymbolKind,
    SymbolScope,
};
use target_lexicon::Triple;

use super::archive::archive;
use super::header::{About, AboutEntry, address_function, check_symbol, entry_names, header};
use super::processors;
use super::shared::{ElfMachine, FUNCTION, Library, shared_library};
use super::state_block::{StateBlock, StateTensor};
use super::text::Text;
use crate::error::Error;
use crate::image::{Entry, Image, Source, verified};
use crate::target::Options;

/// A compiled model as files.
#[derive(Clone, PartialEq, Debug)]
pub struct Object {
    /// The object file, in the format of the target system (ELF, Mach-O, COFF), or the shared library. It has no undefined
    /// symbols.
    pub bytes: Vec<u8>,
    /// The C header.
    pub header: String,
    /// What each entry needs and gives, as for the JIT.
    pub manifests: Vec<Manifest>,
    /// The prototypes of the C functions of the entries.
    pub functions: Vec<String>,
    /// The names that a linker finds in the object.
    pub symbols: Vec<String>,
    /// Where the state lies.
    block: StateBlock,
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

    /// A file of a state that a program maps, and uses where it lies (`use_file` of the header).
    ///
    /// # Errors
    /// A state that lacks a tensor or has another type in it; an object without state; too little memory.
    pub fn state_file(&self, state: &State) -> Result<Vec<u8>, Error> {
        if self.block.tensors.is_empty() {
            return Err(Error::new("the object has no state that a file could hold"));
        }
        self.block.file(state)
    }
}

/// What an object is made of, and for whom.
#[derive(Clone, Copy, Debug, Default)]
pub struct ObjectRequest<'a> {
    /// The entries: each is a program, and the name that its function has in C behind `symbol` and `_`.
    pub entries: &'a [(&'a Program, &'a str)],
    /// All tensors of the model's state in their order; those that no entry uses are left out.
    pub state: &'a [StateTensor<'a>],
    /// The values of the state, if they are to be part of the object.
    pub weights: Option<&'a State>,
    /// The name of the model's type, with which all names begin.
    pub symbol: &'a str,
    /// What code is made for. With several targets, of one system, there is code for each, and a program that the object is linked
    /// into runs that which needs most of what the processor has; all give the same bits.
    pub targets: &'a [Options],
}

/// Compiles the entries of a model into an object file.
///
/// What programs may do is that of [`compile`](crate::compile): nothing in the object checks an access, but the functions of
/// the header check the inputs that are indices.
///
/// # Errors
/// Names that C does not allow; no entries, or more than 64; no targets, those of several systems, or two that need the same of
/// a processor; state that is not in `state`, or has another type in two entries or in `weights`; what
/// [`compile`](crate::compile) refuses.
pub fn emit_object(request: &ObjectRequest<'_>) -> Result<Object, Error> {
    emit(request, Form::Object)
}

/// As [`emit_object`], but for a static library ([`Object::archive`]), whose header is that of the shared one: where there are shared
/// libraries, it has functions that return the addresses of its data, each with a relocation or two inside of the object.
///
/// # Errors
/// As for [`emit_object`].
pub fn emit_static(request: &ObjectRequest<'_>) -> Result<Object, Error> {
    emit(request, Form::Static)
}

/// As [`emit_object`], but what comes out is a shared library of ELF, which programs linked with it ask for by the name
/// `soname`. No linker has to be there.
///
/// # Errors
/// As for [`emit_object`]; a name that is no file's; a target whose system has other libraries.
pub fn emit_shared(request: &ObjectRequest<'_>, soname: &str) -> Result<Object, Error> {
    if soname.is_empty() || soname.contains(['/', '\0']) {
        return Err(Error::new(format!("a library cannot be called {soname:?}")));
    }
    emit(request, Form::Shared(soname))
}

/// What code becomes.
#[derive(Clone, Copy)]
enum Form<'a> {
    Object,
    /// The object of a static library.
    Static,
    /// A shared library of this name.
    Shared(&'a str),
}

impl Form<'_> {
    /// Whether functions return the addresses of data: shared libraries need them, and static ones have them where there are shared
    /// ones, so that a program may be linked with either.
    fn has_functions_of_data(self, triple: &Triple) -> bool {
        match self {
            Form::Object => false,
            Form::Static => triple.binary_format == target_lexicon::BinaryFormat::Elf,
            Form::Shared(_) => true,
        }
    }
}

fn emit(request: &ObjectRequest<'_>, form: Form<'_>) -> Result<Object, Error> {
    let ObjectRequest { entries, state, weights, symbol, targets } = *request;
    check_symbol(symbol)?;
    let names: Vec<&str> = entries.iter().map(|(_, name)| *name).collect();
    let names = entry_names(symbol, &names)?;
    let programs: Vec<&Program> = entries.iter().map(|(program, _)| *program).collect();
    programs.iter().try_for_each(|program| verified(program))?;
    let symbols: Vec<String> = names.iter().map(|name| format!("{symbol}_{name}")).collect();
    let sources: Vec<Source<'_>> = (programs.iter().zip(&symbols))
        .map(|(program, symbol)| Source { symbol, call: "_call", ..Source::of(program) })
        .collect();
    let codes = processors::compile(&sources, symbol, targets)?;
    // The others have all this in common with it.
    let image = &codes.all[0].image;
    let manifests: Vec<&Manifest> = image.entries.iter().map(|entry| &entry.placement.manifest).collect();
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
        functions_of_data: form.has_functions_of_data(&codes.triple),
    })?;
    let data = Data { constants: &image.constants, weights: weights.as_deref(), block: &block };
    let text = Text::new(&codes, symbol)?;
    let (bytes, symbols) = match form {
        Form::Shared(soname) => library(&text, &data, symbol, soname, &codes.triple)?,
        form => object_file(&text, &data, symbol, form, &codes.triple)?,
    };
    let manifests = manifests.into_iter().cloned().collect();
    Ok(Object { bytes, header: header.text, manifests, functions: header.functions, symbols, block })
}

/// What the header says of the entries.
fn described<'a>(image: &'a Image, names: Vec<String>, programs: &[&Program]) -> Vec<AboutEntry<'a>> {
    let reads: Vec<HashSet<&str>> = programs.iter().map(|program| read_by_prepare(program)).collect();
    let about = |(name, entry): (String, &'a Entry)| {
        let manifest = &entry.placement.manifest;
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

/// The shared library, and the names that it exports.
fn library(
    text: &Text,
    data: &Data<'_>,
    symbol: &str,
    soname: &str,
    triple: &Triple,
) -> Result<(Vec<u8>, Vec<String>), Error> {
    let exported = text.symbols.iter().filter(|symbol| symbol.exported);
    let library = Library {
        machine: ElfMachine::of(triple)?,
        soname,
        code: &text.bytes,
        alignment: text.alignment,
        functions: exported.map(|symbol| (symbol.name.as_str(), symbol.at, symbol.size)).collect(),
        data: data.parts().map(|(end, bytes)| (address_function(symbol, end), bytes)).collect(),
    };
    Ok((shared_library(&library)?, library.names().map(str::to_owned).collect()))
}

/// The object file, and the names that it exports.
fn object_file(
    text: &Text,
    data: &Data<'_>,
    symbol: &str,
    form: Form<'_>,
    triple: &Triple,
) -> Result<(Vec<u8>, Vec<String>), Error> {
    let mut file = File { object: empty(triple)?, exported: Vec::new() };
    file.object.add_file_symbol(symbol.into());
    let section = file.object.section_id(StandardSection::Text);
    let begin = file.object.append_section_data(section, &text.bytes, text.alignment as u64) as usize;
    for symbol in &text.symbols {
        let kind = if symbol.is_function { SymbolKind::Text } else { SymbolKind::Data };
        let (name, exported, size) = (&symbol.name, symbol.exported, symbol.size);
        file.name((section, begin + symbol.at), Named { name, kind, exported, size });
    }
    let by_function = form.has_functions_of_data(triple);
    for (end, bytes) in data.parts() {
        let section = file.object.section_id(StandardSection::ReadOnlyData);
        let at = file.object.append_section_data(section, bytes, brolga_runtime::ALIGNMENT as u64) as usize;
        let (own, size) = (format!("{symbol}_{end}"), bytes.len());
        file.name((section, at), Named { name: &own, kind: SymbolKind::Data, exported: !by_function, size });
        if by_function {
            file.returns(&address_function(symbol, end), ElfMachine::of(triple)?, (section, at))?;
        }
    }
    if file.object.format() == BinaryFormat::Elf {
        // Without it linkers make the stack executable.
        file.object.add_section(Vec::new(), b".note.GNU-stack".to_vec(), SectionKind::Linker);
    }
    let written = file.object.write();
    let bytes =
        written.map_err(|e| Error::new(format!("the object file of `{symbol}` cannot be written: {e}")))?;
    Ok((bytes, file.exported))
}

/// An object file in the making.
struct File {
    object: write::Object<'static>,
    /// The names that it exports.
    exported: Vec<String>,
}

impl File {
    /// Adds a function that returns the address of data, which a linker fills in.
    fn returns(
        &mut self,
        name: &str,
        machine: ElfMachine,
        data: (write::SectionId, usize),
    ) -> Result<(), Error> {
        let (code, fields) = machine.returning();
        let section = self.object.section_id(StandardSection::Text);
        let begin = self.object.append_section_data(section, code, FUNCTION as u64);
        let named = Named { name, kind: SymbolKind::Text, exported: true, size: code.len() };
        self.name((section, begin as usize), named);
        let symbol = self.object.section_symbol(data.0);
        for field in fields {
            let relocation = write::Relocation {
                offset: begin + field.at as u64,
                symbol,
                addend: data.1 as i64 + field.addend,
                flags: RelocationFlags::Elf { r_type: field.in_elf },
            };
            self.object
                .add_relocation(section, relocation)
                .map_err(|e| Error::new(format!("the function `{name}` cannot be written: {e}")))?;
        }
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
