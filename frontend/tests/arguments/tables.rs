//! A row for all that can be called: a call, and another value for each of its optional arguments.

use brolga_frontend::language::Kind;

/// A call in an expression: where the optional arguments go stands `{}`.
pub(super) type FunctionRow = (&'static str, &'static [(&'static str, &'static str)]);

pub(super) const REDUCED: &[(&str, &str)] = &[("axis", "0"), ("keepdims", "true")];
pub(super) const SPREAD: &[(&str, &str)] = &[("axis", "0"), ("keepdims", "true"), ("correction", "1")];
pub(super) const SORTED: &[(&str, &str)] = &[("axis", "0"), ("descending", "true")];
pub(super) const ELEMENT: &[(&str, &str)] = &[("dtype", "'f64'")];
pub(super) const ALONG: &[(&str, &str)] = &[("axis", "0")];
pub(super) const REDUCTION: &[(&str, &str)] = &[("reduction", "'sum'")];
pub(super) const WEIGHTED: &[(&str, &str)] = &[
    ("smoothing", "0.1"),
    ("weights", "[1, 2, 3, 4, 5]"),
    ("reduction", "'sum'"),
    ("ignore_index", "2"),
    ("axis", "0"),
];
pub(super) const BINARY: &[(&str, &str)] =
    &[("reduction", "'sum'"), ("pos_weight", "3"), ("weights", "[1, 2, 3, 4, 5]")];
pub(super) const NONE: &[(&str, &str)] = &[];
pub(super) const RNN: &[(&str, &str)] = &[
    ("layers", "2"),
    ("bidirectional", "true"),
    ("dropout", "0.5"),
    ("lengths", "[1, 4]"),
    ("initial", "\"it[:, 0]\""),
    ("bias", "false"),
    ("nonlinearity", "\"relu\""),
];
pub(super) const LSTM: &[(&str, &str)] = &[
    ("layers", "2"),
    ("bidirectional", "true"),
    ("dropout", "0.5"),
    ("lengths", "[1, 4]"),
    ("initial", "[\"it[:, 0]\", \"it[:, 1]\"]"),
    ("bias", "false"),
];
pub(super) const GRU: &[(&str, &str)] = &[
    ("layers", "2"),
    ("bidirectional", "true"),
    ("dropout", "0.5"),
    ("lengths", "[1, 4]"),
    ("initial", "\"it[:, 0]\""),
    ("bias", "false"),
    ("reset", "\"before\""),
];
pub(super) const MANY: &[(&str, &str)] =
    &[("y", "t"), ("z", "t"), ("u", "t"), ("v", "t"), ("w", "t"), ("axis", "0"), ("keepdims", "true")];

/// `x` and `t` are f32[4, 5], `c` is f32[2, 3, 4], `label` i32[4], `p` a parameter.
pub(super) const FUNCTIONS: &[FunctionRow] = &[
    ("min(x{})", MANY),
    ("max(x{})", MANY),
    ("x * max(3{})", &[("y", "4"), ("axis", "0"), ("keepdims", "true")]),
    ("x * min([3, 4]{})", &[("axis", "0"), ("keepdims", "true")]),
    ("split(c, 2{})[0]", ALONG),
    ("x * arange(5{})", NONE),
    ("mask(label, 3{})", NONE),
    ("pick(x, label{})", ALONG),
    ("scatter(x, [1, 0], 2.5{})", &[("axis", "1"), ("mode", "'add'")]),
    ("put(x, cast(x > 0, 'i32'), t{})", &[("axis", "0"), ("mode", "'max'")]),
    ("slice(x, label[0], 2{})", &[("axis", "1")]),
    ("update_slice(x, t, label[0]{})", &[("axis", "1")]),
    ("pad(x, [1, 0]{})", &[("value", "2")]),
    ("shift(x, 1{})", &[("fill", "2"), ("axis", "0")]),
    ("uniform([4, 5]{})", NONE),
    ("normal([4, 5]{})", NONE),
    ("gumbel([4, 5]{})", NONE),
    ("bernoulli(sigmoid(x){})", NONE),
    ("categorical(x[0]{})", &[("dims", "[3]")]),
    ("permutation(5{})", NONE),
    ("grad(sum(x * x), x{})", NONE),
    ("jvp(x * x, x, t{})", NONE),
    ("abs(x{})", NONE),
    ("floor(x{})", NONE),
    ("ceil(x{})", NONE),
    ("round(x{})", NONE),
    ("sqrt(x{})", NONE),
    ("exp(x{})", NONE),
    ("log(x{})", NONE),
    ("x * len([1, 2]{})", NONE),
    ("x * sum(range(4{}))", &[("stop", "9"), ("step", "2")]),
    ("int(x{})", NONE),
    ("float(label{})", NONE),
    ("x * divisible(7, 8{})", NONE),
    ("x * size(x{})", &[("axis", "1")]),
    ("x * size(1{})", &[("axis", "0")]),
    ("log1p(x{})", NONE),
    ("expm1(x{})", NONE),
    ("tanh(x{})", NONE),
    ("sigmoid(x{})", NONE),
    ("erf(x{})", NONE),
    ("sin(x{})", NONE),
    ("cos(x{})", NONE),
    ("tan(x{})", NONE),
    ("asin(x{})", NONE),
    ("acos(x{})", NONE),
    ("atan(x{})", NONE),
    ("sinh(x{})", NONE),
    ("cosh(x{})", NONE),
    ("asinh(x{})", NONE),
    ("acosh(x{})", NONE),
    ("atanh(x{})", NONE),
    ("log2(x{})", NONE),
    ("log10(x{})", NONE),
    ("exp2(x{})", NONE),
    ("erfinv(x{})", NONE),
    ("isnan(x{})", NONE),
    ("isinf(x{})", NONE),
    ("isfinite(x{})", NONE),
    ("atan2(x, t{})", NONE),
    ("xor(x > 0, t > 0{})", NONE),
    ("rsqrt(x{})", NONE),
    ("lgamma(x{})", NONE),
    ("digamma(x{})", NONE),
    ("relu(x{})", NONE),
    ("softplus(x{})", NONE),
    ("silu(x{})", NONE),
    ("gelu(x{})", NONE),
    ("elu(x{})", NONE),
    ("leaky_relu(x{})", &[("slope", "0.3")]),
    ("square(x{})", NONE),
    ("sign(x{})", NONE),
    ("clip(x, 0, 1{})", NONE),
    ("where(x > 0, x, t{})", NONE),
    ("trunc(x{})", NONE),
    ("stop_gradient(x{})", NONE),
    ("hard_sigmoid(x{})", NONE),
    ("sum(x{})", REDUCED),
    ("x * sum([1, 2]{})", REDUCED),
    ("mean(x{})", REDUCED),
    ("prod(x{})", REDUCED),
    ("all(x{})", REDUCED),
    ("any(x{})", REDUCED),
    ("norm(x{})", REDUCED),
    ("var(x{})", SPREAD),
    ("std(x{})", SPREAD),
    ("logsumexp(x{})", REDUCED),
    ("argmax(x{})", ALONG),
    ("argmin(x{})", ALONG),
    ("softmax(x{})", ALONG),
    ("log_softmax(x{})", ALONG),
    ("cumsum(x{})", ALONG),
    ("cumprod(x{})", ALONG),
    ("sort(x{})", SORTED),
    ("argsort(x{})", SORTED),
    ("top_k(x, 2{})[0]", &[("axis", "0"), ("largest", "false")]),
    ("x + zeros([5]{})", ELEMENT),
    ("x + ones([5]{})", ELEMENT),
    ("x + full([5], 2{})", ELEMENT),
    ("stack([x, t]{})", &[("axis", "1")]),
    ("cast(x, 'i32'{})", NONE),
    ("matmul(x, transpose(t){})", NONE),
    ("transpose(c{})", &[("axes", "[0, 2, 1]")]),
    ("reshape(x, [20]{})", NONE),
    ("concat([x, t]{})", &[("axis", "0")]),
    ("one_hot(label, 5{})", NONE),
    ("eye(5{})", NONE),
    ("take(x, label{})", &[("axis", "1"), ("mode", "'wrap'"), ("fill", "3")]),
    ("take(x, label, mode='fill'{})", &[("axis", "1"), ("fill", "3")]),
    ("take(x, label, mode='clip'{})", &[("axis", "1"), ("fill", "3")]),
    ("x * parameter('p'{})", NONE),
    ("positions(x{})", ALONG),
    (
        "attention(c, c, c{})",
        &[
            ("heads", "2"),
            ("causal", "true"),
            ("mask", "c[0, :, :3] > 0"),
            ("scale", "0.3"),
            ("key_mask", "c[:, :, 0] > 0"),
        ],
    ),
    ("attention(c, c, c{})", &[("mask", "c[0, :, :3]"), ("key_mask", "c[:, :, 0]")]),
    ("cross_entropy(x, label{})", WEIGHTED),
    ("cross_entropy(x, softmax(t){})", WEIGHTED),
    (
        "nll(x, label{})",
        &[("weights", "[1, 2, 3, 4, 5]"), ("reduction", "'sum'"), ("ignore_index", "2"), ("axis", "0")],
    ),
    ("mse(x, t{})", REDUCTION),
    ("l1(x, t{})", REDUCTION),
    ("smooth_l1(x, t{})", &[("beta", "0.5"), ("reduction", "'sum'")]),
    ("huber(x, t{})", &[("delta", "0.5"), ("reduction", "'none'")]),
    ("hinge(x, t{})", REDUCTION),
    ("bce(x, t{})", BINARY),
    ("bce_with_logits(x, t{})", BINARY),
    ("kl(x, t{})", REDUCTION),
    ("gauss_nll(x, t, square(t){})", REDUCTION),
    (
        "focal(x, label{})",
        &[
            ("gamma", "1.5"),
            ("reduction", "'sum'"),
            ("weights", "[1, 2, 3, 4, 5]"),
            ("ignore_index", "2"),
            ("axis", "0"),
        ],
    ),
    // [4, 4] with labels [4]: either axis fits, and the second one is taken where nothing is said.
    ("cross_entropy(q, label{})", &[("axis", "0")]),
    ("nll(q, label{})", &[("axis", "0")]),
    ("focal(q, label{})", &[("axis", "0")]),
    ("cross_entropy(q, softmax(q){})", &[("axis", "0")]),
    ("accuracy(q, label{})", &[("axis", "0")]),
    ("top_k_accuracy(q, label, 2{})", &[("axis", "0")]),
    ("r2(x, t{})", NONE),
    ("norm(total(x{}))", &[("axis", "0")]),
];

pub(super) fn expression(text: &str) -> String {
    let entry = match text.contains("total(") || text.contains("r2(") {
        true => format!("Entry(steps: [], metrics: {{ \"y\": \"{text}\" }})"),
        false => format!("Infer(outputs: {{ \"y\": \"{text}\" }})"),
    };
    format!(
        "Model(
            inputs: {{ \"x\": \"f32[4, 5]\", \"t\": \"f32[4, 5]\", \"c\": \"f32[2, 3, 4]\", \"q\": \"f32[4, 4]\", \"label\": \"i32[4]\" }},
            body: [Aside([Parameter(name: \"p\", dims: [5])])],
            entries: {{ \"infer\": {entry} }},
        )"
    )
}

/// A call in RON: its name, its required arguments, values of the optional ones, and the type of its input.
pub(super) type Row = (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static str);

pub(super) const IMAGE: &str = "f32[2, 8, 7, 7]";
pub(super) const CONV: &[(&str, &str)] = &[
    ("stride", "2"),
    ("padding", "1"),
    ("dilation", "2"),
    ("groups", "2"),
    ("bias", "false"),
    ("init", "Ones"),
    ("bias_init", "Ones"),
];
pub(super) const DECONV: &[(&str, &str)] = &[
    ("stride", "2"),
    ("padding", "1"),
    ("output_padding", "1"),
    ("groups", "2"),
    ("bias", "false"),
    ("dilation", "2"),
    ("init", "Ones"),
    ("bias_init", "Ones"),
];
pub(super) const MAX_POOL: &[(&str, &str)] =
    &[("stride", "2"), ("padding", "1"), ("dilation", "2"), ("ceil_mode", "true")];
pub(super) const AVG_POOL: &[(&str, &str)] = &[
    ("stride", "2"),
    ("padding", "1"),
    ("ceil_mode", "true"),
    ("count_include_pad", "false"),
    ("divisor_override", "5"),
    ("dilation", "2"),
];
pub(super) const BATCH: &[(&str, &str)] =
    &[("eps", "0.01"), ("momentum", "0.5"), ("affine", "false"), ("zero_init", "true")];
pub(super) const AXIS: &[(&str, &str)] = &[("axis", "2")];
pub(super) const P: &[(&str, &str)] = &[("p", "0.3")];

pub(super) const LAYERS: &[Row] = &[
    ("Linear", "features: 3", &[("bias", "false"), ("init", "Ones"), ("bias_init", "Ones")], "f32[2, 5]"),
    ("Embedding", "vocabulary: 9, features: 3", &[("padding_idx", "2"), ("init", "Ones")], "i32[4]"),
    ("Rnn", "features: 3", RNN, "f32[2, 5, 3]"),
    ("Lstm", "features: 3", LSTM, "f32[2, 5, 3]"),
    ("Gru", "features: 3", GRU, "f32[2, 5, 3]"),
    (
        "RnnCell",
        "features: 3, state: \"it\"",
        &[("bias", "false"), ("nonlinearity", "\"relu\"")],
        "f32[2, 3]",
    ),
    ("LstmCell", "features: 3, state: [\"it\", \"it\"]", &[("bias", "false")], "f32[2, 3]"),
    ("GruCell", "features: 3, state: \"it\"", &[("bias", "false"), ("reset", "\"before\"")], "f32[2, 3]"),
    ("Parameter", "dims: [3, 4]", &[("init", "Ones")], "f32[2, 5]"),
    (
        "MultiHeadAttention",
        "heads: 2",
        &[
            ("causal", "true"),
            ("bias", "false"),
            ("mask", "\"x[0, :, :5] > 0\""),
            ("key_mask", "\"x[:, :, 0] > 0\""),
            ("key", "\"it * 2\""),
            ("value", "\"it[:, :, :4]\""),
        ],
        "f32[2, 5, 6]",
    ),
    ("Conv1d", "features: 4, kernel: 3", CONV, "f32[2, 8, 7]"),
    ("Conv2d", "features: 4, kernel: 3", CONV, IMAGE),
    ("Conv3d", "features: 4, kernel: 3", CONV, "f32[2, 8, 7, 7, 7]"),
    ("ConvTranspose1d", "features: 4, kernel: 3", DECONV, "f32[2, 8, 7]"),
    ("ConvTranspose2d", "features: 4, kernel: 3", DECONV, IMAGE),
    ("ConvTranspose3d", "features: 4, kernel: 3", DECONV, "f32[2, 8, 7, 7, 7]"),
    ("MaxPool1d", "kernel: 3", MAX_POOL, "f32[2, 8, 10]"),
    ("MaxPool2d", "kernel: 3", MAX_POOL, "f32[2, 8, 10, 10]"),
    ("MaxPool3d", "kernel: 3", MAX_POOL, "f32[2, 8, 10, 10, 10]"),
    ("AvgPool1d", "kernel: 3", AVG_POOL, "f32[2, 8, 10]"),
    ("AvgPool2d", "kernel: 3", AVG_POOL, "f32[2, 8, 10, 10]"),
    ("AvgPool3d", "kernel: 3", AVG_POOL, "f32[2, 8, 10, 10, 10]"),
    ("Pool2d", "kind: \"avg\", kernel: 3", AVG_POOL, "f32[2, 8, 10, 10]"),
    ("Pool2d", "kind: \"max\", kernel: 3", AVG_POOL, "f32[2, 8, 10, 10]"),
    ("GlobalAvgPool", "", NONE, IMAGE),
    ("GlobalMaxPool", "", NONE, IMAGE),
    ("AdaptiveAvgPool1d", "size: 3", NONE, "f32[2, 8, 7]"),
    ("AdaptiveAvgPool2d", "size: 3", NONE, IMAGE),
    ("AdaptiveAvgPool3d", "size: 3", NONE, "f32[2, 8, 7, 7, 7]"),
    ("AdaptiveMaxPool1d", "size: 3", NONE, "f32[2, 8, 7]"),
    ("AdaptiveMaxPool2d", "size: 3", NONE, IMAGE),
    ("AdaptiveMaxPool3d", "size: 3", NONE, "f32[2, 8, 7, 7, 7]"),
    ("BatchNorm", "", BATCH, IMAGE),
    ("BatchNorm1d", "", BATCH, "f32[4, 5]"),
    ("BatchNorm2d", "", BATCH, IMAGE),
    ("LayerNorm", "", &[("axes", "2"), ("eps", "0.01"), ("affine", "false")], IMAGE),
    ("GroupNorm", "groups: 2", &[("eps", "0.01"), ("affine", "false")], IMAGE),
    ("InstanceNorm", "", &[("eps", "0.01"), ("affine", "true")], IMAGE),
    (
        "LocalResponseNorm",
        "size: 3",
        &[("alpha", "0.3"), ("beta", "0.4"), ("k", "3"), ("divide", "false")],
        IMAGE,
    ),
    ("Activation", "kind: \"relu\"", NONE, IMAGE),
    ("Identity", "", NONE, IMAGE),
    ("Relu", "", NONE, IMAGE),
    ("Relu6", "", NONE, IMAGE),
    ("LeakyRelu", "", &[("slope", "0.3")], IMAGE),
    ("PRelu", "", &[("parameters", "8"), ("init", "Ones")], IMAGE),
    ("RRelu", "", &[("low", "0.2"), ("high", "0.5")], IMAGE),
    ("Elu", "", &[("alpha", "0.3")], IMAGE),
    ("Celu", "", &[("alpha", "0.3")], IMAGE),
    ("Selu", "", NONE, IMAGE),
    ("Gelu", "", &[("form", "\"tanh\"")], IMAGE),
    ("Silu", "", NONE, IMAGE),
    ("Swish", "", &[("beta", "2"), ("learned", "true")], IMAGE),
    ("HardSwish", "", NONE, IMAGE),
    ("Mish", "", NONE, IMAGE),
    ("Sigmoid", "", NONE, IMAGE),
    ("HardSigmoid", "", NONE, IMAGE),
    ("LogSigmoid", "", NONE, IMAGE),
    ("Tanh", "", NONE, IMAGE),
    ("ScaledTanh", "", NONE, IMAGE),
    ("HardTanh", "", &[("low", "-2"), ("high", "3")], IMAGE),
    ("Softsign", "", NONE, IMAGE),
    ("Softplus", "", &[("beta", "2")], IMAGE),
    ("CRelu", "", NONE, IMAGE),
    ("Glu", "", &[("axis", "0")], IMAGE),
    ("Maxout", "pieces: 2", NONE, IMAGE),
    ("Softmax", "", AXIS, IMAGE),
    ("LogSoftmax", "", AXIS, IMAGE),
    ("Flatten", "", &[("start", "2")], IMAGE),
    ("Reshape", "dims: [2, -1]", NONE, IMAGE),
    ("Transpose", "axes: [0, 2, 3, 1]", NONE, IMAGE),
    ("Pad", "padding: [0, 0, 1, 1]", &[("value", "0.5")], IMAGE),
    ("Slice", "axis: 2", &[("start", "1"), ("stop", "6"), ("step", "2")], IMAGE),
    ("Upsample", "factor: 2", NONE, IMAGE),
    ("Dropout", "", P, IMAGE),
    ("Dropout2d", "", P, IMAGE),
    ("DropPath", "", P, IMAGE),
    ("GaussianNoise", "", &[("std", "0.3")], IMAGE),
    ("Standardize", "", &[("per", "\"all\"")], IMAGE),
    ("Normalize", "mean: 0.5, std: 2", NONE, IMAGE),
    ("Rescale", "scale: 2", &[("offset", "3")], IMAGE),
    ("Resize", "size: 3", NONE, IMAGE),
    ("RandomFlip", "", &[("p", "0.3")], IMAGE),
    ("RandomCrop", "padding: 2", NONE, IMAGE),
];

pub(super) fn layer(call: &str, input: &str) -> String {
    format!(
        "Model(
            inputs: {{ \"x\": \"{input}\" }},
            body: [{call}],
            entries: {{
                \"infer\": Infer(outputs: {{ \"y\": \"it\" }}),
                \"train\": Entry(steps: [], outputs: {{ \"y\": \"it\" }}),
            }},
        )"
    )
}

pub(super) const DECAY: (&str, &str) = ("weight_decay", "0.1");
pub(super) const L1: (&str, &str) = ("l1", "0.1");
pub(super) const LR: (&str, &str) = ("lr", "0.3");
pub(super) const ADAM: &[(&str, &str)] =
    &[LR, ("beta1", "0.5"), ("beta2", "0.6"), ("eps", "0.01"), ("amsgrad", "true"), DECAY, L1];

pub(super) const OPTIMIZERS: &[Row] = &[
    ("Sgd", "lr: 0.1", &[("momentum", "0.9"), ("nesterov", "true"), ("dampening", "0.2"), DECAY, L1], ""),
    ("Adagrad", "", &[LR, ("lr_decay", "0.1"), ("initial", "0.2"), ("eps", "0.01"), DECAY, L1], ""),
    ("Adadelta", "", &[LR, ("rho", "0.5"), ("eps", "0.01"), DECAY, L1], ""),
    (
        "RmsProp",
        "",
        &[LR, ("alpha", "0.5"), ("momentum", "0.5"), ("centered", "true"), ("eps", "0.01"), DECAY, L1],
        "",
    ),
    ("Rprop", "", &[LR, ("shrink", "0.4"), ("grow", "1.5"), ("smallest", "0.01"), ("largest", "20")], ""),
    ("Adam", "", ADAM, ""),
    ("AdamW", "", ADAM, ""),
    ("Adamax", "", &[LR, ("beta1", "0.5"), ("beta2", "0.6"), ("eps", "0.01"), DECAY, L1], ""),
    (
        "NAdam",
        "",
        &[LR, ("beta1", "0.5"), ("beta2", "0.6"), ("eps", "0.01"), ("momentum_decay", "0.1"), DECAY, L1],
        "",
    ),
];

pub(super) fn optimizer(call: &str) -> String {
    format!(
        "Model(
            inputs: {{ \"x\": \"f32[5]\" }},
            body: [Parameter(name: \"w\", dims: [5])],
            entries: {{ \"train\": Train(loss: \"mean((it - x) ** 2)\", optimizer: {call}) }},
        )"
    )
}

pub(super) const RATE_SCHEDULES: &[Row] = &[
    ("Constant", "initial: 0.1", NONE, ""),
    ("Step", "initial: 0.1, every: 3", &[("factor", "0.3")], ""),
    ("MultiStep", "initial: 0.1, at: [3]", &[("factor", "0.3")], ""),
    ("Exponential", "initial: 0.1, factor: 0.9", NONE, ""),
    ("Cosine", "initial: 0.1, steps: 9", &[("last", "0.01"), ("restart", "true")], ""),
    ("Inverse", "initial: 0.1, rate: 0.1", &[("power", "2")], ""),
    ("Poly", "initial: 0.1, steps: 9", &[("power", "2"), ("last", "0.01")], ""),
    ("Noam", "width: 64, warmup: 5", &[("factor", "2")], ""),
    ("Cyclic", "low: 0.1, high: 0.2, half: 5", NONE, ""),
    ("Warmup", "steps: 5, then: 0.1", &[("first", "0.3")], ""),
];

pub(super) const FAN: &[(&str, &str)] = &[("fan", "\"out\""), ("slope", "0.3")];
pub(super) const GAIN: &[(&str, &str)] = &[("gain", "0.3")];

pub(super) const INITIALIZERS: &[Row] = &[
    ("Zeros", "", NONE, ""),
    ("Ones", "", NONE, ""),
    ("Constant", "value: 2", NONE, ""),
    ("Uniform", "low: -1, high: 1", NONE, ""),
    ("Normal", "std: 2", &[("mean", "0.5")], ""),
    ("TruncatedNormal", "std: 2", NONE, ""),
    ("HeNormal", "", FAN, ""),
    ("HeUniform", "", FAN, ""),
    ("XavierNormal", "", GAIN, ""),
    ("XavierUniform", "", GAIN, ""),
    ("LecunNormal", "", NONE, ""),
    ("LecunUniform", "", NONE, ""),
    ("Identity", "", GAIN, ""),
    ("Default", "", NONE, ""),
];

/// The text of a call with more arguments, as a whole model.
pub(super) type Wrap = fn(&Row, &str) -> String;

pub(super) fn call(row: &Row, more: &str) -> String {
    format!(
        "{}({})",
        row.0,
        [row.1, more].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(", ")
    )
}

pub(super) const TABLES: [(Kind, &[Row], Wrap); 4] = [
    (Kind::Layer, LAYERS, |row, more| layer(&call(row, more), row.3)),
    (Kind::Optimizer, OPTIMIZERS, |row, more| optimizer(&call(row, more))),
    (Kind::Schedule, RATE_SCHEDULES, |row, more| optimizer(&format!("Sgd(lr: {})", call(row, more)))),
    (Kind::Initializer, INITIALIZERS, |row, more| {
        layer(&format!("Linear(features: 3, init: {})", call(row, more)), "f32[2, 5]")
    }),
];
