//! Data sets as a model gets them, from generated files.

mod arrays;
mod cifar;
mod idx;
mod jpeg;
mod made;
mod png_folder;
mod tables;

use std::fs;
use std::path::{Path, PathBuf};

use brolga_models::data::{DIGITS, HeldOut, Options, open, picture, pictures};
use brolga_runtime::{Batches, DType, Error, ErrorKind, Field, Request, Split, Tensor};

fn field(name: &str, dtype: DType, dims: &[usize]) -> Field {
    Field { name: name.into(), dtype, dims: dims.into() }
}

fn image_and_label(dims: &[usize]) -> Vec<Field> {
    vec![field("image", DType::F32, dims), field("label", DType::I32, &[])]
}

const RAW: Options = Options {
    seed: 0,
    held_out: HeldOut::Default,
    classes: Vec::new(),
    vocabularies: Vec::new(),
    target: None,
    unlabelled: false,
    columns: Vec::new(),
    others: Vec::new(),
    tables: Vec::new(),
};

fn request(split: Split, indices: &[usize]) -> Request<'_> {
    Request { split, indices, seed: 0, epoch: 0 }
}

fn fill(data: &mut dyn Batches, split: Split, indices: &[usize], number: usize) -> Tensor {
    let Field { dtype, dims, .. } = data.fields()[number].clone();
    let mut out = Tensor::zeros(dtype, &[&[indices.len()], &dims[..]].concat()).unwrap();
    data.fill(&request(split, indices), number, &mut out.view_mut()).unwrap();
    out
}

fn floats(data: &mut dyn Batches, split: Split, indices: &[usize]) -> Vec<f32> {
    fill(data, split, indices, 0).as_slice::<f32>().unwrap().to_vec()
}

fn classes(data: &mut dyn Batches, split: Split, indices: &[usize]) -> Vec<i32> {
    fill(data, split, indices, 1).as_slice::<i32>().unwrap().to_vec()
}

fn lengths(data: &dyn Batches) -> (usize, usize) {
    (data.len(Split::Train), data.len(Split::Validation))
}

fn refused(path: &Path, fields: &[Field]) -> Error {
    open(path, fields, &RAW).err().expect("an error")
}

fn says(error: &Error, kind: ErrorKind, parts: &[&str]) {
    let message = error.to_string();
    assert_eq!(error.kind(), kind, "{message}");
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

mod digits {
    use super::*;

    #[test]
    fn are_raw_and_fit_the_model() {
        let mut data = open(Path::new(DIGITS), &image_and_label(&[64]), &Options::default()).unwrap();
        assert_eq!(lengths(&*data), (1437, 360));
        let all: Vec<usize> = (0..1437).collect();
        let pixels = floats(&mut *data, Split::Train, &all);
        assert!(pixels.iter().all(|&v| (v * 16.0).fract() == 0.0 && (0.0..=1.0).contains(&v)));

        let held_out: Vec<usize> = (0..360).collect();
        let mut per_class = [0; 10];
        for (split, indices) in [(Split::Train, &all), (Split::Validation, &held_out)] {
            classes(&mut *data, split, indices).iter().for_each(|&label| per_class[label as usize] += 1);
        }
        // As in scikit-learn's `load_digits().target`.
        assert_eq!(per_class, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
    }

    #[test]
    fn take_any_image_size() {
        let [mut small, mut gray, mut colour, mut flat] = [&[8, 8][..], &[1, 28, 28], &[3, 32, 32], &[784]]
            .map(|dims| open(Path::new(DIGITS), &image_and_label(dims), &RAW).unwrap());
        let pixels = floats(&mut *small, Split::Validation, &[5]);
        assert!(pixels.iter().all(|&v| (v * 16.0).fract() == 0.0 && (0.0..=1.0).contains(&v)));
        assert!(pixels.contains(&1.0) && pixels.contains(&0.0));

        let gray = floats(&mut *gray, Split::Validation, &[5]);
        assert_eq!(gray, floats(&mut *flat, Split::Validation, &[5]));
        // Corners are those of the source, and the mean stays nearly.
        assert_eq!([gray[0], gray[27], gray[783]], [pixels[0], pixels[7], pixels[63]]);
        let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len() as f32;
        assert!((mean(&gray) - mean(&pixels)).abs() < 0.01);

        let colour = floats(&mut *colour, Split::Validation, &[5]);
        assert_eq!(colour[..1024], colour[1024..2048]);
        assert_eq!(colour[..1024], colour[2048..]);
    }

    #[test]
    fn come_in_the_order_and_type_asked_for() {
        let fields =
            [field("x", DType::F64, &[64]), field("label", DType::I64, &[]), field("again", DType::I32, &[])];
        let mut wide = open(Path::new(DIGITS), &fields, &Options::default()).unwrap();
        let mut single = open(Path::new(DIGITS), &image_and_label(&[64]), &Options::default()).unwrap();
        let indices = [7, 0, 1436, 7];
        let single =
            (floats(&mut *single, Split::Train, &indices), classes(&mut *single, Split::Train, &indices));
        let image = fill(&mut *wide, Split::Train, &indices, 0);
        assert!(image.as_slice::<f64>().unwrap().iter().zip(&single.0).all(|(w, s)| *w == f64::from(*s)));
        let label = fill(&mut *wide, Split::Train, &indices, 1);
        assert!(label.as_slice::<i64>().unwrap().iter().zip(&single.1).all(|(w, s)| *w == i64::from(*s)));
        assert_eq!(fill(&mut *wide, Split::Train, &indices, 2).as_slice::<i32>().unwrap(), single.1);
        assert_eq!(single.0[..64], single.0[192..]);
    }

    #[test]
    fn refuse_what_they_cannot_fill() {
        let refused = |fields: &[Field]| refused(Path::new(DIGITS), fields);
        says(&refused(&image_and_label(&[65])), ErrorKind::Data, &["`image`", "f32[65]", "side * side"]);
        says(&refused(&image_and_label(&[2, 8, 8])), ErrorKind::Data, &["f32[2, 8, 8]"]);
        says(&refused(&image_and_label(&[1, 0, 8])), ErrorKind::Data, &["f32[1, 0, 8]"]);
        says(&refused(&image_and_label(&[1, usize::MAX, 2])), ErrorKind::Data, &["no image"]);
        says(&refused(&[field("label", DType::I32, &[10])]), ErrorKind::Data, &["i32[10]"]);
        let two = [field("x", DType::F32, &[64]), field("noise", DType::F32, &[64])];
        says(&refused(&two), ErrorKind::Data, &["named `image`"]);
    }

    #[test]
    fn requests_are_checked() {
        let mut data = open(Path::new(DIGITS), &image_and_label(&[64]), &RAW).unwrap();
        let mut out = Tensor::zeros(DType::F32, &[1, 64]).unwrap();
        let error = data.fill(&request(Split::Validation, &[360]), 0, &mut out.view_mut()).unwrap_err();
        says(&error, ErrorKind::Range, &["sample 360", "360 samples"]);
        let error = data.fill(&request(Split::Train, &[0, 1]), 0, &mut out.view_mut()).unwrap_err();
        says(&error, ErrorKind::Shape, &["f32[1, 64]", "f32[2, 64]"]);
        let error = data.fill(&request(Split::Train, &[0]), 2, &mut out.view_mut()).unwrap_err();
        says(&error, ErrorKind::Range, &["field 2"]);
    }
}
