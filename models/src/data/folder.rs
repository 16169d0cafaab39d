//! A folder of labelled PNG images: one folder per class.

use std::io::BufReader;
use std::path::{Path, PathBuf};

use brolga_runtime::{Field, Result};
use png::Transformations;

use super::images::{Images, image_dims, image_field, luma};
use super::resize::Resampler;
use super::{bad, entries, file_name, malformed, open_read, reserve, zeros};

/// Larger images are refused before memory is asked for.
const MOST_PIXELS: usize = 1 << 25;

/// Names of the folder that is held out; the first that exists is taken.
const HELD_OUT: [&str; 4] = ["val", "valid", "validation", "test"];

/// Names that other image formats end in: leaving such files out silently would be a surprise.
const OTHER_FORMATS: [&str; 7] = ["jpg", "jpeg", "gif", "bmp", "webp", "tif", "tiff"];

/// The PNG files of one class.
struct Class {
    name: String,
    files: Vec<PathBuf>,
}

/// Loads the classes in `folder`, or in `train` and one of [`HELD_OUT`] below it, resized to the model's image;
/// nothing where no folder holds a PNG file. Classes are numbered in the order of their names.
pub(super) fn load(folder: &Path, fields: &[Field]) -> Result<Option<Images>> {
    let train = folder.join("train");
    let (train, test) = if train.is_dir() {
        let test = HELD_OUT.iter().map(|name| folder.join(name)).find(|path| path.is_dir());
        (train, test)
    } else {
        (folder.to_path_buf(), None)
    };
    let classes = classes(&train)?;
    if classes.iter().all(|class| class.files.is_empty()) {
        return Ok(None);
    }
    let field = image_field(fields)?
        .ok_or_else(|| bad("the model has no floating-point input to take the images"))?;
    let dims = image_dims(field, None)?;
    let mut images = Images { dims, white: 255, pixels: Vec::new(), labels: Vec::new(), test: None };
    for (number, class) in classes.iter().enumerate() {
        if class.files.is_empty() {
            return Err(bad(format!("the class `{}` has no PNG images", train.join(&class.name).display())));
        }
        append(&mut images, number, class)?;
    }
    if let Some(test) = test {
        let before = images.labels.len();
        for class in self::classes(&test)? {
            let Some(number) = classes.iter().position(|known| known.name == class.name) else {
                let known: Vec<&str> = classes.iter().map(|class| class.name.as_str()).collect();
                let place = test.join(&class.name);
                return Err(bad(format!(
                    "`{}` is none of the classes in training: {known:?}",
                    place.display()
                )));
            };
            append(&mut images, number, &class)?;
        }
        images.test = Some(images.labels.len() - before);
    }
    Ok(Some(images))
}

fn classes(folder: &Path) -> Result<Vec<Class>> {
    let folders = entries(folder)?.into_iter().filter(|path| path.is_dir());
    let class = |path: PathBuf| {
        let mut files = Vec::new();
        for file in entries(&path)? {
            let extension = file.extension().unwrap_or_default().to_string_lossy().to_lowercase();
            if extension == "png" {
                files.push(file);
            } else if OTHER_FORMATS.contains(&extension.as_str()) {
                return Err(malformed(
                    &file,
                    "only PNG images are read; convert it, or take it out of the folder",
                ));
            }
        }
        Ok(Class { name: file_name(&path), files })
    };
    folders.map(class).collect()
}

fn append(images: &mut Images, number: usize, class: &Class) -> Result<()> {
    for file in &class.files {
        let (size, planes) = decode(file, images.dims[0])?;
        let target = (images.dims[1], images.dims[2]);
        let resampler = Resampler::new(size, target);
        let mut resized = zeros(target.0 * target.1, "an image")?;
        let mut between = zeros(size.0 * target.1, "resizing an image")?;
        for plane in planes.chunks_exact(size.0 * size.1) {
            resampler.plane(plane, &mut between, &mut resized);
            reserve(&mut images.pixels, resized.len(), "images")?;
            images.pixels.extend(resized.iter().map(|v| v.round() as u8));
        }
        images.labels.push(number as i32);
    }
    Ok(())
}

/// Height and width, and the image as 1 or 3 planes of bytes. 16 bits become 8, transparency lets white through.
fn decode(file: &Path, channels: usize) -> Result<((usize, usize), Vec<u8>)> {
    let failed = |e: png::DecodingError| malformed(file, format!("not a PNG image that can be read: {e}"));
    let mut decoder = png::Decoder::new(BufReader::new(open_read(file)?));
    decoder.set_transformations(Transformations::normalize_to_color8());
    let header = decoder.read_header_info().map_err(failed)?;
    let (width, height) = (header.width as usize, header.height as usize);
    let too_large = || {
        malformed(
            file,
            format!("expected an image of at most {MOST_PIXELS} pixels, found {width} x {height}"),
        )
    };
    if width.saturating_mul(height) > MOST_PIXELS {
        return Err(too_large());
    }
    let mut reader = decoder.read_info().map_err(failed)?;
    let size = reader.output_buffer_size().ok_or_else(too_large)?;
    let mut bytes = zeros(size, "an image")?;
    let frame = reader.next_frame(&mut bytes).map_err(failed)?;
    bytes.truncate(frame.buffer_size());
    let over_white = |value: u8, alpha: u8| {
        let alpha = u32::from(alpha);
        ((u32::from(value) * alpha + 255 * (255 - alpha) + 127) / 255) as u8
    };
    let rgb = |pixel: &[u8]| match *pixel {
        [v] => [v; 3],
        [v, a] => [over_white(v, a); 3],
        [r, g, b, a] => [over_white(r, a), over_white(g, a), over_white(b, a)],
        [r, g, b, ..] => [r, g, b],
        [] => [0; 3],
    };
    let pixels = bytes.chunks_exact(frame.color_type.samples()).map(rgb);
    let planes = match channels {
        1 => pixels.map(luma).collect(),
        _ => (0..channels).flat_map(|c| pixels.clone().map(move |pixel| pixel[c])).collect(),
    };
    Ok(((height, width), planes))
}
