//! The manifest: what a caller must know of a compiled entry point, as data.

use crate::error::{Error, ErrorKind, Result};
use crate::order::order;
use crate::tensors::dtype::{DType, byte_len, type_name};
use crate::tensors::memory::ALIGNMENT;

/// Everything that stands between compiled code and its caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Name of the entry point, such as `infer` or `train`.
    pub entry: String,
    /// The numerics version: code of one version computes the same bits.
    pub numerics: u32,
    /// Whether the work pays for waking helper threads.
    pub parallel: bool,
    /// The inputs, in the order of their base pointers.
    pub inputs: Vec<Input>,
    /// The outputs, in the order of their base pointers.
    pub outputs: Vec<Output>,
    /// The state slots that the entry reads or updates, in the order of their base pointers.
    pub state: Vec<StateSlot>,
    /// Bytes of scratch memory of one call.
    pub arena_bytes: usize,
    /// Bytes of scratch memory that each thread of a call needs besides, a multiple of the alignment.
    pub local_bytes: usize,
    /// Bytes that the prepare function fills from state and constants.
    pub prepared_bytes: usize,
    /// Bytes of constants that come with the code.
    pub constants_bytes: usize,
    /// Whether the code checks its own accesses: it begins with ones in every byte of the arena and of the prepared values,
    /// and puts what it had to refuse into the last eight bytes of the arena, see [`Refusal`].
    pub checked: bool,
    /// Processor features that the code needs, by Rust's names (`avx2`, `fma`, `avx512f`, `neon`).
    pub cpu_features: Vec<String>,
}

/// An access outside of its buffer that checked code has refused: a load gave zero, a store was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Number of the kernel in the program.
    pub kernel: u32,
    /// Number of its parameter.
    pub param: u32,
}

impl Refusal {
    /// What the arena of checked code ends with as long as nothing was refused: all ones, as everything in it.
    pub const NONE: u64 = u64::MAX;

    /// As the word that checked code stores.
    pub fn word(self) -> u64 {
        u64::from(self.kernel) << 32 | u64::from(self.param)
    }

    /// From that word.
    pub fn from_word(word: u64) -> Option<Refusal> {
        (word != Refusal::NONE).then_some(Refusal { kernel: (word >> 32) as u32, param: word as u32 })
    }
}

/// What an input or output is of the samples of a call: where it has them, and whether they may be run in several calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Samples {
    /// The same whatever the samples are, and however many: a weight, an input that all samples share.
    Same,
    /// One part for each sample along this axis, and of an output made of that sample alone. The axis is as long as the batch
    /// that the entry is for.
    Along(usize),
    /// Something of all samples of a call, such as a sum over them; or nothing is known of it.
    #[default]
    Together,
}

impl Samples {
    /// The axis of samples, where there is one.
    pub fn axis(self) -> Option<usize> {
        match self {
            Samples::Along(axis) => Some(axis),
            Samples::Same | Samples::Together => None,
        }
    }
}

/// One input of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: DType,
    /// Its dimensions.
    pub dims: Vec<usize>,
    /// The values allowed where they are used as indices; checked before anything runs.
    pub range: Option<IndexRange>,
    /// What it has of the samples.
    pub samples: Samples,
}

impl Input {
    /// The axis along which a data set gives samples: the first one where none is known.
    pub fn samples_axis(&self) -> usize {
        self.samples.axis().unwrap_or(0)
    }

    /// Its dimensions of one sample of a data set.
    pub fn dims_of_one(&self) -> Vec<usize> {
        let mut dims = self.dims.clone();
        let axis = self.samples_axis();
        if axis < dims.len() {
            dims.remove(axis);
        }
        dims
    }
}

/// The values that an index may take: `low..=high`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexRange {
    /// The smallest value allowed.
    pub low: i64,
    /// The largest value allowed.
    pub high: i64,
}

/// One output of an entry. The metrics of a train entry are scalar outputs: `loss`, `accuracy`, ….
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: DType,
    /// Its dimensions.
    pub dims: Vec<usize>,
    /// What it is of the samples.
    pub samples: Samples,
}

/// One tensor of the state that an entry uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateSlot {
    /// Its name, after PyTorch's `state_dict` where it is a parameter.
    pub name: String,
    /// Its element type.
    pub dtype: DType,
    /// Its dimensions.
    pub dims: Vec<usize>,
    /// Whether the entry writes it.
    pub updated: bool,
}

impl Manifest {
    /// Checks that names are unique within inputs, outputs and state, sizes can be addressed, index ranges belong to
    /// integers and are not empty, the axes of samples are there and equally long, and the local memories of threads are aligned
    /// one behind the other.
    ///
    /// # Errors
    /// The first of these that does not hold.
    pub fn validate(&self) -> Result<()> {
        let wrong = |message: String| Err(Error::new(ErrorKind::Manifest, message).within(&self.entry));
        let inputs = self.inputs.iter().map(|t| (&t.name, t.dtype, &t.dims));
        let outputs = self.outputs.iter().map(|t| (&t.name, t.dtype, &t.dims));
        let state = self.state.iter().map(|t| (&t.name, t.dtype, &t.dims));
        check_tensors(&self.entry, "input", inputs)?;
        check_tensors(&self.entry, "output", outputs)?;
        check_tensors(&self.entry, "state slot", state)?;
        if self.checked && self.arena_bytes < size_of::<u64>() {
            return wrong(
                "the code checks its accesses, but the arena has no room for what it refuses".into(),
            );
        }
        if !self.local_bytes.is_multiple_of(ALIGNMENT) {
            let bytes = self.local_bytes;
            return wrong(format!("{bytes} bytes of local memory are not a multiple of {ALIGNMENT}"));
        }
        self.check_samples()?;
        for input in &self.inputs {
            let Some(IndexRange { low, high }) = input.range else { continue };
            if !matches!(input.dtype, DType::U8 | DType::I32 | DType::I64) {
                let of = type_name(input.dtype, &input.dims);
                return wrong(format!(
                    "input `{}` has an index range but is {of}, not an integer",
                    input.name
                ));
            }
            if low > high {
                return wrong(format!("the index range {low}..={high} of input `{}` is empty", input.name));
            }
        }
        Ok(())
    }

    /// How many samples a call has: how long the axes of samples are. Nothing where there are none.
    pub fn batch(&self) -> Option<usize> {
        self.of_samples().next().and_then(|(_, dims, axis)| dims.get(axis).copied())
    }

    /// Says what inputs and outputs are of the samples, in their order.
    ///
    /// # Errors
    /// Another number of inputs or outputs; axes that are not there, or not equally long.
    pub fn set_samples(&mut self, inputs: &[Samples], outputs: &[Samples]) -> Result<()> {
        if (inputs.len(), outputs.len()) != (self.inputs.len(), self.outputs.len()) {
            let message = "samples are told of another number of inputs and outputs";
            return Err(Error::new(ErrorKind::Manifest, message).within(&self.entry));
        }
        self.inputs.iter_mut().zip(inputs).for_each(|(input, samples)| input.samples = *samples);
        self.outputs.iter_mut().zip(outputs).for_each(|(output, samples)| output.samples = *samples);
        self.check_samples()
    }

    /// The inputs and outputs with an axis of samples: name, dimensions, axis.
    fn of_samples(&self) -> impl Iterator<Item = (&str, &[usize], usize)> {
        let inputs = self.inputs.iter().map(|t| (t.name.as_str(), t.dims.as_slice(), t.samples));
        let outputs = self.outputs.iter().map(|t| (t.name.as_str(), t.dims.as_slice(), t.samples));
        inputs.chain(outputs).filter_map(|(name, dims, samples)| Some((name, dims, samples.axis()?)))
    }

    fn check_samples(&self) -> Result<()> {
        let mut batch = None;
        for (name, dims, axis) in self.of_samples() {
            let found = dims.get(axis).copied();
            if found.is_none() || found != *batch.get_or_insert(found) {
                let batch = batch.flatten().map_or("some".to_owned(), |batch| batch.to_string());
                let message = format!(
                    "`{name}` has {batch} samples along axis {axis}, but its dimensions are {dims:?}"
                );
                return Err(Error::new(ErrorKind::Manifest, message).within(&self.entry));
            }
        }
        Ok(())
    }

    /// Number of base pointers: arena, prepared, constants, local, state, inputs, outputs.
    pub fn base_count(&self) -> usize {
        crate::run::block::BASE_STATE + self.state.len() + self.inputs.len() + self.outputs.len()
    }

    /// Whether the entry updates any state.
    pub fn updates_state(&self) -> bool {
        self.state.iter().any(|s| s.updated)
    }
}

/// Checks that sizes can be addressed, and that no name is there twice.
fn check_tensors<'a>(
    entry: &str,
    what: &str,
    tensors: impl ExactSizeIterator<Item = (&'a String, DType, &'a Vec<usize>)>,
) -> Result<()> {
    let mut names = Vec::with_capacity(tensors.len());
    for (name, dtype, dims) in tensors {
        byte_len(dtype, dims).map_err(|e| e.within(format!("{what} `{name}`")))?;
        names.push(name.as_str());
    }
    let order = order(names.len(), &mut |a, b| names[a].cmp(names[b]));
    let Some(twice) = order.windows(2).find(|pair| names[pair[0]] == names[pair[1]]) else { return Ok(()) };
    let message = format!("the manifest names {what} `{}` twice", names[twice[0]]);
    Err(Error::new(ErrorKind::Manifest, message).within(entry))
}
