//! Several examples in one file: a grid of images, joined texts, clips with pauses between them, a plot of points.

use super::plane::{Frame, dot};
use super::{Clip, Media};
use crate::data::{Content, DataSpec, PointShape};
use crate::picture::{self, Picture, with_axes};

/// Height and width of a plot of points without its axes, in pixels.
const PLOT: usize = 480;
/// Room around the points on each side, as a part of their range.
const ROOM: f64 = 0.05;
const DOT: [u8; 3] = [31, 78, 121];

impl Media {
    /// An image as a picture.
    pub fn picture(&self) -> Option<&Picture> {
        match self {
            Media::Image(picture) => Some(picture),
            _ => None,
        }
    }

    /// A point as its coordinates.
    pub fn point(&self) -> Option<&[f32]> {
        match self {
            Media::Point(values) => Some(values),
            _ => None,
        }
    }

    /// Combines examples of `spec` into one: a grid of images or a plot of points as an image, a text, a sound. Images of `by_class`
    /// classes in turn, from class 0, have a row for each class. `None` without examples.
    pub fn sheet(media: &[Media], spec: &DataSpec, by_class: Option<usize>) -> Option<Media> {
        if media.is_empty() {
            return None;
        }
        Some(match &spec.content {
            Content::Images(shape) => {
                let images: Vec<&[u8]> = media.iter().filter_map(Media::picture).map(Picture::data).collect();
                let (height, width, channels) = (shape.height, shape.width, shape.channels);
                let grid = match by_class {
                    Some(classes) => picture::grid_by_class(&images, height, width, channels, classes, 0),
                    None => picture::grid(&images, height, width, channels, picture::columns(images.len())),
                };
                Media::Image(grid.enlarged(picture::viewing_factor(height, width)))
            }
            Content::Text(shape) => {
                let texts = media.iter().filter_map(|media| match media {
                    Media::Text(text) => Some([text.as_slice(), shape.separator()].concat()),
                    _ => None,
                });
                Media::Text(texts.collect::<Vec<_>>().concat())
            }
            Content::Sound(shape) => {
                let clips = media.iter().filter_map(|media| match media {
                    Media::Sound(clip) => Some(clip.clone()),
                    _ => None,
                });
                Media::Sound(Clip::joined(&clips.collect::<Vec<_>>(), *shape))
            }
            Content::Experience(_) => return None,
            Content::Points(shape) => {
                let points: Vec<&[f32]> = media.iter().filter_map(Media::point).collect();
                Media::Image(plots(&points, shape))
            }
        })
    }
}

/// Points along each pair of their first coordinates: first over second, first over third, and so on, row by row. Points of the
/// plane, or of a line, have one plot.
fn plots(points: &[&[f32]], shape: &PointShape) -> Picture {
    /// Coordinates of which pairs are plotted.
    const PLOTTED: usize = 4;
    let dims = shape.dims.min(PLOTTED);
    let pairs: Vec<(usize, usize)> = (0..dims).flat_map(|x| (x + 1..dims).map(move |y| (x, y))).collect();
    let one = |x: usize, y: usize| {
        let at = |point: &&[f32]| [point[x], point.get(y).copied().unwrap_or(0.0)];
        let name = |at: usize| if at < shape.dims { shape.column(at) } else { String::new() };
        plot(&points.iter().map(at).collect::<Vec<_>>(), [&name(x), &name(y)])
    };
    if pairs.len() < 2 {
        return one(0, 1);
    }
    let each: Vec<Picture> = pairs.iter().map(|&(x, y)| one(x, y)).collect();
    let pixels: Vec<&[u8]> = each.iter().map(Picture::data).collect();
    picture::grid(&pixels, each[0].height(), each[0].width(), 3, picture::columns(pixels.len()))
}

/// Points as dots on white, so that all fit, with axes.
fn plot(points: &[[f32; 2]], names: [&str; 2]) -> Picture {
    let frame = Frame::around(points.iter().copied(), ROOM);
    let mut picture = Picture::filled(PLOT, PLOT, &[255, 255, 255]);
    for place in points.iter().filter_map(|&point| frame.place(point, PLOT)) {
        dot(&mut picture, place, DOT);
    }
    with_axes(&picture, frame.axes(names))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(dims: usize, columns: &[&str]) -> PointShape {
        PointShape { columns: columns.iter().map(|&name| name.to_owned()).collect(), ..PointShape::new(dims) }
    }

    #[test]
    fn points_of_more_dimensions_have_a_plot_for_each_pair() {
        let point: &[f32] = &[1.0, 1.0, -1.0];
        let plane = plots(&[&point[..2]], &shape(2, &["a", "b"]));
        assert_eq!(plane, plot(&[[1.0, 1.0]], ["a", "b"]), "the plane has one");
        assert_eq!(
            plots(&[&point[..1]], &shape(1, &[])),
            plot(&[[1.0, 0.0]], ["column 1", ""]),
            "so has a line"
        );
        let pair = |x: usize, y: usize| {
            let names = ["column 1", "column 2", "column 3"];
            plot(&[[point[x], point[y]]], [names[x], names[y]])
        };
        let three = [pair(0, 1), pair(0, 2), pair(1, 2)];
        let each: Vec<&[u8]> = three.iter().map(Picture::data).collect();
        let (height, width) = (three[0].height(), three[0].width());
        let drawn = plots(&[point], &shape(3, &[]));
        assert_eq!(drawn, picture::grid(&each, height, width, 3, picture::columns(3)));
        let many = vec![0.5; 100];
        assert_eq!(
            plots(&[&many], &shape(100, &[])),
            plots(&[&many[..4]], &shape(4, &[])),
            "the first four of many"
        );
    }

    #[test]
    fn points_are_drawn_where_they_lie() {
        let picture = plot(&[[170.0, 1e6], [150.0, -1e6], [160.0, 0.0]], ["height", "balance"]);
        let places: Vec<(usize, usize)> = (0..picture.height())
            .flat_map(|y| (0..picture.width()).map(move |x| (x, y)))
            .filter(|&(x, y)| picture.pixel(x, y) == DOT)
            .collect();
        assert_eq!(places.len(), 3 * 9);
        // From the top: the first on the right, the third in the middle, the second on the left.
        let middles = [4, 13, 22].map(|at| places[at]);
        let [(right, top), (middle, halfway), (left, bottom)] = middles;
        let between = |low: usize, at: usize, high: usize| (high - at).abs_diff(at - low) <= 1;
        assert!(between(left, middle, right) && between(top, halfway, bottom), "{middles:?}");
        // The range is 1 / 1.1 of the side.
        assert!((right - left).abs_diff(PLOT * 10 / 11) <= 1 && (bottom - top).abs_diff(PLOT * 10 / 11) <= 1);
    }
}
