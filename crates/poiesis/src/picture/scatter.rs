//! Points of the plane in the colours of their groups, with a legend; or the images that the points stand for.

use super::Picture;
use super::text::LETTER;

/// Height and width of a map of dots, in pixels.
const DOTS: usize = 640;
/// Least height and width of a map of images.
const IMAGES: usize = 1120;
/// Pixels around a map, and between maps.
const MARGIN: usize = 16;
/// Radius of a dot.
const RADIUS: i64 = 3;
/// Pixels of colour around an image.
const FRAME: usize = 2;
/// Letters are enlarged by this.
const SCALE: usize = 2;
/// Height of a line of text.
const LINE: usize = LETTER * SCALE + 6;
/// Longest name in a legend, in letters.
const LONGEST: usize = 24;
/// Most lines of a legend.
const MOST: usize = 28;

const WHITE: [u8; 3] = [255; 3];
const INK: [u8; 3] = [40; 3];
/// What has no group.
const GREY: [u8; 3] = [170; 3];
/// The first groups; the others are spread over the hues.
const COLORS: [[u8; 3]; 10] = [
    [31, 99, 180],
    [236, 122, 20],
    [38, 150, 70],
    [205, 40, 46],
    [126, 76, 172],
    [122, 80, 58],
    [226, 105, 180],
    [20, 20, 20],
    [168, 168, 16],
    [20, 176, 196],
];

/// One map.
#[derive(Clone, Copy, Debug)]
pub struct Panel<'a> {
    /// What stands above it.
    pub title: &'a str,
    /// The place of each point.
    pub points: &'a [[f32; 2]],
}

/// Images of one size, one for each point.
#[derive(Clone, Copy, Debug)]
pub struct Thumbnails<'a> {
    /// 8-bit pixels, one image after another.
    pub images: &'a [u8],
    /// Rows of an image.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 1, 3 or 4.
    pub channels: usize,
}

/// Draws maps of the same points side by side. `groups` has the number of each point's group, by which it is coloured, and `names` those
/// of the groups for the legend, which is left out where no point has a group. With `thumbnails`, a map has the images themselves, on a
/// grid so that none covers another: each place on the grid shows the image nearest to its middle.
///
/// Returns the picture, and how many images each map shows.
///
/// # Panics
///
/// When there are no maps or points, or not one group or image for each point.
pub fn scatter(
    panels: &[Panel<'_>],
    groups: &[Option<u32>],
    names: &[String],
    thumbnails: Option<Thumbnails<'_>>,
) -> (Picture, Vec<usize>) {
    assert!(!panels.is_empty() && !groups.is_empty(), "a map needs points");
    let count = names.len().max(groups.iter().flatten().max().map_or(0, |&group| group as usize + 1));
    let color = |group: Option<u32>| group.map_or(GREY, |group| color_of(group as usize, count));
    let colors: Vec<[u8; 3]> = groups.iter().map(|&group| color(group)).collect();
    let maps: Vec<(Picture, usize)> = panels
        .iter()
        .map(|panel| {
            assert_eq!(panel.points.len(), groups.len(), "a group for each point");
            match thumbnails {
                Some(thumbnails) => images(panel.points, &colors, thumbnails),
                None => (dots(panel.points, &colors), groups.len()),
            }
        })
        .collect();
    let legend = legend(groups, names, color);
    let wide: usize = maps.iter().map(|(map, _)| map.width() + MARGIN).sum();
    let widest = legend.iter().map(|(name, _)| name.chars().count()).max();
    let beside = widest.map_or(0, |letters| LINE + letters * LETTER * SCALE + MARGIN);
    let tall = maps.iter().map(|(map, _)| map.height()).max().unwrap_or(0).max(legend.len() * LINE);
    let mut picture = Picture::filled(MARGIN + wide + beside, LINE + MARGIN + tall + MARGIN, &WHITE);
    let (mut x, top) = (MARGIN, MARGIN + LINE);
    for ((map, _), panel) in maps.iter().zip(panels) {
        picture.write_text(panel.title, x, MARGIN, SCALE, &INK);
        picture.paste(map.data(), map.width(), map.height(), x, top);
        x += map.width() + MARGIN;
    }
    for (line, (name, color)) in legend.iter().enumerate() {
        let (y, side) = (top + line * LINE, LETTER * SCALE);
        picture.paste(&color.repeat(side * side), side, side, x, y);
        picture.write_text(name, x + LINE, y, SCALE, &INK);
    }
    (picture, maps.into_iter().map(|(_, shown)| shown).collect())
}

/// The colour of group `at` of `count`.
pub(super) fn color_of(at: usize, count: usize) -> [u8; 3] {
    if count <= COLORS.len() {
        return COLORS[at % COLORS.len()];
    }
    // Steps of the golden angle never come near each other; every second colour is darker.
    let hue = (at as f64 * 0.618_034).fract() * 6.0;
    let [light, dark] = if at.is_multiple_of(2) { [225.0, 50.0] } else { [150.0, 20.0] };
    let channel = |shift: f64| {
        let part = ((hue + shift).rem_euclid(6.0) - 3.0).abs() - 1.0;
        (dark + (light - dark) * part.clamp(0.0, 1.0)) as u8
    };
    [channel(0.0), channel(4.0), channel(2.0)]
}

/// Names of the groups that points have, with their colours.
fn legend(
    groups: &[Option<u32>],
    names: &[String],
    color: impl Fn(Option<u32>) -> [u8; 3],
) -> Vec<(String, [u8; 3])> {
    let mut found: Vec<Option<u32>> = groups.to_vec();
    // Those without a group come last.
    found.sort_unstable_by_key(|group| (group.is_none(), *group));
    found.dedup();
    if found == [None] {
        return Vec::new();
    }
    let named = |group: Option<u32>| {
        let name = group.map(|group| names.get(group as usize).cloned().unwrap_or_else(|| group.to_string()));
        let name = name.unwrap_or_else(|| "no class".to_owned());
        let short = name.chars().count() <= LONGEST;
        let name = if short { name } else { name.chars().take(LONGEST - 2).collect::<String>() + ".." };
        (name, color(group))
    };
    let more = found.len().saturating_sub(MOST);
    let shown = if more > 0 { MOST - 1 } else { found.len() };
    let mut lines: Vec<_> = found[..shown].iter().map(|&group| named(group)).collect();
    if more > 0 {
        lines.push((format!("and {} more", more + 1), WHITE));
    }
    lines
}

/// Places from 0 to 1 from left to right and from top to bottom, in the same scale along both sides.
fn places(points: &[[f32; 2]]) -> Vec<[f64; 2]> {
    let range = |axis: usize| {
        let values = points.iter().map(|point| f64::from(point[axis]));
        values.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], x| [low.min(x), high.max(x)])
    };
    let ranges = [range(0), range(1)];
    let reach = ranges.iter().map(|[low, high]| high - low).fold(f64::MIN_POSITIVE, f64::max);
    let place = |point: &[f32; 2]| {
        let at = |axis: usize| {
            let middle = (ranges[axis][0] + ranges[axis][1]) / 2.0;
            0.5 + (f64::from(point[axis]) - middle) / reach
        };
        [at(0), 1.0 - at(1)]
    };
    points.iter().map(place).collect()
}

fn dots(points: &[[f32; 2]], colors: &[[u8; 3]]) -> Picture {
    let mut data = WHITE.repeat(DOTS * DOTS);
    let inside = (DOTS as i64 - 2 * RADIUS - 1) as f64;
    for (place, color) in places(points).into_iter().zip(colors) {
        let [x, y] = place.map(|part| RADIUS + (part * inside).round() as i64);
        for (dx, dy) in (-RADIUS..=RADIUS).flat_map(|dy| (-RADIUS..=RADIUS).map(move |dx| (dx, dy))) {
            if dx * dx + dy * dy <= RADIUS * RADIUS {
                let at = 3 * ((y + dy) as usize * DOTS + (x + dx) as usize);
                data[at..at + 3].copy_from_slice(color);
            }
        }
    }
    Picture::new(DOTS, DOTS, 3, data)
}

fn images(points: &[[f32; 2]], colors: &[[u8; 3]], thumbnails: Thumbnails<'_>) -> (Picture, usize) {
    let Thumbnails { images, height, width, channels } = thumbnails;
    let size = height * width * channels;
    assert_eq!(images.len(), points.len() * size, "an image for each point");
    let (cell_width, cell_height) = (width + 2 * FRAME + 2, height + 2 * FRAME + 2);
    let [columns, rows] = [cell_width, cell_height].map(|side| (IMAGES / side).max(8));
    // Of each place on the grid the image that is nearest to its middle.
    let mut shown: Vec<Option<(f64, usize)>> = vec![None; rows * columns];
    for (index, [x, y]) in places(points).into_iter().enumerate() {
        let spot = |part: f64, cells: usize| {
            let at = part * cells as f64;
            let cell = at.floor().clamp(0.0, cells as f64 - 1.0);
            (cell as usize, at - cell - 0.5)
        };
        let ((column, away_x), (row, away_y)) = (spot(x, columns), spot(y, rows));
        let away = away_x * away_x + away_y * away_y;
        let here = &mut shown[row * columns + column];
        if here.is_none_or(|(before, _)| away < before) {
            *here = Some((away, index));
        }
    }
    let mut picture = Picture::filled(columns * cell_width, rows * cell_height, &WHITE);
    let mut count = 0;
    for (cell, found) in shown.iter().enumerate() {
        let Some((_, index)) = *found else { continue };
        let (x, y) = (cell % columns * cell_width + 1, cell / columns * cell_height + 1);
        let (framed_width, framed_height) = (width + 2 * FRAME, height + 2 * FRAME);
        picture.paste(&colors[index].repeat(framed_width * framed_height), framed_width, framed_height, x, y);
        let image = Picture::new(width, height, channels, images[index * size..(index + 1) * size].to_vec());
        picture.paste(image.to_rgb(WHITE).data(), width, height, x + FRAME, y + FRAME);
        count += 1;
    }
    (picture, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(picture: &Picture, color: [u8; 3]) -> bool {
        picture.data().chunks_exact(3).any(|pixel| pixel == color)
    }

    #[test]
    fn points_have_the_colours_of_their_groups_and_the_legend_names_them() {
        let points = [[0.0, 0.0], [1.0, 0.0], [1.0, 0.5], [0.0, 1.0]];
        let groups = [Some(0), Some(1), Some(1), None];
        let names = ["one".to_owned(), "two".to_owned()];
        let map = dots(&points, &groups.map(|group| group.map_or(GREY, |group| COLORS[group as usize])));
        // The first coordinate goes to the right and the second up.
        assert_eq!(map.pixel(3, DOTS - 4), COLORS[0]);
        assert_eq!(map.pixel(DOTS - 4, DOTS - 4), COLORS[1]);
        assert_eq!(map.pixel(3, 3), GREY);
        let panel = Panel { title: "PCA", points: &points };
        let (picture, shown) = scatter(&[panel, panel], &groups, &names, None);
        assert_eq!(shown, [4, 4]);
        assert!(picture.width() > 2 * DOTS + 3 * MARGIN, "there is a legend");
        assert_eq!(picture.pixel(MARGIN + 3, MARGIN + LINE + 3), GREY);
        let (plain, _) = scatter(&[panel], &[None; 4], &names, None);
        assert_eq!(plain.width(), DOTS + 2 * MARGIN, "there is none");
    }

    #[test]
    fn images_do_not_cover_each_other_and_the_nearest_is_shown() {
        // Five points, two of them at almost the same place.
        let points = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.999, 0.999]];
        let images: Vec<u8> = (0..5).flat_map(|i| [50 + i; 4]).collect();
        let thumbnails = Thumbnails { images: &images, height: 2, width: 2, channels: 1 };
        let colors: Vec<[u8; 3]> = (0..5).map(|at| COLORS[at]).collect();
        let (picture, shown) = super::images(&points, &colors, thumbnails);
        assert_eq!(shown, 4);
        for at in 0..3 {
            let pixels = picture.data().chunks_exact(3).filter(|pixel| *pixel == [50 + at; 3]).count();
            assert_eq!(pixels, 4, "image {at} is whole");
            let frame =
                picture.data().chunks_exact(3).filter(|pixel| *pixel == COLORS[usize::from(at)]).count();
            assert_eq!(frame, 6 * 6 - 4);
        }
        assert!(has(&picture, [53; 3]) != has(&picture, [54; 3]), "one of the two");
    }

    #[test]
    fn many_groups_have_different_colours_and_a_legend_that_ends() {
        let colors: std::collections::BTreeSet<[u8; 3]> = (0..40).map(|at| color_of(at, 40)).collect();
        assert_eq!(colors.len(), 40);
        let groups: Vec<Option<u32>> = (0..40).map(Some).collect();
        let lines = legend(&groups, &["a name that is much longer than a line".to_owned()], |_| INK);
        assert_eq!((lines.len(), lines[27].0.as_str()), (28, "and 13 more"));
        assert_eq!((lines[0].0.as_str(), lines[1].0.as_str()), ("a name that is much lo..", "1"));
    }

    #[test]
    fn equal_points_are_in_the_middle() {
        assert_eq!(places(&[[2.0, 3.0]; 2]), [[0.5, 0.5]; 2]);
    }
}
