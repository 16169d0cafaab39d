//! Attention (Vaswani et al., "Attention is all you need", 2017, section 3.2).

use brolga_ir::scalar::Comparison;
use brolga_ir::{DType, Type};

use super::arguments::tensor;
use super::builder::Builder;
use super::ops::Ops;
use super::value::{Args, Built, Fault, Tensor};
use crate::source::Span;

/// A mask of attention, and where it is given: truth values, true where a query sees a key, or numbers that are added to
/// the scores.
pub(crate) type Mask = (Tensor, Option<Span>);

/// Which keys a query sees, and how its scores are scaled.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Visible {
    /// None that come later: query i sees keys 0 to i.
    pub causal: bool,
    /// Its shape broadcasts to `[batch, heads, queries, keys]`.
    pub mask: Option<Mask>,
    /// The keys of each sample that any query sees, `[batch, keys]`.
    pub keys: Option<Mask>,
    /// What scores are multiplied by; by default `1 / sqrt(width of a head)`.
    pub scale: Option<f64>,
}

impl Visible {
    /// The arguments `causal`, `mask` and `key_mask`.
    pub fn read(builder: &mut Builder, args: &Args) -> Built<Visible> {
        let mut mask = |name: &str| -> Built<Option<Mask>> {
            args.has(name).then(|| Ok((tensor(builder, args, name)?, args.place(name)))).transpose()
        };
        let causal = args.bool_or("causal", false)?;
        Ok(Visible { causal, mask: mask("mask")?, keys: mask("key_mask")?, scale: None })
    }
}

impl Ops<'_> {
    /// `softmax(scale q k^T) v` in each head, a head being a block of features: queries
    /// `[batch, queries, width]`, keys and values `[batch, keys, width]`, the result as the queries (the values'
    /// width may be another one).
    pub fn attention(&mut self, q: Tensor, k: Tensor, v: Tensor, heads: usize, visible: Visible) -> Built {
        let one = self.of_one_type(&[q, k, v])?;
        let (q, k, v) = (one[0], one[1], one[2]);
        let (query, key, value) = (self.ty(q), self.ty(k), self.ty(v));
        let fits = [&query, &key, &value].iter().all(|ty| ty.rank() == 3)
            && query.dtype.is_float()
            && query.dims[0] == key.dims[0]
            && query.dims[2] == key.dims[2]
            && key.dims[..2] == value.dims[..2];
        if !fits {
            let [query, key, value] = [q, k, v].map(|x| self.written(x));
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
        let scale = visible.scale.unwrap_or(1.0 / ((query.dims[2] / heads) as f64).sqrt());
        let q = self.mul_num(q, scale)?;
        let scores = self.b.dot(q, k, [&[0, 2], &[0, 2]], [&[3], &[3]])?; // [batch, heads, queries, keys]
        let scores = self.hidden(scores, visible)?;
        let weights = if visible.mask.or(visible.keys).is_some() {
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
        for (mask, place) in [visible.mask, self.key_mask(&ty, visible.keys)?].into_iter().flatten() {
            let found = self.ty(mask);
            let wrong = |fault: Fault| place.map_or(fault.clone(), |place| fault.at(place));
            if found.dtype.is_int() {
                let fault =
                    Fault::new(format!("a mask has truth values or floating-point numbers, found {found}"));
                return Err(wrong(fault).help("compare it, as in `mask=m > 0`"));
            }
            let mask = self.broadcast_to(mask, &ty.dims).map_err(|_| {
                wrong(Fault::new(format!("the mask must fit the scores, {ty}, found {found}")).note(
                    "the scores are [batch, heads, queries, keys]; the mask's axes are aligned at the last",
                ))
            })?;
            scores = if found.dtype == DType::Bool {
                self.select(mask, scores, never)?
            } else {
                let mask = self.convert(mask, ty.dtype)?;
                self.add(scores, mask)?
            };
        }
        if visible.causal {
            let (queries, keys) = (ty.dims[2], ty.dims[3]);
            let row = self.b.iota(DType::I32, &[queries, keys], 0)?;
            let column = self.b.iota(DType::I32, &[queries, keys], 1)?;
            let past = self.compare(Comparison::Ge, row, column)?;
            scores = self.select(past, scores, never)?;
        }
        Ok(scores)
    }

    /// A mask `[batch, keys]` in the form of one for scores of that type.
    fn key_mask(&mut self, scores: &Type, mask: Option<Mask>) -> Built<Option<Mask>> {
        let Some((mask, place)) = mask else { return Ok(None) };
        let (found, [batch, keys]) = (self.ty(mask), [scores.dims[0], scores.dims[3]]);
        if found.dims != [batch, keys] {
            let message =
                format!("the mask of the keys must be [batch, keys], here [{batch}, {keys}], found {found}");
            let fault = Fault::new(message);
            return Err(place.map_or(fault.clone(), |place| fault.at(place)));
        }
        Ok(Some((self.reshape(mask, &[batch, 1, 1, keys])?, place)))
    }
}
