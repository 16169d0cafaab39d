//! Attention (Vaswani et al., "Attention is all you need", 2017, section 3.2).

use brolga_ir::DType;
use brolga_ir::scalar::Comparison;

use super::ops::Ops;
use super::value::{Built, Fault, Tensor};

/// Which keys a query sees.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Visible {
    /// None that come later: query i sees keys 0 to i.
    pub causal: bool,
    /// Those where this is true; its shape broadcasts to `[batch, heads, queries, keys]`.
    pub mask: Option<Tensor>,
}

impl Ops<'_> {
    /// `softmax(q k^T / sqrt(width / heads)) v` in each head, a head being a block of features: queries
    /// `[batch, queries, width]`, keys and values `[batch, keys, width]`, the result as the queries (the values'
    /// width may be another one).
    pub fn attention(&mut self, q: Tensor, k: Tensor, v: Tensor, heads: usize, visible: Visible) -> Built {
        let (query, key, value) = (self.ty(q), self.ty(k), self.ty(v));
        let fits = [&query, &key, &value].iter().all(|ty| ty.rank() == 3 && ty.dtype == query.dtype)
            && query.dtype.is_float()
            && query.dims[0] == key.dims[0]
            && query.dims[2] == key.dims[2]
            && key.dims[..2] == value.dims[..2];
        if !fits {
            return Err(Fault::new(format!("found queries {query}, keys {key} and values {value}"))
                .note("they are floating-point: [batch, queries, width], [batch, keys, width], [batch, keys, width]"));
        }
        if heads == 0 || !query.dims[2].is_multiple_of(heads) || !value.dims[2].is_multiple_of(heads) {
            let message = format!(
                "widths {} and {} cannot be divided into {heads} heads",
                query.dims[2], value.dims[2]
            );
            return Err(Fault::new(message));
        }
        let mut split = |x: Tensor, dims: &[usize]| {
            self.reshape(x, &[dims[0], dims[1], heads, dims[2] / heads]) // [batch, length, heads, width of one]
        };
        let (q, k, v) = (split(q, &query.dims)?, split(k, &key.dims)?, split(v, &value.dims)?);
        let q = self.mul_num(q, 1.0 / ((query.dims[2] / heads) as f64).sqrt())?;
        let scores = self.b.dot(q, k, [&[0, 2], &[0, 2]], [&[3], &[3]])?; // [batch, heads, queries, keys]
        let scores = self.hidden(scores, visible)?;
        let weights = if visible.mask.is_some() {
            self.softmax_of_visible(scores, 3)?
        } else {
            self.softmax(scores, 3)?
        };
        let mixed = self.b.dot(weights, v, [&[0, 1], &[0, 2]], [&[3], &[1]])?; // [batch, heads, queries, width]
        let mixed = self.transpose(mixed, &[0, 2, 1, 3])?;
        self.reshape(mixed, &[query.dims[0], query.dims[1], value.dims[2]])
    }

    /// Scores of keys that a query does not see become minus infinity, their weights zero. A query that sees no key
    /// gets zeros, as in PyTorch's `scaled_dot_product_attention`.
    fn hidden(&mut self, scores: Tensor, visible: Visible) -> Built {
        let ty = self.ty(scores);
        let never = self.scalar(f64::NEG_INFINITY, ty.dtype)?;
        let mut scores = scores;
        if visible.causal {
            let (queries, keys) = (ty.dims[2], ty.dims[3]);
            let row = self.b.iota(DType::I32, &[queries, keys], 0)?;
            let column = self.b.iota(DType::I32, &[queries, keys], 1)?;
            let past = self.compare(Comparison::Ge, row, column)?;
            scores = self.select(past, scores, never)?;
        }
        if let Some(mask) = visible.mask {
            let found = self.ty(mask);
            let mask = self.broadcast_to(mask, &ty.dims).map_err(|_| {
                Fault::new(format!("the mask must fit the scores, {ty}, found {found}")).note(
                    "the scores are [batch, heads, queries, keys]; the mask's axes are aligned at the last",
                )
            })?;
            scores = self.select(mask, scores, never)?;
        }
        Ok(scores)
    }
}
