//! What the axes of an array of images are.

/// How images lie in an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) count: usize,
    pub(crate) height: u32,
    pub(crate) width: u32,
    pub(crate) channels: u8,
    /// Whether each channel of an image comes as a whole before the next.
    pub(crate) planar: bool,
    /// What to say where it could have been meant otherwise.
    pub(crate) note: Option<String>,
}

impl Layout {
    /// By the shape of the array, and by what the user says of one image: height, width and channels. The error is a reason.
    pub(crate) fn of(shape: &[usize], wanted: Option<(u32, u32, u8)>) -> Result<Layout, String> {
        let (count, height, width, channels, planar) = match (shape, wanted) {
            (_, Some(wanted)) => in_parts(shape, wanted)?,
            (&[height, width, channels @ (1 | 3 | 4)], None) if height > 4 && width > 4 => {
                (1, height, width, channels, false)
            }
            (&[count, height, width], None) => (count, height, width, 1, false),
            (&[count, height, width, channels @ 1..=4], None) => (count, height, width, channels, false),
            (&[count, channels @ (1 | 3 | 4), height, width], None) => (count, height, width, channels, true),
            (&[_, _, _, channels], None) => {
                return Err(format!(
                    "its shape {shape:?} has {channels} channels; 1 to 4 can be read, as the last axis, or 1, 3 or 4 as the second"
                ));
            }
            (&[height, width], None) if height == width => (1, height, width, 1, false),
            (&[count, values], None) if is_square(values) => {
                (count, values.isqrt(), values.isqrt(), 1, false)
            }
            (&[_, values], None) => {
                return Err(format!("its rows of {values} values are no square images, or it is one image"));
            }
            _ => {
                return Err(format!(
                    "its shape {shape:?} is not [n, height, width], [n, height, width, channels], \
                     [n, channels, height, width] or [n, height x width]"
                ));
            }
        };
        let allowed = 1..=65_535;
        if count == 0 || !allowed.contains(&height) || !allowed.contains(&width) {
            return Err(format!("its shape {shape:?} holds no images of a usable size"));
        }
        let (height, width, channels) = (height as u32, width as u32, channels as u8);
        let layout = Layout { count, height, width, channels, planar, note: None };
        let note = if wanted.is_none() { layout.note_for(shape) } else { None };
        Ok(Layout { note, ..layout })
    }

    /// Numbers in one image.
    pub(crate) fn values(&self) -> u64 {
        u64::from(self.height) * u64::from(self.width) * u64::from(self.channels)
    }

    /// The values of an image with channels last.
    pub(crate) fn channels_last(&self, bytes: Vec<u8>) -> Vec<u8> {
        let (pixels, channels) = (self.height as usize * self.width as usize, usize::from(self.channels));
        if !self.planar || channels == 1 {
            return bytes;
        }
        (0..pixels * channels).map(|i| bytes[i % channels * pixels + i / channels]).collect()
    }

    /// Shapes that could be read otherwise are said.
    fn note_for(&self, shape: &[usize]) -> Option<String> {
        let Layout { count, height, width, channels, planar, .. } = *self;
        let read_as = match shape {
            [_, _] | [_, _, 1 | 3 | 4] if count == 1 => {
                format!("one image of {width}x{height} pixels with {channels} channels")
            }
            [_, _] => format!("{count} grey images of {width}x{height} pixels, a row each"),
            [3 | 4, _, _] => format!("{count} grey images of {width}x{height} pixels"),
            [_, _, _, _] if planar => {
                format!("{count} images of {width}x{height} pixels with the channels before the pixels")
            }
            _ => return None,
        };
        Some(format!("the array of shape {shape:?} was read as {read_as}; give `shape` if it is otherwise"))
    }
}

/// The images of a given size in an array of any shape: how many, their size, and whether channels come first.
fn in_parts(
    shape: &[usize],
    (height, width, channels): (u32, u32, u8),
) -> Result<(usize, usize, usize, usize, bool), String> {
    let sizes = [height as usize, width as usize, usize::from(channels)];
    let [height, width, channels] = sizes;
    let values = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
    let values = values.ok_or_else(|| format!("its shape {shape:?} is beyond all measure"))?;
    let image: usize = sizes.iter().product();
    if values == 0 || !values.is_multiple_of(image) {
        return Err(format!(
            "its {values} values are not a whole number of images of {image} values; {} are left over",
            values % image
        ));
    }
    let planar = channels > 1
        && match shape {
            &[c, h, w] | &[_, c, h, w] => [h, w, c] == sizes,
            _ => false,
        };
    Ok((values / image, height, width, channels, planar))
}

fn is_square(values: usize) -> bool {
    values > 1 && values.isqrt().pow(2) == values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_as_people_save_them() {
        for (shape, count, height, width, channels, planar, noted) in [
            (&[9, 28, 20][..], 9, 28, 20, 1, false, false),
            (&[9, 28, 20, 3], 9, 28, 20, 3, false, false),
            (&[9, 3, 28, 20], 9, 28, 20, 3, true, true),
            (&[9, 1, 28, 20], 9, 28, 20, 1, true, true),
            (&[9, 784], 9, 28, 28, 1, false, true),
            (&[28, 28], 1, 28, 28, 1, false, true),
            (&[16, 16, 3], 1, 16, 16, 3, false, true),
            (&[3, 16, 16], 3, 16, 16, 1, false, true),
            (&[2, 2, 3], 2, 2, 3, 1, false, false),
        ] {
            let found = Layout::of(shape, None).unwrap();
            assert_eq!(found.note.is_some(), noted, "{shape:?}");
            let expected = Layout { count, height, width, channels, planar, note: found.note.clone() };
            assert_eq!(found, expected, "{shape:?}");
        }
        for (shape, reason) in [
            (&[9, 785][..], "rows of 785 values"),
            (&[784], "is not [n, height, width]"),
            (&[9, 28, 28, 7], "7 channels"),
            (&[0, 28, 28], "no images of a usable size"),
            (&[1, 65_536, 1, 1], "no images of a usable size"),
        ] {
            assert!(Layout::of(shape, None).unwrap_err().contains(reason), "{shape:?}");
        }
    }

    #[test]
    fn a_given_shape_comes_first() {
        let given = |shape: &[usize], wanted| {
            let Layout { count, height, width, channels, planar, note } =
                Layout::of(shape, Some(wanted)).unwrap();
            assert_eq!(note, None);
            (count, height, width, channels, planar)
        };
        assert_eq!(given(&[9, 3072], (32, 32, 3)), (9, 32, 32, 3, false));
        assert_eq!(given(&[9 * 600], (20, 30, 1)), (9, 20, 30, 1, false));
        assert_eq!(given(&[16, 16, 3], (16, 3, 1)), (16, 16, 3, 1, false));
        assert_eq!(given(&[9, 2, 8, 8], (8, 8, 2)), (9, 8, 8, 2, true));
        assert_eq!(given(&[3, 16, 16], (16, 16, 3)), (1, 16, 16, 3, true));
        let error = Layout::of(&[10, 100], Some((30, 30, 1))).unwrap_err();
        assert!(error.contains("its 1000 values") && error.contains("100 are left over"), "{error}");
        assert!(Layout::of(&[usize::MAX, 2], Some((1, 1, 1))).is_err());
    }

    #[test]
    fn planes_become_pixels() {
        let layout = Layout::of(&[1, 3, 2, 2], Some((2, 2, 3))).unwrap();
        let planes = vec![1, 2, 3, 4, 11, 12, 13, 14, 21, 22, 23, 24];
        assert_eq!(layout.channels_last(planes), [1, 11, 21, 2, 12, 22, 3, 13, 23, 4, 14, 24]);
    }
}
