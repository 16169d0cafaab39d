//! Models and graphs of any size `n`: what tests of growth count the work of, and benches time.

use brolga_ir::Graph;

/// Bodies that slice a tensor in repeated blocks, `n` times: a name, the input, the start, the number of blocks, and one.
pub const UNROLLED: &[[&str; 5]] = &[
    // A recurrent network, one step after the other.
    [
        "recurrent",
        "f32[2, n, 8]",
        "s[:, 0] * 0",
        "n",
        "Expr(\"concat([s[:, i], it], 1)\"), If(\"i == 0\", [Linear(name: \"cell\", features: 8)], [Reuse(\"cell\")]), Tanh",
    ],
    // Pieces that overlap.
    ["windows", "f32[2, n, 8]", "s[:, :3] * 0", "n - 2", "Expr(\"tanh(it + s[:, i:i + 3])\")"],
    // Every other element is a gap.
    ["gaps", "f32[2, n, 8]", "s[:, 0] * 0", "n // 2", "Expr(\"tanh(it + s[:, 2 * i])\")"],
    // By steps: each block reads every n-th element.
    ["steps", "f32[2, 4 * n, 8]", "s[:, ::n] * 0", "n", "Expr(\"tanh(it + s[:, i::n])\")"],
    // Rows of a matrix, of which each block reads two elements that nobody else does.
    [
        "cells",
        "f32[2, n, n]",
        "s[:, 0, :2] * 0",
        "n",
        "Expr(\"tanh(it + s[:, i, i // 2 * 2:i // 2 * 2 + 2])\")",
    ],
];

/// One of [`UNROLLED`] that trains, with `n` blocks.
pub fn unrolled_text([_, input, start, times, block]: &[&str; 5], n: usize) -> String {
    format!(
        "Model(parameters: {{ \"n\": {n} }}, inputs: {{ \"x\": \"{input}\" }}, body: [Parameter([1]), Expr(\"x * it\"), \
         As(\"s\"), Expr(\"{start}\"), Repeat(times: \"{times}\", index: \"i\", body: [{block}])], entries: {{ \"train\": \
         Train(loss: \"mean(it * it)\", optimizer: Sgd(lr: 0.1)) }})"
    )
}

/// Bodies that join, mask or rearrange what they have made, again and again: a name, the input, and the steps; `$n` is how
/// often.
pub const REPEATED: &[(&str, &str, &str)] = &[
    ("joins", "f32[2, 1]", "Repeat($n, [Expr(\"concat([it, x], 1)\")])"),
    ("joins of one", "f32[2, 1]", "Expr(\"concat([it] * $n, 1)\")"),
    (
        "joins of others",
        "f32[2, 8]",
        "Repeat(times: $n, index: \"i\", body: [Expr(\"concat([it, tanh(it[:, :8] + i)], 1)\")])",
    ),
    (
        "masks of masks",
        "f32[2, 8]",
        "Expr(\"x > 0\"), Repeat(times: $n, index: \"i\", body: [Expr(\"it != (x > i)\")]), Expr(\"where(it, x, 1)\")",
    ),
    (
        "masks of two",
        "f32[2, 8]",
        "Expr(\"x > 0\"), Repeat(times: $n, index: \"i\", body: [Expr(\"(it and x > i) != (not it)\")]), Expr(\"where(it, x, 1)\")",
    ),
    (
        "rearranged",
        "f32[12, 8]",
        "Repeat($n, [Expr(\"reshape(transpose(it, [1, 0]), [12, 8])\")]), Expr(\"it + x\")",
    ),
    (
        "transposes that stay",
        "f32[2, 4, 7]",
        "Repeat($n, [Expr(\"reshape(transpose(it, axes=[0, 2, 1]), [2, 4, 7])\")])",
    ),
    ("scaled by norms", "f32[2, 3]", "Repeat($n, [Expr(\"norm(it, axis=1, keepdims=true) * it\")])"),
    (
        "dropped out",
        "f32[2, 8]",
        "Sequential(name: \"l\", body: [Linear(8), Dropout(0.3), Tanh]), Repeat($n, [Reuse(\"l\")])",
    ),
];

/// A dense block, as a row of [`REPEATED`]: each layer reads the outputs of all before it.
pub const DENSE: (&str, &str, &str) =
    ("dense", "f32[2, 16]", "Repeat($n, [As(\"p\"), Linear(16), Tanh, Expr(\"concat([p, it], 1)\")])");

/// One of [`REPEATED`] with `n` repetitions.
pub fn repeated_text((_, input, body): &(&str, &str, &str), n: usize) -> String {
    let body = body.replace("$n", &n.to_string());
    format!(
        "Model(inputs: {{ \"s\": \"{input}\" }}, body: [Parameter([1]), Expr(\"s * it\"), As(\"x\"), {body}], entries: {{ \
         \"infer\": Infer(outputs: {{ \"y\": \"it\" }}), \"train\": Train(loss: \"mean(it * it)\", optimizer: Sgd(lr: 0.1)) \
         }})"
    )
}

/// Layers whose windows are as long as the axis, or half or a quarter of it (`$h`, `$q`) and overlap; and those that reach far
/// beyond an axis of few elements, by their length, padding, steps and dilation: the name, the call, and the input. What a convolution does is its window for each of its positions, so it has one of them.
pub const WINDOWS: &[(&str, &str, &str)] = &[
    ("MaxPool1d", "MaxPool1d($n)", "f32[2, 3, $n]"),
    ("MaxPool1d", "MaxPool1d($q)", "f32[2, 3, $n]"),
    ("MaxPool1d", "MaxPool1d(kernel: $h, stride: 1, padding: $q)", "f32[2, 3, $n]"),
    ("MaxPool1d", "MaxPool1d(kernel: $q, stride: 3, dilation: 2, ceil_mode: true)", "f32[2, 3, $n]"),
    ("MaxPool2d", "MaxPool2d([$n, 8])", "f32[2, 3, $n, 8]"),
    ("MaxPool2d", "MaxPool2d(kernel: [$h, 5], stride: [2, 1])", "f32[2, 3, $n, 9]"),
    ("MaxPool3d", "MaxPool3d([2, $n, 2])", "f32[1, 2, 4, $n, 4]"),
    ("slice", "Expr(\"slice(it, cast(sum(it), 'i32'), $h)\")", "f32[$n, 3]"),
    ("AvgPool1d", "AvgPool1d($n)", "f32[2, 3, $n]"),
    ("AvgPool1d", "AvgPool1d($q)", "f32[2, 3, $n]"),
    ("AvgPool1d", "AvgPool1d(kernel: $h, stride: 1, padding: $q)", "f32[2, 3, $n]"),
    ("AvgPool1d", "AvgPool1d(kernel: $h, stride: 3, padding: 7, count_include_pad: false)", "f32[2, 3, $n]"),
    ("AvgPool1d", "AvgPool1d(kernel: $q, dilation: 3, stride: 2, divisor_override: 5)", "f32[2, 3, $n]"),
    ("AvgPool2d", "AvgPool2d([8, $n])", "f32[2, 3, 8, $n]"),
    ("AvgPool2d", "AvgPool2d(kernel: [5, $h], stride: [1, 2])", "f32[2, 3, 9, $n]"),
    ("AvgPool3d", "AvgPool3d([2, $n, 2])", "f32[1, 2, 4, $n, 4]"),
    ("Pool2d", "Pool2d(kind: \"avg\", kernel: [$q, 2])", "f32[2, 3, $n, 8]"),
    ("AdaptiveAvgPool1d", "AdaptiveAvgPool1d(3)", "f32[2, 3, $n]"),
    ("AdaptiveAvgPool1d", "AdaptiveAvgPool1d(100)", "f32[2, 3, $n]"),
    ("AdaptiveAvgPool2d", "AdaptiveAvgPool2d([3, 2])", "f32[2, 3, $n, 4]"),
    ("AdaptiveAvgPool3d", "AdaptiveAvgPool3d([1, 5, 2])", "f32[1, 2, 2, $n, 4]"),
    ("AdaptiveMaxPool1d", "AdaptiveMaxPool1d(4)", "f32[2, 3, $n]"),
    ("AdaptiveMaxPool1d", "AdaptiveMaxPool1d(100)", "f32[2, 3, $n]"),
    ("AdaptiveMaxPool2d", "AdaptiveMaxPool2d([3, 2])", "f32[2, 3, $n, 4]"),
    ("AdaptiveMaxPool3d", "AdaptiveMaxPool3d([1, 5, 2])", "f32[1, 2, 2, $n, 4]"),
    ("LocalResponseNorm", "LocalResponseNorm($n)", "f32[2, $n, 3]"),
    ("Conv1d", "Conv1d(features: 4, kernel: $n)", "f32[2, 3, $n]"),
    ("Conv1d", "Conv1d(features: 3, kernel: $n, groups: 3)", "f32[2, 3, $n]"),
    ("Conv2d", "Conv2d(features: 4, kernel: [$n, 3])", "f32[2, 3, $n, 3]"),
    ("Conv3d", "Conv3d(features: 4, kernel: [2, $n, 2])", "f32[1, 2, 2, $n, 2]"),
    ("ConvTranspose1d", "ConvTranspose1d(features: 4, kernel: $n)", "f32[2, 3, 1]"),
    ("ConvTranspose2d", "ConvTranspose2d(features: 4, kernel: [$n, 3])", "f32[2, 3, 1, 1]"),
    ("ConvTranspose3d", "ConvTranspose3d(features: 4, kernel: [2, $n, 2])", "f32[1, 2, 1, 1, 1]"),
    ("MaxPool1d", "MaxPool1d(kernel: $n, stride: 1, padding: $h)", "f32[2, 3, 8]"),
    ("MaxPool1d", "MaxPool1d(kernel: $q, stride: 5, padding: $h, dilation: 3)", "f32[2, 3, 8]"),
    ("MaxPool1d", "MaxPool1d(kernel: $n, stride: $n, padding: $h, ceil_mode: true)", "f32[2, 3, 8]"),
    ("MaxPool2d", "MaxPool2d(kernel: $n, stride: $h, padding: $h)", "f32[2, 3, 8, 8]"),
    ("MaxPool2d", "MaxPool2d(kernel: $n, stride: $n, padding: [$h, \"$n - 1\"])", "f32[2, 3, 8, 8]"),
    ("MaxPool3d", "MaxPool3d(kernel: $n, stride: $q, padding: $h)", "f32[1, 2, 8, 8, 8]"),
    ("AvgPool1d", "AvgPool1d(kernel: $n, stride: 1, padding: $n)", "f32[2, 3, 8]"),
    ("AvgPool1d", "AvgPool1d(kernel: $n, stride: 1, padding: $h, count_include_pad: false)", "f32[2, 3, 8]"),
    ("AvgPool1d", "AvgPool1d(kernel: $h, stride: 5, padding: $n, dilation: 3)", "f32[2, 3, 8]"),
    ("AvgPool1d", "AvgPool1d(kernel: 4, stride: 3, padding: $n, dilation: $h)", "f32[2, 3, 8]"),
    ("AvgPool2d", "AvgPool2d(kernel: $n, stride: $h, padding: $h)", "f32[2, 3, 8, 8]"),
    ("AvgPool2d", "AvgPool2d(kernel: $n, stride: $q, padding: $n, dilation: 2)", "f32[2, 3, 8, 8]"),
    ("AvgPool2d", "AvgPool2d(kernel: [9, $n], stride: $q, padding: $n)", "f32[2, 3, 8, 8]"),
    ("AvgPool3d", "AvgPool3d(kernel: [8, $n, $h], stride: $h, padding: $h)", "f32[1, 2, 8, 8, 8]"),
    ("Pool2d", "Pool2d(kind: \"avg\", kernel: $n, padding: $h, divisor_override: 7)", "f32[2, 3, 8, 8]"),
    ("Conv1d", "Conv1d(features: 4, kernel: $n, padding: $n)", "f32[2, 3, 8]"),
    ("Conv1d", "Conv1d(features: 4, kernel: 3, padding: $n, dilation: $h)", "f32[2, 3, 8]"),
    ("Conv2d", "Conv2d(features: 4, kernel: [$n, 3], stride: [$q, 1], padding: [$n, 1])", "f32[2, 3, 8, 8]"),
    ("Conv3d", "Conv3d(features: 2, kernel: [1, $n, 1], padding: [0, $n, 0])", "f32[1, 2, 8, 8, 8]"),
    ("Conv1d", "Conv1d(features: 4, kernel: $n, stride: 2, padding: $h)", "f32[2, 3, 8]"),
    ("Conv1d", "Conv1d(features: 4, kernel: $n, stride: 2, padding: $n)", "f32[2, 4, 8]"),
    ("Conv1d", "Conv1d(features: 4, kernel: $n, stride: 2, padding: $n, groups: 4)", "f32[2, 4, 8]"),
    ("Conv1d", "Conv1d(features: 4, kernel: $h, stride: 2, padding: $n, dilation: 3)", "f32[2, 3, 8]"),
    (
        "Conv2d",
        "Conv2d(features: 4, kernel: [$n, 3], stride: [2, 1], padding: [$n, 1], groups: 2)",
        "f32[2, 4, 8, 8]",
    ),
    ("ConvTranspose1d", "ConvTranspose1d(features: 4, kernel: $n, padding: $h)", "f32[2, 3, 8]"),
    (
        "ConvTranspose1d",
        "ConvTranspose1d(features: 4, kernel: $n, stride: 3, padding: $h, groups: 4)",
        "f32[2, 4, 8]",
    ),
    ("ConvTranspose1d", "ConvTranspose1d(features: 4, kernel: $q, stride: 2, dilation: 3)", "f32[2, 3, 8]"),
    ("ConvTranspose2d", "ConvTranspose2d(features: 4, kernel: [$n, 1], stride: [$n, 1])", "f32[2, 3, 8, 8]"),
];

/// Layers by their other arguments and by the channels of their input: the name, the call, the input, and the power of the size
/// `$n` that the work grows with (`$d` is 2 n, `$e` 8 n).
pub const ARGUMENTS: &[(&str, &str, &str, u32)] = &[
    ("Linear", "Linear($n)", "f32[4, 8]", 1),
    ("Linear", "Linear(5)", "f32[4, $n]", 1),
    ("Embedding", "Embedding(vocabulary: $n, features: 4)", "i32[2, 6]", 1),
    ("Embedding", "Embedding(vocabulary: 9, features: $n)", "i32[2, 6]", 1),
    ("Embedding", "Embedding(vocabulary: 9, features: 4)", "i32[2, $n]", 1),
    ("Rnn", "Rnn($n)", "f32[2, 3, 4]", 2),
    ("Rnn", "Rnn(3)", "f32[2, $n, 4]", 1),
    ("Lstm", "Lstm($n)", "f32[2, 3, 4]", 2),
    ("Lstm", "Lstm(3)", "f32[2, $n, 4]", 1),
    ("Gru", "Gru($n)", "f32[2, 3, 4]", 2),
    ("Gru", "Gru(3)", "f32[2, $n, 4]", 1),
    ("RnnCell", "RnnCell($n, state: \"zeros([2, $n])\")", "f32[2, 4]", 2),
    ("LstmCell", "LstmCell($n, state: [\"zeros([2, $n])\", \"zeros([2, $n])\"])", "f32[2, 4]", 2),
    ("GruCell", "GruCell($n, state: \"zeros([2, $n])\")", "f32[2, 4]", 2),
    ("MultiHeadAttention", "MultiHeadAttention(heads: $n)", "f32[2, 3, $n]", 2),
    ("MultiHeadAttention", "MultiHeadAttention(heads: 2)", "f32[2, $n, 4]", 2),
    ("Conv1d", "Conv1d(features: $n, kernel: 3)", "f32[2, 4, 16]", 1),
    ("Conv1d", "Conv1d(features: 4, kernel: 3)", "f32[2, $n, 16]", 1),
    ("Conv1d", "Conv1d(features: $d, kernel: 3, padding: 1, groups: $n)", "f32[2, $n, 6]", 1),
    ("Conv1d", "Conv1d(features: $n, kernel: 3, padding: 1, groups: $h)", "f32[2, $n, 6]", 1),
    ("Conv1d", "Conv1d(features: 4, kernel: 3, stride: $n, padding: 1)", "f32[2, 3, $e]", 1),
    ("Conv1d", "Conv1d(features: 4, kernel: $n, stride: $n)", "f32[2, 3, $e]", 1),
    ("Conv1d", "Conv1d(features: 4, kernel: $d, stride: $n, padding: $h)", "f32[2, 3, $e]", 1),
    ("Conv1d", "Conv1d(features: 4, kernel: $d, stride: $n, padding: $h, groups: 4)", "f32[2, 4, $e]", 1),
    ("Conv1d", "Conv1d(features: 4, kernel: 3, dilation: $n)", "f32[2, 3, $e]", 1),
    ("Conv1d", "Conv1d(features: 4, kernel: 3, dilation: $n, padding: $n, groups: 4)", "f32[2, 4, $e]", 1),
    ("Conv2d", "Conv2d(features: $n, kernel: 3, padding: 1, groups: $n)", "f32[2, $n, 6, 6]", 1),
    (
        "Conv2d",
        "Conv2d(features: 4, kernel: 3, dilation: [$n, 1], stride: [3, 1], padding: [$n, 1])",
        "f32[2, 3, $e, 5]",
        1,
    ),
    ("Conv2d", "Conv2d(features: 4, kernel: [$n, 1], stride: [$n, 1])", "f32[2, 3, $e, 5]", 1),
    ("Conv3d", "Conv3d(features: 4, kernel: [3, 1, 1], dilation: [$n, 1, 1])", "f32[1, 2, $e, 3, 2]", 1),
    ("ConvTranspose1d", "ConvTranspose1d(features: 4, kernel: $n, stride: $n)", "f32[2, 3, 8]", 1),
    ("ConvTranspose1d", "ConvTranspose1d(features: 4, kernel: $d, stride: $n, groups: 4)", "f32[2, 4, 8]", 1),
    (
        "ConvTranspose1d",
        "ConvTranspose1d(features: 4, kernel: 3, stride: 3, dilation: $n)",
        "f32[2, 3, 8]",
        1,
    ),
    (
        "ConvTranspose1d",
        "ConvTranspose1d(features: 4, kernel: 4, stride: $n, dilation: 3)",
        "f32[2, 3, 8]",
        1,
    ),
    ("ConvTranspose2d", "ConvTranspose2d(features: 4, kernel: 2, stride: [$n, $n])", "f32[1, 2, 3, 3]", 2),
    ("ConvTranspose3d", "ConvTranspose3d(features: $n, kernel: [2, 1, 1])", "f32[1, 2, 3, 3, 2]", 1),
    ("MaxPool1d", "MaxPool1d(kernel: 3, stride: $n, padding: 1)", "f32[2, 3, $e]", 1),
    ("MaxPool1d", "MaxPool1d(kernel: 3, stride: 1, dilation: $n)", "f32[2, 3, $e]", 1),
    ("MaxPool2d", "MaxPool2d(kernel: $d, stride: $n, padding: $h)", "f32[1, 1, $e, $e]", 2),
    ("MaxPool3d", "MaxPool3d(kernel: 2, stride: [$n, 1, 1])", "f32[1, 2, $e, 3, 3]", 1),
    ("AvgPool1d", "AvgPool1d(kernel: 3, stride: $n, padding: 1)", "f32[2, 3, $e]", 1),
    ("AvgPool2d", "AvgPool2d(kernel: $d, stride: $n, padding: $h)", "f32[1, 1, $e, $e]", 2),
    ("AvgPool3d", "AvgPool3d(kernel: 2, stride: [$n, 1, 1])", "f32[1, 2, $e, 3, 3]", 1),
    ("Pool2d", "Pool2d(kind: \"avg\", kernel: 2, stride: [$n, 1])", "f32[1, 2, $e, 3]", 1),
    ("GroupNorm", "GroupNorm(groups: $n)", "f32[2, $d, 5]", 1),
    ("GroupNorm", "GroupNorm(groups: 2)", "f32[2, $d, 5]", 1),
    ("Maxout", "Maxout(pieces: $n)", "f32[2, $d, 3]", 1),
    ("Upsample", "Upsample($n)", "f32[2, 3, 4, 3]", 2),
    ("Resize", "Resize([$n, 5])", "f32[2, 3, 7, 6]", 1),
    ("AdaptiveAvgPool1d", "AdaptiveAvgPool1d($n)", "f32[2, 3, $e]", 1),
    ("AdaptiveMaxPool1d", "AdaptiveMaxPool1d($n)", "f32[2, 3, $e]", 1),
    ("Pad", "Pad([[0, 0], [0, 0], [$n, $n]])", "f32[2, 3, 4]", 1),
    ("Slice", "Slice(axis: 2, start: 1, stop: $n, step: $h)", "f32[2, 3, $n]", 1),
];

/// A text with sizes in it, for `n`.
pub fn at_size(text: &str, n: usize) -> String {
    let sizes = [("$n", n), ("$h", n / 2), ("$q", n / 4), ("$d", 2 * n), ("$e", 8 * n)];
    sizes.into_iter().fold(text.to_owned(), |text, (name, size)| text.replace(name, &size.to_string()))
}

/// One of [`WINDOWS`], or a layer of [`ARGUMENTS`], at a size.
pub fn window_text(&(_, call, input): &(&str, &str, &str), n: usize) -> String {
    // Where it can have one, the input gets a gradient.
    let first = if input.starts_with("f32") { "Parameter([1]), Expr(\"x * it\"), " } else { "" };
    format!(
        "Model(inputs: {{ \"x\": \"{}\" }}, body: [{first}{}], entries: {{ \"infer\": Infer(outputs: {{ \"y\": \"it\" }}), \
         \"train\": Train(loss: \"mean(it * it)\", optimizer: Sgd(lr: 0.1)) }})",
        at_size(input, n),
        at_size(call, n)
    )
}

/// Graphs of every operator that is not elementwise: `$op` is each of the names, `$n` the size.
pub const OPERATORS: &[(&[&str], &str)] = &[
    (&["iota"], "(%x: f32[$n]) { %i = iota {dtype: f32, dims: [$n], axis: 0} %y = add %x, %i"),
    (&["constant"], "(%x: f32[$n]) { %c = constant {value: f32[$n] splat 0.5} %y = add %x, %c"),
    (&["broadcast"], "(%x: f32[$n]) { %y = broadcast %x {dims: [3, $n], axes: [1]}"),
    (&["reshape"], "(%x: f32[$n, 6]) { %y = reshape %x {dims: [3, $n, 2]}"),
    (&["transpose"], "(%x: f32[$n, 6]) { %y = transpose %x {axes: [1, 0]}"),
    (&["slice"], "(%x: f32[$n, 6]) { %y = slice %x {start: [1, 1], limit: [$n, 5], stride: [2, 1]}"),
    (&["reverse"], "(%x: f32[$n, 6]) { %y = reverse %x {axes: [0]}"),
    (
        &["pad"],
        "(%x: f32[$n, 6]) { %z = constant {value: f32[] [0.5]} %y = pad %x, %z {low: [1, 0], high: [2, 1], interior: \
         [1, 0]}",
    ),
    (&["concat"], "(%x: f32[$n, 6], %z: f32[3, 6]) { %y = concat %x, %z {axis: 0}"),
    (&["gather"], "(%x: f32[$n, 6], %i: i32[$n]) { %y = gather %x, %i {axis: 0}"),
    (&["gather_along"], "(%x: f32[$n, 6], %i: i32[$n, 6]) { %y = gather_along %x, %i {axis: 0}"),
    (
        &["scatter_add", "scatter_set", "scatter_max", "scatter_min"],
        "(%x: f32[$n, 6], %i: i32[$n], %u: f32[$n, 6]) { %y = $op %x, %i, %u {axis: 0}",
    ),
    (
        &["scatter_add_along", "scatter_set_along", "scatter_max_along", "scatter_min_along"],
        "(%x: f32[$n, 6], %i: i32[$n, 6], %u: f32[$n, 6]) { %y = $op %x, %i, %u {axis: 0}",
    ),
    (&["reduce_add", "reduce_mul", "reduce_max", "reduce_min"], "(%x: f32[6, $n]) { %y = $op %x {axes: [1]}"),
    (&["reduce_add", "reduce_mul", "reduce_max", "reduce_min"], "(%x: f32[$n, 6]) { %y = $op %x {axes: [0]}"),
    (&["reduce_and", "reduce_or"], "(%x: bool[6, $n]) { %y = $op %x {axes: [1]}"),
    (
        &["reduce_window_add", "reduce_window_max", "reduce_window_min"],
        "(%x: f32[2, $n]) { %y = $op %x {window: [1, 3], stride: [1, 2], padding: [[0, 0], [1, 1]]}",
    ),
    (
        &["reduce_window_max_scatter", "reduce_window_min_scatter"],
        "(%v: f32[2, $n], %x: f32[2, $n]) { %y = $op %x, %v {window: [1, 3], padding: [[0, 0], [1, 1]]}",
    ),
    (
        &["reduce_window_max_gather", "reduce_window_min_gather"],
        "(%v: f32[2, $n], %x: f32[2, $n]) { %y = $op %x, %v {window: [1, 3], padding: [[0, 0], [1, 1]]}",
    ),
    (
        &["cumulative_add", "cumulative_mul", "cumulative_max", "cumulative_min"],
        "(%x: f32[3, $n]) { %y = $op %x {axis: 1}",
    ),
    (
        &["cumulative_add", "cumulative_mul"],
        "(%x: f32[$n, 3]) { %y = $op %x {axis: 0, reverse: true, exclusive: true}",
    ),
    (
        &["reduce_window_add", "reduce_window_max", "reduce_window_min"],
        "(%x: f32[8, 8]) { %y = $op %x {window: [$n, $n], stride: [$n, $n], padding: [[$n, $n], [$n, $n]]}",
    ),
    (
        &["reduce_window_add", "reduce_window_max", "reduce_window_min"],
        "(%x: f32[2, 8]) { %y = $op %x {window: [1, $n], stride: [1, 3], padding: [[0, 0], [$n, $n]], window_dilation: [1, \
         2]}",
    ),
    (
        &["reduce_window_max_scatter", "reduce_window_min_scatter"],
        "(%v: f32[8, 8], %x: f32[2, 2]) { %y = $op %v, %x {window: [$n, $n], stride: [$n, $n], padding: [[$n, $n], [$n, $n]]}",
    ),
    (
        &["reduce_window_max_gather", "reduce_window_min_gather"],
        "(%v: f32[8, 8], %x: f32[8, 8]) { %y = $op %v, %x {window: [$n, $n], stride: [$n, $n], padding: [[$n, $n], [$n, $n]]}",
    ),
    (&["pad"], "(%x: f32[6]) { %z = constant {value: f32[] [0.5]} %y = pad %x, %z {low: [$n], high: [$n]}"),
    (
        &["random"],
        "(%x: f32[$n], %seed: i64[], %step: i64[]) { %r = random %seed, %step {distribution: normal, dtype: f32, dims: \
         [$n], stream: 1} %y = mul %x, %r",
    ),
    (&["sort"], "(%x: f32[3, $n]) { %y = sort %x {axis: 1}"),
    (&["sort"], "(%x: f32[3, $n]) { %y = sort %x {axis: 1, descending: true, first: 10}"),
    (&["dot"], "(%x: f32[$n, 6], %w: f32[6, 5]) { %y = dot %x, %w {contract: [[1], [0]]}"),
    (&["dot"], "(%x: f32[6, $n], %w: f32[$n, 5]) { %y = dot %x, %w {contract: [[1], [0]]}"),
    (&["conv"], "(%x: f32[2, 4, $n], %w: f32[6, 4, 3]) { %y = conv %x, %w {stride: [1], padding: [[1, 1]]}"),
    (
        &["conv_input_gradient"],
        "(%x: f32[2, 6, $n], %w: f32[6, 4, 3]) { %y = $op %x, %w {size: [$n], stride: [1], padding: [[1, 1]]}",
    ),
    (
        &["conv_weight_gradient"],
        "(%x: f32[2, 4, $n], %w: f32[2, 6, $n]) { %y = $op %x, %w {kernel: [3], stride: [1], padding: [[1, 1]]}",
    ),
    (
        &["scan"],
        "(%x: f32[$n, 6], %w: f32[6]) { %y, %ys = scan %w, %x {length: $n, carries: 1, slices: 1, body: graph @b(%s: \
         f32[6], %r: f32[6]) { %p = mul %s, %r %q = tanh %p return %q as \"s\", %p as \"p\" }}",
    ),
    (
        &["while"],
        "(%x: f32[6], %start: i32[]) { %i, %y = while %start, %x {carries: 2, limit: $n, condition: graph @c(%i: \
         i32[], %v: f32[6]) { %end = constant {value: i32[] [$n]} %more = lt %i, %end return %more as \"more\" }, body: \
         graph @b(%i: i32[], %v: f32[6]) { %one = constant {value: i32[] [1]} %j = add %i, %one %t = tanh %v return %j \
         as \"i\", %t as \"v\" }}",
    ),
    (
        &["cond"],
        "(%x: f32[$n], %c: bool[]) { %y = cond %c, %x {then: graph @a(%v: f32[$n]) { %t = tanh %v return %t as \"y\" \
         }, otherwise: graph @o(%v: f32[$n]) { return %v as \"y\" }}",
    ),
];

/// Operators that are not run: they are looked up, or gone before lowering, or made by a pass.
pub const NOT_RUN: [&str; 5] = ["parameter", "stop_gradient", "gradient", "jvp", "fused"];

/// Names that may take n log n.
pub const SORTING: [&str; 1] = ["sort"];

/// The graphs of an operator, as [`OPERATORS`] has them; none if it has no row and is not elementwise.
pub fn graphs_of(name: &str) -> Vec<String> {
    let rows = OPERATORS.iter().filter(|(names, _)| names.contains(&name));
    let rows: Vec<String> = rows.map(|(_, text)| text.replace("$op", name)).collect();
    if !rows.is_empty() {
        return rows;
    }
    // Elementwise: of the first type that it takes, over the longer axis and over the shorter one.
    let arguments = ["", ", %x", ", %x, %x", ", %c, %x"];
    let attributes = ["", " {to: f64}", " {to: i32}"];
    for dtype in ["f32", "i32", "bool"] {
        for attributes in attributes {
            for more in arguments {
                let first = if more.starts_with(", %c") { "%c" } else { "%x" };
                let more = more.replace("%c, ", "%x, ");
                let text =
                    format!("(%x: {dtype}[$n, 3], %c: bool[$n, 3]) {{ %y = {name} {first}{more}{attributes}");
                if Graph::parse(&whole(&text, 4, false)).is_ok() {
                    return vec![text];
                }
            }
        }
    }
    Vec::new()
}

/// A graph of `graphs_of` at a size: `y` is returned, or the gradient of its squares, where `$sum` stands for their sum.
pub fn whole(text: &str, n: usize, train: bool) -> String {
    let text = text.replace("$n", &n.to_string());
    match train {
        false => format!("graph @g{text} return %y as \"y\" }}"),
        // The sum of y, whatever its rank, as that of squares would be.
        true => format!(
            "graph @g{text} %square = mul %y, %y %loss = $sum %g = gradient %loss, %x return %g as \"g\" }}"
        ),
    }
}
