//! Enlarges pictures, such as those of 28×28 pixels.

use super::Picture;

/// Returns the integer factor by which images of this size should be enlarged for viewing: the smallest that makes the
/// shorter side 64 pixels or more, and at most 8.
pub fn viewing_factor(height: usize, width: usize) -> usize {
    const COMFORTABLE: usize = 64;
    COMFORTABLE.div_ceil(height.min(width).max(1)).clamp(1, 8)
}

impl Picture {
    /// Returns the picture with every pixel repeated `factor` times along both sides.
    ///
    /// # Panics
    /// When `factor` is 0.
    pub fn enlarged(&self, factor: usize) -> Self {
        assert!(factor > 0, "a picture cannot be enlarged 0 times");
        let mut data = Vec::with_capacity(self.data.len() * factor * factor);
        for row in self.data.chunks_exact(self.width * self.channels) {
            let start = data.len();
            for pixel in row.chunks_exact(self.channels) {
                for _ in 0..factor {
                    data.extend_from_slice(pixel);
                }
            }
            let end = data.len();
            for _ in 1..factor {
                data.extend_from_within(start..end);
            }
        }
        Self::new(self.width * factor, self.height * factor, self.channels, data)
    }

    /// Returns the picture at another size by bilinear interpolation between pixel centres, for smooth enlarging. It does not
    /// average, so it is not suited for making pictures much smaller.
    ///
    /// # Panics
    /// When a side is 0.
    pub fn resized(&self, width: usize, height: usize) -> Self {
        let columns: Vec<Tap> = (0..width).map(|x| Tap::at(x, width, self.width)).collect();
        let mut data = Vec::with_capacity(width * height * self.channels);
        for y in 0..height {
            let row = Tap::at(y, height, self.height);
            for column in &columns {
                for channel in 0..self.channels {
                    let value = |x, y| f32::from(self.data[(y * self.width + x) * self.channels + channel]);
                    let top = column.mix(value(column.low, row.low), value(column.high, row.low));
                    let bottom = column.mix(value(column.low, row.high), value(column.high, row.high));
                    data.push(row.mix(top, bottom).round() as u8);
                }
            }
        }
        Self::new(width, height, self.channels, data)
    }
}

/// The two source pixels along one side around the centre of a target pixel, and the weight of the second.
struct Tap {
    low: usize,
    high: usize,
    weight: f32,
}

impl Tap {
    fn at(target: usize, target_size: usize, source_size: usize) -> Self {
        let center = (target as f32 + 0.5) * source_size as f32 / target_size as f32 - 0.5;
        let center = center.clamp(0.0, (source_size - 1) as f32);
        let low = center as usize;
        Self { low, high: (low + 1).min(source_size - 1), weight: center - low as f32 }
    }

    fn mix(&self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.weight
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enlarging_repeats_pixels() {
        let picture = Picture::new(2, 1, 3, vec![1, 2, 3, 4, 5, 6]);
        let large = picture.enlarged(2);
        assert_eq!((large.width(), large.height()), (4, 2));
        assert_eq!(large.data(), [1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6].repeat(2));
        assert_eq!(picture.enlarged(1), picture);
    }

    #[test]
    fn bilinear_runs_evenly_from_centre_to_centre() {
        let picture = Picture::new(2, 1, 1, vec![0, 100]);
        assert_eq!(picture.resized(4, 2).data(), [0, 25, 75, 100, 0, 25, 75, 100]);
        assert_eq!(picture.resized(2, 1), picture);
        assert_eq!(Picture::filled(3, 5, &[9, 8, 7, 6]).resized(7, 4), Picture::filled(7, 4, &[9, 8, 7, 6]));
    }

    #[test]
    fn small_images_are_enlarged_to_a_comfortable_size() {
        assert_eq!(
            [1, 8, 28, 32, 33, 64, 256].map(|size| viewing_factor(size, 2 * size)),
            [8, 8, 3, 2, 2, 1, 1]
        );
    }
}
