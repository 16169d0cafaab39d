//! Whether a pointwise convolution and the depthwise one that alone reads its result are better one kernel, and how that is cut
//! into bands.

use brolga_ir::choice::{Choice, Layout};
use brolga_ir::ops::{ConvForm, Op};
use brolga_ir::{Graph, NodeId};

use super::blocking::direct::DEPTH;
use super::blocking::expansion::{BAND, MANY, PIECES, TWICE};
use super::blocks::{Cut, column_blocks};
use super::windows::{Chunks, Window, is_short};

/// The shapes of two convolutions that can be one kernel.
pub(crate) struct Pair {
    /// Bytes of an element.
    size: usize,
    pub batch: usize,
    /// Channels of the image that is read, and of both results.
    pub inputs: usize,
    pub channels: usize,
    /// Rows and columns of the second.
    pub windows: [Window; 2],
}

/// Whether two convolutions, the second of which alone reads what the first makes, are better one kernel.
///
/// What is saved is the way to memory and back of each element between them, which weighs the less the more terms its sum has;
/// what it costs are the rows that several bands compute. Of mobilenet_v2, this takes 12 % of the time of the first
/// pair and 2 to 4 % of the next two with a batch of 1, and 25 to 40 % with a batch of 8.
pub(crate) fn expansion_pays(graph: &Graph, first: NodeId, second: NodeId) -> bool {
    let Some(pair) = Pair::of(graph, [first, second]) else { return false };
    let [rows, columns] = pair.windows.map(|window| window.input);
    let few = |cut: Cut| {
        let (needed, affordable) = pair.bands(cut.width);
        needed <= affordable
    };
    pair.inputs <= DEPTH
        && pair.batch * rows * columns * pair.channels >= MANY * pair.inputs
        && column_blocks(pair.channels, None).into_iter().all(few)
}

impl Pair {
    /// Two nodes, if they are such convolutions.
    pub fn of(graph: &Graph, [first, second]: [NodeId; 2]) -> Option<Pair> {
        let conv = |id: NodeId| match &graph.node(id).op {
            Op::Conv(conv) => {
                // Whatever their weights are stored as.
                let choice = Choice { weights: None, ..graph.choice(id) };
                let direct = choice == Choice::from(Layout::ChannelsLast);
                (direct && conv.form == ConvForm::Forward && conv.spatial() == 2).then_some(conv)
            }
            _ => None,
        };
        let (pointwise, depthwise) = (conv(first)?, conv(second)?);
        let dims = |id: NodeId, operand: usize| graph.ty(graph.node(id).operands[operand]).dims.as_slice();
        let &[batch, rows, columns, inputs] = dims(first, 0) else { return None };
        let &[channels, _, _, _] = dims(first, 1) else { return None };
        let &[outputs, each, tall, wide] = dims(second, 1) else { return None };
        let result = &graph.node(second).types[0].dims;
        let fits = pointwise.is_pointwise(&dims(first, 1)[2..])
            && *dims(second, 0) == [batch, rows, columns, channels]
            && (depthwise.groups, outputs, each) == (channels, channels, 1)
            && channels > 1
            && depthwise.lhs_dilation == [1, 1]
            && inputs > 0;
        let windows = [(rows, tall, result[1]), (columns, wide, result[2])];
        let along = |axis: usize| Window::forward(depthwise, axis, windows[axis]);
        let windows = [along(0), along(1)];
        let fits = fits && is_short(&windows);
        let size = graph.node(second).types[0].dtype.size();
        fits.then_some(Pair { size, batch, inputs, channels, windows })
    }

    /// How many bands there must be, with blocks of so many channels, and how many there may be: rows that are computed
    /// twice are an eighth of all, at most.
    fn bands(&self, width: usize) -> (usize, usize) {
        let [rows, columns] = &self.windows;
        let most = BAND / (columns.input * (self.inputs + width) * self.size).max(1);
        let reach = (rows.kernel as i64 - 1) * rows.dilation + 1;
        let room = (most as i64 - reach).max(0) / rows.stride + 1;
        let twice = (reach - rows.stride).max(1) as usize;
        (rows.output.div_ceil(room as usize).max(1), 1 + rows.input / (TWICE * twice))
    }

    /// The rows of the result in bands.
    pub fn chunks(&self, width: usize) -> Chunks {
        let (needed, affordable) = self.bands(width);
        let blocks = self.batch * self.channels.div_ceil(width);
        let bands = needed.max(PIECES.div_ceil(blocks.max(1)).min(affordable));
        self.windows[0].chunks(self.windows[0].output.div_ceil(bands))
    }
}
