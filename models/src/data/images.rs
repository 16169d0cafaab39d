//! Sets of labelled images in memory, and how a model gets them.

use brolga_runtime::{Batches, DType, Field, Request, Result, Split, TensorMut, checksum, type_name};

use super::options::Options;
use super::parts::{Brought, Own, Parts};
use super::reading::{bad, check_request, collect, reserve, zeros};
use super::resize::Resampler;

/// Channels, height and width of an image.
pub(super) type Dims = [usize; 3];

/// Labelled images of one size.
#[derive(Debug)]
pub(super) struct Images {
    pub dims: Dims,
    /// The value that means full intensity.
    pub white: u8,
    /// All samples, each `dims` row-major; those of the data set's own test part last.
    pub pixels: Vec<u8>,
    /// One class per sample.
    pub labels: Vec<i32>,
    /// The numbers of samples in the set's own parts.
    pub own: Own,
    /// What these parts are called, as [`Own`] has them.
    pub part_names: [String; 2],
    /// Names of the classes, if they are known.
    pub classes: Vec<String>,
    /// What each sample is called; empty if by its number.
    pub names: Vec<String>,
}

impl Default for Images {
    fn default() -> Images {
        let (pixels, labels, classes, names) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let part_names = ["validation", "test"].map(str::to_owned);
        let own = Own::default();
        Images { dims: [1; 3], white: 255, pixels, labels, own, part_names, classes, names }
    }
}

/// What a field of the model gets.
#[derive(Debug)]
enum Role {
    Image(Writer),
    Label,
}

/// How an image becomes what the model takes.
#[derive(Debug)]
struct Writer {
    dims: Dims,
    /// Where the sizes differ.
    resampler: Option<Resampler>,
    /// The pixel that becomes 1.
    white: f32,
}

/// Images as the fields of a model ask for them.
pub(super) struct ImageBatches {
    images: Images,
    parts: Parts,
    /// Which own part is held out, if one is.
    own_part: Option<Brought>,
    fields: Vec<Field>,
    roles: Vec<Role>,
    /// Memory for resizing.
    between: Vec<f32>,
}

/// Luma of red, green and blue by ITU-R BT.601, as most programs turn colour into grey.
pub(super) fn luma([red, green, blue]: [u8; 3]) -> u8 {
    ((299 * u32::from(red) + 587 * u32::from(green) + 114 * u32::from(blue) + 500) / 1000) as u8
}

/// The image that a field with these dimensions per sample takes; `source` are the dimensions of the data
/// set's images, where they have one size.
pub(super) fn image_dims(field: &Field, source: Option<Dims>) -> Result<Dims> {
    let root = |n: usize| Some(n.isqrt()).filter(|side| side * side == n);
    let flat = |n: usize| match source {
        Some(dims) if dims.iter().product::<usize>() == n => Some(dims),
        _ => match (root(n), root(n / 3).filter(|_| n.is_multiple_of(3))) {
            (Some(side), _) => Some([1, side, side]),
            (_, Some(side)) => Some([3, side, side]),
            _ => None,
        },
    };
    let dims = match field.dims[..] {
        [n] => flat(n),
        [height, width] => Some([1, height, width]),
        [channels, height, width] => Some([channels, height, width]),
        _ => None,
    };
    // The bound keeps a field of absurd size from being allocated for.
    let side = 1..=1 << 14;
    let fits = |&[c, h, w]: &Dims| (c == 1 || c == 3) && side.contains(&h) && side.contains(&w);
    dims.filter(fits).ok_or_else(|| {
        bad(format!(
            "the input `{}` takes {} per sample, which is no image: expected [channels, height, width] with 1 or 3 \
             channels, [height, width], or [n] with n = side * side or 3 * side * side",
            field.name,
            type_name(field.dtype, &field.dims)
        ))
    })
}

/// The field that takes the image: the one floating-point field, or of several the one named `image`.
pub(super) fn image_field(fields: &[Field]) -> Result<Option<&Field>> {
    let mut float = fields.iter().filter(|f| matches!(f.dtype, DType::F32 | DType::F64));
    match (float.next(), float.next()) {
        (first, None) => Ok(first),
        _ => fields.iter().find(|f| f.name == "image").map(Some).ok_or_else(|| {
            bad("several inputs of the model are floating-point and none is named `image`: images fill only one")
        }),
    }
}

impl ImageBatches {
    /// Prepares `images` for `fields`. Errors say which field cannot be filled, or which samples are wrong.
    pub(super) fn new(mut images: Images, fields: &[Field], options: &Options) -> Result<ImageBatches> {
        let classes: Vec<i64> = images.labels.iter().map(|&label| i64::from(label)).collect();
        let parts = Parts::new(images.labels.len(), images.own, Some(&classes), options)?;
        let own_part = images.own.held_out(&options.held_out);
        if !options.classes.is_empty() {
            images.classes.clone_from(&options.classes);
        }
        let image = image_field(fields)?;
        let mut roles = Vec::new();
        for field in fields {
            roles.push(if Some(field) == image {
                let dims = image_dims(field, Some(images.dims))?;
                if dims[0] == 1 {
                    images.reduce_to_luma()?;
                }
                let (from, to) = ((images.dims[1], images.dims[2]), (dims[1], dims[2]));
                let resampler = (from != to).then(|| Resampler::new(from, to));
                Role::Image(Writer { dims, resampler, white: f32::from(images.white) })
            } else if matches!(field.dtype, DType::I32 | DType::I64) && field.dims.is_empty() {
                Role::Label
            } else {
                return Err(bad(format!(
                    "the input `{}` takes {} per sample; a set of labelled images fills one floating-point \
                     input with the image, and inputs of i32[] or i64[] with the class",
                    field.name,
                    type_name(field.dtype, &field.dims)
                )));
            });
        }
        let mut between = Vec::new();
        let rows = |role: &Role| match role {
            Role::Image(writer) => images.dims[1].saturating_mul(writer.dims[2]),
            Role::Label => 0,
        };
        reserve(&mut between, roles.iter().map(rows).max().unwrap_or(0), "resizing images")?;
        Ok(ImageBatches { images, parts, own_part, fields: fields.to_vec(), roles, between })
    }
}

impl Images {
    fn sample_len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Turns colour into grey.
    fn reduce_to_luma(&mut self) -> Result<()> {
        let [channels, height, width] = self.dims;
        if channels == 3 {
            let plane = height * width;
            let gray = |sample: &[u8], i: usize| luma([sample[i], sample[plane + i], sample[2 * plane + i]]);
            let samples = self.pixels.chunks_exact(3 * plane);
            let pixels = samples.flat_map(|sample| (0..plane).map(move |i| gray(sample, i)));
            self.pixels = collect(pixels, self.pixels.len() / 3, "grey images")?;
            self.dims[0] = 1;
        }
        Ok(())
    }

    /// More samples of the same size.
    pub(super) fn append(&mut self, pixels: &[u8], labels: impl ExactSizeIterator<Item = i32>) -> Result<()> {
        reserve(&mut self.pixels, pixels.len(), "images")?;
        reserve(&mut self.labels, labels.len(), "labels")?;
        self.pixels.extend_from_slice(pixels);
        self.labels.extend(labels);
        Ok(())
    }
}

impl Batches for ImageBatches {
    fn fields(&self) -> &[Field] {
        &self.fields
    }

    fn len(&self, split: Split) -> usize {
        self.parts.of(split).len()
    }

    fn checksum(&self) -> Option<String> {
        let labels =
            self.images.labels.iter().fold(0u32, |sum, l| sum.wrapping_mul(31).wrapping_add(*l as u32));
        Some(format!("{}-{labels:08x}", checksum(&self.images.pixels)))
    }

    fn classes(&self) -> &[String] {
        &self.images.classes
    }

    fn own_part(&self) -> Option<&str> {
        let [validation, test] = &self.images.part_names;
        self.own_part.map(|part| match part {
            Brought::Validation => validation.as_str(),
            Brought::Test => test.as_str(),
        })
    }

    fn name(&self, split: Split, index: usize) -> String {
        let name = self.parts.of(split).get(index).and_then(|&at| self.images.names.get(at));
        name.cloned().unwrap_or_else(|| index.to_string())
    }

    fn fill(&mut self, request: &Request<'_>, field: usize, out: &mut TensorMut<'_>) -> Result<()> {
        check_request(&self.fields, field, request.indices.len(), out)?;
        let positions = self.parts.positions(request)?;
        let images = &self.images;
        match (&self.roles[field], out.dtype()) {
            (Role::Label, DType::I32) => {
                out.as_mut_slice()?.iter_mut().zip(positions).for_each(|(o, p)| *o = images.labels[p]);
            }
            (Role::Label, _) => {
                out.as_mut_slice()?
                    .iter_mut()
                    .zip(positions)
                    .for_each(|(o, p)| *o = i64::from(images.labels[p]));
            }
            (Role::Image(writer), DType::F32) => {
                let out = out.as_mut_slice::<f32>()?;
                for (target, position) in out.chunks_exact_mut(writer.len()).zip(positions) {
                    writer.write(images, position, &mut self.between, target);
                }
            }
            (Role::Image(writer), _) => {
                let out = out.as_mut_slice::<f64>()?;
                let mut single = zeros(writer.len(), "an image")?;
                for (target, position) in out.chunks_exact_mut(writer.len()).zip(positions) {
                    writer.write(images, position, &mut self.between, &mut single);
                    target.iter_mut().zip(&single).for_each(|(t, &s)| *t = f64::from(s));
                }
            }
        }
        Ok(())
    }
}

impl Writer {
    /// Elements of one sample.
    fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Writes the image at `position`, resized, from 0 to 1. `between` is memory for resizing.
    fn write(&self, images: &Images, position: usize, between: &mut Vec<f32>, target: &mut [f32]) {
        let [channels, height, width] = images.dims;
        let sample = &images.pixels[position * images.sample_len()..][..images.sample_len()];
        let planes = target.chunks_exact_mut(self.dims[1] * self.dims[2]);
        for (channel, target) in planes.enumerate() {
            // A grey image fills all channels.
            let source = &sample[channel.min(channels - 1) * height * width..][..height * width];
            match &self.resampler {
                Some(resampler) => resampler.plane(source, between, target),
                None => target.iter_mut().zip(source).for_each(|(t, &s)| *t = f32::from(s)),
            }
            target.iter_mut().for_each(|t| *t /= self.white);
        }
    }
}
