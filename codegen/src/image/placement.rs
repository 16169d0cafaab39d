//! Where buffers lie at run time, and the manifest that says so.

use std::hash::Hasher;
use std::ops::Range;

use brolga_ir::Tensor;
use brolga_ir::program::{Arg, Buffer, BufferId, Place, Program};
use brolga_ir::tensor::Data;
use brolga_runtime::{
    ALIGNMENT, BASE_ARENA, BASE_CONSTANTS, BASE_PREPARED, BASE_STATE, DType, IndexRange, Input, Manifest,
    Output, Samples, StateSlot,
};

use rustc_hash::{FxHashMap, FxHasher};

use crate::NUMERICS_VERSION;
use crate::error::{Error, Result};

/// A place in memory: position of a base pointer, and bytes from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Location {
    pub base: u64,
    pub offset: u64,
}

/// The locations of a program's buffers, and what belongs to them.
pub(crate) struct Placement {
    locations: Vec<Location>,
    pub manifest: Manifest,
}

/// The constants of an image, equal ones once.
#[derive(Default)]
pub(crate) struct Constants {
    pub bytes: Vec<u8>,
    /// Where each lies, by its hash.
    known: FxHashMap<u64, Vec<Range<usize>>>,
}

impl Constants {
    /// Where a constant begins.
    fn place(&mut self, tensor: &Tensor) -> Result<usize> {
        let end = self.bytes.len();
        let start = end.next_multiple_of(ALIGNMENT);
        self.bytes.resize(start, 0);
        push_bytes(&mut self.bytes, tensor)?;
        let new = &self.bytes[start..];
        let mut hasher = FxHasher::default();
        hasher.write(new);
        let alike = self.known.entry(hasher.finish()).or_default();
        let equal = alike.iter().find(|place| self.bytes[(*place).clone()] == *new);
        if let Some(place) = equal {
            self.bytes.truncate(end);
            return Ok(place.start);
        }
        alike.push(start..self.bytes.len());
        Ok(start)
    }
}

impl Placement {
    /// Of code that checks its accesses, the arena ends with room for what it refuses. Constants go to those of the image,
    /// whose size, as that of local memory, the manifest gets when all entries are known.
    pub fn new(
        program: &Program,
        features: Vec<String>,
        checked: bool,
        constants: &mut Constants,
    ) -> Result<Placement> {
        let room = if checked { ALIGNMENT } else { 0 };
        let arena_bytes = program.arena_bytes.checked_next_multiple_of(room.max(1));
        let arena_bytes = arena_bytes.and_then(|bytes| bytes.checked_add(room)).ok_or_else(|| {
            Error::new(format!("{} bytes are more than any arena can have", program.arena_bytes))
        })?;
        let mut manifest = Manifest {
            entry: program.name.clone(),
            numerics: NUMERICS_VERSION,
            parallel: false,
            inputs: Vec::new(),
            outputs: Vec::new(),
            state: Vec::new(),
            arena_bytes,
            local_bytes: 0,
            prepared_bytes: program.prepared_bytes,
            constants_bytes: 0,
            checked,
            cpu_features: features,
        };
        let bases = Bases::of(program);
        let mut locations = Vec::with_capacity(program.buffers.len());
        for buffer in &program.buffers {
            locations.push(bases.place(buffer, &mut manifest, constants)?);
        }
        Ok(Placement { locations, manifest })
    }

    /// Where an argument points.
    pub fn argument(&self, program: &Program, arg: &Arg) -> Location {
        let BufferId(buffer) = arg.buffer;
        let location = self.locations[buffer as usize];
        let size = program.buffers[buffer as usize].ty.dtype.size();
        Location { offset: location.offset + (arg.offset * size) as u64, ..location }
    }
}

/// Positions among the base pointers of a call: the state comes first, then inputs, then outputs, each in its order.
struct Bases<'a> {
    program: &'a Program,
    inputs: usize,
    outputs: usize,
}

impl Bases<'_> {
    fn of(program: &Program) -> Bases<'_> {
        let count = |want: fn(&Place) -> bool| program.buffers.iter().filter(|b| want(&b.place)).count();
        let inputs = BASE_STATE + count(|place| matches!(place, Place::State { .. }));
        let outputs = inputs + count(|place| matches!(place, Place::Input { .. }));
        Bases { program, inputs, outputs }
    }

    /// Where the next buffer lies; the manifest is told of it.
    fn place(&self, buffer: &Buffer, manifest: &mut Manifest, constants: &mut Constants) -> Result<Location> {
        let (name, dims) = (buffer.name.clone(), buffer.ty.dims.clone());
        let dtype = || runtime_dtype(buffer.ty.dtype).ok_or_else(|| inside_only(buffer));
        let unplanned = || {
            Error::new(format!(
                "buffer `{}` of `{}` has no address: plan memory first",
                buffer.name, self.program.name
            ))
        };
        let (base, offset) = match &buffer.place {
            Place::State { updated } => {
                let base = BASE_STATE + manifest.state.len();
                manifest.state.push(StateSlot { dtype: dtype()?, name, dims, updated: *updated });
                (base, 0)
            }
            Place::Input { range } => {
                let base = self.inputs + manifest.inputs.len();
                let range = range.map(|(low, high)| IndexRange { low, high });
                manifest.inputs.push(Input {
                    dtype: dtype()?,
                    name,
                    dims,
                    range,
                    samples: Samples::default(),
                });
                (base, 0)
            }
            Place::Output => {
                let base = self.outputs + manifest.outputs.len();
                manifest.outputs.push(Output { dtype: dtype()?, name, dims, samples: Samples::default() });
                (base, 0)
            }
            Place::Constant(tensor) => (BASE_CONSTANTS, constants.place(tensor)?),
            Place::Prepared(offset) => (BASE_PREPARED, offset.ok_or_else(unplanned)?),
            Place::Arena(offset) => (BASE_ARENA, offset.ok_or_else(unplanned)?),
        };
        Ok(Location { base: base as u64, offset: offset as u64 })
    }
}

/// The runtime's element type of that name; none for what lies inside of programs only. The two crates have each an enumeration,
/// since neither may see the other.
pub fn runtime_dtype(dtype: brolga_ir::DType) -> Option<DType> {
    DType::from_name(dtype.name())
}

fn inside_only(buffer: &Buffer) -> Error {
    Error::new(format!(
        "`{}` is a {}, which exists inside of programs only: expected a f32 that the program converts",
        buffer.name, buffer.ty
    ))
}

/// The elements in memory order, in the byte order of the target, which is little-endian.
fn push_bytes(bytes: &mut Vec<u8>, tensor: &Tensor) -> Result<()> {
    let more = tensor.ty().bytes();
    let lack = |_| Error::new(format!("there is no memory for {more} bytes of constants"));
    bytes.try_reserve(more + ALIGNMENT).map_err(lack)?;
    match tensor.data() {
        Data::Bool(v) => bytes.extend(v.iter().map(|&x| x as u8)),
        Data::U8(v) => bytes.extend(v),
        Data::I32(v) => bytes.extend(v.iter().flat_map(|x| x.to_le_bytes())),
        Data::I64(v) => bytes.extend(v.iter().flat_map(|x| x.to_le_bytes())),
        Data::Bf16(v) => bytes.extend(v.iter().flat_map(|x| x.to_le_bytes())),
        Data::F32(v) => bytes.extend(v.iter().flat_map(|x| x.to_le_bytes())),
        Data::F64(v) => bytes.extend(v.iter().flat_map(|x| x.to_le_bytes())),
    }
    Ok(())
}
