//! Zip archives, as `.npz` are: members that are stored or deflated, and may have more than 4 GiB.
//!
//! Format: "APPNOTE.TXT", sections 4.3 and 4.5.3, in PKWARE's reference. This is here and no crate is used because it is in every
//! executable that carries a model: what reads and writes archives of all kinds would be a tenth of it.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Error, ErrorKind, Read, Result, Seek, SeekFrom, Write};

use crc32fast::Hasher;
use flate2::bufread::DeflateDecoder;

/// How the parts of an archive begin: a member, its row in the directory, the end of the directory, the same with numbers of 64
/// bits, and what says where that is.
const MEMBER: [u8; 4] = *b"PK\x03\x04";
const ROW: [u8; 4] = *b"PK\x01\x02";
const END: [u8; 4] = *b"PK\x05\x06";
const LONG_END: [u8; 4] = *b"PK\x06\x06";
const LOCATOR: [u8; 4] = *b"PK\x06\x07";

/// Bytes of these parts, without names and what else is as long as they say.
const MEMBER_BYTES: usize = 30;
const ROW_BYTES: usize = 46;
const END_BYTES: usize = 22;
const LONG_END_BYTES: usize = 56;
const LOCATOR_BYTES: usize = 20;

/// Stands for a number that is too large for its place, and is found with 64 bits elsewhere.
const ELSEWHERE: u64 = 0xFFFF_FFFF;
const MANY: u64 = 0xFFFF;

/// The extra field of a member that has these numbers.
const LONG_NUMBERS: u64 = 1;

/// How members are packed.
const STORED: u64 = 0;
const DEFLATED: u64 = 8;

/// Marks in the flags of a member: it is encrypted; its name is UTF-8.
const ENCRYPTED: u64 = 1;
const UTF8: u64 = 1 << 11;

/// The first of January 1980: archives of equal members are equal.
const NO_DATE: u64 = 0x21;

/// Who wrote it (Unix), by which version of the format, and what may be done with the file.
const MADE_BY: u64 = 3 << 8 | 45;
const PERMISSIONS: u64 = 0o100_644 << 16;

/// An open archive.
pub(crate) struct Archive {
    file: File,
    members: Vec<Member>,
    comment: Vec<u8>,
}

/// A member as the directory has it.
struct Member {
    name: Vec<u8>,
    flags: u64,
    method: u64,
    checksum: u64,
    /// Bytes in the file, and of the content.
    packed: u64,
    bytes: u64,
    /// Where it is in the file.
    begin: u64,
}

impl Archive {
    /// Reads the directory of a file of so many bytes.
    ///
    /// # Errors
    /// A file that cannot be read, or is not a whole archive.
    pub(crate) fn open(mut file: File, size: u64) -> Result<Archive> {
        // The end is the last of a file, but for a comment.
        let tail_at = size.saturating_sub(END_BYTES as u64 + MANY);
        let tail = read(&mut file, tail_at, size - tail_at)?;
        let is_end = |at: &usize| {
            let end = &tail[*at..];
            end.starts_with(&END) && number(end, 20, 2) as usize <= end.len() - END_BYTES
        };
        let at = (0..(tail.len() + 1).saturating_sub(END_BYTES)).rev().find(is_end);
        let at = at.ok_or_else(|| wrong("its directory is not there"))?;
        let (end, comment) = tail[at..].split_at(END_BYTES);
        let comment = comment[..number(end, 20, 2) as usize].to_vec();
        let mut behind = tail_at + at as u64;
        let (mut count, mut bytes, mut begin) = (number(end, 10, 2), number(end, 12, 4), number(end, 16, 4));
        if (count == MANY || bytes == ELSEWHERE || begin == ELSEWHERE) && behind > LOCATOR_BYTES as u64 {
            let locator = read(&mut file, behind - LOCATOR_BYTES as u64, LOCATOR_BYTES as u64)?;
            if locator.starts_with(&LOCATOR) {
                behind = number(&locator, 8, 8);
                let end = read(&mut file, behind, LONG_END_BYTES as u64)?;
                if !end.starts_with(&LONG_END) {
                    return Err(wrong("the end of its directory is broken"));
                }
                (count, bytes, begin) = (number(&end, 32, 8), number(&end, 40, 8), number(&end, 48, 8));
            }
        }
        // Something may stand before the archive, from which places are not counted.
        let before = behind.checked_sub(bytes).and_then(|at| at.checked_sub(begin));
        let before = before.ok_or_else(|| wrong("its directory is not where it should be"))?;
        let directory = read(&mut file, begin + before, bytes)?;
        let members = members(&directory, count, before)?;
        Ok(Archive { file, members, comment })
    }

    /// The comment of the archive.
    pub(crate) fn comment(&self) -> &[u8] {
        &self.comment
    }

    /// How many members there are.
    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    /// The name of a member.
    pub(crate) fn name(&self, at: usize) -> String {
        String::from_utf8_lossy(&self.members[at].name).into_owned()
    }

    /// The name that two members have, if two have one.
    pub(crate) fn used_twice(&self) -> Option<String> {
        let mut seen = HashSet::new();
        let at = self.members.iter().position(|member| !seen.insert(&member.name[..]))?;
        Some(self.name(at))
    }

    /// The bytes that a member has, as the directory says.
    pub(crate) fn bytes(&self, at: usize) -> u64 {
        self.members[at].bytes
    }

    /// The content of a member. Its end is an error where the checksum does not fit.
    ///
    /// # Errors
    /// A member that is encrypted, or packed in a way that NumPy does not use; a file that cannot be read.
    pub(crate) fn content(&mut self, at: usize) -> Result<Content<'_>> {
        let member = &self.members[at];
        if member.flags & ENCRYPTED != 0 {
            return Err(wrong("a member is encrypted"));
        }
        let head = read(&mut self.file, member.begin, MEMBER_BYTES as u64)?;
        if !head.starts_with(&MEMBER) {
            return Err(wrong("a member is not where the directory says"));
        }
        let skipped = number(&head, 26, 2) + number(&head, 28, 2);
        self.file.seek(SeekFrom::Start(member.begin + MEMBER_BYTES as u64 + skipped))?;
        let packed = BufReader::new((&self.file).take(member.packed));
        let source: Box<dyn Read + '_> = match member.method {
            STORED => Box::new(packed),
            DEFLATED => Box::new(DeflateDecoder::new(packed)),
            other => return Err(wrong(&format!("a member is packed by method {other}, which is not read"))),
        };
        Ok(Content { source, checksum: Hasher::new(), expected: member.checksum })
    }
}

/// The content of a member, as it is read.
pub(crate) struct Content<'a> {
    source: Box<dyn Read + 'a>,
    checksum: Hasher,
    expected: u64,
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let count = self.source.read(buffer)?;
        self.checksum.update(&buffer[..count]);
        if count == 0 && !buffer.is_empty() && u64::from(self.checksum.clone().finalize()) != self.expected {
            return Err(wrong("its checksum does not fit its content"));
        }
        Ok(count)
    }
}

/// The members that a directory lists; places are counted from `before`.
fn members(directory: &[u8], count: u64, before: u64) -> Result<Vec<Member>> {
    let broken = || wrong("its directory is broken");
    let (mut members, mut rest) = (Vec::new(), directory);
    while (members.len() as u64) < count {
        let (row, behind) = rest.split_at_checked(ROW_BYTES).ok_or_else(broken)?;
        if !row.starts_with(&ROW) {
            return Err(broken());
        }
        let (name, behind) = behind.split_at_checked(number(row, 28, 2) as usize).ok_or_else(broken)?;
        let (extra, behind) = behind.split_at_checked(number(row, 30, 2) as usize).ok_or_else(broken)?;
        let (_, behind) = behind.split_at_checked(number(row, 32, 2) as usize).ok_or_else(broken)?;
        rest = behind;
        let mut numbers = [number(row, 24, 4), number(row, 20, 4), number(row, 42, 4)];
        let mut long = long_numbers(extra).chunks_exact(8);
        for place in numbers.iter_mut().filter(|place| **place == ELSEWHERE) {
            // A number may be this one.
            *place = long.next().map_or(*place, |long| number(long, 0, 8));
        }
        let [bytes, packed, begin] = numbers;
        members.push(Member {
            name: name.to_vec(),
            flags: number(row, 8, 2),
            method: number(row, 10, 2),
            checksum: number(row, 16, 4),
            packed,
            bytes,
            begin: begin.checked_add(before).ok_or_else(broken)?,
        });
    }
    Ok(members)
}

/// The content of the extra field that has numbers of 64 bits.
fn long_numbers(mut extra: &[u8]) -> &[u8] {
    while let Some((head, behind)) = extra.split_at_checked(4) {
        let Some((own, rest)) = behind.split_at_checked(number(head, 2, 2) as usize) else { break };
        if number(head, 0, 2) == LONG_NUMBERS {
            return own;
        }
        extra = rest;
    }
    &[]
}

/// So many bytes of a file, in memory that grows with what is there.
fn read(file: &mut File, at: u64, bytes: u64) -> Result<Vec<u8>> {
    let mut found = Vec::new();
    file.seek(SeekFrom::Start(at))?;
    file.take(bytes).read_to_end(&mut found)?;
    if found.len() as u64 == bytes { Ok(found) } else { Err(wrong("it is cut short")) }
}

/// The number at a place, which is inside.
fn number(bytes: &[u8], at: usize, width: usize) -> u64 {
    let mut number = [0; 8];
    number[..width].copy_from_slice(&bytes[at..at + width]);
    u64::from_le_bytes(number)
}

fn wrong(message: &str) -> Error {
    Error::new(ErrorKind::InvalidData, message)
}

/// Writes an archive, from its beginning to its end.
pub(crate) struct Writer<'a> {
    file: &'a mut dyn Write,
    /// Bytes written.
    at: u64,
    directory: Vec<u8>,
    count: u64,
}

impl Writer<'_> {
    pub(crate) fn new(file: &mut dyn Write) -> Writer<'_> {
        Writer { file, at: 0, directory: Vec::new(), count: 0 }
    }

    /// Stores a member whose content is these parts, one behind the other.
    ///
    /// # Errors
    /// A name of more than 65535 bytes; a file that cannot be written.
    pub(crate) fn store(&mut self, name: &str, parts: &[&[u8]]) -> Result<()> {
        if name.len() as u64 > MANY {
            return Err(Error::new(ErrorKind::InvalidInput, "a name is too long"));
        }
        let mut checksum = Hasher::new();
        parts.iter().for_each(|part| checksum.update(part));
        let checksum = u64::from(checksum.finalize());
        let bytes: u64 = parts.iter().map(|part| part.len() as u64).sum();
        let (begin, short) = (self.at, bytes.min(ELSEWHERE));
        let long = |place: u64| if place >= ELSEWHERE { Some(place) } else { None };
        // What a member says of itself, and the directory of it, with the numbers that are elsewhere.
        let about = |numbers: &[u64]| {
            let mut extra = Vec::new();
            if !numbers.is_empty() {
                put(&mut extra, &[(LONG_NUMBERS, 2), (8 * numbers.len() as u64, 2)]);
                numbers.iter().for_each(|&number| put(&mut extra, &[(number, 8)]));
            }
            let version = if numbers.is_empty() { 20 } else { 45 };
            let flags = if name.is_ascii() { 0 } else { UTF8 };
            let mut about = Vec::new();
            put(&mut about, &[(version, 2), (flags, 2), (STORED, 2), (0, 2), (NO_DATE, 2), (checksum, 4)]);
            put(&mut about, &[(short, 4), (short, 4), (name.len() as u64, 2), (extra.len() as u64, 2)]);
            (about, extra)
        };
        let own: Vec<u64> = long(bytes).into_iter().chain(long(bytes)).collect();
        let (head, extra) = about(&own);
        for part in [&MEMBER[..], &head, name.as_bytes(), &extra].iter().chain(parts) {
            self.write(part)?;
        }
        let (row, extra) = about(&own.into_iter().chain(long(begin)).collect::<Vec<_>>());
        self.directory.extend(ROW);
        put(&mut self.directory, &[(MADE_BY, 2)]);
        self.directory.extend(row);
        let rest = [(0, 2), (0, 2), (0, 2), (PERMISSIONS, 4), (begin.min(ELSEWHERE), 4)];
        put(&mut self.directory, &rest);
        self.directory.extend(name.bytes().chain(extra));
        self.count += 1;
        Ok(())
    }

    /// Writes the directory, with a comment of at most 65535 bytes.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn finish(mut self, comment: &str) -> Result<()> {
        let (begin, directory) = (self.at, std::mem::take(&mut self.directory));
        let (count, bytes) = (self.count, directory.len() as u64);
        self.write(&directory)?;
        let mut end = Vec::new();
        if count >= MANY || bytes >= ELSEWHERE || begin >= ELSEWHERE {
            let at = self.at;
            end.extend(LONG_END);
            put(&mut end, &[(LONG_END_BYTES as u64 - 12, 8), (MADE_BY, 2), (45, 2), (0, 4), (0, 4)]);
            put(&mut end, &[(count, 8), (count, 8), (bytes, 8), (begin, 8)]);
            end.extend(LOCATOR);
            put(&mut end, &[(0, 4), (at, 8), (1, 4)]);
        }
        end.extend(END);
        let few = count.min(MANY);
        put(&mut end, &[(0, 2), (0, 2), (few, 2), (few, 2), (bytes.min(ELSEWHERE), 4)]);
        put(&mut end, &[(begin.min(ELSEWHERE), 4), (comment.len() as u64, 2)]);
        end.extend(comment.bytes());
        self.write(&end)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len() as u64;
        self.file.write_all(bytes)
    }
}

/// Appends numbers, each in so many bytes.
fn put(bytes: &mut Vec<u8>, numbers: &[(u64, usize)]) {
    numbers.iter().for_each(|(number, width)| bytes.extend(&number.to_le_bytes()[..*width]));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with these bytes.
    fn file(bytes: &[u8]) -> (File, u64) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        (file, bytes.len() as u64)
    }

    fn open(bytes: &[u8]) -> Result<Archive> {
        let (file, size) = file(bytes);
        Archive::open(file, size)
    }

    /// Names and contents.
    fn all(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>> {
        let mut archive = open(bytes)?;
        let mut found = Vec::new();
        for at in 0..archive.len() {
            let (name, mut content) = (archive.name(at), Vec::new());
            archive.content(at)?.read_to_end(&mut content)?;
            found.push((name, content));
        }
        Ok(found)
    }

    fn written(members: &[(&str, &[u8])], comment: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        members.iter().for_each(|(name, content)| {
            let (first, second) = content.split_at(content.len() / 2);
            writer.store(name, &[first, second]).unwrap();
        });
        writer.finish(comment).unwrap();
        bytes
    }

    const MEMBERS: [(&str, &[u8]); 3] = [("a.npy", b"one two three"), ("ä", b""), ("b", &[7; 1000])];

    fn owned() -> Vec<(String, Vec<u8>)> {
        MEMBERS.map(|(name, content)| (name.to_owned(), content.to_vec())).to_vec()
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = written(&MEMBERS, "by whom");
        assert_eq!(all(&bytes).unwrap(), owned());
        let archive = open(&bytes).unwrap();
        assert_eq!((archive.comment(), archive.bytes(2)), (&b"by whom"[..], 1000));
        assert!(open(&bytes).unwrap().used_twice().is_none());
        // Behind something else, such as a program that unpacks it.
        assert_eq!(all(&[b"before", &bytes[..]].concat()).unwrap(), owned());
        assert!(all(&written(&[], "")).unwrap().is_empty());
        let twice = written(&[("a", b"1"), ("b", b"2"), ("a", b"3")], "");
        assert_eq!(open(&twice).unwrap().used_twice().unwrap(), "a");
        let many: Vec<String> = (0..70_000).map(|number| number.to_string()).collect();
        let members: Vec<(&str, &[u8])> = many.iter().map(|name| (name.as_str(), name.as_bytes())).collect();
        let archive = open(&written(&members, "")).unwrap();
        assert_eq!((archive.len(), archive.name(69_999)), (70_000, "69999".to_owned()));
    }

    /// Numbers of 64 bits, as they stand where members are large: one that does not need them may have them.
    #[test]
    fn numbers_may_be_elsewhere() {
        let mut bytes = written(&[("a", b"12345")], "");
        let row = bytes.windows(4).position(|window| window == ROW).unwrap();
        let mut extra = Vec::new();
        put(&mut extra, &[(0x7075, 2), (1, 2), (9, 1), (LONG_NUMBERS, 2), (24, 2), (5, 8), (5, 8), (0, 8)]);
        bytes[row + 20..row + 28].fill(0xFF);
        bytes[row + 42..row + 46].fill(0xFF);
        bytes[row + 30] = extra.len() as u8;
        let end = bytes.len() - END_BYTES;
        bytes[end + 12] += extra.len() as u8;
        bytes.splice(end..end, extra);
        assert_eq!(all(&bytes).unwrap(), [("a".to_owned(), b"12345".to_vec())]);
    }

    #[test]
    fn damage_is_an_error() {
        let bytes = written(&MEMBERS, "");
        for length in 0..bytes.len() {
            assert!(open(&bytes[..length]).is_err(), "{length} bytes");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            // Not always an error: dates, versions and permissions are of no meaning here.
            let _ = all(&changed);
        }
        let mut changed = bytes.clone();
        changed[MEMBER_BYTES + 5] ^= 1;
        assert!(all(&changed).unwrap_err().to_string().contains("checksum"));
        let mut encrypted = bytes.clone();
        let row = encrypted.windows(4).position(|window| window == ROW).unwrap();
        encrypted[row + 8] |= 1;
        assert!(all(&encrypted).unwrap_err().to_string().contains("encrypted"));
        let mut packed = bytes;
        packed[row + 10] = 12;
        assert!(all(&packed).unwrap_err().to_string().contains("method 12"));
    }
}
