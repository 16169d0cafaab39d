//! In which pieces a product is computed: one value, resolved here from what is chosen and the
//! [table of sizes](crate::facts::blocking), and only read from then on.
//!
//! What its fields cut, by [`Method`]:
//!
//! | method | rows | columns | boxes | depth |
//! |---|---|---|---|---|
//! | direct sums | | output channels | positions, for each run of columns | input channels |
//! | depthwise | | channels | positions | |
//! | channels first | output channels | positions along the last axis | those along the other axes | input channels |
//! | Winograd | | output channels | images and rows of tiles | input channels |
//! | Strassen | | columns of a half | rows of a half, for each run of columns | terms of a half |
//! | strided | rows | columns | | terms |
//! | weights | | output channels | positions | |
//! | weights, Winograd | input channels | output channels | images and rows of tiles, transformed together | tiles |
//! | expansion | | channels | bands of rows, for each run of columns | input channels |

use super::axes::Loops;
use super::borders::together;
use super::boxes::{Positions, boxes, is_even};
use super::method::{Filter, Method, STRASSEN_FACTORS};
use super::parts::{ChainEnd, Parts};
use super::shape::Shape;
use crate::facts::blocking::boxes::{FEWEST_ROWS, LEAST_WORK, MOST_WEIGHTS, ROWS};
use crate::facts::blocking::{
    channels_first, depthwise, direct, panels, strassen, strided, vectors, weights, winograd,
    winograd_weights,
};
use crate::facts::blocks::{blocks_of, channel_block, column_block};
use crate::facts::cost::threads::EVEN;
use crate::facts::expansion::Pair;
use crate::facts::windows::{Chunks, Segment, Window};
use crate::tuning::{Outer, Tuning};

/// The pieces of a product. They change no bit: rows and columns are different elements, and a chain that goes through memory
/// goes on exactly.
///
/// A 3 x 3 convolution from 64 channels to 64, of 8 images of 56 x 56 positions, has panels of 32 columns, blocks of 16 terms (these
/// are the numeric plan's), and boxes of one image, two rows and 56 columns, which all panels meet.
#[derive(Clone, PartialEq, Debug, Default)]
pub(in crate::lower) struct Tiling {
    /// Rows of a block, where these are no positions.
    pub rows: usize,
    /// Columns of a block: of a panel, where these are packed.
    pub columns: usize,
    /// The boxes of positions that meet each run of equal blocks of columns; only one entry where all meet the same.
    pub boxes: Vec<Boxes>,
    /// Terms of a block, which are added before sums go to memory.
    pub depth: usize,
}

/// Boxes of positions: a grid point computes one of them, for a block of columns.
#[derive(Clone, PartialEq, Debug)]
pub(in crate::lower) struct Boxes {
    /// Every axis of positions in chunks.
    pub chunks: Vec<Chunks>,
    /// Which loop is outermost, that over boxes or that over blocks of columns.
    pub outer: Outer,
    /// Whether sums are kept in local memory until they are final.
    pub aside: bool,
}

impl Boxes {
    /// Boxes that are outermost, with sums where the result goes.
    fn new(chunks: Vec<Chunks>) -> Boxes {
        Boxes { chunks, outer: Outer::Positions, aside: false }
    }
}

/// The panels of weights that every box meets: how many, and of what size.
struct PanelsOfBox {
    count: usize,
    /// Weights of one.
    weights: usize,
    /// Whether threads share the product by its rows ([`is_by_rows`]).
    by_rows: bool,
}

impl Tiling {
    /// The pieces of a product. `shared`: whether there may be several threads.
    pub fn of(method: &Method, shape: &Shape, chosen: Tuning, shared: bool) -> Tiling {
        match method {
            Method::Direct(reading) => Tiling::direct(shape, &reading.axes, chosen, shared),
            Method::Depthwise => Tiling::depthwise(shape, chosen, shared),
            Method::ChannelsFirst => Tiling::channels_first(shape, chosen),
            Method::Winograd(filter) => Tiling::winograd(*filter, shape, chosen),
            Method::Strassen => Tiling::strassen(shape, chosen, shared),
            Method::Weights(parts) => Tiling::weights(shape, parts, chosen),
            // Whole channels, and code for every kernel position: nothing is cut.
            Method::DepthwiseWeights => Tiling::default(),
            Method::WinogradWeights(filter) => Tiling::winograd_weights(*filter, shape, chosen),
        }
    }

    /// The chunks of the boxes that all columns meet.
    pub fn chunks(&self) -> &[Chunks] {
        self.boxes.first().map_or(&[][..], |boxes| boxes.chunks.as_slice())
    }

    fn direct(shape: &Shape, axes: &[Positions], chosen: Tuning, shared: bool) -> Tiling {
        let columns = column_block(shape.outputs, chosen.columns().or_else(|| direct_columns(shape)));
        let depth = channel_block(shape.area(), chosen.depth(direct::DEPTH));
        let extents = |of: fn(&Window) -> usize| axes.iter().map(|axis| of(&axis.window)).product::<usize>();
        let activations =
            extents(|window| window.input) * shape.channels + extents(|window| window.output) * shape.outputs;
        let by_rows = shared && is_by_rows(activations, shape.weights());
        let fixed = chosen.rows.is_some();
        let images = if fixed { None } else { together(axes, shape.channels, shape.outputs) };
        let (image, aside) =
            (extents(|w| w.input.max(w.output)) * shape.channels, are_aside(shape, axes, depth));
        let boxes = blocks_of(shape.outputs, columns).into_iter().map(|cut| {
            let weights = shape.channels * shape.area() * cut.width;
            let panels = PanelsOfBox { count: shape.groups * cut.count, weights, by_rows };
            let windows = axes.iter().map(|axis| &axis.window);
            let chunks = images.clone().unwrap_or_else(|| shared_boxes(windows, chosen, shared, &panels));
            let again = [image * cut.count, shape.weights() * number(&chunks)];
            Boxes { outer: outermost(chosen, by_rows, again), chunks, aside }
        });
        Tiling { columns, boxes: boxes.collect(), depth, ..Tiling::default() }
    }

    /// The chain of a sum is never cut. Channels are, where there are few boxes: until threads share them evenly.
    fn depthwise(shape: &Shape, chosen: Tuning, shared: bool) -> Tiling {
        let batch = Window::identity(shape.batch);
        let windows = || std::iter::once(&batch).chain(&shape.windows);
        // At least two rows of the image.
        let room = depthwise::ROWS.max(shape.windows.last().map_or(1, |along| 2 * along.output));
        let chunks = boxes(windows(), chosen.rows(room));
        let even = |parts: &usize| {
            shape.groups.is_multiple_of(depthwise::LANES * parts) && is_even(&chunks, windows(), *parts)
        };
        let parts = (1..=depthwise::MOST_PARTS).find(even).filter(|_| shared).unwrap_or(1);
        Tiling { columns: shape.groups / parts, boxes: vec![Boxes::new(chunks)], ..Tiling::default() }
    }

    fn channels_first(shape: &Shape, chosen: Tuning) -> Tiling {
        let (_, windows) = shape.windows.split_last().expect("a spatial axis");
        let row = windows.last().map_or(1, |along| along.output);
        let positions = channels_first::POSITIONS;
        let room = row.clamp(*positions.start(), *positions.end());
        Tiling {
            rows: channels_first::ROWS,
            columns: chosen.columns().unwrap_or(channels_first::COLUMNS),
            boxes: vec![Boxes::new(boxes(windows.iter(), chosen.rows(room)))],
            depth: channel_block(shape.area(), chosen.depth(direct::DEPTH)),
        }
    }

    /// Boxes of whole rows of tiles; smaller ones, where few threads could share them. Where there are very few, blocks of output
    /// channels are outermost instead, and what is read is transformed before.
    fn winograd(filter: Filter, shape: &Shape, chosen: Tuning) -> Tiling {
        let &[rows, columns] = shape.windows.as_slice() else { unreachable!("images have two axes") };
        let (batch, across) = (Window::identity(shape.batch), filter.tiles(&columns));
        let down =
            Window { stride: filter.m as i64, kernel: filter.a(), output: filter.tiles(&rows), ..rows };
        let cut = |tiles: usize| boxes([&batch, &down].into_iter(), (tiles / across).max(1));
        let mut chunks = cut(chosen.rows(winograd::TILES));
        let few = (winograd::FEWEST_BOXES..winograd::EVEN_BOXES).contains(&number(&chunks));
        if few && chosen.rows.is_none() {
            let weights = filter.area() * shape.channels * shape.outputs * shape.dtype.size();
            let many = weights >= winograd::MANY_WEIGHTS;
            chunks = cut(if many { winograd::FEWEST_TILES_OF_MANY_WEIGHTS } else { winograd::FEWEST_TILES });
        }
        let boxes = number(&chunks);
        let by_boxes = match chosen.outer {
            Some(Outer::Positions) => boxes > 0,
            Some(Outer::Columns) => boxes > winograd::MOST_BOXES,
            None => boxes >= winograd::FEWEST_BOXES,
        };
        let outer = if by_boxes { Outer::Positions } else { Outer::Columns };
        Tiling {
            columns: column_block(shape.outputs, chosen.columns()),
            boxes: vec![Boxes { chunks, outer, aside: false }],
            depth: chosen.depth(winograd::DEPTH),
            ..Tiling::default()
        }
    }

    fn strassen(shape: &Shape, chosen: Tuning, shared: bool) -> Tiling {
        let [rows, terms, half] = [shape.positions(), shape.channels, shape.outputs].map(|whole| whole / 2);
        let even = half.is_multiple_of(panels::PAIR).then_some(panels::PAIR);
        let columns = column_block(half, chosen.columns().or(even));
        let by_rows = shared && is_by_rows(rows * (terms + half), terms * half);
        let window = Window::identity(rows);
        let boxes = blocks_of(half, columns).into_iter().map(|cut| {
            let panels =
                PanelsOfBox { count: cut.count, weights: STRASSEN_FACTORS * terms * cut.width, by_rows };
            let chunks = shared_boxes([&window].into_iter(), chosen, shared, &panels);
            let again = [rows * cut.count, half * number(&chunks)];
            Boxes { outer: outermost(chosen, by_rows, again), chunks, aside: false }
        });
        let depth = chosen.depth(strassen::DEPTH);
        Tiling { columns, boxes: boxes.collect(), depth, ..Tiling::default() }
    }

    /// A product of two tensors where they lie. Blocks are smaller than usual where there would be too few for all threads.
    pub fn strided(loops: &Loops, chosen: Tuning) -> Tiling {
        let extents = [loops.rows.extent, loops.columns.extent];
        let mut size = [chosen.rows(strided::ROWS), chosen.columns().unwrap_or(strided::COLUMNS)];
        let outer = loops.outer.iter().map(|axis| axis.extent).product::<usize>();
        let (fixed, work) = (chosen.rows.is_some() || chosen.columns.is_some(), loops.work());
        // Progress: a block is at most half as long again as it is asked to be, so each round asks for three quarters of
        // one of the two sizes before, at most, and it ends where both are short.
        let [rows, columns] = loop {
            let blocks = [0, 1].map(|axis: usize| even_block(extents[axis], size[axis]));
            let all = outer * extents[0].div_ceil(blocks[0]) * extents[1].div_ceil(blocks[1]);
            let longer = usize::from(blocks[1] >= blocks[0]);
            if fixed
                || all >= EVEN
                || work / all.max(1) < 2 * strided::LEAST_WORK
                || blocks[longer] <= strided::SHORTEST
            {
                break blocks;
            }
            size[longer] = blocks[longer] / 2;
        };
        // Only a chain along one axis is cut, and only a long one.
        let (depth, terms) = (chosen.depth(strided::DEPTH), loops.terms.extent);
        let is_cut = loops.sums.is_empty() && terms > longest(depth);
        Tiling { rows, columns, boxes: Vec::new(), depth: if is_cut { depth } else { terms } }
    }

    /// A gradient with respect to weights, by direct sums. Its rows are the input channels, all of a group. Of large kernels the
    /// positions are in one piece.
    fn weights(shape: &Shape, parts: &Parts, chosen: Tuning) -> Tiling {
        // Where boxes say in which order segments with the same tap come, or chunks end chains, their length is part of the
        // numeric plan.
        let row_major = !shape.is_by_taps() && shape.windows.iter().all(|window| window.spread == 1);
        let planned = !row_major || matches!(parts.ends, ChainEnd::Chunks { .. });
        let room = if planned { weights::DEPTH } else { chosen.depth(weights::DEPTH) };
        let chunks = || Boxes::new(boxes(shape.windows.iter(), room));
        Tiling {
            columns: column_block(shape.outputs, chosen.columns()),
            boxes: (!shape.is_large()).then(chunks).into_iter().collect(),
            ..Tiling::default()
        }
    }

    /// Boxes are what is transformed together, as much as there is scratch memory for: whole images, or rows of tiles of one.
    fn winograd_weights(filter: Filter, shape: &Shape, chosen: Tuning) -> Tiling {
        let &[rows, columns] = shape.windows.as_slice() else { unreachable!("images have two axes") };
        let [batch, down] = [shape.batch, filter.tiles(&rows)].map(Window::identity);
        let row = filter.area() * filter.tiles(&columns) * (shape.channels + shape.outputs);
        let (image, room) = (row * down.output, winograd_weights::SCRATCH);
        let rows = if image <= room { down.output } else { room / row.max(1) };
        let sizes = winograd_weights::ROWS;
        let even = sizes.into_iter().find(|&rows| shape.channels.is_multiple_of(rows)).unwrap_or(sizes[0]);
        Tiling {
            rows: chosen.rows(even),
            columns: column_block(shape.outputs, chosen.columns()),
            boxes: vec![Boxes::new(vec![batch.chunks(room / image.max(1)), down.chunks(rows)])],
            depth: chosen.depth(winograd_weights::DEPTH),
        }
    }

    /// Both convolutions of a pair, in one kernel: bands of rows of the result, for a block of channels.
    pub fn expansion(pair: &Pair) -> Tiling {
        let (columns, along) = (column_block(pair.channels, None), &pair.windows[1]);
        let batch = Window::identity(pair.batch);
        let bands = blocks_of(pair.channels, columns)
            .into_iter()
            .map(|cut| Boxes::new(vec![batch.chunks(1), pair.chunks(cut.width), along.chunks(along.output)]));
        Tiling { columns, boxes: bands.collect(), depth: direct::DEPTH, ..Tiling::default() }
    }
}

/// The columns of a panel of direct sums, where they are not as [`column_block`] finds them.
fn direct_columns(shape: &Shape) -> Option<usize> {
    if shape.outputs > 0 && shape.positions() == 1 {
        // Only columns are left to hide the latency of its multiply-adds.
        return Some(panels::SINGLE);
    }
    let pairs = shape.outputs.is_multiple_of(panels::PAIR) && shape.area() <= panels::MOST_TAPS;
    pairs.then_some(panels::PAIR)
}

/// Whether the sums of a box are better kept apart until they are final: they are added to several times, and would lie in few
/// sets of the first-level cache, where they drive each other out.
fn are_aside(shape: &Shape, axes: &[Positions], depth: usize) -> bool {
    let [axis] = axes else { return false };
    axis.window.is_identity() && shape.channels > depth && axis.target % direct::FEW_SETS == 0
}

/// Whether threads share a product by its rows. What a thread finds in its own cache is what it has computed itself; rows go
/// from layer to layer, and what other threads have computed takes long to arrive. But each thread reads all weights then.
fn is_by_rows(activations: usize, weights: usize) -> bool {
    weights <= MOST_WEIGHTS * activations
}

/// The loop that is outermost: that over what is read again less. `again`: what is read where boxes are the inner loop, again for
/// each panel; and where panels are, again for each box. Boxes are outermost where threads are to have rows of their own.
fn outermost(chosen: Tuning, by_rows: bool, again: [usize; 2]) -> Outer {
    let columns = !by_rows && again[0] <= again[1];
    chosen.outer.unwrap_or(if columns { Outer::Columns } else { Outer::Positions })
}

/// How many boxes there are.
fn number(chunks: &[Chunks]) -> usize {
    chunks.iter().map(|chunk| chunk.count).product()
}

/// Boxes of about as many positions as are chosen. Where none are, boxes are smaller if threads could not share them evenly
/// otherwise, or are to have rows of their own: 49 positions for four panels make one box, and two threads share it by its
/// panels; for one panel they make two boxes.
fn shared_boxes<'w>(
    axes: impl DoubleEndedIterator<Item = &'w Window> + Clone,
    chosen: Tuning,
    shared: bool,
    each: &PanelsOfBox,
) -> Vec<Chunks> {
    let mut room = chosen.rows(ROWS);
    let mut chunks = boxes(axes.clone(), room);
    if chosen.rows.is_some() || !shared {
        return chunks;
    }
    // Progress: lengths are rounded up to a period of the axis, so boxes may stay as they are where the room shrinks
    // (2 x 60 positions for a room of 60). So it is the room that a quarter is taken from, at least, in every round;
    // there are six, at most, until too little is left.
    while room >= FEWEST_ROWS {
        let positions = chunks.iter().map(|chunk| chunk.length).product::<usize>();
        room = positions.div_ceil(2).min(room - room / 4);
        let small = room < FEWEST_ROWS || room.saturating_mul(each.weights) < LEAST_WORK;
        let one = number(&chunks) == 1;
        if small || !(each.by_rows && one) && is_even(&chunks, axes.clone(), each.count) {
            break;
        }
        chunks = boxes(axes.clone(), room);
    }
    chunks
}

/// What a block of a strided product may have at most that is asked to have so much.
fn longest(block: usize) -> usize {
    block + block / strided::LONGER
}

/// How much of an extent a block has, where the extent is cut into whole blocks and a rest. Divisors that fill vectors are preferred,
/// so that mostly there is no rest.
fn even_block(extent: usize, block: usize) -> usize {
    let longest = longest(block);
    if extent <= longest {
        return extent.max(1);
    }
    let shortest = (block / strided::SHORTER).max(1);
    let divisors = (shortest..=longest).rev().filter(|d| extent.is_multiple_of(*d));
    // Of those that fill the same vectors the longest, which comes first.
    let best = divisors.min_by_key(|d| {
        vectors::WHOLE.iter().position(|lanes| d.is_multiple_of(*lanes)).unwrap_or(vectors::WHOLE.len())
    });
    best.unwrap_or(block)
}

/// Rows of tiles that a grid point transforms of an image, for the gradient of weights by Winograd's algorithm, of so many tiles in
/// a row.
pub(super) fn transformed_rows(across: usize) -> usize {
    (winograd_weights::TILES / across).max(1)
}

/// Whether there are enough blocks of output channels to share: each is then computed where its weights are transformed.
pub(super) fn shares_columns(blocks: usize) -> bool {
    blocks >= winograd::FEWEST_BLOCKS
}

/// The same for the gradient of weights: each is then finished by the point of the grid that sums it.
pub(super) fn shares_columns_of_weights(blocks: usize) -> bool {
    blocks >= winograd_weights::FEWEST_BLOCKS
}

/// The inputs under so many neighbouring positions of a segment, each once.
fn inputs(segment: &Segment, count: usize) -> usize {
    let mut inputs: Vec<i64> = (0..count as i64)
        .flat_map(|p| (0..segment.taps as i64).map(move |t| p * segment.source_step + t * segment.source_tap))
        .collect();
    inputs.sort_unstable();
    inputs.dedup();
    inputs.len()
}

/// What a box of a depthwise convolution computes at once of two segments: rows, and positions along them. They are those that find
/// room in registers and take the fewest loads. The more rows, the less often the image is read again; weights are loaded for
/// each row. A kernel of 3 x 3 by steps of 1 has 2 rows of 3 positions: 4 x 5 inputs and 18 weights are loaded for 6 sums.
pub(super) fn depthwise_block(rows: Option<&Segment>, along: &Segment) -> (usize, usize) {
    let mut best = ((1, 1), f64::INFINITY);
    let taps = rows.map_or(1, |rows| rows.taps);
    // Rows in the order of their inputs have their taps in the order of the sum.
    let most = rows.filter(|rows| rows.source_tap > 0).map_or(1, |rows| rows.count.min(depthwise::REGISTERS));
    for many in 1..=most {
        for count in 1..=depthwise::REGISTERS / 2 {
            let (down, across) = (rows.map_or(1, |rows| inputs(rows, many)), inputs(along, count));
            if across + 1 + many * count > depthwise::REGISTERS {
                break;
            }
            let loads = down * across + many * taps * along.taps;
            let each = loads as f64 / (many * count) as f64;
            if each < best.1 {
                best = ((many, count), each);
            }
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use brolga_ir::DType;
    use brolga_ir::program::BufferId;

    use super::super::axes::Axis;
    use super::super::image::Image;
    use super::super::method::Reading;
    use super::*;

    fn shape(outputs: usize, kernel: usize, positions: usize) -> Shape {
        let window = Window { kernel, input: positions + kernel - 1, ..Window::identity(positions) };
        Shape { dtype: DType::F32, batch: 1, groups: 1, channels: 64, outputs, windows: vec![window; 2] }
    }

    fn direct(shape: &Shape) -> Method {
        let planes = shape.planes();
        let inputs = planes.of(shape.windows.iter().map(|window| window.input));
        let result = planes.of(shape.windows.iter().map(|window| window.output));
        let outputs = result.with_dims([&result.dims[..3], &[shape.outputs]].concat());
        Method::Direct(Reading::of(shape, &Image::dense(BufferId(0).into(), &inputs), &outputs))
    }

    #[test]
    fn panels_suit_the_rows_that_meet_them() {
        let panels = |shape: &Shape| {
            let tiling = Tiling::of(&direct(shape), shape, Tuning::default(), true);
            (tiling.columns, tiling.boxes.len())
        };
        assert_eq!(panels(&shape(64, 3, 14)), (32, 1));
        assert_eq!(panels(&shape(48, 3, 14)), (16, 1));
        assert_eq!(panels(&shape(64, 5, 14)), (16, 1), "25 kernel positions");
        assert_eq!(panels(&shape(1000, 1, 1)), (48, 2), "one row");
        assert_eq!(panels(&shape(0, 1, 1)), (32, 0), "nothing");
    }

    #[test]
    fn what_is_chosen_goes_first() {
        let chosen = Tuning { columns: Some(24), rows: Some(28), depth: Some(7), ..Tuning::default() };
        let [pointwise, shape] = [shape(96, 1, 14), shape(96, 3, 14)];
        let filter = Filter { m: 4, k: 3 };
        let methods = [
            direct(&pointwise),
            Method::ChannelsFirst,
            Method::Winograd(filter),
            Method::Strassen,
            Method::WinogradWeights(filter),
        ];
        for method in methods {
            let tiling = Tiling::of(&method, &pointwise, chosen, true);
            assert_eq!((tiling.columns, tiling.depth), (24, 7), "{method:?}");
            let free = Tiling::of(&method, &pointwise, Tuning::default(), true);
            assert!(free.columns != 24 && free.depth != 7, "{method:?}");
        }
        // Two rows of 14 positions.
        for method in [direct(&shape), Method::Depthwise] {
            let lengths = |chosen| -> Vec<usize> {
                let tiling = Tiling::of(&method, &shape, chosen, true);
                tiling.chunks().iter().map(|chunk| chunk.length).collect()
            };
            assert_eq!(lengths(chosen), [1, 2, 14], "{method:?}");
            assert_ne!(lengths(Tuning::default()), [1, 2, 14], "{method:?}");
        }
    }

    #[test]
    fn sums_of_depthwise_boxes_fit_the_registers() {
        let segment = |kernel: usize, stride: usize| {
            let window =
                Window { kernel, stride: stride as i64, input: 56 * stride + kernel, ..Window::identity(56) };
            window.segments(0, 56)[0]
        };
        let both = |kernel, stride| depthwise_block(Some(&segment(kernel, stride)), &segment(kernel, stride));
        assert_eq!(both(3, 1), (2, 3));
        assert_eq!(both(3, 2), (1, 3));
        assert_eq!(both(5, 1), (1, 3));
        assert_eq!(both(31, 1), (1, 1));
        assert_eq!(depthwise_block(None, &segment(3, 1)), (1, 4));
        let single = Segment { count: 1, ..segment(3, 1) };
        assert_eq!(depthwise_block(Some(&single), &segment(3, 1)), (1, 4));
    }

    #[test]
    fn few_sums_of_many_terms_are_shared_among_threads() {
        let blocks_of = |m: usize, n: usize, k: usize| {
            let axis = |extent, a, b, c| [Axis { extent, a, b, c }];
            let [rows, columns] = [axis(m, k as i64, 0, n as i64), axis(n, 0, 1, 1)];
            let loops = Loops::of(&[], &rows, &columns, &axis(k, 1, n as i64, 0));
            let Tiling { rows, columns, .. } = Tiling::strided(&loops, Tuning::default());
            m.div_ceil(rows) * n.div_ceil(columns)
        };
        assert_eq!(blocks_of(64, 64, 16384), 16);
        assert_eq!(blocks_of(1000, 3, 16384), 25);
        // Too small for more, nothing to cut, and empty.
        assert_eq!(blocks_of(64, 64, 64), 1);
        assert_eq!(blocks_of(3, 5, 1 << 20), 1);
        assert_eq!(blocks_of(0, 64, 64), 0);
    }

    #[test]
    fn the_sums_of_a_chain_are_cut_along_one_long_axis_only() {
        let axis = |extent, a, b| Axis { extent, a, b, c: 0 };
        let depth = |k: &[Axis]| Tiling::strided(&Loops::of(&[], &[], &[], k), Tuning::default()).depth;
        assert_eq!(depth(&[axis(1000, 1, 1)]), strided::DEPTH);
        assert_eq!(depth(&[axis(300, 1, 1)]), 300, "not long");
        assert_eq!(depth(&[axis(3, 5000, 7000), axis(1000, 1, 1)]), 1000, "two axes");
    }
}
