//! Data sets whose samples follow each other: each row of a batch goes on where it was in the batch before.

use brolga_runtime::{Batches, DType, Error, ErrorKind, Field, Request, Result, Split, TensorMut};

/// The input that says whether a row goes on: not in the first batch of an epoch, and always behind.
pub(super) const CONTINUES: &str = "continues";

/// A data set whose samples are one sequence in their order.
pub(super) struct Following {
    inner: Box<dyn Batches>,
    fields: Vec<Field>,
    /// For each field, its position in the inner set; none for the one that says whether a row goes on.
    within: Vec<Option<usize>>,
}

impl Following {
    /// The set that `open` gives for all other fields.
    ///
    /// # Errors
    /// Those of `open`; an input of that name and of another type.
    pub(super) fn new(
        fields: &[Field],
        open: impl FnOnce(&[Field]) -> Result<Box<dyn Batches>>,
    ) -> Result<Following> {
        let is_own = |field: &Field| field.name == CONTINUES;
        if let Some(field) = fields.iter().find(|field| is_own(field))
            && (field.dtype != DType::Bool || !field.dims.is_empty())
        {
            let message = format!("`{CONTINUES}` says whether a row goes on: declare it as `bool[batch]`");
            return Err(Error::new(ErrorKind::Data, message));
        }
        let others: Vec<Field> = fields.iter().filter(|field| !is_own(field)).cloned().collect();
        let inner = open(&others)?;
        let position = |field: &Field| inner.fields().iter().position(|known| known.name == field.name);
        let within = fields.iter().map(position).collect();
        Ok(Following { inner, fields: fields.to_vec(), within })
    }
}

impl Batches for Following {
    fn fields(&self) -> &[Field] {
        &self.fields
    }

    fn len(&self, split: Split) -> usize {
        self.inner.len(split)
    }

    fn is_sequence(&self) -> bool {
        true
    }

    fn place(&self, split: Split, index: usize) -> String {
        self.inner.place(split, index)
    }

    fn checksum(&self) -> Option<String> {
        self.inner.checksum()
    }

    fn own_part(&self) -> Option<&str> {
        self.inner.own_part()
    }

    fn name(&self, split: Split, index: usize) -> String {
        self.inner.name(split, index)
    }

    fn fill(&mut self, request: &Request<'_>, field: usize, out: &mut TensorMut<'_>) -> Result<()> {
        if let Some(within) = self.within[field] {
            return self.inner.fill(request, within, out);
        }
        // A row of a batch goes through one part of the sequence; at its beginning nothing was before.
        let rows = request.indices.len().max(1);
        let steps = (self.inner.len(request.split) / rows).max(1);
        for (flag, index) in out.bytes_mut().iter_mut().zip(request.indices) {
            *flag = u8::from(index % steps != 0);
        }
        Ok(())
    }
}
