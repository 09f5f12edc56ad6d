//! Images as latents or features, and latents as images.

use burn::tensor::{Device, Tensor, TensorData};

use super::inversion::{Inversion, invert, norm, psnr};
use crate::abilities::Latents;
use crate::error::Result;
use crate::evaluate::Progress;
use crate::fitting::Rows;
use crate::trained::Trained;

/// Rows are computed in whole groups of this size, so that what comes of one does not depend on how many there are.
const GROUP: usize = 16;

/// Images as latents, and how well the latents describe them.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    /// The latents of each image, one per row.
    pub latents: Rows,
    /// How well they describe each.
    pub fits: Vec<Fit>,
}

/// How well latents describe an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// Peak signal-to-noise ratio of what the model decodes, in dB; infinite where it is the image itself.
    pub psnr: f64,
    /// ‖z‖ over the square root of the number of values, of those with a normal prior: about 1 for latents that the prior draws. `None`
    /// without such values.
    pub norm: Option<f64>,
}

/// Encodes images, 8-bit pixels one image after another, each with its class: by the model's encoder, or, with `inversion`, by a search for
/// the latents that its decoder makes them of. `progress` receives the progress.
///
/// # Errors
///
/// [`Error::MissingCapability`](crate::Error::MissingCapability) for a model that does not decode latents, or has no encoder where there is
/// no `inversion`; [`Error::InvalidValue`](crate::Error::InvalidValue) for a model of other data than images.
///
/// # Panics
///
/// When there is no image, the pixels do not make whole images, or there is not one class for each.
pub fn encode(
    trained: &Trained,
    pixels: &[u8],
    classes: &[Option<u32>],
    inversion: Option<&Inversion>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Encoded> {
    let images = to_rows(pixels, trained.spec.images()?.dims());
    let (latents, device) = (trained.latents()?, &trained.device);
    if let Some(inversion) = inversion {
        let model = trained.differentiable()?;
        let differentiable = model.abilities().latents.unwrap_or(latents);
        let device = device.clone().autodiff();
        let found = invert(differentiable, &device, &images, None, classes, inversion, progress);
        let fits = found.iter().map(|found| Fit { psnr: found.psnr, norm: found.norm }).collect();
        let values = found.into_iter().flat_map(|found| found.latents).collect();
        return Ok(Encoded { latents: Rows::new(values, latents.latent_dim()), fits });
    }
    let encoder = trained.encoder()?;
    let (mut done, total) = (0, Some(images.len() as u64));
    let found = in_groups(&images, classes, device, |images, classes| {
        progress(Progress { what: "encoding", unit: "images", done, total });
        done += GROUP as u64;
        encoder.encode(images, classes)
    });
    let rebuilt = decode_values(latents, &found, classes, device);
    let priors = latents.priors();
    let fit = |((image, rebuilt), z): ((&[f32], &[f32]), &[f32])| {
        let squares = image.iter().zip(rebuilt).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        Fit { psnr: psnr(squares / image.len() as f64), norm: norm(z, &priors) }
    };
    let fits = images.iter().zip(rebuilt.iter()).zip(found.iter()).map(fit).collect();
    Ok(Encoded { latents: found, fits })
}

/// Encodes points, one row for each, each with its class, by the model's encoder. `progress` receives the progress.
///
/// # Errors
///
/// [`Error::MissingCapability`](crate::Error::MissingCapability) for a model without an encoder;
/// [`Error::InvalidValue`](crate::Error::InvalidValue) for a model of other data than points.
///
/// # Panics
///
/// When there is no point, one has another number of coordinates than the model's, or there is not one class for each.
pub fn encode_points(
    trained: &Trained,
    points: &Rows,
    classes: &[Option<u32>],
    progress: &mut dyn FnMut(Progress),
) -> Result<Rows> {
    let dims = trained.spec.points()?.dims;
    let encoder = trained.encoder()?;
    assert_eq!(points.dims(), dims, "points of another number of coordinates");
    let (mut done, total) = (0, Some(points.len() as u64));
    Ok(in_groups(points, classes, &trained.device, |points, classes| {
        progress(Progress { what: "encoding", unit: "points", done, total });
        done += GROUP as u64;
        encoder.encode(points, classes)
    }))
}

/// The features of images, one row for each: 8-bit pixels, one image after another. `progress` receives the progress.
///
/// # Errors
///
/// [`Error::MissingCapability`](crate::Error::MissingCapability) for a model without features;
/// [`Error::InvalidValue`](crate::Error::InvalidValue) for a model of other data than images.
///
/// # Panics
///
/// When there is no image, or the pixels do not make whole images.
pub fn features(trained: &Trained, pixels: &[u8], progress: &mut dyn FnMut(Progress)) -> Result<Rows> {
    let shape = trained.spec.images()?;
    let (model, images) = (trained.features()?, to_rows(pixels, shape.dims()));
    let (mut done, total) = (0, Some(images.len() as u64));
    Ok(in_groups(&images, &vec![None; images.len()], &trained.device, |images, _| {
        progress(Progress { what: "features", unit: "images", done, total });
        done += GROUP as u64;
        model.features(images.reshape([GROUP, shape.height, shape.width, shape.channels]))
    }))
}

/// The images of latents: 8-bit pixels, one image after another.
///
/// # Panics
///
/// When there are no latents, they have another number of values than the model's, or there is not one class for each.
pub fn decode(latents: &dyn Latents, rows: &Rows, classes: &[Option<u32>], device: &Device) -> Vec<u8> {
    let byte = |&x: &f32| ((x + 1.0) * 127.5).round().clamp(0.0, 255.0) as u8;
    decode_values(latents, rows, classes, device).iter().flatten().map(byte).collect()
}

/// The examples of latents as values, one per row, as [`Latents::decode`] gives them.
///
/// # Panics
///
/// As [`decode`].
pub fn decode_values(latents: &dyn Latents, rows: &Rows, classes: &[Option<u32>], device: &Device) -> Rows {
    assert_eq!(rows.dims(), latents.latent_dim(), "latents of another length");
    in_groups(rows, classes, device, |rows, classes| latents.decode(rows, classes))
}

/// 8-bit pixels as rows of `dims` values in [-1, 1].
///
/// # Panics
///
/// When they do not make whole rows.
pub(super) fn to_rows(pixels: &[u8], dims: usize) -> Rows {
    Rows::new(pixels.iter().map(|&pixel| f32::from(pixel) / 127.5 - 1.0).collect(), dims)
}

/// What `function` makes of rows, one row for each. The last group is filled up with its last row.
pub(super) fn in_groups(
    rows: &Rows,
    classes: &[Option<u32>],
    device: &Device,
    mut function: impl FnMut(Tensor<2>, &[Option<u32>]) -> Tensor<2>,
) -> Rows {
    assert!(!rows.is_empty(), "there is nothing to encode or decode");
    assert_eq!(rows.len(), classes.len(), "one class for each row");
    let (mut values, mut dims) = (Vec::new(), 1);
    for first in (0..rows.len()).step_by(GROUP) {
        let group: Vec<usize> = (first..first + GROUP).map(|index| index.min(rows.len() - 1)).collect();
        let classes: Vec<_> = group.iter().map(|&index| classes[index]).collect();
        let given: Vec<f32> = rows.select(&group).iter().flatten().copied().collect();
        let given = Tensor::from_data(TensorData::new(given, [GROUP, rows.dims()]), device);
        let made = function(given, &classes);
        dims = made.dims()[1];
        values.extend(made.into_data().iter::<f32>());
    }
    values.truncate(rows.len() * dims);
    Rows::new(values, dims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::LinearLatents;

    #[test]
    fn what_comes_of_a_row_does_not_depend_on_how_many_there_are() {
        let model = LinearLatents::normal(6, 40);
        let latents: &dyn Latents = &model;
        let rows = Rows::of_tensor(latents.draw(1, 0..37, &Device::flex()));
        let all = decode_values(latents, &rows, &[None; 37], &Device::flex());
        assert_eq!((all.len(), all.dims()), (37, 40));
        for count in [1, 15, 16, 17] {
            let some: Vec<usize> = (37 - count..37).collect();
            let few = decode_values(latents, &rows.select(&some), &vec![None; count], &Device::flex());
            assert_eq!(few, all.select(&some), "{count}");
        }
        let bytes = decode(latents, &rows, &[None; 37], &Device::flex());
        assert_eq!(bytes[0], ((all.row(0)[0] + 1.0) * 127.5).round().clamp(0.0, 255.0) as u8);
    }
}
