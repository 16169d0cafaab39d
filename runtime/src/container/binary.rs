//! The manifest as bytes: records, whose fields follow each other in the order of the tables in `docs/container.md`, without
//! their names and without anything between them. One list here has the fields of all records; writing, reading and the
//! description that a test compares with the tables come from it.
//!
//! Nothing is believed: each length is compared with the bytes that are left before anything is made of it, and all that is
//! made is counted, so that no manifest takes more memory than its file has bytes.

use super::about::{About, DataRules, Training};
use super::contents::{Contents, Functions, Piece, Processor, StoredSlot, wrong};
use crate::error::Result;
use crate::run::manifest::{IndexRange, Input, Manifest, Output, Samples, StateSlot};
use crate::run::outline::{Length, Outline, Outlined, Phase, UpdateBatch};
use crate::run::record::{DataRecord, HeldOutRecord};
use crate::run::state::SlotKind;
use crate::tensors::dtype::DType;
use crate::tensors::memory::no_memory;

/// What checks keep beside a record of a list, in bytes: where it is, to find what is there twice.
const BESIDE: usize = 32;

/// A type of which the manifest has values.
pub(super) trait Binary: Sized {
    /// The fewest bytes of a value; at least 1, so that a list is no longer than what is left of the file.
    const LEAST: usize;
    /// What a value takes in memory, when it is one of a list and but for its own lists and texts.
    const MEMORY: usize = size_of::<Self>();

    /// What the documentation calls it.
    fn name() -> String;

    fn write(&self, to: &mut Vec<u8>);

    fn read(from: &mut Reader<'_>) -> Result<Self>;
}

/// Bytes that are read from the front.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// Memory that may still be asked for, in bytes.
    room: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], room: usize) -> Reader<'a> {
        Reader { rest: bytes, room }
    }

    /// Memory that may still be asked for, in bytes.
    pub(super) fn room(&self) -> usize {
        self.room
    }

    /// An error unless everything has been read.
    pub(super) fn end(&self) -> Result<()> {
        match self.rest.len() {
            0 => Ok(()),
            more => Err(wrong(format!("{more} bytes follow what belongs to it"))),
        }
    }

    fn take(&mut self, bytes: usize) -> Result<&'a [u8]> {
        let split = self.rest.split_at_checked(bytes);
        let (taken, rest) = split.ok_or_else(|| wrong("it ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let split = self.rest.split_first_chunk();
        let (taken, rest) = split.ok_or_else(|| wrong("it ends too early"))?;
        self.rest = rest;
        Ok(*taken)
    }

    /// The length of a list or a text, each part of which has at least so many bytes here and takes so many in memory.
    fn length(&mut self, least: usize, memory: usize) -> Result<usize> {
        let length = usize::read(self)?;
        if length.checked_mul(least).is_none_or(|bytes| bytes > self.rest.len()) {
            return Err(wrong(format!("it ends before all {length} that it announces")));
        }
        let room = length.checked_mul(memory).and_then(|taken| self.room.checked_sub(taken));
        self.room = room.ok_or_else(|| wrong("it would take more memory than the file has bytes"))?;
        Ok(length)
    }
}

impl Contents {
    /// The manifest as bytes, whether or not it keeps the rules.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        bytes
    }

    /// From bytes, with no more than so many bytes of memory; the rules are not checked.
    pub(super) fn of_bytes(bytes: &[u8], room: usize) -> Result<Contents> {
        let mut reader = Reader::new(bytes, room);
        let contents = Contents::read(&mut reader).and_then(|contents| reader.end().map(|()| contents));
        contents.map_err(|e| e.within("its manifest cannot be read"))
    }

    /// How much memory [`of_bytes`](Contents::of_bytes) takes, in bytes.
    pub(super) fn memory(bytes: &[u8]) -> Result<usize> {
        let mut reader = Reader::new(bytes, usize::MAX);
        Contents::read(&mut reader)?;
        Ok(usize::MAX - reader.room())
    }
}

macro_rules! numbers {
    ($($type:ident),*) => {$(
        impl Binary for $type {
            const LEAST: usize = size_of::<$type>();

            fn name() -> String {
                stringify!($type).to_owned()
            }

            fn write(&self, to: &mut Vec<u8>) {
                to.extend(self.to_le_bytes());
            }

            fn read(from: &mut Reader<'_>) -> Result<$type> {
                from.array().map($type::from_le_bytes)
            }
        }
    )*};
}
numbers!(u8, u32, u64, i64);

impl Binary for usize {
    const LEAST: usize = u64::LEAST;

    fn name() -> String {
        u64::name()
    }

    fn write(&self, to: &mut Vec<u8>) {
        (*self as u64).write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<usize> {
        let number = u64::read(from)?;
        number.try_into().map_err(|_| wrong(format!("{number} is more than memory can have")))
    }
}

impl Binary for bool {
    const LEAST: usize = 1;

    fn name() -> String {
        "bool".to_owned()
    }

    fn write(&self, to: &mut Vec<u8>) {
        u8::from(*self).write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<bool> {
        match u8::read(from)? {
            0 => Ok(false),
            1 => Ok(true),
            byte => Err(wrong(format!("{byte} is neither 0 nor 1"))),
        }
    }
}

impl Binary for String {
    const LEAST: usize = usize::LEAST;

    fn name() -> String {
        "text".to_owned()
    }

    fn write(&self, to: &mut Vec<u8>) {
        self.len().write(to);
        to.extend(self.as_bytes());
    }

    fn read(from: &mut Reader<'_>) -> Result<String> {
        let length = from.length(1, 1)?;
        let text = std::str::from_utf8(from.take(length)?).map_err(|_| wrong("it is not UTF-8"))?;
        let mut copy = String::new();
        copy.try_reserve_exact(length).map_err(|_| no_memory("a text", length))?;
        copy.push_str(text);
        Ok(copy)
    }
}

impl<T: Binary> Binary for Vec<T> {
    const LEAST: usize = usize::LEAST;

    fn name() -> String {
        format!("list of {}", T::name())
    }

    fn write(&self, to: &mut Vec<u8>) {
        self.len().write(to);
        self.iter().for_each(|value| value.write(to));
    }

    fn read(from: &mut Reader<'_>) -> Result<Vec<T>> {
        let length = from.length(T::LEAST, T::MEMORY)?;
        let mut list = Vec::new();
        list.try_reserve_exact(length).map_err(|_| no_memory("a list", length))?;
        for at in 0..length {
            list.push(T::read(from).map_err(|e| e.within(format!("number {at}")))?);
        }
        Ok(list)
    }
}

impl<T: Binary> Binary for Option<T> {
    const LEAST: usize = bool::LEAST;

    fn name() -> String {
        format!("{} or nothing", T::name())
    }

    fn write(&self, to: &mut Vec<u8>) {
        self.is_some().write(to);
        self.iter().for_each(|value| value.write(to));
    }

    fn read(from: &mut Reader<'_>) -> Result<Option<T>> {
        bool::read(from)?.then(|| T::read(from)).transpose()
    }
}

impl<A: Binary, B: Binary> Binary for (A, B) {
    const LEAST: usize = A::LEAST + B::LEAST;

    fn name() -> String {
        format!("({}, {})", A::name(), B::name())
    }

    fn write(&self, to: &mut Vec<u8>) {
        self.0.write(to);
        self.1.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<(A, B)> {
        Ok((A::read(from)?, B::read(from)?))
    }
}

/// Types of a few values, which are written as their positions in the list of all.
macro_rules! choices {
    ($($type:ident $name:literal),*) => {$(
        impl Binary for $type {
            const LEAST: usize = 1;

            fn name() -> String {
                $name.to_owned()
            }

            fn write(&self, to: &mut Vec<u8>) {
                let position = $type::ALL.iter().position(|known| known == self);
                (position.expect("the list has all") as u8).write(to);
            }

            fn read(from: &mut Reader<'_>) -> Result<$type> {
                let number = u8::read(from)?;
                let found = $type::ALL.get(usize::from(number)).copied();
                found.ok_or_else(|| wrong(format!("there is no {} {number}", $name)))
            }
        }
    )*};
}
choices!(DType "element type", SlotKind "kind");

/// A number for each of the kinds, and the axis where there is one.
impl Binary for Samples {
    const LEAST: usize = 1;

    fn name() -> String {
        "samples".to_owned()
    }

    fn write(&self, to: &mut Vec<u8>) {
        match self {
            Samples::Same => 0u8.write(to),
            Samples::Along(axis) => (1u8, *axis).write(to),
            Samples::Together => 2u8.write(to),
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Samples> {
        match u8::read(from)? {
            0 => Ok(Samples::Same),
            1 => usize::read(from).map(Samples::Along),
            2 => Ok(Samples::Together),
            number => Err(wrong(format!("there is no kind of samples {number}"))),
        }
    }
}

/// Epochs or updates, and how many.
impl Binary for Length {
    const LEAST: usize = 9;

    fn name() -> String {
        "length".to_owned()
    }

    fn write(&self, to: &mut Vec<u8>) {
        match self {
            Length::Epochs(epochs) => (0u8, *epochs).write(to),
            Length::Updates(updates) => (1u8, *updates).write(to),
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Length> {
        match u8::read(from)? {
            0 => u64::read(from).map(Length::Epochs),
            1 => u64::read(from).map(Length::Updates),
            number => Err(wrong(format!("there is no kind of length {number}"))),
        }
    }
}

/// A number of samples, or all that there are.
impl Binary for UpdateBatch {
    const LEAST: usize = 1;

    fn name() -> String {
        "batch".to_owned()
    }

    fn write(&self, to: &mut Vec<u8>) {
        match self {
            UpdateBatch::Samples(samples) => (0u8, *samples).write(to),
            UpdateBatch::All => 1u8.write(to),
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<UpdateBatch> {
        match u8::read(from)? {
            0 => usize::read(from).map(UpdateBatch::Samples),
            1 => Ok(UpdateBatch::All),
            number => Err(wrong(format!("there is no kind of batch {number}"))),
        }
    }
}

/// A record of the manifest, as it is documented.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its name.
    pub name: &'static str,
    /// The names and types of its fields, in their order.
    pub fields: Vec<(&'static str, String)>,
}

/// Records: what the documentation calls them, their fields in the order of the file, and those that are not in it.
macro_rules! records {
    ($($type:ident $name:literal { $($field:ident: $of:ty),* $(; $absent:ident = $value:expr)? })*) => {
        $(impl Binary for $type {
            const LEAST: usize = 0 $(+ <$of as Binary>::LEAST)*;
            const MEMORY: usize = size_of::<$type>() + BESIDE;

            fn name() -> String {
                $name.to_owned()
            }

            fn write(&self, to: &mut Vec<u8>) {
                $(self.$field.write(to);)*
            }

            fn read(from: &mut Reader<'_>) -> Result<$type> {
                $(let $field = <$of as Binary>::read(from)
                    .map_err(|e| e.within(concat!("`", stringify!($field), "`")))?;)*
                Ok($type { $($field,)* $($absent: $value)? })
            }
        })*

        /// All records of the manifest, which is the first of them.
        pub fn records() -> Vec<Record> {
            vec![$(Record {
                name: $name,
                fields: vec![$((stringify!($field), <$of as Binary>::name())),*],
            }),*]
        }
    };
}

records! {
    Contents "manifest" {
        model: String,
        entries: Vec<Manifest>,
        code: Vec<Piece>,
        state: Vec<StoredSlot>,
        prepared: Vec<Option<usize>>,
        about: About,
        record: DataRecord
    }
    About "about" {
        classes: Vec<String>,
        sizes: Vec<Vec<(String, usize)>>,
        data: DataRules,
        training: Vec<Training>,
        plan: Outline
    }
    DataRules "rules of data" {
        set: Option<String>,
        held_out: String,
        target: Option<String>,
        columns: Vec<String>,
        others: Vec<String>,
        tables: Vec<(String, String)>
    }
    Outline "plan" { trainees: Vec<Outlined>, phases: Vec<Phase> }
    Outlined "trainee" {
        entry: String,
        data: Option<String>,
        batch: Option<UpdateBatch>,
        measures: Vec<String>
    }
    Phase "phase" { trainee: usize, length: Length }
    Training "training" {
        entry: String,
        decides: Vec<(String, String)>,
        explains: Vec<(String, String)>,
        notes: Vec<String>
    }
    Manifest "entry" {
        entry: String,
        numerics: u32,
        parallel: bool,
        inputs: Vec<Input>,
        outputs: Vec<Output>,
        state: Vec<StateSlot>,
        arena_bytes: usize,
        local_bytes: usize,
        prepared_bytes: usize,
        constants_bytes: usize,
        checked: bool;
        cpu_features = Vec::new()
    }
    Input "input" {
        name: String,
        dtype: DType,
        dims: Vec<usize>,
        range: Option<IndexRange>,
        samples: Samples
    }
    IndexRange "range" { low: i64, high: i64 }
    Output "output" { name: String, dtype: DType, dims: Vec<usize>, samples: Samples }
    StateSlot "use of a slot" { name: String, dtype: DType, dims: Vec<usize>, updated: bool }
    Piece "piece" { processor: Processor, functions: Vec<Functions> }
    Processor "processor" { architecture: String, convention: String, features: Vec<String> }
    Functions "functions" { entry: usize, prepare: Option<usize> }
    StoredSlot "slot" { name: String, dtype: DType, dims: Vec<usize>, kind: SlotKind, at: Option<usize> }
    DataRecord "record" {
        classes: Vec<String>,
        columns: Vec<String>,
        vocabularies: Vec<(String, Vec<String>)>,
        target: Option<String>,
        held_out: Option<HeldOutRecord>
    }
    HeldOutRecord "held out" { data: String, seed: u64, rule: String }
}
