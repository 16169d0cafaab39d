//! Static libraries: the archive that linkers of ELF and COFF read, with an index of symbols.
//!
//! An archive is a line that says what it is, and members, each behind a header of 60 bytes in ASCII, at even places. The
//! first member, `/`, is the index: the number of symbols, for each the place of its member's header, both as big-endian
//! words of 32 bits, and the names, each with a zero behind it (System V Release 4, "ar").

use crate::error::{Error, Result};

/// What an archive begins with.
const MAGIC: &[u8] = b"!<arch>\n";
/// Bytes of a member's header.
const HEADER: usize = 60;
/// Letters that a member's name has room for; a slash ends it.
const NAME: usize = 15;

/// A library of one object, whose symbols can be found by name.
///
/// # Errors
/// An object of more than 9,999,999,999 bytes, which no header can say.
pub(crate) fn archive(name: &str, object: &[u8], symbols: &[String]) -> Result<Vec<u8>> {
    let mut names = Vec::new();
    for symbol in symbols {
        names.extend(symbol.as_bytes());
        names.push(0);
    }
    // Members begin at even places.
    names.resize(names.len().next_multiple_of(2), 0);
    let index = 4 + 4 * symbols.len() + names.len();
    let too_many = || Error::new(format!("{} bytes are too many for a static library", object.len()));
    let place = u32::try_from(MAGIC.len() + HEADER + index).map_err(|_| too_many())?;
    let count = u32::try_from(symbols.len()).map_err(|_| too_many())?;
    let stem: String = name.chars().take(NAME - 2).collect();

    let mut file = MAGIC.to_vec();
    file.extend(header("/", index).ok_or_else(too_many)?);
    file.extend(count.to_be_bytes());
    symbols.iter().for_each(|_| file.extend(place.to_be_bytes()));
    file.extend(names);
    file.extend(header(&format!("{stem}.o/"), object.len()).ok_or_else(too_many)?);
    file.extend(object);
    file.resize(file.len().next_multiple_of(2), b'\n');
    Ok(file)
}

/// What stands before a member: name, time, owner, group, mode, bytes. Equal libraries are equal files, so the time is 0.
fn header(name: &str, bytes: usize) -> Option<Vec<u8>> {
    let text = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{bytes:<10}`\n", 0, 0, 0, "100644");
    (text.len() == HEADER).then(|| text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_an_index_and_the_object() {
        let symbols = ["net_infer_call".to_owned(), "net".to_owned()];
        let file = archive("a_long_name_of_a_model", b"\x7fELF.", &symbols).unwrap();
        let index = 4 + 8 + 15 + 4 + 1;
        assert_eq!(&file[..8], MAGIC);
        assert_eq!(&file[8..10], b"/ ");
        assert_eq!(&file[68..72], [0, 0, 0, 2]);
        let place = 8 + 60 + index;
        assert_eq!(u32::from_be_bytes(file[72..76].try_into().unwrap()) as usize, place);
        assert_eq!(&file[place..place + 16], b"a_long_name_o.o/");
        assert_eq!(&file[place + HEADER..], b"\x7fELF.\n");
        assert!(file[place..].len().is_multiple_of(2) && place.is_multiple_of(2));
    }
}
