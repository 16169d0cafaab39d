//! Fitting what prepares the data, once before training: means and deviations of the training part.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::run::executable::Executable;
use crate::run::state::{SlotKind, State};
use crate::run::threads::Threads;
use crate::tensors::dtype::{DType, type_name};
use crate::tensors::samples::taken;
use crate::tensors::tensor::Tensor;
use crate::training::data::{Batches, Request, Split};
use crate::training::feed::Feed;

/// Fits the states `<output>.mean` and `<output>.std` of each output of `executable` to what it gives of the samples of
/// the training part of a data set, in the order of the outputs: a later one may depend on an earlier one's state.
///
/// The dimensions of a state are the first ones of a sample: `[]` has one mean of all, `[channels]` one for each channel.
/// The deviation divides by the number of values; where all are equal it is 1. Sums go in one order, in f64: the same
/// data give the same bits. A last partial batch is left out, so a batch of 1 leaves out nothing.
///
/// # Errors
/// Data that do not fit the inputs, or with values that are not finite; states that do not fit the outputs.
pub fn fit(
    executable: &Arc<Executable>,
    state: &mut State,
    threads: &Threads,
    data: &mut dyn Batches,
) -> Result<()> {
    let outputs = executable.manifest().outputs.clone();
    for (at, output) in outputs.iter().enumerate() {
        let (mean, std) = (format!("{}.mean", output.name), format!("{}.std", output.name));
        let own = state.get(&mean)?.dims().to_vec();
        let axis = output.samples.axis().unwrap_or(0);
        let mut sample = output.dims.clone();
        if axis < sample.len() {
            sample.remove(axis);
        }
        if !sample.starts_with(&own) || state.get(&std)?.dims() != own {
            let (own, found) = (type_name(output.dtype, &own), type_name(output.dtype, &output.dims));
            let message = format!("`{mean}` is {own}, which is not the beginning of a sample of {found}");
            return Err(Error::new(ErrorKind::Shape, message));
        }
        let mut moments = vec![Moments::default(); own.iter().product()];
        let mut feed = Feed::bind(executable, state, threads, data)?;
        let order: Vec<usize> = (0..data.len(Split::Train)).collect();
        for indices in order.chunks_exact(feed.batch()) {
            let request = Request { split: Split::Train, indices, seed: 0, epoch: 0 };
            feed.fill(data, &request)?;
            if let Some(found) = feed.not_finite(data, &request) {
                return Err(found.error(&format!("`{}` cannot be fitted to them", output.name)));
            }
            feed.run(state)?;
            let found = match axis {
                0 => add(&mut moments, &feed.outputs()[at], indices),
                _ => add_each(&mut moments, &feed.outputs()[at], axis, indices),
            };
            found.map_err(|e| e.within(format!("`{}`", output.name)))?;
        }
        set(state, &mean, moments.iter().map(|m| m.mean))?;
        set(state, &std, moments.iter().map(Moments::deviation))?;
    }
    Ok(())
}

/// What is fitted to data in a state: names such as `data.image.mean`, and values.
pub fn fitted(state: &State) -> Vec<(&str, Vec<f64>)> {
    let slots = state.slots().iter().filter(|slot| slot.kind() == SlotKind::Fitted);
    let values = slots.map(|slot| {
        let tensor = slot.tensor();
        let values = match tensor.dtype() {
            DType::F64 => tensor.as_slice::<f64>().map(<[f64]>::to_vec),
            _ => tensor.as_slice::<f32>().map(|values| values.iter().map(|&v| f64::from(v)).collect()),
        };
        (slot.name(), values.unwrap_or_default())
    });
    values.collect()
}

/// Number, mean, and sum of squared differences from it (Chan, Golub & LeVeque 1983).
#[derive(Clone, Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, values: impl ExactSizeIterator<Item = f64> + Clone) {
        let count = values.len() as f64;
        if count == 0.0 {
            return;
        }
        let mean = values.clone().sum::<f64>() / count;
        let squares: f64 = values.map(|v| (v - mean) * (v - mean)).sum();
        let (all, apart) = (self.count + count, mean - self.mean);
        self.squares += squares + apart * apart * (self.count * count / all);
        self.mean += apart * (count / all);
        self.count = all;
    }

    fn deviation(&self) -> f64 {
        // Below what f32 can tell apart at this mean, values are equal.
        let deviation = (self.squares / self.count.max(1.0)).sqrt();
        if deviation > self.mean.abs() * 1e-7 { deviation } else { 1.0 }
    }
}

/// Adds the samples of a batch, each with as many runs of values as there are moments.
fn add(moments: &mut [Moments], batch: &Tensor, indices: &[usize]) -> Result<()> {
    match batch.dtype() {
        DType::F32 => add_values(moments, batch.as_slice::<f32>()?, indices),
        _ => add_values(moments, batch.as_slice::<f64>()?, indices),
    }
}

/// The same of samples along another axis than the first.
fn add_each(moments: &mut [Moments], batch: &Tensor, axis: usize, indices: &[usize]) -> Result<()> {
    let mut samples = indices.iter().enumerate();
    samples.try_for_each(|(at, &index)| add(moments, &taken(batch, axis, at, 1)?, &[index]))
}

fn add_values<T: Copy + Into<f64>>(moments: &mut [Moments], values: &[T], indices: &[usize]) -> Result<()> {
    let size = values.len() / indices.len().max(1);
    let run = size / moments.len().max(1);
    if run == 0 {
        return Ok(());
    }
    for (sample, index) in values.chunks_exact(size).zip(indices) {
        if sample.iter().any(|&value| !value.into().is_finite()) {
            let message = format!("sample {index} of the training part has values that are not finite");
            return Err(Error::new(ErrorKind::Data, message));
        }
        for (moments, run) in moments.iter_mut().zip(sample.chunks_exact(run)) {
            moments.add(run.iter().map(|&value| value.into()));
        }
    }
    Ok(())
}

fn set(state: &mut State, name: &str, values: impl Iterator<Item = f64>) -> Result<()> {
    let mut slot = state.get_mut(name)?;
    match slot.dtype() {
        DType::F32 => slot.as_mut_slice::<f32>()?.iter_mut().zip(values).for_each(|(s, v)| *s = v as f32),
        _ => slot.as_mut_slice::<f64>()?.iter_mut().zip(values).for_each(|(s, v)| *s = v),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_whole() {
        let values: Vec<f64> = (0..1000).map(|i| 1e6 + f64::from(i * i % 97)).collect();
        let mut moments = Moments::default();
        values.chunks(7).for_each(|run| moments.add(run.iter().copied()));
        let mean = values.iter().sum::<f64>() / 1000.0;
        let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 1000.0).sqrt();
        assert!((moments.mean - mean).abs() < 1e-6 && (moments.deviation() - deviation).abs() < 1e-6);
        let mut equal = Moments::default();
        (0..10).for_each(|_| equal.add([0.1f32].iter().map(|&v| f64::from(v))));
        assert_eq!(equal.deviation(), 1.0);
        assert_eq!(Moments::default().deviation(), 1.0);
    }

    #[test]
    fn samples_are_cut_into_runs() {
        let mut moments = vec![Moments::default(); 2];
        add_values(&mut moments, &[1f32, 3.0, 10.0, 30.0, 5.0, 7.0, 50.0, 70.0], &[0, 1]).unwrap();
        assert_eq!(moments.iter().map(|m| m.mean).collect::<Vec<_>>(), [4.0, 40.0]);
        assert_eq!(moments[0].deviation(), 5f64.sqrt());
        let error = add_values(&mut moments, &[1f32, f32::NAN], &[7]).unwrap_err().to_string();
        assert!(error.contains("sample 7") && error.contains("not finite"), "{error}");
    }
}
