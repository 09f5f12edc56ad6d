//! The sizes of a convolution.

use super::gather::Gather;

/// The sizes of a convolution between a large and a small image.
#[derive(Clone, Debug)]
pub struct Geometry {
    /// Number of images.
    pub batch: usize,
    /// Height and width of the large image.
    pub large: [usize; 2],
    /// Channels of the large image.
    pub channels: usize,
    /// Height and width of the small image.
    pub small: [usize; 2],
    /// Channels of the small image.
    pub out: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Distance of the kernel's places, down and to the right.
    pub stride: [usize; 2],
    /// Zeros above and left of the large image.
    pub padding: [usize; 2],
    /// Distance of the elements of the kernel, down and to the right.
    pub dilation: [usize; 2],
    /// Number of groups of channels.
    pub groups: usize,
    /// How many elements of the kernel, counted row by row, take part; the others count as zero.
    pub active_taps: usize,
    /// Weights are `[kernel, out, channels / groups]`, as a transposed convolution has them, instead of
    /// `[kernel, channels / groups, out]`.
    pub transposed: bool,
}

impl Geometry {
    pub(crate) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Channels of the large image in a group.
    pub(super) fn group_channels(&self) -> usize {
        self.channels / self.groups
    }

    /// Channels of the small image in a group.
    pub(super) fn group_out(&self) -> usize {
        self.out / self.groups
    }

    /// Number of weights.
    pub fn weights(&self) -> usize {
        self.taps() * self.group_channels() * self.out
    }

    /// Values of the large image.
    pub fn large_len(&self) -> usize {
        self.batch * self.large[0] * self.large[1] * self.channels
    }

    pub(crate) fn small_pixels(&self) -> usize {
        self.batch * self.small[0] * self.small[1]
    }

    /// Values of the small image.
    pub fn small_len(&self) -> usize {
        self.small_pixels() * self.out
    }

    /// Whether the first small pixel reads each pixel of the large image once, in the order of the taps.
    pub(super) fn sees_all_once(&self) -> bool {
        self.large == self.kernel
            && self.padding == [0, 0]
            && self.dilation == [1, 1]
            && self.active_taps == self.taps()
    }

    /// Distances in the weights between neighbouring channels of the large image, of the small image, and between
    /// neighbouring groups.
    pub(super) fn weight_strides(&self) -> (usize, usize, usize) {
        let (channels, out) = (self.group_channels(), self.group_out());
        if self.transposed { (1, channels, out * channels) } else { (self.out, 1, out) }
    }

    /// The pixels of the large image that each pixel of the small one reads.
    pub(super) fn gather(&self) -> Gather {
        let taps = (0..self.active_taps).map(|tap| {
            let offset =
                |axis: usize, tap: usize| (tap * self.dilation[axis]) as isize - self.padding[axis] as isize;
            (tap, [offset(0, tap / self.kernel[1]), offset(1, tap % self.kernel[1])])
        });
        Gather::new(self.large, self.channels, self.small, self.stride, taps.collect())
    }
}
