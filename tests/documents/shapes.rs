//! The pictures that the README trains on: filled circles, squares and triangles of any size, place and colour, with noise.
//! `photo.jpg` beside this file is the triangle of number 777, three times as large.

use std::fs;
use std::path::Path;

use crate::common::lcg::Lcg;

const CLASSES: [&str; 3] = ["circle", "square", "triangle"];
/// Pictures of a class.
const COUNT: u64 = 200;
/// Rows and columns of a picture.
const SIZE: i64 = 32;

fn below(random: &mut Lcg, n: i64) -> i64 {
    ((random.bits() >> 33) % n as u64) as i64
}

/// The red, green and blue of all places.
fn picture(class: usize, number: u64) -> Vec<u8> {
    let random = &mut Lcg::new(class as u64 * 1000 + number);
    let radius = 5 + below(random, 7);
    let [left, top] = [(); 2].map(|()| radius + below(random, SIZE - 2 * radius));
    let paint = [(); 3].map(|()| 110 + below(random, 146));
    let ground = [(); 3].map(|()| below(random, 120));
    let mut pixels = Vec::new();
    for at in 0..SIZE * SIZE {
        let (x, y) = (at % SIZE - left, at / SIZE - top);
        let inside = match class {
            0 => x * x + y * y <= radius * radius,
            1 => 8 * x.abs().max(y.abs()) <= 7 * radius,
            _ => y.abs() <= radius && 2 * x.abs() <= y + radius,
        };
        let noise = below(random, 60);
        let colour = if inside { paint } else { ground };
        pixels.extend(colour.map(|value| (value + noise).min(255) as u8));
    }
    pixels
}

/// Writes `shapes`, a folder of pictures for each class, and `photo.jpg`.
pub fn draw(folder: &Path) {
    for (class, name) in CLASSES.iter().enumerate() {
        let within = folder.join("shapes").join(name);
        fs::create_dir_all(&within).expect("a folder");
        for number in 0..COUNT {
            let file = fs::File::create(within.join(format!("{number}.png"))).expect("a file");
            let mut encoder = png::Encoder::new(file, SIZE as u32, SIZE as u32);
            encoder.set_color(png::ColorType::Rgb);
            let mut writer = encoder.write_header().expect("a picture");
            writer.write_image_data(&picture(class, number)).expect("a picture");
        }
    }
    fs::write(folder.join("photo.jpg"), include_bytes!("photo.jpg")).expect("a file");
}
