//! Pictures to look at: grids of images, sound as waveform and spectrogram, environments, maps, charts of lines, PNG files with their
//! parameters, animations. No tensors.
//!
//! A pixel has one byte per channel, gamma-encoded as in files; 0 is dark.

pub mod animation;
mod axes;
mod chart;
mod grid;
mod heat_map;
mod mask;
mod png;
mod resize;
mod scatter;
mod scene;
mod spectrogram;
mod text;

pub use animation::Timing;
pub use axes::with_axes;
pub use chart::{Line, line_chart};
pub use grid::{BACKGROUND, PADDING, columns, grid, grid_by_class, rows};
pub use heat_map::{HeatAxis, HeatPanel, heat_map};
pub use mask::{Mask, occluded};
pub use resize::viewing_factor;
pub use scatter::{Panel, Thumbnails, scatter};
pub use scene::{scene, scene_size};
pub use spectrogram::{heat, waveform_and_spectrogram};

/// A picture in memory: rows of pixels from the top, channels innermost.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    channels: usize,
    data: Vec<u8>,
}

impl Picture {
    /// Returns a picture with these pixels: `[height, width, channels]`, row-major; 1 channel is grey, 3 are RGB, 4 are
    /// RGBA with straight alpha.
    ///
    /// # Panics
    /// When a side is 0, the number of channels is not 1, 3 or 4, or the number of bytes is not their product.
    pub fn new(width: usize, height: usize, channels: usize, data: Vec<u8>) -> Self {
        assert!(width > 0 && height > 0, "a picture cannot be {width}×{height}");
        assert!(matches!(channels, 1 | 3 | 4), "a picture cannot have {channels} channels");
        assert!(
            data.len() == width * height * channels,
            "a picture of [{height}, {width}, {channels}] cannot have {} bytes",
            data.len()
        );
        Self { width, height, channels, data }
    }

    /// Returns a picture of one colour.
    ///
    /// # Panics
    /// When a side is 0 or `color` does not have 1, 3 or 4 channels.
    pub fn filled(width: usize, height: usize, color: &[u8]) -> Self {
        Self::new(width, height, color.len(), color.repeat(width * height))
    }

    /// Pixels in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Bytes in a pixel: 1, 3 or 4.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The pixels: `[height, width, channels]`, row-major.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The channels of the pixel at column `x` and row `y`.
    ///
    /// # Panics
    /// When it lies outside.
    pub fn pixel(&self, x: usize, y: usize) -> &[u8] {
        assert!(x < self.width && y < self.height, "({x}, {y}) lies outside {}×{}", self.width, self.height);
        let start = (y * self.width + x) * self.channels;
        &self.data[start..start + self.channels]
    }

    /// Copies an image of as many channels into the picture, its top left corner at column `x` and row `y`.
    ///
    /// # Panics
    /// When it does not fit, or the number of bytes is not the product of the sides and channels.
    pub fn paste(&mut self, image: &[u8], width: usize, height: usize, x: usize, y: usize) {
        let channels = self.channels;
        assert!(
            image.len() == width * height * channels,
            "an image of [{height}, {width}, {channels}] cannot have {} bytes",
            image.len()
        );
        assert!(
            x + width <= self.width && y + height <= self.height,
            "an image of {width}×{height} at ({x}, {y}) does not fit into {}×{}",
            self.width,
            self.height
        );
        for (row, pixels) in image.chunks_exact(width * channels).enumerate() {
            let start = ((y + row) * self.width + x) * channels;
            self.data[start..start + pixels.len()].copy_from_slice(pixels);
        }
    }

    /// Returns the picture in the middle of one of this height and width; around it is [`BACKGROUND`], transparent in pictures with
    /// alpha.
    ///
    /// # Panics
    /// When it is larger.
    pub fn in_middle_of(&self, height: usize, width: usize) -> Self {
        assert!(
            self.height <= height && self.width <= width,
            "{}×{} is larger than {width}×{height}",
            self.width,
            self.height
        );
        let around: &[u8] = match self.channels {
            4 => &[0; 4],
            channels => &[BACKGROUND; 3][..channels],
        };
        let mut picture = Self::filled(width, height, around);
        let (x, y) = ((width - self.width) / 2, (height - self.height) / 2);
        picture.paste(&self.data, self.width, self.height, x, y);
        picture
    }

    /// Returns the picture with 3 channels; transparent parts show `background` (0 to 255, as the channels).
    pub fn to_rgb(&self, background: [u8; 3]) -> Self {
        let data = match self.channels {
            1 => self.data.iter().flat_map(|&grey| [grey; 3]).collect(),
            3 => self.data.clone(),
            _ => self.data.chunks_exact(4).flat_map(|pixel| over(pixel, background)).collect(),
        };
        Self::new(self.width, self.height, 3, data)
    }
}

/// Composites a pixel with alpha over an opaque one.
fn over(pixel: &[u8], background: [u8; 3]) -> [u8; 3] {
    let alpha = u32::from(pixel[3]);
    std::array::from_fn(|i| {
        let mixed = u32::from(pixel[i]) * alpha + u32::from(background[i]) * (255 - alpha);
        ((mixed + 127) / 255) as u8
    })
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture[{}, {}, {}]", self.height, self.width, self.channels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smaller_picture_is_put_in_the_middle_of_a_larger_one() {
        let larger = Picture::filled(2, 1, &[200, 100, 0]).in_middle_of(3, 4);
        assert_eq!((larger.width(), larger.height()), (4, 3));
        let inside = |x: usize, y: usize| (1..3).contains(&x) && y == 1;
        for (x, y) in (0..3).flat_map(|y| (0..4).map(move |x| (x, y))) {
            let expected = if inside(x, y) { [200, 100, 0] } else { [BACKGROUND; 3] };
            assert_eq!(larger.pixel(x, y), expected, "({x}, {y})");
        }
        let same = Picture::filled(2, 1, &[9]);
        assert_eq!(same.in_middle_of(1, 2), same);
        assert_eq!(Picture::filled(1, 1, &[7; 4]).in_middle_of(1, 2).pixel(1, 0), [0; 4]);
    }

    #[test]
    fn alpha_shows_the_background() {
        let picture = Picture::new(3, 1, 4, vec![200, 100, 0, 255, 9, 9, 9, 0, 255, 0, 101, 128]);
        assert_eq!(picture.to_rgb([0, 255, 100]).data(), [200, 100, 0, 0, 255, 100, 128, 127, 101]);
        assert_eq!(Picture::filled(1, 1, &[7]).to_rgb([0; 3]).data(), [7, 7, 7]);
    }

    #[test]
    #[should_panic(expected = "does not fit into 4×4")]
    fn pasting_outside_is_a_bug() {
        Picture::filled(4, 4, &[0]).paste(&[1; 6], 3, 2, 2, 1);
    }
}
