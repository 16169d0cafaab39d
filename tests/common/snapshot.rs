//! Texts that are committed, and compared to the letter.

use std::path::Path;

/// Compares a text with a file of the repository; with `BROLGA_BLESS` set, the file is written instead.
pub fn check(file: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("BROLGA_BLESS").is_some() {
        return std::fs::write(&path, found).expect("the snapshot can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{file}: {e}"));
    if found == expected {
        return;
    }
    let line = found.lines().zip(expected.lines()).position(|(f, e)| f != e);
    let line = line.unwrap_or_else(|| found.lines().count().min(expected.lines().count()));
    let at = |text: &str| text.lines().nth(line).unwrap_or("(end)").to_owned();
    panic!("{file} differs from line {}:\n  found    {}\n  expected {}", line + 1, at(found), at(&expected));
}
