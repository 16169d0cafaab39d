//! Parts that contradict each other are not written; and the format is the one of its documentation.

use crate::common::container::{PREPARED, aarch64, code, code_for_both, sample, state, x86_64};
use brolga_runtime::container::format::{Field, HEADER, HEADER_BYTES, ROW, ROW_BYTES, VERSION};
use brolga_runtime::container::{Code, Kind, Parts, Record, Values, records};
use brolga_runtime::*;

/// Writing such parts fails; the message.
fn refused(code: &Code, state: &State, values: Values, prepared: &[Option<&[u8]>]) -> String {
    let parts = Parts { model: "sample", code, state, values, prepared, about: None };
    let error = parts.to_bytes().unwrap_err().to_string();
    assert!(error.starts_with("the container of `sample`: "), "{error}");
    error
}

#[test]
fn parts_must_fit_each_other() {
    let (good, state) = (code_for_both(), state());
    let prepared = Some(&PREPARED[..]);
    let refuse = |change: &dyn Fn(&mut Code), why: &str| {
        let mut code = good.clone();
        change(&mut code);
        let error = refused(&code, &state, Values::Weights, &[]);
        assert!(error.contains(why), "{why}: {error}");
    };
    refuse(&|code| code.entries.clear(), "it has no entry point");
    refuse(&|code| code.entries[1].entry = "infer".into(), "two entry points `infer`");
    refuse(&|code| code.entries[1].entry = "a\nb".into(), "control characters");
    refuse(&|code| code.entries[1].numerics = 7, "is of numerics version 7, but the file is of 6");
    refuse(&|code| code.entries[0].cpu_features.push("fma".into()), "asks for processor features");
    refuse(&|code| code.entries[0].local_bytes = 3, "local memory");
    refuse(&|code| code.entries[1].state[0].dims.push(2), "but the state of the file has i32[]");
    refuse(&|code| code.entries[1].state[0].name = "v".into(), "has no such slot");
    refuse(&|code| code.entries[1].prepared_bytes = 4, "nothing that prepares them");
    refuse(&|code| code.constants.push(0), "4 bytes of constants, but the file has 5");
    refuse(&|code| code.pieces.clear(), "it has no code");
    refuse(&|code| code.pieces[0].bytes.clear(), "2 pieces of code, but the file has 1");
    refuse(&|code| code.pieces[0].alignment = 64, "code cannot be aligned to 64 bytes");
    refuse(&|code| code.pieces[0].piece.functions[0].entry = 192, "cannot begin at byte 192 of");
    refuse(&|code| code.pieces[0].piece.functions[0].prepare = Some(8), "cannot begin at byte 8 of");
    refuse(&|code| code.pieces[0].piece.functions.truncate(1), "functions of 1 entries, but there are 2");
    refuse(&|code| code.pieces.push(aarch64(&[])), "code for aarch64 (system_v): it is there twice");
    let many = (0..40).map(|n| x86_64(&[format!("f{n}").as_str()])).collect();
    assert!(refused(&code(many), &state, Values::None, &[]).contains("it would have 42 sections"));
    for (values, prepared, why) in [
        (Values::None, vec![prepared, None], "made of `w`, whose value is not in the file"),
        (Values::Weights, vec![prepared], "prepared values of 1 entries were given"),
        (Values::Weights, vec![Some(&PREPARED[..3]), None], "`infer` prepares 4 bytes, and 3 were given"),
        (Values::Weights, vec![None, Some(&PREPARED[..0])], "there are none to be kept"),
    ] {
        let error = refused(&good, &state, values, &prepared);
        assert!(error.contains(why), "{why}: {error}");
    }
}

/// Fields follow each other, and fill the header and a row.
#[test]
fn fields_fill_their_records() {
    for (fields, bytes) in [(&HEADER[..], HEADER_BYTES), (&ROW[..], ROW_BYTES)] {
        let end = fields.iter().fold(0, |end, field| {
            assert_eq!(field.offset, end, "{}", field.name);
            end + field.bytes
        });
        assert_eq!(end, bytes);
    }
}

/// The tables of the documentation are those of the format.
#[test]
fn the_format_is_documented() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/container.md");
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(&format!("version {VERSION}")), "the version");
    let (header, row) = text.split_once("## The table").unwrap();
    for (text, fields) in [(header, &HEADER[..]), (row, &ROW[..])] {
        for Field { name, offset, bytes } in fields {
            let cells = format!("| {offset} | {bytes} | `{name}` |");
            assert!(text.contains(&cells), "no row begins with {cells}");
        }
    }
    for kind in Kind::ALL {
        let cells = format!("| {} | {} |", kind as u32, kind.name());
        assert!(row.contains(&cells), "no row begins with {cells}");
    }
    let (_, manifest) = text.split_once("## The manifest").unwrap();
    for Record { name, fields } in records() {
        let (_, table) =
            manifest.split_once(&format!("\n### {name}\n")).unwrap_or_else(|| panic!("no {name}"));
        let table = table.split("\n#").next().unwrap();
        let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
        let rows: Vec<_> = rows.map(|(field, rest)| (field, rest.split(" | ").next().unwrap())).collect();
        let fields: Vec<_> = fields.iter().map(|(field, of)| (*field, of.as_str())).collect();
        assert_eq!(rows, fields, "{name}");
    }
    let choices = DType::ALL.iter().enumerate().map(|(at, dtype)| format!("{at} {dtype}"));
    assert!(manifest.contains(&choices.collect::<Vec<_>>().join(", ")));
}

/// The seeds of the fuzz target are containers of this version; `BROLGA_BLESS=1` writes them.
#[test]
fn seeds_are_of_this_version() {
    let (one, state) = (code(vec![x86_64(&[])]), state());
    let parts =
        Parts { model: "m", code: &one, state: &state, values: Values::None, prepared: &[], about: None };
    for (name, bytes) in [("whole", sample()), ("bare", parts.to_bytes().unwrap())] {
        let path = format!("{}/../fuzz/seeds/container/{name}.brolga", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("BROLGA_BLESS").is_some() {
            std::fs::write(&path, &bytes).unwrap();
        }
        assert!(std::fs::read(&path).unwrap() == bytes, "{path} is another one");
    }
}
