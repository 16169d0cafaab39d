//! The state of all entries of an object as one block of memory, and as a file.

use brolga_runtime::{
    ALIGNMENT, DType, DataRecord, Manifest, SlotKind, State, StateSlot, byte_len, file_header, type_name,
};
use rustc_hash::FxHashMap;

use crate::error::{Error, Result};

/// A tensor of a model's state, as an object has to know it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct StateTensor<'a> {
    /// Its name, as programs and files have it.
    pub name: &'a str,
    /// What it is for.
    pub kind: SlotKind,
    /// What its elements are before anything is trained. Not used of weights, which only files have.
    pub fresh: f64,
}

/// What a file begins with that is used where it lies (`brolga_state_in` of the header).
const MARK: &[u8; 16] = b"brolga state 1\n\0";

/// The block: every tensor that an entry uses, in the order of the model. What files of weights have lies first, and the
/// parts of a training state behind it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct StateBlock {
    pub tensors: Vec<BlockTensor>,
    /// A multiple of the alignment; 0 without tensors.
    pub bytes: usize,
    /// What a file of the state begins with.
    pub file_header: Vec<u8>,
    /// Bytes of such a file.
    pub file_bytes: usize,
}

/// A tensor of the block.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct BlockTensor {
    pub name: String,
    pub kind: SlotKind,
    pub fresh: f64,
    pub dtype: DType,
    pub dims: Vec<usize>,
    pub bytes: usize,
    /// Where it begins in the block.
    pub offset: usize,
    /// Where it begins in a file.
    pub in_file: usize,
}

impl StateBlock {
    /// Lays out what the entries use of a state. `record` is what files say of the data.
    ///
    /// # Errors
    /// A tensor that is not in the state, or of which two entries expect different types; names that no file can hold; more
    /// bytes than there are addresses.
    pub fn new(
        manifests: &[&Manifest],
        state: &[StateTensor<'_>],
        record: &DataRecord,
    ) -> Result<StateBlock> {
        let mut used = used(manifests)?;
        let mut tensors = Vec::with_capacity(used.len());
        for &StateTensor { name, kind, fresh } in state {
            let Some((slot, _)) = used.remove(name) else { continue };
            if !fresh.is_finite() {
                return Err(Error::new(format!("`{name}` begins with {fresh}, which is no number of C")));
            }
            let (name, dtype, dims) = (name.to_owned(), slot.dtype, slot.dims.clone());
            let bytes = byte_len(dtype, &dims)?;
            tensors.push(BlockTensor { name, kind, fresh, dtype, dims, bytes, offset: 0, in_file: 0 });
        }
        if let Some((name, (_, entry))) = used.into_iter().min_by_key(|(name, _)| *name) {
            return Err(Error::new(format!(
                "`{entry}` uses the state `{name}`, which the model does not have"
            )));
        }
        let bytes = place(&mut tensors)?;
        let (file_header, file_bytes) = place_in_file(&mut tensors, record)?;
        Ok(StateBlock { tensors, bytes, file_header, file_bytes })
    }

    /// For each state slot of an entry, in its order, the position of its tensor.
    pub fn slots(&self, manifest: &Manifest) -> Vec<usize> {
        let at: FxHashMap<&str, usize> =
            self.tensors.iter().enumerate().map(|(at, tensor)| (tensor.name.as_str(), at)).collect();
        manifest.state.iter().filter_map(|slot| at.get(slot.name.as_str()).copied()).collect()
    }

    /// What only blocks with the same tensors in the same places have: FNV-1a of names, types, dims and places.
    pub fn key(&self) -> u64 {
        let described = self.tensors.iter().map(|tensor| {
            let BlockTensor { name, dtype, dims, offset, .. } = tensor;
            format!("{name:?} {} {offset}\n", type_name(*dtype, dims))
        });
        let mix = |key: u64, byte: u8| (key ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        described.flat_map(String::into_bytes).fold(0xCBF2_9CE4_8422_2325, mix)
    }

    /// A file that is used where it lies, with the values of a state: what it is, the key, the bytes of the block, and zeros,
    /// together as many bytes as the block is aligned to; then the block.
    ///
    /// # Errors
    /// Those of [`content`](StateBlock::content).
    pub fn file(&self, state: &State) -> Result<Vec<u8>> {
        let mut head = MARK.to_vec();
        head.extend(self.key().to_le_bytes());
        head.extend((self.bytes as u64).to_le_bytes());
        head.resize(ALIGNMENT, 0);
        self.filled(head, state)
    }

    /// The block with the values of a state; without the zeros that it ends with, unless the `whole` is asked for.
    ///
    /// # Errors
    /// A state that lacks a tensor or has another type in it; too little memory.
    pub fn content(&self, state: &State, whole: bool) -> Result<Vec<u8>> {
        let mut content = self.filled(Vec::new(), state)?;
        if !whole {
            let used = content.iter().rposition(|&byte| byte != 0).map_or(1, |at| at + 1);
            content.truncate(used.next_multiple_of(ALIGNMENT));
        }
        Ok(content)
    }

    /// The same, whole, behind a head.
    fn filled(&self, mut content: Vec<u8>, state: &State) -> Result<Vec<u8>> {
        let lack = |_| Error::new(format!("there is no memory for {} bytes of state", self.bytes));
        let begin = content.len();
        content.try_reserve_exact(self.bytes).map_err(lack)?;
        content.resize(begin + self.bytes, 0);
        for BlockTensor { name, dtype, dims, bytes, offset, .. } in &self.tensors {
            let tensor = state.get(name)?;
            if (tensor.dtype(), tensor.dims()) != (*dtype, dims.as_slice()) {
                let (expected, found) = (type_name(*dtype, dims), type_name(tensor.dtype(), tensor.dims()));
                return Err(Error::new(format!("`{name}` must be {expected}, but the weights have {found}")));
            }
            content[begin + offset..begin + offset + bytes].copy_from_slice(tensor.bytes());
        }
        Ok(content)
    }
}

/// The state slots of the entries by name, each with an entry that has it.
fn used<'a>(manifests: &[&'a Manifest]) -> Result<FxHashMap<&'a str, (&'a StateSlot, &'a str)>> {
    let mut used = FxHashMap::default();
    for manifest in manifests {
        for slot in &manifest.state {
            let entry = manifest.entry.as_str();
            let (first, of): (&StateSlot, &str) = *used.entry(slot.name.as_str()).or_insert((slot, entry));
            if (first.dtype, &first.dims) != (slot.dtype, &slot.dims) {
                let types = [first, slot].map(|slot| type_name(slot.dtype, &slot.dims));
                let [one, other] = &types;
                let name = &slot.name;
                return Err(Error::new(format!(
                    "the state `{name}` is {one} in `{of}`, but {other} in `{entry}`: compile both for the same sizes"
                )));
            }
        }
    }
    Ok(used)
}

/// Gives the tensors places in the block, and returns its bytes.
fn place(tensors: &mut [BlockTensor]) -> Result<usize> {
    let too_many = || Error::new("the state takes more bytes than there are addresses");
    let mut end = 0usize;
    for saved in [true, false] {
        for tensor in tensors.iter_mut().filter(|tensor| tensor.kind.is_saved() == saved) {
            tensor.offset = end;
            // Each has bytes of its own, so that no two have one place.
            let bytes = tensor.bytes.max(1).checked_next_multiple_of(ALIGNMENT).ok_or_else(too_many)?;
            end = end.checked_add(bytes).ok_or_else(too_many)?;
        }
    }
    Ok(end)
}

/// Gives the tensors places in a file; what it begins with, and its bytes.
fn place_in_file(tensors: &mut [BlockTensor], record: &DataRecord) -> Result<(Vec<u8>, usize)> {
    let described: Vec<(&str, DType, &[usize])> =
        tensors.iter().map(|t| (t.name.as_str(), t.dtype, t.dims.as_slice())).collect();
    let (header, begins) = file_header(&described, record)?;
    tensors.iter_mut().zip(begins).for_each(|(tensor, begin)| tensor.in_file = begin);
    let end = header.len() + tensors.iter().map(|tensor| tensor.bytes).sum::<usize>();
    Ok((header, end))
}
