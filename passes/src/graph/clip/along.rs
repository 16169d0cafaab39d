//! Windows along one axis: which sorts there are of them, and what each sees.

use brolga_ir::ops::ReduceWindow;
use brolga_ir::scalar::{Scalar, ScalarOp};
use brolga_ir::{Builder, DType, Tensor};

use crate::graph::windowed::{Built, Windowed};

/// Windows may be so many places longer than twice the axis before they are made apart: it is more kernels.
const FEW_PLACES: i64 = 8;

/// Windows along one axis: the one at position p sees at its place r what lies at `p stride + r dilation - low`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Along {
    pub axis: usize,
    pub count: i64,
    pub window: i64,
    pub stride: i64,
    pub dilation: i64,
    pub low: i64,
    /// Where the last element lies; the first lies at 0.
    pub last: i64,
}

/// How the results of neighbouring windows are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Makes {
    /// They see nothing.
    Nothing,
    /// Each by its places from the first to the last of these.
    Each(i64, i64),
    /// All are the same, with these places of the first one.
    Same(i64, i64),
    /// All see all that lies at multiples of the dilation from where they begin.
    Phases,
}

/// Neighbouring windows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Part {
    pub first: i64,
    pub count: i64,
    pub makes: Makes,
}

impl Along {
    pub fn new(node: &Windowed, axis: usize) -> Along {
        let window = &node.window;
        Along {
            axis,
            count: node.y.dims[axis] as i64,
            window: window.window[axis] as i64,
            stride: window.stride[axis] as i64,
            dilation: window.window_dilation[axis] as i64,
            low: window.padding[axis].0,
            last: (node.x.dims[axis] as i64 - 1) * window.base_dilation[axis] as i64,
        }
    }

    /// From the first place of a window to its last.
    fn reach(&self) -> i64 {
        (self.window - 1) * self.dilation
    }

    /// The places, first and last, at which some of the windows from `first` to `last` may see an element.
    pub fn places(&self, first: i64, last: i64) -> Option<(i64, i64)> {
        let from = ceil_div(self.low - last * self.stride, self.dilation).max(0);
        let to = (self.last + self.low - first * self.stride).div_euclid(self.dilation).min(self.window - 1);
        (from <= to).then_some((from, to))
    }

    /// What the windows are made of; nothing if they stay as they are.
    pub fn parts(&self) -> Option<Vec<Part>> {
        let all = |makes| vec![Part { first: 0, count: self.count, makes }];
        // Those that neither end before the elements nor begin behind them.
        let first = ceil_div(self.low - self.reach(), self.stride).max(0);
        let last = (self.last + self.low).div_euclid(self.stride).min(self.count - 1);
        let Some((from, to)) = (first <= last).then(|| self.places(first, last)).flatten() else {
            return Some(all(Makes::Nothing));
        };
        let blind = self.count - (last + 1 - first);
        let many = blind * self.stride > 2 * (self.last + (to - from) * self.dilation) + 64;
        let long = to - from + 1 > self.most_places();
        if !many && !long {
            return ((from, to) != (0, self.window - 1)).then(|| all(Makes::Each(from, to)));
        }
        let mut cuts = vec![0, first, last + 1, self.count];
        if long {
            // The first that ends behind the elements, and the first that begins inside.
            let ends = ceil_div(self.last + self.low - self.reach(), self.stride);
            let begins = self.low.div_euclid(self.stride) + 1;
            cuts.extend([ends, begins].map(|cut| cut.clamp(first, last + 1)));
            cuts.sort_unstable();
        }
        let between = cuts.windows(2).filter(|pair| pair[0] < pair[1]);
        let part = |pair: &[i64]| {
            let seen = pair[0] >= first && pair[1] <= last + 1;
            let makes = if seen { self.makes(pair[0], pair[1] - 1) } else { Makes::Nothing };
            Part { first: pair[0], count: pair[1] - pair[0], makes }
        };
        Some(between.map(part).collect())
    }

    /// The longest window that stays one.
    fn most_places(&self) -> i64 {
        2 * (self.last / self.dilation + 1) + FEW_PLACES
    }

    /// How windows of one sort, from `first` to `last`, are made.
    fn makes(&self, first: i64, last: i64) -> Makes {
        let Some((from, to)) = self.places(first, last) else { return Makes::Nothing };
        let all_before = last * self.stride <= self.low;
        let see_all = all_before && first * self.stride - self.low + self.reach() >= self.last;
        if !see_all || first == last {
            return Makes::Each(from, to);
        }
        if self.stride % self.dilation == 0 {
            return self.places(first, first).map_or(Makes::Nothing, |(from, to)| Makes::Same(from, to));
        }
        if to - from < self.most_places() { Makes::Each(from, to) } else { Makes::Phases }
    }

    /// The windows from `first` on, so many, with these places.
    pub fn clipped(
        &self,
        window: &ReduceWindow,
        first: i64,
        count: i64,
        (from, to): (i64, i64),
    ) -> ReduceWindow {
        let (mut window, axis) = (window.clone(), self.axis);
        let low = self.low - from * self.dilation - first * self.stride;
        let end = (count - 1) * self.stride + (to - from) * self.dilation;
        if count == 1 {
            // It takes no steps, and its gradient has no distances.
            window.stride[axis] = 1;
        }
        window.window[axis] = (to - from + 1) as usize;
        window.padding[axis] = (low, end - self.last - low);
        window
    }

    /// Windows of steps of 1 that see every element of their phase: those that begin at the first elements.
    pub fn phases(&self, window: &ReduceWindow) -> (ReduceWindow, i64) {
        let count = self.dilation.min(self.last + 1);
        let steps = Along { stride: 1, low: 0, ..*self };
        let mut window = window.clone();
        window.stride[self.axis] = 1;
        (steps.clipped(&window, 0, count, (0, self.last / self.dilation)), count)
    }

    /// Among the phases, that of each window from `first` on; behind all of them for one that sees nothing.
    pub fn phase(&self, b: &mut Builder, first: i64, count: i64, phases: i64) -> Built {
        let position = b.iota(DType::I64, &[count as usize], 0)?;
        let start = (first * self.stride - self.low).rem_euclid(self.dilation);
        let number = |b: &mut Builder, number: i64| -> Built {
            let number = b.constant(Tensor::scalar(Scalar::I64(number)))?;
            b.broadcast(number, &[count as usize], &[])
        };
        let (stride, start) = (number(b, self.stride % self.dilation)?, number(b, start)?);
        let (dilation, most) = (number(b, self.dilation)?, number(b, phases)?);
        let at = b.mul(position, stride)?;
        let at = b.add(at, start)?;
        let at = b.elementwise(ScalarOp::Rem, &[at, dilation])?;
        b.min(at, most)
    }
}

fn ceil_div(a: i64, b: i64) -> i64 {
    -(-a).div_euclid(b)
}

#[cfg(test)]
mod tests {
    use brolga_ir::random::Rng;

    use super::*;

    /// What the windows see, by looking.
    fn seen(along: &Along, window: i64, low: i64, stride: i64, count: i64) -> Vec<Vec<i64>> {
        let at = |p: i64, r: i64| p * stride + r * along.dilation - low;
        let inside = |at: &i64| (0..=along.last).contains(at);
        (0..count).map(|p| (0..window).map(|r| at(p, r)).filter(inside).collect()).collect()
    }

    /// What a part's windows see, as it makes them.
    fn made(along: &Along, part: &Part) -> Vec<Vec<i64>> {
        let clipped = |first: i64, count: i64, (from, to): (i64, i64)| {
            let low = along.low - from * along.dilation - first * along.stride;
            seen(along, to - from + 1, low, along.stride, count)
        };
        match part.makes {
            Makes::Nothing => vec![Vec::new(); part.count as usize],
            Makes::Each(from, to) => clipped(part.first, part.count, (from, to)),
            Makes::Same(from, to) => vec![clipped(part.first, 1, (from, to)).remove(0); part.count as usize],
            Makes::Phases => {
                let phase = |p: i64| ((part.first + p) * along.stride - along.low).rem_euclid(along.dilation);
                let of = |phase: i64| (0..=along.last).filter(|at| at % along.dilation == phase).collect();
                (0..part.count).map(|p| of(phase(p))).collect()
            }
        }
    }

    /// Every form of windows over few elements: the parts are all windows, in order, each sees what it saw, and none is long.
    #[test]
    fn parts_see_what_the_windows_saw() {
        let (mut clipped, mut sorts) = (0, [0; 4]);
        let mut rng = Rng(1);
        let mut below = |n: i64| rng.below(n as usize) as i64;
        for _ in 0..40_000 {
            let (window, dilation, stride) = (1 + below(60), 1 + below(7), 1 + below(40));
            let (last, low, high) = (below(9), below(200) - 4, below(200) - 4);
            let total = last + 1 + low + high;
            let reach = (window - 1) * dilation + 1;
            if total < reach {
                continue;
            }
            let count = (total - reach) / stride + 1;
            let along = Along { axis: 0, count, window, stride, dilation, low, last };
            let expected = seen(&along, window, low, stride, count);
            let Some(parts) = along.parts() else {
                assert!(window <= along.most_places(), "{along:?}");
                continue;
            };
            clipped += 1;
            let found: Vec<Vec<i64>> = parts.iter().flat_map(|part| made(&along, part)).collect();
            assert_eq!(found, expected, "{along:?}: {parts:?}");
            for part in parts {
                let (sort, places) = match part.makes {
                    Makes::Nothing => (0, 0),
                    Makes::Each(from, to) => (1, to - from + 1),
                    Makes::Same(from, to) => (2, to - from + 1),
                    Makes::Phases => (3, 0),
                };
                sorts[sort] += 1;
                assert!(places <= along.most_places(), "{along:?}: {part:?}");
            }
        }
        assert!(clipped > 10_000 && sorts.iter().all(|&sort| sort > 100), "{clipped}, {sorts:?}");
    }
}
