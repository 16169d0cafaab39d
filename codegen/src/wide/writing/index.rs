//! Indices and addresses inside a leaf, and the values that they are made of.

use brolga_ir::DType;
use brolga_ir::index::{Atom, Index, Range, Var};
use brolga_ir::program::ValueId;

use super::writer::{Known, Writer, lane_bits};
use crate::portable::has_lanes;
use crate::wide::types::lane_code::{Define, Elements, Inst, Lane};
use crate::wide::types::operations::Binary;
use crate::wide::types::words::{Start, Word};

/// What an index is made of. Example: `20*j + 4*i + v3 + (i / 3) + n + 5`, in a strip over `i` and a loop of the leaf over `j`, with
/// `n` from outside and a `v3` that is equal in all lanes: constant 5, fixed `n`, lane 4, strides (j, 20), equal `v3`, other `i / 3`.
struct Parts {
    constant: i64,
    /// What is known outside of the leaf.
    fixed: Index,
    /// The coefficient of the strip's variable.
    lane: i64,
    /// Those of the leaf's loops, by number.
    strides: Vec<(usize, i64)>,
    /// What is not linear, but equal in all lanes.
    equal: Vec<(Atom, i64)>,
    /// What differs.
    other: Vec<(Atom, i64)>,
}

fn visits(index: &Index, test: &impl Fn(&Atom) -> bool) -> bool {
    let mut found = false;
    index.visit(&mut |atom| found |= test(atom));
    found
}

impl Writer<'_, '_> {
    /// The ranges of loop variables; those of values are unknown.
    fn range_of(&self) -> impl Fn(&Atom) -> Option<Range> + '_ {
        |atom| match atom {
            Atom::Var(var) => {
                let inside = self.extents.get(var).copied();
                let extent = inside.or_else(|| self.cx.vars.get(var).map(|bound| bound.extent))?;
                Some((0, extent as i64 - 1))
            }
            _ => None,
        }
    }

    fn is_strip_var(&self, var: Var) -> bool {
        self.strip.as_ref().is_some_and(|strip| strip.var == var)
    }

    /// A value from inside, or one from outside in all lanes.
    pub fn value(&mut self, id: ValueId) -> Option<Known> {
        if let Some(&value) = self.values.get(&id) {
            return Some(value);
        }
        let dtype = self.cx.values.get(&id)?.dtype;
        let lane = match self.cx.constants.get(&id) {
            Some(scalar) => self.lanes.constant(lane_bits(*scalar)?),
            None if has_lanes(dtype) => self.uniform(Word { start: Start::Value(id), strides: Vec::new() }),
            None => return None,
        };
        Some(Known { lane, dtype, varies: false, inside: false })
    }

    /// Whether an index differs between the iterations of the strip.
    pub fn varies(&self, index: &Index) -> bool {
        visits(index, &|atom| match atom {
            Atom::Var(var) => self.is_strip_var(*var),
            Atom::Value(id) => self.values.get(&ValueId(*id)).is_some_and(|known| known.varies),
            _ => false,
        })
    }

    /// Whether an index is known before the strip.
    pub fn before_strip(&self, index: &Index) -> bool {
        let inner = self.strip.as_ref().map_or(0, |strip| strip.loops);
        !visits(index, &|atom| match atom {
            Atom::Var(var) => self.is_strip_var(*var) || self.loops[inner..].iter().any(|l| l.0 == *var),
            Atom::Value(id) => self.values.get(&ValueId(*id)).is_some_and(|known| known.inside),
            _ => false,
        })
    }

    /// Whether an index is known before the leaf.
    fn outside(&self, index: &Index) -> bool {
        !visits(index, &|atom| match atom {
            Atom::Var(var) => self.is_strip_var(*var) || self.loops.iter().any(|l| l.0 == *var),
            Atom::Value(id) => self.values.contains_key(&ValueId(*id)),
            _ => false,
        })
    }

    /// Whether an integer is surely in the range of `i32`.
    pub fn is_narrow(&self, index: &Index) -> bool {
        let range = index.range(&self.range_of());
        range.is_some_and(|(low, high)| i32::try_from(low).is_ok() && i32::try_from(high).is_ok())
    }

    fn parts(&self, index: &Index) -> Parts {
        let substitute = |atom: &Atom| match atom {
            Atom::Var(var) => self.substitutes.get(var).cloned(),
            _ => None,
        };
        let index = index.substitute(&substitute, &self.range_of());
        let mut parts = Parts {
            constant: index.offset(),
            fixed: Index::default(),
            lane: 0,
            strides: Vec::new(),
            equal: Vec::new(),
            other: Vec::new(),
        };
        let mut fixed = Vec::new();
        for (atom, c) in index.terms() {
            let alone = Index::from_terms(0, [(atom.clone(), 1)]);
            let number = match atom {
                Atom::Var(var) => self.loops.iter().find(|l| l.0 == *var).map(|l| l.1),
                _ => None,
            };
            match (atom, number) {
                (Atom::Var(var), _) if self.is_strip_var(*var) => parts.lane = *c,
                (_, Some(number)) => parts.strides.push((number, *c)),
                _ if self.outside(&alone) => fixed.push((atom.clone(), *c)),
                _ if self.varies(&alone) => parts.other.push((atom.clone(), *c)),
                _ => parts.equal.push((atom.clone(), *c)),
            }
        }
        parts.fixed = Index::from_terms(0, fixed);
        parts
    }

    /// The word that holds a value in all lanes.
    pub fn uniform(&mut self, word: Word) -> Lane {
        let loops = word.strides.iter().map(|stride| stride.0).max();
        let word = self.word(word);
        let Some(innermost) = loops else {
            if let Some(&lane) = self.uniforms.get(&word) {
                return lane;
            }
            let lane = Lane(self.lanes.count);
            self.lanes.count += 1;
            self.head.push(Inst::Define(lane, Define::Uniform(word)));
            self.uniforms.insert(word, lane);
            return lane;
        };
        // Before the strip, if only loops around it change the word.
        match &self.strip {
            Some(strip) if self.loops[..strip.loops].iter().any(|l| l.1 == innermost) => {
                if let Some(&lane) = strip.uniforms.get(&word) {
                    return lane;
                }
                let lane = self.before(|writer| writer.lanes.define(Define::Uniform(word)));
                if let Some(strip) = &mut self.strip {
                    strip.uniforms.insert(word, lane);
                }
                lane
            }
            _ => self.lanes.define(Define::Uniform(word)),
        }
    }

    /// A term that is not linear, as `i32` lanes.
    fn term(&mut self, atom: &Atom) -> Option<Lane> {
        match atom {
            Atom::Value(id) => {
                let known = self.value(ValueId(*id))?;
                matches!(known.dtype, DType::I32 | DType::I64).then_some(known.lane)
            }
            Atom::Div(inner, by) | Atom::Rem(inner, by) => {
                let lane = self.index(inner)?;
                let range = inner.range(&self.range_of());
                if range.is_some() && !self.is_narrow(inner) {
                    return None;
                }
                let (quotient, remainder) = self.lanes.divide(lane, *by, range)?;
                Some(if matches!(atom, Atom::Div(..)) { quotient } else { remainder })
            }
            Atom::Var(_) => None,
        }
    }

    /// The sum of such terms.
    fn sum(&mut self, terms: &[(Atom, i64)]) -> Option<Option<Lane>> {
        let mut sum = None;
        for (atom, c) in terms {
            let lane = self.term(atom)?;
            let lane = self.scaled(lane, *c);
            sum = Some(match sum {
                None => lane,
                Some(sum) => self.lanes.binary(Binary::Paddd, sum, lane),
            });
        }
        Some(sum)
    }

    /// Where an element lies.
    pub fn place(&mut self, param: usize, index: &Index) -> Option<Elements> {
        let kernel = self.cx.kernel;
        let dtype = kernel.params[param].dtype;
        if !has_lanes(dtype) {
            return None;
        }
        let size = dtype.size() as i64;
        let parts = self.parts(index);
        let fits = |value: i64| i32::try_from(value).ok();
        // All iterations of the strip are an immediate away from the first.
        let extent = self.strip.as_ref().map_or(0, |strip| strip.extent) + self.lanes.machine.lanes;
        let reach = parts.lane.checked_mul(size * extent as i64)?;
        fits(reach)?;
        let offset = parts.constant.checked_mul(size).filter(|&o| {
            let end = o.saturating_add(reach);
            fits(o).is_some() && fits(end).is_some()
        });
        let reachable = self.is_reachable(&parts, kernel.params[param].len);
        let (fixed, offset) = match offset {
            Some(offset) => (parts.fixed, fits(offset)?),
            None => (parts.fixed.plus(parts.constant), 0),
        };
        let strides = self.byte_strides(&parts.strides, size)?;
        let mut word = self.word(Word { start: Start::Pointer(param, fixed), strides });
        if !reachable {
            return None;
        }
        if !parts.equal.is_empty() {
            word = self.point(word, parts.equal, size as usize)?;
        }
        let index = self.sum(&parts.other)?;
        Some(Elements { word, offset, stride: fits(parts.lane)?, dtype, index })
    }

    /// Whether what is not linear in an index of one of `len` elements is computed in 32 bits.
    fn is_reachable(&self, parts: &Parts, len: usize) -> bool {
        let nonlinear = !(parts.equal.is_empty() && parts.other.is_empty());
        if nonlinear && len > 1 << 30 {
            return false;
        }
        [&parts.equal, &parts.other].into_iter().all(|terms| {
            let total = Index::from_terms(0, terms.iter().cloned());
            total.range(&self.range_of()).is_none() || self.is_narrow(&total)
        })
    }

    /// The bytes that an iteration of each loop adds, if what the loop adds altogether can be taken back.
    fn byte_strides(&self, strides: &[(usize, i64)], size: i64) -> Option<Vec<(usize, i64)>> {
        let in_bytes = |&(number, c): &(usize, i64)| {
            let amount = c.checked_mul(size)?;
            amount.checked_mul(self.lanes.loops[number] as i64)?;
            Some((number, amount))
        };
        strides.iter().map(in_bytes).collect()
    }

    /// A word that is another one moved by elements that are equal in all lanes.
    fn point(&mut self, from: usize, terms: Vec<(Atom, i64)>, size: usize) -> Option<usize> {
        let total = Index::from_terms(0, terms.iter().cloned());
        let inner = self.strip.as_ref().map_or(0, |strip| strip.loops);
        let moved = self.words[from].strides.iter().any(|s| self.loops[inner..].iter().any(|l| l.1 == s.0));
        let before = self.strip.is_some() && !moved && self.before_strip(&total);
        if let Some(strip) = self.strip.as_ref().filter(|_| before)
            && let Some(point) = strip.points.iter().find(|p| p.0 == from && p.1 == total)
        {
            return Some(point.2);
        }
        let to = self.word(Word { start: Start::Unset, strides: Vec::new() });
        let write = |writer: &mut Self| {
            let by = writer.sum(&terms)??;
            writer.lanes.insts.push(Inst::Point { to, from, by, size });
            Some(())
        };
        if before {
            self.before(write)?;
            self.strip.as_mut()?.points.push((from, total, to));
        } else {
            write(self)?;
        }
        Some(to)
    }

    /// An index as `i32` lanes.
    pub fn index(&mut self, index: &Index) -> Option<Lane> {
        let parts = self.parts(index);
        let mut sum = if parts.fixed == Index::default() && parts.strides.is_empty() {
            self.lanes.constant(parts.constant as u32)
        } else {
            let start = Start::Index(parts.fixed.plus(parts.constant));
            self.uniform(Word { start, strides: parts.strides })
        };
        if parts.lane != 0 {
            let first = self.lanes.define(Define::First);
            let first = self.scaled(first, parts.lane);
            sum = self.lanes.binary(Binary::Paddd, first, sum);
            let ramp = self.lanes.define(Define::Ramp(parts.lane as i32));
            sum = self.lanes.binary(Binary::Paddd, sum, ramp);
        }
        for terms in [parts.equal, parts.other] {
            if let Some(others) = self.sum(&terms)? {
                sum = self.lanes.binary(Binary::Paddd, others, sum);
            }
        }
        Some(sum)
    }

    fn scaled(&mut self, lane: Lane, factor: i64) -> Lane {
        if factor == 1 {
            return lane;
        }
        let factor = self.lanes.constant(factor as u32);
        self.lanes.binary(Binary::Pmulld, lane, factor)
    }
}
