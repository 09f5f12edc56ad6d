//! Signs in the samples of any model that training goes wrong.

use crate::model::Warning;

/// Samples whose distance is below this fraction of the data's have collapsed.
const COLLAPSED: f64 = 0.2;

/// Compares the distance between samples with the distance between images of the data.
///
/// `samples` and `data` hold images of `dims` bytes, concatenated.
pub(super) fn collapse(samples: &[u8], data: &[u8], dims: usize) -> Option<Warning> {
    let (samples, data) = (mean_distance(samples, dims)?, mean_distance(data, dims)?);
    (samples < COLLAPSED * data).then(|| Warning {
        name: "generator-collapsed",
        what: format!(
            "samples differ from each other by {samples:.1} grey levels where data differ by {data:.1}: the model \
             draws almost the same image again and again"
        ),
        remedy: "go back to an earlier checkpoint, lower the learning rate, or enlarge the batch".into(),
    })
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
    fn equal_samples_of_varied_data_have_collapsed() {
        let data: Vec<u8> = (0..40).map(|i| (i * 37 % 251) as u8).collect();
        assert!(collapse(&[7; 40], &data, 4).is_some());
        assert!(collapse(&data, &data, 4).is_none());
        assert!(collapse(&data[..4], &data, 4).is_none());
    }
}
