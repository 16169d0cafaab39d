//! Pooling over long axes, where windows are not written out one by one.

use brolga::ir::interpret::interpret;
use brolga::ir::scalar::Scalar;
use brolga::ir::{DType, Tensor, Type};
use brolga::{Model, Settings};

use super::Cases;
use crate::fuzz::models::model;
use crate::fuzz::targets::{Refused, check};

/// What the layer makes of numbers, along the last axis, in f64.
fn pooled(layer: &str, x: &[f64]) -> Vec<f64> {
    let ty = Type::new(DType::F64, [1, 1, x.len()]);
    let text = model(&format!("f64[batch, 1, {}]", x.len()), "1", &[layer.to_owned()], None);
    let model =
        Model::from_text("pool.ron", &text, &Settings::default()).unwrap_or_else(|e| panic!("{layer}: {e}"));
    let x = Tensor::generate(&ty, |i| Scalar::F64(x[i]));
    let y = interpret(model.graph("infer").expect("an entry"), &[&x]).expect("it runs");
    (0..y[0].elements()).map(|i| y[0].get(i).to_f64()).collect()
}

fn numbers(count: usize) -> Vec<f64> {
    (0..count).map(|i| ((i * 7919 + 13) % 1009) as f64 / 100.0 - 5.0).collect()
}

fn close(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() <= 1e-12 * (1.0 + e.abs()), "{what}: [{i}] is {f}, expected {e}");
    }
}

/// PyTorch's windows: from `floor(i in / n)` to `ceil((i + 1) in / n)`, written out up to 64 of them.
#[test]
fn adaptive_windows() {
    for (input, output) in [(70, 100), (100, 70), (8, 65), (3, 200), (130, 66), (66, 64), (5, 3), (1, 70)] {
        let x = numbers(input);
        let windows: Vec<&[f64]> =
            (0..output).map(|i| &x[i * input / output..((i + 1) * input).div_ceil(output)]).collect();
        let mean: Vec<f64> = windows.iter().map(|w| w.iter().sum::<f64>() / w.len() as f64).collect();
        let what = format!("{input} to {output}");
        close(&pooled(&format!("AdaptiveAvgPool1d({output})"), &x), &mean, &what);
        let max: Vec<f64> =
            windows.iter().map(|w| w.iter().copied().fold(f64::NEG_INFINITY, f64::max)).collect();
        let body = format!("Expr(\"reshape(it, [1, 1, {input}, 1])\"), AdaptiveMaxPool2d([{output}, 1])");
        close(&pooled(&body, &x), &max, &what);
    }
}

/// Windows at a padded border count what PyTorch counts, whether they are counted one by one (up to 4,096) or not, dense
/// or dilated, padded by less or by more than half of the kernel.
#[test]
fn means_at_borders() {
    for (length, kernel, stride, padding, dilation) in [
        (9, 4, 2, 2, 1),
        (9, 4, 2, 3, 1),
        (9, 3, 2, 3, 3),
        (5001, 3, 1, 1, 1),
        (9000, 4, 2, 2, 1),
        (9000, 4, 2, 5, 3),
        (13_000, 5, 3, 1, 1),
        (13_000, 5, 3, 9, 4),
    ] {
        let x = numbers(length);
        let reach = dilation * (kernel - 1) + 1;
        for (ceil, include) in [(false, false), (false, true), (true, false), (true, true)] {
            let padded = length + 2 * padding;
            let mut count = (padded - reach) / stride + 1;
            if ceil && !(padded - reach).is_multiple_of(stride) && count * stride < length + padding {
                count += 1;
            }
            let expected = (0..count).map(|window| {
                let places = || (0..kernel).map(|place| window * stride + place * dilation);
                let inside = || places().filter(|place| (padding..padding + length).contains(place));
                let sum: f64 = inside().map(|i| x[i - padding]).sum();
                let counted =
                    if include { places().filter(|&place| place < padded).count() } else { inside().count() };
                sum / counted as f64
            });
            let layer = format!(
                "AvgPool1d(kernel: {kernel}, stride: {stride}, padding: {padding}, ceil_mode: {ceil}, \
                 count_include_pad: {include}, dilation: {dilation})"
            );
            close(&pooled(&layer, &x), &expected.collect::<Vec<_>>(), &format!("{layer} on {length}"));
        }
    }
}

/// A window that would see padding only is refused, unless padding counts.
#[test]
fn empty_windows() {
    for (input, layer, right) in [
        (4, "MaxPool1d(kernel: 3, padding: 2)", true),
        (4, "MaxPool1d(kernel: 3, padding: 3)", false),
        (4, "AvgPool1d(kernel: 3, padding: 3)", true),
        (4, "AvgPool1d(kernel: 3, padding: 3, count_include_pad: false)", false),
        (4, "AvgPool1d(kernel: 3, padding: [[0, 2]], stride: 1, count_include_pad: false)", true),
        (4, "AvgPool1d(kernel: 3, padding: [[0, 3]], stride: 1, count_include_pad: false)", false),
        // Two elements, of which places 4 apart see one or the other, or neither.
        (2, "MaxPool1d(kernel: 3, stride: 1, padding: 5, dilation: 4)", false),
        (2, "MaxPool1d(kernel: 3, stride: 4, padding: 4, dilation: 4)", true),
        (2, "MaxPool1d(kernel: 2, stride: 1, padding: 4, dilation: 5)", false),
        // Less than a kernel, which the ceiling mode lets reach beyond.
        (2, "MaxPool1d(kernel: 3, stride: 2)", false),
        (2, "MaxPool1d(kernel: 3, stride: 2, ceil_mode: true)", true),
        (2, "MaxPool1d(kernel: 5, stride: 3, ceil_mode: true)", false),
    ] {
        let answer = check(&model(&format!("f32[batch, 1, {input}]"), "1", &[layer.to_owned()], None));
        assert_eq!(answer.is_ok(), right, "{layer} on {input}: {:?}", answer.err());
    }
}

/// Sizes that once aborted, or took half a minute: a table, or why there is none.
#[test]
#[ignore = "run by itself, see `alone`"]
fn large_sizes() {
    let mut cases = Cases::new();
    for (input, layer, said) in [
        ("f32[batch, 1, 8, 8]", "AdaptiveAvgPool2d(1000000)", "larger than the limit of 2^40 bytes"),
        ("f32[batch, 1, 8]", "AdaptiveAvgPool1d(1000000)", ""),
        ("f32[batch, 3, 10000]", "AdaptiveAvgPool1d(8000)", ""),
        ("f32[batch, 1, 8, 2147483647]", "AvgPool2d(2)", ""),
        (
            "f32[batch, 1, 8, 2147483647]",
            "AvgPool2d(kernel: 3, stride: 2, padding: 1, count_include_pad: false)",
            "",
        ),
        ("f32[batch, 1, 2147483647]", "MaxPool1d(2)", ""),
        ("f32[batch, 1, 30000]", "MaxPool1d(kernel: 25600, padding: 12800, stride: 1)", ""),
        ("f32[batch, 1, 30000]", "AvgPool1d(kernel: 25600, padding: 12800, stride: 1)", ""),
        (
            "f32[batch, 8]",
            "Softmax(-9223372036854775808)",
            "there is no axis -9223372036854775808 in f32[1, 8]",
        ),
        ("f32[batch, 3, 8, 8]", "ConvTranspose2d(4, 4294967297)", "larger than the limit"),
        ("f32[batch, 9223372036854775807]", "Relu", "larger than the limit of 2^40 bytes"),
        (
            "f32[batch, 1, 8]",
            "MaxPool1d(1099511627776)",
            "the kernel covers 1099511627776 elements of axis 2, which has 8",
        ),
    ] {
        cases.case(&format!("{layer} on {input}"), || {
            match check(&model(input, "1", &[layer.to_owned()], None)) {
                Ok(_) if said.is_empty() => Ok(()),
                Ok(_) => Err("a table".to_owned()),
                Err(Refused::Diagnostic(text)) if !said.is_empty() && text.contains(said) => Ok(()),
                Err(Refused::Diagnostic(text) | Refused::Compiler(text)) => Err(text),
            }
        });
    }
    cases.finish("sizes of pooling");
}
