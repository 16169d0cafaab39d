//! How far Winograd's algorithm and Strassen's are from exact sums, for the layers of the networks that are measured.
//!
//! Inputs are standard normal, weights as He et al. draw them; the error is the largest deviation from sums in `f64`
//! relative to the largest value, for eight output channels (their number changes no sum). The table is part of the
//! repository: results are the same bits everywhere, so the errors are too.

use crate::common::compiled;
use crate::common::lcg::Lcg;
use crate::common::snapshot;
use std::collections::HashMap;
use std::fmt::Write;

use brolga_codegen::TargetCpu;
use brolga_ir::choice::{Algorithm, Choice, Layout, takes_winograd};
use brolga_ir::interpret::interpret;
use brolga_ir::ops::{Conv, ConvForm, Dot, Op, Role};
use brolga_ir::scalar::Scalar;
use brolga_ir::{DType, Graph, Origin, Tensor, Type};
use brolga_passes::lower::lower;
use brolga_passes::{Manager, Options, pipelines};

/// What the design allows.
const BOUND: f64 = 1e-4;

/// Layers: kernel, channels that are summed over, and image extents. Convolutions with steps count as what they are after
/// their phases are taken apart.
const LAYERS: [(usize, usize, usize, &str); 19] = [
    (3, 16, 32, "resnet20"),
    (3, 32, 16, "resnet20"),
    (3, 64, 8, "resnet20"),
    (3, 64, 112, "vgg"),
    (3, 64, 56, "resnet18, resnet50, googlenet"),
    (3, 128, 56, "vgg, densenet121"),
    (3, 128, 28, "resnet18, resnet50, densenet121"),
    (3, 256, 28, "vgg"),
    (3, 256, 14, "resnet18, resnet50"),
    (3, 512, 28, "vgg"),
    (3, 512, 14, "vgg"),
    (3, 512, 7, "resnet18, resnet50"),
    (3, 96, 28, "googlenet"),
    (3, 192, 7, "googlenet"),
    (2, 64, 28, "resnet20 by steps"),
    (2, 256, 28, "resnet18, resnet34, by steps"),
    (3, 48, 56, "alexnet, by steps"),
    (4, 12, 112, "resnet, googlenet, densenet, by steps"),
    (5, 64, 27, "alexnet"),
];

/// The sum of twelve uniform numbers, which is normal enough and the same everywhere.
fn normal(ty: &Type, scale: f64, salt: u64) -> Tensor {
    let mut random = Lcg::new(salt);
    let mut unit = || (random.unit() + 1.0) / 2.0;
    Tensor::generate(ty, |_| Scalar::from_f64(ty.dtype, scale * ((0..12).map(|_| unit()).sum::<f64>() - 6.0)))
}

/// The error of an operator on two tensors with those values, run as it is chosen.
fn error(op: impl Into<Op>, choice: impl Into<Choice>, operands: [Tensor; 2]) -> f64 {
    let mut g = Graph::new("layer");
    let parameters = [("a", &operands[0]), ("b", &operands[1])];
    let parameters = parameters.map(|(name, tensor)| g.add_parameter(name, Role::Data, tensor.ty()));
    let result = g.add_chosen(op, choice, &parameters, &Origin::default()).expect("an operator");
    let result = g.result(result);
    g.add_output("y", Role::Data, result);
    // The operator's own evaluation sums in f64.
    let exact = interpret(&g, &[&operands[0], &operands[1]]).expect("reference").remove(0);
    let mut program = lower(&g, &HashMap::new()).expect("lowering");
    Manager::new(Options::default()).run(pipelines::PROGRAM, &mut program).expect("program passes");
    let found = compiled::run(&program, TargetCpu::Native, 2, &operands, &[]).0.remove(0);
    let values = (0..exact.elements()).map(|i| (exact.get(i).to_f64(), found.get(i).to_f64()));
    let (largest, off) =
        values.fold((0f64, 0f64), |(largest, off), (e, f)| (largest.max(e.abs()), off.max((e - f).abs())));
    off / largest
}

#[test]
fn errors_of_every_layer_are_within_the_bound() {
    let mut table = String::from(
        "The largest error of Winograd's algorithm relative to the largest value (tests/winograd.rs), by the inputs of a \
         tile.\n\n\
         | kernel | channels | image | networks | y, 4 x 4 | y, 6 x 6 | dw, 4 x 4 | dw, 6 x 6 |\n\
         |---|--:|--:|---|--:|--:|--:|--:|\n",
    );
    for (number, (kernel, channels, extent, networks)) in LAYERS.into_iter().enumerate() {
        let salt = 10 * number as u64;
        let shape = |channels: usize| Type::new(DType::F32, [1, extent, extent, channels]);
        let mut row = format!("| {kernel} x {kernel} | {channels} | {extent} x {extent} | {networks} |");
        // The gradient with respect to the input is the same sum with the kernel turned round.
        for (weights, tile) in [(false, 4), (false, 6), (true, 4), (true, 6)] {
            let outputs = tile + 1 - kernel;
            let padding = vec![(kernel / 2, (kernel - 1) / 2); 2];
            let conv = Conv { padding, ..Conv::new(2) };
            if !takes_winograd(&conv, &[kernel; 2], outputs) {
                row += " |";
                continue;
            }
            let choice = Choice { algorithm: Algorithm::Winograd(outputs), ..Layout::ChannelsLast.into() };
            let off = if weights {
                let gradient = conv.with_form(ConvForm::WeightGradient { kernel: vec![kernel; 2] });
                let operands = [normal(&shape(channels), 1.0, salt), normal(&shape(8), 1.0, salt + 1)];
                error(gradient, choice, operands)
            } else {
                let w = Type::new(DType::F32, [8, channels, kernel, kernel]);
                let he = (2.0 / (kernel * kernel * channels) as f64).sqrt();
                let operands = [normal(&shape(channels), 1.0, salt), normal(&w, he, salt + 2)];
                error(conv.clone(), choice, operands)
            };
            assert!(off <= BOUND, "{channels} channels, {extent} x {extent}, {conv:?}: {off:e}");
            write!(row, " {off:.1e} |").expect("a string");
        }
        table += &(row + "\n");
    }
    snapshot::check("tests/snapshots/winograd.md", &table);
}

#[test]
fn errors_of_products_are_within_the_bound() {
    let mut table = String::from(
        "The largest error of a product of rows with a matrix relative to the largest value (tests/winograd.rs), summed \
         directly and by Strassen's algorithm.\n\n\
         | rows | terms | columns | networks | direct | Strassen |\n\
         |--:|--:|--:|---|--:|--:|\n",
    );
    let sizes = [
        (784, 128, 512, "resnet50"),
        (196, 256, 1024, "resnet50"),
        (196, 1024, 256, "resnet50"),
        (128, 256, 1024, ""),
        (128, 1024, 256, ""),
        (64, 4096, 128, ""),
    ];
    for (salt, (rows, terms, columns, networks)) in (1000..).step_by(2).zip(sizes) {
        let x = normal(&Type::new(DType::F32, [rows, terms]), 1.0, salt);
        let w = normal(&Type::new(DType::F32, [terms, columns]), (1.0 / terms as f64).sqrt(), salt + 1);
        let off = [Algorithm::Direct, Algorithm::Strassen].map(|algorithm| {
            let dot = Dot::new([vec![], vec![]], [vec![1], vec![0]]);
            error(dot, algorithm, [x.clone(), w.clone()])
        });
        assert!(off[1] <= BOUND, "{rows} x {terms} x {columns}: {:e}", off[1]);
        writeln!(table, "| {rows} | {terms} | {columns} | {networks} | {:.1e} | {:.1e} |", off[0], off[1])
            .expect("a string");
    }
    snapshot::check("tests/snapshots/strassen.md", &table);
}
