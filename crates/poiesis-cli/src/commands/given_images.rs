//! Images that are given as files, prepared as those that a model was trained on, or as packed data sets.

use std::path::{Path, PathBuf};

use anyhow::Result;
use poiesis::Trained;
use poiesis::apply::classify::preparation;
use poiesis::data::DataSpec;
use poiesis_collect::{Dataset, ReadImage, Split, read_images};

use super::classify::{name_of, tell_skipped};
use super::discover::OfData;
use crate::render::{Meter, failure, in_json, note};

/// Images of files, folders, archives and packed data sets, and what could not be read, with the reasons.
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
            "give files, folders, archives or packed data sets",
        )),
        None => Ok(()),
    }
}

/// The packed data set that a path is the folder of, if it is one.
pub(crate) fn packed(path: &Path) -> Result<Option<Dataset>> {
    match path.join("dataset.json").is_file() {
        true => Ok(Some(Dataset::open(path)?)),
        false => Ok(None),
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
        if let Some(dataset) = packed(path)? {
            read_packed(trained, &dataset, path, &mut given)?;
            meter.at(given.names.len() as u64, None);
            continue;
        }
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

/// Reads the images of all splits of a packed data set, which must be of the shape that the model reads.
fn read_packed(trained: &Trained, dataset: &Dataset, path: &Path, given: &mut Given) -> Result<()> {
    let (wanted, found) = (trained.spec.images()?, DataSpec::of(dataset)?);
    if found.images().ok() != Some(wanted) {
        let card = dataset.card();
        let what = format!(
            "{} holds {} of {}, and the model reads images of {}",
            path.display(),
            card.kind.name(),
            crate::render::shape(&card.shape),
            crate::render::shape(&[wanted.height, wanted.width, wanted.channels])
        );
        return Err(failure(
            what,
            "give the images themselves, which are cropped and resized as the model needs them",
        ));
    }
    for split in Split::ALL {
        let Some(view) = dataset.split(split) else { continue };
        given.names.extend((0..view.len()).map(|index| format!("{}: {split} {index}", in_json(path))));
        (0..view.len()).for_each(|index| given.pixels.extend_from_slice(view.image(index)));
    }
    Ok(())
}

/// The error where none of the images that were given could be read.
pub(crate) fn none_readable() -> anyhow::Error {
    failure("none of the images could be read", "give images in PNG, JPEG, WebP, BMP, GIF or TIFF")
}
