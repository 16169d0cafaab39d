//! Tables that are written: CSV with a head, one row for each sample.

use std::io::Write;
use std::path::Path;

use brolga_models::data;
use brolga_runtime::{Result, read_regular, write_atomically};

/// A cell of a CSV file.
fn cell(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) || text.trim() != text {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

/// A row of a CSV file, with the end of its line.
fn line(row: &[String]) -> String {
    row.iter().map(|text| cell(text)).collect::<Vec<_>>().join(",") + "\n"
}

/// Writes the rows of a CSV file.
///
/// # Errors
/// A file that cannot be written; it is as before then.
pub fn write_csv(path: &Path, rows: &[Vec<String>]) -> Result<()> {
    write_atomically(path, |file| rows.iter().try_for_each(|row| file.write_all(line(row).as_bytes())))
}

/// Whether a file is a table that `run` or `evaluate` has written with these names of columns: every row begins with what
/// samples are called, and has numbers behind it, but for classes.
pub fn is_written_table(path: &Path, columns: &[String]) -> bool {
    let text = read_regular(path, u64::MAX).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let Some(text) = text else { return false };
    // As [`write_csv`] would write it again.
    let is_own = |rows: &Vec<Vec<String>>| rows.iter().map(|row| line(row)).collect::<String>() == text;
    let Some(rows) = data::rows(path, &text).ok().filter(is_own) else { return false };
    let Some((head, rows)) = rows.split_first() else { return false };
    // Only `evaluate` knows arrays, whose samples have numbers, and it says what is true of each.
    let evaluated = columns.get(1).is_some_and(|name| name == "true" || name.starts_with("true."));
    let is_name = |name: &str| {
        let ending = name.rsplit('.').next().unwrap_or("").to_lowercase();
        let line = name.rsplit(' ').next().unwrap_or("");
        let of_table = name.strip_suffix(line).is_some_and(|before| before.ends_with("line "));
        let is_number = |text: &str| text.parse::<usize>().is_ok();
        ["png", "jpg", "jpeg"].contains(&&*ending)
            || (of_table && is_number(line))
            || (evaluated && is_number(name))
    };
    let is_cell = |(name, cell): (&String, &String)| {
        name == "true" || name == "predicted" || cell.parse::<f64>().is_ok()
    };
    head == columns
        && rows.iter().all(|row| {
            row.len() == columns.len() && is_name(&row[0]) && columns.iter().zip(row).skip(1).all(is_cell)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must() {
        assert_eq!(["a b", "a,b", "a\"b"].map(cell), ["a b", "\"a,b\"", "\"a\"\"b\""]);
    }

    /// A table that was written is known again, whatever the names in it, and no other.
    #[test]
    fn written_tables_are_known_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table");
        let rows = |rows: &[&[&str]]| -> Vec<Vec<String>> {
            rows.iter().map(|row| row.iter().map(|&cell| cell.to_owned()).collect()).collect()
        };
        let own = [
            rows(&[&["sample", "price"], &["line 2", "1.5"], &["a \"b\",c.csv line 30", "NaN"]]),
            rows(&[&["sample", "predicted", "p.a,b", "p.c\nd"], &["x,\n\"y\".JPG", "a,b", "0.5", "1e-7"]]),
            rows(&[&["sample", "true", "predicted", "p.a"], &["0", "a", "b", "-inf"], &["1", "", "b", "3"]]),
        ];
        for table in &own {
            write_csv(&path, table).unwrap();
            let read = data::rows(&path, &std::fs::read_to_string(&path).unwrap());
            assert_eq!(read.ok().as_ref(), Some(table));
            assert!(is_written_table(&path, &table[0]), "{table:?}");
            for other in own.iter().filter(|other| *other != table) {
                assert!(!is_written_table(&path, &other[0]), "{table:?}");
            }
        }
        let columns = ["sample".to_owned(), "price".to_owned()];
        let others = [
            "",
            "sample,price",
            "sample,price\n1,2\n",
            "sample,price\nline 2,cheap\n",
            "sample,price\nline 2,1,2\n",
            "sample,price\nline 2,1\nline 3,2",
            "sample,price\r\nline 2,1\r\n",
            "sample,price,note\nline 2,1,mine\n",
            "sample,cost\nline 2,1\n",
            "sample,price\n\"line 2\"x,1\n",
            "sample,price\nline 2,1\n\nTotal: 1\n",
        ];
        for text in others {
            std::fs::write(&path, text).unwrap();
            assert!(!is_written_table(&path, &columns), "{text:?}");
        }
    }
}
