//! `conv`, `conv_input_gradient`, `conv_weight_gradient`: convolution over one to three spatial axes, and the two
//! other bilinear maps that its gradients are.
//!
//! With x `[N, C, …]`, w `[O, C / groups, …]`, y `[N, O, …]`, g the group of output channel o, and one spatial axis
//! (more work alike):
//!
//! ```text
//! y[n, o, p] = Σ_{c, k}  x[n, g C/groups + c, i] · w[o, c, k]   where  i · lhs_dilation = p · stride + k · rhs_dilation - low
//! ```
//!
//! Points outside x and between its dilated elements do not contribute. (How x and y lie is another matter:
//! [`Layout`](crate::choice::Layout).)
//!
//! The three forms are the partial maps of the one trilinear form Σ y · x · w: each computes one of the three tensors from
//! the two others, so the gradients of each are the other two forms, and gradients of gradients stay among the three.

use super::*;

/// A convolution, or one of the maps that its gradients are.
#[derive(Clone, PartialEq, Debug)]
pub struct Conv {
    /// Which of the three tensors is computed.
    pub form: ConvForm,
    /// Number of groups; channels of one group see only each other.
    pub groups: usize,
    /// Steps of the window, for each spatial axis.
    pub stride: Vec<usize>,
    /// Zeros before and behind x, for each spatial axis.
    pub padding: Vec<(usize, usize)>,
    /// Distance of neighbours of x, for each spatial axis; 1 is dense.
    pub lhs_dilation: Vec<usize>,
    /// Distance of neighbours of w, for each spatial axis; 1 is dense.
    pub rhs_dilation: Vec<usize>,
}

/// Which tensor of a convolution is computed, from which.
#[derive(Clone, PartialEq, Debug)]
pub enum ConvForm {
    /// `conv`: y from x and w.
    Forward,
    /// `conv_input_gradient`: x from y and w; this is the transposed convolution.
    InputGradient {
        /// Spatial extents of x.
        size: Vec<usize>,
    },
    /// `conv_weight_gradient`: w from x and y.
    WeightGradient {
        /// Spatial extents of w.
        kernel: Vec<usize>,
    },
}

impl Conv {
    /// A convolution over that many spatial axes, without padding, dilation, strides or groups.
    pub fn new(spatial: usize) -> Conv {
        Conv {
            form: ConvForm::Forward,
            groups: 1,
            stride: vec![1; spatial],
            padding: vec![(0, 0); spatial],
            lhs_dilation: vec![1; spatial],
            rhs_dilation: vec![1; spatial],
        }
    }

    /// Whether kernels of these extents have one position and see every position alone: a product of rows with a matrix.
    pub fn is_pointwise(&self, kernel: &[usize]) -> bool {
        let ones = |list: &[usize]| list.iter().all(|&n| n == 1);
        let steps = [&self.stride, &self.lhs_dilation, &self.rhs_dilation];
        self.groups == 1
            && ones(kernel)
            && steps.into_iter().all(|list| ones(list))
            && self.padding.iter().all(|&padding| padding == (0, 0))
    }

    /// The same convolution in another form.
    pub fn with_form(&self, form: ConvForm) -> Conv {
        Conv { form, ..self.clone() }
    }

    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        &["conv", "conv_input_gradient", "conv_weight_gradient"]
    }

    pub(super) fn from_attributes(name: &str, attributes: &mut Attributes) -> Result<Conv, String> {
        let stride = attributes.sizes("stride")?;
        let spatial = stride.len();
        let padding = attributes.size_lists_or("padding", vec![vec![0, 0]; spatial])?;
        let padding = padding.into_iter().map(|pair| match pair.as_slice() {
            &[low, high] => Ok((low, high)),
            other => Err(format!("`padding` must hold pairs of sizes, found {other:?}")),
        });
        Ok(Conv {
            form: match name {
                "conv" => ConvForm::Forward,
                "conv_input_gradient" => ConvForm::InputGradient { size: attributes.sizes("size")? },
                _ => ConvForm::WeightGradient { kernel: attributes.sizes("kernel")? },
            },
            groups: attributes.size_or("groups", 1)?,
            padding: padding.collect::<Result<_, _>>()?,
            lhs_dilation: attributes.sizes_or("lhs_dilation", vec![1; spatial])?,
            rhs_dilation: attributes.sizes_or("rhs_dilation", vec![1; spatial])?,
            stride,
        })
    }

    /// Number of spatial axes.
    pub fn spatial(&self) -> usize {
        self.stride.len()
    }

    /// The types of x, w and y, for operands and results of a verified node.
    pub fn roles<'t>(&self, operands: &[&'t Type], result: &'t Type) -> [&'t Type; 3] {
        match self.form {
            ConvForm::Forward => [operands[0], operands[1], result],
            ConvForm::InputGradient { .. } => [result, operands[1], operands[0]],
            ConvForm::WeightGradient { .. } => [operands[0], result, operands[1]],
        }
    }

    /// The spatial extents of y for those of x and w.
    fn output(&self, x: &[usize], w: &[usize]) -> Result<Vec<usize>, String> {
        let mut output = Vec::new();
        for axis in 0..self.spatial() {
            let (low, high) = self.padding[axis];
            let total = (spread(x[axis], self.lhs_dilation[axis]) + low + high).get()?;
            let window = spread(w[axis], self.rhs_dilation[axis]);
            if w[axis] == 0 || !window.is_below(Size::from(total) + 1) {
                return Err(format!(
                    "the kernel spans {window} along spatial axis {axis}, more than the padded input's {total}"
                ));
            }
            output.push(((Size::from(total) - window) / self.stride[axis] + 1).get()?);
        }
        Ok(output)
    }

    /// For each spatial axis and output position the taps `(kernel position, input position)` inside x.
    fn axis_taps(&self, axis: usize, x: usize, w: usize, y: usize) -> Vec<Vec<(usize, usize)>> {
        let (dilation, low) = (self.lhs_dilation[axis], self.padding[axis].0);
        let (stride, step) = (self.stride[axis], self.rhs_dilation[axis]);
        let tap = |p: usize, k: usize| {
            let at = (p * stride + k * step).checked_sub(low)?;
            (at % dilation == 0 && at / dilation < x).then_some((k, at / dilation))
        };
        // Kernels may be much longer than what they see.
        let seen = |p: usize| {
            let (first, end) = (p * stride, x.saturating_sub(1) * dilation + low + 1);
            let from = low.saturating_sub(first).div_ceil(step);
            from..end.saturating_sub(first).div_ceil(step).min(w)
        };
        (0..y).map(|p| seen(p).filter_map(|k| tap(p, k)).collect()).collect()
    }

    /// Every `(output, kernel, input)` position, row-major over the spatial axes, that contributes.
    fn taps(&self, x: &[usize], w: &[usize], y: &[usize]) -> Vec<(usize, usize, usize)> {
        let mut taps = vec![(0, 0, 0)];
        for axis in 0..self.spatial() {
            let along = self.axis_taps(axis, x[axis], w[axis], y[axis]);
            let mut next = Vec::new();
            for &(p, k, i) in &taps {
                for (q, list) in along.iter().enumerate() {
                    let step = |&(l, j): &(usize, usize)| (p * y[axis] + q, k * w[axis] + l, i * x[axis] + j);
                    next.extend(list.iter().map(step));
                }
            }
            taps = next;
        }
        taps
    }
}

/// Shape inference.
impl Conv {
    fn expect_floats(a: &Type, b: &Type) -> Result<(), String> {
        expect_numbers(&[a, b])?;
        if a.dtype == b.dtype && a.dtype.is_float() {
            return Ok(());
        }
        Err(format!("operands must have one float type, found {a} and {b}"))
    }

    fn expect_ranks(&self, a: &Type, b: &Type) -> Result<(), String> {
        let spatial = self.spatial();
        if !(1..=3).contains(&spatial) || a.rank() != spatial + 2 || b.rank() != spatial + 2 {
            return Err(format!(
                "operands need two axes more than the {spatial} (1 to 3) spatial ones that `stride` lists, found {a} \
                 and {b}"
            ));
        }
        Ok(())
    }

    /// One entry for each axis in every list, and steps of at least 1.
    fn expect_steps(&self) -> Result<(), String> {
        let spatial = self.spatial();
        let steps = [
            ("stride", &self.stride),
            ("lhs_dilation", &self.lhs_dilation),
            ("rhs_dilation", &self.rhs_dilation),
        ];
        let lengths = [("padding", self.padding.len())]
            .into_iter()
            .chain(steps.map(|(name, list)| (name, list.len())))
            .chain(match &self.form {
                ConvForm::Forward => None,
                ConvForm::InputGradient { size } => Some(("size", size.len())),
                ConvForm::WeightGradient { kernel } => Some(("kernel", kernel.len())),
            });
        for (name, found) in lengths {
            if found != spatial {
                return Err(format!(
                    "`{name}` needs one entry for each of {spatial} spatial axes, found {found}"
                ));
            }
        }
        for (name, list) in steps {
            expect_small(name, list)?;
            if list.contains(&0) {
                return Err(format!("`{name}` must be at least 1, found {list:?}"));
            }
        }
        let padding: Vec<usize> = self.padding.iter().flat_map(|&(low, high)| [low, high]).collect();
        expect_small("padding", &padding)
    }

    /// Channels of one group.
    fn of_a_group(&self, what: &str, channels: usize) -> Result<usize, String> {
        let groups = self.groups;
        if channels.is_multiple_of(groups) {
            return Ok(channels / groups);
        }
        Err(format!("{channels} {what} channels cannot be divided into {groups} groups"))
    }

    /// The type of y.
    fn forward_type(&self, x: &Type, w: &Type) -> Result<Type, String> {
        let channels = x.dims[1];
        if self.of_a_group("input", channels)? != w.dims[1] {
            return Err(format!(
                "{x} has {channels} input channels in {} group{}, the weight {w} has {} for each group",
                self.groups,
                if self.groups == 1 { "" } else { "s" },
                w.dims[1]
            ));
        }
        self.of_a_group("output", w.dims[0])?;
        let output = self.output(&x.dims[2..], &w.dims[2..])?;
        expect_steps(w.dims.iter().chain(&output).chain(&x.dims[..1]))?;
        Ok(x.with_dims([&[x.dims[0], w.dims[0]][..], &output].concat()))
    }

    /// The type of x.
    fn input_type(&self, dy: &Type, w: &Type, size: &[usize]) -> Result<Type, String> {
        self.of_a_group("output", w.dims[0])?;
        let channels = dy.dims[1];
        if channels != w.dims[0] {
            return Err(format!("{dy} has {channels} channels, the weight {w} gives {}", w.dims[0]));
        }
        let channels = w.dims[1].checked_mul(self.groups).ok_or("too many input channels")?;
        let x = dy.with_dims([&[dy.dims[0], channels][..], size].concat());
        self.expect_output(&x, w, dy)?;
        Ok(x)
    }

    /// The type of w.
    fn weight_type(&self, x: &Type, dy: &Type, kernel: &[usize]) -> Result<Type, String> {
        if x.dims[0] != dy.dims[0] {
            return Err(format!("{x} and {dy} differ in the batch"));
        }
        self.of_a_group("output", dy.dims[1])?;
        let mut dims = vec![dy.dims[1], self.of_a_group("input", x.dims[1])?];
        dims.extend(kernel);
        let w = dy.with_dims(dims);
        self.expect_output(x, &w, dy)?;
        Ok(w)
    }

    /// Whether x and w give dy's extents.
    fn expect_output(&self, x: &Type, w: &Type, dy: &Type) -> Result<(), String> {
        expect_small("size", &x.dims)?;
        expect_small("kernel", &w.dims)?;
        let output = self.output(&x.dims[2..], &w.dims[2..])?;
        if output != dy.dims[2..] {
            return Err(format!("{x} and {w} give the spatial extents {output:?}, those of {dy} differ"));
        }
        expect_steps(w.dims.iter().chain(&output).chain(&dy.dims[..1]))
    }
}

impl Operator for Conv {
    fn name(&self) -> &'static str {
        match self.form {
            ConvForm::Forward => "conv",
            ConvForm::InputGradient { .. } => "conv_input_gradient",
            ConvForm::WeightGradient { .. } => "conv_weight_gradient",
        }
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let mut attributes = match &self.form {
            ConvForm::Forward => Vec::new(),
            ConvForm::InputGradient { size } => vec![("size", Attribute::sizes(size))],
            ConvForm::WeightGradient { kernel } => vec![("kernel", Attribute::sizes(kernel))],
        };
        attributes.push(("stride", Attribute::sizes(&self.stride)));
        if self.padding.iter().any(|&pair| pair != (0, 0)) {
            let pairs = self.padding.iter().map(|&(low, high)| Attribute::sizes(&[low, high]));
            attributes.push(("padding", Attribute::List(pairs.collect())));
        }
        for (name, dilation) in [("lhs_dilation", &self.lhs_dilation), ("rhs_dilation", &self.rhs_dilation)] {
            if dilation.iter().any(|&d| d != 1) {
                attributes.push((name, Attribute::sizes(dilation)));
            }
        }
        if self.groups != 1 {
            attributes.push(("groups", Attribute::Int(self.groups as i64)));
        }
        attributes
    }

    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, String> {
        expect_operands(operands, 2)?;
        Conv::expect_floats(operands[0], operands[1])?;
        self.expect_ranks(operands[0], operands[1])?;
        self.expect_steps()?;
        if self.groups == 0 {
            return Err("`groups` must be at least 1, found 0".into());
        }
        let result = match &self.form {
            ConvForm::Forward => self.forward_type(operands[0], operands[1])?,
            ConvForm::InputGradient { size } => self.input_type(operands[0], operands[1], size)?,
            ConvForm::WeightGradient { kernel } => self.weight_type(operands[0], operands[1], kernel)?,
        };
        Ok(vec![result])
    }

    /// The two other forms.
    fn gradient(&self, cx: &mut GradientCx) -> Gradient {
        let g = cx.cotangent(0)?;
        let (a, b) = (cx.operands[0], cx.operands[1]);
        let input = |cx: &mut GradientCx, dy: Value, w: Value, like: Value| {
            let size = cx.b.ty(like).dims[2..].to_vec();
            cx.b.add_node(self.with_form(ConvForm::InputGradient { size }), &[dy, w])
        };
        let weight = |cx: &mut GradientCx, x: Value, dy: Value, like: Value| {
            let kernel = cx.b.ty(like).dims[2..].to_vec();
            cx.b.add_node(self.with_form(ConvForm::WeightGradient { kernel }), &[x, dy])
        };
        let forward = |cx: &mut GradientCx, x: Value, w: Value| {
            cx.b.add_node(self.with_form(ConvForm::Forward), &[x, w])
        };
        Ok(match self.form {
            ConvForm::Forward => vec![Some(input(cx, g, b, a)?), Some(weight(cx, a, g, b)?)],
            ConvForm::InputGradient { .. } => vec![Some(forward(cx, g, b)?), Some(weight(cx, g, a, b)?)],
            ConvForm::WeightGradient { .. } => vec![Some(input(cx, b, g, a)?), Some(forward(cx, a, g)?)],
        })
    }

    fn definition(&self, _: &[&Type], _: &[Type]) -> Vec<Definition> {
        vec![Definition::Loops]
    }

    /// Sums are formed in f64 and rounded once.
    fn evaluate(&self, operands: &[&Tensor], results: &[Type]) -> Result<Vec<Tensor>, String> {
        let types: Vec<Type> = operands.iter().map(|operand| operand.ty()).collect();
        let [x, w, y] = self.roles(&types.iter().collect::<Vec<_>>(), &results[0]);
        let taps = self.taps(&x.dims[2..], &w.dims[2..], &y.dims[2..]);
        let (batch, outputs, inner) = (x.dims[0], w.dims[0], w.dims[1]);
        // Position of a channel of x or y.
        let at = |ty: &Type, n: usize, channel: usize| {
            (n * ty.dims[1] + channel) * ty.dims[2..].iter().product::<usize>()
        };
        let w_area: usize = w.dims[2..].iter().product();
        let (a, b) = (to_f64(operands[0])?, to_f64(operands[1])?);
        let mut c = filled(0.0, results[0].elements())?;
        for n in 0..batch {
            for o in 0..outputs {
                let ys = at(y, n, o);
                let group = o / (outputs / self.groups);
                for channel in 0..inner {
                    let xs = at(x, n, group * inner + channel);
                    let ws = (o * inner + channel) * w_area;
                    for &(p, k, i) in &taps {
                        let (y, w, x) = (ys + p, ws + k, xs + i);
                        match self.form {
                            ConvForm::Forward => c[y] += a[x] * b[w],
                            ConvForm::InputGradient { .. } => c[x] += a[y] * b[w],
                            ConvForm::WeightGradient { .. } => c[w] += a[x] * b[y],
                        }
                    }
                }
            }
        }
        Ok(vec![from_f64(&results[0], c)?])
    }
}
