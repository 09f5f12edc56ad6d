//! Images that are given as files, prepared as those that a model was trained on.

use std::path::PathBuf;

use anyhow::Result;
use poiesis::Trained;
use poiesis::apply::classify::preparation;
use poiesis_collect::{ReadImage, read_images};

use super::classify::{name_of, tell_skipped};
use super::discover::OfData;
use crate::render::{Meter, failure, note};

/// Images of files, folders and archives, and what could not be read, with the reasons.
#[derive(Default)]
pub(crate) struct Given {
    /// How each image is called.
    pub(crate) names: Vec<String>,
    /// 8-bit, concatenated.
    pub(crate) pixels: Vec<u8>,
    pub(crate) skipped: Vec<(String, String)>,
}

/// Returns an error if one of `paths` is not there.
pub(crate) fn expect_existing(paths: &[PathBuf]) -> Result<()> {
    match paths.iter().find(|path| !path.exists()) {
        Some(path) => Err(failure(
            format!("{} does not exist", path.display()),
            "give files, folders or archives of images",
        )),
        None => Ok(()),
    }
}

/// Reads images, at least one, and says which could not be read.
pub(crate) fn read(paths: &[PathBuf], trained: &Trained, data: &OfData, quiet: bool) -> Result<Given> {
    let (options, known) = preparation(trained, data.source(), &data.places()?)?;
    if !known {
        note(
            "note: the run's data are not there, so images are cropped and resized as its configuration says",
        );
    }
    let meter = Meter::new("reading", "images", None, quiet);
    let mut given = Given::default();
    for path in paths {
        read_images(path, &options, &mut |ReadImage { name, pixels }| {
            let name = name_of(path, &name);
            match pixels {
                Ok(pixels) => {
                    given.pixels.extend(pixels);
                    given.names.push(name);
                    meter.at(given.names.len() as u64, None);
                }
                Err(reason) => given.skipped.push((name, reason)),
            }
        })?;
    }
    meter.end();
    tell_skipped(&given.skipped);
    if given.names.is_empty() {
        return Err(none_readable());
    }
    Ok(given)
}

/// The error where none of the images that were given could be read.
pub(crate) fn none_readable() -> anyhow::Error {
    failure("none of the images could be read", "give images in PNG, JPEG, WebP, BMP, GIF or TIFF")
}
