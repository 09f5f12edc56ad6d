//! Which pixels a kernel reads.

use crate::conv2d::ConvOptions;

/// The pixels that the live elements of a convolution's kernel read for one pixel of its result, as pieces of
/// [`super::Rows::pieces`]: the same code computes all pixels of an image at once, or this pixel of many images.
///
/// ```
/// use poiesis_kernels::ConvOptions;
/// use poiesis_kernels::inference::{PackedLinear, Rows, Window};
///
/// // PixelCNN's mask B of 3×3: the five elements up to the centre, of images of 4×4 pixels of 2 channels.
/// let options = ConvOptions { live: Some(5), ..ConvOptions::new([1, 1], [1, 1]) };
/// let window = Window::new([4, 4, 2], [3, 3], &options);
/// // Of a weight [3, 3, 2, 6] the rows of the live elements come first.
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
    /// How far below and to the right of the corner the elements read; what lies above or to the left is negative.
    taps: Vec<[isize; 2]>,
}

impl Window {
    /// For images `[height, width, channels]` that follow one another and the `kernel` `[height, width]` of [`crate::conv2d`]
    /// with these options. Padding at the bottom and to the right makes no difference. Sounds and other sequences are images of height 1.
    ///
    /// # Panics
    ///
    /// When there are several groups, or the kernel has fewer elements than `options.live`.
    pub fn new(image: [usize; 3], kernel: [usize; 2], options: &ConvOptions) -> Self {
        let count = kernel[0] * kernel[1];
        let live = options.live.unwrap_or(count);
        assert!(options.groups == 1, "Window: {} groups, but windows are for one", options.groups);
        assert!(live <= count, "Window: {live} live elements do not fit a kernel of {kernel:?}");
        let [dilation, padding] = [options.dilation, options.padding.map(|[before, _]| before)];
        let tap = |i: usize| {
            let at = |axis: usize, i: usize| (i * dilation[axis]) as isize - padding[axis] as isize;
            [at(0, i / kernel[1]), at(1, i % kernel[1])]
        };
        Self { image, stride: options.stride, taps: (0..live).map(tap).collect() }
    }

    /// Where the pixels begin that the live elements read, row by row of the kernel, for the result's pixel `[y, x]` of image
    /// number `image`; `None` outside of the image.
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
