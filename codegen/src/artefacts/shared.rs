//! Shared libraries of ELF, for the dynamic loaders of Linux and their like. No linker is needed: code and data refer to
//! each other by distance, so there is nothing to relocate and nothing to look up elsewhere.
//!
//! The file is mapped in three parts, as its program headers say:
//! - read-only: the headers, the table of exported names (`.hash`, `.dynsym`, `.dynstr`) and the data (`.rodata`);
//! - executable: the code (`.text`), and behind it a function for each piece of data that returns its address;
//! - writable until the loader has read it: what the loader has to know (`.dynamic`), alone in its pages.
//!
//! The functions that return addresses are why programs have no names of data to refer to: where a program refers to data of
//! a library, linkers reserve memory in the program, and the loader copies the data there. Weights would be there twice.

use cranelift_codegen::binemit::Reloc;
use object::elf::{self, SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE};
use object::write::StringId;
use object::write::elf::{FileHeader, ProgramHeader, SectionHeader, SectionIndex, Sym, Writer};
use object::{Endianness, write};
use target_lexicon::{Architecture, BinaryFormat, Triple};

use crate::error::{Error, Result};
use crate::image::resolved;

/// What functions that return addresses begin at a multiple of, and their most bytes.
pub(crate) const FUNCTION: usize = 16;
/// What a mapped part of the file begins at a multiple of, at least: no page has bytes of two parts then.
const PART: usize = 4096;
/// Program headers: three parts, `.dynamic`, what is read-only once it is read, and that stacks are not executable.
const SEGMENTS: u32 = 6;
/// Entries of `.dynamic`.
const DYNAMICS: usize = 7;

/// What a shared library has.
pub(crate) struct Library<'a> {
    pub machine: ElfMachine,
    /// The name that a program linked with it will ask for.
    pub soname: &'a str,
    /// Code, which begins at a multiple of this.
    pub code: &'a [u8],
    pub alignment: usize,
    /// Exported functions: name, place in the code, bytes.
    pub functions: Vec<(&'a str, usize, usize)>,
    /// Data, each with the name of the function that returns its address.
    pub data: Vec<(String, &'a [u8])>,
}

/// What processors differ in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ElfMachine {
    X86_64,
    Aarch64,
}

impl ElfMachine {
    /// # Errors
    /// A system whose libraries are none of ELF; another processor.
    pub fn of(triple: &Triple) -> Result<ElfMachine> {
        match (triple.binary_format, triple.architecture) {
            (BinaryFormat::Elf, Architecture::X86_64) => Ok(ElfMachine::X86_64),
            (BinaryFormat::Elf, Architecture::Aarch64(_)) => Ok(ElfMachine::Aarch64),
            _ => Err(Error::new(format!(
                "shared libraries are not written for {triple}: link the object itself into one"
            ))),
        }
    }

    /// ELF's number.
    fn number(self) -> u16 {
        match self {
            ElfMachine::X86_64 => elf::EM_X86_64,
            ElfMachine::Aarch64 => elf::EM_AARCH64,
        }
    }

    /// Bytes of the largest pages that its systems have.
    fn page(self) -> usize {
        match self {
            ElfMachine::X86_64 => 4096,
            ElfMachine::Aarch64 => 65536,
        }
    }

    /// The code of a function that returns an address, with zeros for it, and the fields that say it.
    pub fn returning(self) -> (&'static [u8], &'static [AddressField]) {
        match self {
            // lea rax, [rip + distance]; ret
            ElfMachine::X86_64 => (
                &[0x48, 0x8D, 0x05, 0, 0, 0, 0, 0xC3],
                &[AddressField { at: 3, kind: Reloc::X86PCRel4, in_elf: elf::R_X86_64_PC32, addend: -4 }],
            ),
            // adrp x0, page; add x0, x0, #place; ret
            ElfMachine::Aarch64 => (
                &[0, 0, 0, 0x90, 0, 0, 0, 0x91, 0xC0, 0x03, 0x5F, 0xD6],
                &[
                    AddressField {
                        at: 0,
                        kind: Reloc::Aarch64AdrPrelPgHi21,
                        in_elf: elf::R_AARCH64_ADR_PREL_PG_HI21,
                        addend: 0,
                    },
                    AddressField {
                        at: 4,
                        kind: Reloc::Aarch64AddAbsLo12Nc,
                        in_elf: elf::R_AARCH64_ADD_ABS_LO12_NC,
                        addend: 0,
                    },
                ],
            ),
        }
    }

    /// A function at an address that returns another one.
    fn returns(self, at: usize, address: usize) -> Result<Vec<u8>> {
        let (code, fields) = self.returning();
        let mut code = code.to_vec();
        for field in fields {
            let Some(bytes) = code.get_mut(field.at..).and_then(|code| code.first_chunk_mut::<4>()) else {
                continue;
            };
            *bytes = resolved(field.kind, *bytes, (at + field.at) as i64, address as i64, field.addend)
                .map_err(|why| Error::new(format!("the library is too large: {why}")))?;
        }
        Ok(code)
    }
}

/// Four bytes of code that say an address.
pub(crate) struct AddressField {
    pub at: usize,
    pub kind: Reloc,
    /// The kind, as files of ELF have it.
    pub in_elf: u32,
    /// What is added to the address.
    pub addend: i64,
}

/// The file.
///
/// # Errors
/// Too little memory; code and data that are further from each other than instructions reach.
pub(crate) fn shared_library(library: &Library<'_>) -> Result<Vec<u8>> {
    let data: usize = library.data.iter().map(|(_, bytes)| bytes.len() + brolga_runtime::ALIGNMENT).sum();
    let room = data + library.code.len() + 2 * library.alignment.max(PART) + (16 << 10);
    let mut file = Vec::new();
    file.try_reserve(room)
        .map_err(|_| Error::new(format!("there is no memory for a library of {room} bytes")))?;
    fill(library, Writer::new(Endianness::Little, true, &mut file))?;
    Ok(file)
}

/// Writes the file.
fn fill<'a>(library: &'a Library<'_>, mut writer: Writer<'a>) -> Result<()> {
    let exported = Exported::of(library, &mut writer);
    let sections = Sections::of(library, &mut writer);
    let places = Places::of(library, &mut writer);
    let written = |e: write::Error| Error::new(format!("`{}` cannot be written: {e}", library.soname));
    writer
        .write_file_header(&FileHeader {
            os_abi: elf::ELFOSABI_NONE,
            abi_version: 0,
            e_type: elf::ET_DYN,
            e_machine: library.machine.number(),
            e_entry: 0,
            e_flags: 0,
        })
        .map_err(written)?;
    places.write_segments(&mut writer);
    exported.write(library, &places, &sections, &mut writer);
    places.write_content(library, &mut writer)?;
    places.write_dynamic(&exported, &mut writer).map_err(written)?;
    writer.write_shstrtab();
    sections.write(&places, &mut writer);
    Ok(())
}

/// Names that others find.
struct Exported {
    soname: StringId,
    /// Of the functions of the code, and behind them those that return addresses.
    names: Vec<StringId>,
}

impl Exported {
    fn of<'a>(library: &'a Library<'_>, writer: &mut Writer<'a>) -> Exported {
        let soname = writer.add_dynamic_string(library.soname.as_bytes());
        let names = library.names().map(|name| {
            writer.reserve_dynamic_symbol_index();
            writer.add_dynamic_string(name.as_bytes())
        });
        Exported { soname, names: names.collect() }
    }

    /// The table that is searched by name, and the symbols.
    fn write(&self, library: &Library<'_>, places: &Places, sections: &Sections, writer: &mut Writer<'_>) {
        let names: Vec<&str> = library.names().collect();
        let count = names.len() as u32;
        writer.write_hash(count, count + 1, |symbol| {
            // Symbol 0 is none.
            let name = names.get((symbol as usize).checked_sub(1)?)?;
            Some(elf::hash(name.as_bytes()))
        });
        writer.write_null_dynamic_symbol();
        let code = library.functions.iter().map(|&(_, at, bytes)| (at, bytes));
        let addresses = (0..library.data.len()).map(|number| (library.address_function(number), FUNCTION));
        for (&name, (at, bytes)) in self.names.iter().zip(code.chain(addresses)) {
            writer.write_dynamic_symbol(&Sym {
                name: Some(name),
                section: Some(sections.text.0),
                st_info: (elf::STB_GLOBAL << 4) | elf::STT_FUNC,
                st_other: elf::STV_DEFAULT,
                st_shndx: 0,
                st_value: (places.text.address + at) as u64,
                st_size: bytes as u64,
            });
        }
        writer.write_dynstr();
    }
}

impl Library<'_> {
    /// All exported names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let functions = self.functions.iter().map(|(name, ..)| *name);
        functions.chain(self.data.iter().map(|(name, _)| name.as_str()))
    }

    /// Where in the code the function stands that returns the address of a piece of data.
    fn address_function(&self, number: usize) -> usize {
        self.code.len().next_multiple_of(FUNCTION) + number * FUNCTION
    }
}

/// Sections that have no function of their own in the writer: number and name.
struct Sections {
    rodata: (SectionIndex, StringId),
    text: (SectionIndex, StringId),
    padding: (SectionIndex, StringId),
    alignment: usize,
}

impl Sections {
    fn of(library: &Library<'_>, writer: &mut Writer<'_>) -> Sections {
        fn section(writer: &mut Writer<'_>, name: &'static [u8]) -> (SectionIndex, StringId) {
            let name = writer.add_section_name(name);
            (writer.reserve_section_index(), name)
        }
        writer.reserve_hash_section_index();
        writer.reserve_dynsym_section_index();
        writer.reserve_dynstr_section_index();
        let rodata = section(writer, b".rodata");
        let text = section(writer, b".text");
        writer.reserve_dynamic_section_index();
        let padding = section(writer, b".relro_padding");
        writer.reserve_shstrtab_section_index();
        Sections { rodata, text, padding, alignment: library.alignment }
    }

    fn write(&self, places: &Places, writer: &mut Writer<'_>) {
        let section = |(_, name), sh_type, flags: u32, place: &Place, alignment: usize| SectionHeader {
            name: Some(name),
            sh_type,
            sh_flags: flags.into(),
            sh_addr: place.address as u64,
            sh_offset: place.offset as u64,
            sh_size: place.bytes as u64,
            sh_link: 0,
            sh_info: 0,
            sh_addralign: alignment as u64,
            sh_entsize: 0,
        };
        writer.write_null_section_header();
        writer.write_hash_section_header(places.hash as u64);
        // All symbols but that of number 0 are global.
        writer.write_dynsym_section_header(places.symbols as u64, 1);
        writer.write_dynstr_section_header(places.strings.offset as u64);
        let alignment = brolga_runtime::ALIGNMENT;
        writer.write_section_header(&section(
            self.rodata,
            elf::SHT_PROGBITS,
            SHF_ALLOC,
            &places.rodata,
            alignment,
        ));
        let code = SHF_ALLOC | SHF_EXECINSTR;
        writer.write_section_header(&section(
            self.text,
            elf::SHT_PROGBITS,
            code,
            &places.text,
            self.alignment,
        ));
        writer.write_dynamic_section_header(places.dynamic.address as u64);
        let own = SHF_ALLOC | SHF_WRITE;
        writer.write_section_header(&section(self.padding, elf::SHT_NOBITS, own, &places.padding(), 1));
        writer.write_shstrtab_section_header();
    }
}

/// Bytes of the file, and where they are mapped.
#[derive(Clone, Copy)]
struct Place {
    offset: usize,
    address: usize,
    bytes: usize,
}

/// Where everything lies. In the first part, addresses are places in the file.
struct Places {
    hash: usize,
    symbols: usize,
    strings: Place,
    rodata: Place,
    /// Of each piece of data.
    data: Vec<usize>,
    text: Place,
    dynamic: Place,
    page: usize,
}

impl Places {
    /// Reserves everything, in the order in which it is written.
    fn of(library: &Library<'_>, writer: &mut Writer<'_>) -> Places {
        let page = library.machine.page();
        writer.reserve_file_header();
        writer.reserve_program_headers(SEGMENTS);
        let count = library.functions.len() + library.data.len();
        let hash = writer.reserve_hash(count as u32, count as u32 + 1);
        let symbols = writer.reserve_dynsym();
        let strings = writer.reserve_dynstr();
        let strings = Place { offset: strings, address: strings, bytes: writer.dynstr_len() };
        let begin = writer.reserve(0, brolga_runtime::ALIGNMENT);
        let reserve = |(_, bytes): &(String, &[u8])| writer.reserve(bytes.len(), brolga_runtime::ALIGNMENT);
        let data: Vec<usize> = library.data.iter().map(reserve).collect();
        let end = writer.reserved_len();
        let rodata = Place { offset: begin, address: begin, bytes: end - begin };
        // Loaders map whole pages: places in the file and in memory are alike within one.
        let behind = |end: usize, offset: usize| end.next_multiple_of(page) + offset % page;
        let bytes = library.address_function(library.data.len());
        let offset = writer.reserve(bytes, library.alignment.max(PART));
        let text = Place { offset, address: behind(end, offset), bytes };
        let bytes = DYNAMICS * size_of::<elf::Dyn64<Endianness>>();
        writer.reserve(0, PART);
        let offset = writer.reserve_dynamic(DYNAMICS);
        let dynamic = Place { offset, address: behind(text.address + text.bytes, offset), bytes };
        writer.reserve_shstrtab();
        writer.reserve_section_headers();
        Places { hash, symbols, strings, rodata, data, text, dynamic, page }
    }

    /// What fills the pages of `.dynamic`: only whole pages can be made read-only.
    fn padding(&self) -> Place {
        let Place { offset, address, bytes } = self.dynamic;
        let end = address + bytes;
        Place { offset: offset + bytes, address: end, bytes: end.next_multiple_of(self.page) - end }
    }

    fn write_segments(&self, writer: &mut Writer<'_>) {
        let segment = |p_type: u32, p_flags: u32, place: Place, more: usize, p_align: usize| ProgramHeader {
            p_type,
            p_flags,
            p_offset: place.offset as u64,
            p_vaddr: place.address as u64,
            p_paddr: place.address as u64,
            p_filesz: place.bytes as u64,
            p_memsz: (place.bytes + more) as u64,
            p_align: p_align as u64,
        };
        let (read, write, execute) = (elf::PF_R, elf::PF_R | elf::PF_W, elf::PF_R | elf::PF_X);
        let first = Place { offset: 0, address: 0, bytes: self.rodata.offset + self.rodata.bytes };
        let none = Place { offset: 0, address: 0, bytes: 0 };
        let more = self.padding().bytes;
        writer.write_align_program_headers();
        for header in [
            segment(elf::PT_LOAD, read, first, 0, self.page),
            segment(elf::PT_LOAD, execute, self.text, 0, self.page),
            segment(elf::PT_LOAD, write, self.dynamic, more, self.page),
            segment(elf::PT_DYNAMIC, write, self.dynamic, 0, 8),
            segment(elf::PT_GNU_RELRO, read, self.dynamic, more, 1),
            segment(elf::PT_GNU_STACK, write, none, 0, 16),
        ] {
            writer.write_program_header(&header);
        }
    }

    /// Data and code.
    fn write_content(&self, library: &Library<'_>, writer: &mut Writer<'_>) -> Result<()> {
        writer.pad_until(self.rodata.offset);
        for ((_, bytes), &at) in library.data.iter().zip(&self.data) {
            writer.pad_until(at);
            writer.write(bytes);
        }
        writer.pad_until(self.text.offset);
        writer.write(library.code);
        for (number, &data) in self.data.iter().enumerate() {
            let at = library.address_function(number);
            writer.pad_until(self.text.offset + at);
            writer.write(&library.machine.returns(self.text.address + at, data)?);
        }
        writer.pad_until(self.text.offset + self.text.bytes);
        Ok(())
    }

    fn write_dynamic(&self, exported: &Exported, writer: &mut Writer<'_>) -> write::Result<()> {
        writer.pad_until(self.dynamic.offset);
        writer.write_dynamic_string(elf::DT_SONAME, exported.soname)?;
        for (tag, value) in [
            (elf::DT_HASH, self.hash),
            (elf::DT_STRTAB, self.strings.offset),
            (elf::DT_SYMTAB, self.symbols),
            (elf::DT_STRSZ, self.strings.bytes),
            (elf::DT_SYMENT, size_of::<elf::Sym64<Endianness>>()),
            (elf::DT_NULL, 0),
        ] {
            writer.write_dynamic(tag, value as u64)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As an assembler gives them: `lea rax, [rip + 0x1000 - 7]; ret`, and backwards.
    #[test]
    fn functions_of_x86_64_return_addresses() {
        let code = ElfMachine::X86_64.returns(0x2000, 0x3000).unwrap();
        assert_eq!(code, [0x48, 0x8D, 0x05, 0xF9, 0x0F, 0, 0, 0xC3]);
        let code = ElfMachine::X86_64.returns(0x2000, 0x1000).unwrap();
        assert_eq!(code, [0x48, 0x8D, 0x05, 0xF9, 0xEF, 0xFF, 0xFF, 0xC3]);
        assert!(ElfMachine::X86_64.returns(1 << 32, 0).is_err());
    }

    /// `adrp x0, .-0x1000; add x0, x0, #0x40; ret`.
    #[test]
    fn functions_of_aarch64_return_addresses() {
        let code = ElfMachine::Aarch64.returns(0x11_0010, 0x10_F040).unwrap();
        let words: Vec<u32> =
            code.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
        assert_eq!(words, [0xF0FF_FFE0, 0x9101_0000, 0xD65F_03C0]);
    }
}
