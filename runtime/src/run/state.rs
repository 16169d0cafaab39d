//! State: the named tensors that a model keeps between runs.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, ErrorKind, Result, nearest_hint};
use crate::names::check_name;
use crate::run::record::DataRecord;
use crate::tensors::dtype::type_name;
use crate::tensors::tensor::{Tensor, TensorMut};

/// What a tensor of the state is for. It decides what loading does where a file lacks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SlotKind {
    /// A trained weight. A file must have it.
    Parameter,
    /// A running statistic or other non-trained part of the network. A file must have it.
    Buffer,
    /// What preparation fits to the data before training, named `data.…`. Keeps its value, which at first changes nothing,
    /// where a file lacks it.
    Fitted,
    /// A slot of the optimiser, named `optim.<slot>.<parameter>`. Starts fresh where a file lacks it.
    Optimizer,
    /// The number of updates so far, i64, named `step`. Starts fresh where a file lacks it.
    Step,
    /// The key of the random numbers, i64, named `seed`. Starts fresh where a file lacks it.
    Seed,
    /// Where a loop of an entry ended when it was run last, named `kept.<entry>.…`: zeros before. Starts fresh where a file lacks it.
    Kept,
}

impl SlotKind {
    /// All kinds.
    pub const ALL: [SlotKind; 7] = [
        SlotKind::Parameter,
        SlotKind::Buffer,
        SlotKind::Fitted,
        SlotKind::Optimizer,
        SlotKind::Step,
        SlotKind::Seed,
        SlotKind::Kept,
    ];

    /// Whether it belongs to the network itself (saved with weights, required when loading).
    pub fn is_weight(self) -> bool {
        matches!(self, SlotKind::Parameter | SlotKind::Buffer)
    }

    /// Whether files of weights have it.
    pub fn is_saved(self) -> bool {
        self.is_weight() || self == SlotKind::Fitted
    }
}

/// How the name of the slot ends that says whether a loop has ended at all, behind that of where.
pub(crate) const BEGUN: &str = ".begun";

/// One tensor of the state.
#[derive(Debug)]
pub struct Slot {
    name: String,
    kind: SlotKind,
    tensor: Tensor,
    version: u64,
}

impl Slot {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is for.
    pub fn kind(&self) -> SlotKind {
        self.kind
    }

    /// Its value.
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }
}

/// The named tensors of a model, in the order in which they were inserted.
#[derive(Debug)]
pub struct State {
    slots: Vec<Slot>,
    index: HashMap<String, usize>,
    layout: u64,
    record: DataRecord,
}

/// Draws a number that no state has had before. Every change of a slot gets its own, so equal numbers mean
/// equal content, between states and their clones too.
fn fresh_version() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Default for State {
    fn default() -> State {
        State::new()
    }
}

impl State {
    /// A state without tensors.
    pub fn new() -> State {
        State {
            slots: Vec::new(),
            index: HashMap::new(),
            layout: fresh_version(),
            record: DataRecord::default(),
        }
    }

    /// Appends a tensor; an error where the name is taken, or no file could hold it ([`check_name`]).
    pub fn insert(&mut self, name: impl Into<String>, kind: SlotKind, tensor: Tensor) -> Result<()> {
        let name = name.into();
        check_name(&name)?;
        if self.index.contains_key(&name) {
            let message = format!("the state already has a tensor `{name}`; each name can be used once");
            return Err(Error::new(ErrorKind::Name, message));
        }
        self.index.insert(name.clone(), self.slots.len());
        self.slots.push(Slot { name, kind, tensor, version: fresh_version() });
        self.layout = fresh_version();
        Ok(())
    }

    /// The slots, in order.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The number of slots.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are no slots.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The position of a name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// The tensor of this name.
    ///
    /// # Errors
    /// There is no tensor of this name.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        Ok(&self.slots[self.require(name)?].tensor)
    }

    /// The tensor of this name, to change its elements. Counts as a change, whether or not it is one.
    ///
    /// # Errors
    /// There is no tensor of this name.
    pub fn get_mut(&mut self, name: &str) -> Result<TensorMut<'_>> {
        let at = self.require(name)?;
        Ok(self.slot_mut(at).view_mut())
    }

    /// Gives a tensor of this name another value, which must have the same type.
    ///
    /// # Errors
    /// There is no tensor of this name, or it has another type.
    pub fn set(&mut self, name: &str, tensor: Tensor) -> Result<()> {
        let at = self.require(name)?;
        let old = &self.slots[at].tensor;
        if (old.dtype(), old.dims()) != (tensor.dtype(), tensor.dims()) {
            let (expected, found) =
                (type_name(old.dtype(), old.dims()), type_name(tensor.dtype(), tensor.dims()));
            let message = format!("the state's `{name}` is {expected} and cannot be set to {found}");
            return Err(Error::new(ErrorKind::Shape, message));
        }
        self.replace(at, tensor);
        Ok(())
    }

    /// Has all loops that go on from call to call begin anew, at their start. Other slots stay.
    pub fn begin_anew(&mut self) {
        self.clear_ends(|_| true);
    }

    /// Zeros where loops of these names ended, and that they did.
    pub(crate) fn clear_ends(&mut self, which: impl Fn(&str) -> bool) {
        for at in 0..self.slots.len() {
            let Slot { kind, name, tensor, .. } = &self.slots[at];
            if *kind == SlotKind::Kept && which(name) && tensor.bytes().iter().any(|byte| *byte != 0) {
                self.slot_mut(at).bytes_mut().fill(0);
            }
        }
    }

    /// The value of the slot `step`, if there is one.
    pub fn step(&self) -> Option<i64> {
        self.counter(SlotKind::Step)
    }

    /// The value of the slot `seed`, if there is one.
    pub fn seed(&self) -> Option<i64> {
        self.counter(SlotKind::Seed)
    }

    /// Bytes of all tensors.
    pub fn bytes(&self) -> usize {
        self.slots.iter().map(|s| s.tensor.bytes().len()).sum()
    }

    /// A copy; an error where memory is short.
    pub fn try_clone(&self) -> Result<State> {
        let slots = self.slots.iter().map(|s| {
            let tensor = s.tensor.try_clone()?;
            Ok(Slot { name: s.name.clone(), kind: s.kind, tensor, version: s.version })
        });
        let (index, record) = (self.index.clone(), self.record.clone());
        Ok(State { slots: slots.collect::<Result<_>>()?, index, layout: self.layout, record })
    }

    /// What the network knows of the data that it was trained on; saved with the weights.
    pub fn record(&self) -> &DataRecord {
        &self.record
    }

    /// Says what the network knows of its data.
    pub fn set_record(&mut self, record: DataRecord) {
        self.record = record;
    }

    fn require(&self, name: &str) -> Result<usize> {
        self.position(name).ok_or_else(|| {
            let hint = nearest_hint(name, self.slots.iter().map(|s| s.name.as_str()));
            Error::new(ErrorKind::Name, format!("the state has no tensor `{name}`{hint}"))
        })
    }

    fn counter(&self, kind: SlotKind) -> Option<i64> {
        let slot = self.slots.iter().find(|s| s.kind == kind)?;
        slot.tensor.as_slice::<i64>().ok()?.first().copied()
    }

    /// Identifies names, order, kinds and types: equal numbers mean that a binding made for one fits the other.
    pub(crate) fn layout(&self) -> u64 {
        self.layout
    }

    /// Identifies the content of one slot.
    pub(crate) fn version(&self, slot: usize) -> u64 {
        self.slots[slot].version
    }

    /// Identifies the content of several slots together.
    pub(crate) fn version_of(&self, slots: impl IntoIterator<Item = usize>) -> u64 {
        slots.into_iter().map(|slot| self.version(slot)).max().unwrap_or(0)
    }

    /// Marks a slot as changed.
    pub(crate) fn touch(&mut self, slot: usize) {
        self.slots[slot].version = fresh_version();
    }

    /// Puts a tensor of the same type in the place of a slot's; marks it as changed.
    pub(crate) fn replace(&mut self, slot: usize, tensor: Tensor) {
        let old = &self.slots[slot].tensor;
        assert_eq!((old.dtype(), old.dims()), (tensor.dtype(), tensor.dims()), "bindings rely on the type");
        self.touch(slot);
        self.slots[slot].tensor = tensor;
    }

    /// A slot's tensor, to change its elements (never its type: bindings rely on it); marks it as changed.
    pub(crate) fn slot_mut(&mut self, slot: usize) -> &mut Tensor {
        self.touch(slot);
        &mut self.slots[slot].tensor
    }
}
