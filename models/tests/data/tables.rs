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
    // The input that the model begins with is no target, whichever column is that.
    let single = [field("x", DType::F32, &[]), field("c", DType::F32, &[])];
    for options in [all(), target()] {
        let error = open(&path, &single, &options).err().unwrap();
        says(&error, ErrorKind::Data, &["no column is named `x`, which is an input of the model", "a, b, c"]);
        assert!(!error.to_string().contains("--target"), "{error}");
    }
    let (_folder, path) = write("a,b,label\n1,2,ant\n3,4,bee\n");
    let fields = [field("x", DType::F32, &[2]), field("label", DType::I32, &[])];
    let options = Options { classes: vec!["ant".into()], ..all() };
    let error = open(&path, &fields, &options).err().unwrap();
    says(&error, ErrorKind::Format, &["line 3: `bee` is none of the classes"]);
    // Texts of the input that a model begins with are a vocabulary, not classes.
    let (_folder, path) = write("word,y\nant,1\nbee,2\n");
    let fields = [field("word", DType::I32, &[]), field("y", DType::F32, &[])];
    let data = open(&path, &fields, &all()).unwrap();
    assert!(data.classes().is_empty());
    assert_eq!(data.vocabularies(), [("word".to_owned(), vec!["ant".to_owned(), "bee".to_owned()])]);
    let options = Options { vocabularies: vec![("word".into(), vec!["ant".into()])], ..all() };
    for fields in [&fields[..], &fields[..1]] {
        let error = open(&path, fields, &options).err().unwrap();
        says(&error, ErrorKind::Format, &["line 3: `bee` is none of what is known of `word`"]);
    }
    // A fraction among whole numbers does not make texts of them.
    for (text, line) in [
        ("y\n1\n0.5\n1\n2\n2\n", Some("line 3: `0.5`")),
        ("y\n2.0\n1\n", Some("line 2: `2.0`")),
        ("y\n1\n2\n", None),
        ("y\n1.0\n2.5\n", None),
        ("y\n1\n0.5\nbee\n", None),
    ] {
        let (_folder, path) = write(text);
        let found = open(&path, &[field("y", DType::I32, &[])], &all()).err();
        assert_eq!(found.is_some(), line.is_some(), "{text}");
        if let (Some(error), Some(line)) = (found, line) {
            says(&error, ErrorKind::Format, &[line, "in the column `y` is no whole number", "f32[batch]"]);
        }
    }
    fs::write(&path, b"a,b\n\xff,2\n").unwrap();
    says(&refused(&path, &fields), ErrorKind::Format, &["byte 4 is not UTF-8"]);
}

/// A target is a column, and one that an input takes; only where nothing is compared with it may it be missing.
#[test]
fn a_target_is_used() {
    let (_folder, path) = write("a,b,y,z\n1,2,3,4\n");
    let columns = || vec!["a".to_owned(), "b".to_owned()];
    let options = |target: &str| Options { target: Some(target.into()), columns: columns(), ..all() };
    let x = field("x", DType::F32, &[2]);
    let named = [x.clone(), field("y", DType::F32, &[])];
    let other = [x.clone(), field("t", DType::F32, &[])];
    for (fields, target, message) in [
        (&named[..], "nothere", "has no column `nothere`"),
        (
            &named[..],
            "z",
            "the target `z` is not used: all inputs of one number a sample have columns of their own names (y)",
        ),
        (&other[..], "nothere", "has no column `nothere`"),
        (&named[..1], "z", "the target `z` is not used"),
    ] {
        let error = open(&path, fields, &options(target)).err().unwrap_or_else(|| panic!("{target}"));
        says(&error, ErrorKind::Data, &[message]);
    }
    open(&path, &named, &options("y")).unwrap();
    open(&path, &other, &options("z")).unwrap();
    let unlabelled = Options { unlabelled: true, ..options("nothere") };
    open(&path, &named[..1], &unlabelled).unwrap();
}

/// The same data have the same checksum, whatever of them is read and in which types.
#[test]
fn checksums_are_those_of_the_data() {
    let (folder, path) = write("a,b,y\n1,2,3\n4,5,6\n");
    let x = |dtype| field("x", dtype, &[2]);
    let y = |dtype| field("y", dtype, &[]);
    let columns = || Options { columns: vec!["a".into(), "b".into()], ..all() };
    let arrays = folder.path().join("arrays.npz");
    let (a, b) =
        (Tensor::from_slice(&[2, 2], &[1f32, 2.0, 4.0, 5.0]), Tensor::from_slice(&[2], &[3f32, 6.0]));
    let (a, b) = (a.unwrap(), b.unwrap());
    brolga_runtime::write_tensors(&arrays, &[("x", a.view()), ("y", b.view())]).unwrap();
    for file in [&path, &arrays] {
        let sum = |fields: &[Field]| open(file, fields, &columns()).unwrap().checksum().unwrap();
        let whole = sum(&[x(DType::F32), y(DType::F32)]);
        assert_eq!(sum(&[x(DType::F64), y(DType::F64)]), whole);
        assert_eq!(sum(&[x(DType::F32)]), whole);
    }
    fs::write(&path, "a,b,y\n1,2,3\n4,5,7\n").unwrap();
    let changed = open(&path, &[x(DType::F32)], &columns()).unwrap().checksum();
    assert_ne!(changed, open(&arrays, &[x(DType::F32)], &all()).unwrap().checksum());
}

/// How a part is held out is said in words that are read back.
#[test]
fn rules_are_read_back() {
    let rules = [HeldOut::Default, HeldOut::Test, HeldOut::All];
    let drawn = [false, true].into_iter().flat_map(|stratified| {
        [
            HeldOut::Fraction { fraction: 0.1, stratified },
            HeldOut::Fraction { fraction: 1.0 / 3.0, stratified },
            HeldOut::Fold { number: 0, of: 5, stratified },
            HeldOut::Fold { number: 999, of: 1000, stratified },
        ]
    });
    for rule in rules.into_iter().chain(drawn) {
        assert_eq!(rule.to_string().parse::<HeldOut>().unwrap(), rule, "{rule}");
    }
    assert!("fold 0 of 5".parse::<HeldOut>().is_err() && "half".parse::<HeldOut>().is_err());
}

/// Lines may end as on any system, inside of quotes as well.
#[test]
fn lines_end_in_any_way() {
    let fields = [field("x", DType::F32, &[2]), field("kind", DType::I32, &[]), field("y", DType::F32, &[])];
    let options = Options { target: Some("price".into()), ..all() };
    for end in ["\n", "\r\n", "\r"] {
        let text = HOUSES.replace("flat", &format!("\"a{end}flat\"")).replace("\r\n", end);
        for text in [text.clone(), text.trim_end().to_owned()] {
            let (_folder, path) = write(&text);
            let mut data = open(&path, &fields, &options).unwrap();
            let found = floats(&mut *data, Split::Validation, &[0, 1, 2]);
            assert_eq!(found, [3.0, 80.5, 5.0, 120.0, 1.0, 30.0], "{text:?}");
            let names: Vec<String> = (0..3).map(|i| data.name(Split::Validation, i)).collect();
            assert_eq!(names, ["line 2", "line 5", "line 6"], "{text:?}");
            assert_eq!(data.classes()[0], format!("a{end}flat"));
        }
    }
}

/// Numbers that the input cannot hold, and decimal commas, are called what they are.
#[test]
fn numbers_are_called_what_they_are() {
    let of = |dtype, text: &str| {
        let (_folder, path) = write(&format!("a;c\n{text};1\n"));
        let fields = [field("a", dtype, &[]), field("c", DType::F32, &[])];
        open(&path, &fields, &all()).err().map(|error| error.to_string()).unwrap_or_default()
    };
    for text in ["1e39", "-4e38"] {
        let error = of(DType::F32, text);
        let why = format!(
            "line 2: `{text}` in the column `a` is too large for f32; with --precision f64 it is read"
        );
        assert!(error.contains(&why), "{error}");
        assert_eq!(of(DType::F64, text), "");
    }
    for dtype in [DType::F32, DType::F64] {
        assert!(of(dtype, "1e400").contains("too large for a float of 64 bits"));
        for text in ["1,5", "-0,25", "\"1,5e3\""] {
            assert!(of(dtype, text).contains("decimals are written with a point"), "{text}");
        }
        for text in ["1,2,3", "a,b", ","] {
            let error = of(dtype, text);
            assert!(error.contains("is no number; texts are for an input"), "{text}: {error}");
        }
        for text in ["3e38", "1e-60", "-1.5"] {
            assert_eq!(of(dtype, text), "");
        }
    }
}

/// However long a line is, and whatever is in it, a message about it is a few lines of text.
#[test]
fn messages_about_tables_are_short() {
    let names = |count: usize| (0..count).map(|at| format!("c{at}")).collect::<Vec<_>>().join(",");
    let long = "x".repeat(100_000);
    let many = 10_000;
    let ones = |count: usize| vec!["1"; count].join(",");
    let fields = [field("x", DType::F32, &[2]), field("y", DType::F32, &[])];
    let target = |name: &str| Options { target: Some(name.into()), ..all() };
    let classes: String = (0..2000).map(|at| format!("1,2,k{at}\n")).collect();
    let mut labels = Options { classes: (0..2000).map(|at| format!("k{at}")).collect(), ..all() };
    labels.target = Some("y".into());
    let cases = [
        (format!("{},7\n", names(many)), all()),
        (format!("{}\n{}\n", names(many), ones(many)), all()),
        (format!("{}\n{}\n", names(many), ones(many)), target("c1")),
        (format!("{}\n{}\n", names(many), ones(many)), target("none")),
        (format!("a,b,y\n1,{long},2\n"), all()),
        (format!("{long},{long},y\n1,2,3\n"), all()),
        (format!("a,{long},y\n1,no,3\n"), all()),
        ("a,b\u{7}\u{1b}[31m,y\n1,no,3\n".to_owned(), all()),
        ("a,b,y\n1,\"n\no\",3\n".to_owned(), all()),
    ];
    for (text, options) in cases {
        let (_folder, path) = write(&text);
        let error = open(&path, &fields, &options).err().expect("an error").to_string();
        assert!(error.len() < 1000, "{} bytes: {}", error.len(), error.chars().take(300).collect::<String>());
        assert!(!error.contains(char::is_control), "{error:?}");
    }
    let (_folder, path) = write(&format!("a,b,y\n{classes}1,2,other\n"));
    let fields = [field("x", DType::F32, &[2]), field("y", DType::I32, &[])];
    let error = open(&path, &fields, &labels).err().expect("an error").to_string();
    assert!(error.len() < 1000 && error.contains("(2000 in all)"), "{error}");
}
