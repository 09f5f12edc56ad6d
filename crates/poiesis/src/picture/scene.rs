//! Drawings of environments as pixels. Edges are smooth: a pixel is covered as far as the distance of its centre from the edge says.

use poiesis_envs::{Colour, Scene, Shape};

use super::Picture;
use super::text::LETTER;

/// Pixels of the longer side of a drawing.
const LONGER: f64 = 480.0;
/// Least pixels of the shorter side.
const SHORTER: f64 = 160.0;
/// Height of the strip with words above a drawing.
const STRIP: usize = 28;
/// Letters are enlarged by this.
const SCALE: usize = 2;
/// A line is at least this wide, in pixels, so that it can be seen.
const THINNEST: f64 = 1.0;

const GROUND: Colour = [247, 248, 250];
const INK: Colour = [40, 44, 52];

/// Width and height in pixels of drawings of what `scene` shows, without the words above them; `None` when it shows nothing.
pub fn scene_size(scene: &Scene) -> Option<(usize, usize)> {
    let [width, height] = [0, 1].map(|axis| scene.high[axis] - scene.low[axis]);
    let shows = width > 0.0 && height > 0.0 && width.is_finite() && height.is_finite();
    if scene.shapes.is_empty() || !shows {
        return None;
    }
    let scale = LONGER / width.max(height);
    // Even numbers suit every format of animations.
    let side = |length: f64| 2 * ((length * scale).max(SHORTER) / 2.0).round() as usize;
    Some((side(width), side(height)))
}

/// Draws a scene of `size` pixels, the whole of it as large as fits, below a strip with `words`. Frames of one size are drawn by
/// giving the size of the first.
///
/// # Panics
///
/// When a side is 0.
pub fn scene(scene: &Scene, size: (usize, usize), words: &str) -> Picture {
    let (width, height) = size;
    let mut canvas = Canvas { data: GROUND.repeat(width * height), width, height };
    let view = View::of(scene, size);
    scene.shapes.iter().for_each(|shape| canvas.draw(&view, shape));
    let mut picture = Picture::filled(width, height + STRIP, &GROUND);
    picture.paste(&canvas.data, width, height, 0, STRIP);
    picture.write_text(words, (STRIP - LETTER * SCALE) / 2, (STRIP - LETTER * SCALE) / 2, SCALE, &INK);
    picture
}

/// From world units, with `y` upwards, to pixels, with `y` downwards.
struct View {
    /// Pixels of one unit.
    scale: f64,
    /// The pixel at the origin of the world.
    origin: [f64; 2],
}

impl View {
    fn of(scene: &Scene, (width, height): (usize, usize)) -> View {
        let [wide, high] = [0, 1].map(|axis| scene.high[axis] - scene.low[axis]);
        let scale = (width as f64 / wide).min(height as f64 / high);
        let [x, y] = [0, 1].map(|axis| f64::midpoint(scene.low[axis], scene.high[axis]));
        View { scale, origin: [width as f64 / 2.0 - x * scale, height as f64 / 2.0 + y * scale] }
    }

    fn at(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [self.origin[0] + x * self.scale, self.origin[1] - y * self.scale]
    }
}

/// An RGB picture being drawn.
struct Canvas {
    data: Vec<u8>,
    width: usize,
    height: usize,
}

impl Canvas {
    fn draw(&mut self, view: &View, shape: &Shape) {
        match shape {
            Shape::Line { from, to, width, colour } => {
                let (ends, half) = ([view.at(*from), view.at(*to)], (width * view.scale).max(THINNEST) / 2.0);
                self.fill(&ends, half, *colour, |point| to_segment(point, ends[0], ends[1]) - half);
            }
            Shape::Circle { centre, radius, colour } => {
                let (centre, radius) = (view.at(*centre), (radius * view.scale).max(THINNEST / 2.0));
                self.fill(&[centre], radius, *colour, |[x, y]| (x - centre[0]).hypot(y - centre[1]) - radius);
            }
            Shape::Polygon { corners, colour } => {
                let corners: Vec<[f64; 2]> = corners.iter().map(|&corner| view.at(corner)).collect();
                self.fill(&corners, 0.0, *colour, |point| to_polygon(point, &corners));
            }
        }
    }

    /// Fills what is inside, where `distance` from the edge is negative, within `reach` of `points`.
    fn fill(&mut self, points: &[[f64; 2]], reach: f64, colour: Colour, distance: impl Fn([f64; 2]) -> f64) {
        let range = |axis: usize, pixels: usize| {
            let values = points.iter().map(|point| point[axis]);
            let [low, high] =
                values.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], x| [low.min(x), high.max(x)]);
            // Casts saturate, so what lies outside gives an empty range.
            ((low - reach - 1.0).floor() as usize)..((high + reach + 2.0).ceil() as usize).min(pixels)
        };
        for y in range(1, self.height) {
            for x in range(0, self.width) {
                let cover = (0.5 - distance([x as f64 + 0.5, y as f64 + 0.5])).clamp(0.0, 1.0);
                if cover > 0.0 {
                    let pixel = &mut self.data[3 * (y * self.width + x)..][..3];
                    for (value, new) in pixel.iter_mut().zip(colour) {
                        *value = (f64::from(*value) * (1.0 - cover) + f64::from(new) * cover).round() as u8;
                    }
                }
            }
        }
    }
}

/// The distance of a point from a straight line between two points.
fn to_segment([x, y]: [f64; 2], from: [f64; 2], to: [f64; 2]) -> f64 {
    let along = [to[0] - from[0], to[1] - from[1]];
    let squared = along[0] * along[0] + along[1] * along[1];
    let part = if squared > 0.0 {
        (((x - from[0]) * along[0] + (y - from[1]) * along[1]) / squared).clamp(0.0, 1.0)
    } else {
        0.0
    };
    (x - from[0] - part * along[0]).hypot(y - from[1] - part * along[1])
}

/// The distance of a point from the edge of a polygon, negative inside by the even-odd rule.
fn to_polygon(point: [f64; 2], corners: &[[f64; 2]]) -> f64 {
    let mut inside = false;
    let mut nearest = f64::INFINITY;
    for (place, &from) in corners.iter().enumerate() {
        let to = corners[(place + 1) % corners.len()];
        nearest = nearest.min(to_segment(point, from, to));
        if (from[1] > point[1]) != (to[1] > point[1]) {
            let crossing = from[0] + (point[1] - from[1]) / (to[1] - from[1]) * (to[0] - from[0]);
            inside ^= point[0] < crossing;
        }
    }
    if inside { -nearest } else { nearest }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLACK: Colour = [0; 3];

    fn of(low: [f64; 2], high: [f64; 2], shapes: Vec<Shape>) -> Scene {
        Scene { low, high, shapes }
    }

    /// The area that black shapes cover, in pixels.
    fn covered(picture: &Picture) -> f64 {
        let first_row = STRIP * picture.width() * 3;
        let dark = |pixel: &[u8]| (f64::from(GROUND[0]) - f64::from(pixel[0])) / f64::from(GROUND[0]);
        picture.data()[first_row..].chunks_exact(3).map(dark).sum()
    }

    fn pixel(picture: &Picture, x: usize, y: usize) -> [u8; 3] {
        picture.pixel(x, y + STRIP).try_into().unwrap()
    }

    #[test]
    fn shapes_cover_their_areas() {
        let (low, high) = ([-2.0, -1.0], [2.0, 1.0]);
        let size = scene_size(&of(low, high, vec![circle(0.5)])).unwrap();
        assert_eq!(size, (480, 240));
        let area = |shape| covered(&scene(&of(low, high, vec![shape]), size, ""));
        // 120 pixels a unit; rounding to bytes moves less than a thousandth.
        let unit = 120.0_f64.powi(2);
        let expected = [
            (circle(0.5), std::f64::consts::PI * 0.25),
            (
                line([-1.0, 0.3], [1.0, -0.4], 0.2),
                (4.0_f64 + 0.49).sqrt() * 0.2 + std::f64::consts::PI * 0.01,
            ),
            (polygon(&[[-1.0, -0.5], [1.0, -0.5], [0.0, 0.5]]), 1.0),
            // An arrow, which is not convex.
            (polygon(&[[0.0, 0.8], [0.5, -0.5], [0.0, 0.0], [-0.5, -0.5]]), 0.4),
        ];
        for (shape, expected) in expected {
            let found = area(shape.clone()) / unit;
            assert!((found / expected - 1.0).abs() < 4e-3, "{shape:?}: {found} {expected}");
        }
    }

    fn circle(radius: f64) -> Shape {
        Shape::Circle { centre: [0.0, 0.0], radius, colour: BLACK }
    }

    fn line(from: [f64; 2], to: [f64; 2], width: f64) -> Shape {
        Shape::Line { from, to, width, colour: BLACK }
    }

    fn polygon(corners: &[[f64; 2]]) -> Shape {
        Shape::Polygon { corners: corners.to_vec(), colour: BLACK }
    }

    #[test]
    fn up_is_up_later_shapes_cover_earlier_ones_and_edges_are_smooth() {
        let square = |colour| Shape::Polygon {
            corners: vec![[-1.0, 0.5], [1.0, 0.5], [1.0, 1.0], [-1.0, 1.0]],
            colour,
        };
        let above = of([-1.0, -1.0], [1.0, 1.0], vec![square([9, 9, 9]), square([200, 0, 0])]);
        let picture = scene(&above, (100, 100), "");
        assert_eq!((pixel(&picture, 50, 10), pixel(&picture, 50, 90)), ([200, 0, 0], GROUND));
        let round = scene(&of([-1.0, -1.0], [1.0, 1.0], vec![circle(0.7)]), (100, 100), "");
        let shades: std::collections::BTreeSet<u8> = (0..100).map(|x| pixel(&round, x, 15)[0]).collect();
        assert!(shades.len() > 4, "{shades:?}");
    }

    #[test]
    fn the_scale_is_the_same_along_both_sides_and_everything_fits() {
        let picture = scene(&of([-1.0, -1.0], [1.0, 1.0], vec![circle(0.5)]), (300, 100), "");
        let dark = |x: usize, y: usize| pixel(&picture, x, y)[0] < 100;
        let wide = (0..300).filter(|&x| dark(x, 50)).count();
        let high = (0..100).filter(|&y| dark(150, y)).count();
        assert_eq!((wide, high), (50, 50));
        // What lies outside is left out.
        let far = of([0.0, 0.0], [1.0, 1.0], vec![line([-9.0, 5.0], [9.0, 5.0], 0.1), circle(0.0)]);
        scene(&far, (60, 60), "return 1.5");
    }

    #[test]
    fn a_thin_line_is_seen_and_an_empty_scene_has_no_size() {
        let thin =
            scene(&of([0.0, 0.0], [1.0, 1.0], vec![line([0.0, 0.5], [1.0, 0.5], 0.0)]), (100, 100), "");
        assert!(covered(&thin) > 90.0);
        assert_eq!(scene_size(&Scene::default()), None);
        assert_eq!(scene_size(&of([0.0, 0.0], [0.0, 1.0], vec![circle(1.0)])), None);
        assert_eq!(scene_size(&of([0.0, 0.0], [100.0, 1.0], vec![circle(1.0)])), Some((480, 160)));
    }

    #[test]
    fn every_listed_environment_that_can_be_made_is_drawn() {
        for listed in poiesis_envs::list() {
            let Ok(mut environment) = poiesis_envs::make(listed.name) else { continue };
            let mut observation = vec![0.0; environment.spec().observation.width()];
            environment.reset(1, &mut observation).unwrap();
            let drawn = environment.scene();
            let size = scene_size(&drawn).unwrap_or_else(|| panic!("{} shows nothing", listed.name));
            let picture = scene(&drawn, size, listed.name);
            let other = picture.data().chunks_exact(3).filter(|pixel| *pixel != GROUND).count();
            assert!(other > 500, "{}: {other} pixels", listed.name);
        }
    }
}
