//! Words in pictures, in a bitmap font of 8×8 pixels.

use font8x8::{BASIC_FONTS, GREEK_FONTS, LATIN_FONTS, UnicodeFonts as _};

use super::Picture;

/// Height and width of a letter before it is enlarged.
pub(super) const LETTER: usize = 8;

impl Picture {
    /// Writes `text` in `color`, its top left corner at column `x` and row `y`, each pixel of a letter `scale` × `scale` large. What lies
    /// outside is left out, and a letter that the font does not have is a question mark.
    ///
    /// # Panics
    ///
    /// When `color` does not have as many channels as the picture.
    pub fn write_text(&mut self, text: &str, x: usize, y: usize, scale: usize, color: &[u8]) {
        assert_eq!(color.len(), self.channels(), "a color of as many channels as the picture");
        let dot = color.repeat(scale * scale);
        for (place, letter) in text.chars().enumerate() {
            for (row, bits) in glyph(letter).into_iter().enumerate() {
                for column in (0..LETTER).filter(|column| bits >> column & 1 == 1) {
                    let (x, y) = (x + (place * LETTER + column) * scale, y + row * scale);
                    if x + scale <= self.width() && y + scale <= self.height() {
                        self.paste(&dot, scale, scale, x, y);
                    }
                }
            }
        }
    }
}

/// The rows of a letter from the top; the lowest bit is on the left.
fn glyph(letter: char) -> [u8; LETTER] {
    let fonts =
        [BASIC_FONTS.get(letter), LATIN_FONTS.get(letter), GREEK_FONTS.get(letter), BASIC_FONTS.get('?')];
    fonts.into_iter().flatten().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_drawn_from_left_to_right_and_cut_off_at_the_edge() {
        let mut picture = Picture::filled(20, 10, &[255]);
        picture.write_text("L|LL", 1, 1, 1, &[0]);
        let dark = |x: usize, y: usize| picture.pixel(x, y) == [0];
        let columns: Vec<usize> = (0..20).filter(|&x| (0..10).any(|y| dark(x, y))).collect();
        assert!(columns[0] >= 1 && *columns.last().unwrap() > 16, "{columns:?}");
        // An L has its foot at the bottom and reaches further to the right there.
        let width = |y: usize| (1..9).filter(|&x| dark(x, y)).count();
        assert!(width(1 + 6) > width(1 + 2), "{} {}", width(7), width(3));
        assert_eq!(glyph('\u{4e2d}'), glyph('?'));
        assert_ne!(glyph('é'), glyph('?'));
    }
}
