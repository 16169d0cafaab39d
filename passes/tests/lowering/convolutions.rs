//! Convolutions in all forms and places, what is computed together with them, and Winograd's algorithm.

use std::collections::HashMap;

use brolga_ir::choice::{Algorithm, Choice, Layout};
use brolga_ir::graph::Origin;
use brolga_ir::ops::{Conv, ConvForm, Fused, ReduceWindow, Role};
use brolga_ir::program::interpret::Interpreter;
use brolga_ir::program::{Access, Combine};
use brolga_ir::scalar::Function;
use brolga_ir::{Builder, DType, Graph, GraphError, Tensor, Type, Value};
use brolga_passes::choose::{images, layout};
use brolga_passes::{Options, fuse, lower};

use super::{check, graph, tensor};

#[test]
fn convolutions_in_all_forms() {
    #[derive(Clone, Copy)]
    struct Case {
        x: [usize; 4],
        outputs: usize,
        kernel: [usize; 2],
        stride: usize,
        padding: (usize, usize),
        lhs_dilation: usize,
        rhs_dilation: usize,
        groups: usize,
    }
    let case = |x, outputs, kernel, stride, padding, lhs_dilation, rhs_dilation, groups| Case {
        x,
        outputs,
        kernel,
        stride,
        padding,
        lhs_dilation,
        rhs_dilation,
        groups,
    };
    let cases = [
        case([2, 3, 8, 8], 4, [3, 3], 1, (1, 1), 1, 1, 1),
        case([2, 1, 9, 7], 6, [5, 5], 1, (2, 2), 1, 1, 1),
        case([3, 20, 8, 8], 5, [3, 3], 1, (1, 1), 1, 1, 1),
        case([2, 16, 9, 9], 8, [3, 3], 2, (1, 1), 1, 1, 1),
        case([2, 16, 8, 8], 8, [1, 1], 2, (0, 0), 1, 1, 1),
        case([2, 6, 5, 5], 4, [1, 1], 2, (0, 3), 1, 1, 1),
        case([1, 8, 7, 7], 12, [1, 1], 1, (0, 0), 1, 1, 1),
        case([2, 6, 11, 11], 9, [3, 2], 2, (0, 1), 1, 2, 3),
        case([1, 4, 5, 5], 4, [4, 4], 1, (2, 2), 2, 1, 2),
        case([16, 33, 4, 4], 34, [3, 3], 1, (1, 1), 1, 1, 1),
        // Several boxes of positions, with borders on either side; a window larger than the image.
        case([1, 5, 40, 30], 17, [3, 3], 1, (1, 1), 1, 1, 1),
        case([1, 3, 33, 29], 24, [7, 7], 2, (3, 3), 1, 1, 1),
        case([2, 40, 3, 3], 8, [5, 5], 1, (2, 2), 1, 1, 1),
        case([1, 2, 130, 3], 3, [1, 1], 3, (0, 0), 1, 1, 1),
        case([1, 4, 9, 9], 4, [3, 3], 2, (1, 1), 1, 2, 1),
        // Most of the work at the borders: rows of several images.
        case([36, 3, 6, 6], 5, [5, 5], 1, (2, 2), 1, 1, 1),
        // Depthwise.
        case([2, 12, 9, 8], 12, [3, 3], 1, (1, 1), 1, 1, 12),
        case([2, 5, 9, 8], 5, [5, 3], 2, (2, 1), 1, 1, 5),
        case([1, 3, 40, 11], 3, [3, 3], 1, (1, 1), 2, 2, 3),
    ];
    let layouts = [Layout::ChannelsFirst, Layout::ChannelsLast];
    for (c, layout) in cases.into_iter().flat_map(|c| layouts.map(|layout| (c, layout))) {
        let forward = Conv {
            form: ConvForm::Forward,
            groups: c.groups,
            stride: vec![c.stride; 2],
            padding: vec![c.padding; 2],
            lhs_dilation: vec![c.lhs_dilation; 2],
            rhs_dilation: vec![c.rhs_dilation; 2],
        };
        let w = [c.outputs, c.x[1] / c.groups, c.kernel[0], c.kernel[1]];
        let mut g = Graph::new("conv");
        let image = layout.dims(c.x[0], c.x[1], &c.x[2..]);
        let x = g.add_parameter("x", Role::Data, Type::new(DType::F32, image));
        let weights = g.add_parameter("w", Role::Data, Type::new(DType::F32, w));
        let y = g.add_chosen(forward.clone(), layout, &[x, weights], &Origin::default()).expect("conv");
        let y = g.result(y);
        let dy_ty = g.ty(y).clone();
        let dy = g.add_parameter("dy", Role::Data, dy_ty);
        let back = forward.with_form(ConvForm::InputGradient { size: c.x[2..].to_vec() });
        let dx = g.add_chosen(back, layout, &[dy, weights], &Origin::default()).expect("input gradient");
        let back = forward.with_form(ConvForm::WeightGradient { kernel: c.kernel.to_vec() });
        let dw = g.add_chosen(back, layout, &[x, dy], &Origin::default()).expect("weight gradient");
        let (dx, dw) = (g.result(dx), g.result(dw));
        for (name, value) in [("y", y), ("dx", dx), ("dw", dw)] {
            g.add_output(name, Role::Data, value);
        }
        check(&g, 1e-5);
    }
}

/// The last axis is not windowed, and its positions are lanes: of any number, with and without an epilogue.
#[test]
fn convolutions_over_planes() {
    // Extents of x, output channels, kernel, stride, padding, dilation of x, groups.
    type Case<'c> = (&'c [usize], usize, &'c [usize], usize, (usize, usize), usize, usize);
    let cases: [Case<'_>; 11] = [
        (&[1, 1, 9, 7, 16], 6, &[5, 5, 1], 1, (2, 2), 1, 1),
        (&[2, 6, 6, 5, 32], 16, &[5, 5, 1], 1, (0, 0), 1, 1),
        (&[3, 2, 4, 4, 5], 3, &[3, 3, 1], 2, (1, 1), 1, 1),
        (&[1, 4, 5, 6, 1], 7, &[2, 3, 1], 1, (1, 0), 1, 1),
        // Blocks of input channels and of rows, with rests; one position of the kernel.
        (&[1, 37, 3, 4, 20], 50, &[3, 3, 1], 1, (1, 1), 1, 1),
        (&[2, 300, 2, 3, 8], 5, &[1, 1, 1], 1, (0, 0), 1, 1),
        // Groups, spread inputs, positions without any tap, and images without channels.
        (&[1, 4, 5, 5, 9], 6, &[3, 3, 1], 1, (1, 1), 2, 2),
        (&[1, 2, 3, 3, 8], 2, &[2, 2, 1], 1, (3, 3), 1, 1),
        (&[1, 0, 3, 3, 8], 2, &[2, 2, 1], 1, (0, 0), 1, 1),
        (&[2, 3, 11, 16], 4, &[3, 1], 1, (1, 1), 1, 1),
        (&[0, 3, 4, 4, 16], 4, &[3, 3, 1], 1, (1, 1), 1, 1),
    ];
    for (x, outputs, kernel, stride, padding, spread, groups) in cases {
        let windowed = |of, along| {
            let mut list = vec![of; kernel.len() - 1];
            list.push(along);
            list
        };
        let mut conv = Conv::new(kernel.len());
        conv.stride = windowed(stride, 1);
        conv.lhs_dilation = windowed(spread, 1);
        conv.padding = [vec![padding; kernel.len() - 1], vec![(0, 0)]].concat();
        conv.groups = groups;
        let w: Vec<usize> = [outputs, x[1] / groups].into_iter().chain(kernel.iter().copied()).collect();
        for epilogue in [false, true] {
            let g = graph(&[x, &w, &[outputs]], |b, v| {
                let y = b.add_node(conv.clone(), &v[..2])?;
                if !epilogue {
                    return Ok(vec![y]);
                }
                let dims = b.ty(y).dims.clone();
                let bias = b.broadcast(v[2], &dims, &[1])?;
                let sum = b.add(y, bias)?;
                Ok(vec![b.function(Function::Tanh, sum)?, sum])
            });
            check(&g, 1e-5);
        }
    }
}

/// A network with few channels: with its images last it computes the same bits.
#[test]
fn images_last_change_no_bit() {
    for images_of_batch in [16, 48] {
        let g = graph(&[&[images_of_batch, 1, 11, 12], &[6, 1, 5, 5], &[6], &[20, 6, 3, 3]], |b, v| {
            let first = Conv { padding: vec![(2, 2); 2], ..Conv::new(2) };
            let y = b.add_node(first, &v[..2])?;
            let dims = b.ty(y).dims.clone();
            let bias = b.broadcast(v[2], &dims, &[1])?;
            let sum = b.add(y, bias)?;
            let active = b.function(Function::Tanh, sum)?;
            let pooled = b.add_node(
                ReduceWindow {
                    combine: Combine::Add,
                    window: vec![1, 1, 2, 2],
                    stride: vec![1, 1, 2, 2],
                    padding: vec![(0, 0); 4],
                    window_dilation: vec![1; 4],
                    base_dilation: vec![1; 4],
                },
                &[active],
            )?;
            let y = b.add_node(Conv::new(2), &[pooled, v[3]])?;
            let features = b.ty(y).elements() / images_of_batch;
            Ok(vec![b.reshape(y, &[images_of_batch, features])?])
        });
        check(&g, 1e-5);
        let mut last = g.clone();
        layout::layout(&mut last, &Options::default()).expect("layout");
        let mut blocks = last.clone();
        assert!(images::images(&mut blocks, &Options::default()).expect("images"));
        check(&blocks, 1e-5);
        let types = g.parameters().iter().map(|&id| g.node(id).types[0].clone());
        let inputs: Vec<Tensor> = types.zip(1..).map(|(ty, salt)| tensor(&ty, salt)).collect();
        let run = |mut graph: Graph| {
            fuse::fuse(&mut graph).expect("fuse");
            let program = lower::lower(&graph, &HashMap::new()).expect("lower");
            Interpreter::new(&program).expect("interpreter").run(&inputs, &mut []).expect("it runs")
        };
        assert_eq!(run(last), run(blocks));
    }
}

/// A pointwise convolution and the depthwise one that reads its result.
#[derive(Clone, Copy)]
struct Expansion {
    x: [usize; 4],
    channels: usize,
    kernel: [usize; 2],
    stride: usize,
    padding: [(usize, usize); 2],
    dilation: usize,
    /// Whether biases, activations and residuals follow.
    followed: bool,
    /// Columns of the image that are left out, so that its rows do not lie side by side.
    loose: usize,
}

impl Expansion {
    /// Extents of what is read: image, weights, biases, residuals.
    fn inputs(&self) -> Vec<Vec<usize>> {
        let [n, h, w, k] = self.x;
        let c = self.channels;
        let [tall, wide] = self.kernel;
        let depthwise = self.depthwise();
        let image = Type::new(DType::F32, [n, h, w, c]);
        let weights = Type::new(DType::F32, [c, 1, tall, wide]);
        let y = Choice::from(Layout::ChannelsLast).infer(&depthwise.into(), &[&image, &weights]);
        let y = y.expect("a depthwise convolution").remove(0);
        let x = vec![n, h, w + self.loose, k];
        vec![x, vec![c, k, 1, 1], weights.dims.clone(), vec![c], vec![c], image.dims, y.dims]
    }

    fn depthwise(&self) -> Conv {
        Conv {
            groups: self.channels,
            stride: vec![self.stride; 2],
            padding: self.padding.to_vec(),
            rhs_dilation: vec![self.dilation; 2],
            ..Conv::new(2)
        }
    }

    fn build(&self, b: &mut Builder, x: &[Value]) -> Result<Vec<Value>, GraphError> {
        let inner = match self.loose {
            0 => x[0],
            loose => {
                let [n, h, w, k] = self.x;
                b.slice(x[0], &[0, 0, loose, 0], &[n, h, w + loose, k], &[1; 4])?
            }
        };
        let mut image = b.add_chosen(Conv::new(2), Layout::ChannelsLast, &[inner, x[1]])?;
        if self.followed {
            let dims = b.dims(image);
            let bias = b.broadcast(x[3], &dims, &[3])?;
            image = b.add(image, bias)?;
            image = b.add(image, x[5])?;
            let zero = b.zeros_like(image)?;
            image = b.max(image, zero)?;
        }
        let y = b.add_chosen(self.depthwise(), Layout::ChannelsLast, &[image, x[2]])?;
        if !self.followed {
            return Ok(vec![y]);
        }
        let dims = b.dims(y);
        let bias = b.broadcast(x[4], &dims, &[3])?;
        let sum = b.add(y, bias)?;
        let bent = b.function(Function::Tanh, sum)?;
        Ok(vec![b.add(bent, x[6])?, y])
    }
}

/// What a graph computes, lowered, from numbers of its own.
fn lowered(graph: &Graph) -> Vec<Tensor> {
    let program = lower::lower(graph, &HashMap::new()).expect("lower");
    let types = graph.parameters().iter().map(|&id| &graph.node(id).types[0]);
    let inputs: Vec<Tensor> = types.zip(1..).map(|(ty, salt)| tensor(ty, salt)).collect();
    Interpreter::new(&program).expect("interpreter").run(&inputs, &mut []).expect("a run")
}

#[test]
fn depthwise_convolutions_of_what_pointwise_ones_expand() {
    let case = |x, channels, kernel: [usize; 2], stride, padding| Expansion {
        x,
        channels,
        kernel,
        stride,
        padding,
        dilation: 1,
        followed: true,
        loose: 0,
    };
    let cases = [
        case([1, 9, 7, 5], 32, [3, 3], 1, [(1, 1); 2]),
        case([3, 9, 8, 3], 24, [3, 3], 2, [(1, 1); 2]),
        // A block of other width is left over.
        case([2, 11, 5, 4], 40, [5, 5], 2, [(2, 2); 2]),
        case([1, 8, 13, 17], 7, [5, 3], 1, [(2, 1), (0, 2)]),
        case([1, 6, 6, 1], 33, [3, 3], 1, [(0, 0); 2]),
        case([2, 5, 4, 2], 16, [1, 2], 3, [(0, 0), (1, 0)]),
        // Several bands, the last one shorter; windows that lie in the padding.
        case([1, 61, 3, 2], 16, [3, 3], 1, [(1, 1); 2]),
        case([1, 101, 2, 2], 18, [3, 3], 2, [(0, 1); 2]),
        case([1, 3, 3, 2], 16, [2, 2], 1, [(3, 4), (3, 0)]),
        Expansion { dilation: 2, ..case([1, 40, 6, 3], 16, [3, 3], 1, [(2, 2); 2]) },
        Expansion { dilation: 3, ..case([1, 40, 9, 3], 20, [3, 3], 2, [(1, 0); 2]) },
    ];
    let variants = |case: Expansion| {
        [(true, 0), (true, 1), (false, 0), (false, 2)].map(|(followed, loose)| Expansion {
            followed,
            loose,
            ..case
        })
    };
    for case in cases.into_iter().flat_map(variants) {
        let inputs = case.inputs();
        let dims: Vec<&[usize]> = inputs.iter().map(Vec::as_slice).collect();
        let apart = graph(&dims, |b, x| case.build(b, x));
        let body = apart.clone();
        let together = graph(&dims, |b, x| b.add_nodes(Fused { body: body.clone() }, x));
        check(&together, 1e-5);
        assert_eq!(lowered(&together), lowered(&apart));
        let program = lower::lower(&together, &HashMap::new()).expect("lower");
        let mut params = program.kernels.iter().flat_map(|kernel| &kernel.params);
        assert!(params.any(|param| param.access == Access::Local), "the image between them is local");
    }
}

/// A convolution by tiles of `outputs` x `outputs`, and its gradients.
fn check_winograd(x: [usize; 4], outputs: usize, kernel: usize, padding: (usize, usize), tile: usize) {
    let forward = Conv { padding: vec![padding; 2], ..Conv::new(2) };
    let layout = Layout::ChannelsLast;
    let choice = Choice { algorithm: Algorithm::Winograd(tile), ..layout.into() };
    let mut g = Graph::new("winograd");
    let image = Type::new(DType::F32, layout.dims(x[0], x[1], &x[2..]));
    let image = g.add_parameter("x", Role::Data, image);
    let weights = Type::new(DType::F32, [outputs, x[1], kernel, kernel]);
    let weights = g.add_parameter("w", Role::Data, weights);
    let y = g.add_chosen(forward.clone(), choice, &[image, weights], &Origin::default()).expect("conv");
    let y = g.result(y);
    let dy_ty = g.ty(y).clone();
    let dy = g.add_parameter("dy", Role::Data, dy_ty);
    let back = forward.with_form(ConvForm::InputGradient { size: x[2..].to_vec() });
    let dx = g.add_chosen(back, choice, &[dy, weights], &Origin::default()).expect("input gradient");
    let dx = g.result(dx);
    let back = forward.with_form(ConvForm::WeightGradient { kernel: vec![kernel; 2] });
    let dw = g.add_chosen(back, choice, &[image, dy], &Origin::default()).expect("weight gradient");
    let dw = g.result(dw);
    let mut b = Builder::new(&mut g, Origin::default());
    let bent = b.max(y, dy).expect("max");
    g.add_output("y", Role::Data, bent);
    g.add_output("dx", Role::Data, dx);
    g.add_output("dw", Role::Data, dw);
    check(&g, 1e-3);
}

#[test]
fn winograd_in_tiles_of_either_size() {
    let cases = [
        ([2, 16, 8, 8], 16, (1, 1)),
        ([1, 3, 7, 7], 5, (1, 1)),
        ([1, 20, 13, 30], 24, (1, 1)),
        ([3, 17, 5, 6], 40, (0, 0)),
        ([1, 8, 9, 9], 8, (2, 2)),
        ([2, 4, 28, 57], 8, (1, 0)),
        ([1, 140, 4, 4], 16, (1, 1)),
        ([9, 16, 16, 16], 6, (1, 1)),
        // Sums of the weights' gradient are finished by the kernel that forms them.
        ([2, 65, 5, 6], 70, (1, 1)),
        ([1, 96, 3, 3], 64, (1, 1)),
    ];
    for (x, outputs, padding) in cases {
        check_winograd(x, outputs, 3, padding, 2);
        check_winograd(x, outputs, 3, padding, 4);
    }
}

#[test]
fn winograd_with_other_kernels() {
    for (kernel, tile) in [(2, 3), (2, 5), (4, 3), (5, 2)] {
        check_winograd([1, 3, 7, 11], 5, kernel, (kernel / 2, (kernel - 1) / 2), tile);
        check_winograd([2, 17, 6, 5], 24, kernel, (kernel - 1, 0), tile);
        check_winograd([5, 12, 12, 13], 16, kernel, (0, kernel - 1), tile);
    }
}

/// Images too large for the scratch memory: their sums go on from piece to piece.
#[test]
fn winograd_gradients_of_large_images() {
    let conv = Conv { padding: vec![(1, 1); 2], ..Conv::new(2) };
    let choice = Choice { algorithm: Algorithm::Winograd(4), ..Layout::ChannelsLast.into() };
    let mut g = Graph::new("large");
    let image = Type::new(DType::F32, [3, 280, 280, 1]);
    let images = ["x", "dy"].map(|name| g.add_parameter(name, Role::Data, image.clone()));
    let gradient = conv.with_form(ConvForm::WeightGradient { kernel: vec![3, 3] });
    let dw = g.add_chosen(gradient, choice, &images, &Origin::default()).expect("weight gradient");
    let dw = g.result(dw);
    g.add_output("dw", Role::Data, dw);
    check(&g, 1e-3);
}
