//! Signs in the samples of any model that training goes wrong.

use super::Spent;
use crate::config::TrainConfig;
use crate::model::Warning;

/// Samples whose distance is below this fraction of the data's have collapsed.
const COLLAPSED: f64 = 0.2;

/// Compares the distance between samples with the distance between images of the data.
///
/// `samples` and `data` hold images of `dims` bytes, concatenated.
pub(super) fn collapse(samples: &[u8], data: &[u8], dims: usize) -> Option<Warning> {
    let (samples, data) = (mean_distance(samples, dims)?, mean_distance(data, dims)?);
    (samples < COLLAPSED * data).then(|| Warning {
        name: "samples-alike",
        what: format!(
            "samples differ from each other by {samples:.1} grey levels where data differ by {data:.1}: the model \
             draws almost the same image again and again"
        ),
        remedy: "go back to an earlier checkpoint, or start again with a lower learning rate".into(),
    })
}

/// Says that drawing samples takes much of the time of a run, and which keys change that.
pub(super) fn slow_samples(whole: &Spent, config: &TrainConfig) -> Warning {
    Warning {
        name: "samples-slow",
        what: format!(
            "drawing samples takes {:.0}% of the time of this run",
            100.0 * whole.sampling / whole.total()
        ),
        remedy: format!(
            "lower `train.sample_frames` ({}), `train.sample_count` ({}) or, for text and sound, `train.sample_length` \
             ({}); they may change when a run is resumed",
            config.sample_frames, config.sample_count, config.sample_length
        ),
    }
}

/// The root mean square difference of neighbouring images, in grey levels; `None` with fewer than two.
fn mean_distance(images: &[u8], dims: usize) -> Option<f64> {
    let images: Vec<&[u8]> = images.chunks_exact(dims).collect();
    let pairs = images.windows(2).map(|pair| {
        let squares = pair[0].iter().zip(pair[1]).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2));
        (squares.sum::<f64>() / dims as f64).sqrt()
    });
    let distances: Vec<f64> = pairs.collect();
    (!distances.is_empty()).then(|| distances.iter().sum::<f64>() / distances.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_samples_name_their_keys() {
        let whole = Spent { steps: 300.0, sampling: 100.0, ..Spent::default() };
        let warning = slow_samples(&whole, &TrainConfig { sample_count: 7, ..TrainConfig::default() });
        assert!(warning.what.contains("25%"), "{}", warning.what);
        assert!(warning.remedy.contains("`train.sample_count` (7)"), "{}", warning.remedy);
    }

    #[test]
    fn what_is_said_of_equal_samples_fits_every_model() {
        let said = collapse(&[7; 40], &(0..40).map(|i| i * 6).collect::<Vec<u8>>(), 4).unwrap();
        for word in ["generator", "discriminator", "decoder", "GAN", "VAE"] {
            assert!(!format!("{said:?}").contains(word), "{said:?}");
        }
    }

    #[test]
    fn equal_samples_of_varied_data_have_collapsed() {
        let data: Vec<u8> = (0..40).map(|i| (i * 37 % 251) as u8).collect();
        assert!(collapse(&[7; 40], &data, 4).is_some());
        assert!(collapse(&data, &data, 4).is_none());
        assert!(collapse(&data[..4], &data, 4).is_none());
    }
}
