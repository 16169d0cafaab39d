//! Linking: functions and tables of an image in one piece, in which everything refers to everything else by distance. So the
//! piece holds no address, and runs from wherever it lies, in memory or in a file that is mapped.

use cranelift_codegen::binemit::{Addend, Reloc};

use super::parts::{Function, Image, Symbol};
use crate::error::{Error, Result};

/// Code of aarch64 reaches what lies further away by page and place in the page.
const PAGE: usize = 4096;

/// What tables begin at a multiple of.
const TABLE_ALIGNMENT: usize = 16;

/// An image in one piece.
pub(crate) struct Linked {
    /// Code and tables.
    pub bytes: Vec<u8>,
    /// What the first byte belongs at a multiple of: whatever a function or a table does, and a page where one refers to
    /// others by page.
    pub alignment: usize,
    /// Where each function begins, in the order of the image.
    pub functions: Vec<usize>,
    /// Where each table begins.
    pub tables: Vec<usize>,
}

impl Image {
    /// Lays everything out, functions first, and writes into each place what it says of the distance to another.
    pub fn link(&self) -> Result<Linked> {
        let mut end = 0usize;
        let mut place = |bytes: usize, alignment: usize| {
            let start = end.next_multiple_of(alignment);
            end = start + bytes;
            start
        };
        let functions: Vec<usize> = self.functions.iter().map(|f| place(f.code.len(), f.alignment)).collect();
        let tables: Vec<usize> =
            self.tables.iter().map(|t| place(8 * t.words.len(), TABLE_ALIGNMENT)).collect();
        let alignment =
            self.functions.iter().map(Function::piece_alignment).fold(TABLE_ALIGNMENT, usize::max);
        let mut linked = Linked { bytes: Vec::new(), alignment, functions, tables };
        let lack = |_| Error::new(format!("there is no memory for {end} bytes of machine code"));
        linked.bytes.try_reserve_exact(end).map_err(lack)?;
        linked.bytes.resize(end, 0);
        for (function, &start) in self.functions.iter().zip(&linked.functions) {
            linked.bytes[start..start + function.code.len()].copy_from_slice(&function.code);
        }
        for (table, &start) in self.tables.iter().zip(&linked.tables) {
            let words = linked.bytes[start..].chunks_exact_mut(8);
            words.zip(&table.words).for_each(|(to, word)| to.copy_from_slice(&word.to_le_bytes()));
            for &(word, function) in &table.distances {
                let at = start + 8 * word;
                let distance = linked.functions[function] as i64 - at as i64;
                linked.bytes[at..at + 8].copy_from_slice(&distance.to_le_bytes());
            }
        }
        for (function, start) in self.functions.iter().zip(linked.functions.clone()) {
            linked.resolve(function, start)?;
        }
        Ok(linked)
    }
}

impl Function {
    /// What the piece that holds it begins at a multiple of: its own alignment, or a page.
    fn piece_alignment(&self) -> usize {
        let by_page = self.relocations.iter().any(|r| r.kind == Reloc::Aarch64AdrPrelPgHi21);
        if by_page { self.alignment.max(PAGE) } else { self.alignment }
    }
}

impl Linked {
    /// Resolves the relocations of a function that begins at `start`.
    fn resolve(&mut self, function: &Function, start: usize) -> Result<()> {
        for relocation in &function.relocations {
            let at = start + relocation.offset as usize;
            let target = match relocation.symbol {
                Symbol::Function(position) => self.functions[position],
                Symbol::Table(position) => self.tables[position],
            };
            let field: &mut [u8; 4] =
                (self.bytes.get_mut(at..at + 4)).and_then(|field| field.try_into().ok()).ok_or_else(
                    || Error::new(format!("a relocation of `{}` lies behind its code", function.name)),
                )?;
            *field = resolved(relocation.kind, *field, at as i64, target as i64, relocation.addend)
                .map_err(|why| Error::new(format!("`{}` cannot be linked: {why}", function.name)))?;
        }
        Ok(())
    }
}

/// The field of four bytes at `at` that refers to `target + addend`. The kinds are those that Cranelift uses for what lies
/// near (ELF's `R_X86_64_PC32`; `R_AARCH64_CALL26`, `R_AARCH64_ADR_PREL_PG_HI21`, `R_AARCH64_ADD_ABS_LO12_NC`).
pub(crate) fn resolved(
    kind: Reloc,
    field: [u8; 4],
    at: i64,
    target: i64,
    addend: Addend,
) -> std::result::Result<[u8; 4], String> {
    let target = target + addend;
    let distance = target - at;
    let far = || format!("{distance} bytes are too far for {kind:?}");
    // The bits of a signed number, where it fits.
    let signed = |value: i64, bits: u32| {
        let bound = 1i64 << (bits - 1);
        (-bound..bound).contains(&value).then_some((value & (2 * bound - 1)) as u32).ok_or_else(far)
    };
    let instruction = u32::from_le_bytes(field);
    let written = match kind {
        Reloc::X86PCRel4 | Reloc::X86CallPCRel4 => signed(distance, 32)?,
        Reloc::Arm64Call => instruction | signed(distance / 4, 26)?,
        Reloc::Aarch64AdrPrelPgHi21 => {
            let page = PAGE as i64;
            let pages = signed(target.div_euclid(page) - at.div_euclid(page), 21)?;
            instruction | (pages & 3) << 29 | (pages >> 2) << 5
        }
        Reloc::Aarch64AddAbsLo12Nc => instruction | (target as u32 & 0xFFF) << 10,
        _ => return Err(format!("it has a relocation of kind {kind:?}")),
    };
    Ok(written.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::parts::Relocation;
    use super::*;

    fn instruction(kind: Reloc, instruction: u32, at: i64, target: i64) -> std::result::Result<u32, String> {
        resolved(kind, instruction.to_le_bytes(), at, target, 0).map(u32::from_le_bytes)
    }

    #[test]
    fn a_piece_begins_at_a_page_where_it_counts_pages() {
        let function = |alignment, kinds: &[Reloc]| {
            let relocation = |&kind| Relocation { offset: 0, kind, addend: 0, symbol: Symbol::Table(0) };
            let relocations = kinds.iter().map(relocation).collect();
            Function {
                name: "f".into(),
                code: vec![0; 4],
                alignment,
                relocations,
                exported: false,
                text: None,
            }
        };
        assert_eq!(function(32, &[Reloc::Arm64Call]).piece_alignment(), 32);
        assert_eq!(function(64, &[Reloc::X86PCRel4]).piece_alignment(), 64);
        assert_eq!(function(32, &[Reloc::Arm64Call, Reloc::Aarch64AdrPrelPgHi21]).piece_alignment(), PAGE);
    }

    #[test]
    fn x86_distances_count_from_the_field() {
        let resolve = |at, target| resolved(Reloc::X86CallPCRel4, [0; 4], at, target, -4);
        assert_eq!(resolve(101, 201), Ok(96i32.to_le_bytes()));
        assert_eq!(resolve(201, 101), Ok((-104i32).to_le_bytes()));
        assert_eq!(resolve(0, (1 << 31) + 3), Ok(i32::MAX.to_le_bytes()));
        assert!(resolve(0, (1 << 31) + 4).is_err());
    }

    /// Encodings as an assembler gives them: `bl .+8`, `bl .-4`.
    #[test]
    fn aarch64_calls_count_instructions() {
        let bl = 0x9400_0000;
        assert_eq!(instruction(Reloc::Arm64Call, bl, 16, 24), Ok(0x9400_0002));
        assert_eq!(instruction(Reloc::Arm64Call, bl, 16, 12), Ok(0x97FF_FFFF));
        assert!(instruction(Reloc::Arm64Call, bl, 0, 1 << 27).is_err());
        assert!(instruction(Reloc::Arm64Call, bl, 1 << 27, 0).is_ok());
    }

    /// `adrp x0, .+0x3000` and `adrp x0, .-0x1000`; `add x0, x0, #0xabc`.
    #[test]
    fn aarch64_addresses_are_a_page_and_a_place_in_it() {
        let (adrp, add) = (0x9000_0000, 0x9100_0000);
        assert_eq!(instruction(Reloc::Aarch64AdrPrelPgHi21, adrp, 0x1FFC, 0x4ABC), Ok(0xF000_0000));
        assert_eq!(instruction(Reloc::Aarch64AdrPrelPgHi21, adrp, 0x1004, 0xFFF), Ok(0xF0FF_FFE0));
        assert_eq!(instruction(Reloc::Aarch64AddAbsLo12Nc, add, 0x1FFC, 0x4ABC), Ok(0x912A_F000));
    }

    #[test]
    fn other_kinds_are_refused() {
        assert!(resolved(Reloc::Abs8, [0; 4], 0, 0, 0).is_err());
    }
}
