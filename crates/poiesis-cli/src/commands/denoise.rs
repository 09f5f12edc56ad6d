//! `poiesis denoise`: takes noise out of images.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use poiesis::Trained;
use poiesis::apply::anomaly::split_images;
use poiesis::apply::denoise::{Denoiser, FITTED, add_noise, median, psnr};
use poiesis::data::ImageShape;
use poiesis::picture::{self, Picture};
use poiesis_collect::Split;
use serde_json::{Value, json};

use super::discover::OfData;
use super::evaluate::Meters;
use super::given_images::{self, Given, expect_existing};
use super::inspect::split;
use super::pictures::{self, positive};
use crate::args::{OfRun, class_of};
use crate::render::{counted, expect_empty, expect_none, failure, note, result, table};

/// Images of a split to which noise is added, by default.
const IMAGES: usize = 64;
/// Images in the picture for comparison, at most.
const COMPARED: usize = 16;

/// Take noise out of images
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis denoise runs/vae-photos noisy/ --noise 0.1 --out clean
  poiesis denoise runs/vae-photos noisy/ --noise 0.1 --out clean --clean originals/
  poiesis denoise runs/gated-pixelcnn-mnist --split test --add-noise 0.3 --images 16 --out denoised

A first form: the model was not trained for it. One that encodes and decodes (a VAE) reconstructs an image from its mean \
latents, and each pixel is mixed with the noisy one by the weight that is best for training images with the same noise; \
where the noise is weaker than what the model loses, little changes. An autoregressive model goes through the pixels in \
order and takes the mean of each given the noisy value and those before it; it does not see those that come later, and \
takes as long as sampling. Noise is normal, its deviation a part of the full range: 0.1 is 25.5 of 255 grey levels.

The folder gets an image for each, and `comparison.png`: the noisy image, its 3×3 median and the denoised one, after the \
clean one if that is known. Then PSNR is shown too.")]
pub(crate) struct Denoise {
    #[command(flatten)]
    of: OfRun,
    /// Files, folders or archives of noisy images.
    #[arg(value_name = "IMAGES", required_unless_present = "split")]
    images: Vec<PathBuf>,
    /// Deviation of the noise, as a part of the full range [default: that of --add-noise].
    #[arg(long, value_name = "SIGMA", required_unless_present = "add_noise")]
    noise: Option<f64>,
    /// Folder to write.
    #[arg(long, short, value_name = "FOLDER")]
    out: PathBuf,
    /// Write into the folder even if it is not empty.
    #[arg(long)]
    force: bool,
    /// The clean images, of the same names or in the same order, to measure PSNR.
    #[arg(long, value_name = "FOLDER", conflicts_with = "split")]
    clean: Option<PathBuf>,
    /// Take clean images from this split of the run's data.
    #[arg(long, value_name = "SPLIT", value_parser = split, conflicts_with = "images", requires = "add_noise")]
    split: Option<Split>,
    /// Add noise of this deviation to clean images, to measure PSNR.
    #[arg(long, value_name = "SIGMA", conflicts_with = "clean")]
    add_noise: Option<f64>,
    /// Number of images of the split, drawn at random [default: 64].
    #[arg(long = "images", value_name = "N", value_parser = positive, requires = "split", id = "count")]
    count: Option<usize>,
    /// Class of the images, for a model conditioned on classes: its name or number.
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    /// Seed of the noise that is added, and of the images that are drawn.
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    #[command(flatten)]
    data: OfData,
    /// Print the results as JSON.
    #[arg(long)]
    json: bool,
}

/// Noisy images, and clean ones where they are known.
struct Noisy {
    names: Vec<String>,
    pixels: Vec<u8>,
    clean: Option<Vec<u8>>,
}

impl Denoise {
    pub(crate) fn run(self) -> Result<()> {
        expect_existing(&self.images)?;
        if let Some(clean) = &self.clean {
            expect_existing(std::slice::from_ref(clean))?;
        }
        self.expect_free()?;
        let sigma = self.noise.or(self.add_noise).unwrap_or_default();
        for (flag, value) in [("--noise", Some(sigma)), ("--add-noise", self.add_noise)] {
            if value.is_some_and(|value| !(value > 0.0 && value <= 1.0)) {
                let value = value.unwrap_or_default();
                let hint = "give a part of the full range, above 0 and at most 1";
                return Err(failure(format!("{flag} cannot be {value}"), hint));
            }
        }
        let trained = self.of.open()?;
        let shape = trained.spec.images()?;
        let name = trained.entry.name();
        let unconditional = self.class.is_some() && trained.num_classes() == 0;
        expect_none(&format!("{name}, which is not conditioned on classes"), &[("--class", unconditional)])?;
        let class = class_of(&trained, self.class.as_deref())?;
        let mut meters = Meters::new(self.json);
        let mut opened = Ok(());
        let training = || match self.data.open(&trained) {
            Ok(dataset) => split_images(&dataset, Split::Train, self.seed, FITTED),
            Err(error) => {
                opened = Err(error);
                Ok(Vec::new())
            }
        };
        let denoiser = Denoiser::new(&trained, sigma, class, training, self.seed, &mut |at| meters.show(at));
        meters.end();
        opened?;
        let denoiser = denoiser?;
        let noisy = self.noisy(&trained, shape)?;
        let mut meters = Meters::new(self.json);
        let made = denoiser.denoise(&noisy.pixels, &mut |at| meters.show(at));
        meters.end();
        self.write(&trained, shape, &noisy, &made)?;
        let text = self.report(&trained, &denoiser, shape, sigma, &noisy, &made);
        result(&text)
    }

    /// Returns an error if the folder has something in it.
    fn expect_free(&self) -> Result<()> {
        let out = &self.out;
        expect_empty(out, self.force)?;
        fs::create_dir_all(out).with_context(|| format!("cannot make the folder {}", out.display()))
    }

    /// The noisy images.
    fn noisy(&self, trained: &Trained, shape: ImageShape) -> Result<Noisy> {
        let (names, pixels) = match self.split {
            Some(split) => {
                let dataset = self.data.open(trained)?;
                let pixels = split_images(&dataset, split, self.seed, self.count.unwrap_or(IMAGES))?;
                let names = (0..pixels.len() / shape.dims()).map(|i| format!("{i:06}")).collect();
                (names, pixels)
            }
            None => {
                let given = given_images::read(&self.images, trained, &self.data, self.json)?;
                (given.names, given.pixels)
            }
        };
        if let Some(sigma) = self.add_noise {
            let noisy = add_noise(&pixels, shape, sigma, self.seed, 0);
            return Ok(Noisy { names, pixels: noisy, clean: Some(pixels) });
        }
        let clean = match &self.clean {
            Some(folder) => {
                let given = given_images::read(std::slice::from_ref(folder), trained, &self.data, self.json)?;
                Some(matching(&names, &given, shape.dims())?)
            }
            None => None,
        };
        Ok(Noisy { names, pixels, clean })
    }

    /// Writes each image, and the picture for comparison.
    fn write(&self, trained: &Trained, shape: ImageShape, noisy: &Noisy, made: &[u8]) -> Result<()> {
        let size = shape.dims();
        let parameters = |name: &str| {
            let made = json!({ "verb": "denoise", "of": name, "seed": self.seed });
            pictures::parameters(trained, made)
        };
        for ((name, file), image) in noisy.names.iter().zip(file_names(&noisy.names)).zip(made.chunks(size)) {
            let picture = Picture::new(shape.width, shape.height, shape.channels, image.to_vec());
            picture.write_png(&self.out.join(file), Some(&parameters(name)))?;
        }
        let medians: Vec<Vec<u8>> =
            noisy.pixels.chunks(size).take(COMPARED).map(|image| median(image, shape)).collect();
        let row = |i: usize| {
            let at = i * size..(i + 1) * size;
            let clean = noisy.clean.as_ref().map(|clean| &clean[at.clone()]);
            let rest = [&noisy.pixels[at.clone()], &medians[i], &made[at]];
            clean.into_iter().chain(rest).collect::<Vec<&[u8]>>()
        };
        // Columns for images, as they are read.
        let rows: Vec<Vec<&[u8]>> = (0..medians.len()).map(row).collect();
        let across = |part: usize| rows.iter().map(|row| row[part]).collect::<Vec<&[u8]>>();
        let parts: Vec<Vec<&[u8]>> = (0..rows[0].len()).map(across).collect();
        let picture = picture::rows(&parts, shape.height, shape.width, shape.channels);
        let factor = picture::viewing_factor(shape.height, shape.width);
        let path = self.out.join("comparison.png");
        picture.enlarged(factor).write_png(&path, Some(&parameters("comparison")))?;
        Ok(())
    }

    fn report(
        &self,
        trained: &Trained,
        denoiser: &Denoiser<'_>,
        shape: ImageShape,
        sigma: f64,
        noisy: &Noisy,
        made: &[u8],
    ) -> String {
        let size = shape.dims();
        let images = made.len() / size;
        let measured = noisy.clean.as_ref().map(|clean| {
            let mean = |of: &dyn Fn(&[u8]) -> Vec<u8>, pixels: &[u8]| {
                let each = pixels.chunks(size).zip(clean.chunks(size));
                each.map(|(image, clean)| psnr(&of(image), clean)).sum::<f64>() / images as f64
            };
            let same = |image: &[u8]| image.to_vec();
            [
                ("noisy", mean(&same, &noisy.pixels)),
                ("3×3 median", mean(&|image| median(image, shape), &noisy.pixels)),
                ("denoised", mean(&same, made)),
            ]
        });
        if self.json {
            let psnr: Option<Value> =
                measured.map(|all| all.into_iter().map(|(name, db)| (name.to_owned(), json!(db))).collect());
            let value = json!({
                "run": trained.info.id, "model": trained.entry.name(), "step": trained.step,
                "weights": trained.weights().name(), "method": denoiser.method(), "noise": sigma,
                "weight_of_noisy": denoiser.weight(), "seed": self.seed, "images": images,
                "psnr": psnr, "out": self.out.display().to_string(),
            });
            return format!("{value:#}\n");
        }
        let mut text = String::new();
        if let Some(all) = measured {
            let rows = all.map(|(name, db)| vec![name.to_owned(), format!("{db:.2}")]);
            text.push_str(&table(&["IMAGES", ">PSNR IN DB"], &rows));
        }
        let weight = denoiser.weight().map(|weight| format!(" with a weight of {weight:.2}"));
        note(&format!(
            "{}: {}{}",
            counted(images as u64, "image"),
            denoiser.method(),
            weight.unwrap_or_default()
        ));
        text.push_str(&format!("{}\n", self.out.display()));
        text
    }
}

/// The clean image of each noisy one: that of the same name without ending, or the one in the same place where no names agree.
fn matching(names: &[String], clean: &Given, size: usize) -> Result<Vec<u8>> {
    let stem = |name: &str| Path::new(name).file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let of_clean: Vec<_> = clean.names.iter().map(|name| stem(name)).collect();
    let by_name: Vec<Option<usize>> =
        names.iter().map(|name| of_clean.iter().position(|clean| *clean == stem(name))).collect();
    let order: Vec<usize> = match by_name.iter().flatten().count() {
        0 if names.len() == of_clean.len() => (0..names.len()).collect(),
        0 => {
            let what = format!("there are {} noisy and {} clean images", names.len(), of_clean.len());
            return Err(failure(what, "give a clean image for each noisy one, of the same name"));
        }
        _ => {
            let missing = by_name.iter().position(Option::is_none);
            if let Some(missing) = missing {
                let what = format!("there is no clean image for {}", names[missing]);
                return Err(failure(what, "give one of the same name in --clean"));
            }
            by_name.into_iter().flatten().collect()
        }
    };
    Ok(order.into_iter().flat_map(|i| &clean.pixels[i * size..(i + 1) * size]).copied().collect())
}

/// A file for each image: its own name without folders, and with a number where an earlier one or the comparison has it.
fn file_names(names: &[String]) -> Vec<String> {
    let mut used = vec!["comparison.png".to_owned()];
    for name in names {
        let last = name.rsplit(['/', '\\']).next().unwrap_or(name);
        let stem = Path::new(last).file_stem().map_or(last.into(), |stem| stem.to_string_lossy());
        let mut file = format!("{stem}.png");
        let mut number = 2;
        while used.contains(&file) {
            file = format!("{stem}-{number}.png");
            number += 1;
        }
        used.push(file);
    }
    used.split_off(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_have_names_of_their_own() {
        let names = ["a/x.jpg", "b/x.png", "x.zip: c/x.bmp", "comparison.png"].map(str::to_owned);
        assert_eq!(file_names(&names), ["x.png", "x-2.png", "x-3.png", "comparison-2.png"]);
    }

    #[test]
    fn clean_images_are_found_by_name_or_place() {
        let clean = |names: &[&str]| Given {
            names: names.iter().map(|&name| name.to_owned()).collect(),
            pixels: (0..names.len() as u8).collect(),
            skipped: Vec::new(),
        };
        let names = ["n/b.png", "n/a.png"].map(str::to_owned);
        assert_eq!(matching(&names, &clean(&["c/a.jpg", "c/b.jpg"]), 1).unwrap(), [1, 0]);
        assert_eq!(matching(&names, &clean(&["c/1.png", "c/2.png"]), 1).unwrap(), [0, 1]);
        assert!(matching(&names, &clean(&["c/a.png", "c/2.png"]), 1).is_err());
        assert!(matching(&names, &clean(&["c/1.png"]), 1).is_err());
    }
}
