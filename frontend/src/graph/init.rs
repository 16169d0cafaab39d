//! Initial values of parameters.

use brolga_ir::Size;

use super::value::{Args, Built, Fault};
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
        let (fan_in, fan_out) = (fan_in.into().max(1).approximate(), fan_out.into().max(1).approximate());
        let normal = |variance: f64| Init::Normal { mean: 0.0, std: variance.sqrt() };
        let uniform = |variance: f64| {
            let bound = (3.0 * variance).sqrt();
            Init::Uniform { low: -bound, high: bound }
        };
        // Variances: He 2/((1+a²) fan), Xavier (Glorot & Bengio 2010) 2 g²/(in + out), LeCun (1998) 1/in.
        let he = || -> Built<f64> {
            let fan = match given.word("fan", Fan::In)? {
                Fan::In => fan_in,
                Fan::Out => fan_out,
            };
            let slope = given.float_or("slope", 0.0)?;
            Ok(2.0 / ((1.0 + slope * slope) * fan))
        };
        let xavier = || -> Built<f64> {
            let gain = given.float_or("gain", 1.0)?;
            Ok(2.0 * gain * gain / (fan_in + fan_out))
        };
        let init = match kind {
            Initializer::Zeros => Init::Constant(0.0),
            Initializer::Ones => Init::Constant(1.0),
            Initializer::Constant => Init::Constant(given.float_or("value", 0.0)?),
            Initializer::Uniform => {
                let (low, high) = (given.float_or("low", 0.0)?, given.float_or("high", 0.0)?);
                if low > high {
                    let fault = Fault::new(format!("`Uniform` needs low <= high, found {low} and {high}"));
                    return Err(args.place(name).map_or(fault.clone(), |place| fault.at(place)));
                }
                Init::Uniform { low, high }
            }
            Initializer::Normal => {
                let std = given.float_or("std", 1.0)?;
                Init::Normal { mean: given.float_or("mean", 0.0)?, std }
            }
            Initializer::TruncatedNormal => Init::TruncatedNormal { std: given.float_or("std", 1.0)? },
            Initializer::HeNormal => normal(he()?),
            Initializer::HeUniform => uniform(he()?),
            Initializer::XavierNormal => normal(xavier()?),
            Initializer::XavierUniform => uniform(xavier()?),
            Initializer::LecunNormal => normal(1.0 / fan_in),
            Initializer::LecunUniform => uniform(1.0 / fan_in),
            Initializer::Identity => Init::Identity { gain: given.float_or("gain", 1.0)? },
            Initializer::Default => default,
        };
        match init {
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
