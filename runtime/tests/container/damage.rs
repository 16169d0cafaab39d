//! Damaged, foreign and hostile files. Many more random ones are tried where memory is counted: `allocation.rs`.

use super::folder;
use crate::common::container::{code_for_both, runs_here, sample, state};
use crate::common::mutate::mutated;
use crate::common::repair::{manifest, number, put, repair, rows, with_manifest};
use brolga_runtime::container::format::{
    ALIGNMENT_FIELD, BYTES_FIELD, CHECKSUM_FIELD, Field, HEADER, KIND_FIELD, Kind, LENGTH_FIELD,
    OFFSET_FIELD, RESERVED_FIELD, ROW, SEAL_FIELD, VERSION, VERSION_FIELD,
};
use brolga_runtime::container::{About, Container, Contents, Parts, Values, open};
use brolga_runtime::*;

/// The error of a container that is refused.
fn refused(bytes: &[u8]) -> String {
    let error = Container::of_bytes(bytes).expect_err("it is refused").to_string();
    assert!(!error.contains(|c: char| c.is_control() && c != '\n'), "{error:?}");
    error
}

/// The fields of the header and of all rows, with the beginning of what they belong to.
fn fields(bytes: &[u8]) -> Vec<(usize, Field)> {
    let header = HEADER.iter().map(|field| (0, *field));
    let rows = rows(bytes).into_iter().flat_map(|row| ROW.iter().map(move |field| (row, *field)));
    header.chain(rows).collect()
}

/// Whether a file may keep the rules when this field has another number and checksums are repaired: checksums, and the length of
/// code, which may end in zeros.
fn may_change(bytes: &[u8], start: usize, field: Field) -> bool {
    let of_code = start > 0 && number(bytes, start, KIND_FIELD) == Kind::Code as u64;
    [SEAL_FIELD, CHECKSUM_FIELD].contains(&field) || of_code && field == BYTES_FIELD
}

/// Each byte of header and table, with each other value: refused, also where checksums fit.
#[test]
fn no_byte_of_the_header_can_be_changed() {
    let whole = sample();
    for (start, field) in fields(&whole) {
        for at in start + field.offset..start + field.offset + field.bytes {
            for value in (0..=255).filter(|value| *value != whole[at]) {
                let mut bytes = whole.clone();
                bytes[at] = value;
                refused(&bytes);
                repair(&mut bytes);
                let read = Container::of_bytes(&bytes);
                assert!(read.is_err() || may_change(&whole, start, field), "{} at {at}: {value}", field.name);
            }
        }
    }
}

/// Numbers at which arithmetic goes wrong, in each field, checksums repaired.
#[test]
fn hostile_numbers_are_refused() {
    let whole = sample();
    let near = |n: u64| [n.wrapping_sub(1), n, n.wrapping_add(1)];
    let sizes = [0, 64, 4096, whole.len() as u64, 1 << 31, 1 << 32, 1 << 63, u64::MAX - 4096, u64::MAX];
    for (start, field) in fields(&whole) {
        for value in sizes.into_iter().flat_map(near) {
            let mut bytes = whole.clone();
            put(&mut bytes, start, field, value);
            let same = number(&bytes, start, field) == number(&whole, start, field);
            repair(&mut bytes);
            let read = Container::of_bytes(&bytes);
            assert!(read.is_err() || same || may_change(&whole, start, field), "{}: {value}", field.name);
        }
    }
}

/// Two fields at once, as an attacker would: sections that reach over each other or out of the file.
#[test]
fn sections_keep_to_their_places() {
    let whole = sample();
    let rows = rows(&whole);
    for &row in &rows {
        for other in &rows {
            let mut bytes = whole.clone();
            for field in [OFFSET_FIELD, BYTES_FIELD] {
                put(&mut bytes, row, field, number(&whole, *other, field));
            }
            repair(&mut bytes);
            assert_eq!(Container::of_bytes(&bytes).is_ok(), row == *other);
            put(&mut bytes, row, KIND_FIELD, number(&whole, *other, KIND_FIELD));
            repair(&mut bytes);
            assert_eq!(Container::of_bytes(&bytes).is_ok(), row == *other);
        }
    }
    let place = |field: Field, value: u64, why: &str| {
        let mut bytes = whole.clone();
        put(&mut bytes, rows[4], field, value);
        repair(&mut bytes);
        let error = refused(&bytes);
        assert!(error.contains(why), "{why}: {error}");
    };
    let (offset, end) = (number(&whole, rows[4], OFFSET_FIELD), whole.len() as u64);
    place(OFFSET_FIELD, offset - 64, "inside of what is before it");
    place(OFFSET_FIELD, offset + 1, "no multiple of 64");
    place(OFFSET_FIELD, end - 1, "end behind the file");
    place(BYTES_FIELD, u64::MAX, "end behind the file");
    place(BYTES_FIELD, 0, "has no bytes");
    place(ALIGNMENT_FIELD, 128, "weights cannot be aligned to 128 bytes");
    place(KIND_FIELD, 9, "there is no kind 9");
    place(KIND_FIELD, 1, "manifest cannot follow constants");
    place(RESERVED_FIELD, 1, "reserved");
}

/// Every byte counts, those between the sections too.
#[test]
fn no_byte_of_the_file_can_be_changed() {
    let mut bytes = sample();
    for at in 0..bytes.len() {
        bytes[at] ^= 1 << (at % 8);
        refused(&bytes);
        bytes[at] ^= 1 << (at % 8);
    }
    Container::of_bytes(&bytes).expect("it is whole again");
}

#[test]
fn files_that_were_cut_are_refused() {
    let whole = sample();
    for length in 0..whole.len() {
        let error = refused(&whole[..length]);
        assert!(length == 0 || error.contains("cut short"), "{length}: {error}");
    }
    let error = refused(&[&whole[..], b"x"].concat());
    assert!(error.contains("1 bytes follow"), "{error}");
    for length in [0, 1, 8, 31, 32, 100, 300, 5000, whole.len() - 1] {
        let (_folder, path) = folder(&whole[..length]);
        assert!(Container::read(&path).is_err());
        // SAFETY: nothing of it runs.
        assert!(unsafe { open(&path) }.is_err(), "{length}");
    }
}

#[test]
fn other_versions_are_told() {
    for (version, why) in [
        (u64::from(VERSION) + 1, "a newer version"),
        (u64::from(VERSION) - 1, "build it again"),
        (1, "build it again"),
        (0, "build it again"),
        (0x0A1A_0A0D, "a newer version"),
    ] {
        let mut bytes = sample();
        put(&mut bytes, 0, VERSION_FIELD, version);
        // Whatever follows: its layout is not known.
        bytes[40..].fill(7);
        let error = refused(&bytes);
        let says = format!("version {version} of the format, and version {VERSION} is read");
        assert!(error.contains(&says) && error.contains(why), "{error}");
    }
}

#[test]
fn foreign_files_are_known() {
    let cases: [(&[u8], &str); 6] = [
        (b"", "an empty file"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a PNG image"),
        (b"\x7fELF\x02\x01\x01\0", "an object file"),
        (b"\x10\0\0\0\0\0\0\0{\"a\":", "a safetensors file"),
        (b"Model(\n", "a model in RON"),
        (&[0xFF; 5000], "of a kind that is not known"),
    ];
    for (bytes, what) in cases {
        let error = refused(bytes);
        assert!(error.contains(&format!("it is {what}, not a compiled model")), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Container::read(folder.path()).unwrap_err().kind(), ErrorKind::Io);
    // SAFETY: nothing of it runs.
    assert_eq!(unsafe { open(folder.path().join("none")) }.unwrap_err().kind(), ErrorKind::Io);
    // Who wants something else is told what it is.
    assert_eq!(Content::of_bytes(&sample()), Content::Container);
}

/// The contents of the sample, to be changed.
fn contents(whole: &[u8]) -> Contents {
    Container::of_bytes(whole).unwrap().contents().clone()
}

/// Manifests that say what is wrong, checksums repaired.
#[test]
fn manifests_are_not_believed() {
    let whole = sample();
    let refuse = |change: &dyn Fn(&mut Contents), why: &str| {
        let mut changed = contents(&whole);
        change(&mut changed);
        let error = refused(&with_manifest(&whole, &changed.to_bytes()).expect("there is room"));
        assert!(error.contains(why), "{why}: {error}");
    };
    let huge = usize::MAX;
    refuse(&|c| c.entries.clear(), "no entry point");
    refuse(&|c| c.entries[0].numerics = 5, "numerics version 5");
    refuse(&|c| c.state[1].name = "w".into(), "`w` twice");
    refuse(&|c| c.state[1].name = "fl\nags".into(), "control characters");
    refuse(&|c| c.state[0].name = "v".into(), "no such slot");
    refuse(&|c| c.state[0].dtype = DType::F32, "needs `w`: i32[], but the state of the file has f32[]");
    refuse(&|c| c.entries[0].constants_bytes = 8, "8 bytes of constants");
    refuse(&|c| c.entries[0].prepared_bytes = huge, "of prepared values, but the file has 4");
    refuse(&|c| c.entries[0].prepared_bytes = 5, "5 bytes of prepared values, but the file has 4");
    refuse(&|c| c.state[1].at = Some(65), "at byte 65, but its place is at byte 64");
    refuse(&|c| c.state[1].at = Some(0), "at byte 0, but its place is at byte 64");
    refuse(&|c| c.state[1].at = Some(huge), "but its place is at byte 64");
    refuse(&|c| c.state[1].at = None, "bytes of weights, but the file has");
    refuse(&|c| c.state[2].dims = vec![huge, huge], "larger than the memory");
    refuse(&|c| c.state[2].dims = vec![1; 65], "65 dimensions, of 64 at most");
    refuse(&|c| c.entries[0].inputs[0].dims = vec![1; 65], "65 dimensions, of 64 at most");
    refuse(
        &|c| c.entries[0].inputs[0].samples = Samples::Along(huge),
        "`x` has some samples along axis 1844",
    );
    let batches = |c: &mut Contents| {
        c.entries[0].inputs[0].samples = Samples::Along(0);
        c.entries[0].inputs[0].dims = vec![2];
        c.entries[0].outputs[0].samples = Samples::Along(1);
        c.entries[0].outputs[0].dims = vec![2, 3];
    };
    refuse(&batches, "`y` has 2 samples along axis 1, but its dimensions are [2, 3]");
    refuse(&|c| c.code[0].functions[0].entry = huge - 15, "cannot begin at byte 18446744073709551600");
    refuse(&|c| c.code[0].functions[1].entry = 130, "cannot begin at byte 130");
    refuse(&|c| c.code[0].functions[0].prepare = None, "nothing that prepares them");
    refuse(&|c| c.code[1].processor.architecture = "x86_64".into(), "there twice");
    refuse(&|c| c.code[0].processor.convention = "a\u{7}".into(), "are no words");
    refuse(&|c| c.code[0].processor.features = vec![String::new()], "are no words");
    refuse(&|c| c.code.truncate(1), "1 pieces of code, but the file has 2");
    refuse(&|c| c.prepared.truncate(1), "prepared values of 1 entries");
}

/// Bytes that are no manifest, checksums repaired.
#[test]
fn bytes_of_manifests_are_not_believed() {
    let whole = sample();
    let right = manifest(&whole);
    assert_eq!(contents(&whole).to_bytes(), right);
    let refuse = |bytes: &[u8], why: &str| {
        let error = refused(&with_manifest(&whole, bytes).expect("there is room"));
        assert!(error.contains(why), "{why}: {error}");
    };
    for end in 1..right.len() {
        refuse(&right[..end], "its manifest cannot be read");
    }
    refuse(&[right, b"x"].concat(), "1 bytes follow what belongs to it");
    let change = |at: usize, with: &[u8], why: &str| {
        let mut changed = right.to_vec();
        changed[at..at + with.len()].copy_from_slice(with);
        refuse(&changed, why);
    };
    // The name of the model: its length, its first letter.
    for length in [u64::MAX, 1 << 63, 1 << 40, 1 << 32, right.len() as u64 - 7] {
        change(0, &length.to_le_bytes(), "`model`: it ends before all");
    }
    change(8, b"\xff", "`model`: it is not UTF-8");
    // The first input, behind its type, its dimensions (none) and its range (none): its samples.
    let x = right.windows(9).position(|bytes| bytes == b"\x01\0\0\0\0\0\0\0x").unwrap();
    change(x + 19, &[3], "`samples`: there is no kind of samples 3");
    // The second slot of the state: its type, its only dimension, its kind, and whether it is kept.
    let name = right.windows(5).rposition(|bytes| bytes == b"flags").unwrap();
    let slot = name + 5;
    change(slot, &[6], "`state`: number 1: `dtype`: there is no element type 6");
    change(slot + 1, &[0xFF; 8], "`dims`: it ends before all");
    change(slot + 17, &[7], "there is no kind 7");
    change(slot + 18, &[2], "2 is neither 0 nor 1");
}

/// Lists that take more memory than the file has bytes are refused before they are made; what is written is never so.
#[test]
fn manifests_take_no_more_memory_than_the_file() {
    let (code, state, values) = (code_for_both(), state(), Values::None);
    let about = About { classes: vec![String::new(); 10_000], ..About::default() };
    let parts = Parts { model: "m", code: &code, state: &state, values, prepared: &[], about: Some(&about) };
    let bytes = parts.to_bytes().unwrap();
    let container = Container::of_bytes(&bytes).unwrap();
    assert_eq!(container.contents().about, about);
    // Without the zeros that the code of it ends in.
    let [first, last] = [1, 2].map(|at| container.sections()[at]);
    assert!(last.bytes > 200_000, "{} bytes", last.bytes);
    let mut short = bytes;
    let end = (last.offset + first.bytes) as usize;
    let constants = number(&short, rows(&short)[3], BYTES_FIELD);
    let behind = end.next_multiple_of(4096);
    let tail = short.split_off(container.sections()[3].offset as usize);
    short.truncate(end);
    short.resize(behind, 0);
    short.extend(&tail[..constants as usize]);
    let (rows, length) = (rows(&short), short.len() as u64);
    put(&mut short, rows[2], BYTES_FIELD, end as u64 - last.offset);
    put(&mut short, rows[3], OFFSET_FIELD, behind as u64);
    put(&mut short, 0, LENGTH_FIELD, length);
    repair(&mut short);
    let error = refused(&short);
    assert!(
        error.contains("`about`: `classes`: it would take more memory than the file has bytes"),
        "{error}"
    );
}

/// Whatever is changed, checksums repaired: a container that keeps the rules, or an error. Some of the first kind are mapped.
#[test]
fn random_damage() {
    let cases = 3000;
    let (whole, mut random) = (sample(), Random::new(17, Purpose::Split, 0, 0));
    let mut accepted = 0;
    for case in 0..cases {
        let bytes = mutated(&whole, &mut random);
        let Ok(container) = Container::of_bytes(&bytes) else { continue };
        accepted += 1;
        for section in container.sections() {
            assert!(section.offset + section.bytes <= bytes.len() as u64, "case {case}");
        }
        // Opening makes the state, whose author is trusted.
        let mut state =
            container.contents().state.iter().map(|slot| byte_len(slot.dtype, &slot.dims).unwrap());
        if accepted % 64 == 1 && runs_here() && state.all(|bytes| bytes < 1 << 20) {
            let (_folder, path) = folder(&bytes);
            // SAFETY: nothing of it runs.
            drop(unsafe { open(&path) });
        }
    }
    println!("{cases} files, of which {accepted} keep the rules");
    assert!(accepted > 0 && accepted < cases, "{accepted} of {cases}");
}
