//! The pixels that a kernel reads.

use crate::conv2d::ConvOptions;

/// The pixels that the active taps of a convolution read for one pixel of its result, as pieces of
/// [`super::Rows::pieces`]: the same code computes all pixels of an image at once, or one pixel of many images.
///
/// ```
/// use poiesis_kernels::ConvOptions;
/// use poiesis_kernels::inference::{PackedLinear, Rows, Window};
///
/// // PixelCNN's mask B of 3×3: the five taps up to the centre, for images of 4×4 pixels with 2 channels.
/// let options = ConvOptions { active_taps: Some(5), ..ConvOptions::new([1, 1], [1, 1]) };
/// let window = Window::new([4, 4, 2], [3, 3], &options);
/// // The rows of the active taps come first in a weight [3, 3, 2, 6].
/// let weight = [0.5; 3 * 3 * 2 * 6];
/// let layer = PackedLinear::new(&weight[..5 * 2 * 6], None, 5 * 2, 6);
/// let images = [1.0; 3 * 4 * 4 * 2];
/// let starts: Vec<_> = (0..3).flat_map(|image| window.starts(image, [0, 3])).collect();
/// let mut y = [0.0; 3 * 6];
/// layer.forward(Rows::pieces(&images, 2, &starts), &mut y);
/// // In the first line nothing is above: the pixel and its left neighbour remain.
/// assert_eq!(y, [2.0; 3 * 6]);
/// ```
#[derive(Clone, Debug)]
pub struct Window {
    image: [usize; 3],
    stride: [usize; 2],
    /// Offsets of the taps from the corner, down and to the right; negative above and to the left.
    taps: Vec<[isize; 2]>,
}

impl Window {
    /// For consecutive images `[height, width, channels]` and the `kernel` `[height, width]` of [`crate::conv2d`] with these
    /// options. Padding at the bottom and on the right is ignored. Sounds and other sequences are images of height 1.
    ///
    /// # Panics
    ///
    /// When there are several groups, or the kernel has fewer taps than `options.active_taps`.
    pub fn new(image: [usize; 3], kernel: [usize; 2], options: &ConvOptions) -> Self {
        let count = kernel[0] * kernel[1];
        let active_taps = options.active_taps.unwrap_or(count);
        assert!(options.groups == 1, "Window: {} groups are not supported", options.groups);
        assert!(active_taps <= count, "Window: {active_taps} active taps do not fit a kernel of {kernel:?}");
        let [dilation, padding] = [options.dilation, options.padding.map(|[before, _]| before)];
        let tap = |i: usize| {
            let at = |axis: usize, i: usize| (i * dilation[axis]) as isize - padding[axis] as isize;
            [at(0, i / kernel[1]), at(1, i % kernel[1])]
        };
        Self { image, stride: options.stride, taps: (0..active_taps).map(tap).collect() }
    }

    /// The offsets of the pixels that the active taps read, row by row of the kernel, for pixel `[y, x]` of the result of image
    /// `image`; `None` outside of the image.
    pub fn starts(&self, image: usize, [y, x]: [usize; 2]) -> impl Iterator<Item = Option<usize>> {
        let [height, width, channels] = self.image;
        let corner = [y * self.stride[0], x * self.stride[1]];
        self.taps.iter().map(move |[down, right]| {
            let y = corner[0].checked_add_signed(*down).filter(|&y| y < height)?;
            let x = corner[1].checked_add_signed(*right).filter(|&x| x < width)?;
            Some(((image * height + y) * width + x) * channels)
        })
    }
}
