//! Loading a state from files of tensors, and saving it as safetensors.
//!
//! A file holds parameters and running statistics under PyTorch's names, and in a full state file also
//! `optim.<slot>.<parameter>`, `step` and `seed`, and where loops ended, `kept.<entry>.…`.

use std::collections::HashSet;
use std::path::Path;

use crate::error::{Error, ErrorKind, Hints, Result};
use crate::files::npz::open_weights;
use crate::files::record::{CHECKPOINT, is_own, noted};
use crate::files::safetensors::{Described, FileTensor, TensorFile, header, in_file_order, write_noted};
use crate::order::order;
use crate::run::record::DataRecord;
use crate::run::state::{BEGUN, Slot, SlotKind, State};
use crate::shown::Shown;
use crate::tensors::dtype::{DType, byte_len, type_name};
use crate::tensors::tensor::{Tensor, TensorRef};

/// Problems that an error lists; more are counted.
const MAX_PROBLEMS: usize = 20;

/// What loading did, tensor by tensor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Tensors taken from the file.
    pub used: Vec<String>,
    /// Tensors of the file that the state has no place for.
    pub unused: Vec<String>,
    /// Tensors of the state that the file lacks; they keep their values.
    pub kept: Vec<String>,
}

impl State {
    /// Loads a file that must have every parameter and buffer of this state, and nothing unknown.
    ///
    /// The file is safetensors or `.npz`. Floats of any type, f16 and bf16 among them, become those of the state, rounded
    /// where it has fewer digits; whole numbers and truth values must have its types. What preparation has fitted
    /// (`data.…`) keeps its values where the file lacks it; the report tells.
    ///
    /// Optimiser slots, `step` and `seed` keep their values where the file lacks them, and are passed over
    /// where this state lacks them; so are `*.num_batches_tracked`. Where loops ended (`kept.…`) too; if the file has it for
    /// another batch, these loops begin anew. Nothing is changed where an error is returned.
    ///
    /// # Errors
    /// A file that cannot be read, lacks a parameter or buffer, has others, or other types.
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<LoadReport> {
        self.load_file(&mut open_weights(path.as_ref())?, false).map_err(|error| match error.kind() {
            ErrorKind::State => {
                let way_out = "partial loading (`load_partial`, --partial) takes what fits by name";
                Error::new(ErrorKind::State, format!("{error}\n{way_out}"))
            }
            _ => error,
        })
    }

    /// Loads what a file and this state have in common by name; the report says what that was. A tensor that
    /// both have must still agree in type.
    ///
    /// `prefixes` map names of the file to names of this state: where a name begins with the first of a pair, that is
    /// replaced by the second, by the first pair that fits. `[("backbone.", "")]` loads `backbone.conv1.weight` as
    /// `conv1.weight`.
    ///
    /// # Errors
    /// Two tensors of the file with one name here; a file that has nothing for this state.
    pub fn load_partial(
        &mut self,
        path: impl AsRef<Path>,
        prefixes: &[(String, String)],
    ) -> Result<LoadReport> {
        let mut file = open_weights(path.as_ref())?;
        file.rename(prefixes)?;
        let mine = self.slots().iter().find(|slot| slot.kind().is_weight()).map(Slot::name);
        let weight = |name: &str| self.position(name).is_some_and(|at| self.slots()[at].kind().is_weight());
        if let (Some(mine), false) = (mine, file.names().any(weight)) {
            let (path, theirs) = (file.path().shown(), file.names().next().unwrap_or(""));
            let message = format!(
                "nothing in `{path}` has the name of a weight of this model: it has `{theirs}`, here is `{mine}`; pairs of \
                 prefixes (--partial=FROM:TO) bring names together"
            );
            return Err(Error::new(ErrorKind::State, message));
        }
        self.load_file(&mut file, true)
    }

    /// [`load`](State::load) or [`load_partial`](State::load_partial) from an open file.
    pub(crate) fn load_file(&mut self, file: &mut TensorFile, partial: bool) -> Result<LoadReport> {
        let record = DataRecord::read(file)?;
        let mut problems = Vec::new();
        let mut report = LoadReport::default();
        let mut matched = Vec::new();
        let unknown: Vec<&FileTensor> =
            file.entries().iter().filter(|e| self.position(&e.name).is_none()).collect();
        let lacking: Vec<&Slot> = self.slots().iter().filter(|s| !file.has(s.name())).collect();
        let mut hints = Hints::new();
        let anew = self.ends_for_others(file);

        for (at, entry) in file.entries().iter().enumerate() {
            let Some(slot) = self.position(&entry.name) else { continue };
            if anew.contains(&entry.name) {
                report.unused.push(entry.name.clone());
                continue;
            }
            match check_tensor(entry, self.slots()[slot].tensor()) {
                Ok(()) => matched.push((at, slot)),
                Err(e) => problems.push(e.to_string()),
            }
        }
        for slot in &lacking {
            if slot.kind().is_weight() && !partial {
                let hint = hints.nearest(slot.name(), unknown.iter().map(|e| e.name.as_str()));
                let expected = type_name(slot.tensor().dtype(), slot.tensor().dims());
                problems.push(format!("`{}`: {expected} is missing{hint}", slot.name()));
            }
            report.kept.push(slot.name().to_string());
        }
        for entry in unknown {
            if !partial && !may_be_unknown(&entry.name) {
                let hint = hints.nearest(&entry.name, lacking.iter().map(|s| s.name()));
                problems.push(format!("`{}` is unknown to the model{hint}", entry.name));
            }
            report.unused.push(entry.name.clone());
        }
        if !problems.is_empty() {
            let more = problems.len().saturating_sub(MAX_PROBLEMS);
            problems.truncate(MAX_PROBLEMS);
            if more > 0 {
                problems.push(format!("… and {more} more"));
            }
            let (path, list) = (file.path().shown(), problems.join("\n  "));
            let message = format!("the weights in `{path}` do not fit the model:\n  {list}");
            return Err(Error::new(ErrorKind::State, message));
        }

        let mut tensors = Vec::with_capacity(matched.len());
        for (at, slot) in matched {
            let tensor = file.read_entry(at)?;
            tensors.push((slot, tensor.converted(self.slots()[slot].tensor().dtype())?));
            report.used.push(file.entries()[at].name.clone());
        }
        tensors.into_iter().for_each(|(slot, tensor)| self.replace(slot, tensor));
        self.clear_ends(|name| anew.contains(name));
        self.set_record(record);
        Ok(report)
    }

    /// Where loops ended in runs of another batch, and that they did: names of the file and of this state.
    fn ends_for_others(&self, file: &TensorFile) -> HashSet<String> {
        let other = file.entries().iter().filter(|entry| {
            let slot = self.position(&entry.name).map(|at| &self.slots()[at]);
            slot.is_some_and(|slot| slot.kind() == SlotKind::Kept && slot.tensor().dims() != entry.dims)
        });
        other.flat_map(|entry| [entry.name.clone(), format!("{}{BEGUN}", entry.name)]).collect()
    }

    /// Saves parameters, buffers and what preparation has fitted, for inference, for others, and for PyTorch.
    ///
    /// # Errors
    /// A file that cannot be written; it is as before then.
    pub fn save_weights(&self, path: impl AsRef<Path>) -> Result<()> {
        let metadata = self.record().metadata()?;
        write_noted(path.as_ref(), &self.tensors(|s| s.kind().is_saved()), &noted(&metadata))
    }

    /// Saves everything, for training on.
    ///
    /// # Errors
    /// A file that cannot be written; it is as before then.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let metadata = self.record().metadata()?;
        write_noted(path.as_ref(), &self.tensors(|_| true), &noted(&metadata))
    }

    /// Whether a file holds what was saved of a state like this one, and nothing else: its metadata say that it was written
    /// here, all weights are in it with these shapes, and besides them parts of a training state at most. A checkpoint has
    /// more to lose, and is none.
    pub fn is_saved_in(&self, path: impl AsRef<Path>) -> bool {
        TensorFile::open(path).is_ok_and(|file| is_own(&file) && self.is_all_of(&file))
    }

    /// The same of a file whose metadata do not say who wrote it: another program, or an earlier version.
    pub fn is_in_unmarked(&self, path: impl AsRef<Path>) -> bool {
        TensorFile::open(path).is_ok_and(|file| !is_own(&file) && self.is_all_of(&file))
    }

    fn is_all_of(&self, file: &TensorFile) -> bool {
        let is_known = |entry: &FileTensor| match self.position(&entry.name) {
            Some(at) => {
                let slot = &self.slots()[at];
                slot.kind() == SlotKind::Kept || slot.tensor().dims() == entry.dims
            }
            None => may_be_unknown(&entry.name),
        };
        let mut weights = self.slots().iter().filter(|slot| slot.kind().is_weight());
        file.metadata(CHECKPOINT).is_none()
            && file.entries().iter().all(is_known)
            && weights.all(|slot| file.has(slot.name()))
    }

    pub(crate) fn tensors(&self, which: impl Fn(&Slot) -> bool) -> Vec<(&str, TensorRef<'_>)> {
        self.slots().iter().filter(|s| which(s)).map(|s| (s.name(), s.tensor().view())).collect()
    }
}

/// The beginning of the file that [`State::save`] writes for tensors of these names, types and dimensions, and where in the
/// file each of them begins: for those who write such files by themselves.
///
/// # Errors
/// A name that files cannot hold ([`check_name`](crate::check_name)) or that occurs twice; a tensor that is too large.
pub fn file_header(
    tensors: &[(&str, DType, &[usize])],
    record: &DataRecord,
) -> Result<(Vec<u8>, Vec<usize>)> {
    let order = order(tensors.len(), &mut |a, b| in_file_order(tensors[a], tensors[b]));
    let sorted: Vec<Described<'_>> = order.iter().map(|&at| tensors[at]).collect();
    let metadata = record.metadata()?;
    let header = header(&sorted, &noted(&metadata))?;
    let mut begins = vec![0; tensors.len()];
    let mut next = header.len();
    for at in order {
        let (_, dtype, dims) = tensors[at];
        begins[at] = next;
        next += byte_len(dtype, dims)?;
    }
    Ok((header, begins))
}

/// Names that a file may have and a model lack: PyTorch's counters of batches, which nothing depends on, and
/// the parts of a training state, which inference does not keep.
fn may_be_unknown(name: &str) -> bool {
    name == "num_batches_tracked"
        || name.ends_with(".num_batches_tracked")
        || name.starts_with("optim.")
        || name.starts_with("kept.")
        || name == "step"
        || name == "seed"
}

fn is_float(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F64)
}

fn check_tensor(entry: &FileTensor, expected: &Tensor) -> Result<()> {
    let dtype = entry.dtype()?;
    let fits = dtype == expected.dtype() || is_float(dtype) && is_float(expected.dtype());
    if fits && entry.dims == expected.dims() {
        return Ok(());
    }
    let way_out = match is_float(expected.dtype()) && !fits {
        true => "; convert it before saving (in PyTorch `tensor.float()`)",
        false => "",
    };
    let (found, wanted) = (entry.type_found()?, type_name(expected.dtype(), expected.dims()));
    let message = format!("`{}` is {found} in the file, but {wanted} in the model{way_out}", entry.name);
    Err(Error::new(if fits { ErrorKind::Shape } else { ErrorKind::DType }, message))
}
