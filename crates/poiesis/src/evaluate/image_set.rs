//! Images whose likelihood is measured, as a model reads them.

use burn::tensor::{Device, Tensor, TensorData};
use poiesis_collect::View;

use crate::data::{ImageShape, PixelEncoding};
use crate::rng;

/// Images that are not of a split come in whole groups of this size.
const GROUP: usize = 16;

/// Images whose likelihood is measured.
pub(crate) struct ImageSet<'a> {
    images: Vec<&'a [u8]>,
    /// The class of each.
    classes: Vec<Option<u32>>,
    /// The number of each, which what is drawn for it depends on.
    numbers: Vec<u64>,
    in_groups: bool,
}

impl<'a> ImageSet<'a> {
    /// The images of a split at `indices`, which are their numbers.
    pub(crate) fn of_split(view: &'a View, indices: &[usize]) -> ImageSet<'a> {
        ImageSet {
            images: indices.iter().map(|&index| view.image(index)).collect(),
            classes: indices.iter().map(|&index| view.label(index)).collect(),
            numbers: indices.iter().map(|&index| index as u64).collect(),
            in_groups: false,
        }
    }

    /// Other images, 8-bit, each with its class and a number below 2⁴⁰. What is measured of one does not depend on the others.
    ///
    /// # Panics
    ///
    /// When there is not one class and one number for each.
    pub(crate) fn of_images(
        images: Vec<&'a [u8]>,
        classes: Vec<Option<u32>>,
        numbers: Vec<u64>,
    ) -> ImageSet<'a> {
        assert_eq!([classes.len(), numbers.len()], [images.len(); 2], "a class and a number for each image");
        ImageSet { images, classes, numbers, in_groups: true }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.images.len()
    }

    /// Batches of at most `size` images, by their places. The last one of other images than those of a split is filled up with its last
    /// image: the last bits of what a model makes of an image depend on how many there are.
    pub(super) fn batches(&self, size: usize) -> Vec<Vec<usize>> {
        let size = if self.in_groups { GROUP } else { size };
        let last = |first: usize| if self.in_groups { first + size } else { self.len().min(first + size) };
        let batch = |first: usize| (first..last(first)).map(|place| place.min(self.len() - 1)).collect();
        (0..self.len()).step_by(size).map(batch).collect()
    }

    /// The images at `places` as a model reads them, `[places, height, width, channels]`. One is binarised with thresholds that depend
    /// on the seed and its number alone.
    ///
    /// # Panics
    ///
    /// When an image does not have as many values as the shape.
    pub(super) fn read(
        &self,
        places: &[usize],
        encoding: PixelEncoding,
        shape: ImageShape,
        seed: u64,
        device: &Device,
    ) -> Tensor<4> {
        let mut values: Vec<f32> = Vec::with_capacity(places.len() * shape.dims());
        for &place in places {
            let image = self.images[place];
            assert_eq!(image.len(), shape.dims(), "an image of another shape than {shape:?}");
            match encoding {
                PixelEncoding::EightBit => {
                    values.extend(image.iter().map(|&pixel| encoding.value(u32::from(pixel))));
                }
                PixelEncoding::Binary => {
                    let mut generator = rng::generator(seed, "evaluate binarize", self.numbers[place]);
                    let thresholds = rng::uniform(&mut generator, shape.dims());
                    let value = |(&pixel, t): (&u8, f32)| f32::from(f32::from(pixel) / 255.0 > t);
                    values.extend(image.iter().zip(thresholds).map(value));
                }
            }
        }
        let dims = [places.len(), shape.height, shape.width, shape.channels];
        Tensor::from_data(TensorData::new(values, dims), device)
    }

    /// The classes of the images at `places`.
    pub(super) fn classes_at(&self, places: &[usize]) -> Vec<Option<u32>> {
        places.iter().map(|&place| self.classes[place]).collect()
    }

    /// The numbers of the images at `places`.
    pub(super) fn numbers_at(&self, places: &[usize]) -> Vec<u64> {
        places.iter().map(|&place| self.numbers[place]).collect()
    }
}

#[cfg(test)]
mod tests {
    use poiesis_collect::Split;

    use super::*;
    use crate::data::{binarized, images};
    use crate::testing::labelled_images;

    #[test]
    fn images_are_read_as_training_reads_them() {
        let (_folder, dataset) = labelled_images(5, "1.png,a\n");
        let view = dataset.require(Split::Train).unwrap();
        let (shape, device) = (ImageShape { height: 8, width: 8, channels: 1 }, Device::flex());
        let set = ImageSet::of_split(&view, &[0, 1, 4]);
        assert_eq!(set.classes, [None, Some(0), None]);
        let places = [2, 1];
        let bytes = |tensor: Tensor<4>| tensor.into_data();
        let found = set.read(&places, PixelEncoding::EightBit, shape, 3, &device);
        assert_eq!(bytes(found), bytes(images(&view, &[4, 1], shape, &device)));
        let thresholds: Vec<f32> = [4, 1]
            .iter()
            .flat_map(|&number| rng::uniform(&mut rng::generator(3, "evaluate binarize", number), 64))
            .collect();
        let found = set.read(&places, PixelEncoding::Binary, shape, 3, &device);
        assert_eq!(bytes(found), bytes(binarized(&view, &[4, 1], shape, &thresholds, &device)));
    }

    #[test]
    fn only_images_of_no_split_are_filled_up_to_whole_groups() {
        let pixels = [7; 4];
        let given = ImageSet::of_images(vec![&pixels; 18], vec![None; 18], (0..18).collect());
        let batches = given.batches(100);
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [16, 16]);
        assert_eq!(batches[1][..3], [16, 17, 17]);
        let split = ImageSet { in_groups: false, ..given };
        assert_eq!(split.batches(7).iter().map(Vec::len).collect::<Vec<_>>(), [7, 7, 4]);
    }
}
