//! Types with symbolic sizes: `f32[batch, 6, 28, 28]`.
//!
//! Graphs are concrete, since sizes are bound before anything is built. So the layers are built for a few other sizes as
//! well, and every extent is explained by how it moves: it stays; it is affine in one size (`2*length + 1`); or it is
//! a multiple of the product of several (`8*batch*length`). Three values of each size must agree, and one change of
//! all sizes at once. An extent that fits none of these is shown as the number that it is; so is what follows from sizes
//! behind the first 32.

use std::fmt;

use brolga_ir::{DType, Size, Type};

use crate::graph::builder::LayerRow;
use crate::graph::settings::{MOST_TRIED, Settings};
use crate::instance::{Instance, Model};

/// A type whose extents may be expressions over the model's sizes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SymbolicType {
    /// Element type.
    pub dtype: DType,
    /// Extents: numbers, sizes, or expressions over sizes.
    pub dims: Vec<String>,
}

impl fmt::Display for SymbolicType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.dtype, self.dims.join(", "))
    }
}

/// The results of all layers for certain sizes.
struct Sample {
    /// In the order of [`Instance::dims`].
    sizes: Vec<i64>,
    outputs: Vec<Type>,
}

impl Model {
    /// The types of the layers' results ([`Instance::layers`] of `instance`, which `settings` gave) with the sizes
    /// ([`Instance::dims`]) as symbols. Builds the layers a few times more.
    pub fn symbolic_outputs(&self, settings: &Settings, instance: &Instance) -> Vec<SymbolicType> {
        let names: Vec<&str> = instance.dims().iter().map(|(name, _)| name.as_str()).collect();
        let tried = names.len().min(MOST_TRIED);
        let base = Sample {
            sizes: instance.dims().iter().map(|&(_, size)| i64::try_from(size).unwrap_or(i64::MAX)).collect(),
            outputs: outputs(instance.layers()),
        };
        let probes: Vec<Vec<Sample>> =
            (0..tried).map(|at| self.probe(settings, instance, &base, at)).collect();
        let others = base.sizes[tried..].iter().map(|&size| Some(size));
        let moved = probes.iter().enumerate().map(|(at, found)| Some(found.first()?.sizes[at]));
        let all: Option<Vec<i64>> = moved.chain(others).collect();
        let together =
            all.filter(|_| names.len() > 1).and_then(|sizes| self.sample(settings, instance, &base, sizes));
        let explain = |(layer, ty): (usize, &Type)| {
            let extent = |axis: usize| {
                explain(&names, &base, &probes, together.as_ref(), &|sample| {
                    sample.outputs[layer].dims[axis] as i64
                })
            };
            SymbolicType { dtype: ty.dtype, dims: (0..ty.rank()).map(extent).collect() }
        };
        base.outputs.iter().enumerate().map(explain).collect()
    }

    /// Two samples with another value of one size; fewer if the layers do not allow them. Odd values come first, so
    /// that rounded quotients are not taken for exact ones.
    fn probe(&self, settings: &Settings, instance: &Instance, base: &Sample, at: usize) -> Vec<Sample> {
        let size = Size::from(base.sizes[at]);
        let values = [size + 1, size * 2 + 1, size * 2, size * 3];
        let sample = |value: i64| {
            let mut sizes = base.sizes.clone();
            sizes[at] = value;
            self.sample(settings, instance, base, sizes)
        };
        values.into_iter().filter_map(Size::number).filter_map(sample).take(2).collect()
    }

    fn sample(
        &self,
        settings: &Settings,
        instance: &Instance,
        base: &Sample,
        sizes: Vec<i64>,
    ) -> Option<Sample> {
        let names = instance.dims().iter().map(|(name, _)| name.clone());
        let dims = names.zip(&sizes).map(|(name, &size)| (name, size as usize)).collect();
        let settings = Settings { dims, ..settings.clone() };
        let outputs = outputs(&self.rows(&settings, instance.rows_of_training)?);
        let alike = outputs.len() == base.outputs.len()
            && outputs.iter().zip(&base.outputs).all(|(a, b)| a.rank() == b.rank());
        alike.then_some(Sample { sizes, outputs })
    }
}

fn outputs(rows: &[LayerRow]) -> Vec<Type> {
    rows.iter().map(|row| row.output.clone()).collect()
}

/// The expression of one extent, which `of` reads from a sample.
fn explain(
    names: &[&str],
    base: &Sample,
    probes: &[Vec<Sample>],
    together: Option<&Sample>,
    of: &dyn Fn(&Sample) -> i64,
) -> String {
    let extent = of(base);
    let moving: Vec<usize> =
        (0..probes.len()).filter(|&at| probes[at].iter().any(|probe| of(probe) != extent)).collect();
    let known = moving.iter().all(|&at| probes[at].len() == 2);
    let fits = |value: &dyn Fn(&Sample) -> Option<i64>| {
        let samples = moving.iter().flat_map(|&at| &probes[at]).chain(together).chain([base]);
        samples.into_iter().all(|sample| value(sample) == Some(of(sample)))
    };
    let expression = match moving[..] {
        [] => None,
        [at] => {
            let probe = &probes[at][0];
            let (rise, run) = (of(probe) - extent, probe.sizes[at] - base.sizes[at]);
            let slope = rise / run;
            let line = |size: i64, offset: i64| (Size::from(slope) * size + offset).number();
            let offset = (Size::from(extent) - Size::from(slope) * base.sizes[at]).number();
            let known = offset.filter(|&offset| fits(&|sample| line(sample.sizes[at], offset)));
            known.map(|offset| affine(slope, names[at], offset))
        }
        _ => {
            let product = |sample: &Sample| Size::product(moving.iter().map(|&at| sample.sizes[at]));
            let factor = product(base).number().and_then(|all| extent.checked_div(all)).unwrap_or(0);
            let symbols = moving.iter().map(|&at| names[at]).collect::<Vec<_>>().join("*");
            let holds = together.is_some() && fits(&|sample| (product(sample) * factor).number());
            holds.then(|| affine(factor, &symbols, 0))
        }
    };
    expression.filter(|_| known).unwrap_or_else(|| extent.to_string())
}

/// `batch`, `2*length`, `length - 2`
fn affine(factor: i64, symbol: &str, offset: i64) -> String {
    let product = if factor == 1 { symbol.to_owned() } else { format!("{factor}*{symbol}") };
    match offset {
        0 => product,
        1.. => format!("{product} + {offset}"),
        _ => format!("{product} - {}", offset.unsigned_abs()),
    }
}
