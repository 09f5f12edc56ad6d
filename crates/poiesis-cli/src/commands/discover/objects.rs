//! `poiesis discover objects`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use poiesis::Trained;
use poiesis::abilities::Bounds;
use poiesis::apply::classify::preparation;
use poiesis::data::ImageShape;
use poiesis::discover::{objects, with_boxes};
use poiesis::evaluate::{ObjectsFound, known_objects};
use poiesis::picture::{self, Picture, viewing_factor};
use poiesis_collect::{ReadImage, Split, read_images};
use serde_json::{Value, json};

use super::OfData;
use crate::args::{OfRun, Out};
use crate::commands::classify::{name_of, tell_skipped};
use crate::commands::given_images::{expect_existing, none_readable};
use crate::commands::inspect::split;
use crate::commands::pictures;
use crate::render::{count, failure, note, result, table};

/// The colours of boxes that are found, and of those that are there.
const FOUND: [u8; 3] = [60, 210, 90];
const KNOWN: [u8; 3] = [230, 60, 50];
/// Images side by side, or pairs of them.
const COLUMNS: usize = 8;
/// Files of which each is drawn and told; there may be more.
const MOST: usize = 1000;

/// Count the objects of images, and draw a box around each
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis discover objects runs/air-scenes                    held-out images, beside the boxes that are there
  poiesis discover objects runs/air-scenes new-images/ cells.png --out boxes.png
  poiesis discover objects runs/air-scenes new-images/ --json

Without images, some held-out ones of the run's data are taken. Where their boxes are known, the picture has pairs: the \
boxes that are there in red, then those that are found in green. Images are cropped, resized and changed as those that \
the model was trained on. Boxes are given as left, top, width and height in pixels of the images that the model reads.")]
pub(super) struct Objects {
    #[command(flatten)]
    of: OfRun,
    /// Files, folders or archives of images.
    #[arg(value_name = "IMAGES")]
    images: Vec<PathBuf>,
    /// Split of the run's own data to take images from [default: test if there is one, else validation].
    #[arg(long, value_name = "SPLIT", value_parser = split, conflicts_with = "images")]
    split: Option<Split>,
    /// Number of images of that split [default: 32].
    #[arg(long, short = 'n', value_name = "N", value_parser = pictures::positive, conflicts_with = "images")]
    count: Option<usize>,
    #[command(flatten)]
    data: OfData,
    #[command(flatten)]
    out: Out,
    /// Print the boxes as JSON.
    #[arg(long)]
    json: bool,
}

/// Images with their names, and the boxes around their objects where these are known.
#[derive(Default)]
struct Images {
    names: Vec<String>,
    pixels: Vec<u8>,
    known: Option<Vec<Vec<Bounds>>>,
    skipped: Vec<(String, String)>,
}

impl Objects {
    pub(super) fn run(self) -> Result<()> {
        expect_existing(&self.images)?;
        let trained = self.of.open()?;
        trained.objects()?;
        let out = self.out.resolve(&trained, "objects", "png")?;
        let images = if self.images.is_empty() { self.held_out(&trained)? } else { self.files(&trained)? };
        tell_skipped(&images.skipped);
        if images.names.is_empty() {
            return Err(none_readable());
        }
        let shape = trained.spec.images()?;
        let found = objects(&trained, &images.pixels)?;
        // Shown first: what was found is not lost when the picture cannot be written.
        match self.json {
            true => result(&format!("{:#}\n", in_numbers(&trained, &images, &found, shape)))?,
            false => result(&in_words(&images, &found, shape))?,
        }
        let made = json!({
            "verb": "discover objects", "images": images.names.len(),
            "boxes": if images.known.is_some() { "red: there, green: found" } else { "green: found" },
        });
        let picture = drawn(&images, &found, shape, self.out.scale);
        picture.write_png(&out, Some(&pictures::parameters(&trained, made)))?;
        if self.json {
            note(&format!("drawn in {}", out.display()));
            return Ok(());
        }
        result(&format!("{}\n", out.display()))
    }

    /// Some held-out images of the run's data.
    fn held_out(&self, trained: &Trained) -> Result<Images> {
        const COUNT: usize = 32;
        let dataset = self.data.open(trained)?;
        let splits = self.split.map_or(vec![Split::Test, Split::Validation], |split| vec![split]);
        let view = splits.iter().find_map(|&split| Some((split, dataset.split(split)?)));
        let Some((split, view)) = view else {
            return Err(failure(
                format!("nothing of {} was held out, or it has no such split", dataset.card().name),
                "give --split train, or images",
            ));
        };
        let indices: Vec<usize> = view.spread(self.count.unwrap_or(COUNT)).collect();
        Ok(Images {
            names: indices.iter().map(|index| format!("{split} {index}")).collect(),
            pixels: indices.iter().flat_map(|&index| view.image(index)).copied().collect(),
            known: indices.iter().map(|&index| known_objects(&view, index)).collect(),
            skipped: Vec::new(),
        })
    }

    /// The images that were given.
    fn files(&self, trained: &Trained) -> Result<Images> {
        let (options, known) = preparation(trained, self.data.source(), &self.data.places()?)?;
        if !known {
            note(
                "note: the run's data are not there, so images are cropped and resized as its configuration says",
            );
        }
        let mut images = Images::default();
        for path in &self.images {
            read_images(path, &options, &mut |ReadImage { name, pixels }| {
                let name = name_of(path, &name);
                match pixels {
                    Ok(_) if images.names.len() == MOST => {
                        images
                            .skipped
                            .push((name, format!("{} images are enough for a picture", count(MOST as u64))));
                    }
                    Ok(pixels) => {
                        images.pixels.extend(pixels);
                        images.names.push(name);
                    }
                    Err(reason) => images.skipped.push((name, reason)),
                }
            })?;
        }
        Ok(images)
    }
}

/// Left, top, width and height in pixels.
fn in_pixels(bounds: &Bounds, shape: ImageShape) -> [f32; 4] {
    let (width, height) = (shape.width as f32, shape.height as f32);
    let exact = [bounds.left * width, bounds.top * height, bounds.width * width, bounds.height * height];
    exact.map(|pixels| (pixels * 10.0).round() / 10.0)
}

fn in_words(images: &Images, found: &[Vec<Bounds>], shape: ImageShape) -> String {
    let boxes = |found: &[Bounds]| {
        let one = |bounds| {
            let [left, top, width, height] = in_pixels(bounds, shape);
            format!("{width}×{height} at {left},{top}")
        };
        found.iter().map(one).collect::<Vec<_>>().join("   ")
    };
    let mut header = vec!["IMAGE", ">OBJECTS", "BOXES"];
    if images.known.is_some() {
        header.insert(2, ">THERE");
    }
    let row = |(i, name): (usize, &String)| {
        let mut row = vec![name.clone(), count(found[i].len() as u64), boxes(&found[i])];
        if let Some(known) = &images.known {
            row.insert(2, count(known[i].len() as u64));
        }
        row
    };
    let mut text = table(&header, &images.names.iter().enumerate().map(row).collect::<Vec<_>>());
    if let Some(known) = &images.known {
        let ObjectsFound { images, count_accuracy, iou, .. } = ObjectsFound::of(found, known);
        let right = (count_accuracy * images as f64).round() as u64;
        text.push_str(&format!(
            "{} of {} are counted right; intersection over union of boxes {iou:.3}\n",
            count(right),
            count(images as u64)
        ));
    }
    text
}

fn in_numbers(trained: &Trained, images: &Images, found: &[Vec<Bounds>], shape: ImageShape) -> Value {
    let sides = |boxes: &[Bounds]| boxes.iter().map(|bounds| in_pixels(bounds, shape)).collect::<Vec<_>>();
    let image = |(i, name): (usize, &String)| {
        let mut image = json!({ "image": name, "objects": found[i].len(), "boxes": sides(&found[i]) });
        if let Some(known) = &images.known {
            image["there"] = json!(sides(&known[i]));
        }
        image
    };
    let skipped = |(file, reason): &(String, String)| json!({ "file": file, "reason": reason });
    json!({
        "run": trained.info.id,
        "model": trained.entry.name(),
        "step": trained.step,
        "weights": trained.weights().name(),
        "images": images.names.iter().enumerate().map(image).collect::<Vec<_>>(),
        "skipped": images.skipped.iter().map(skipped).collect::<Vec<_>>(),
        "measured": images.known.as_ref().map(|known| ObjectsFound::of(found, known)),
    })
}

/// The images with their boxes: a pair of each where the boxes are known.
fn drawn(images: &Images, found: &[Vec<Bounds>], shape: ImageShape, scale: Option<u8>) -> Picture {
    let zoom = scale.map_or_else(|| 2 * viewing_factor(shape.height, shape.width), usize::from);
    let mut cells = Vec::new();
    for (i, image) in images.pixels.chunks_exact(shape.dims()).enumerate() {
        if let Some(known) = &images.known {
            cells.push(with_boxes(image, shape, &known[i], KNOWN, zoom));
        }
        cells.push(with_boxes(image, shape, &found[i], FOUND, zoom));
    }
    let pixels: Vec<&[u8]> = cells.iter().map(Picture::data).collect();
    let columns = COLUMNS.min(cells.len());
    picture::grid(&pixels, zoom * shape.height, zoom * shape.width, 3, columns)
}
