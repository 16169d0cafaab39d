//! Arrays by name, one for each input of the model.

use std::collections::HashMap;

use brolga_runtime::{
    Batches, DType, Error, ErrorKind, Field, Request, Result, Split, Tensor, TensorMut, checksum, type_name,
};

use super::parts::Parts;
use super::{Options, bad, check_request};

/// Arrays of the held-out part are named so: `validation.image`.
const VALIDATION: &str = "validation.";

/// Arrays as the fields of a model ask for them.
pub(super) struct ArrayBatches {
    fields: Vec<Field>,
    /// For each field, all samples, `[samples, ...]`, of the field's type; those held out last.
    columns: Vec<Tensor>,
    parts: Parts,
    /// Whether the held-out part has arrays of its own.
    own_test: bool,
}

impl ArrayBatches {
    /// Finds each field among `arrays`. Errors name the array that is missing or does not fit.
    pub(super) fn new(
        arrays: Vec<(String, Tensor)>,
        fields: &[Field],
        options: &Options,
    ) -> Result<ArrayBatches> {
        let names: Vec<String> = arrays.iter().map(|(name, _)| name.clone()).collect();
        let mut arrays: HashMap<String, Tensor> = arrays.into_iter().collect();
        let own_test = names.iter().any(|name| name.starts_with(VALIDATION));
        let mut counts: [Option<(String, usize)>; 2] = [None, None];
        let mut columns = Vec::new();
        for field in fields {
            let mut take = |part: usize, name: String| {
                let Some(array) = arrays.remove(&name) else {
                    let message = format!("expected an array `{name}` for the input `{}`, found", field.name);
                    return Err(bad(format!("{message} {names:?}")));
                };
                let (count, array) =
                    fit(array, field).map_err(|e| e.within(format!("the array `{name}`")))?;
                let (first, expected) = counts[part].get_or_insert((name.clone(), count));
                if *expected != count {
                    return Err(bad(format!("`{first}` has {expected} samples, but `{name}` has {count}")));
                }
                Ok(array)
            };
            let train = take(0, field.name.clone())?;
            let test = own_test.then(|| take(1, format!("{VALIDATION}{}", field.name))).transpose()?;
            columns.push(match test {
                Some(test) => concatenate(&train, &test, field)?,
                None => train,
            });
        }
        let [train, test] = counts.map(|count| count.map_or(0, |(_, count)| count));
        if train == 0 {
            return Err(bad("there are no samples to train on"));
        }
        let parts =
            if own_test { Parts::own(train + test, test)? } else { Parts::fifth(train, options.seed)? };
        Ok(ArrayBatches { fields: fields.to_vec(), columns, parts, own_test })
    }
}

/// The number of samples, and the array in the type of the field.
fn fit(array: Tensor, field: &Field) -> Result<(usize, Tensor)> {
    let dims = array.dims();
    let without_ones = |dims: &[usize]| -> Vec<usize> { dims.iter().copied().filter(|d| *d != 1).collect() };
    let same = |dims: &[usize]| {
        let flat = dims.len() == 1 || field.dims.len() == 1;
        let (found, expected) = (without_ones(dims), without_ones(&field.dims));
        found == expected || (flat && found.iter().product::<usize>() == expected.iter().product::<usize>())
    };
    let Some(count) = dims.split_first().filter(|(_, dims)| same(dims)).map(|(count, _)| *count) else {
        let expected: Vec<String> = field.dims.iter().map(|d| format!(", {d}")).collect();
        let found = type_name(array.dtype(), dims);
        return Err(bad(format!("expected {}[samples{}], found {found}", field.dtype, expected.concat())));
    };
    Ok((count, convert(array, field.dtype)?))
}

/// The same numbers in another type; an error where a number would change, but for rounding to a float.
fn convert(array: Tensor, to: DType) -> Result<Tensor> {
    let narrow = |value: i64| {
        let outside = || format!("the element {value} is outside of {to}");
        i32::try_from(value).map_err(|_| Error::new(ErrorKind::Range, outside()))
    };
    match (array.dtype(), to) {
        (from, to) if from == to => Ok(array),
        (DType::Bool | DType::U8, DType::I32) => array.map(|v: u8| Ok(i32::from(v))),
        (DType::Bool | DType::U8, DType::I64) => array.map(|v: u8| Ok(i64::from(v))),
        (DType::Bool | DType::U8, DType::F32) => array.map(|v: u8| Ok(f32::from(v))),
        (DType::Bool | DType::U8, DType::F64) => array.map(|v: u8| Ok(f64::from(v))),
        (DType::I32, DType::I64) => array.map(|v: i32| Ok(i64::from(v))),
        (DType::I32, DType::F32) => array.map(|v: i32| Ok(v as f32)),
        (DType::I32, DType::F64) => array.map(|v: i32| Ok(f64::from(v))),
        (DType::I64, DType::I32) => array.map(narrow),
        (DType::I64, DType::F32) => array.map(|v: i64| Ok(v as f32)),
        (DType::I64, DType::F64) => array.map(|v: i64| Ok(v as f64)),
        (DType::F32, DType::F64) => array.map(|v: f32| Ok(f64::from(v))),
        (DType::F64, DType::F32) => array.map(|v: f64| Ok(v as f32)),
        _ => Err(bad(format!("expected elements of {to}, found {}; convert them", array.dtype()))),
    }
}

fn concatenate(train: &Tensor, test: &Tensor, field: &Field) -> Result<Tensor> {
    let count = train.dims()[0] + test.dims()[0];
    let mut both = Tensor::zeros(field.dtype, &[&[count], &field.dims[..]].concat())?;
    let (first, second) = both.bytes_mut().split_at_mut(train.bytes().len());
    first.copy_from_slice(train.bytes());
    second.copy_from_slice(test.bytes());
    Ok(both)
}

impl Batches for ArrayBatches {
    fn fields(&self) -> &[Field] {
        &self.fields
    }

    fn len(&self, split: Split) -> usize {
        self.parts.of(split).len()
    }

    fn place(&self, split: Split, index: usize) -> String {
        match self.parts.of(split).get(index) {
            // The part was drawn; the array has them all.
            Some(position) if !self.own_test => format!("sample {position} (counted from 0)"),
            _ => match split {
                Split::Train => format!("sample {index} (counted from 0)"),
                Split::Validation => format!("sample {index} of the array `{VALIDATION}…` (counted from 0)"),
            },
        }
    }

    fn checksum(&self) -> Option<String> {
        let sums: Vec<String> = self.columns.iter().map(|column| checksum(column.bytes())).collect();
        Some(checksum(sums.concat().as_bytes()))
    }

    fn fill(&mut self, request: &Request<'_>, field: usize, out: &mut TensorMut<'_>) -> Result<()> {
        check_request(&self.fields, field, request.indices.len(), out)?;
        let positions = self.parts.positions(request)?;
        let size = self.fields[field].dims.iter().product::<usize>() * self.fields[field].dtype.size();
        let source = self.columns[field].bytes();
        if size > 0 {
            for (target, position) in out.bytes_mut().chunks_exact_mut(size).zip(positions) {
                target.copy_from_slice(&source[position * size..][..size]);
            }
        }
        Ok(())
    }
}
