//! A folder of labelled pictures: one folder per class.

use std::path::{Path, PathBuf};

use brolga_runtime::{Field, Result};

use super::images::{Images, image_dims, image_field};
use super::picture::{is_picture, load as load_picture};
use super::{Options, bad, entries, file_name, reserve};

/// Names of the folder that is held out; the first that exists is taken.
const HELD_OUT: [&str; 4] = ["val", "valid", "validation", "test"];

/// The pictures of one class.
struct Class {
    name: String,
    files: Vec<PathBuf>,
}

/// Loads the classes in `folder`, or in `train` and one of [`HELD_OUT`] below it, resized to the model's image;
/// nothing where no folder holds a picture. Classes are numbered as the options say, or in the order of their names.
pub(super) fn load(folder: &Path, fields: &[Field], options: &Options) -> Result<Option<Images>> {
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
    let names: Vec<String> = match &options.classes[..] {
        [] => classes.iter().map(|class| class.name.clone()).collect(),
        given => given.to_vec(),
    };
    let mut images = Images { dims: image_dims(field, None)?, classes: names, ..Images::default() };
    for class in classes {
        if class.files.is_empty() {
            return Err(bad(format!("the class `{}` has no pictures", train.join(&class.name).display())));
        }
        append(&mut images, &train, &class)?;
    }
    if let Some(test) = test {
        let before = images.labels.len();
        for class in self::classes(&test)? {
            append(&mut images, &test, &class)?;
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
            if is_picture(&file)? {
                files.push(file);
            }
        }
        Ok(Class { name: file_name(&path), files })
    };
    folders.map(class).collect()
}

fn append(images: &mut Images, folder: &Path, class: &Class) -> Result<()> {
    let Some(number) = images.classes.iter().position(|known| *known == class.name) else {
        let place = folder.join(&class.name);
        let known = &images.classes;
        return Err(bad(format!("`{}` is none of the classes {known:?}", place.display())));
    };
    for file in &class.files {
        let planes = load_picture(file, images.dims)?;
        reserve(&mut images.pixels, planes.len(), "images")?;
        images.pixels.extend(planes);
        images.labels.push(number as i32);
        images.names.push(file.display().to_string());
    }
    Ok(())
}
