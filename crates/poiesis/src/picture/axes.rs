//! A picture with axes around it.

use super::Picture;
use super::heat_map::{
    HeatAxis, LEFT, LINE, MARGIN, MARKS, SCALE, TICK, mark_across, mark_upwards, marks_about,
};
use super::text::LETTER;

/// Letters of the longest mark: so many have room to the left, and below beside the next mark.
const LONGEST: usize = 5;
/// Room on the right: half of the last mark.
const RIGHT: usize = LONGEST.div_ceil(2) * LETTER * SCALE + 4;

const WHITE: [u8; 3] = [255; 3];
const INK: [u8; 3] = [40; 3];

/// Draws axes with marks at round numbers around an area of three channels: the first below it, the second to its left, and their
/// names. Where numbers are long, marks are in a unit that the name tells: `income / 1e6`. The size of what is drawn depends on that of
/// the area alone.
///
/// # Panics
///
/// When the area does not have three channels, or an axis has no extent.
pub fn with_axes(area: &Picture, axes: [HeatAxis<'_>; 2]) -> Picture {
    assert_eq!(area.channels(), 3, "an area in colour");
    assert!(axes.iter().all(|axis| axis.low < axis.high), "axes that show something: {axes:?}");
    let (width, height, top) = (area.width(), area.height(), MARGIN + LINE);
    let mut picture = Picture::filled(LEFT + width + RIGHT, top + height + TICK + 2 * LINE + MARGIN, &WHITE);
    picture.paste(area.data(), width, height, LEFT, top);
    picture.paste(&INK.repeat(height + 1), 1, height + 1, LEFT - 1, top);
    picture.paste(&INK.repeat(width + 1), width + 1, 1, LEFT - 1, top + height);
    let letters = (width + RIGHT) / (LETTER * SCALE);
    let [across, up] = axes.map(|axis| in_short(axis, letters));
    mark_across(&mut picture, across.axis(), LEFT, top + height, width);
    mark_upwards(&mut picture, up.axis(), LEFT, top, height);
    picture
}

/// An axis whose marks have few letters.
#[derive(Debug)]
struct Short {
    name: String,
    low: f64,
    high: f64,
}

impl Short {
    fn axis(&self) -> HeatAxis<'_> {
        HeatAxis { name: &self.name, low: self.low, high: self.high }
    }
}

/// The axis in a power of ten, and if need be from where it begins, so that no mark is long; its name has about so many letters.
fn in_short(axis: HeatAxis<'_>, letters: usize) -> Short {
    let (mut short, mut unit) = in_unit(axis);
    let mut from = String::new();
    if is_long(short) {
        let start = axis.low as f32;
        let base = f64::from(start);
        (short, unit) = in_unit(HeatAxis { low: axis.low - base, high: axis.high - base, ..axis });
        from = format!(" - {start}");
    }
    let room = letters.saturating_sub(from.len() + unit.len());
    let cut = axis.name.chars().count() > room;
    let name: String = match cut {
        true => axis.name.chars().take(room.saturating_sub(2)).chain("..".chars()).collect(),
        false => axis.name.to_owned(),
    };
    let name = match from.is_empty() || unit.is_empty() {
        true => name + &from + &unit,
        false => format!("({name}{from}){unit}"),
    };
    Short { name, low: short.low, high: short.high }
}

fn is_long(axis: HeatAxis<'_>) -> bool {
    marks_about(axis, MARKS).iter().any(|(_, label)| label.chars().count() > LONGEST)
}

/// The axis as it is, or in a power of ten if marks are long, and what its name says of that.
fn in_unit(axis: HeatAxis<'_>) -> (HeatAxis<'_>, String) {
    if !is_long(axis) {
        return (axis, String::new());
    }
    let power = axis.low.abs().max(axis.high.abs()).log10().floor();
    let unit = 10_f64.powf(power);
    (HeatAxis { low: axis.low / unit, high: axis.high / unit, ..axis }, format!(" / 1e{power}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(name: &str, low: f64, high: f64) -> HeatAxis<'_> {
        HeatAxis { name, low, high }
    }

    #[test]
    fn long_numbers_are_in_a_unit_that_the_name_tells() {
        let short = |low, high| {
            let short = in_short(axis("income", low, high), 30);
            let labels = marks_about(short.axis(), MARKS).into_iter().map(|(_, label)| label);
            (short.name.clone(), labels.collect::<Vec<_>>().join(" "))
        };
        assert_eq!(short(140.0, 200.0), ("income".into(), "140 160 180 200".into()));
        assert_eq!(short(0.0, 4e6), ("income / 1e6".into(), "0 1 2 3 4".into()));
        assert_eq!(short(-3.1e-7, 1.1e-7), ("income / 1e-7".into(), "-3 -2 -1 0 1".into()));
        assert_eq!(
            short(1.6999e9, 1.7047e9),
            ("income / 1e9".into(), "1.700 1.701 1.702 1.703 1.704".into())
        );
        let (name, marks) = short(1.7e9, 1.7e9 + 1e3);
        assert_eq!((&name[..], &marks[..]), ("income - 1700000000", "0 200 400 600 800 1000"));
        // Heights in centimetres.
        assert_eq!(short(122.0, 216.0).1, "140 160 180 200");
        let (name, _) = short(0.5, 0.5 + 3e-7);
        assert_eq!(name, "(income - 0.5) / 1e-7");
        assert_eq!(in_short(axis("a name of many letters", 0.0, 1.0), 10).name, "a name o..");
        assert_eq!(in_short(axis("a name of many letters", 0.0, 1e9), 16).name, "a name o.. / 1e9");
    }

    #[test]
    fn the_area_is_inside_of_its_axes() {
        let area = Picture::filled(200, 100, &[9, 8, 7]);
        let picture = with_axes(&area, [axis("x", 0.0, 1.0), axis("y", -1.0, 1.0)]);
        let top = MARGIN + LINE;
        for (x, y) in [(LEFT, top), (LEFT + 199, top + 99)] {
            assert_eq!(picture.pixel(x, y), [9, 8, 7]);
        }
        assert_eq!(
            (picture.pixel(LEFT - 1, top + 50), picture.pixel(LEFT + 100, top + 100)),
            (&INK[..], &INK[..])
        );
        // The mark of 0 is halfway up.
        assert_eq!(picture.pixel(LEFT - TICK, top + 50), INK);
        let wide = with_axes(&area, [axis("a longer name", 0.0, 1e9), axis("y", 1.0, 1.001)]);
        assert_eq!((wide.width(), wide.height()), (picture.width(), picture.height()));
    }
}
