//! Index expressions: integer expressions over loop variables, kept in one normal form.
//!
//! An [`Index`] is `constant + sum of coefficient * atom`; an atom is a variable, a quotient or remainder by a
//! positive constant, or a scalar value computed inside (a gathered index). Terms are sorted and merged, so equal
//! expressions of equal shape are equal values. [`Index::div`] and [`Index::rem`] use the ranges of variables to
//! dissolve what a reshape composed with its inverse leaves behind.
//!
//! Arithmetic wraps, in the making as in [`Index::evaluate`]: a text may hold any coefficients, and in a verified program
//! nothing wraps.

use std::fmt;

/// A loop variable, or an axis of a definition.
pub type Var = u32;

/// What an index is linear in.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Atom {
    /// A variable; it runs from 0 to its extent.
    Var(Var),
    /// The quotient of an index by a positive constant, rounded toward -inf.
    Div(Box<Index>, i64),
    /// The remainder of an index by a positive constant, in `0..constant`.
    Rem(Box<Index>, i64),
    /// A scalar integer computed beside the index: its number in the surrounding code.
    Value(u32),
}

/// `constant + Σ coefficient · atom`, terms sorted by atom, no coefficient zero, no atom twice.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Default)]
pub struct Index {
    constant: i64,
    terms: Vec<(Atom, i64)>,
}

/// Inclusive bounds.
pub type Range = (i64, i64);

impl Index {
    /// A constant.
    pub fn constant(constant: i64) -> Index {
        Index { constant, terms: Vec::new() }
    }

    /// A variable.
    pub fn var(var: Var) -> Index {
        Index::atom(Atom::Var(var))
    }

    /// A scalar value.
    pub fn value(value: u32) -> Index {
        Index::atom(Atom::Value(value))
    }

    fn atom(atom: Atom) -> Index {
        Index { constant: 0, terms: vec![(atom, 1)] }
    }

    /// The constant part.
    pub fn offset(&self) -> i64 {
        self.constant
    }

    /// The terms, sorted by atom.
    pub fn terms(&self) -> &[(Atom, i64)] {
        &self.terms
    }

    /// Built from parts, normalised.
    pub fn from_terms(constant: i64, terms: impl IntoIterator<Item = (Atom, i64)>) -> Index {
        let mut result = Index::constant(constant);
        for (atom, coefficient) in terms {
            result = result.plus_index(Index::atom(atom).scaled(coefficient));
        }
        result
    }

    /// The constant, if there is nothing else.
    pub fn as_constant(&self) -> Option<i64> {
        self.terms.is_empty().then_some(self.constant)
    }

    /// Whether the index is just one variable or value.
    fn is_plain(&self) -> bool {
        matches!((self.constant, self.terms.as_slice()), (0, [(Atom::Var(_) | Atom::Value(_), 1)]))
    }

    /// The coefficient with which `var` stands directly in the sum (not inside a quotient or remainder).
    pub fn coefficient(&self, var: Var) -> i64 {
        self.terms.iter().find(|(atom, _)| *atom == Atom::Var(var)).map_or(0, |&(_, c)| c)
    }

    /// Whether the index depends on `var` through a quotient or a remainder.
    pub fn is_nonlinear_in(&self, var: Var) -> bool {
        self.terms.iter().any(|(atom, _)| match atom {
            Atom::Div(inner, _) | Atom::Rem(inner, _) => inner.mentions(var),
            _ => false,
        })
    }

    /// Whether `var` occurs anywhere.
    pub fn mentions(&self, var: Var) -> bool {
        self.coefficient(var) != 0 || self.is_nonlinear_in(var)
    }

    /// The variables and values that occur anywhere, to `f`.
    pub fn visit(&self, f: &mut impl FnMut(&Atom)) {
        for (atom, _) in &self.terms {
            f(atom);
            if let Atom::Div(inner, _) | Atom::Rem(inner, _) = atom {
                inner.visit(f);
            }
        }
    }

    /// The sum.
    pub fn add(&self, other: &Index) -> Index {
        let mut terms = Vec::with_capacity(self.terms.len() + other.terms.len());
        let (mut a, mut b) = (self.terms.iter().peekable(), other.terms.iter().peekable());
        loop {
            match (a.peek(), b.peek()) {
                (Some(x), Some(y)) if x.0 == y.0 => {
                    let sum = x.1.wrapping_add(y.1);
                    if sum != 0 {
                        terms.push((x.0.clone(), sum));
                    }
                    a.next();
                    b.next();
                }
                (Some(x), Some(y)) if x.0 < y.0 => terms.push(a.next().cloned().expect("peeked")),
                (_, Some(_)) => terms.push(b.next().cloned().expect("peeked")),
                (Some(_), None) => terms.push(a.next().cloned().expect("peeked")),
                (None, None) => break,
            }
        }
        Index { constant: self.constant.wrapping_add(other.constant), terms }.recombined()
    }

    /// As [`Index::add`], of what nobody else needs: nothing is copied where terms need not be merged.
    pub(crate) fn plus_index(mut self, mut other: Index) -> Index {
        if self.terms.is_empty() {
            std::mem::swap(&mut self, &mut other);
        }
        let apart = match (self.terms.last(), other.terms.first()) {
            (Some((last, _)), Some((first, _))) => last < first,
            _ => true,
        };
        if !apart {
            return self.add(&other);
        }
        self.constant = self.constant.wrapping_add(other.constant);
        self.terms.append(&mut other.terms);
        self.recombined()
    }

    /// As [`Index::scale`], in place.
    pub(crate) fn scaled(mut self, factor: i64) -> Index {
        if factor != 1 {
            self.constant = self.constant.wrapping_mul(factor);
            self.terms.iter_mut().for_each(|(_, c)| *c = c.wrapping_mul(factor));
            self.terms.retain(|&(_, c)| c != 0);
        }
        self
    }

    /// The sum of indices, each multiplied: the row-major position of an index, by strides.
    pub fn dot<'a>(factors: impl IntoIterator<Item = (&'a Index, i64)>) -> Index {
        let terms = factors.into_iter().map(|(index, factor)| index.clone().scaled(factor));
        terms.fold(Index::default(), Index::plus_index)
    }

    /// `d · (x / d) + x mod d` is x: what is left of the row-major position of a position taken apart.
    fn recombined(self) -> Index {
        for (at, (atom, c)) in self.terms.iter().enumerate() {
            let Atom::Rem(inner, d) = atom else { continue };
            let quotient = inner.div(*d, &|_| None);
            let (0, [(quotient, 1)]) = (quotient.constant, quotient.terms.as_slice()) else { continue };
            let pair =
                self.terms.iter().position(|(other, by)| other == quotient && c.checked_mul(*d) == Some(*by));
            let Some(pair) = pair else { continue };
            let whole = inner.scale(*c);
            let mut rest = self.clone();
            rest.terms.remove(at.max(pair));
            rest.terms.remove(at.min(pair));
            return rest.add(&whole);
        }
        self
    }

    /// The sum with a constant.
    pub fn plus(&self, constant: i64) -> Index {
        Index { constant: self.constant.wrapping_add(constant), terms: self.terms.clone() }
    }

    /// The product with a constant.
    pub fn scale(&self, factor: i64) -> Index {
        if factor == 0 {
            return Index::default();
        }
        let terms = self.terms.iter().map(|(atom, c)| (atom.clone(), c.wrapping_mul(factor)));
        Index {
            constant: self.constant.wrapping_mul(factor),
            terms: terms.filter(|&(_, c)| c != 0).collect(),
        }
    }

    /// The difference.
    pub fn sub(&self, other: &Index) -> Index {
        self.add(&other.scale(-1))
    }

    /// By how much `to` is more, where that is a constant.
    pub fn distance(&self, to: &Index) -> Option<i64> {
        if self.terms == to.terms {
            return Some(to.constant.wrapping_sub(self.constant));
        }
        // Terms that differ cancel out only where remainders meet their quotients.
        let has_remainders =
            |index: &Index| index.terms.iter().any(|(atom, _)| matches!(atom, Atom::Rem(..)));
        (has_remainders(self) || has_remainders(to)).then(|| to.sub(self).as_constant()).flatten()
    }

    /// Inclusive bounds, if `range` knows those of all variables and values; `None` where unbounded.
    pub fn range(&self, range: &dyn Fn(&Atom) -> Option<Range>) -> Option<Range> {
        let (mut low, mut high) = (self.constant, self.constant);
        for (atom, c) in &self.terms {
            let (l, h) = match atom {
                Atom::Var(_) | Atom::Value(_) => range(atom)?,
                Atom::Div(inner, d) => {
                    let (l, h) = inner.range(range)?;
                    (l.div_euclid(*d), h.div_euclid(*d))
                }
                Atom::Rem(inner, d) => match inner.range(range) {
                    Some((l, h)) if l.div_euclid(*d) == h.div_euclid(*d) => {
                        (l.rem_euclid(*d), h.rem_euclid(*d))
                    }
                    _ => (0, d - 1),
                },
            };
            let (a, b) = (l.checked_mul(*c)?, h.checked_mul(*c)?);
            low = low.checked_add(a.min(b))?;
            high = high.checked_add(a.max(b))?;
        }
        Some((low, high))
    }

    /// The part whose constant and coefficients are multiples of `divisor`, divided by it; and the rest.
    fn split(&self, divisor: i64) -> (Index, Index) {
        let mut quotient = Index::constant(self.constant.div_euclid(divisor));
        let mut rest = Index::constant(self.constant.rem_euclid(divisor));
        for (atom, c) in &self.terms {
            let target = if c % divisor == 0 { &mut quotient } else { &mut rest };
            target.terms.push((atom.clone(), if c % divisor == 0 { c / divisor } else { *c }));
        }
        (quotient, rest)
    }

    /// The quotient by a positive constant, rounded toward -inf, simplified by what `range` knows.
    pub fn div(&self, divisor: i64, range: &dyn Fn(&Atom) -> Option<Range>) -> Index {
        assert!(divisor > 0, "an index is divided by {divisor}");
        let (quotient, rest) = self.split(divisor);
        match rest.range(range) {
            Some((low, high)) if low.div_euclid(divisor) == high.div_euclid(divisor) => {
                quotient.plus(low.div_euclid(divisor))
            }
            _ => match rest.terms.as_slice() {
                // (x / a) / b = x / (a b)
                [(Atom::Div(inner, d), 1)] if rest.constant == 0 && d.checked_mul(divisor).is_some() => {
                    quotient.add(&inner.div(d * divisor, range))
                }
                _ => quotient.add(&Index::atom(Atom::Div(Box::new(rest), divisor))),
            },
        }
    }

    /// The remainder by a positive constant, in `0..divisor`, simplified by what `range` knows.
    pub fn rem(&self, divisor: i64, range: &dyn Fn(&Atom) -> Option<Range>) -> Index {
        assert!(divisor > 0, "an index is divided by {divisor}");
        let (_, rest) = self.split(divisor);
        match rest.range(range) {
            Some((low, high)) if low.div_euclid(divisor) == high.div_euclid(divisor) => {
                rest.plus(low.div_euclid(divisor).wrapping_mul(divisor).wrapping_neg())
            }
            _ => match rest.terms.as_slice() {
                // (x mod a) mod b = x mod b where b divides a
                [(Atom::Rem(inner, d), 1)] if rest.constant == 0 && d % divisor == 0 => {
                    inner.rem(divisor, range)
                }
                _ => Index::atom(Atom::Rem(Box::new(rest), divisor)),
            },
        }
    }

    /// With variables and values replaced; quotients and remainders are simplified again by `range`.
    pub fn substitute(
        &self,
        replace: &dyn Fn(&Atom) -> Option<Index>,
        range: &dyn Fn(&Atom) -> Option<Range>,
    ) -> Index {
        let mut result = Index::constant(self.constant);
        for (atom, c) in &self.terms {
            let replaced = match atom {
                Atom::Var(_) | Atom::Value(_) => replace(atom).unwrap_or_else(|| Index::atom(atom.clone())),
                Atom::Div(inner, d) => inner.substitute(replace, range).div(*d, range),
                Atom::Rem(inner, d) => inner.substitute(replace, range).rem(*d, range),
            };
            result = result.plus_index(replaced.scaled(*c));
        }
        result
    }

    /// The value, given those of variables and values.
    pub fn evaluate(&self, lookup: &impl Fn(&Atom) -> i64) -> i64 {
        self.terms.iter().fold(self.constant, |sum, (atom, c)| {
            let value = match atom {
                Atom::Var(_) | Atom::Value(_) => lookup(atom),
                Atom::Div(inner, d) => inner.evaluate(lookup).div_euclid(*d),
                Atom::Rem(inner, d) => inner.evaluate(lookup).rem_euclid(*d),
            };
            sum.wrapping_add(value.wrapping_mul(*c))
        })
    }
}

impl fmt::Display for Index {
    /// `3*i0 + (i1 / 4) + ((i2 + 1) % 4) - 1`; values print as `v0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (atom, c) in &self.terms {
            let sign = if *c < 0 { "-" } else { "+" };
            match (first, *c < 0) {
                (true, false) => {}
                (true, true) => f.write_str("-")?,
                (false, _) => write!(f, " {sign} ")?,
            }
            first = false;
            if c.unsigned_abs() != 1 {
                write!(f, "{}*", c.unsigned_abs())?;
            }
            match atom {
                Atom::Var(var) => write!(f, "i{var}")?,
                Atom::Value(value) => write!(f, "v{value}")?,
                Atom::Div(inner, d) if inner.is_plain() => write!(f, "({inner} / {d})")?,
                Atom::Rem(inner, d) if inner.is_plain() => write!(f, "({inner} % {d})")?,
                Atom::Div(inner, d) => write!(f, "(({inner}) / {d})")?,
                Atom::Rem(inner, d) => write!(f, "(({inner}) % {d})")?,
            }
        }
        match self.constant {
            c if first => write!(f, "{c}"),
            0 => Ok(()),
            c if c < 0 => write!(f, " - {}", c.unsigned_abs()),
            c => write!(f, " + {c}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extents(extents: &'static [i64]) -> impl Fn(&Atom) -> Option<Range> {
        move |atom| match atom {
            Atom::Var(var) => Some((0, extents[*var as usize] - 1)),
            _ => None,
        }
    }

    #[test]
    fn a_reshape_and_its_inverse_cancel() {
        let range = extents(&[5, 7]);
        let flat = Index::var(0).scale(7).add(&Index::var(1));
        assert_eq!(flat.div(7, &range), Index::var(0));
        assert_eq!(flat.rem(7, &range), Index::var(1));
        let other = flat.div(3, &range).scale(3).add(&flat.rem(3, &range));
        for i in 0..5 {
            for j in 0..7 {
                let lookup = |atom: &Atom| if *atom == Atom::Var(0) { i } else { j };
                assert_eq!(other.evaluate(&lookup), 7 * i + j);
            }
        }
    }

    #[test]
    fn terms_merge_and_vanish() {
        let a = Index::var(0).scale(2).add(&Index::var(1)).plus(3);
        assert_eq!(a.sub(&a), Index::default());
        assert_eq!(a.to_string(), "2*i0 + i1 + 3");
        assert_eq!(Index::var(2).scale(-1).plus(-4).to_string(), "-i2 - 4");
    }

    #[test]
    fn a_distance_is_a_constant_difference() {
        let range = |_: &Atom| None;
        let (x, y) = (Index::var(0), Index::var(1).scale(3));
        let (quotient, rest) = (x.div(4, &range).scale(4), x.rem(4, &range));
        let taken_apart = x.sub(&rest);
        let all = [x.clone(), x.plus(5), x.add(&y).plus(-2), y, quotient.plus(1), rest, taken_apart];
        for a in &all {
            assert_eq!(a.distance(&a.plus(7)), Some(7));
            for b in &all {
                assert_eq!(a.distance(b), b.sub(a).as_constant(), "{a} to {b}");
            }
        }
    }

    #[test]
    fn negative_indices_round_down() {
        let range = |_: &Atom| None;
        let index = Index::var(0).plus(-1).div(2, &range);
        assert_eq!(index.evaluate(&|_| 0), -1);
        assert_eq!(Index::var(0).plus(-1).rem(2, &range).evaluate(&|_| 0), 1);
    }
}
