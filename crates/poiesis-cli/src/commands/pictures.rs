//! What verbs that write pictures share: grids, their parameters, and checks of numbers.

use std::path::{Path, PathBuf};

use poiesis::Trained;
use poiesis::data::ImageShape;
use poiesis::picture::{self, Picture};
use serde_json::Value;

/// Makes a grid with `columns` columns of the images concatenated in `images`, enlarged by `scale`, or by default as much
/// as small images need.
pub(crate) fn grid(images: &[u8], shape: ImageShape, columns: usize, scale: Option<u8>) -> Picture {
    let images: Vec<&[u8]> = images.chunks_exact(shape.dims()).collect();
    let grid = picture::grid(&images, shape.height, shape.width, shape.channels, columns);
    grid.enlarged(scale.map_or_else(|| picture::viewing_factor(shape.height, shape.width), usize::from))
}

/// The parameters in a picture: the model it came from, then how it was made.
pub(crate) fn parameters(trained: &Trained, made: Value) -> Value {
    let mut all = serde_json::json!({
        "poiesis": env!("CARGO_PKG_VERSION"),
        "run": trained.info.id,
        "model": trained.entry.name(),
        "step": trained.step,
        "weights": weights(trained),
        "data": trained.info.data.name,
        "fingerprint": trained.info.data.fingerprint,
    });
    if let (Value::Object(all), Value::Object(made)) = (&mut all, made) {
        all.extend(made);
    }
    all
}

/// Adds the name of the class that was asked for to the parameters of a picture.
pub(crate) fn name_class(made: &mut Value, trained: &Trained, class: Option<u32>) {
    if let Some(name) = class.and_then(|class| trained.info.data.classes.get(class as usize)) {
        made["class"] = name.clone().into();
    }
}

/// The weights that were used, in one word.
pub(crate) fn weights(trained: &Trained) -> &'static str {
    trained.weights().name()
}

/// Reads a whole number of at least 1 and at most ten million.
pub(crate) fn positive(text: &str) -> Result<usize, String> {
    within(text, 1)
}

/// Reads a whole number of at least 2 and at most ten million.
pub(crate) fn several(text: &str) -> Result<usize, String> {
    within(text, 2)
}

/// Reads the length of a text or sound: a number above 0 and at most ten million.
pub(crate) fn length(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(length) if length > 0.0 && length <= 1e7 => Ok(length),
        _ => Err("give a number above 0, at most 10000000".to_owned()),
    }
}

fn within(text: &str, least: usize) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if (least..=10_000_000).contains(&number) => Ok(number),
        _ => Err(format!("give a whole number from {least} to 10000000")),
    }
}

/// The path of a picture of `what` beside a file of results: `evaluation-000000060-closest.png`.
pub(crate) fn beside(results: &Path, what: &str) -> PathBuf {
    let stem = results.file_stem().unwrap_or_default().to_string_lossy();
    results.with_file_name(format!("{stem}-{what}.png"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_have_the_asked_columns_and_scale() {
        let shape = ImageShape { height: 3, width: 2, channels: 1 };
        let picture = grid(&[0; 24], shape, 2, Some(3));
        assert_eq!((picture.width(), picture.height()), (3 * (2 * 4 + 2), 3 * (2 * 5 + 2)));
    }

    #[test]
    fn counts_are_checked() {
        assert!(positive("0").is_err() && several("1").is_err() && positive("-3").is_err());
        assert_eq!((positive("1"), several("2")), (Ok(1), Ok(2)));
    }

    #[test]
    fn lengths_are_above_0_and_finite() {
        for refused in ["-1", "0", "nan", "inf", "1e8", "long"] {
            assert!(length(refused).is_err(), "{refused}");
        }
        assert_eq!((length("2000"), length("0.5")), (Ok(2000.0), Ok(0.5)));
    }
}
