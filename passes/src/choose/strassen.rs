//! `strassen`: chooses Strassen's algorithm for the products that gain by it.
//!
//! It computes a product of rows with a matrix from seven products of halves, an eighth of the multiplications less, and
//! adds more. An estimate in cycles of one core compares both. It sees nothing but shapes, so the choice is the same
//! everywhere (it is part of the numeric plan). Convolutions whose kernels have one position are such products, and
//! become them.
//!
//! Neighbouring rows are computed together, and what is not finite in one spreads to the other. In entries that do not
//! train they must not belong to different samples ([`batch`](mod@crate::facts::batch)): there only convolutions of images with
//! an even number of positions are taken, as if there were always as many images; rows of a plain product may be anything.
//!
//! In regions, a matrix counts as another in every iteration, whatever it is: that is never less than what it takes.
//!
//! Rounding: two to three times the error of direct sums, relative to the largest element of the result. Linear.

use brolga_ir::choice::{Algorithm, Choice, Layout, takes_strassen};
use brolga_ir::ops::{Conv, ConvForm, Dot, Op};
use brolga_ir::{Builder, Graph, GraphError, NodeId, Type};

use crate::facts::batch::{counted, trains};
use crate::facts::cost::{multiply_adds, strassen as cost};
use crate::facts::fixed::{Dependence, dependence};
use crate::options::{Algorithms, Options};
use crate::rewrite::regions;

/// Chooses the algorithm of every product. Weights that are stored narrower are left alone: their sums would not be.
pub fn strassen(graph: &mut Graph, options: &Options) -> Result<bool, GraphError> {
    if !options.algorithms.strassen {
        return Ok(false);
    }
    let trains = trains(graph);
    choose(graph, options, trains)
}

/// In a graph of an entry that trains or does not, and in its regions, where a matrix counts as another in every iteration.
fn choose(graph: &mut Graph, options: &Options, trains: bool) -> Result<bool, GraphError> {
    let mut changed = regions::apply(graph, &mut |region| choose(region, options, trains))?;
    let dependence = dependence(graph);
    for id in graph.order() {
        let node = graph.node(id);
        let Some(&[left, right]) = node.operands.first_chunk() else { continue };
        let Some(dot) = product(graph, id, trains) else { continue };
        let fixed = *dependence.get(right.node) != Dependence::Call;
        let origin = node.origin.clone();
        let matrix = graph.ty(right).with_dims(graph.ty(right).dims[..2].to_vec());
        let mut rows = graph.ty(left).clone();
        if let (Op::Conv(_), Some(images)) = (&node.op, rows.dims.first_mut()) {
            *images = counted(*images, trains);
        }
        let gains = gains(&dot, &rows, &matrix, fixed, options.algorithms);
        if !gains || !takes_strassen(&dot, graph.ty(left), &matrix) {
            continue;
        }
        let mut b = Builder::new(graph, origin);
        let right = if b.ty(right).rank() == 2 { right } else { b.reshape(right, &matrix.dims)? };
        let new = b.add_chosen(dot, Algorithm::Strassen, &[left, right])?;
        graph.replace_uses(graph.result(id), new);
        changed = true;
    }
    Ok(changed)
}

/// A node as a product of rows with a matrix, if it is one that has no other choice, and may have this one: the right
/// operand's axes behind the second are of extent 1.
fn product(graph: &Graph, id: NodeId, trains: bool) -> Option<Dot> {
    let types = graph.operand_types(id);
    let weights = types.get(1)?;
    match &graph.node(id).op {
        Op::Dot(dot) => {
            let free = graph.choice(id) == Choice::default();
            (trains && free && weights.rank() == 2).then(|| dot.clone())
        }
        Op::Conv(conv) => {
            let pointwise = conv.is_pointwise(&weights.dims[2..]);
            let summed = match conv.form {
                ConvForm::Forward => 1,
                ConvForm::InputGradient { .. } => 0,
                ConvForm::WeightGradient { .. } => return None,
            };
            let last = graph.choice(id) == Choice::from(Layout::ChannelsLast);
            let dot = Dot::new([vec![], vec![]], [vec![types[0].rank() - 1], vec![summed]]);
            let within = trains || pairs_stay_inside(conv, types[0]);
            (last && pointwise && within).then_some(dot)
        }
        _ => None,
    }
}

/// Whether every image, with its channels last, has pairs of neighbouring positions, and none is left over.
fn pairs_stay_inside(conv: &Conv, image: &Type) -> bool {
    conv.spatial() == 2 && Layout::ChannelsLast.extents(image).iter().product::<usize>().is_multiple_of(2)
}

/// Whether the eighth of the multiplications takes longer than what is added in its place: sums of the rows, which come from
/// memory and go there if they are many; copies of the result between local memory and its place; twice as many blocks of half
/// as many terms; a matrix that is read in seven parts instead of four, and whose sums are made in every call where it is not
/// fixed. 512 rows of 512 terms by 512 columns of a fixed matrix save 1,048,576 cycles and add 262,144.
fn gains(dot: &Dot, a: &Type, b: &Type, fixed: bool, algorithms: Algorithms) -> bool {
    let &[axis] = dot.contract[0].as_slice() else { return false };
    let terms = a.dims[axis];
    let (rows, columns) = (a.elements() / terms.max(1), b.elements() / terms.max(1));
    let [m, k, n] = [rows, terms, columns].map(|size| size as f64);
    let saved = multiply_adds(m * k * n * cost::SAVED, 1.0);
    let of_row = if fixed && m * k <= cost::MANY { cost::ROW } else { cost::ROW_IN_MEMORY };
    let of_matrix = if fixed { cost::MATRIX } else { cost::MATRIX_OF_CALL };
    let added = of_row * m * k + cost::RESULT * m * n + of_matrix * k * n;
    algorithms.counted(added) < cost::WORTH * saved
}
