//! Initial values of parameters.

use crate::arguments::{Parameter, Signature, optional, required, word};
use crate::build::value::{Args, Built, Fault};

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
}

const FAN: [&str; 2] = ["in", "out"];
const HE: [Parameter; 2] = [word("fan", &FAN, false), optional("slope")];

/// The initialisers, for the argument `init` of layers.
pub(crate) static INITS: [Signature; 14] = [
    Signature { name: "Zeros", parameters: &[] },
    Signature { name: "Ones", parameters: &[] },
    Signature { name: "Constant", parameters: &[required("value")] },
    Signature { name: "Uniform", parameters: &[required("low"), required("high")] },
    Signature { name: "Normal", parameters: &[required("std"), optional("mean")] },
    Signature { name: "TruncatedNormal", parameters: &[required("std")] },
    Signature { name: "HeNormal", parameters: &HE },
    Signature { name: "HeUniform", parameters: &HE },
    Signature { name: "XavierNormal", parameters: &[optional("gain")] },
    Signature { name: "XavierUniform", parameters: &[optional("gain")] },
    Signature { name: "LecunNormal", parameters: &[] },
    Signature { name: "LecunUniform", parameters: &[] },
    Signature { name: "Identity", parameters: &[optional("gain")] },
    Signature { name: "Default", parameters: &[] },
];

impl Init {
    /// The argument `name` of a layer, or PyTorch's default for weights: uniform within 1/sqrt(fan in), which is
    /// He's rule (He, Zhang, Ren & Sun 2015) with slope sqrt 5.
    pub fn weight(args: &Args, name: &str, fan_in: usize, fan_out: usize) -> Built<Init> {
        Init::from_args(args, name, fan_in, fan_out, Init::fan_uniform(fan_in))
    }

    /// Uniform within 1/sqrt(fan in): PyTorch's default for biases as well.
    pub fn fan_uniform(fan_in: usize) -> Init {
        let bound = 1.0 / (fan_in.max(1) as f64).sqrt();
        Init::Uniform { low: -bound, high: bound }
    }

    /// The argument `name`, or `default`.
    pub fn from_args(args: &Args, name: &str, fan_in: usize, fan_out: usize, default: Init) -> Built<Init> {
        let Some((kind, given)) = args.call(name) else {
            // A bare number is a constant.
            return match args.has(name) {
                true => Ok(Init::Constant(args.float_or(name, 0.0)?)),
                false => Ok(default),
            };
        };
        let (fan_in, fan_out) = (fan_in.max(1) as f64, fan_out.max(1) as f64);
        let normal = |variance: f64| Init::Normal { mean: 0.0, std: variance.sqrt() };
        let uniform = |variance: f64| {
            let bound = (3.0 * variance).sqrt();
            Init::Uniform { low: -bound, high: bound }
        };
        // Variances: He 2/((1+a²) fan), Xavier (Glorot & Bengio 2010) 2 g²/(in + out), LeCun (1998) 1/in.
        let he = || -> Built<f64> {
            let fan = if given.word_or("fan", &FAN, "in")? == "in" { fan_in } else { fan_out };
            let slope = given.float_or("slope", 0.0)?;
            Ok(2.0 / ((1.0 + slope * slope) * fan))
        };
        let xavier = || -> Built<f64> {
            let gain = given.float_or("gain", 1.0)?;
            Ok(2.0 * gain * gain / (fan_in + fan_out))
        };
        Ok(match kind {
            "Zeros" => Init::Constant(0.0),
            "Ones" => Init::Constant(1.0),
            "Constant" => Init::Constant(given.float_or("value", 0.0)?),
            "Uniform" => {
                let (low, high) = (given.float_or("low", 0.0)?, given.float_or("high", 0.0)?);
                if low > high {
                    let fault = Fault::new(format!("`Uniform` needs low <= high, found {low} and {high}"));
                    return Err(args.place(name).map_or(fault.clone(), |place| fault.at(place)));
                }
                Init::Uniform { low, high }
            }
            "Normal" => {
                let std = given.float_in("std", 1.0, 0.0, f64::MAX)?;
                Init::Normal { mean: given.float_or("mean", 0.0)?, std }
            }
            "TruncatedNormal" => Init::TruncatedNormal { std: given.float_in("std", 1.0, 0.0, f64::MAX)? },
            "HeNormal" => normal(he()?),
            "HeUniform" => uniform(he()?),
            "XavierNormal" => normal(xavier()?),
            "XavierUniform" => uniform(xavier()?),
            "LecunNormal" => normal(1.0 / fan_in),
            "LecunUniform" => uniform(1.0 / fan_in),
            "Identity" => Init::Identity { gain: given.float_or("gain", 1.0)? },
            _ => default,
        })
    }
}
