//! Where the taps of a window fall: an axis of a convolution cut into pieces in which addresses are affine.
//!
//! Along one spatial axis the output position `p` sees the input through its *taps*, the kernel positions `k` with
//! `i · spread = p · stride + k · dilation - low` and `0 <= i < input`. Near the borders some are missing; with spread
//! inputs each phase of `p` has its own. A [`Segment`] is an arithmetic progression of outputs with the same taps,
//! whose inputs move on evenly: inside a segment no bounds are left, and padding costs nothing.
//!
//! Large kernels have many segments, and code for each would grow with the kernel's area. Where there would be too many, the
//! image is padded, or the axis is *tested*: one segment holds all outputs at a border, and a condition stands before each tap.

use brolga_ir::index::{Atom, Index, Range};
use brolga_ir::ops::Conv;

use super::blocking::code;

/// One spatial axis of a convolution.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Window {
    /// Input positions from one output to the next, counted with the zeros between inputs.
    pub stride: i64,
    /// Number of kernel positions.
    pub kernel: usize,
    /// Distance of neighbouring kernel positions.
    pub dilation: i64,
    /// Padding before the input (may be negative: inputs left out).
    pub low: i64,
    /// Distance of neighbouring inputs: above 1 there are zeros between them.
    pub spread: i64,
    /// Number of inputs.
    pub input: usize,
    /// Number of outputs.
    pub output: usize,
    /// Whether taps at borders are tested one by one.
    pub tested: bool,
}

/// An arithmetic progression of outputs that have the same taps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Segment {
    /// First output.
    pub start: i64,
    /// Number of outputs.
    pub count: usize,
    /// Distance of neighbouring outputs.
    pub step: i64,
    /// First kernel position.
    pub tap: usize,
    /// Number of kernel positions; may be 0.
    pub taps: usize,
    /// Distance of neighbouring kernel positions.
    pub tap_step: usize,
    /// Input of the first output's first tap.
    pub source: i64,
    /// Inputs from one output to the next.
    pub source_step: i64,
    /// Inputs from one tap to the next.
    pub source_tap: i64,
    /// Whether these are neighbouring outputs that see other taps each; `taps` says how many are tried for an output
    /// ([`Window::tried`]), and what else is said of taps and inputs is 0.
    pub tested: bool,
}

/// A tap that is tried: it is one if all of `bounds` hold, each an index below an extent.
pub(crate) struct Tried {
    pub bounds: Vec<(Index, usize)>,
    /// The kernel position.
    pub tap: Index,
    /// The input under it.
    pub input: Index,
}

/// How taps are tried.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    /// All kernel positions.
    Positions,
    /// Kernel positions from the first input to the last.
    PositionsAcross,
    /// All inputs.
    Inputs,
    /// Inputs from the kernel's beginning to its end, where it has no gaps.
    InputsUnder,
}

impl Window {
    /// An axis that is not windowed: output p reads input p.
    pub fn identity(extent: usize) -> Window {
        Window {
            stride: 1,
            kernel: 1,
            dilation: 1,
            low: 0,
            spread: 1,
            input: extent,
            output: extent,
            tested: false,
        }
    }

    /// A spatial axis of a convolution that sees so many inputs through so many kernel positions.
    pub fn forward(conv: &Conv, axis: usize, (input, kernel, output): (usize, usize, usize)) -> Window {
        Window {
            stride: conv.stride[axis] as i64,
            kernel,
            dilation: conv.rhs_dilation[axis] as i64,
            low: conv.padding[axis].0 as i64,
            spread: conv.lhs_dilation[axis] as i64,
            input,
            output,
            tested: false,
        }
    }

    /// The input under a tap, if there is one.
    #[cfg(test)]
    pub fn input_at(&self, p: i64, tap: usize) -> Option<i64> {
        let at = p * self.stride + tap as i64 * self.dilation - self.low;
        (at >= 0 && at % self.spread == 0 && at / self.spread < self.input as i64).then(|| at / self.spread)
    }

    /// Whether every output has one tap, itself.
    pub fn is_identity(&self) -> bool {
        *self == Window::identity(self.output)
    }

    /// The taps of output `p` as (first, number, step, input of the first, inputs between them).
    fn taps(&self, p: i64) -> (usize, usize, usize, i64, i64) {
        // Taps that lie between the first input and the last: large kernels are not walked over.
        let (at, dilation) = (p * self.stride - self.low, self.dilation);
        let last = (self.input as i64 - 1) * self.spread;
        let from = ((-at).max(0) + dilation - 1) / dilation;
        let to = ((last - at).div_euclid(dilation) + 1).min(self.kernel as i64);
        // Valid ones among them are evenly spaced: the congruence modulo `spread` has one period.
        let period = self.spread / gcd(dilation, self.spread);
        let first = (from..to.min(from + period)).find(|tap| (at + tap * dilation) % self.spread == 0);
        let Some(first) = first.filter(|_| self.input > 0) else { return (0, 0, 1, 0, 0) };
        let source = (at + first * dilation) / self.spread;
        match (to - 1 - first) / period + 1 {
            1 => (first as usize, 1, 1, source, 0),
            taps => (first as usize, taps as usize, period as usize, source, period * dilation / self.spread),
        }
    }

    /// The outputs that see all kernel positions, if inputs are dense.
    fn interior(&self) -> (i64, i64) {
        let outputs = self.output as i64;
        let last = self.input as i64 - 1 + self.low - (self.kernel as i64 - 1) * self.dilation;
        let first = (self.low.max(0) + self.stride - 1) / self.stride;
        let end = if last < 0 { 0 } else { (last / self.stride + 1).min(outputs) };
        if self.spread > 1 || first >= end { (outputs, outputs) } else { (first, end) }
    }

    /// How many sorts of outputs there are, by where they lie between spread inputs.
    pub fn phases(&self) -> usize {
        ((self.spread / gcd(self.stride, self.spread)) as usize).min(self.output).max(1)
    }

    /// How many segments the axis is cut into; at most so many, where they are too many to look at.
    pub fn pieces(&self) -> usize {
        let phases = self.phases();
        let taps = self.kernel.div_ceil((self.spread / gcd(self.dilation, self.spread)) as usize);
        let (first, end) = self.interior();
        let borders = self.output - (end - first) as usize;
        let most =
            phases.saturating_mul(taps.saturating_mul(2).min(borders.div_ceil(phases)).saturating_add(1));
        if most <= code::COUNTED_SEGMENTS { self.segments(0, self.output as i64).len() } else { most }
    }

    /// How many inputs there are with zeros around them, if every output is to see all kernel positions.
    pub fn padded(&self) -> usize {
        let reach = |count: usize, step: i64| (count as i64 - 1).max(0) * step;
        (reach(self.output, self.stride) + reach(self.kernel, self.dilation) + 1) as usize
    }

    /// Whether zeros around the inputs are not much more than these.
    pub fn takes_padding(&self) -> bool {
        self.spread == 1 && self.kernel <= self.input && self.padded() / 4 <= self.input
    }

    /// The shortest way to try the taps of an output, and its rounds. Each finds all taps, so a kernel that is far longer than
    /// its image costs what it sees.
    fn ways(&self) -> (Way, usize) {
        if self.input == 0 {
            return (Way::Positions, 0);
        }
        if self.dilation == 1 {
            let inputs = self.kernel.div_ceil(self.spread as usize);
            return if inputs < self.input { (Way::InputsUnder, inputs) } else { (Way::Inputs, self.input) };
        }
        let across = ((self.input as i64 - 1) * self.spread / self.dilation + 1) as usize;
        let ways = [(Way::Positions, self.kernel), (Way::PositionsAcross, across), (Way::Inputs, self.input)];
        ways.into_iter().min_by_key(|way| way.1).expect("three ways")
    }

    /// Taps that are tried for an output.
    fn tries(&self) -> usize {
        self.ways().1
    }

    /// What is tried for output `p` in round `t`. Kernel positions ascend with the rounds.
    pub fn tried(&self, p: &Index, t: &Index, range: &dyn Fn(&Atom) -> Option<Range>) -> Tried {
        let (spread, dilation) = (self.spread, self.dilation);
        let at = p.scale(self.stride).plus(-self.low);
        // The first kernel position that is not before the first input.
        let first = || at.scale(-1).plus(dilation - 1).div(dilation, range);
        let by_position = |tap: Index| {
            let point = at.add(&tap.scale(dilation));
            // One in `spread` points is an input.
            let (input, rest) = (point.div(spread, range), point.rem(spread, range));
            Tried {
                bounds: vec![(rest, 1), (tap.clone(), self.kernel), (input.clone(), self.input)],
                tap,
                input,
            }
        };
        let by_input = |input: Index| {
            let way = input.scale(spread).sub(&at);
            // One in `dilation` inputs is under a kernel position.
            let (tap, rest) = (way.div(dilation, range), way.rem(dilation, range));
            Tried {
                bounds: vec![(rest, 1), (tap.clone(), self.kernel), (input.clone(), self.input)],
                tap,
                input,
            }
        };
        match self.ways().0 {
            Way::Positions => by_position(t.clone()),
            Way::PositionsAcross => by_position(first().add(t)),
            Way::Inputs => by_input(t.clone()),
            // From the first input that is not before the kernel.
            Way::InputsUnder => by_input(at.plus(spread - 1).div(spread, range).add(t)),
        }
    }

    /// The outputs `from .. to` of a tested axis.
    fn tested_segments(&self, from: i64, to: i64) -> Vec<Segment> {
        let (first, end) = self.interior();
        let mut segments = Vec::new();
        for (start, end, tested) in
            [(from, to.min(first), true), (from.max(first), to.min(end), false), (from.max(end), to, true)]
        {
            if start >= end {
                continue;
            }
            let (tap, taps, tap_step, source, source_tap) = match tested {
                true => (0, self.tries(), 0, 0, 0),
                false => self.taps(start),
            };
            let count = (end - start) as usize;
            let source_step = if tested || count == 1 { 0 } else { self.stride };
            let start = start - from;
            segments.push(Segment {
                start,
                count,
                step: 1,
                tap,
                taps,
                tap_step,
                source,
                source_step,
                source_tap,
                tested,
            });
        }
        segments
    }

    /// Outputs at which a kernel position comes upon the first input or leaves the last one, ascending. Between two of them
    /// the outputs of a phase have the same taps, so that long axes need not be walked.
    fn turns(&self) -> Vec<i64> {
        if self.tested {
            let (first, end) = self.interior();
            return vec![first, end];
        }
        let Some(last) = self.input.checked_sub(1) else { return Vec::new() };
        if self.kernel >= self.output {
            // There are fewer outputs than turns.
            return (0..self.output as i64).collect();
        }
        let mut turns: Vec<i64> = (0..self.kernel as i64)
            .flat_map(|tap| {
                // p * stride >= first, and p * stride <= first + reach.
                let (first, reach) = (self.low - tap * self.dilation, last as i64 * self.spread);
                [
                    (first + self.stride - 1).div_euclid(self.stride),
                    (first + reach).div_euclid(self.stride) + 1,
                ]
            })
            .collect();
        turns.sort_unstable();
        turns.dedup();
        turns
    }

    /// The outputs `from .. to`, cut into segments; starts count from `from`.
    pub fn segments(&self, from: i64, to: i64) -> Vec<Segment> {
        if self.tested {
            return self.tested_segments(from, to);
        }
        let period = self.spread / gcd(self.stride, self.spread);
        let turns = self.turns();
        let mut segments: Vec<Segment> = Vec::new();
        for phase in 0..period.min(to - from) {
            let first_of_phase = segments.len();
            let mut p = from + phase;
            // Progress: at least one position of the phase in each round, and all of them up to the next turn.
            while p < to {
                let (tap, taps, tap_step, source, source_tap) = self.taps(p);
                let end = turn_behind(&turns, p, to);
                let count = ((end - p + period - 1) / period) as usize;
                let start = p - from;
                p += count as i64 * period;
                let moves = if taps > 0 { period * self.stride / self.spread } else { 0 };
                if let Some(last) = segments[first_of_phase..].last_mut()
                    && (last.tap, last.taps, last.tap_step, last.source_tap)
                        == (tap, taps, tap_step, source_tap)
                {
                    last.count += count;
                    last.source_step = moves;
                    continue;
                }
                segments.push(Segment {
                    start,
                    count,
                    step: period,
                    tap,
                    taps,
                    tap_step,
                    source,
                    source_step: if count > 1 { moves } else { 0 },
                    source_tap,
                    tested: false,
                });
            }
        }
        segments
    }
}

/// Whether the taps of a convolution of every channel by itself may be written out.
pub(crate) fn is_short(windows: &[Window]) -> bool {
    // There are too many without looking.
    let is_long = |window: &Window| {
        let pieces = window.pieces();
        pieces > code::DEPTHWISE_SEGMENTS_OF_PHASES || pieces / window.phases() > code::DEPTHWISE_SEGMENTS
    };
    if windows.iter().any(|window| window.kernel > code::DEPTHWISE_TAPS || is_long(window)) {
        return false;
    }
    let taps = |window: &Window| {
        let segments = window.segments(0, window.output as i64);
        segments.iter().map(|segment| segment.taps.max(1)).fold(1, usize::saturating_add)
    };
    let area = windows.iter().map(|window| window.kernel).fold(1, usize::saturating_mul);
    if windows.len() > 2 && area > code::DEPTHWISE_TAPS_OF_SOLID {
        return false;
    }
    let most = if windows.len() > 2 { code::DEPTHWISE_TAPS_OF_SOLIDS } else { code::DEPTHWISE_TAPS };
    windows.iter().map(taps).fold(1, usize::saturating_mul) <= most
}

/// The first turn behind an output, `end` at most.
fn turn_behind(turns: &[i64], p: i64, end: i64) -> i64 {
    turns.get(turns.partition_point(|&turn| turn <= p)).map_or(end, |&turn| turn.min(end))
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a.max(1) } else { gcd(b, a % b) }
}

/// Consecutive pieces of an axis, all of the same length but perhaps the last, grouped by how they look from their
/// own beginning.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Chunks {
    /// Outputs of a chunk.
    pub length: usize,
    /// Number of chunks.
    pub count: usize,
    /// The different kinds, in order of their first chunk.
    pub groups: Vec<Group>,
    /// Inputs from one chunk to the next.
    pub source_step: i64,
}

/// Chunks `first .. first + count` look alike: segments with starts from the chunk's beginning, and sources from
/// `chunk · source_step`.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Group {
    /// First chunk.
    pub first: usize,
    /// Number of chunks.
    pub count: usize,
    /// Outputs of each.
    pub extent: usize,
    /// What each is made of.
    pub segments: Vec<Segment>,
}

impl Window {
    /// Cuts the axis into chunks of about `wanted` outputs.
    pub fn chunks(&self, wanted: usize) -> Chunks {
        let period = if self.tested { 1 } else { (self.spread / gcd(self.stride, self.spread)) as usize };
        let length = balanced(self.output, wanted.max(1)).next_multiple_of(period).min(self.output.max(1));
        let count = self.output.div_ceil(length);
        let source_step = length as i64 * self.stride / self.spread;
        let turns = self.turns();
        let mut groups: Vec<Group> = Vec::new();
        let mut chunk = 0;
        // Progress: at least one chunk in each round.
        while chunk < count {
            let (from, to) = (chunk * length, ((chunk + 1) * length).min(self.output));
            let mut segments = self.segments(from as i64, to as i64);
            let moving = segments.iter_mut().filter(|s| s.taps > 0 && !s.tested);
            moving.for_each(|s| s.source -= chunk as i64 * source_step);
            let extent = to - from;
            match groups.last_mut() {
                Some(group) if group.segments == segments && group.extent == extent => group.count += 1,
                _ => groups.push(Group { first: chunk, count: 1, extent, segments }),
            }
            chunk += 1;
            // Whole chunks up to the next turn look like this one.
            let whole = turn_behind(&turns, from as i64, self.output as i64) as usize / length;
            if extent == length && whole > chunk {
                groups.last_mut().into_iter().for_each(|group| group.count += whole - chunk);
                chunk = whole;
            }
        }
        Chunks { length, count, groups, source_step }
    }
}

/// A length near `wanted` that cuts `extent` into nearly equal pieces.
pub(crate) fn balanced(extent: usize, wanted: usize) -> usize {
    let pieces = extent.div_ceil(wanted).max(1);
    extent.div_ceil(pieces).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every tap of every output, from the segments of its chunk.
    fn unrolled(window: &Window, wanted: usize) -> Vec<(i64, usize, i64)> {
        let chunks = window.chunks(wanted);
        let mut all = Vec::new();
        for group in &chunks.groups {
            for chunk in group.first..group.first + group.count {
                for s in &group.segments {
                    for n in 0..s.count as i64 {
                        for t in 0..s.taps {
                            let output = (chunk * chunks.length) as i64 + s.start + n * s.step;
                            let input = chunk as i64 * chunks.source_step
                                + s.source
                                + n * s.source_step
                                + t as i64 * s.source_tap;
                            all.push((output, s.tap + t * s.tap_step, input));
                        }
                    }
                }
            }
        }
        all.sort_unstable();
        all
    }

    #[test]
    fn segments_have_every_tap_once() {
        for stride in 1..4 {
            for spread in 1..4 {
                for dilation in 1..3 {
                    for low in -1..4 {
                        for (kernel, input, output) in [(1, 5, 5), (3, 7, 7), (5, 4, 6), (2, 1, 9), (3, 6, 0)]
                        {
                            let w = Window {
                                stride,
                                kernel,
                                dilation,
                                low,
                                spread,
                                input,
                                output,
                                tested: false,
                            };
                            let mut wanted = Vec::new();
                            for p in 0..output as i64 {
                                let taps = (0..kernel).filter_map(|tap| Some((p, tap, w.input_at(p, tap)?)));
                                wanted.extend(taps);
                            }
                            for length in [1, 2, 3, 100] {
                                assert_eq!(unrolled(&w, length), wanted, "{w:?} in chunks of {length}");
                            }
                        }
                    }
                }
            }
        }
    }

    /// The same of a tested axis.
    fn tried(window: &Window, wanted: usize) -> Vec<(i64, usize, i64)> {
        let chunks = window.chunks(wanted);
        let mut all = Vec::new();
        for group in &chunks.groups {
            for chunk in group.first..group.first + group.count {
                for (s, n) in group.segments.iter().flat_map(|s| (0..s.count as i64).map(move |n| (s, n))) {
                    let p = (chunk * chunks.length) as i64 + s.start + n;
                    for t in 0..s.taps as i64 {
                        let (tap, input) = if s.tested {
                            let found = window.tried(&Index::constant(p), &Index::constant(t), &|_| None);
                            let is = |index: &Index| index.as_constant().expect("constants");
                            let inside =
                                |(index, extent): &(Index, usize)| (0..*extent as i64).contains(&is(index));
                            if !found.bounds.iter().all(inside) {
                                continue;
                            }
                            (is(&found.tap), is(&found.input))
                        } else {
                            let first = chunk as i64 * chunks.source_step + s.source + n * s.source_step;
                            ((s.tap as i64) + t * s.tap_step as i64, first + t * s.source_tap)
                        };
                        all.push((p, tap as usize, input));
                    }
                }
            }
        }
        all
    }

    #[test]
    fn tested_axes_have_every_tap_once_and_in_order() {
        for stride in 1..4 {
            for spread in 1..4 {
                for dilation in 1..5 {
                    for low in [-1, 0, 1, 2, 3, 5, 20] {
                        for (kernel, input, output) in
                            [(1, 5, 5), (3, 7, 7), (7, 2, 8), (5, 9, 11), (3, 6, 0), (3, 0, 4), (30, 3, 12)]
                        {
                            let w =
                                Window { stride, kernel, dilation, low, spread, input, output, tested: true };
                            let of = |p: i64| {
                                (0..kernel).filter_map(move |tap| Some((p, tap, w.input_at(p, tap)?)))
                            };
                            let wanted: Vec<_> = (0..output as i64).flat_map(of).collect();
                            for length in [1, 2, 3, 100] {
                                assert_eq!(tried(&w, length), wanted, "{w:?} in chunks of {length}");
                            }
                            let chunks = w.chunks(2);
                            assert!(chunks.groups.len() <= 6, "{w:?}: {chunks:?}");
                            assert!(w.tries() <= kernel.min(input), "{w:?}: {:?}", w.ways());
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn long_axes_are_not_walked() {
        let long = 1 << 40;
        let chunks = Window::identity(long).chunks(100);
        assert_eq!(chunks.groups.iter().map(|group| group.count).sum::<usize>(), chunks.count);
        let window = Window { stride: 2, kernel: 3, low: 1, output: long / 2, ..Window::identity(long) };
        assert_eq!(window.segments(0, long as i64 / 2).len(), 2);
        assert!(window.chunks(100).groups.len() <= 3);
        // With spread inputs, and far more padding than inputs.
        let spread = Window { stride: 3, spread: 2, low: 1 << 38, ..window };
        assert!(spread.segments(0, long as i64 / 2).len() <= 12);
        assert!(spread.chunks(100).groups.len() <= 12);
    }

    #[test]
    fn a_padded_axis_has_a_border_on_either_side() {
        let window = Window { kernel: 3, low: 1, ..Window::identity(56) };
        let segments = window.segments(0, 56);
        let taps: Vec<_> = segments.iter().map(|s| (s.start, s.count, s.tap, s.taps)).collect();
        assert_eq!(taps, [(0, 1, 1, 2), (1, 54, 0, 3), (55, 1, 0, 2)]);
        let groups: Vec<_> = window.chunks(2).groups.iter().map(|g| (g.first, g.count)).collect();
        assert_eq!(groups, [(0, 1), (1, 26), (27, 1)]);
    }
}
