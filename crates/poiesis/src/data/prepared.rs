//! The size and the channels that images get where nobody has given them.

use std::path::Path;

use poiesis_collect::{ImageSummary, Options, Progress};

use super::locate::by_name;
use crate::config::Choice;
use crate::error::Result;

/// Sides that halve down to 4 to 7 pixels, as most networks of images need.
const SIDES: [u32; 13] = [8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64];
/// The largest side that is chosen: larger images take hours to learn on a few cores.
const LARGEST: u32 = 64;
/// The same for drawings, of which more can be recognised at a small size.
const LARGEST_DRAWING: u32 = 32;

/// Chooses how the images of a source are prepared where `options` leave it open. `name` is the source as it was named, and `path` is
/// where it was found. Nothing is chosen for other data, or for what is packed already.
///
/// # Errors
///
/// [`Error::Data`](crate::Error::Data) when the source cannot be opened.
pub fn choose_preparation(
    name: &str,
    path: &Path,
    options: &Options,
    cache: Option<&Path>,
    progress: &dyn Fn(Progress),
) -> Result<Vec<Choice>> {
    let (size, channels) = (options.size.is_some(), options.channels.is_some());
    // What images of published data sets are like need not be looked up where they can be learned as they are.
    let known = by_name(name).and_then(|known| known.shape);
    if (size && channels) || known.is_some_and(|[height, width, _]| is_learned(width as u32, height as u32)) {
        return Ok(Vec::new());
    }
    let images = ImageSummary::of(path, options, cache, progress)?;
    let mut choices = images.map(|images| image_settings(&images)).unwrap_or_default();
    choices.retain(|choice| match choice.key.as_str() {
        "data.size" => !size,
        _ => !channels,
    });
    Ok(choices)
}

/// Whether images of these sides are learned as they are.
fn is_learned(width: u32, height: u32) -> bool {
    SIDES.contains(&width) && SIDES.contains(&height)
}

/// The side to give images so that every model learns them: the largest that halves and that images of `side` fill, at most 64.
pub fn fitting_side(side: usize) -> u32 {
    *SIDES.iter().rev().find(|&&fitting| fitting as usize <= side).unwrap_or(&SIDES[0])
}

/// How images are prepared for training, by what they are like: nothing for images of one size and of one kind of colour that can be
/// learned as they are.
pub fn image_settings(images: &ImageSummary) -> Vec<Choice> {
    let mut choices = Vec::new();
    let ImageSummary { smallest, largest, uniform, median_side, drawings, .. } = images;
    let (width, height) = *smallest;
    if !(*uniform && is_learned(width, height)) {
        let most = if *drawings { LARGEST_DRAWING } else { LARGEST };
        let side = fitting_side(most.min(*median_side) as usize);
        let sizes = match uniform {
            true => format!("images of {width}×{height}"),
            false => format!("images of {width}×{height} to {}×{}", largest.0, largest.1),
        };
        choices.push(Choice::new("data.size", i64::from(side), sizes));
    }
    if images.is_grey() && images.stored_grey < images.count {
        choices.push(Choice::new("data.channels", 1, without_colour(images)));
    } else if images.mixes_channels() {
        choices.push(Choice::new("data.channels", 3, "some images are grey and some are in colour"));
    }
    choices
}

/// How many images are grey, as a reason to make all of them so.
fn without_colour(images: &ImageSummary) -> String {
    let ImageSummary { count, looked_at, without_colour, .. } = images;
    let all = *looked_at as u64 == *count;
    match (without_colour == looked_at, all) {
        (true, true) => "all images are grey".to_owned(),
        (true, false) => format!("all of {looked_at} sampled images are grey"),
        (false, true) => format!("{without_colour} of {looked_at} images are grey"),
        (false, false) => format!("{without_colour} of {looked_at} sampled images are grey"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(smallest: (u32, u32), largest: (u32, u32), drawings: bool) -> ImageSummary {
        ImageSummary {
            smallest,
            largest,
            uniform: smallest == largest,
            median_side: largest.0.min(largest.1),
            count: 40,
            stored_grey: 0,
            looked_at: 40,
            without_colour: 0,
            drawings,
        }
    }

    fn side(first: &ImageSummary) -> Option<i64> {
        image_settings(first).iter().find(|choice| choice.key == "data.size")?.value.as_integer()
    }

    #[test]
    fn images_that_can_be_learned_stay_as_they_are() {
        for size in [(28, 28), (32, 32), (64, 48), (8, 8)] {
            assert_eq!(side(&seen(size, size, false)), None, "{size:?}");
        }
    }

    #[test]
    fn others_get_a_side_that_halves() {
        assert_eq!(side(&seen((92, 112), (92, 112), false)), Some(64));
        assert_eq!(side(&seen((105, 105), (105, 105), true)), Some(32));
        assert_eq!(side(&seen((307, 172), (640, 480), false)), Some(64));
        assert_eq!(side(&seen((25, 25), (25, 25), false)), Some(24));
        assert_eq!(side(&seen((5, 5), (5, 5), false)), Some(8));
        assert_eq!(side(&seen((72, 72), (72, 72), false)), Some(64));
    }

    #[test]
    fn channels_are_what_most_images_have() {
        let channels = |count, stored_grey, looked_at, without_colour| {
            let like = seen((32, 32), (32, 32), false);
            let choices =
                image_settings(&ImageSummary { count, stored_grey, looked_at, without_colour, ..like });
            choices.first().map(|choice| (choice.value.as_integer().unwrap(), choice.reason.clone()))
        };
        let chosen = |channels: i64, reason: &str| Some((channels, reason.to_owned()));
        assert_eq!(channels(40, 0, 40, 0), None, "coloured");
        assert_eq!(channels(40, 40, 40, 40), None, "grey as they are");
        assert_eq!(channels(40, 0, 40, 40), chosen(1, "all images are grey"));
        assert_eq!(channels(9000, 0, 150, 150), chosen(1, "all of 150 sampled images are grey"));
        assert_eq!(channels(40, 39, 40, 39), chosen(1, "39 of 40 images are grey"));
        assert_eq!(channels(9000, 8999, 150, 149), chosen(1, "149 of 150 sampled images are grey"));
        assert_eq!(channels(40, 20, 40, 20), chosen(3, "some images are grey and some are in colour"));
        assert_eq!(channels(40, 0, 40, 30), None, "all are stored in colour");
    }

    #[test]
    fn published_images_that_can_be_learned_are_not_looked_at() {
        let chosen = |name: &str, options: &Options| {
            choose_preparation(name, Path::new("nowhere"), options, None, &|_| ())
        };
        assert!(chosen("mnist", &Options::default()).unwrap().is_empty());
        assert!(chosen("noto-emoji", &Options::default()).is_err(), "72×72");
        let given = Options { size: Some((40, 40)), channels: Some(1), ..Options::default() };
        assert!(chosen("photos", &given).unwrap().is_empty());
    }
}
