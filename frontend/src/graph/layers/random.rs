//! Layers that draw random numbers in training and are the identity in inference.
//!
//! Numbers are counter-based: a function of the seed, of what counts the runs, of the layer's path and of the number of its call.
//! Runs are counted by all updates so far (`step`) in training, elsewhere by the entry's own runs.

use brolga_ir::Type;
use brolga_ir::ops::{Distribution, Role};
use brolga_ir::scalar::Comparison;

use super::layer::{Layer, input};
use crate::graph::builder::Builder;
use crate::graph::value::{Args, Built, Fault, Tensor};
use crate::signature::{Bounds, Signature, number, within};

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

pub(super) const LAYERS: [Layer; 4] = [
    random!("Dropout", &[within("p", 0.0, 1.0).or(0.5)], |builder, x, args| {
        let x = input(x)?;
        let dims = builder.ops().dims(x);
        dropout(builder, x, args, dims)
    }),
    random!("Dropout2d", &[within("p", 0.0, 1.0).or(0.5)], |builder, x, args| {
        // Whole channels.
        let x = input(x)?;
        let dims = builder.ops().dims(x);
        let dims = dims.iter().enumerate().map(|(axis, &n)| if axis < 2 { n } else { 1 }).collect();
        dropout(builder, x, args, dims)
    }),
    random!("DropPath", &[within("p", 0.0, 1.0).or(0.5)], |builder, x, args| {
        // Whole samples: stochastic depth (Huang et al. 2016).
        let x = input(x)?;
        let dims = builder.ops().dims(x);
        let dims = dims.iter().enumerate().map(|(axis, &n)| if axis < 1 { n } else { 1 }).collect();
        dropout(builder, x, args, dims)
    }),
    random!("GaussianNoise", &[number("std", Bounds::NOT_NEGATIVE).or(0.1)], |builder, x, args| {
        let x = input(x)?;
        let std = args.float_or("std", 0.1)?;
        if !builder.layer_trains() || std == 0.0 {
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
    let p = args.float_or("p", 0.5)?;
    let ty = builder.ops().ty(x);
    if !ty.dtype.is_float() {
        return Err(Fault::new(format!("the input must have floating-point elements, found {ty}")));
    }
    if !builder.layer_trains() || p == 0.0 {
        return Ok(x);
    }
    thinned(builder, x, p, dims)
}

/// The dropout of a layer that has another one's inside, with a draw for each element.
pub(super) fn dropped(builder: &mut Builder, x: Tensor, p: f64) -> Built {
    let dims = builder.ops().dims(x);
    if builder.layer_trains() { thinned(builder, x, p, dims) } else { Ok(x) }
}

fn thinned(builder: &mut Builder, x: Tensor, p: f64, dims: Vec<usize>) -> Built {
    let ty = builder.ops().ty(x);
    let uniform = builder.random_uniform(&ty.with_dims(dims))?;
    let ops = &mut builder.ops();
    let kept = ops.compare_num(Comparison::Ge, uniform, p)?;
    let zero = ops.scalar(0.0, ty.dtype)?;
    let scaled = if p < 1.0 { ops.mul_num(x, 1.0 / (1.0 - p))? } else { x };
    let zeros = ops.broadcast_to(zero, &ty.dims)?;
    ops.select(kept, scaled, zeros)
}

impl Builder<'_> {
    /// Uniform numbers from 0 to below 1 of this call of the current layer, or the input `random.<path>`.
    pub fn random_uniform(&mut self, ty: &Type) -> Built {
        self.drawn(Distribution::Uniform, ty)
    }

    /// Standard normal numbers of this call of the current layer, or the input `random.<path>`.
    pub fn random_normal(&mut self, ty: &Type) -> Built {
        self.drawn(Distribution::Normal, ty)
    }

    /// Words of 32 random bits, as `i32`, alike.
    pub fn random_bits(&mut self, ty: &Type) -> Built {
        self.drawn(Distribution::Bits, ty)
    }

    /// In a loop each step draws anew: the numbers of all steps are drawn, or given, together, and each step takes its own.
    fn drawn(&mut self, distribution: Distribution, ty: &Type) -> Built {
        let name = self.draw();
        let all = self.for_all_steps(ty);
        all.check_size().map_err(Fault::new)?;
        let drawn = match self.fed_random(&name, &all) {
            Some(fed) => fed,
            None => {
                // Elsewhere than in training its numbers are others, though both count from 0.
                let seed = self.seed()?;
                let (count, stream) = match self.train {
                    true => (self.step_count()?, name.clone()),
                    false => (self.calls()?, format!("{}:{name}", self.graph.graph.name)),
                };
                self.ops().random(distribution, seed, Some(count), &stream, &all)?
            }
        };
        Ok(self.of_this_step(&name, drawn))
    }

    /// The input that stands for a draw, if they are fed. The steps of an entry share it, as they share the draw.
    fn fed_random(&mut self, name: &str, ty: &Type) -> Option<Tensor> {
        if !self.settings.feed_random {
            return None;
        }
        let name = format!("random.{name}");
        let graph = &mut self.graph.graph;
        let known = graph.parameters().iter().copied().find(|&id| {
            graph.parameter(id).is_some_and(|p| p.role == Role::Data && p.name == name && p.ty == *ty)
        });
        Some(match known {
            Some(id) => graph.result(id),
            None => graph.add_parameter(&name, Role::Data, ty.clone()),
        })
    }
}
