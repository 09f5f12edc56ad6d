//! Finding the objects of images, and drawing boxes around them.

use burn::tensor::{Tensor, TensorData};

use crate::abilities::Bounds;
use crate::data::ImageShape;
use crate::error::Result;
use crate::picture::Picture;
use crate::trained::Trained;

/// Images in a batch.
const BATCH: usize = 100;

/// A box around each object of images given as pixels: u8, concatenated, each of the shape that the model reads.
///
/// # Errors
///
/// [`crate::Error::MissingCapability`] with the models that can; [`crate::Error::InvalidValue`] for a model of other data than images.
///
/// # Panics
///
/// When the pixels do not make whole images.
pub fn objects(trained: &Trained, pixels: &[u8]) -> Result<Vec<Vec<Bounds>>> {
    let (model, shape) = (trained.objects()?, trained.spec.images()?);
    let ImageShape { height, width, channels } = shape;
    assert!(pixels.len().is_multiple_of(shape.dims()), "{} bytes for images of {shape:?}", pixels.len());
    let batch = |pixels: &[u8]| {
        let count = pixels.len() / shape.dims();
        let values: Vec<f32> = pixels.iter().map(|&pixel| f32::from(pixel) / 127.5 - 1.0).collect();
        let data = TensorData::new(values, [count, height, width, channels]);
        model.find(Tensor::from_data(data, &trained.device))
    };
    Ok(pixels.chunks(BATCH * shape.dims()).flat_map(batch).collect())
}

/// An image, u8, `[height, width, channels]`, as an RGB picture `zoom` times as large, with a line around each box.
///
/// # Panics
///
/// When `zoom` is 0, or the image has another number of bytes.
pub fn with_boxes(image: &[u8], shape: ImageShape, boxes: &[Bounds], color: [u8; 3], zoom: usize) -> Picture {
    let picture = Picture::new(shape.width, shape.height, shape.channels, image.to_vec());
    let mut picture = picture.to_rgb([0; 3]).enlarged(zoom);
    let (width, height) = (picture.width(), picture.height());
    for &Bounds { left, top, width: across, height: down } in boxes {
        let [columns, rows] = [(left, across, width), (top, down, height)].map(|(start, length, side)| {
            let pixel = |at: f32| (at * side as f32).round().clamp(0.0, side as f32) as usize;
            let first = pixel(start).min(side - 1);
            [first, pixel(start + length).max(first + 1) - 1]
        });
        let [line, column] = [columns, rows].map(|[first, last]| last - first + 1);
        rows.iter().for_each(|&y| picture.paste(&color.repeat(line), line, 1, columns[0], y));
        columns.iter().for_each(|&x| picture.paste(&color.repeat(column), 1, column, x, rows[0]));
    }
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_lines_around_what_they_hold() {
        let shape = ImageShape { height: 4, width: 8, channels: 1 };
        let boxes = [Bounds::from([0.25, 0.25, 0.5, 0.5])];
        let red = [255, 0, 0];
        let picture = with_boxes(&[7; 32], shape, &boxes, red, 3);
        assert_eq!((picture.width(), picture.height(), picture.channels()), (24, 12, 3));
        let is_red = |x, y| picture.pixel(x, y) == red;
        let lines = (0..12).flat_map(|y| (0..24).map(move |x| (x, y))).filter(|&(x, y)| is_red(x, y)).count();
        // 12 × 6 pixels, of which the edge is drawn.
        assert_eq!(lines, 2 * 12 + 2 * 4);
        assert!(is_red(6, 3) && is_red(17, 8) && !is_red(18, 3) && !is_red(7, 4));
        // What reaches over the edges is drawn at them.
        let outside = with_boxes(&[7; 32], shape, &[Bounds::from([-1.0, 0.9, 3.0, 0.4])], red, 1);
        assert_eq!((outside.pixel(0, 3), outside.pixel(7, 3)), (&red[..], &red[..]));
    }
}
