//! Many images of one size laid out in a grid.

use super::Picture;

/// Pixels between two images, and around the grid.
pub const PADDING: usize = 2;

/// The grey between images, which differs from dark and bright ones. It is transparent in pictures with alpha.
pub const BACKGROUND: u8 = 48;

/// Returns images in rows of `columns`, left to right and top to bottom. Unused cells of the last row are empty, and fewer
/// images than columns make a narrower picture.
///
/// # Shapes
/// Each image is `[height, width, channels]`, row-major, as in [`Picture::new`].
///
/// # Panics
/// When there is no image or no column, or an image has another number of bytes.
pub fn grid(images: &[&[u8]], height: usize, width: usize, channels: usize, columns: usize) -> Picture {
    assert!(!images.is_empty() && columns > 0, "{} images in {columns} columns make no grid", images.len());
    let rows: Vec<&[&[u8]]> = images.chunks(columns).collect();
    lay_out(&rows, height, width, channels, PADDING)
}

/// Returns the images of `classes` classes with a row for each class, in order. The classes take turns in `images`, the first of
/// which is of class `first`, so a row may have one image fewer than another.
///
/// # Shapes
/// As for [`grid`].
///
/// # Panics
/// When there is no class, or an image has another number of bytes.
pub fn grid_by_class(
    images: &[&[u8]],
    height: usize,
    width: usize,
    channels: usize,
    classes: usize,
    first: usize,
) -> Picture {
    assert!(classes > 0, "rows of no classes");
    let of_class = |class: usize| {
        let place = (class + classes - first % classes) % classes;
        images.iter().skip(place).step_by(classes).copied().collect()
    };
    let rows: Vec<Vec<&[u8]>> = (0..classes).map(of_class).collect();
    let rows: Vec<&[&[u8]]> = rows.iter().map(Vec::as_slice).collect();
    lay_out(&rows, height, width, channels, PADDING)
}

/// Returns one row of images for each item, with a wider gap between rows than within them, for images that belong
/// together, such as the traversal of a latent dimension or a sample and its neighbours.
///
/// # Shapes
/// As for [`grid`]. Rows may differ in length.
///
/// # Panics
/// When there is no row or all are empty, or an image has another number of bytes.
pub fn rows(rows: &[Vec<&[u8]>], height: usize, width: usize, channels: usize) -> Picture {
    let rows: Vec<&[&[u8]]> = rows.iter().map(Vec::as_slice).collect();
    lay_out(&rows, height, width, channels, 3 * PADDING)
}

fn lay_out(rows: &[&[&[u8]]], height: usize, width: usize, channels: usize, gap: usize) -> Picture {
    let columns = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    assert!(columns > 0, "a grid needs an image");
    let background: &[u8] = if channels == 4 { &[0; 4] } else { &[BACKGROUND; 3][..channels.min(3)] };
    let mut picture = Picture::filled(
        columns * (width + PADDING) + PADDING,
        rows.len() * (height + gap) - gap + 2 * PADDING,
        background,
    );
    for (row, images) in rows.iter().enumerate() {
        for (column, image) in images.iter().enumerate() {
            let x = PADDING + column * (width + PADDING);
            let y = PADDING + row * (height + gap);
            picture.paste(image, width, height, x, y);
        }
    }
    picture
}

/// The number of columns of a grid of `count` images: the side of the smallest square grid that holds them.
pub fn columns(count: usize) -> usize {
    (1..).find(|side| side * side >= count).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_run_left_to_right_and_top_to_bottom() {
        let images: Vec<Vec<u8>> = (0..5).map(|i| vec![100 + i; 3 * 4]).collect();
        let images: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
        let picture = grid(&images, 3, 4, 1, 2);
        assert_eq!((picture.width(), picture.height(), picture.channels()), (2 * 6 + 2, 3 * 5 + 2, 1));
        for (i, (x, y)) in [(2, 2), (8, 2), (2, 7), (8, 7), (2, 12)].into_iter().enumerate() {
            let value = [100 + i as u8];
            assert_eq!(picture.pixel(x, y), value);
            assert_eq!(picture.pixel(x + 3, y + 2), value);
            assert_eq!(picture.pixel(x - 1, y), [BACKGROUND]);
            assert_eq!(picture.pixel(x + 4, y), [BACKGROUND]);
            assert_eq!(picture.pixel(x, y + 3), [BACKGROUND]);
        }
        assert_eq!(picture.pixel(8, 12), [BACKGROUND], "the cell left over is empty");
    }

    #[test]
    fn each_class_has_a_row_whatever_class_is_first() {
        // Seven images of three classes in turn, from class 1: 1 2 0 1 2 0 1.
        let images: Vec<Vec<u8>> = (0..7).map(|i| vec![10 * ((1 + i) % 3) + i; 1]).collect();
        let images: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
        let picture = grid_by_class(&images, 1, 1, 1, 3, 1);
        let at = |row: usize, column: usize| picture.pixel(2 + 3 * column, 2 + 3 * row)[0];
        let rows = [0, 1, 2].map(|row| [0, 1, 2].map(|column| at(row, column)));
        assert_eq!(rows, [[2, 5, BACKGROUND], [10, 13, 16], [21, 24, BACKGROUND]]);
    }

    #[test]
    fn rows_stand_apart_and_may_differ_in_length() {
        let (a, b) = (vec![1; 12], vec![2; 12]);
        let picture = rows(&[vec![&a], vec![&b, &b]], 2, 2, 3);
        assert_eq!((picture.width(), picture.height()), (2 * 4 + 2, 2 + 6 + 2 + 4));
        assert_eq!(picture.pixel(2, 2), [1; 3]);
        assert_eq!(picture.pixel(6, 2), [BACKGROUND; 3]);
        assert_eq!(picture.pixel(6, 2 + 2 + 6), [2; 3]);
    }

    #[test]
    fn images_with_alpha_have_a_transparent_ground() {
        let picture = grid(&[&[255; 4]], 1, 1, 4, 8);
        assert_eq!((picture.width(), picture.height()), (5, 5), "no empty columns");
        assert_eq!((picture.pixel(0, 0), picture.pixel(2, 2)), (&[0; 4][..], &[255; 4][..]));
    }
}
