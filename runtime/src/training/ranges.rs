//! Looking through a data set for indices that an entry does not take.

use crate::error::{Error, ErrorKind, Result};
use crate::run::manifest::{IndexRange, Manifest};
use crate::run::ranges::{coordinates, first_outside};
use crate::tensors::tensor::Tensor;
use crate::training::data::{Batches, Request, Split, indices};

/// Looks at all samples of a part for indices that the entry does not take, before it runs over any. Only the fields that
/// are indices are read; they have been compared with the inputs' types.
///
/// # Errors
/// An index outside of its range, with its sample.
pub(crate) fn check(data: &mut dyn Batches, split: Split, seed: u64, manifest: &Manifest) -> Result<()> {
    for input in &manifest.inputs {
        let Some(range) = input.range else { continue };
        let Some(field) = data.fields().iter().position(|field| field.name == input.name) else { continue };
        let batch = input.dims.get(input.samples_axis()).copied().unwrap_or(1).max(1);
        let mut look = |range| first_sample(data, split, seed, field, batch, range);
        let Some(found) = look(range)? else { continue };
        let IndexRange { low, high } = range;
        // All would be right if they were one less: counted from 1.
        let shifted = IndexRange { low: low.saturating_add(1), high: high.saturating_add(1) };
        let hint = match low == 0 && look(shifted)?.is_none() {
            true => "; classes count from 0, as all indices do: are these counted from 1?",
            false if low == 0 && found.value == -1 => {
                "; labels of -1 that do not count are left out by `ignore_index=-1` in the loss"
            }
            false => "",
        };
        let within = match found.within {
            Some(place) => format!(" at {place}"),
            None => String::new(),
        };
        let message = format!(
            "the data has {} in `{}`{within} of {}, but only values from {low} to {high} are allowed{hint}",
            found.value,
            input.name,
            data.place(split, found.index)
        );
        return Err(Error::new(ErrorKind::Range, message));
    }
    Ok(())
}

/// An index that is none.
struct Found {
    value: i64,
    /// The sample, in its part.
    index: usize,
    /// The place in the sample, if it has several.
    within: Option<String>,
}

/// The first value of a field that is outside of a range, reading so many samples at a time.
fn first_sample(
    data: &mut dyn Batches,
    split: Split,
    seed: u64,
    field: usize,
    batch: usize,
    range: IndexRange,
) -> Result<Option<Found>> {
    let (dtype, dims) = (data.fields()[field].dtype, data.fields()[field].dims.clone());
    let mut all = indices(data.len(split))?;
    all.iter_mut().enumerate().for_each(|(i, index)| *index = i);
    let mut tensor = Tensor::zeros(dtype, &[&[batch.min(all.len())], &dims[..]].concat())?;
    for indices in all.chunks(batch) {
        if tensor.dims()[0] != indices.len() {
            tensor = Tensor::zeros(dtype, &[&[indices.len()], &dims[..]].concat())?;
        }
        data.fill(&Request { split, indices, seed, epoch: 0 }, field, &mut tensor.view_mut())?;
        if let Some((at, value)) = first_outside(&tensor.view(), range) {
            let size = dims.iter().product::<usize>();
            let within = (!dims.is_empty()).then(|| coordinates(at % size, &dims));
            return Ok(Some(Found { value, index: indices[at / size], within }));
        }
    }
    Ok(None)
}
