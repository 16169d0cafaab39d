//! Layers that draw random numbers in training and are the identity in inference.
//!
//! Numbers are counter-based: a function of the seed, the step and the layer's path.

use brolga_ir::Type;
use brolga_ir::ops::Role;
use brolga_ir::scalar::Comparison;

use super::{Layer, input};
use crate::arguments::{Signature, within};
use crate::build::Builder;
use crate::build::ops::Tensor;
use crate::build::value::{Args, Built, Fault};

macro_rules! random {
    ($name:literal, $parameters:expr, $build:expr) => {
        Layer {
            signature: Signature { name: $name, parameters: $parameters },
            label: "dropout",
            source: false,
            build: $build,
        }
    };
}

pub(super) static LAYERS: [Layer; 4] = [
    random!("Dropout", &[within("p", 0.0, 1.0)], |builder, x, args| {
        let x = input(x)?;
        let dims = builder.ops().dims(x);
        dropout(builder, x, args, dims)
    }),
    random!("Dropout2d", &[within("p", 0.0, 1.0)], |builder, x, args| {
        // Whole channels.
        let x = input(x)?;
        let dims = builder.ops().dims(x);
        let dims = dims.iter().enumerate().map(|(axis, &n)| if axis < 2 { n } else { 1 }).collect();
        dropout(builder, x, args, dims)
    }),
    random!("DropPath", &[within("p", 0.0, 1.0)], |builder, x, args| {
        // Whole samples: stochastic depth (Huang et al. 2016).
        let x = input(x)?;
        let dims = builder.ops().dims(x);
        let dims = dims.iter().enumerate().map(|(axis, &n)| if axis < 1 { n } else { 1 }).collect();
        dropout(builder, x, args, dims)
    }),
    random!("GaussianNoise", &[within("std", 0.0, f64::MAX)], |builder, x, args| {
        let x = input(x)?;
        let std = args.float_in("std", 0.1, 0.0, f64::MAX)?;
        if !builder.train || std == 0.0 {
            return Ok(x);
        }
        let ty = builder.ops().ty(x);
        let noise = builder.random_normal(&ty)?;
        let ops = &mut builder.ops();
        let scaled = ops.mul_num(noise, std)?;
        ops.add(x, scaled)
    }),
];

/// Zero with probability `p`, else times `1 / (1 - p)` (Srivastava et al. 2014); one draw for each element of `dims`.
fn dropout(builder: &mut Builder, x: Tensor, args: &Args, dims: Vec<usize>) -> Built {
    let p = args.float_in("p", 0.5, 0.0, 1.0)?;
    let ty = builder.ops().ty(x);
    if !ty.dtype.is_float() {
        return Err(Fault::new(format!("the input must have floating-point elements, found {ty}")));
    }
    if !builder.train || p == 0.0 {
        return Ok(x);
    }
    let uniform = builder.random_uniform(&ty.with_dims(dims))?;
    let ops = &mut builder.ops();
    let kept = ops.compare_num(Comparison::Ge, uniform, p)?;
    let zero = ops.scalar(0.0, ty.dtype)?;
    let scaled = if p < 1.0 { ops.mul_num(x, 1.0 / (1.0 - p))? } else { x };
    let zeros = ops.broadcast_to(zero, &ty.dims)?;
    ops.select(kept, scaled, zeros)
}

impl Builder<'_> {
    /// Uniform numbers from 0 to below 1 of the current layer, or the input `random.<path>`.
    pub fn random_uniform(&mut self, ty: &Type) -> Built {
        if let Some(fed) = self.fed_random(ty) {
            return Ok(fed);
        }
        let (seed, step, path) = (self.seed()?, self.step_count()?, self.full_name(""));
        self.ops().uniform(seed, Some(step), &path, ty)
    }

    /// Standard normal numbers of the current layer, or the input `random.<path>`.
    pub fn random_normal(&mut self, ty: &Type) -> Built {
        if let Some(fed) = self.fed_random(ty) {
            return Ok(fed);
        }
        let (seed, step, path) = (self.seed()?, self.step_count()?, self.full_name(""));
        self.ops().normal(seed, Some(step), &path, ty)
    }

    fn fed_random(&mut self, ty: &Type) -> Option<Tensor> {
        let name = format!("random.{}", self.full_name(""));
        self.settings.feed_random.then(|| self.graph.graph.add_parameter(&name, Role::Data, ty.clone()))
    }
}
