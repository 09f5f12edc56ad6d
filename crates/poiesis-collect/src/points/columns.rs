//! What is counted of each column of points.

/// Count, mean, spread and range of each column, one row after another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Columns {
    count: u64,
    mean: Vec<f64>,
    /// Sums of squared distances to the mean, updated as by Welford 1962, which is exact to rounding however far from 0 the
    /// values lie.
    squares: Vec<f64>,
    low: Vec<f32>,
    high: Vec<f32>,
}

impl Columns {
    /// Takes one row.
    pub(crate) fn add(&mut self, point: &[f32]) {
        if self.count == 0 {
            self.mean = vec![0.0; point.len()];
            self.squares = vec![0.0; point.len()];
            (self.low, self.high) = (point.to_vec(), point.to_vec());
        }
        self.count += 1;
        for (at, &value) in point.iter().enumerate() {
            let before = f64::from(value) - self.mean[at];
            self.mean[at] += before / self.count as f64;
            self.squares[at] += before * (f64::from(value) - self.mean[at]);
            self.low[at] = self.low[at].min(value);
            self.high[at] = self.high[at].max(value);
        }
    }

    /// Mean and standard deviation (of the population) of each column.
    pub(crate) fn mean_and_deviation(&self) -> (Vec<f64>, Vec<f64>) {
        let deviation = |square: &f64| short((square / self.count as f64).sqrt());
        (self.mean.iter().map(|&mean| short(mean)).collect(), self.squares.iter().map(deviation).collect())
    }

    /// Smallest and largest value of each column in any of the parts; none without rows.
    pub(crate) fn range<'a>(parts: impl IntoIterator<Item = &'a Columns>) -> (Vec<f32>, Vec<f32>) {
        let filled = parts.into_iter().filter(|part| part.count > 0).map(|part| (&part.low, &part.high));
        let mut range: (Vec<f32>, Vec<f32>) = Default::default();
        for (low, high) in filled {
            if range.0.is_empty() {
                range = (low.clone(), high.clone());
            }
            range.0.iter_mut().zip(low).for_each(|(least, &low)| *least = least.min(low));
            range.1.iter_mut().zip(high).for_each(|(most, &high)| *most = most.max(high));
        }
        range
    }
}

/// Twelve digits, or as many as are read back from JSON as they were, which are fewer of very small and very large numbers.
pub(crate) fn short(value: f64) -> f64 {
    let rounded = |digits: usize| format!("{value:.digits$e}").parse::<f64>().ok();
    let read = |value: f64| serde_json::from_str::<f64>(&serde_json::to_string(&value).ok()?).ok();
    let kept = |&value: &f64| read(value) == Some(value);
    (0..=11).rev().filter_map(rounded).find(kept).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_from_zero_the_deviation_is_still_right() {
        let mut columns = Columns::default();
        // Powers of two, so that an f32 holds them.
        for value in [8_388_609.0, 8_388_611.0, 8_388_609.0, 8_388_611.0] {
            columns.add(&[value, value * 1e-30]);
        }
        let (mean, deviation) = columns.mean_and_deviation();
        assert_eq!((mean[0], deviation[0]), (8_388_610.0, 1.0));
        assert!(deviation[1] > 0.0, "small values are not rounded away");
    }

    #[test]
    fn ranges_go_over_all_parts() {
        let mut parts = [Columns::default(), Columns::default(), Columns::default()];
        [[1.0, 5.0], [3.0, -5.0]].iter().for_each(|point| parts[0].add(point));
        parts[2].add(&[7.0, 0.0]);
        assert_eq!(Columns::range(&parts), (vec![1.0, -5.0], vec![7.0, 5.0]));
        assert_eq!(Columns::range(&parts[1..2]), (vec![], vec![]));
    }
}
