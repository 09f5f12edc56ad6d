//! How images and sound are prepared where nobody has said it: size, channels, crop and background, sample rate and mono.

use std::path::Path;

use poiesis_collect::{Crop, ImageSummary, Options, Progress, SoundSummary};

use super::locate::by_name;
use super::open::invalid;
use crate::config::{Choice, DataConfig};
use crate::error::Result;

/// Sides that halve down to 4 to 7 pixels, as most networks of images need.
const SIDES: [u32; 13] = [8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64];
/// The largest side that is chosen: larger images take hours to learn on a few cores.
const LARGEST: u32 = 64;
/// The same for drawings, of which more can be recognised at a small size.
const LARGEST_DRAWING: u32 = 32;

/// Of images whose shorter side is less than this part of the longer one, a square from the middle keeps less than half.
const STRIP: f64 = 0.5;

/// Chooses how the images or the sound of a source are prepared where `options` leave it open. `name` is the source as it was named, and
/// `path` is where it was found. Nothing is chosen for other data, or for what is packed already. `is_given` says what options do not
/// show: of `data.background` and `data.crop`, whether it was given.
///
/// # Errors
///
/// [`Error::Data`](crate::Error::Data) when the source cannot be opened.
pub fn choose_preparation(
    name: &str,
    path: &Path,
    options: &Options,
    is_given: &dyn Fn(&str) -> bool,
    cache: Option<&Path>,
    progress: &dyn Fn(Progress),
) -> Result<Vec<Choice>> {
    let (size, channels) = (options.size.is_some(), options.channels.is_some());
    // Four channels keep what is transparent.
    let background = options.channels == Some(4) || is_given("data.background");
    let may_be_squared = options.size.is_none_or(|(height, width)| height == width);
    let crop = !may_be_squared || options.crop != Crop::Center || is_given("data.crop");
    let is_all_of_images = size && channels && background && crop;
    let is_all_of_sound = options.sample_rate.is_some() && options.mono;
    // What images of published data sets are like need not be looked up where they can be learned as they are.
    let known = by_name(name).and_then(|known| known.shape);
    let is_known_to_fit = known.is_some_and(|[height, width, _]| is_learned(width as u32, height as u32));
    if is_all_of_images || is_all_of_sound || is_known_to_fit {
        return Ok(Vec::new());
    }
    let look = |options: &Options| ImageSummary::of(path, options, cache, progress);
    let Some(mut images) = look(options)? else {
        let sound = SoundSummary::of(path, options, cache, progress)?;
        return Ok(sound.map(|sound| sound_settings(&sound, options)).unwrap_or_default());
    };
    let mut choices = Vec::new();
    if !background && images.are_lost_in_background() {
        let [red, green, blue] = options.background;
        let reason = format!("on #{red:02x}{green:02x}{blue:02x} nothing would be left of the images");
        choices.push(Choice::new("data.background", "#000000", reason));
        // Whether they are grey, and drawings, is seen on that background.
        images = look(&Options { background: [0; 3], ..options.clone() })?.unwrap_or(images);
    }
    choices.extend(image_settings(&images));
    choices.retain(|choice| match choice.key.as_str() {
        "data.size" => !size,
        "data.channels" => !channels,
        _ => true,
    });
    let is_squared = match options.size {
        Some((height, width)) => height == width,
        None => choices.iter().any(|choice| choice.key == "data.size"),
    };
    if is_squared && !crop && images.median_ratio < STRIP {
        let kept = images.median_ratio * 100.0;
        let reason = format!("most images are strips, of which a square would keep {kept:.0} %");
        choices.push(Choice::new("data.crop", "none", reason));
    }
    Ok(choices)
}

/// Writes what was chosen for the data into their configuration.
///
/// # Errors
///
/// [`Error::InvalidValue`](crate::Error::InvalidValue) for a choice of a key that `[data]` does not have.
pub fn apply_choices(config: &mut DataConfig, choices: &[Choice]) -> Result<()> {
    for Choice { key, value, .. } in choices {
        let name = key.strip_prefix("data.").unwrap_or(key);
        let unknown = || invalid(name, &value.to_string(), "it is not chosen for data", "leave it out");
        let number = || value.as_integer().ok_or_else(unknown);
        let text = || value.as_str().map(str::to_owned).ok_or_else(unknown);
        match key.as_str() {
            "data.size" => config.size = u32::try_from(number()?).map_err(|_| unknown())?,
            "data.channels" => config.channels = u8::try_from(number()?).map_err(|_| unknown())?,
            "data.background" => config.background = text()?,
            "data.crop" => config.crop = text()?,
            "data.sample_rate" => config.sample_rate = u32::try_from(number()?).map_err(|_| unknown())?,
            "data.mono" => config.mono = value.as_bool().ok_or_else(unknown)?,
            _ => return Err(unknown()),
        }
    }
    Ok(())
}

/// One format for clips of several, so that nearly all of them are used.
fn sound_settings(sound: &SoundSummary, options: &Options) -> Vec<Choice> {
    let mut choices = Vec::new();
    let SoundSummary { count, rates, channels, first_channels } = sound;
    let most = channels.keys().next_back().copied().unwrap_or(1);
    let mono = channels.get(&1).copied().unwrap_or(0);
    let mixed = channels.len() > 1;
    // A few clips in mono are no reason to mix down all others, unless the first is one: it decides which are skipped.
    let is_usual = mixed && mono * 2 >= *count;
    let is_first = mixed && *first_channels == 1;
    if !options.mono && (is_usual || most > 2 || is_first) {
        let reason = match (is_usual, most > 2) {
            (true, _) => format!("{mono} of {count} clips are mono, the others are not"),
            (false, true) => format!("clips have up to {most} channels"),
            (false, false) => "the first clip is mono, and stereo clips would be skipped".to_owned(),
        };
        choices.push(Choice::new("data.mono", true, reason));
    }
    let ends = rates.keys().next().zip(rates.keys().next_back());
    if let (None, Some(rate), Some((low, high))) = (options.sample_rate, sound.usual_rate(), ends)
        && rates.len() > 1
    {
        let reason = format!("{} of {count} clips have it; all have {low} to {high} Hz", rates[&rate]);
        choices.push(Choice::new("data.sample_rate", i64::from(rate), reason));
    }
    choices
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
            blank: 0,
            blank_on_black: 0,
            median_ratio: 1.0,
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
    fn clips_of_several_formats_get_the_most_frequent_one() {
        let chosen = |clips: &[(u32, u16)], options: &Options| -> Vec<String> {
            let mut sound = SoundSummary::default();
            for &(rate, channels) in clips {
                if sound.count == 0 {
                    sound.first_channels = channels;
                }
                sound.count += 1;
                *sound.rates.entry(rate).or_default() += 1;
                *sound.channels.entry(channels).or_default() += 1;
            }
            let choices = sound_settings(&sound, options);
            choices
                .iter()
                .map(|choice| format!("{} {} ({})", choice.key, choice.value, choice.reason))
                .collect()
        };
        let open = Options::default();
        let none: Vec<String> = Vec::new();
        assert_eq!(chosen(&[(8000, 2), (8000, 2)], &open), none);
        let mixed = [(44_100, 1), (44_100, 2), (48_000, 1)];
        let mono = "data.mono true (2 of 3 clips are mono, the others are not)";
        let rate = "data.sample_rate 44100 (2 of 3 clips have it; all have 44100 to 48000 Hz)";
        assert_eq!(chosen(&mixed, &open), [mono, rate]);
        assert_eq!(chosen(&mixed, &Options { mono: true, ..Options::default() }), [rate]);
        assert_eq!(chosen(&mixed, &Options { sample_rate: Some(8000), ..Options::default() }), [mono]);
        assert_eq!(chosen(&[(8000, 6)], &open), ["data.mono true (clips have up to 6 channels)"]);
        let up_to = ["data.mono true (clips have up to 3 channels)"];
        assert_eq!(chosen(&[(8000, 1), (8000, 2), (8000, 3)], &open), up_to);
        assert_eq!(chosen(&[(8000, 2), (8000, 1), (8000, 2)], &open), none, "most are stereo");
        let first = ["data.mono true (the first clip is mono, and stereo clips would be skipped)"];
        assert_eq!(chosen(&[(8000, 1), (8000, 2), (8000, 2)], &open), first);
        let half = ["data.mono true (1 of 2 clips are mono, the others are not)"];
        assert_eq!(chosen(&[(8000, 2), (8000, 1)], &open), half);
    }

    #[test]
    fn strips_are_kept_whole_and_white_drawings_get_a_dark_ground() {
        let root = tempfile::tempdir().unwrap();
        let folder = |name: &str, width: u32, height: u32, image: &dyn Fn(u32, u32) -> [u8; 4]| {
            let folder = root.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            for number in 0..3 {
                let pixels = (0..width * height).flat_map(|at| image(at % width, at / width + number));
                let picture =
                    crate::picture::Picture::new(width as usize, height as usize, 4, pixels.collect());
                picture.write_png(&folder.join(format!("{number}.png")), None).unwrap();
            }
            folder
        };
        let cache = root.path().join("cache");
        let chosen_but = |given: &str, folder: &Path, options: Options| -> Vec<String> {
            let is_given = |key: &str| given.split(' ').any(|given| given == key);
            let choices =
                choose_preparation("in", folder, &options, &is_given, Some(&cache), &|_| ()).unwrap();
            choices
                .iter()
                .map(|choice| format!("{} = {} ({})", choice.key, choice.value, choice.reason))
                .collect()
        };
        let chosen = |folder: &Path, options: Options| chosen_but("", folder, options);
        let strips = folder("strips", 80, 20, &|x, y| [x as u8, y as u8 * 9, 255, 255]);
        let all = chosen(&strips, Options::default());
        assert!(all[0].starts_with("data.size = 20 "), "{all:?}");
        assert_eq!(
            all[1],
            "data.crop = \"none\" (most images are strips, of which a square would keep 25 %)"
        );
        assert!(chosen(&strips, Options { size: Some((20, 40)), ..Options::default() }).is_empty());
        let white = |x: u32, y: u32| [255, 255, 255, if (x + y).is_multiple_of(3) { 255 } else { 0 }];
        let icons = folder("icons", 32, 32, &white);
        let all = chosen(&icons, Options::default());
        assert_eq!(all[0], "data.background = \"#000000\" (on #ffffff nothing would be left of the images)");
        assert_eq!(all[1], "data.channels = 1 (all images are grey)");
        assert!(chosen(&icons, Options { channels: Some(4), ..Options::default() }).is_empty());
        assert!(
            chosen(&icons, Options { background: [0; 3], channels: Some(3), ..Options::default() })
                .is_empty()
        );
        // Size and channels leave the background and the crop open.
        let sized = || Options { size: Some((20, 20)), channels: Some(3), ..Options::default() };
        assert!(chosen(&icons, sized())[0].starts_with("data.background = \"#000000\""));
        assert!(chosen(&strips, sized())[0].starts_with("data.crop = \"none\""));
        assert!(chosen_but("data.background data.crop", &icons, sized()).is_empty());
        assert!(chosen_but("data.background data.crop", &strips, sized()).is_empty());
        // All of it can be written into a configuration.
        let mut config = DataConfig::default();
        let choices =
            choose_preparation("in", &icons, &Options::default(), &|_| false, None, &|_| ()).unwrap();
        apply_choices(&mut config, &choices).unwrap();
        assert_eq!((config.background.as_str(), config.channels), ("#000000", 1));
        assert!(apply_choices(&mut config, &[Choice::new("data.source", "x", "")]).is_err());
    }

    #[test]
    fn published_images_that_can_be_learned_are_not_looked_at() {
        let chosen = |name: &str, options: &Options| {
            choose_preparation(name, Path::new("nowhere"), options, &|_| true, None, &|_| ())
        };
        assert!(chosen("mnist", &Options::default()).unwrap().is_empty());
        assert!(chosen("noto-emoji", &Options::default()).is_err(), "72×72");
        let given = Options { size: Some((40, 40)), channels: Some(1), ..Options::default() };
        assert!(chosen("photos", &given).unwrap().is_empty());
    }
}
