//! What a model keeps of images: each as the decoder makes it again of its latents.

use burn::tensor::{Tensor, TensorData};

use super::encode::{Fit, decode, encode, in_groups, to_rows};
use super::inversion::Inversion;
use super::score::{ScoreProtocol, nats_of_images};
use crate::data::{ImageShape, PixelEncoding, to_bytes};
use crate::error::{Error, Result};
use crate::evaluate::Progress;
use crate::picture::{BACKGROUND, PADDING, Picture, grid};
use crate::rng;
use crate::trained::Trained;

/// How images are reconstructed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReconstructOptions {
    /// How latents are searched; the model's encoder gives them without it.
    pub inversion: Option<Inversion>,
    /// Further reconstructions of each image, of latents that are drawn from the posterior.
    pub draws: usize,
    /// How images are scored. Its seed is that of the draws too.
    pub protocol: ScoreProtocol,
}

/// Images as a model makes them again.
#[derive(Clone, Debug, PartialEq)]
pub struct Reconstructed {
    /// The images that the decoder makes of the mean latents, 8-bit, one after another.
    pub images: Vec<u8>,
    /// The same of each draw from the posterior.
    pub draws: Vec<Vec<u8>>,
    /// How near each is to its image.
    pub nearness: Vec<Nearness>,
}

/// How near a reconstruction is to its image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nearness {
    /// Mean absolute difference of values, in grey levels of 0 to 255.
    pub difference: f64,
    /// The peak signal-to-noise ratio and the length of the latents.
    pub fit: Fit,
    /// −log p(x) or the bound on it, in nats; see [`score`](super::score::score). `None` for a model without a likelihood of whole images.
    pub nats: Option<f64>,
}

/// Reconstructs images: 8-bit pixels, one image after another, each with its class. `progress` receives the progress.
///
/// # Errors
///
/// [`Error::MissingCapability`] for a model that does not decode latents, or has no encoder where latents are not searched;
/// [`Error::InvalidValue`] for a model of other data than images, and for draws from a posterior that the model does not give.
///
/// # Panics
///
/// When there is no image, the pixels do not make whole images, or there is not one class for each.
pub fn reconstruct(
    trained: &Trained,
    pixels: &[u8],
    classes: &[Option<u32>],
    options: &ReconstructOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Reconstructed> {
    let dims = trained.spec.images()?.dims();
    let ReconstructOptions { inversion, draws, protocol } = options;
    // Before anything long is done.
    expect_posterior(trained, *draws, inversion.is_some())?;
    let found = encode(trained, pixels, classes, inversion.as_ref(), progress)?;
    let images = decode(trained.latents()?, &found.latents, classes, &trained.device);
    let nats = nats_of_images(trained, pixels, classes, *protocol, progress)?;
    let draws = (0..*draws as u64)
        .map(|draw| {
            progress(Progress { what: "drawing", unit: "draws", done: draw, total: Some(*draws as u64) });
            drawn(trained, pixels, classes, protocol.seed, draw)
        })
        .collect::<Result<_>>()?;
    let each = pixels.chunks_exact(dims).zip(images.chunks_exact(dims)).zip(&found.fits).enumerate();
    let nearness = each.map(|(index, ((image, made), &fit))| Nearness {
        difference: difference(image, made),
        fit,
        nats: nats.as_ref().map(|nats| nats.scores[index].nats),
    });
    Ok(Reconstructed { nearness: nearness.collect(), images, draws })
}

/// The mean absolute difference of two images, in grey levels.
///
/// # Panics
///
/// When they differ in length.
pub fn difference(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len(), "images of different sizes");
    a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
}

/// Refuses draws from a posterior that the model does not give.
fn expect_posterior(trained: &Trained, draws: usize, inverted: bool) -> Result<()> {
    let (reason, remedy) = match trained.abilities().bits_back {
        _ if draws == 0 => return Ok(()),
        _ if inverted => {
            ("latents that are searched have no posterior".to_owned(), "leave them out".to_owned())
        }
        None => {
            let reason = format!("{} gives no posterior to draw from", trained.entry.name());
            (reason, "leave them out, or give the run of a vae, draw or iaf-vae".to_owned())
        }
        Some(model) => match model.refusal() {
            None => return Ok(()),
            Some(refusal) => (refusal.reason, refusal.remedy),
        },
    };
    Err(Error::invalid_value("draws", &draws.to_string(), &reason, &remedy))
}

/// The images of one draw from the posterior of each: 8-bit, one after another. What is drawn for an image depends on the seed, its place
/// and the number of the draw.
fn drawn(trained: &Trained, pixels: &[u8], classes: &[Option<u32>], seed: u64, draw: u64) -> Result<Vec<u8>> {
    let shape @ ImageShape { height, width, channels } = trained.spec.images()?;
    let Some(model) = trained.abilities().bits_back else { return Ok(Vec::new()) };
    let images = to_rows(pixels, shape.dims());
    let (mut first, device) = (0, &trained.device);
    let made = in_groups(&images, classes, device, |rows, classes| {
        let count = rows.dims()[0];
        let x = rows.reshape([count, height, width, channels]);
        // A binary image is read as its grey levels, as the encoder reads it.
        let x = match model.encoding() {
            PixelEncoding::EightBit => x,
            PixelEncoding::Binary => (x + 1.0) * 0.5,
        };
        let numbers = first..first + count as u64;
        first = numbers.end;
        let mut generators: Vec<rng::Generator> =
            numbers.map(|number| rng::generator(seed, "reconstruct", number << 24 | draw)).collect();
        let mut parts = Vec::new();
        model.infer(x, classes, &mut |posterior| {
            let dims = posterior.mean.dims();
            let eps: Vec<f32> =
                generators.iter_mut().flat_map(|generator| rng::normal(generator, dims[1])).collect();
            let z = posterior.sample(Tensor::from_data(TensorData::new(eps, dims), device));
            parts.push(z.clone());
            z
        });
        model.pixels(Tensor::cat(parts, 1), classes).mean()
    });
    Ok(to_bytes(made.tensor()))
}

/// Images above their reconstructions, and below these what the draws make: in as many bands as make the picture about square. Each of
/// `rows` has all images, 8-bit and one after another.
///
/// # Panics
///
/// When there is no row or no image, or a row has another number of images.
pub fn sheet(rows: &[&[u8]], shape: ImageShape) -> Picture {
    let ImageShape { height, width, channels } = shape;
    let count = rows[0].len() / shape.dims();
    assert!(count > 0 && rows.iter().all(|row| row.len() == rows[0].len()), "{count} images in a row");
    let columns = (1..=count).find(|columns| *columns >= count.div_ceil(*columns) * rows.len());
    let columns = columns.unwrap_or(count);
    let band = |first: usize| {
        let within = first * shape.dims()..count.min(first + columns) * shape.dims();
        let images: Vec<&[u8]> =
            rows.iter().flat_map(|row| row[within.clone()].chunks_exact(shape.dims())).collect();
        grid(&images, height, width, channels, columns.min(count - first))
    };
    let bands: Vec<Picture> = (0..count).step_by(columns).map(band).collect();
    // Wider than between rows that belong together.
    let gap = 3 * PADDING;
    let tall: usize = bands.iter().map(Picture::height).sum();
    let background: &[u8] = if channels == 4 { &[0; 4] } else { &[BACKGROUND; 3][..channels] };
    let mut sheet = Picture::filled(bands[0].width(), tall + gap * (bands.len() - 1), background);
    let mut top = 0;
    for band in &bands {
        sheet.paste(band.data(), band.width(), band.height(), 0, top);
        top += band.height() + gap;
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_mean_and_absolute() {
        assert_eq!(difference(&[0, 10, 255], &[3, 10, 0]), 86.0);
        assert_eq!(difference(&[7; 5], &[7; 5]), 0.0);
    }

    #[test]
    fn images_stand_above_what_was_made_of_them() {
        let shape = ImageShape { height: 2, width: 2, channels: 1 };
        let row = |offset: u8| (0..5).flat_map(|i| [offset + i; 4]).collect::<Vec<u8>>();
        let (images, made) = (row(100), row(200));
        // Five pairs: in three columns the bands would be taller than wide.
        let picture = sheet(&[&images, &made], shape);
        let at = |column: usize, row: usize, band: usize| {
            picture.pixel(PADDING + 4 * column, PADDING + 4 * row + band * (2 * 4 + PADDING + 3 * PADDING))[0]
        };
        assert_eq!(picture.width(), 4 * 4 + PADDING);
        assert_eq!([at(0, 0, 0), at(3, 0, 0), at(0, 1, 0), at(3, 1, 0)], [100, 103, 200, 203]);
        assert_eq!([at(0, 0, 1), at(0, 1, 1), at(1, 0, 1)], [104, 204, BACKGROUND]);
        // A single image with two draws is one column.
        let single = sheet(&[&[1; 4], &[2; 4], &[3; 4], &[4; 4]], shape);
        assert_eq!((single.width(), single.height()), (2 + 2 * PADDING, 4 * 4 + PADDING));
    }
}
