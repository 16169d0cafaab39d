//! Tables: CSV files.

use super::*;

const HOUSES: &str =
    "rooms;\"living; area\";kind;price\r\n3;80.5;flat;\"1\"\r\n\r\n5;120;house;2.5e0\r\n1; 30 ;flat;.5\r\n";

fn write(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("houses.csv");
    fs::write(&path, text).unwrap();
    (folder, path)
}

fn all() -> Options {
    Options { held_out: HeldOut::All, ..RAW }
}

#[test]
fn columns_fill_inputs_by_name() {
    let (_folder, path) = write(HOUSES);
    let fields = [field("x", DType::F32, &[2]), field("kind", DType::I32, &[]), field("y", DType::F32, &[])];
    let options = Options { target: Some("price".into()), ..all() };
    let mut data = open(&path, &fields, &options).unwrap();
    assert_eq!(lengths(&*data), (0, 3));
    assert_eq!(floats(&mut *data, Split::Validation, &[0, 1, 2]), [3.0, 80.5, 5.0, 120.0, 1.0, 30.0]);
    assert_eq!(classes(&mut *data, Split::Validation, &[0, 1, 2]), [0, 1, 0]);
    let price = fill(&mut *data, Split::Validation, &[0, 1, 2], 2);
    assert_eq!(price.as_slice::<f32>().unwrap(), [1.0, 2.5, 0.5]);
    assert_eq!(data.classes(), ["flat", "house"]);
    assert_eq!(data.columns(), ["rooms", "living; area"]);
    assert_eq!(data.name(Split::Validation, 1), "line 4");
    assert_eq!(data.place(Split::Validation, 1), "line 4");

    // In an order of one's own, for numbers alone, and classes as somebody else numbered them.
    let options = Options {
        columns: vec!["price".into(), "rooms".into()],
        classes: vec!["house".into(), "flat".into()],
        ..all()
    };
    let fields = [field("x", DType::F64, &[2, 1]), field("kind", DType::I64, &[])];
    let mut data = open(&path, &fields, &options).unwrap();
    let x = fill(&mut *data, Split::Validation, &[1], 0);
    assert_eq!(x.as_slice::<f64>().unwrap(), [2.5, 5.0]);
    let kind = fill(&mut *data, Split::Validation, &[0, 1], 1);
    assert_eq!(kind.as_slice::<i64>().unwrap(), [1, 0]);
}

#[test]
fn a_fifth_is_held_out_and_may_be_stratified() {
    let rows: String = (0..50).map(|i| format!("{i},{}\n", if i < 40 { "a" } else { "b" })).collect();
    let (_folder, path) = write(&format!("x,label\n{rows}"));
    let fields = [field("x", DType::F32, &[]), field("label", DType::I32, &[])];
    let data = open(&path, &fields, &RAW).unwrap();
    assert_eq!(lengths(&*data), (40, 10));
    let held_out = HeldOut::Fraction { fraction: 0.1, stratified: true };
    let mut data = open(&path, &fields, &Options { held_out, ..RAW }).unwrap();
    assert_eq!(lengths(&*data), (45, 5));
    let labels = classes(&mut *data, Split::Validation, &[0, 1, 2, 3, 4]);
    assert_eq!(labels, [0, 0, 0, 0, 1]);
}

#[test]
fn broken_tables_are_refused() {
    let fields = || vec![field("x", DType::F32, &[2]), field("y", DType::F32, &[])];
    let target = || Options { target: Some("c".into()), ..all() };
    let cases: [(&str, ErrorKind, &str); 16] = [
        ("", ErrorKind::Format, "the table is empty"),
        ("a,b,c\n", ErrorKind::Format, "the table has no rows"),
        ("a,b,c\n1,2,3\n4,5", ErrorKind::Format, "line 3 has 2 values, but there are 3 columns"),
        ("a,b,c\n1,2,3\n4,5,6,7\n", ErrorKind::Format, "line 3 has 4 values"),
        ("a,b,c\n1,2,\n", ErrorKind::Format, "line 2: the value of `c` is missing"),
        ("a,b,c\n1,NA,3\n", ErrorKind::Format, "line 2: the value of `b` is missing (`NA`)"),
        ("a,b,c\n1,two,3\n", ErrorKind::Format, "line 2: `two` in the column `b` is no number"),
        ("a,b,c\n1,inf,3\n", ErrorKind::Format, "line 2: `inf` in the column `b` is no number"),
        ("1,2,3\n4,5,6\n", ErrorKind::Format, "the first line must name the columns"),
        ("a,a,c\n1,2,3\n", ErrorKind::Format, "a name of its own"),
        ("a,,c\n1,2,3\n", ErrorKind::Format, "a name of its own"),
        ("a,b,c\n1,\"2,3\n", ErrorKind::Format, "line 2: a quote is never closed"),
        ("a,b,c\n1,\"2\"x,3\n", ErrorKind::Format, "something follows behind a closing quote"),
        ("a,b\n1,2\n", ErrorKind::Data, "has no column `c`; it has a, b"),
        ("a,b,c,d\n1,2,3,4\n", ErrorKind::Data, "takes 2 numbers a sample, but there are 3 columns"),
        ("\"a\n\",b,c\n1,2,oops\n", ErrorKind::Format, "line 3: `oops`"),
    ];
    for (text, kind, message) in cases {
        let (_folder, path) = write(text);
        let error = open(&path, &fields(), &target()).err().unwrap_or_else(|| panic!("{text:?}"));
        says(&error, kind, &[message]);
    }
    let (_folder, path) = write("a,b,c\n1,2,3\n");
    let error = open(&path, &fields(), &all()).err().unwrap();
    says(&error, ErrorKind::Data, &["no column is named `y`", "--target", "a, b, c"]);
    let (_folder, path) = write("a,b,label\n1,2,ant\n3,4,bee\n");
    let fields = [field("x", DType::F32, &[2]), field("label", DType::I32, &[])];
    let options = Options { classes: vec!["ant".into()], ..all() };
    let error = open(&path, &fields, &options).err().unwrap();
    says(&error, ErrorKind::Format, &["line 3: `bee` is none of the classes"]);
    fs::write(&path, b"a,b\n\xff,2\n").unwrap();
    says(&refused(&path, &fields), ErrorKind::Format, &["byte 4 is not UTF-8"]);
}
