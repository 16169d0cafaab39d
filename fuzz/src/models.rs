//! Random small models: every layer, function, step, optimiser, schedule and initialiser of the language, by the
//! language's own lists, with settings right and odd.

use std::fmt::Write;

use brolga::Settings;
use brolga::frontend::language::{self, Argument, Callable, Takes};
use brolga::frontend::{Model, no_imports};
use brolga::ir::generate::Rng;

/// What a model starts from.
const INPUTS: [&str; 12] = [
    "f32[batch, 6, 7, 5]",
    "f32[batch, 4, 8, 8]",
    "f32[batch, 3, 9]",
    "f32[batch, 6]",
    "f32[batch, 5, 8]",
    "f32[batch, 2, 3, 4, 5]",
    "i32[batch, 5]",
    "i32[batch]",
    "f32[batch]",
    "f64[batch, 4, 6]",
    "u8[batch, 2, 6, 6]",
    "bool[batch, 4]",
];

/// A layer that brings values of other types to numbers.
const FLOATED: &str = "Expr(\"float(it)\")";

/// Draws pieces of models.
pub struct Maker {
    /// Where the choices come from.
    pub rng: Rng,
    /// Of a hundred arguments, so many are odd.
    pub odd: usize,
}

impl Maker {
    /// For a seed; of a hundred arguments `odd` are odd.
    pub fn new(seed: u64, odd: usize) -> Maker {
        Maker { rng: Rng(seed), odd }
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.rng.below(from.len())]
    }

    fn one_of<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.rng.below(from.len())].clone()
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.rng.below(100) < percent
    }

    /// A type for the first input.
    pub fn input(&mut self) -> &'static str {
        // Images and rows come more often than the others.
        let few = self.chance(70);
        INPUTS[self.rng.below(if few { 5 } else { INPUTS.len() })]
    }

    fn odd_value(&mut self) -> String {
        let odd = [
            "0",
            "-1",
            "1",
            "2",
            "3",
            "7",
            "100",
            "4294967297",
            "9223372036854775807",
            "-9223372036854775808",
            "1099511627776",
            "0.5",
            "-2.5",
            "1e300",
            "1e-300",
            "true",
            "[]",
            "[1]",
            "[2, 1]",
            "[[1, 0], [0, 1]]",
            "'same'",
            "'none'",
            "none",
            "inf",
            "it",
            "size(1)",
            "size(-1) // 2",
            "nothing",
        ];
        self.pick(&odd).to_owned()
    }

    /// A value for an argument of a call, as an expression: what its signature takes; of those that take any, what goes with
    /// its name.
    fn value(&mut self, owner: &str, argument: &Argument) -> String {
        if self.chance(self.odd) {
            return self.odd_value();
        }
        match argument.takes {
            Takes::Size => {
                self.pick(&["1", "1", "2", "2", "3", "3", "4", "5", "6", "8", "size(1)"]).to_owned()
            }
            Takes::Sizes { axes, low } => self.sizes(axes, low),
            Takes::Paddings { axes, .. } => self.paddings(axes),
            Takes::Int => self.pick(&["0", "1", "1", "-1", "-1", "2", "-2", "3"]).to_owned(),
            Takes::Within(low, high) => self.number(low, high),
            Takes::Flag => self.pick(&["true", "false"]).to_owned(),
            Takes::Values | Takes::Words(_) | Takes::Calls(_) => {
                let known = tensors(owner, argument.name).or_else(|| lists(owner, argument.name));
                let any = ["it", "float(it)", "label", "1", "2", "0.5", "[1, 2]", "x"];
                self.pick(known.unwrap_or(&any)).to_owned()
            }
        }
    }

    /// A size, or one for each axis.
    fn sizes(&mut self, axes: usize, low: i64) -> String {
        let one = |maker: &mut Maker| (low + maker.one_of(&[0, 0, 0, 1, 1, 1, 2, 2, 3])).to_string();
        if self.chance(75) {
            return one(self);
        }
        format!("[{}]", (0..axes).map(|_| one(self)).collect::<Vec<_>>().join(", "))
    }

    /// Padding: a number, or for each axis one or two.
    fn paddings(&mut self, axes: usize) -> String {
        let one = |maker: &mut Maker| maker.pick(&["0", "0", "1", "1", "2"]).to_owned();
        let each = |maker: &mut Maker| match maker.chance(50) {
            true => one(maker),
            false => format!("[{}, {}]", one(maker), one(maker)),
        };
        if self.chance(75) {
            return one(self);
        }
        format!("[{}]", (0..axes).map(|_| each(self)).collect::<Vec<_>>().join(", "))
    }

    /// A number between two, both included.
    fn number(&mut self, low: f64, high: f64) -> String {
        let plain = [0.0, 0.1, 0.1, 0.5, 0.5, 1.0, 1.0, 2.0, 3.5, 1e-5, -0.5];
        let within: Vec<f64> = plain.into_iter().filter(|number| (low..=high).contains(number)).collect();
        if within.is_empty() { low.to_string() } else { self.one_of(&within).to_string() }
    }

    /// The arguments of a call by name: those that are required, and some of the others.
    pub fn arguments(&mut self, callable: &Callable, others: usize) -> Vec<(&'static str, Given)> {
        let mut given = Vec::new();
        for argument in &callable.arguments {
            if argument.required || self.chance(others) {
                given.push((argument.name, self.given(callable.name, argument)));
            }
        }
        given
    }

    fn given(&mut self, owner: &str, argument: &Argument) -> Given {
        match &argument.takes {
            Takes::Words(words) => Given::Text(format!("\"{}\"", self.pick(words))),
            Takes::Paddings { words, .. } if !words.is_empty() && self.chance(20) => {
                Given::Text(format!("\"{}\"", self.pick(words)))
            }
            Takes::Calls(names) if !self.chance(20) => {
                let all = [language::initializers(), language::schedules()].concat();
                let name = self.pick(names);
                match all.iter().find(|callable| callable.name == name) {
                    Some(callable) => {
                        // Schedules hold schedules; an end to it.
                        let plain =
                            |given: Vec<(&str, Given)>| given.iter().all(|(_, g)| g.text().len() < 200);
                        let given = self.arguments(callable, 40);
                        if plain(given.clone()) {
                            Given::Text(call(name, &given))
                        } else {
                            Given::Text("0.1".into())
                        }
                    }
                    None => Given::Text(name.to_owned()),
                }
            }
            Takes::Calls(_) => Given::Text(self.pick(&["0", "0.01", "0.5"]).to_owned()),
            _ => Given::Expression(self.value(owner, argument)),
        }
    }

    /// A layer, as a step.
    pub fn layer(&mut self, layer: &Callable) -> String {
        let given = self.arguments(layer, 35);
        call(layer.name, &given)
    }

    /// A call of a function, as an expression.
    pub fn function(&mut self, function: &Callable) -> String {
        let given = self.arguments(function, 25);
        function_call(function.name, &given)
    }

    fn operation(&mut self) -> String {
        let operators = language::operators();
        let operator = self.pick(&operators);
        let operands =
            ["it", "it", "2", "0.5", "x", "label", "-1", "it > 0", "size(1)", "it[1:]", "[it, it]"];
        format!("{} {operator} {}", self.pick(&operands), self.pick(&operands))
    }

    /// A step that is no layer.
    fn structure(&mut self, name: &str, depth: usize) -> String {
        let body = |maker: &mut Maker| {
            let steps: Vec<String> = (0..1 + maker.rng.below(2)).map(|_| maker.step(depth + 1)).collect();
            format!("[{}]", steps.join(", "))
        };
        match name {
            "Sequential" => format!("Sequential(name: \"s{}\", body: {})", self.rng.below(4), body(self)),
            "Residual" => format!("Residual({})", body(self)),
            "Aside" => format!("Aside({})", body(self)),
            "With" => {
                let of = self.pick(&["*", "*.weight", "fc1.weight", "s1.*", "v"]);
                let by = self.pick(&["Expr(\"it * 2\")", "Dropout(0.5)", "As(\"v\"), Expr(\"v / norm(v)\")"]);
                format!("With(of: \"{of}\", by: [{by}], body: {})", body(self))
            }
            "Add" | "Multiply" => format!("{name}([{}, []])", body(self)),
            "Concat" => {
                let axis = self.pick(&["1", "0", "-1", "2"]);
                format!("Concat(axis: {axis}, branches: [{}, []])", body(self))
            }
            "Repeat" => {
                let times = self.pick(&["0", "1", "2", "3", "size(0)"]);
                format!("Repeat(times: \"{times}\", body: {})", body(self))
            }
            "For" => format!("For(each: \"n\", within: [1, 2], body: {})", body(self)),
            "If" => {
                let condition = self.pick(&["size(0) > 2", "training", "true"]);
                format!("If(\"{condition}\", {}, {})", body(self), body(self))
            }
            "As" | "Ref" | "Reuse" => format!("{name}(\"{}\")", self.pick(&["v", "x", "fc1", "conv1", "s1"])),
            "Let" => format!("Let(\"v\", \"{}\")", self.operation()),
            "Carry" => format!("Carry(\"v\", \"{}\")", self.operation()),
            "Scan" => {
                let way = self.pick(&["", "times: 2", "axis: 0", "reverse: true", "over: { \"w\": \"x\" }"]);
                let name = self.pick(&["", "name: \"s1\""]);
                let fields = [way, name].into_iter().filter(|field| !field.is_empty());
                let fields: String = fields.map(|field| format!("{field}, ")).collect();
                format!("Scan({fields}body: {})", body(self))
            }
            "Update" => "Update({ \"*.weight\": \"it * 0.5\" })".to_owned(),
            "State" => {
                let ty = self.pick(&["f32[]", "f32[2]", "i64[2, 3]", "f32[batch]", "bool[]"]);
                let init = self.pick(&["Zeros", "Ones", "Normal(std: 1)", "2", "0.5"]);
                format!("State(name: \"v\", type: \"{ty}\", init: {init})")
            }
            "Expr" => format!("Expr(\"{}\")", self.operation()),
            "Import" => "Import(model: \"softmax-regression\", name: \"part\")".to_owned(),
            _ => format!("{name}({})", body(self)),
        }
    }

    /// A step with the layer or function of that number, counted around.
    fn numbered(&mut self, number: u64) -> String {
        let (layers, functions) = (language::layers(), language::functions());
        let at = number as usize % (layers.len() + functions.len());
        match at.checked_sub(layers.len()) {
            None => self.layer(&layers[at]),
            Some(at) => format!("Expr(\"{}\")", self.function(&functions[at])),
        }
    }

    /// A step of any kind.
    pub fn step(&mut self, depth: usize) -> String {
        match self.rng.below(20) {
            0..=9 => {
                let layers = language::layers();
                let layer = self.one_of(&layers);
                self.layer(&layer)
            }
            10..=14 => {
                let functions = language::functions();
                let function = self.one_of(&functions);
                format!("Expr(\"{}\")", self.function(&function))
            }
            15 | 16 => format!("Expr(\"{}\")", self.operation()),
            _ if depth < 2 => {
                let name = self.pick(language::steps());
                self.structure(name, depth)
            }
            _ => "Relu".to_owned(),
        }
    }

    /// A training entry.
    fn train(&mut self) -> String {
        let losses = [
            "mean(float(it) ** 2)",
            "sum(abs(float(it)))",
            "mean(sigmoid(float(it)))",
            "mean(tanh(float(it)) * 3)",
            "norm(float(it))",
            "mean(logsumexp(float(it), axis=-1))",
        ];
        let optimizers = language::optimizers();
        let optimizer = self.one_of(&optimizers);
        let mut given = self.arguments(&optimizer, 30);
        if !given.iter().any(|(name, _)| *name == "lr") && optimizer.arguments.iter().any(|a| a.name == "lr")
        {
            given.insert(0, ("lr", Given::Text("0.01".into())));
        }
        let mut entry =
            format!("loss: \"{}\", optimizer: {}", self.pick(&losses), call(optimizer.name, &given));
        if self.chance(20) {
            let _ = write!(entry, ", clip: {}", self.pick(&["ClipNorm(1.0)", "ClipValue(0.1)"]));
        }
        if self.chance(20) {
            let metrics = ["mean(abs(float(it)))", "norm(total(float(it)))", "r2(float(it), float(it) * 2)"];
            let _ = write!(entry, ", metrics: {{ \"size\": \"{}\" }}", self.pick(&metrics));
        }
        format!("Train({entry})")
    }
}

/// What there is for an argument that takes tensors.
fn tensors(owner: &str, name: &str) -> Option<&'static [&'static str]> {
    let choices: &'static [&'static str] = match (owner, name) {
        ("len" | "range" | "int" | "float" | "divisible", _) => &["3", "12.5", "[1, 2, 3]", "it"],
        ("attention", "q" | "k" | "v") => &["it", "it * 0.5"],
        ("MultiHeadAttention", "key" | "value") => &["it", "it * 2", "it[:, 1:]", "it[:, :, :2]", "x"],
        ("RnnCell" | "GruCell", "state") => &["it[:, :1]", "it[:, :2]", "it[:, :3]"],
        ("LstmCell", "state") => &["[it[:, :1], it[:, :1]]", "[it[:, :2], it[:, 1:3]]"],
        ("Lstm", "initial") => &["[it[:, 0], it[:, 0]]", "[it[:, 0, :2], it[:, 1, :2]]"],
        (_, "initial") => &["it[:, 0]", "it[:, 0, :2]", "it[:, 0, :3]"],
        (_, "lengths") => &["label", "label", "[2, 1]"],
        ("full", "value") | ("Pad" | "pad", "value") | (_, "fill") => &["0", "1", "0.5", "2"],
        (_, "key_mask") => &["it[:, :, 0] > 0", "it[:, :, 0]", "m"],
        (_, "mask") => {
            &["it > 0", "m", "it[:1, :, :1] * 2", "(it[:, :, :1] > 0)[:, none]", "it[:1, :1, :1] * inf"]
        }
        (_, "condition") => &["it > 0", "it == it", "m"],
        (_, "parts") => &["[it, it]", "[it, it * 2, it]", "[it]"],
        (_, "label") => &["label", "label", "softmax(float(it))"],
        (_, "indices") | ("one_hot", "x") => &["label", "argmax(it)", "positions(label)"],
        (_, "variance") => &["it * it + 1", "0.5"],
        ("slice" | "update_slice", "start") => &["0", "label[0]", "sum(label)"],
        (_, "low" | "high") => &["0", "0.5", "1", "2"],
        (
            _,
            "x" | "y" | "z" | "u" | "v" | "w" | "a" | "b" | "q" | "p" | "target" | "logits"
            | "log_probability" | "log_q",
        ) => &["it", "it", "it", "x", "it * 0.5", "float(it)", "softmax(float(it))", "sigmoid(float(it))"],
        _ => return None,
    };
    Some(choices)
}

/// What there is for an argument that takes lists, numbers or texts.
fn lists(owner: &str, name: &str) -> Option<&'static [&'static str]> {
    let choices: &'static [&'static str] = match (owner, name) {
        ("Pad" | "pad", "padding") => {
            &["[0, [1, 2]]", "[0, 1, 2]", "[0, 0, 1, [0, 2]]", "[[0, 0], 0, -1, 1]", "[0, 0, 0, 1, 1]", "[1]"]
        }
        ("Parameter", "dims") => &["[3]", "[2, 3]", "[1]", "[]", "[0]"],
        ("zeros" | "ones" | "full" | "uniform" | "normal" | "gumbel", "dims") => {
            &["[2]", "[size(0), 1]", "[3, 2]", "[]", "[0, 2]"]
        }
        (_, "dims") => &["[-1]", "[0, -1]", "[-1, 2]", "[size(0), -1]", "[size(0), -1, 1]", "[1, -1]"],
        (_, "axes") => &["[1, 0]", "[0, 2, 1]", "[0, 2, 3, 1]", "[0, 1, 4, 2, 3]", "[0, -1, 1]"],
        (_, "axis") => &["0", "1", "-1", "1", "-1", "2", "-2", "[0, 1]", "[1, -1]"],
        (_, "size" | "factor") => &["1", "2", "3", "4", "[2, 1]", "[3, 2]", "[1, 3, 2]"],
        (_, "start" | "stop" | "step") => &["1", "2", "3", "6"],
        (_, "mean" | "std") => &["0.5", "1", "[1, 2, 3, 4]", "[0.5, 1, 2]"],
        (_, "at") => &["[]", "[2]", "[1, 3]"],
        (_, "pos_weight") => &["2", "0.5", "[1, 2, 3, 0.5, 1, 2]", "it * 0 + 2"],
        ("bce" | "bce_with_logits", "weights") => &["2", "it * 0.5"],
        (_, "weights") => &["[1, 2, 3, 0.5, 1, 2]", "[1, 2, 3, 0.5]"],
        (_, "name") => &["'w'", "'fc1.weight'", "'missing'"],
        _ => return None,
    };
    Some(choices)
}

/// An argument as it is written.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    /// An expression, in quotes where it is no plain number.
    Expression(String),
    /// RON as it stands.
    Text(String),
}

impl Given {
    /// As RON.
    pub fn text(&self) -> String {
        match self {
            Given::Text(text) => text.clone(),
            Given::Expression(text) if text.parse::<f64>().is_ok() && !text.contains(['i', 'n']) => {
                text.clone()
            }
            Given::Expression(text) => format!("\"{text}\""),
        }
    }

    /// Inside an expression.
    pub fn inner(&self) -> String {
        match self {
            Given::Text(text) => text.replace('"', "'"),
            Given::Expression(text) => text.clone(),
        }
    }
}

/// A call in RON.
pub fn call(name: &str, given: &[(&str, Given)]) -> String {
    if given.is_empty() {
        return name.to_owned();
    }
    let arguments: Vec<String> =
        given.iter().map(|(name, value)| format!("{name}: {}", value.text())).collect();
    format!("{name}({})", arguments.join(", "))
}

/// A call in an expression. Required arguments come first in every signature, so they stand without names.
pub fn function_call(name: &str, given: &[(&str, Given)]) -> String {
    let arguments: Vec<String> =
        given.iter().map(|(name, value)| format!("{name}={}", value.inner())).collect();
    format!("{name}({})", arguments.join(", "))
}

/// The text of a model of that body.
pub fn model(input: &str, batch: &str, body: &[String], train: Option<&str>) -> String {
    let train = train.map_or(String::new(), |train| format!("\n        \"train\": {train},"));
    format!(
        "Model(
    dims: {{ \"batch\": {batch} }},
    inputs: {{ \"x\": \"{input}\", \"label\": \"i32[batch]\", \"m\": \"bool[batch, 1]\" }},
    body: [
        {},
    ],
    entries: {{
        \"infer\": Infer(outputs: {{ \"y\": \"it\" }}),{train}
    }},
)
",
        body.join(",\n        ")
    )
}

/// Whether a model can be built.
pub fn is_right(text: &str) -> bool {
    let model = Model::parse("random.ron", text, &no_imports);
    model.is_ok_and(|model| model.instantiate(&Settings::default()).is_ok())
}

/// A model whose one layer is this one, with nothing odd in it, that can be built: its input, and what is given to the
/// layer. `None` if many attempts find none.
pub fn with_layer(layer: &Callable, attempts: u64) -> Option<(&'static str, Vec<(&'static str, Given)>)> {
    (0..attempts).find_map(|seed| {
        let mut maker = Maker::new(seed, 0);
        let input = INPUTS[seed as usize % INPUTS.len()];
        let given = maker.arguments(layer, 30);
        is_right(&model(input, "2", &[call(layer.name, &given)], None)).then_some((input, given))
    })
}

/// The same for a function.
pub fn with_function(
    function: &Callable,
    attempts: u64,
) -> Option<(&'static str, Vec<(&'static str, Given)>)> {
    (0..attempts).find_map(|seed| {
        let mut maker = Maker::new(seed, 0);
        let input = INPUTS[seed as usize % INPUTS.len()];
        let given = maker.arguments(function, 30);
        let step = format!("Expr(\"{}\")", function_call(function.name, &given));
        // What gives a number or a list is no tensor, which says nothing against the call.
        let bound = format!("Let(\"v\", \"{}\")", function_call(function.name, &given));
        let right = [step, bound].iter().any(|step| {
            is_right(&model(
                input,
                "2",
                &["Parameter(name: \"w\", dims: [2])".into(), "Ref(\"x\")".into(), step.clone()],
                None,
            ))
        });
        right.then_some((input, given))
    })
}

/// The model of a seed. Steps that do not fit are tried again, so that many models are right; one in eight ends with a
/// step that does not.
pub fn random(seed: u64) -> String {
    let mut maker = Maker::new(seed, if seed.is_multiple_of(4) { 12 } else { 2 });
    let input = maker.input();
    let batch = maker.one_of(&["1", "2", "2", "3", "5"]);
    let mut body: Vec<String> = Vec::new();
    if input.starts_with(['u', 'b']) {
        body.push(FLOATED.to_owned());
    }
    let wanted = body.len() + 1 + maker.rng.below(6);
    let wrong = seed.is_multiple_of(8);
    let mut attempts = 0;
    let begun = body.len();
    while body.len() < wanted && attempts < 24 {
        attempts += 1;
        // Each layer and function has its turn, and some attempts.
        let turn = body.len() == begun && attempts <= 12;
        let step = if turn { maker.numbered(seed) } else { maker.step(0) };
        body.push(step);
        let last = wrong && body.len() == wanted;
        if !last && !is_right(&model(input, batch, &body, None)) {
            body.pop();
        }
    }
    if body.is_empty() {
        body.push("Identity".to_owned());
    }
    for _ in 0..3 {
        let train = maker.train();
        let text = model(input, batch, &body, Some(&train));
        if wrong || is_right(&text) {
            return text;
        }
    }
    model(input, batch, &body, None)
}
