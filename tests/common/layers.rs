//! Every layer of the language, with arguments and an input: the rows of tests that go through all of them.

/// A layer as it is called, and the type of its input; `None` where it has none.
pub struct Row {
    pub name: &'static str,
    pub call: &'static str,
    pub input: Option<&'static str>,
}

const fn row(name: &'static str, call: &'static str, input: &'static str) -> Row {
    Row { name, call, input: Some(input) }
}

const LINE: &str = "f32[batch, 8, 12]";
const IMAGE: &str = "f32[batch, 8, 12, 12]";
const SOLID: &str = "f32[batch, 4, 6, 6, 6]";
/// Samples with steps.
const SERIES: &str = "f32[batch, 5, 7]";
const ROWS: &str = "f32[batch, 12]";

/// All layers; those that are computed in several ways several times.
pub const LAYERS: &[Row] = &[
    row("Linear", "Linear(16)", "f32[batch, 24]"),
    row("Linear", "Linear(256)", "f32[batch, 256]"),
    row("Linear", "Linear(5)", LINE),
    row("Embedding", "Embedding(vocabulary: 9, features: 8)", "i32[batch, 12]"),
    row("Embedding", "Embedding(9, 8, padding_idx: 0)", "i32[batch, 12]"),
    Row { name: "Parameter", call: "Parameter(dims: [3, 4])", input: None },
    row("MultiHeadAttention", "MultiHeadAttention(heads: 2)", LINE),
    row("MultiHeadAttention", "MultiHeadAttention(heads: 2, causal: true)", LINE),
    row(
        "MultiHeadAttention",
        "MultiHeadAttention(heads: 2, key: \"it[:, 1:, :6] * 2\", key_mask: \"it[:, 1:, 0] > 0\", causal: true)",
        LINE,
    ),
    row("Rnn", "Rnn(features: 5)", SERIES),
    row("Rnn", "Rnn(features: 4, layers: 2, nonlinearity: \"relu\")", SERIES),
    row("Lstm", "Lstm(features: 6, layers: 2, bidirectional: true)", SERIES),
    row("Lstm", "Lstm(features: 4, lengths: \"int(abs(it[:, 0, 0]) * 5)\", bias: false)", SERIES),
    row("Gru", "Gru(features: 5)", SERIES),
    row("Gru", "Gru(features: 3, reset: \"before\", lengths: \"int(abs(it[:, 0, 0]) * 5)\")", SERIES),
    row("RnnCell", "RnnCell(features: 4, state: \"it[:, :4]\")", ROWS),
    row("LstmCell", "LstmCell(features: 4, state: [\"it[:, :4]\", \"it[:, 4:8]\"])", ROWS),
    row("GruCell", "GruCell(features: 4, state: \"it[:, :4]\")", ROWS),
    row("Conv1d", "Conv1d(features: 12, kernel: 3, padding: 1)", LINE),
    row("Conv2d", "Conv2d(features: 16, kernel: 3, padding: 1)", IMAGE),
    row("Conv2d", "Conv2d(features: 64, kernel: 3, padding: 1)", "f32[batch, 64, 28, 28]"),
    row("Conv2d", "Conv2d(features: 32, kernel: 1)", "f32[batch, 16, 14, 14]"),
    row("Conv2d", "Conv2d(features: 32, kernel: 1, stride: 2)", "f32[batch, 16, 14, 14]"),
    row("Conv2d", "Conv2d(features: 24, kernel: 5, stride: 2, padding: 2)", "f32[batch, 3, 33, 33]"),
    row("Conv2d", "Conv2d(features: 8, kernel: 3, padding: 1, groups: 8)", IMAGE),
    row("Conv2d", "Conv2d(features: 16, kernel: 3, dilation: 2, groups: 4)", IMAGE),
    row("Conv3d", "Conv3d(features: 6, kernel: 3, padding: 1)", SOLID),
    row("ConvTranspose1d", "ConvTranspose1d(features: 6, kernel: 4, stride: 2, padding: 1)", LINE),
    row("ConvTranspose2d", "ConvTranspose2d(features: 6, kernel: 2, stride: 2)", IMAGE),
    row("ConvTranspose2d", "ConvTranspose2d(features: 32, kernel: 3, padding: 1)", "f32[batch, 32, 14, 14]"),
    row("ConvTranspose2d", "ConvTranspose2d(6, 3, 2, 1, 2, dilation: 3)", IMAGE),
    row("ConvTranspose3d", "ConvTranspose3d(features: 3, kernel: 2, stride: 2)", SOLID),
    row("MaxPool1d", "MaxPool1d(kernel: 3, stride: 2, padding: 1)", LINE),
    row("MaxPool2d", "MaxPool2d(kernel: 3, stride: 2, padding: 1)", IMAGE),
    row("MaxPool2d", "MaxPool2d(2)", IMAGE),
    row("MaxPool3d", "MaxPool3d(2)", SOLID),
    row("MaxPool2d", "MaxPool2d(3, 2, 2, 2, ceil_mode: true)", IMAGE),
    row("AvgPool1d", "AvgPool1d(2)", LINE),
    row("AvgPool2d", "AvgPool2d(3, 2, 2, true, false, dilation: 2)", IMAGE),
    row("AvgPool2d", "AvgPool2d(kernel: 3, stride: 2, padding: 1)", IMAGE),
    row("AvgPool3d", "AvgPool3d(2)", SOLID),
    row("Pool2d", "Pool2d(kind: \"avg\", kernel: 2)", IMAGE),
    row("GlobalAvgPool", "GlobalAvgPool", IMAGE),
    row("GlobalMaxPool", "GlobalMaxPool", IMAGE),
    row("AdaptiveAvgPool1d", "AdaptiveAvgPool1d(5)", LINE),
    row("AdaptiveAvgPool2d", "AdaptiveAvgPool2d(5)", IMAGE),
    row("AdaptiveAvgPool3d", "AdaptiveAvgPool3d([4, 5, 2])", SOLID),
    row("AdaptiveMaxPool1d", "AdaptiveMaxPool1d(5)", LINE),
    row("AdaptiveMaxPool2d", "AdaptiveMaxPool2d(5)", IMAGE),
    row("AdaptiveMaxPool3d", "AdaptiveMaxPool3d([4, 5, 2])", SOLID),
    row("BatchNorm", "BatchNorm", IMAGE),
    row("BatchNorm1d", "BatchNorm1d", ROWS),
    row("BatchNorm2d", "BatchNorm2d", IMAGE),
    row("LayerNorm", "LayerNorm", LINE),
    row("GroupNorm", "GroupNorm(groups: 2)", IMAGE),
    row("InstanceNorm", "InstanceNorm", IMAGE),
    row("LocalResponseNorm", "LocalResponseNorm(size: 3)", IMAGE),
    row("Activation", "Activation(\"relu\")", ROWS),
    row("Identity", "Identity", ROWS),
    row("Relu", "Relu", ROWS),
    row("Relu6", "Relu6", ROWS),
    row("LeakyRelu", "LeakyRelu", ROWS),
    row("PRelu", "PRelu", IMAGE),
    row("RRelu", "RRelu", ROWS),
    row("Elu", "Elu", ROWS),
    row("Celu", "Celu", ROWS),
    row("Selu", "Selu", ROWS),
    row("Gelu", "Gelu", ROWS),
    row("Silu", "Silu", ROWS),
    row("Swish", "Swish(learned: true)", ROWS),
    row("HardSwish", "HardSwish", ROWS),
    row("Mish", "Mish", ROWS),
    row("Sigmoid", "Sigmoid", ROWS),
    row("HardSigmoid", "HardSigmoid", ROWS),
    row("LogSigmoid", "LogSigmoid", ROWS),
    row("Tanh", "Tanh", ROWS),
    row("ScaledTanh", "ScaledTanh", ROWS),
    row("HardTanh", "HardTanh", ROWS),
    row("Softsign", "Softsign", ROWS),
    row("Softplus", "Softplus", ROWS),
    row("CRelu", "CRelu", IMAGE),
    row("Glu", "Glu", IMAGE),
    row("Maxout", "Maxout(pieces: 2)", IMAGE),
    row("Softmax", "Softmax", ROWS),
    row("Softmax", "Softmax(axis: 1)", IMAGE),
    row("LogSoftmax", "LogSoftmax", ROWS),
    row("Flatten", "Flatten", IMAGE),
    row("Reshape", "Reshape([-1, 24, 4])", LINE),
    row("Transpose", "Transpose([0, 2, 1])", LINE),
    row("Pad", "Pad([[0, 0], [1, 2], [0, 1]])", LINE),
    row("Slice", "Slice(axis: 1, start: 1, stop: 7, step: 2)", LINE),
    row("Upsample", "Upsample(2)", IMAGE),
    row("Dropout", "Dropout(0.5)", ROWS),
    row("Dropout2d", "Dropout2d(0.5)", IMAGE),
    row("DropPath", "DropPath(0.5)", ROWS),
    row("GaussianNoise", "GaussianNoise(0.1)", ROWS),
    row("Standardize", "Standardize", IMAGE),
    row("Standardize", "Standardize(per: \"feature\")", ROWS),
    row("Normalize", "Normalize(mean: 0.5, std: 0.25)", IMAGE),
    row("Rescale", "Rescale(scale: 2, offset: -1)", ROWS),
    row("Resize", "Resize([5, 17])", IMAGE),
    row("RandomFlip", "RandomFlip", IMAGE),
    row("RandomCrop", "RandomCrop(padding: 2)", IMAGE),
];

#[test]
fn every_layer_has_a_row() {
    let rows: std::collections::BTreeSet<&str> = LAYERS.iter().map(|row| row.name).collect();
    let layers: std::collections::BTreeSet<&str> =
        brolga::frontend::language::layers().iter().map(|layer| layer.name).collect();
    assert_eq!(rows, layers);
}
