//! The embedded optical digits of UCI (`models/data/README.md`).

use std::path::Path;

use brolga_runtime::Result;

use super::idx::{parse_images, parse_labels};
use super::images::Images;
use super::parts::Own;

const IMAGES: &[u8] = include_bytes!("../../data/digits-images-idx3-ubyte.gz");
const LABELS: &[u8] = include_bytes!("../../data/digits-labels-idx1-ubyte.gz");

/// All 1,797 samples; the last 360 are held out.
pub(super) fn load() -> Result<Images> {
    let file = Path::new("the embedded digits");
    let (dims, pixels) = parse_images(IMAGES, file)?;
    let labels = parse_labels(LABELS, file)?;
    let classes = (0..10).map(|digit| digit.to_string()).collect();
    Ok(Images {
        dims,
        white: 16,
        pixels,
        labels,
        own: Own { test: Some(360), ..Own::default() },
        classes,
        ..Images::default()
    })
}
