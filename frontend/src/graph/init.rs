//! Initial values of parameters.

use brolga_ir::Size;

use super::value::{Args, Built};
use crate::signature::{Bounds, LARGEST, Parameter, call, calls, number, required_number, word, words};

/// How a tensor is filled at first.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Init {
    Constant(f64),
    /// Uniform over `low..high`.
    Uniform {
        low: f64,
        high: f64,
    },
    Normal {
        mean: f64,
        std: f64,
    },
    /// Normal, drawn anew in effect outside of two standard deviations.
    TruncatedNormal {
        std: f64,
    },
    /// `gain` on the diagonal of a matrix, or at the centre of the kernel of a convolution.
    Identity {
        gain: f64,
    },
    /// The table of that name in the data set, set when training begins; zeros before.
    Table(String),
    /// A row of zeros among others.
    ZeroRow {
        row: usize,
        others: Box<Init>,
    },
}

words! {
    /// Which fan a rule divides by.
    enum Fan { In = "in", Out = "out" }
}

const STD: Parameter = required_number("std", Bounds::NOT_NEGATIVE);
const HE: [Parameter; 2] = [word::<Fan>("fan", false).or_word("in"), number("slope", Bounds::ANY).or(0.0)];

calls! {
    /// The initialisers, for the argument `init` of layers.
    pub(crate) enum Initializer in INITS {
        Zeros: &[],
        Ones: &[],
        Constant: &[required_number("value", Bounds::ANY)],
        Uniform: &[required_number("low", Bounds::ANY), required_number("high", Bounds::ANY)],
        Normal: &[STD, number("mean", Bounds::ANY).or(0.0)],
        TruncatedNormal: &[STD],
        HeNormal: &HE,
        HeUniform: &HE,
        XavierNormal: &[number("gain", Bounds::ANY).or(1.0)],
        XavierUniform: &[number("gain", Bounds::ANY).or(1.0)],
        LecunNormal: &[],
        LecunUniform: &[],
        Identity: &[number("gain", Bounds::ANY).or(1.0)],
        Default: &[],
    }
}

/// How a layer's weights are filled.
pub(crate) const INIT: Parameter = call("init", &INITS, Bounds::ANY, false).or_call("Default");
/// How its biases are filled.
pub(crate) const BIAS_INIT: Parameter = call("bias_init", &INITS, Bounds::ANY, false).or_call("Default");

impl Init {
    /// The argument `name` of a layer, or PyTorch's default for weights: uniform within 1/sqrt(fan in), which is
    /// He's rule (He, Zhang, Ren & Sun 2015) with slope sqrt 5.
    pub fn weight(args: &Args, name: &str, fan_in: impl Into<Size>, fan_out: impl Into<Size>) -> Built<Init> {
        let fan_in = fan_in.into();
        Init::from_args(args, name, fan_in, fan_out, Init::fan_uniform(fan_in))
    }

    /// Uniform within 1/sqrt(fan in): PyTorch's default for biases as well.
    pub fn fan_uniform(fan_in: impl Into<Size>) -> Init {
        let bound = 1.0 / fan_in.into().max(1).approximate().sqrt();
        Init::Uniform { low: -bound, high: bound }
    }

    /// The argument `name`, or `default`.
    pub fn from_args(
        args: &Args,
        name: &str,
        fan_in: impl Into<Size>,
        fan_out: impl Into<Size>,
        default: Init,
    ) -> Built<Init> {
        let Some((kind, given)) = args.call::<Initializer>(name)? else {
            // A bare number is a constant.
            return match args.has(name) {
                true => Ok(Init::Constant(args.float_or(name, 0.0)?)),
                false => Ok(default),
            };
        };
        let fans =
            Fans { fan_in: fan_in.into().max(1).approximate(), fan_out: fan_out.into().max(1).approximate() };
        match fans.init(kind, given, default)? {
            Init::Uniform { low, high } if low > high => {
                Err(args.fault(name, format!("`Uniform` needs low <= high, found {low} and {high}")))
            }
            Init::Uniform { low, high } if high - low > LARGEST => {
                let message = format!("numbers from {low:e} to {high:e} are further apart than f32 has");
                Err(args.fault(name, message))
            }
            Init::Normal { std, .. } if std > LARGEST => {
                Err(args.fault(name, format!("a deviation of {std:e} does not fit into f32")))
            }
            init => Ok(init),
        }
    }
}

/// How many elements of the input make an element of a layer's result, and how many of the result an element of the input has
/// its part in.
struct Fans {
    fan_in: f64,
    fan_out: f64,
}

impl Fans {
    /// What an initialiser's call gives for these fans. Variances: He 2/((1+a²) fan), Xavier (Glorot & Bengio 2010)
    /// 2 g²/(in + out), LeCun (1998) 1/in.
    fn init(&self, kind: Initializer, given: &Args, default: Init) -> Built<Init> {
        let normal = |variance: f64| Init::Normal { mean: 0.0, std: variance.sqrt() };
        let uniform = |variance: f64| {
            let bound = (3.0 * variance).sqrt();
            Init::Uniform { low: -bound, high: bound }
        };
        Ok(match kind {
            Initializer::Zeros => Init::Constant(0.0),
            Initializer::Ones => Init::Constant(1.0),
            Initializer::Constant => Init::Constant(given.float_or("value", 0.0)?),
            Initializer::Uniform => {
                Init::Uniform { low: given.float_or("low", 0.0)?, high: given.float_or("high", 0.0)? }
            }
            Initializer::Normal => {
                let std = given.float_or("std", 1.0)?;
                Init::Normal { mean: given.float_or("mean", 0.0)?, std }
            }
            Initializer::TruncatedNormal => Init::TruncatedNormal { std: given.float_or("std", 1.0)? },
            Initializer::HeNormal => normal(self.he(given)?),
            Initializer::HeUniform => uniform(self.he(given)?),
            Initializer::XavierNormal => normal(self.xavier(given)?),
            Initializer::XavierUniform => uniform(self.xavier(given)?),
            Initializer::LecunNormal => normal(1.0 / self.fan_in),
            Initializer::LecunUniform => uniform(1.0 / self.fan_in),
            Initializer::Identity => Init::Identity { gain: given.float_or("gain", 1.0)? },
            Initializer::Default => default,
        })
    }

    fn he(&self, given: &Args) -> Built<f64> {
        let fan = match given.word("fan", Fan::In)? {
            Fan::In => self.fan_in,
            Fan::Out => self.fan_out,
        };
        let slope = given.float_or("slope", 0.0)?;
        Ok(2.0 / ((1.0 + slope * slope) * fan))
    }

    fn xavier(&self, given: &Args) -> Built<f64> {
        let gain = given.float_or("gain", 1.0)?;
        Ok(2.0 * gain * gain / (self.fan_in + self.fan_out))
    }
}
