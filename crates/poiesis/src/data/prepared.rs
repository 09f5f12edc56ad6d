//! The size and the channels that images get where nobody has given them.

use poiesis_collect::FirstImages;

use crate::config::Choice;

/// Sides that halve down to 4 to 7 pixels, as most networks of images need.
const SIDES: [u32; 13] = [8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64];
/// The largest side that is chosen: larger images take hours to learn on a few cores.
const LARGEST: u32 = 64;
/// The same for drawings, of which more can be recognised at a small size.
const LARGEST_DRAWING: u32 = 32;

/// How images are prepared for training, by the first of them: nothing for images of one size that can be learned as they are.
pub fn image_settings(first: &FirstImages) -> Vec<Choice> {
    let mut choices = Vec::new();
    let FirstImages { smallest, largest, uniform, median_side, mixed_channels, grey_in_colour, drawings } =
        first;
    let (width, height) = *smallest;
    let as_they_are = *uniform && SIDES.contains(&width) && SIDES.contains(&height);
    if !as_they_are {
        let most = if *drawings { LARGEST_DRAWING } else { LARGEST };
        let fits = |side: &&u32| **side <= most.min(*median_side);
        let side = SIDES.iter().rev().find(fits).unwrap_or(&SIDES[0]);
        let sizes = match uniform {
            true => format!("images of {width}×{height}"),
            false => format!("images of {width}×{height} to {}×{}", largest.0, largest.1),
        };
        choices.push(Choice::new("data.size", i64::from(*side), sizes));
    }
    if *mixed_channels {
        choices.push(Choice::new("data.channels", 3, "some images are grey and some are in colour"));
    }
    if *grey_in_colour {
        choices.push(Choice::new("data.channels", 1, "no image has a colour"));
    }
    choices
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(smallest: (u32, u32), largest: (u32, u32), drawings: bool) -> FirstImages {
        FirstImages {
            smallest,
            largest,
            uniform: smallest == largest,
            median_side: largest.0.min(largest.1),
            mixed_channels: false,
            grey_in_colour: false,
            drawings,
        }
    }

    fn side(first: &FirstImages) -> Option<i64> {
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
        let grey = FirstImages { grey_in_colour: true, ..seen((32, 32), (32, 32), false) };
        assert_eq!(image_settings(&grey), [Choice::new("data.channels", 1, "no image has a colour")]);
        let mixed = FirstImages { mixed_channels: true, ..seen((32, 32), (32, 32), false) };
        assert_eq!(
            image_settings(&mixed),
            [Choice::new("data.channels", 3, "some images are grey and some are in colour")]
        );
    }
}
