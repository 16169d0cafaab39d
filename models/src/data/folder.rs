//! A folder of labelled pictures: one folder per class.

use std::path::{Path, PathBuf};

use brolga_runtime::{Error, ErrorKind, Field, Result, Shown, listed_in_quotes};

use super::images::{Images, image_dims, image_field};
use super::options::Options;
use super::parts::Own;
use super::picture::{load as load_picture, pictures_below};
use super::reading::{bad, entries, file_name, reserve};

/// Names of the folder that is held out while training; capitals are like small letters.
const VALIDATION: [&str; 5] = ["val", "valid", "validation", "dev", "eval"];

/// The pictures of one class, those in folders below included.
struct Class {
    name: String,
    files: Vec<PathBuf>,
}

/// Loads the classes in `folder`, or in `train`, one of [`VALIDATION`] and `test` below it, resized to the model's image;
/// nothing where no folder holds a picture. Classes are numbered as the options say, or in the order of their names.
pub(super) fn load(folder: &Path, fields: &[Field], options: &Options) -> Result<Option<Images>> {
    let below = entries(folder)?;
    let find = |names: &[&str]| {
        let named =
            |path: &&PathBuf| names.contains(&file_name(path).to_lowercase().as_str()) && path.is_dir();
        below.iter().find(named).cloned()
    };
    let (train, own) = match find(&["train"]) {
        Some(train) => (train, [find(&VALIDATION), find(&["test"])]),
        None => (folder.to_path_buf(), [None, None]),
    };
    let classes = classes(&train)?;
    if classes.iter().all(|class| class.files.is_empty()) {
        return Ok(None);
    }
    let field = image_field(fields)?
        .ok_or_else(|| bad("the model has no floating-point input to take the images"))?;
    let names: Vec<String> = match &options.classes[..] {
        [] => classes.iter().map(|class| class.name.clone()).collect(),
        given => given.to_vec(),
    };
    let mut images = Images { dims: image_dims(field, None)?, classes: names, ..Images::default() };
    let mut broken = Vec::new();
    for class in classes {
        if class.files.is_empty() {
            return Err(bad(format!("the class `{}` has no pictures", train.join(&class.name).shown())));
        }
        append(&mut images, &train, &class, &mut broken)?;
    }
    let mut counts = [None, None];
    for ((part, count), name) in own.iter().zip(&mut counts).zip(0..) {
        let Some(part) = part else { continue };
        let before = images.labels.len();
        for class in self::classes(part)? {
            append(&mut images, part, &class, &mut broken)?;
        }
        *count = Some(images.labels.len() - before);
        images.part_names[name] = file_name(part);
    }
    let [validation, test] = counts;
    images.own = Own { validation, test };
    all_read(broken)?;
    Ok(Some(images))
}

/// Pictures that an error names; more are counted.
const MOST_NAMED: usize = 20;

/// One error of all that there are.
fn all_read(broken: Vec<Error>) -> Result<()> {
    let count = broken.len();
    let mut broken = broken.into_iter();
    let Some(first) = broken.next() else { return Ok(()) };
    let mut lines = String::new();
    for error in broken.by_ref().take(MOST_NAMED - 1) {
        lines.push_str(&format!("\n{error}"));
    }
    if count > MOST_NAMED {
        lines.push_str(&format!("\n… and {} more", count - MOST_NAMED));
    }
    Err(if lines.is_empty() { first } else { Error::new(first.kind(), format!("{first}{lines}")) })
}

fn classes(folder: &Path) -> Result<Vec<Class>> {
    let folders = entries(folder)?.into_iter().filter(|path| path.is_dir());
    let class = |path: PathBuf| Ok(Class { name: file_name(&path), files: pictures_below(&path)? });
    folders.map(class).collect()
}

/// Adds the pictures of a class; those that cannot be read go to `broken`.
fn append(images: &mut Images, folder: &Path, class: &Class, broken: &mut Vec<Error>) -> Result<()> {
    let Some(number) = images.classes.iter().position(|known| *known == class.name) else {
        let place = folder.join(&class.name);
        let known = listed_in_quotes(&images.classes);
        return Err(bad(format!("`{}` is none of the classes {known}", place.shown())));
    };
    for file in &class.files {
        let planes = match load_picture(file, images.dims) {
            Ok(planes) => planes,
            Err(error) if error.kind() == ErrorKind::Memory => return Err(error),
            Err(error) => {
                broken.push(error);
                continue;
            }
        };
        reserve(&mut images.pixels, planes.len(), "images")?;
        images.pixels.extend(planes);
        images.labels.push(number as i32);
        images.names.push(file.display().to_string());
    }
    Ok(())
}
