//! Resizing of images.

/// A separable linear map from one image size to another: bilinear interpolation with pixel centres at half
/// positions, edges clamped; where it shrinks, the triangle is as wide as the scale, so that every source pixel
/// counts (PyTorch's `interpolate(mode="bilinear", antialias=True)`).
#[derive(Debug)]
pub(super) struct Resampler {
    rows: Vec<Taps>,
    columns: Vec<Taps>,
}

/// One output position: weights, which sum to 1, of consecutive source positions.
#[derive(Debug)]
struct Taps {
    first: usize,
    weights: Vec<f32>,
}

impl Resampler {
    /// From `source` to `target`, both (height, width), none of them 0.
    pub(super) fn new(source: (usize, usize), target: (usize, usize)) -> Resampler {
        Resampler { rows: taps(source.0, target.0), columns: taps(source.1, target.1) }
    }

    /// Resizes one plane into `target`, both row-major. `between` is memory for the rows at their new width.
    pub(super) fn plane(&self, source: &[u8], between: &mut Vec<f32>, target: &mut [f32]) {
        let width = self.columns.len();
        let source_width = self.columns.last().map_or(0, |taps| taps.first + taps.weights.len());
        between.clear();
        for line in source.chunks_exact(source_width) {
            between.extend(self.columns.iter().map(|taps| {
                let pixels = line[taps.first..].iter().map(|&p| f32::from(p));
                pixels.zip(&taps.weights).map(|(p, w)| p * w).sum::<f32>()
            }));
        }
        for (row, taps) in target.chunks_exact_mut(width).zip(&self.rows) {
            row.fill(0.0);
            for (line, weight) in between[taps.first * width..].chunks_exact(width).zip(&taps.weights) {
                row.iter_mut().zip(line).for_each(|(r, l)| *r += weight * l);
            }
        }
    }
}

fn taps(source: usize, target: usize) -> Vec<Taps> {
    if source == target {
        return (0..target).map(|first| Taps { first, weights: vec![1.0] }).collect();
    }
    let scale = source as f64 / target as f64;
    let radius = scale.max(1.0);
    let position = |i: usize| {
        let centre = (i as f64 + 0.5) * scale - 0.5;
        let first = (centre - radius).floor().max(0.0) as usize;
        let last = ((centre + radius).ceil() as usize).min(source - 1);
        let mut weights: Vec<f64> =
            (first..=last).map(|s| (1.0 - (s as f64 - centre).abs() / radius).max(0.0)).collect();
        let sum: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|w| *w /= sum);
        Taps { first, weights: weights.into_iter().map(|w| w as f32).collect() }
    };
    (0..target).map(position).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resize(source: &[u8], from: (usize, usize), to: (usize, usize)) -> Vec<f32> {
        let mut target = vec![f32::NAN; to.0 * to.1];
        Resampler::new(from, to).plane(source, &mut Vec::new(), &mut target);
        target
    }

    fn assert_close(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        for (f, e) in found.iter().zip(expected) {
            assert!((f - e).abs() < 1e-4, "{found:?} instead of {expected:?}");
        }
    }

    #[test]
    fn the_same_size_keeps_every_pixel() {
        assert_eq!(resize(&[1, 2, 3, 4, 5, 6], (2, 3), (2, 3)), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    }

    /// Against PyTorch's `interpolate(mode="bilinear", antialias=True)`.
    #[test]
    fn other_sizes_interpolate() {
        let source = [10, 20, 0, 40, 80, 200];
        let wider = [10, 14, 20, 8, 0, 25, 35, 50, 80, 100, 40, 56, 80, 152, 200].map(|v| v as f32);
        assert_close(&resize(&source, (2, 3), (3, 5)), &wider);
        assert_close(&resize(&source, (2, 3), (1, 2)), &[34.375, 81.25]);
        let taller = [10.0, 20.0, 0.0, 17.5, 35.0, 50.0, 32.5, 65.0, 150.0, 40.0, 80.0, 200.0];
        assert_close(&resize(&source, (2, 3), (4, 3)), &taller);
        assert_close(&resize(&[9], (1, 1), (2, 2)), &[9.0; 4]);
    }
}
