//! Running means and variances of vectors.

/// The mean and the variance of all vectors seen, merged batch by batch (Chan, Golub and LeVeque 1979) in 64-bit floats.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// How many vectors were seen.
    pub count: f64,
    /// `[width]`; zero at first.
    pub mean: Vec<f64>,
    /// `[width]`, the population variance; one at first.
    pub var: Vec<f64>,
}

impl Moments {
    /// Of no vector yet.
    pub fn new(width: usize) -> Moments {
        Moments { count: 0.0, mean: vec![0.0; width], var: vec![1.0; width] }
    }

    /// Adds the rows of `values`, `[n, width]`.
    ///
    /// # Panics
    ///
    /// When `values` is no multiple of the width.
    pub fn update(&mut self, values: &[f64]) {
        let width = self.mean.len();
        assert!(values.len().is_multiple_of(width.max(1)), "{} values of rows of {width}", values.len());
        let added = values.len() / width.max(1);
        if added == 0 {
            return;
        }
        let mut mean = vec![0.0; width];
        for row in values.chunks_exact(width) {
            mean.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        mean.iter_mut().for_each(|sum| *sum /= added as f64);
        let mut squares = vec![0.0; width];
        for row in values.chunks_exact(width) {
            for ((sum, x), mean) in squares.iter_mut().zip(row).zip(&mean) {
                *sum += (x - mean) * (x - mean);
            }
        }
        let (before, added) = (self.count, added as f64);
        let all = before + added;
        for i in 0..width {
            let delta = mean[i] - self.mean[i];
            let squares = self.var[i] * before + squares[i] + delta * delta * before * added / all;
            self.mean[i] += delta * added / all;
            self.var[i] = squares / all;
        }
        self.count = all;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_give_the_moments_of_all_values() {
        let values: Vec<f64> = (0..60).map(|i| 1e3 + f64::from(i * i % 17)).collect();
        let mut running = Moments::new(3);
        for part in [&values[..3], &values[3..30], &values[30..]] {
            running.update(part);
        }
        for column in 0..3 {
            let column_values = values.iter().skip(column).step_by(3);
            let mean = column_values.clone().sum::<f64>() / 20.0;
            let var = column_values.map(|x| (x - mean).powi(2)).sum::<f64>() / 20.0;
            assert!((running.mean[column] - mean).abs() < 1e-9);
            assert!((running.var[column] - var).abs() < 1e-9);
        }
        assert_eq!(running.count, 20.0);
    }

    #[test]
    fn without_vectors_nothing_is_scaled() {
        let mut running = Moments::new(2);
        running.update(&[]);
        assert_eq!(running, Moments::new(2));
    }
}
