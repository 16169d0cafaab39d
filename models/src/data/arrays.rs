//! Arrays by name, one for each input of the model.

use std::collections::HashMap;

use brolga_runtime::{
    Batches, DType, Field, Others, Request, Result, Split, Tensor, TensorMut, checksum, counted,
    listed_in_quotes, type_name,
};

use super::options::Options;
use super::parts::{Own, Parts};
use super::reading::{bad, check_request};
use super::table::Filled;

/// Arrays of the held-out part are named so: `validation.image`.
pub(super) const VALIDATION: &str = "validation.";

/// Arrays as the fields of a model ask for them.
pub(super) struct ArrayBatches {
    fields: Vec<Field>,
    /// For each field, all samples, `[samples, ...]`, of the field's type; those held out last.
    columns: Vec<Tensor>,
    parts: Parts,
    /// The checksum of what the file holds, whatever of it the fields take and in which types.
    sum: String,
    /// Whether the own part is the one held out.
    own_part: bool,
    /// Whether the held-out part has arrays of its own.
    own_test: bool,
    classes: Vec<String>,
    vocabularies: Vec<(String, Vec<String>)>,
    table_columns: Vec<String>,
    /// What each sample is called; empty if by its number.
    names: Vec<String>,
    /// Arrays that are no samples, and were asked for.
    tables: HashMap<String, Tensor>,
}

impl ArrayBatches {
    /// Finds each field among `arrays`, beside which a file has `others`. Errors name the array that is missing or does not fit.
    pub(super) fn new(
        arrays: Vec<(String, Tensor)>,
        mut others: Others,
        fields: &[Field],
        options: &Options,
    ) -> Result<ArrayBatches> {
        let names: Vec<String> = arrays.iter().map(|(name, _)| name.clone()).collect();
        let sum = checksum_of_all(&arrays);
        let mut arrays: HashMap<String, Tensor> = arrays.into_iter().collect();
        let tables = tables(&arrays, &mut others, &options.tables)?;
        let own_test = names.iter().any(|name| name.starts_with(VALIDATION));
        let mut counts: [Option<(String, usize)>; 2] = [None, None];
        let mut columns = Vec::new();
        for field in fields {
            let mut take = |part: usize, name: String| {
                let Some(array) = arrays.remove(&name) else {
                    if let Some(at) = others.iter().position(|(other, _)| *other == name) {
                        return Err(others.swap_remove(at).1);
                    }
                    let message = format!("expected an array `{name}` for the input `{}`, found", field.name);
                    let found = if names.is_empty() { "none".into() } else { listed_in_quotes(&names) };
                    return Err(bad(format!("{message} {found}")));
                };
                let (count, array) =
                    fit(array, field).map_err(|e| e.within(format!("the array `{name}`")))?;
                let (first, expected) = counts[part].get_or_insert((name.clone(), count));
                if *expected != count {
                    let expected = counted(*expected as u64, "sample");
                    return Err(bad(format!("`{first}` has {expected}, but `{name}` has {count}")));
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
        let test = own_test.then_some(test);
        let count = train + test.unwrap_or(0);
        let batches = ArrayBatches::whole(fields, columns, count, test, options, sum)?;
        Ok(ArrayBatches { tables, ..batches })
    }

    /// A table.
    pub(super) fn filled(filled: Filled, fields: &[Field], options: &Options) -> Result<ArrayBatches> {
        let Filled { tensors, classes, vocabularies, columns, names, sum } = filled;
        let batches = ArrayBatches::whole(fields, tensors, names.len(), None, options, sum)?;
        Ok(ArrayBatches { classes, vocabularies, table_columns: columns, names, ..batches })
    }

    fn whole(
        fields: &[Field],
        columns: Vec<Tensor>,
        count: usize,
        held_out: Option<usize>,
        options: &Options,
        sum: String,
    ) -> Result<ArrayBatches> {
        let label = |field: &Field| field.dims.is_empty() && matches!(field.dtype, DType::I32 | DType::I64);
        // Labels come behind what they label.
        let labels = fields.iter().rposition(label).and_then(|at| match columns[at].dtype() {
            DType::I32 => {
                columns[at].as_slice().ok().map(|v: &[i32]| v.iter().map(|&v| i64::from(v)).collect())
            }
            _ => columns[at].as_slice().ok().map(<[i64]>::to_vec),
        });
        let own = Own { validation: held_out, test: None };
        let parts = Parts::new(count, own, labels.as_deref(), options)?;
        let own_part = own.held_out(&options.held_out).is_some();
        let (fields, classes) = (fields.to_vec(), options.classes.clone());
        let (vocabularies, table_columns, names) = (Vec::new(), Vec::new(), Vec::new());
        let own_test = held_out.is_some();
        Ok(ArrayBatches {
            fields,
            columns,
            parts,
            sum,
            own_part,
            own_test,
            classes,
            vocabularies,
            table_columns,
            names,
            tables: HashMap::new(),
        })
    }
}

/// The arrays of these names, as far as they are there. One that cannot be read is an error.
fn tables(
    arrays: &HashMap<String, Tensor>,
    others: &mut Others,
    names: &[String],
) -> Result<HashMap<String, Tensor>> {
    let mut tables = HashMap::new();
    for name in names {
        if let Some(at) = others.iter().position(|(other, _)| other == name) {
            return Err(others.swap_remove(at).1);
        }
        if let Some(array) = arrays.get(name) {
            tables.insert(name.clone(), array.try_clone()?);
        }
    }
    Ok(tables)
}

/// The checksum of arrays, in whatever order they are.
fn checksum_of_all(arrays: &[(String, Tensor)]) -> String {
    let sum = |(name, tensor): &(String, Tensor)| {
        format!("{name} {} {}\n", type_name(tensor.dtype(), tensor.dims()), checksum(tensor.bytes()))
    };
    let mut sums: Vec<String> = arrays.iter().map(sum).collect();
    sums.sort_unstable();
    checksum(sums.concat().as_bytes())
}

/// The number of samples, and the array in the type and shape of the field.
fn fit(array: Tensor, field: &Field) -> Result<(usize, Tensor)> {
    let count = array.dims().first().copied();
    let dims = [&[count.unwrap_or(0)], &field.dims[..]].concat();
    let Some(count) = count.filter(|_| array.fits(&dims)) else {
        let expected: Vec<String> = field.dims.iter().map(|d| format!(", {d}")).collect();
        let found = array.type_found();
        return Err(bad(format!("expected {}[samples{}], found {found}", field.dtype, expected.concat())));
    };
    Ok((count, array.for_input(field.dtype, &dims)?))
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
        let position = self.parts.of(split).get(index);
        if let Some(line) = position.and_then(|&position| self.names.get(position)) {
            return line.clone();
        }
        match position {
            // The part was drawn; the array has them all.
            Some(position) if !self.own_test => format!("sample {position} (counted from 0)"),
            _ => match split {
                Split::Train => format!("sample {index} (counted from 0)"),
                Split::Validation => format!("sample {index} of the array `{VALIDATION}…` (counted from 0)"),
            },
        }
    }

    fn checksum(&self) -> Option<String> {
        Some(self.sum.clone())
    }

    fn own_part(&self) -> Option<&str> {
        self.own_part.then_some("validation")
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }

    fn table(&self, name: &str) -> Option<&Tensor> {
        self.tables.get(name)
    }

    fn columns(&self) -> &[String] {
        &self.table_columns
    }

    fn vocabularies(&self) -> &[(String, Vec<String>)] {
        &self.vocabularies
    }

    fn name(&self, split: Split, index: usize) -> String {
        let name = self.parts.of(split).get(index).and_then(|&at| self.names.get(at));
        name.cloned().unwrap_or_else(|| index.to_string())
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
