//! Text for people: tables, sizes, metrics.

use std::fmt::Write;

use brolga_runtime::{Manifest, Shown, type_name};

use crate::json::Json;

/// A table with columns padded to their widest cell; `align` has a letter for each column, `l` or `r`.
pub fn table(head: &[&str], rows: &[Vec<String>], align: &str) -> String {
    let shown = |row: &Vec<String>| row.iter().map(|cell| cell.shown()).collect::<Vec<String>>();
    let rows: Vec<Vec<String>> = rows.iter().map(shown).collect();
    let head: Vec<String> = head.iter().map(|cell| cell.shown()).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for row in std::iter::once(&head).chain(&rows) {
        let mut line = String::new();
        for ((cell, &width), side) in row.iter().zip(&widths).zip(align.chars()) {
            let gap = if line.is_empty() { "" } else { "  " };
            // Writing to a string cannot fail.
            let _ = match side == 'l' {
                true => write!(line, "{gap}{cell:<width$}"),
                false => write!(line, "{gap}{cell:>width$}"),
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// `1234567` as `1,234,567`.
pub fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the largest binary unit that keeps three digits.
pub fn bytes(bytes: usize) -> String {
    scaled(bytes as f64, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"])
}

/// Floating-point operations in the largest decimal unit.
pub fn flops(flops: u64) -> String {
    scaled(flops as f64, 1000.0, &["", "k", "M", "G", "T"])
}

fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while value >= step && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    let number = if unit == 0 || value >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") };
    format!("{number} {}", units[unit]).trim_end().to_owned()
}

/// `loss 0.0321  accuracy 0.9889`
pub fn metrics<'a>(metrics: impl IntoIterator<Item = (&'a str, f64)>) -> String {
    let cells: Vec<String> =
        metrics.into_iter().map(|(name, value)| format!("{name} {}", metric(value))).collect();
    cells.join("  ")
}

/// A metric with four decimals, or three digits where it is small.
pub fn metric(value: f64) -> String {
    if value.is_finite() && value.abs() >= 1e15 {
        format!("{value:.4e}")
    } else if value != 0.0 && value.is_finite() && value.abs() < 0.001 {
        format!("{value:.2e}")
    } else {
        format!("{value:.4}")
    }
}

/// Metrics as a JSON object; what is no number becomes null.
pub fn metrics_json<'a>(metrics: impl IntoIterator<Item = (&'a str, f64)>) -> Json {
    metrics.into_iter().map(|(name, value)| (name.to_owned(), Json::from(value))).collect()
}

/// Sizes as a JSON object.
pub fn dims_json(dims: &[(String, usize)]) -> Json {
    dims.iter().map(|(name, size)| (name.clone(), Json::from(*size))).collect()
}

/// What an entry point takes and gives: `image: f32[1, 1, 28, 28] -> probability: f32[1, 10]`.
pub fn shapes(manifest: &Manifest) -> String {
    let one = |name: &str, dtype, dims: &[usize]| format!("{}: {}", name.shown(), type_name(dtype, dims));
    let inputs: Vec<String> = manifest.inputs.iter().map(|t| one(&t.name, t.dtype, &t.dims)).collect();
    let outputs: Vec<String> = manifest.outputs.iter().map(|t| one(&t.name, t.dtype, &t.dims)).collect();
    format!("{} -> {}", inputs.join(", "), outputs.join(", ")).trim().to_owned()
}

/// Metrics by reference.
pub fn pairs(metrics: &[(String, f64)]) -> impl Iterator<Item = (&str, f64)> {
    metrics.iter().map(|(name, value)| (name.as_str(), *value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(
            ["7", "999", "1,000", "61,706", "138,357,544"],
            [7, 999, 1000, 61_706, 138_357_544].map(count)
        );
        assert_eq!(
            ["0 B", "1023 B", "1.0 KiB", "512 KiB", "1.5 GiB"],
            [0, 1023, 1024, 524_288, 1_610_612_736].map(bytes)
        );
        assert_eq!(["0", "850 k", "15.5 G"], [0, 850_000, 15_470_000_000].map(flops));
        assert_eq!(["0.9889", "0.0000", "1.00e-5", "NaN"], [0.98889, 0.0, 1e-5, f64::NAN].map(metric));
    }

    #[test]
    fn columns_are_padded() {
        let rows = [vec!["a".into(), "10".into()], vec!["long".into(), "7".into()]];
        assert_eq!(table(&["name", "n"], &rows, "lr"), "name   n\na     10\nlong   7\n");
    }
}
