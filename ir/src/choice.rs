//! Choices: how a node is run, which is no business of its operator.
//!
//! A [`Choice`] stands beside a node in its graph ([`Graph::choice`](crate::Graph::choice)), and in the text form in the
//! same braces, behind the operator's attributes:
//!
//! ```text
//! %2 = conv %x, %w {stride: [1, 1], channels_last: true, winograd: 4} : f32[1, 56, 56, 64]
//! ```
//!
//! An algorithm changes rounding, never what is computed: inference, gradients and the interpreter do not look at it. A
//! layout is the order of axes in which images lie. What an operator means is said in [`ops`](crate::ops), for its own
//! order alone; so whoever asks it about a node with another one ([`Choice::infer`], [`Choice::evaluate`], the reverse
//! walk) brings the images to that order and back.
//!
//! What weights are stored as is the one choice that a result shows by more than the order of its sums: the weights of
//! `dot %x, %w {contract: [[1], [1]], weights: bf16}` are those of `%w`, each rounded to `bf16`. The operand itself stays what
//! it is: what is stored are the panels that lowering packs of it.
//!
//! A choice belongs to its node: a node that takes the place of another starts without one.

use crate::attribute::{Attribute, Attributes};
use crate::builder::Builder;
use crate::graph::{GraphError, Value};
use crate::ops::{
    Conv, ConvForm, Dot, Elementwise, Gradient, GradientCx, GradientError, Op, Operator, Transpose,
};
use crate::scalar::ScalarOp;
use crate::tensor::Tensor;
use crate::types::{DType, Type};

/// How a node is run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Choice {
    /// The algorithm that the numeric plan prescribes.
    pub algorithm: Algorithm,
    /// How its images lie.
    pub layout: Layout,
    /// What the weights of a product, its second operand, are stored as ([`has_weights`]): each is rounded to that type, to
    /// nearest and ties to even, and widened, which is exact, where it is multiplied. Without, they stay what they are.
    pub weights: Option<DType>,
}

/// An algorithm for products and convolutions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Algorithm {
    /// Sums of products: what the operator says.
    #[default]
    Direct,
    /// Winograd's, for convolutions, with tiles of so many outputs along either axis ([`takes_winograd`]).
    Winograd(usize),
    /// Strassen's, for products of rows with a matrix: from seven products of halves ([`takes_strassen`]).
    Strassen,
}

/// The order of axes of a convolution's images, x and y. Its weights have one order only.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Layout {
    /// `[N, C, …]`: the operator's own.
    #[default]
    ChannelsFirst,
    /// `[N, …, C]`
    ChannelsLast,
}

impl From<Algorithm> for Choice {
    fn from(algorithm: Algorithm) -> Choice {
        Choice { algorithm, ..Choice::default() }
    }
}

impl From<Layout> for Choice {
    fn from(layout: Layout) -> Choice {
        Choice { layout, ..Choice::default() }
    }
}

impl Algorithm {
    /// The outputs of a tile along either axis, if it is Winograd's.
    pub fn winograd(self) -> Option<usize> {
        match self {
            Algorithm::Winograd(outputs) => Some(outputs),
            Algorithm::Direct | Algorithm::Strassen => None,
        }
    }
}

impl Layout {
    /// The axis of the channels, of an image with so many axes.
    pub fn channel_axis(self, rank: usize) -> usize {
        match self {
            Layout::ChannelsFirst => 1,
            Layout::ChannelsLast => rank - 1,
        }
    }

    /// The spatial extents of an image.
    pub fn extents(self, image: &Type) -> &[usize] {
        match self {
            Layout::ChannelsFirst => &image.dims[2..],
            Layout::ChannelsLast => &image.dims[1..image.rank() - 1],
        }
    }

    /// The extents of an image.
    pub fn dims(self, batch: usize, channels: usize, extents: &[usize]) -> Vec<usize> {
        let mut dims = vec![batch];
        dims.extend(extents);
        dims.insert(self.channel_axis(extents.len() + 2), channels);
        dims
    }
}

impl Choice {
    /// The types of an operator's results for operands of those types, as they lie; or the rule that is broken: one of the
    /// operator, or that it cannot be run so.
    pub fn infer(self, op: &Op, operands: &[&Type]) -> Result<Vec<Type>, String> {
        if self.layout == Layout::ChannelsFirst {
            let results = op.get().infer(operands)?;
            self.check(op, operands, &results)?;
            return Ok(results);
        }
        let Some([first, second, result]) = images(op) else {
            return Err("`channels_last` is a layout of convolutions".into());
        };
        let given: Vec<Type> = operands
            .iter()
            .zip([first, second].into_iter().chain(std::iter::repeat(false)))
            .map(|(ty, image)| if image { turned(ty, first_axes) } else { (*ty).clone() })
            .collect();
        let given: Vec<&Type> = given.iter().collect();
        let inferred = op.get().infer(&given).and_then(|results| {
            self.check(op, &given, &results)?;
            Ok(results)
        });
        let results = inferred.map_err(|message| format!("{message} (channels first)"))?;
        Ok(results.iter().map(|ty| if result { turned(ty, last_axes) } else { ty.clone() }).collect())
    }

    /// An operator's results for those operands, as they lie: the reference that everything else is compared with.
    pub fn evaluate(self, op: &Op, operands: &[&Tensor], results: &[Type]) -> Result<Vec<Tensor>, String> {
        if let (Some(dtype), &[x, w]) = (self.weights, operands) {
            let rounded = converted(&converted(w, dtype)?, w.dtype())?;
            return Choice { weights: None, ..self }.evaluate(op, &[x, &rounded], results);
        }
        let (Layout::ChannelsLast, Some([first, second, result])) = (self.layout, images(op)) else {
            return op.get().evaluate(operands, results);
        };
        let mut given = Vec::new();
        for (&tensor, image) in operands.iter().zip([first, second]) {
            given.push(if image { transposed(tensor, first_axes)? } else { tensor.try_clone()? });
        }
        let types: Vec<Type> =
            results.iter().map(|ty| if result { turned(ty, first_axes) } else { ty.clone() }).collect();
        let found = op.get().evaluate(&given.iter().collect::<Vec<_>>(), &types)?;
        if result { found.iter().map(|tensor| transposed(tensor, last_axes)).collect() } else { Ok(found) }
    }

    /// The cotangents of a node's operands, by its operator's rule.
    pub(crate) fn gradient(self, op: &Op, cx: &mut GradientCx) -> Gradient {
        if let Some(dtype) = self.weights {
            let reason = format!("its weights are stored as {dtype}, which is to be chosen behind gradients");
            return Err(GradientError::NotDifferentiable(reason));
        }
        let (Layout::ChannelsLast, Some([first, second, result])) = (self.layout, images(op)) else {
            return op.get().gradient(cx);
        };
        let mut operands = Vec::new();
        for (&value, image) in cx.operands.iter().zip([first, second]) {
            operands.push(turn(&mut cx.b, value, image, first_axes)?);
        }
        let (mut results, mut cotangents) = (Vec::new(), Vec::new());
        for (&value, &cotangent) in cx.results.iter().zip(cx.cotangents) {
            results.push(turn(&mut cx.b, value, result, first_axes)?);
            cotangents.push(match cotangent {
                Some(cotangent) => Some(turn(&mut cx.b, cotangent, result, first_axes)?),
                None => None,
            });
        }
        let b = Builder::new(&mut *cx.b.graph, cx.b.origin.clone());
        let (operands, results, cotangents) = (&operands[..], &results[..], &cotangents[..]);
        let mut inner = GradientCx { b, operands, results, cotangents, wanted: cx.wanted };
        let found = op.get().gradient(&mut inner)?;
        let mut outgoing = Vec::new();
        for (cotangent, image) in found.into_iter().zip([first, second]) {
            outgoing.push(match cotangent {
                Some(cotangent) => Some(turn(&mut cx.b, cotangent, image, last_axes)?),
                None => None,
            });
        }
        Ok(outgoing)
    }

    /// An error if the algorithm is none for an operator on operands and results of those types, in its own order of axes.
    fn check(self, op: &Op, operands: &[&Type], results: &[Type]) -> Result<(), String> {
        self.check_weights(op, operands)?;
        match (self.algorithm, op) {
            (Algorithm::Direct, _) => Ok(()),
            (Algorithm::Winograd(outputs), Op::Conv(conv)) => {
                let [_, w, _] = conv.roles(operands, &results[0]);
                let kernel = &w.dims[2..];
                if takes_winograd(conv, kernel, outputs) {
                    return Ok(());
                }
                Err(format!(
                    "`winograd` needs a square kernel of 2 to 5, tiles of 4 or 6 inputs (a kernel of 3: 2 or 4 outputs), \
                     padding less than the kernel, and no stride, dilation and groups; found {outputs} outputs and a \
                     kernel of {kernel:?}"
                ))
            }
            (Algorithm::Strassen, Op::Dot(dot)) => {
                let (a, b) = (operands[0], operands[1]);
                if takes_strassen(dot, a, b) {
                    return Ok(());
                }
                Err(format!(
                    "`strassen` needs a product of floats without batch axes, one axis that is summed over, a matrix on \
                     the right, and even numbers of rows, terms and columns; found {a} and {b}"
                ))
            }
            (Algorithm::Winograd(_), _) => Err("`winograd` is an algorithm for convolutions".into()),
            (Algorithm::Strassen, _) => Err("`strassen` is an algorithm for products".into()),
        }
    }

    /// An error if the operator has no weights that can be stored as the type that is chosen for them.
    fn check_weights(self, op: &Op, operands: &[&Type]) -> Result<(), String> {
        let Some(dtype) = self.weights else { return Ok(()) };
        if !has_weights(op, operands) {
            return Err("`weights` is for convolutions, their gradients with respect to the input, and products of rows \
                        with a matrix: without batch axes, and with one axis that is summed over"
                .into());
        }
        let found = operands[1].dtype;
        if found == DType::F32 && dtype.is_storage() {
            return Ok(());
        }
        Err(format!(
            "`weights` stores f32 as a type that only stores, such as bf16; found {found} as {dtype}"
        ))
    }

    /// As the text form has it, behind the operator's attributes; nothing where nothing is chosen.
    pub(crate) fn attributes(self) -> Vec<(&'static str, Attribute)> {
        let mut attributes = Vec::new();
        if self.layout == Layout::ChannelsLast {
            attributes.push(("channels_last", Attribute::Bool(true)));
        }
        match self.algorithm {
            Algorithm::Direct => {}
            Algorithm::Winograd(outputs) => attributes.push(("winograd", Attribute::Int(outputs as i64))),
            Algorithm::Strassen => attributes.push(("strassen", Attribute::Bool(true))),
        }
        attributes.extend(self.weights.map(|dtype| ("weights", Attribute::name(dtype.name()))));
        attributes
    }

    /// Takes the choice for an operator out of what stands in its braces.
    pub(crate) fn from_attributes(op: &Op, attributes: &mut Attributes) -> Result<Choice, String> {
        let mut choice = Choice::default();
        match op {
            Op::Conv(_) => {
                if attributes.flag("channels_last", false)? {
                    choice.layout = Layout::ChannelsLast;
                }
                match attributes.size_or("winograd", 0)? {
                    0 => {}
                    outputs => choice.algorithm = Algorithm::Winograd(outputs),
                }
            }
            Op::Dot(_) => {
                if attributes.flag("strassen", false)? {
                    choice.algorithm = Algorithm::Strassen;
                }
            }
            _ => return Ok(choice),
        }
        choice.weights = attributes.dtype_if_given("weights")?;
        Ok(choice)
    }
}

/// Which of an operator's two operands are images, and whether its result is one: what a layout is about.
fn images(op: &Op) -> Option<[bool; 3]> {
    match op {
        Op::Conv(Conv { form: ConvForm::WeightGradient { .. }, .. }) => Some([true, true, false]),
        Op::Conv(_) => Some([true, false, true]),
        _ => None,
    }
}

/// The axes that bring `[N, …, C]` to `[N, C, …]`. What is no image stays as it is.
fn first_axes(rank: usize) -> Vec<usize> {
    if rank < 2 { (0..rank).collect() } else { [0, rank - 1].into_iter().chain(1..rank - 1).collect() }
}

/// The axes that bring `[N, C, …]` to `[N, …, C]`.
fn last_axes(rank: usize) -> Vec<usize> {
    if rank < 2 { (0..rank).collect() } else { std::iter::once(0).chain(2..rank).chain([1]).collect() }
}

fn turned(ty: &Type, axes: fn(usize) -> Vec<usize>) -> Type {
    ty.with_dims(axes(ty.rank()).into_iter().map(|axis| ty.dims[axis]).collect::<Vec<_>>())
}

fn transposed(tensor: &Tensor, axes: fn(usize) -> Vec<usize>) -> Result<Tensor, String> {
    let ty = tensor.ty();
    let transpose = Transpose { axes: axes(ty.rank()) };
    let mut results = transpose.evaluate(&[tensor], &[turned(&ty, axes)])?;
    Ok(results.remove(0))
}

fn converted(tensor: &Tensor, to: DType) -> Result<Tensor, String> {
    let convert = Elementwise { op: ScalarOp::Convert(to) };
    let mut results = convert.evaluate(&[tensor], &[tensor.ty().with_dtype(to)])?;
    Ok(results.remove(0))
}

fn turn(
    b: &mut Builder,
    value: Value,
    image: bool,
    axes: fn(usize) -> Vec<usize>,
) -> Result<Value, GraphError> {
    let axes = axes(b.ty(value).rank());
    if image { b.transpose(value, &axes) } else { Ok(value) }
}

/// Whether Winograd's algorithm applies to a convolution with kernels of these extents, with tiles of so many outputs (at
/// least 2) along either axis: square kernels, one step at a time, not in groups, and tiles of 4 or 6 inputs.
pub fn takes_winograd(conv: &Conv, kernel: &[usize], outputs: usize) -> bool {
    let ones = |list: &[usize]| list.iter().all(|&n| n == 1);
    let &[rows, columns] = kernel else { return false };
    rows == columns
        && (2..=5).contains(&rows)
        && (2..=5).contains(&outputs)
        && [4, 6].contains(&(outputs + rows - 1))
        && conv.groups == 1
        && ones(&conv.stride)
        && ones(&conv.lhs_dilation)
        && ones(&conv.rhs_dilation)
        && conv.padding.iter().all(|&(low, high)| low < rows && high < rows)
}

/// Whether Strassen's algorithm applies: to a product of rows, along any axes, with one matrix, of even numbers of rows,
/// terms and columns.
pub fn takes_strassen(dot: &Dot, a: &Type, b: &Type) -> bool {
    let ([x], [w]) = (dot.contract[0].as_slice(), dot.contract[1].as_slice()) else { return false };
    let terms = a.dims.get(*x).copied().unwrap_or(0);
    let sizes = [a.elements().checked_div(terms).unwrap_or(0), terms, b.elements() / terms.max(1)];
    let even = sizes.iter().all(|&size| size > 0 && size.is_multiple_of(2));
    dot.batch[0].is_empty() && b.rank() == 2 && *w < 2 && a.dtype.is_float() && even
}

/// Whether the second operand of an operator, for operands of those types, are weights that may be stored as another type:
/// those of a convolution that computes images, or the matrix (or vector) that rows are multiplied with.
pub fn has_weights(op: &Op, operands: &[&Type]) -> bool {
    match op {
        Op::Conv(conv) => !matches!(conv.form, ConvForm::WeightGradient { .. }),
        Op::Dot(dot) => {
            let matrix = operands.get(1).is_some_and(|w| w.rank() <= 2);
            matrix && dot.batch[0].is_empty() && dot.contract[0].len() == 1
        }
        _ => false,
    }
}
