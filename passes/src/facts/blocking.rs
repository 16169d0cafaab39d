//! The numbers by which lowering cuts work into pieces: one table, by what is cut.
//!
//! [`plan`] has the numbers that say in which order sums are formed: whoever changes one changes bits, and the numerics
//! version. [`code`] bounds what is written out. All others, but where it is said, only say in which pieces the same sums are
//! computed, and may be measured anew on another processor; those that a [`Tuning`](crate::tuning::Tuning) can say for
//! one product are defaults (`lower/products/tiling.rs`).
//!
//! Where nothing else is said, times are those of one core of a Zen 3 or of a server core with AVX-512, of the layers of the
//! models that come along. "Box": the positions of a result that a grid point computes. "Panel": the weights of a block of
//! neighbouring columns, packed. "First-level cache": 32 KiB, second-level: 512 KiB to 1 MiB.

/// The numeric plan: how sums are cut. These numbers change bits.
pub mod plan {
    /// Input channels in a block of a convolution's sum: the chain runs over (block, kernel position, channel in the block).
    /// A panel of 9 kernel positions by 32 columns is 18 KiB then, half of the first-level cache.
    pub const CHANNELS: usize = 16;

    /// Lanes of a block of a reduction: element i goes to lane i mod 32, four vectors of AVX2 or two of AVX-512.
    pub const LANES: usize = 32;
    /// Elements of a block of a reduction: 32 for each lane, so that the error of equal values stays below 16 rounding errors.
    pub const BLOCK: usize = 1024;
    /// What a block of a running sum holds, on every level: 16 roundings for each digit of the position.
    pub const RUNNING: usize = 16;

    /// Gradients of convolution weights: elements of a chain, about, above which more parts are made. Longer chains of `f32`
    /// lose digits.
    pub const CHAIN: usize = 4096;
    /// The same: pieces of work that there should be, counted in panels of 16 columns: threads share parts where there are few
    /// channels.
    pub const PIECES: usize = 16;
    /// The same: parts, at most. Each is a gradient of its own in memory, and all are added in the end.
    pub const PARTS: usize = 16;

    /// Updates by computed indices that are added one after the other, at most; of more, sums are formed in `f64` and rounded once.
    pub const UPDATES: usize = 256;

    /// Places of a window up to which its sum is one chain, 8 x 8; of more, the pass `pooling` makes reductions and running sums …
    pub const PLACES: usize = 64;
    /// … if what is in between has at most so many elements for each one that there is anyway along the axes that windows move
    /// along, and so many more in any case.
    pub const BETWEEN: f64 = 64.0;
    pub const BETWEEN_FEW: f64 = 65_536.0;
}

/// Lengths that fill vectors of `f32`.
pub mod vectors {
    /// Those of AVX-512, which are whole ones of AVX2 as well; where none divides what is to be cut, those of AVX2.
    pub const WHOLE: [usize; 2] = [16, 8];
}

/// Panels of weights: their columns.
pub mod panels {
    /// Columns of a panel, the first of these of which none are left over: one vector of AVX-512; 24 because panels of a rest of
    /// 8 columns, one vector of AVX2, take a third more time.
    pub const EVEN: [usize; 2] = [16, 24];
    /// The same where many rows meet a panel: two vectors of AVX-512, so that an element of the image is loaded once for both,
    /// and few rows are enough to hide the latency of multiply-adds. ResNet-50's first pointwise layers went from 72 % of the
    /// peak to 80 to 88 %, its 3 x 3 layers with few positions from 1063 to 820 us; AVX2 gains nothing and loses nothing.
    pub const PAIR: usize = 32;
    /// The same where one row meets it: only columns are left to hide latency. AlexNet's dense layers take a tenth less time.
    pub const SINGLE: usize = 48;
    /// Kernel positions up to which a panel of [`PAIR`] columns finds room in the first-level cache: 9 x 16 x 32 elements of
    /// `f32` are 18 KiB.
    pub const MOST_TAPS: usize = 9;
    /// Rows of weights that are packed together: where they reach across many panels each of them lies in a page of its own.
    pub const PACKED_ROWS: usize = 32;
}

/// Boxes of positions, and how threads share them.
pub mod boxes {
    /// Positions of a box, about: with 256 channels of `f32` they are 112 KiB of the image, which stay in the second-level cache
    /// while the panels of a layer pass by; 112 is a whole number of rows of images of 7, 14, 28, 56 and 112 columns.
    pub const ROWS: usize = 112;
    /// Positions that a panel of weights has to meet, at least, for boxes to be cut further.
    pub const FEWEST_ROWS: usize = 24;
    /// Multiply-adds that each box keeps then: 8,192 cycles of one core, at 16 in a cycle.
    pub const LEAST_WORK: usize = 1 << 17;
    /// Weights for each activation up to which threads share a product by its rows (`is_by_rows`): each thread reads all weights
    /// then, but finds the rows that it has computed itself in its own cache. BERT takes 14 % less with two threads on two dies.
    pub const MOST_WEIGHTS: usize = 4;
}

/// Direct sums over packed weights: convolutions, their gradients with respect to the input, products with a matrix.
pub mod direct {
    /// Input channels of a block, where the kernel has one position, so that blocks do not change the order of the sum: a panel
    /// of 16 columns is 16 KiB, half of the first-level cache.
    pub const DEPTH: usize = 256;
    /// Elements from row to row of which rows of the result fall into few sets of the first-level cache (4 KiB of `f32`): sums
    /// that are added to several times are kept apart then.
    pub const FEW_SETS: i64 = 1024;
}

/// Products of two tensors where they lie.
pub mod strided {
    /// Rows and columns of a block of the result, terms of a block of its sums: 96 x 256 elements of A, 96 KiB, stay in the second-level
    /// cache, a panel of B in the first.
    pub const ROWS: usize = 96;
    pub const COLUMNS: usize = 96;
    pub const DEPTH: usize = 256;
    /// Blocks are cut further until threads share them evenly (64 x 64 sums of 16,384 terms were one piece of work), as long as
    /// one keeps so many multiply-adds …
    pub const LEAST_WORK: usize = 1 << 18;
    /// … and more than so many rows or columns.
    pub const SHORTEST: usize = 16;
    /// So that nothing is left over, a block may be up to this part longer than asked for: 96 becomes at most 144.
    pub const LONGER: usize = 2;
    /// Of the divisors that leave nothing over, none is shorter than this part of what is asked for: panels of 24 of 96 columns
    /// still fill vectors.
    pub const SHORTER: usize = 4;
}

/// Which products with a matrix are worth packing it into panels in every call, although they could be computed where it
/// lies. From 32 rows and 64 terms on, copying was measured to cost less than the half of the speed that is lost where rows fall
/// into few sets of the cache or lie across its lines.
pub mod packed {
    /// Rows and terms from which on it pays in any case: enough rows share the panels.
    pub const ROWS: usize = 256;
    pub const DEPTH: usize = 256;
    /// Rows and terms from which on it pays where the operands lie awkwardly: half of the speed is lost there otherwise.
    pub const FEW_ROWS: usize = 32;
    pub const FEW_TERMS: usize = 64;
    /// Rows, and columns, from which on a product over several axes that do not lie evenly is one of copies that do.
    pub const SHARED_ROWS: usize = 64;
    /// Terms instead, for results of more elements than `LARGE_RESULT`: panels of 16 columns of a large result are written in
    /// pieces of 64 bytes, far apart, which costs more than awkward rows if few terms are added in between.
    pub const SOME_TERMS: usize = 128;
    pub const LARGE_RESULT: usize = 1 << 21;
    /// Columns of which rows lie across lines of the cache, if they are no multiple: a vector of eight lanes in 32 bytes.
    pub const LINE: usize = 8;
    /// Columns of which rows fall into few sets of the cache, if they are a multiple: 2 KiB.
    pub const SETS: usize = 512;
    /// The terms of a row lie scattered if they are a multiple of so many elements apart (1 KiB) …
    pub const APART: i64 = 256;
    /// … over at least so many elements (128 KiB: more than the first-level cache) …
    pub const SPAN: u64 = 1 << 15;
    /// … and copying them pays from so many columns on.
    pub const COLUMNS: usize = 256;
}

/// Strassen's algorithm.
pub mod strassen {
    /// Terms of a block: few rows meet a panel, so that it may be larger than the first-level cache, and sums go to memory less
    /// often. With panels of 32 columns and all sums in local memory, bert takes 10 % less with two threads.
    pub const DEPTH: usize = 512;
}

/// Winograd's algorithm.
pub mod winograd {
    /// Channels that are transformed together: one vector of AVX-512. Positions of a tile lie an odd number of so many elements
    /// (cache lines) apart: at 4 KiB they all fell into one set of the first-level cache, and transforms took twice the time.
    pub const LANES: usize = 16;
    /// Tiles of a box, about: 36 positions by 48 tiles by 64 channels of `f32` are 432 KiB, a second-level cache.
    pub const TILES: usize = 48;
    /// Input channels of a block of the products: a panel of 16 KiB, which leaves room in the first-level cache for the rows of a
    /// block.
    pub const DEPTH: usize = 256;
    /// Tiles of a box where there would be few boxes: as many as fill the chains of multiply-adds. ResNet-18's first layers
    /// (56 x 56 positions) made five boxes of up to three rows of tiles, of which two threads got eight and six rows; with
    /// boxes of one row they went from 166 to 150 us.
    pub const FEWEST_TILES: usize = 14;
    /// The same where there are many weights: every box reads all of them, and wants time to fetch them. 512 channels of 7 x 7
    /// positions with a batch of 16: 40 to 34 ms (AVX2).
    pub const FEWEST_TILES_OF_MANY_WEIGHTS: usize = 32;
    /// Bytes of transformed weights from which on they are many: they find no room in a second-level cache.
    pub const MANY_WEIGHTS: usize = 1 << 20;
    /// Boxes from which on they are shared among threads; with fewer, blocks of output channels are.
    pub const FEWEST_BOXES: usize = 4;
    /// Boxes from which on they are shared evenly.
    pub const EVEN_BOXES: usize = 8;
    /// Boxes up to which columns may be shared instead, where a tuning asks for it: the transformed input of all boxes is in
    /// memory then.
    pub const MOST_BOXES: usize = 32;
    /// Blocks of output channels from which on each is computed where its weights are transformed, if these change with every
    /// call: with fewer there is too little to share.
    pub const FEWEST_BLOCKS: usize = 5;
}

/// The gradient of a convolution with respect to its weights, by Winograd's algorithm.
pub mod winograd_weights {
    /// Elements of both transformed images, about, above which they are taken in pieces: 4 MiB of scratch memory.
    pub const SCRATCH: usize = 1 << 20;
    /// Input channels of a block of the products, its rows: the first of these of which none are left over.
    pub const ROWS: [usize; 3] = [64, 48, 32];
    /// Tiles of a block of the products: panels of 24 KiB (64 rows) and 6 KiB (16 columns) in the first-level cache.
    pub const DEPTH: usize = 96;
    /// Tiles that are transformed by one point of a grid, about: as many as in a box of the forward direction.
    pub const TILES: usize = 48;
    /// Blocks of output channels from which on each is finished by the point of the grid that sums it.
    pub const FEWEST_BLOCKS: usize = 4;
}

/// The gradient of a convolution with respect to its weights, by direct sums.
pub mod weights {
    /// Positions, about, that a tile goes through: four rows of 56, 28 KiB of an image of 32 channels. Panels of both images stay
    /// in the cache for all taps. Part of the plan where chunks of so many end chains.
    pub const DEPTH: usize = 224;
}

/// Depthwise convolutions.
pub mod depthwise {
    /// Positions of a box, or two rows of the image if these are more.
    pub const ROWS: usize = 56;
    /// Into how many parts channels are cut, at most, each of whole vectors of so many lanes, where there are few boxes.
    pub const MOST_PARTS: usize = 8;
    pub const LANES: usize = 16;
    /// Vectors that are kept in registers, of the 16 of AVX2: sums, a row of the image, and a weight.
    pub const REGISTERS: usize = 12;
}

/// Convolutions with the channels first whose last axis is not windowed.
pub mod channels_first {
    use std::ops::RangeInclusive;

    /// Positions, about, of a box along all axes but the last: a row of the image, if that is neither very short nor long.
    pub const POSITIONS: RangeInclusive<usize> = 8..=64;
    /// Positions along the last axis that a tile has for columns: two vectors of AVX2.
    pub const COLUMNS: usize = 16;
    /// Output channels that a tile has for rows, at most: their weights stay in the first-level cache.
    pub const ROWS: usize = 48;
    /// Images of a block, where images are the last axis: those of a tile.
    pub const IMAGES: usize = COLUMNS;
    /// Elements of the weights for which the pass `images` makes that axis, at most: they are read again for every position, from
    /// half of the first-level cache.
    pub const WEIGHTS: usize = 1 << 12;
}

/// An expansion and the depthwise convolution behind it, in one kernel (`lower/products/expand.rs`).
pub mod expansion {
    /// Bytes of a band and of the rows that it is made from, about: a second-level cache. Half of it leads to more bands, and
    /// took 3 % more time in mobilenet_v2.
    pub const BAND: usize = 512 << 10;
    /// Grid points that there should be, for the threads to share.
    pub const PIECES: usize = 12;
    /// Elements between the convolutions, for each term of a sum, from which on it pays: below, what is stored is still in the
    /// cache when it is read.
    pub const MANY: usize = 1 << 14;
    /// Rows that several bands compute are at most this part of all.
    pub const TWICE: usize = 8;
}

/// Convolutions most of whose work lies at borders: images that are taken together (`lower/products/borders.rs`).
pub mod borders {
    /// Images that are taken together, at most: one vector of rows.
    pub const IMAGES: usize = 16;
    /// Boxes of images, at least: they are shared among threads.
    pub const BOXES: usize = 4;
    /// Images below which it is not looked at: rows of a tile that hide the latency of multiply-adds.
    pub const FEWEST: usize = 8;
    /// Elements of the result in a box of several images, at most: 512 KiB, they should stay in the second-level cache.
    pub const BOX: usize = 1 << 17;
    /// Elements of `f32` between rows that fall into the same set of the first-level cache (4 KiB): such images are not taken
    /// together.
    pub const SET: i64 = 1024;
}

/// Reductions.
pub mod reductions {
    /// Columns that are computed together, at most: where there are few, so that threads can share them, and where there are
    /// many.
    pub const COLUMNS: [usize; 2] = [32, 64];
    /// Columns that are too few for the loop around them: all of the next axis are taken then.
    pub const FEWEST_COLUMNS: usize = 8;
    /// Columns from which on there are many.
    pub const MANY_COLUMNS: usize = 256;
    /// Elements whose sums are written out, where they are columns.
    pub const FEW: usize = 8;
    /// Results from which on their own number is parallel enough: the blocks of a sum are no points of a grid then.
    pub const MANY_POINTS: usize = 4;
    /// Elements from which on blocks as points of a grid pay along rows, which one thread sums fast; along columns from those on
    /// that are not [small](crate::facts::cost::threads::SMALL).
    pub const LARGE_ROWS: usize = 1 << 17;
}

/// Long strips that are cut into parts for threads (`program/parallelise.rs`).
pub mod strips {
    /// Parts are multiples of so many elements: whole vectors of every type, and of bytes a cache line, so that no two threads
    /// write to one.
    pub const PART: usize = 64;
    /// So that nothing is left over, which would be another call, parts may be longer by this factor.
    pub const LONGER: usize = 2;
}

/// Scattering slices of many elements: threads share the columns, so that each sum has its order.
pub mod scattering {
    /// The most parts of a slice, each of which goes through all indices.
    pub const PARTS: usize = 4;
    /// A part has at least so many elements, and is a multiple of them: whole vectors.
    pub const COLUMNS: usize = 32;
    /// Fewer elements of all updates are not shared.
    pub const LEAST: usize = 1 << 16;
}

/// Sorting.
pub mod sorting {
    /// The longest axis along which all elements are compared with each other, and the pieces of a longer one that are.
    pub const SHORT: usize = 64;
    pub const PIECE: usize = 32;
}

/// How much is written out. Code beyond these bounds takes longer to compile, and to fetch, than the tests and loops that
/// stand in its place cost.
pub mod code {
    /// Combinations of segments of a convolution, at most: kernels of 16 x 16 with all of their borders have 961. Beyond, the
    /// image is padded or tested.
    pub const SEGMENTS: usize = 1024;
    /// Segments of one axis, for each phase of spread inputs: kernels of 128 with all of their borders have 255.
    pub const SEGMENTS_OF_AXIS: usize = 256;
    /// Segments that a tested axis counts as: two borders, the interior, and conditions inside.
    pub const TESTED_SEGMENTS: usize = 5;
    /// Segments that are counted one by one, at most; of longer axes a bound is taken.
    pub const COUNTED_SEGMENTS: usize = 1 << 14;
    /// Kernel positions of a gradient of weights that have code of their own, at most; loops go over those of larger kernels. Part
    /// of the plan: long chains of larger kernels end at images only.
    pub const KERNEL: usize = 512;

    /// Depthwise convolutions: taps of all positions that look different, at most: code would grow with the square of large
    /// kernels. Other convolutions in groups have the same sums, by tiles of one column.
    pub const DEPTHWISE_TAPS: usize = 4096;
    /// The same of three axes, whose boxes are of many more kinds: 3 x 3 x 3 positions are written out.
    pub const DEPTHWISE_TAPS_OF_SOLIDS: usize = 512;
    /// Taps of one position of three axes, at most: several positions are written out, and where channels are few the lanes
    /// are rows, whose elements are loaded one by one.
    pub const DEPTHWISE_TAPS_OF_SOLID: usize = 64;
    /// Segments of an axis, for each phase of spread inputs and of all phases, at most: each is a loop of its own, however few
    /// its taps are.
    pub const DEPTHWISE_SEGMENTS: usize = 128;
    pub const DEPTHWISE_SEGMENTS_OF_PHASES: usize = 256;
    /// Taps of a depthwise gradient of weights that one kernel goes through, at most: each has a table on the stack.
    pub const DEPTHWISE_WEIGHTS: usize = 64;

    /// Regions of elements: positions that one iteration writes, at most.
    pub const PHASES: usize = 16;
    /// Statements of one iteration, at most, and of all that is written.
    pub const IN_ITERATION: usize = 384;
    pub const STATEMENTS: usize = 2048;
    /// Answers that are looked at along an axis to find where it is to be cut, at most.
    pub const ANSWERS: usize = 1 << 20;
}
