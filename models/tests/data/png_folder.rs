//! Folders of pictures by class.

use super::*;

fn image(path: &Path, size: (u32, u32), colour: png::ColorType, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut encoder = png::Encoder::new(fs::File::create(path).unwrap(), size.0, size.1);
    encoder.set_color(colour);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header().unwrap().write_image_data(bytes).unwrap();
}

#[test]
fn classes_are_folders() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    image(&at("train/cat/1.png"), (2, 1), png::ColorType::Grayscale, &[0, 255]);
    image(&at("train/cat/2.PNG"), (1, 1), png::ColorType::Rgb, &[255, 0, 51]);
    image(&at("train/ant/1.png"), (1, 1), png::ColorType::Rgba, &[255, 0, 0, 0]);
    image(&at("train/ant/2.png"), (1, 1), png::ColorType::GrayscaleAlpha, &[51, 255]);
    image(&at("val/cat/1.png"), (4, 4), png::ColorType::Grayscale, &[102; 16]);
    fs::write(at("train/cat/notes.txt"), "not an image").unwrap();
    fs::create_dir(at("train/.hidden")).unwrap();

    let mut data = open(folder.path(), &image_and_label(&[3, 1, 2]), &RAW).unwrap();
    assert_eq!(lengths(&*data), (4, 1));
    assert_eq!(classes(&mut *data, Split::Train, &[0, 1, 2, 3]), [0, 0, 1, 1]);
    assert_eq!(floats(&mut *data, Split::Train, &[0]), [1.0; 6], "transparent is white");
    assert_eq!(floats(&mut *data, Split::Train, &[1]), [0.2; 6]);
    assert_eq!(floats(&mut *data, Split::Train, &[2]), [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
    assert_eq!(floats(&mut *data, Split::Train, &[3]), [1.0, 1.0, 0.0, 0.0, 0.2, 0.2]);
    assert_eq!(floats(&mut *data, Split::Validation, &[0]), [0.4; 6]);
    assert_eq!(classes(&mut *data, Split::Validation, &[0]), [1]);

    // 0.299 * 255 + 0.114 * 51 = 82.06
    let mut gray = open(folder.path(), &image_and_label(&[1]), &RAW).unwrap();
    assert_eq!(floats(&mut *gray, Split::Train, &[3]), [82.0 / 255.0]);

    let mut below = open(&at("train"), &image_and_label(&[1, 1, 1]), &RAW).unwrap();
    assert_eq!(lengths(&*below), (4, 0));
    assert_eq!(classes(&mut *below, Split::Train, &[0, 3]), [0, 1]);
}

#[test]
fn broken_folders_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let refused = || refused(folder.path(), &image_and_label(&[1, 2, 2]));
    says(&refused(), ErrorKind::Format, &["neither IDX files"]);
    fs::create_dir_all(at("train/b")).unwrap();
    says(&refused(), ErrorKind::Format, &["neither IDX files"]);
    image(&at("train/a/1.png"), (1, 1), png::ColorType::Grayscale, &[0]);
    says(&refused(), ErrorKind::Data, &["b` has no pictures"]);
    image(&at("train/b/1.png"), (1, 1), png::ColorType::Grayscale, &[0]);
    image(&at("test/c/1.png"), (1, 1), png::ColorType::Grayscale, &[0]);
    says(&refused(), ErrorKind::Data, &["none of the classes [\"a\", \"b\"]"]);
    fs::remove_dir_all(at("test")).unwrap();
    fs::write(at("train/b/2.jpeg"), "").unwrap();
    says(&refused(), ErrorKind::Format, &["2.jpeg", "the file is empty"]);
    fs::remove_file(at("train/b/2.jpeg")).unwrap();

    let whole = fs::read(at("train/b/1.png")).unwrap();
    let mut huge = whole.clone();
    huge[16..24].copy_from_slice(&[0x3f, 0xff, 0xff, 0xff, 0x3f, 0xff, 0xff, 0xff]);
    let checksum = crc(&huge[12..29]);
    huge[29..33].copy_from_slice(&checksum.to_be_bytes());
    fs::write(at("train/b/1.png"), &huge).unwrap();
    says(&refused(), ErrorKind::Format, &["1.png", "1073741823 x 1073741823"]);
    for length in [0, 8, 20, 40, whole.len() / 2] {
        fs::write(at("train/b/1.png"), &whole[..length]).unwrap();
        let error = refused();
        let what = if length == 0 { "the file is empty" } else { "not a PNG image" };
        says(&error, ErrorKind::Format, &["1.png", what]);
    }
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// Each of these links alone would be followed until the system refuses, and both together twice at each step.
#[cfg(unix)]
#[test]
fn links_that_lead_back_are_followed_once() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    image(&at("cat/1.png"), (1, 1), png::ColorType::Grayscale, &[0]);
    for link in ["cat/one", "cat/two"] {
        std::os::unix::fs::symlink("..", at(link)).unwrap();
    }
    assert_eq!(brolga_models::data::pictures(folder.path()).unwrap(), [at("cat/1.png")]);
}
