//! Images that verbs read: from files, or from a split of the run's own data.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use poiesis::Trained;
use poiesis::apply::encode::{Encoded, encode};
use poiesis::apply::inversion::Inversion;
use poiesis::rng;
use poiesis_collect::{Dataset, Split, View};

use super::discover::OfData;
use super::evaluate::Meters;
use super::given_images::{self, Given, expect_existing};
use super::pictures::positive;
use crate::render::expect_none;

/// Images with their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Images {
    /// The file, or the split and number, of each.
    pub(crate) names: Vec<String>,
    /// 8-bit pixels, one image after another.
    pub(crate) pixels: Vec<u8>,
    /// The class of each, for a model that is conditioned on classes.
    pub(crate) classes: Vec<Option<u32>>,
}

impl Images {
    /// Those of files, folders and archives, cropped and resized like the images that the model was trained on. What cannot be read is
    /// named; an error if nothing is left.
    pub(crate) fn of_files(
        trained: &Trained,
        paths: &[PathBuf],
        data: &OfData,
        class: Option<u32>,
        quiet: bool,
    ) -> Result<Images> {
        expect_existing(paths)?;
        let Given { names, pixels, .. } = given_images::read(paths, trained, data, quiet)?;
        let classes = vec![class; names.len()];
        Ok(Images { names, pixels, classes })
    }

    /// The images of a split with these numbers.
    pub(crate) fn of_split(trained: &Trained, view: &View, split: Split, indices: &[usize]) -> Images {
        let conditional = trained.num_classes() > 0;
        Images {
            names: indices.iter().map(|index| format!("{split} {index}")).collect(),
            pixels: indices.iter().flat_map(|&index| view.image(index)).copied().collect(),
            classes: indices.iter().map(|&index| view.label(index).filter(|_| conditional)).collect(),
        }
    }

    /// At most `count` images of a split that have a label, drawn at random where there are more.
    pub(crate) fn of_class(
        trained: &Trained,
        dataset: &Dataset,
        split: Split,
        class: u32,
        count: usize,
    ) -> Result<Images> {
        let view = dataset.require(split)?;
        let all: Vec<usize> = (0..view.len()).filter(|&index| view.label(index) == Some(class)).collect();
        let place = |i: usize| rng::permute(0, 0, i as u64, all.len() as u64) as usize;
        let chosen: Vec<usize> = (0..all.len().min(count)).map(|i| all[place(i)]).collect();
        Ok(Images::of_split(trained, &view, split, &chosen))
    }

    /// The first `count` of them.
    pub(crate) fn truncated(mut self, count: usize) -> Images {
        let size = self.pixels.len() / self.names.len().max(1);
        self.names.truncate(count);
        self.classes.truncate(count);
        self.pixels.truncate(count * size);
        self
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }
}

/// How latents are searched where the model has no encoder.
#[derive(Args, Clone, Debug)]
pub(crate) struct Inverting {
    /// Search the latents of an image by gradients of the decoder, though the model has an encoder.
    #[arg(long)]
    invert: bool,
    /// Starts of a search, half of them from the nearest of 1,000 samples and the others at random [default: 8].
    #[arg(long, value_name = "N", value_parser = starts)]
    starts: Option<usize>,
    /// Steps of a search from each start [default: 300].
    #[arg(long, value_name = "N", value_parser = positive)]
    iterations: Option<usize>,
}

fn starts(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(starts) if (1..=1000).contains(&starts) => Ok(starts),
        _ => Err("give a whole number from 1 to 1000".to_owned()),
    }
}

impl Inverting {
    /// The flags of a search, and whether they were given.
    pub(crate) fn given(&self) -> [(&'static str, bool); 3] {
        [
            ("--invert", self.invert),
            ("--starts", self.starts.is_some()),
            ("--iterations", self.iterations.is_some()),
        ]
    }

    /// How latents are searched; `None` where the model's encoder is used, for which the settings of a search are refused.
    pub(crate) fn of(&self, trained: &Trained, seed: Option<u64>) -> Result<Option<Inversion>> {
        trained.latents()?;
        if trained.abilities().encoder.is_some() && !self.invert {
            let what = format!("{}, whose model has an encoder", trained.info.id);
            let flags = [
                ("--starts", self.starts.is_some()),
                ("--iterations", self.iterations.is_some()),
                ("--seed", seed.is_some()),
            ];
            expect_none(&format!("{what}, without --invert"), &flags)?;
            return Ok(None);
        }
        let usual = Inversion::default();
        Ok(Some(Inversion {
            starts: self.starts.unwrap_or(usual.starts),
            iterations: self.iterations.unwrap_or(usual.iterations),
            seed: seed.unwrap_or(0),
            ..usual
        }))
    }
}

/// The latents of images.
pub(crate) fn encoded(
    trained: &Trained,
    images: &Images,
    inversion: Option<&Inversion>,
    quiet: bool,
) -> Result<Encoded> {
    let mut meters = Meters::new(quiet);
    let found = encode(trained, &images.pixels, &images.classes, inversion, &mut |at| meters.show(at))?;
    meters.end();
    Ok(found)
}
