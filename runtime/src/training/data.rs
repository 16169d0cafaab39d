//! Where training gets its batches from.

use crate::error::{Error, ErrorKind, Result};
use crate::random::{Purpose, Random};
use crate::run::record::DataRecord;
use crate::tensors::dtype::DType;
use crate::tensors::memory::no_memory;
use crate::tensors::tensor::{Tensor, TensorMut};

/// One thing that a data set can supply for every sample, such as `image` or `label`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name: the input of the entry point that it feeds.
    pub name: String,
    /// Its element type.
    pub dtype: DType,
    /// The dimensions of one sample, without the batch.
    pub dims: Vec<usize>,
}

/// The part of a data set that samples are drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// What is trained on.
    Train,
    /// What is held out.
    Validation,
}

/// Which samples a batch holds. The same request must always be answered with the same bits.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The part of the data set that the indices count in.
    pub split: Split,
    /// The samples, in the order of the batch.
    pub indices: &'a [usize],
    /// The seed of the run. With `epoch` and a sample's index, the only source of chance for augmentation.
    pub seed: u64,
    /// The epoch, from 0; always 0 for validation.
    pub epoch: u64,
}

impl Request<'_> {
    /// Random numbers for the augmentation of the sample at this place of the batch.
    pub fn random(&self, place: usize) -> Random {
        Random::new(self.seed, Purpose::Augment, self.epoch as u32, self.indices[place] as u32)
    }
}

/// A data set.
pub trait Batches: Send {
    /// What it can supply.
    fn fields(&self) -> &[Field];

    /// How many samples a part has.
    fn len(&self, split: Split) -> usize;

    /// Whether a part has no samples.
    fn is_empty(&self, split: Split) -> bool {
        self.len(split) == 0
    }

    /// Whether the samples are one sequence in their order. Each row of a batch goes through a part of it then, a sample in each
    /// batch: row r of n through the r-th of n parts. Nothing is drawn.
    fn is_sequence(&self) -> bool {
        false
    }

    /// A checksum of all samples, where it is cheap to tell: training that goes on from a checkpoint must have the same.
    fn checksum(&self) -> Option<String> {
        None
    }

    /// Which sample this is, for people who look it up: by default its number in its part.
    fn place(&self, split: Split, index: usize) -> String {
        let part = match split {
            Split::Train => "training",
            Split::Validation => "validation",
        };
        format!("{part} sample {index} (counted from 0)")
    }

    /// The names of the classes, in the order of their numbers; empty where the data set does not know them.
    fn classes(&self) -> &[String] {
        &[]
    }

    /// A table that is no sample: what a state may begin as. Only those that were asked for when it was opened, if it has them.
    fn table(&self, _name: &str) -> Option<&Tensor> {
        None
    }

    /// The columns of a table that fill the input that takes several numbers, in its order.
    fn columns(&self) -> &[String] {
        &[]
    }

    /// Of the other inputs that take a whole number a sample, the texts that stand for the numbers, in their order; none where
    /// the numbers are given.
    fn vocabularies(&self) -> &[(String, Vec<String>)] {
        &[]
    }

    /// What the part held out is called, where the data set brings it and nothing was drawn.
    fn own_part(&self) -> Option<&str> {
        None
    }

    /// What a sample is called in lists of results: its file, or its number in the part.
    fn name(&self, _split: Split, index: usize) -> String {
        index.to_string()
    }

    /// Writes the requested samples of a field (its position in [`fields`](Batches::fields)) into
    /// `out`: `[request.indices.len(), ...dims]`, aligned, with the field's element type.
    fn fill(&mut self, request: &Request<'_>, field: usize, out: &mut TensorMut<'_>) -> Result<()>;
}

/// No data at all, for an entry point without inputs: an epoch is one update.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoData;

impl Batches for NoData {
    fn fields(&self) -> &[Field] {
        &[]
    }

    fn len(&self, split: Split) -> usize {
        match split {
            Split::Train => 1,
            Split::Validation => 0,
        }
    }

    fn fill(&mut self, _: &Request<'_>, field: usize, _: &mut TensorMut<'_>) -> Result<()> {
        Err(Error::new(ErrorKind::Data, format!("there is no data, and so no field {field}")))
    }
}

impl DataRecord {
    /// What a data set says.
    pub fn of(data: &dyn Batches) -> DataRecord {
        DataRecord {
            classes: data.classes().to_vec(),
            columns: data.columns().to_vec(),
            vocabularies: data.vocabularies().to_vec(),
            ..DataRecord::default()
        }
    }
}

/// The order in which batches of so many rows go through a sequence: samples that they leave over come last.
pub(crate) fn follow(rows: usize, order: &mut [usize]) {
    let steps = order.len() / rows.max(1);
    for (at, sample) in order.iter_mut().enumerate() {
        let (step, row) = (at / rows.max(1), at % rows.max(1));
        *sample = if step < steps { row * steps + step } else { at };
    }
}

/// Room for the order of so many samples.
pub(crate) fn indices(samples: usize) -> Result<Vec<usize>> {
    let mut order = Vec::new();
    let bytes = samples.saturating_mul(size_of::<usize>());
    order.try_reserve_exact(samples).map_err(|_| no_memory("the order of the samples", bytes))?;
    order.resize(samples, 0);
    Ok(order)
}
