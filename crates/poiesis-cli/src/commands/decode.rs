//! `poiesis decode`: latents of a file as images, or as points.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use poiesis::Trained;
use poiesis::apply::encode::{decode, decode_values};
use poiesis::apply::latents_file::{SavedLatents, read};
use poiesis::atomic;
use poiesis::data::MediaKind;
use poiesis::media::{Codec, Media, files};
use poiesis::picture::{Picture, columns};
use serde_json::json;

use super::discover::expect_class;
use super::pictures::{self, positive};
use crate::args::{OfRun, Out};
use crate::render::{count, expect_empty, expect_none, failure, in_json, note, result};

/// Decode latents of a file to images, or to a table of points
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis decode runs/vae-faces faces.safetensors                  one grid
  poiesis decode runs/vae-faces faces.npy --out faces/             a folder with one PNG per image
  poiesis decode runs/dcgan-shapes mine.npy --out mine.png --columns 8
  poiesis decode runs/realnvp-people latents.npy --out again.csv    points, as a table

The file is one that `poiesis encode` has written, or any array [images, values] of 32-bit or 64-bit floats, as \
safetensors or NumPy's .npy: `numpy.save` of what Python has made of latents will do. Each PNG in a folder has the name of the image that was encoded in its metadata.")]
pub(crate) struct Decode {
    #[command(flatten)]
    of: OfRun,
    /// File of latents, .safetensors or .npy.
    latents: PathBuf,
    /// Class of the images, for a model conditioned on classes: its name or number [default: that of the file, else none].
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    /// Columns of the grid [default: as many as rows].
    #[arg(long, value_name = "N", value_parser = positive)]
    columns: Option<usize>,
    #[command(flatten)]
    out: Out,
}

impl Decode {
    pub(crate) fn run(self) -> Result<()> {
        let trained = self.of.open()?;
        if trained.spec.media() == MediaKind::Points {
            return self.points(&trained);
        }
        let (shape, model) = (trained.spec.images()?, trained.latents()?);
        let class = expect_class(&trained, self.class.as_deref())?;
        let folder = self.out.out.clone().filter(|out| out.extension().is_none() || out.is_dir());
        expect_none("a folder", &[("--columns", self.columns.is_some() && folder.is_some())])?;
        let out = match &folder {
            Some(folder) => self.folder(folder)?,
            None => self.out.resolve(&trained, "decoded", "png")?,
        };
        let (SavedLatents { latents, of, .. }, classes) = self.read(&trained, class)?;
        let images = decode(model, &latents, &classes, &trained.device);
        let mut made = json!({ "verb": "decode", "latents": in_json(&self.latents) });
        pictures::name_class(&mut made, &trained, class);
        if folder.is_none() {
            let columns = self.columns.unwrap_or_else(|| columns(latents.len()));
            let picture = match latents.len() {
                // One image is that image, without a frame.
                1 => Picture::new(shape.width, shape.height, shape.channels, images)
                    .enlarged(self.out.scale.map_or(1, usize::from)),
                _ => pictures::grid(&images, shape, columns, self.out.scale),
            };
            picture.write_png(&out, Some(&pictures::parameters(&trained, made)))?;
            return result(&format!("{}\n", out.display()));
        }
        fs::create_dir_all(&out).with_context(|| format!("cannot make the folder {}", out.display()))?;
        for (index, image) in images.chunks_exact(shape.dims()).enumerate() {
            made["number"] = index.into();
            if let Some(of) = &of {
                made["source"] = of.sources[index].clone().into();
            }
            let picture = Picture::new(shape.width, shape.height, shape.channels, image.to_vec());
            let picture = picture.enlarged(self.out.scale.map_or(1, usize::from));
            let parameters = pictures::parameters(&trained, made.clone());
            picture.write_png(&out.join(format!("{index:06}.png")), Some(&parameters))?;
        }
        note(&format!("{} images", count(latents.len() as u64)));
        result(&format!("{}\n", out.display()))
    }

    /// The points of latents, as one table.
    fn points(&self, trained: &Trained) -> Result<()> {
        let model = trained.latents()?;
        let flags = [("--columns", self.columns.is_some()), ("--scale", self.out.scale.is_some())];
        expect_none("points", &flags)?;
        let class = expect_class(trained, self.class.as_deref())?;
        let out = self.out.resolve(trained, "decoded", "csv")?;
        let (SavedLatents { latents, .. }, classes) = self.read(trained, class)?;
        let codec = Codec::new(&trained.spec, None);
        let points = decode_values(model, &latents, &classes, &trained.device);
        let points: Vec<Media> = points.iter().map(|point| codec.media_of(point)).collect();
        atomic::write(&out, &files::to_csv(&points, trained.spec.points()?))?;
        note(&format!("{} points", count(points.len() as u64)));
        result(&format!("{}\n", out.display()))
    }

    /// The latents of the file, and the class of each.
    fn read(&self, trained: &Trained, class: Option<u32>) -> Result<(SavedLatents, Vec<Option<u32>>)> {
        let saved = read(&self.latents, trained.latents()?.latent_dim())?;
        saved.notes.iter().for_each(|said| note(&format!("note: {said}")));
        if let Some(of) = saved.of.as_ref().filter(|of| of.fingerprint != trained.fingerprint()) {
            note(&format!(
                "note: these latents were encoded by {} at step {} ({} weights), another model than this",
                of.run,
                of.step,
                of.weights.name()
            ));
        }
        let of_file = saved.of.as_ref().map(|of| of.classes.clone());
        let of_file = of_file.filter(|_| trained.num_classes() > 0 && class.is_none());
        let classes = of_file.unwrap_or_else(|| vec![class; saved.latents.len()]);
        expect_classes(trained, &self.latents, &classes)?;
        Ok((saved, classes))
    }

    /// The folder to write; an error if something is in it.
    fn folder(&self, folder: &Path) -> Result<PathBuf> {
        expect_empty(folder, self.out.force)?;
        Ok(folder.to_owned())
    }
}

/// Classes that the model does not know are an error of the file.
fn expect_classes(trained: &Trained, file: &Path, classes: &[Option<u32>]) -> Result<()> {
    let known = trained.num_classes();
    match classes.iter().flatten().find(|&&class| class as usize >= known && known > 0) {
        Some(class) => Err(failure(
            format!("{} has latents of class {class}, and the model knows {known}", file.display()),
            "give --class, or latents that this model has encoded",
        )),
        None => Ok(()),
    }
}
