//! Several examples in one file: a grid of images, joined texts, clips with pauses between them, a plot of points.

use super::{Clip, Media};
use crate::data::{Content, DataSpec};
use crate::picture::{self, Picture};

/// Height and width of a plot of points, in pixels.
const PLOT: usize = 480;

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
                Media::Image(plots(&points, shape.dims))
            }
        })
    }
}

/// Points along each pair of their first coordinates: first over second, first over third, and so on, row by row. Points of the
/// plane, or of a line, have one plot.
fn plots(points: &[&[f32]], dims: usize) -> Picture {
    /// Coordinates of which pairs are plotted.
    const PLOTTED: usize = 4;
    let pairs: Vec<(usize, usize)> =
        (0..dims.min(PLOTTED)).flat_map(|x| (x + 1..dims.min(PLOTTED)).map(move |y| (x, y))).collect();
    let one = |x: usize, y: usize| {
        let at = |point: &&[f32]| [point[x], point.get(y).copied().unwrap_or(0.0)];
        plot(&points.iter().map(at).collect::<Vec<_>>())
    };
    if pairs.len() < 2 {
        return one(0, 1);
    }
    let each: Vec<Picture> = pairs.iter().map(|&(x, y)| one(x, y)).collect();
    let pixels: Vec<&[u8]> = each.iter().map(Picture::data).collect();
    picture::grid(&pixels, PLOT, PLOT, 3, picture::columns(pixels.len()))
}

/// Points as dots on white, scaled so that all fit.
fn plot(points: &[[f32; 2]]) -> Picture {
    let reach =
        points.iter().flatten().fold(0.0_f32, |most, x| most.max(x.abs())).max(f32::MIN_POSITIVE) * 1.1;
    let mut picture = Picture::filled(PLOT, PLOT, &[255, 255, 255]);
    let place = |x: f32| ((x / reach + 1.0) / 2.0 * (PLOT - 3) as f32).clamp(0.0, (PLOT - 3) as f32) as usize;
    for &[x, y] in points {
        picture.paste(&[31, 78, 121].repeat(9), 3, 3, place(x), place(-y));
    }
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_of_more_dimensions_have_a_plot_for_each_pair() {
        let point: &[f32] = &[1.0, 1.0, -1.0];
        assert_eq!(plots(&[&point[..2]], 2), plot(&[[1.0, 1.0]]), "the plane has one");
        assert_eq!(plots(&[&point[..1]], 1), plot(&[[1.0, 0.0]]), "so has a line");
        let three = [[1.0, 1.0], [1.0, -1.0], [1.0, -1.0]].map(|pair| plot(&[pair]));
        let each: Vec<&[u8]> = three.iter().map(Picture::data).collect();
        assert_eq!(plots(&[point], 3), picture::grid(&each, PLOT, PLOT, 3, picture::columns(3)));
        let many = vec![0.5; 100];
        assert_eq!(plots(&[&many], 100), plots(&[&many[..4]], 4), "the first four of many");
    }

    #[test]
    fn points_are_drawn_where_they_lie() {
        let picture = plot(&[[1.0, 1.0], [-1.0, -1.0]]);
        let (low, high) =
            (((1.0 - 1.0 / 1.1) / 2.0 * 477.0) as usize, ((1.0 + 1.0 / 1.1) / 2.0 * 477.0) as usize);
        assert_eq!(picture.pixel(high, low), [31, 78, 121]);
        assert_eq!(picture.pixel(low, high), [31, 78, 121]);
        assert_eq!(picture.pixel(low, low), [255, 255, 255]);
    }
}
