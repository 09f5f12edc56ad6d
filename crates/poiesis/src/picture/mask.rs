//! Which pixels of an image are missing, for completion.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::Picture;
use crate::error::{Error, Result};

/// Which pixels of an image are missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mask {
    /// The lower half.
    Lower,
    /// The upper half.
    Upper,
    /// The left half.
    Left,
    /// The right half.
    Right,
    /// A rectangle, in pixels from the upper left corner.
    Rectangle {
        /// Columns to its left.
        left: usize,
        /// Rows above it.
        top: usize,
        /// Its columns.
        width: usize,
        /// Its rows.
        height: usize,
    },
    /// Any pixels of an image of one size.
    Pixels {
        /// Columns of the image.
        width: usize,
        /// Rows of the image.
        height: usize,
        /// Whether each pixel is missing, row by row.
        missing: Vec<bool>,
    },
}

impl Mask {
    /// Reads `lower`, `upper`, `left`, `right`, or a rectangle as `LEFT,TOP,WIDTH,HEIGHT`.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] for anything else.
    pub fn parse(text: &str) -> Result<Mask> {
        match text {
            "lower" => Ok(Mask::Lower),
            "upper" => Ok(Mask::Upper),
            "left" => Ok(Mask::Left),
            "right" => Ok(Mask::Right),
            other => rectangle(other).ok_or_else(|| {
                let remedy = "give lower, upper, left, right or LEFT,TOP,WIDTH,HEIGHT in pixels";
                invalid("missing", text, "it is not a part of an image", remedy)
            }),
        }
    }

    /// The mask in a picture: pixels are missing where its first channel is at least 128.
    pub fn from_picture(picture: &Picture) -> Mask {
        let missing = picture.data().chunks_exact(picture.channels()).map(|pixel| pixel[0] >= 128).collect();
        Mask::Pixels { width: picture.width(), height: picture.height(), missing }
    }

    /// Whether each pixel of an image of this size is known, row by row.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidValue`] when a rectangle does not lie in the image, or the mask is of another size.
    pub fn known(&self, height: usize, width: usize) -> Result<Vec<bool>> {
        let (rows, columns) = match *self {
            Mask::Lower => (height / 2..height, 0..width),
            Mask::Upper => (0..height / 2, 0..width),
            Mask::Left => (0..height, 0..width / 2),
            Mask::Right => (0..height, width / 2..width),
            Mask::Rectangle { left, top, width: wide, height: high } => {
                let within = left.checked_add(wide).is_some_and(|right| right <= width)
                    && top.checked_add(high).is_some_and(|bottom| bottom <= height);
                if !within || wide == 0 || high == 0 {
                    let reason = format!("it does not lie within images of {width}×{height}");
                    let remedy = "give a rectangle inside the image";
                    return Err(invalid("missing", &format!("{left},{top},{wide},{high}"), &reason, remedy));
                }
                (top..top + high, left..left + wide)
            }
            Mask::Pixels { width: own_width, height: own_height, ref missing } => {
                if (own_width, own_height, missing.len()) != (width, height, width * height) {
                    let reason = format!("the images are {width}×{height}");
                    let remedy = "give a mask of their size";
                    return Err(invalid("mask", &format!("{own_width}×{own_height}"), &reason, remedy));
                }
                return Ok(missing.iter().map(|missing| !missing).collect());
            }
        };
        Ok(outside(rows, columns, height, width))
    }
}

/// Whether each pixel is outside of these rows and columns.
fn outside(rows: Range<usize>, columns: Range<usize>, height: usize, width: usize) -> Vec<bool> {
    (0..height * width)
        .map(|place| !(rows.contains(&(place / width)) && columns.contains(&(place % width))))
        .collect()
}

/// The image with grey where pixels are not known; `image` is `[height, width, channels]`, `known` is `[height, width]`.
///
/// # Panics
///
/// When there are not as many pixels as `known` has.
pub fn occluded(image: &[u8], known: &[bool], channels: usize) -> Vec<u8> {
    assert_eq!(image.len(), known.len() * channels, "pixels of the image and of the mask");
    image.iter().enumerate().map(|(place, &byte)| if known[place / channels] { byte } else { 128 }).collect()
}

fn rectangle(text: &str) -> Option<Mask> {
    let numbers: Option<Vec<usize>> = text.split(',').map(|number| number.trim().parse().ok()).collect();
    match *numbers?.as_slice() {
        [left, top, width, height] => Some(Mask::Rectangle { left, top, width, height }),
        _ => None,
    }
}

fn invalid(key: &str, value: &str, reason: &str, remedy: &str) -> Error {
    Error::InvalidValue { key: key.into(), value: value.into(), reason: reason.into(), remedy: remedy.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(text: &str) -> Result<String> {
        let known = Mask::parse(text)?.known(3, 4)?;
        let row = |row: &[bool]| row.iter().map(|&known| if known { '#' } else { '.' }).collect();
        Ok(known.chunks(4).map(row).collect::<Vec<String>>().join(" "))
    }

    #[test]
    fn halves_and_rectangles_are_missing() {
        assert_eq!(known("lower").unwrap(), "#### .... ....");
        assert_eq!(known("upper").unwrap(), ".... #### ####");
        assert_eq!(known("left").unwrap(), "..## ..## ..##");
        assert_eq!(known("right").unwrap(), "##.. ##.. ##..");
        assert_eq!(known("1, 2,3,1").unwrap(), "#### #### #...");
    }

    #[test]
    fn what_is_no_part_of_the_image_is_refused() {
        for text in ["low", "1,2,3", "", "0,0,5,1", "0,0,0,1", "4,0,1,1", "1,0,18446744073709551615,1"] {
            assert!(matches!(known(text), Err(Error::InvalidValue { .. })), "{text}");
        }
    }

    #[test]
    fn light_pixels_of_a_picture_are_missing() {
        let picture = Picture::new(2, 1, 3, vec![127, 255, 255, 128, 0, 0]);
        let mask = Mask::from_picture(&picture);
        assert_eq!(mask.known(1, 2).unwrap(), [true, false]);
        assert!(mask.known(2, 1).unwrap_err().to_string().contains("2×1"));
        let text = serde_json::to_string(&mask).unwrap();
        assert_eq!(serde_json::from_str::<Mask>(&text).unwrap(), mask);
    }

    #[test]
    fn unknown_pixels_are_shown_grey() {
        assert_eq!(occluded(&[1, 2, 3, 4], &[true, false], 2), [1, 2, 128, 128]);
    }
}
