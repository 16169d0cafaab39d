//! Single pictures, JPEG beside PNG.

use super::*;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn read(name: &str, dims: &[usize]) -> Vec<f32> {
    let tensor = picture(&data(name), &field("image", DType::F32, dims)).unwrap();
    tensor.as_slice::<f32>().unwrap().to_vec()
}

/// The same picture as PNG and as JPEG of several kinds, by `tests/data/make.py`.
#[test]
fn baseline_progressive_and_grey_are_read() {
    let exact = read("scene.png", &[3, 24, 40]);
    for name in ["baseline.jpg", "progressive.jpg"] {
        let found = read(name, &[3, 24, 40]);
        let worst = exact.iter().zip(&found).map(|(e, f)| (e - f).abs()).fold(0.0, f32::max);
        assert!(worst < 0.08, "{name}: {worst}");
    }
    let grey = read("grey.jpg", &[1, 24, 40]);
    let exact = read("scene.png", &[1, 24, 40]);
    let worst = exact.iter().zip(&grey).map(|(e, f)| (e - f).abs()).fold(0.0, f32::max);
    assert!(worst < 0.05, "{worst}");
    // Grey fills all channels, and other sizes are resized to.
    let three = read("grey.jpg", &[3, 24, 40]);
    assert_eq!(three[..960], three[960..1920]);
    assert_eq!(read("baseline.jpg", &[3, 12, 12]).len(), 432);
}

#[test]
fn broken_pictures_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let image = field("image", DType::F32, &[3, 8, 8]);
    let refused = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        picture(&path, &image).err().unwrap_or_else(|| panic!("{name} was read"))
    };
    for name in ["baseline.jpg", "progressive.jpg", "grey.jpg", "scene.png"] {
        let whole = fs::read(data(name)).unwrap();
        for length in [0, 3, 20, 100, whole.len() / 3, whole.len() * 2 / 3] {
            says(&refused(name, &whole[..length]), ErrorKind::Format, &[name]);
        }
    }
    // A frame of 65535 x 65535 pixels.
    let mut huge = fs::read(data("baseline.jpg")).unwrap();
    let at = huge.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    huge[at + 5..at + 9].fill(0xff);
    says(&refused("huge.jpg", &huge), ErrorKind::Format, &["huge.jpg"]);
    says(&refused("text.png", b"hello"), ErrorKind::Format, &["neither a PNG image nor a JPEG image"]);
    says(&refused("empty.jpg", b""), ErrorKind::Format, &["the file is empty"]);
    fs::remove_file(folder.path().join("empty.jpg")).unwrap();
    // A wrong checksum of every chunk, and wrong bytes: told in words, not in the terms of a program.
    let whole = fs::read(data("scene.png")).unwrap();
    let mut at = 8;
    while at + 12 <= whole.len() {
        let length = u32::from_be_bytes(whole[at..at + 4].try_into().unwrap()) as usize;
        let name = String::from_utf8(whole[at + 4..at + 8].to_vec()).unwrap();
        let mut wrong = whole.clone();
        wrong[at + 8 + length] ^= 1;
        fs::write(folder.path().join("scene.png"), &wrong).unwrap();
        if let Err(error) = picture(&folder.path().join("scene.png"), &image) {
            let text = error.to_string();
            assert!(!text.contains(['{', '"']), "{text}");
            assert!(name != "IDAT" || text.contains("while decoding IDAT chunk"), "{text}");
        } else {
            assert!(name != "IHDR" && name != "IDAT", "{name}");
        }
        at += 12 + length;
    }
    let labels = field("label", DType::I32, &[]);
    assert!(picture(&data("scene.png"), &labels).is_err());
    assert_eq!(pictures(&data("scene.png")).unwrap().len(), 1);
    assert_eq!(pictures(&data("")).unwrap().len(), 4, "those in a folder");
    assert!(pictures(folder.path()).unwrap().len() == 6);
}
