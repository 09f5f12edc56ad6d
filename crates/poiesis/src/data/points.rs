//! Points as batches, and what is known of their columns.

use burn::tensor::{Device, Tensor, TensorData};
use poiesis_collect::View;

use super::{Amount, PointShape, Source, SourceOptions};
use crate::error::{Error, Result};
use crate::rng;

/// Rows that are looked at to find out which values a column has.
const SEEN: usize = 1 << 14;
/// A column with at most so many values can have few.
const FEW: usize = 256;
/// A value is frequent if more rows have it than one in so many.
const FREQUENT: usize = 10;
/// Distances below this part of the median one are rounding or slips, and not how far values are apart.
const DUST: f32 = 1e-3;

/// Training points in the order of their use: keyed permutations, computed and not stored.
#[derive(Clone)]
pub struct PointBatches {
    view: View,
    columns: Vec<Column>,
    batch_size: usize,
    seed: u64,
    device: Device,
}

impl PointBatches {
    /// Points in a batch.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// Coordinates of a point.
    pub fn dims(&self) -> usize {
        self.columns.len()
    }

    /// The columns of all training points.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The points of step `step`, `[batch, dims]`.
    pub fn points(&self, step: u64) -> Tensor<2> {
        let len = self.view.len() as u64;
        let first = step * self.batch_size as u64;
        let index = |place: u64| rng::permute(self.seed, place / len, place % len, len) as usize;
        let indices: Vec<usize> = (first..first + self.batch_size as u64).map(index).collect();
        points(&self.view, &indices, &self.device)
    }
}

/// Gathers points, `[indices, dims]`.
pub fn points(view: &View, indices: &[usize], device: &Device) -> Tensor<2> {
    let values: Vec<f32> = indices.iter().flat_map(|&index| view.point(index)).copied().collect();
    let dims = values.len() / indices.len().max(1);
    Tensor::from_data(TensorData::new(values, [indices.len(), dims]), device)
}

impl Source for PointBatches {
    type Needs = ();

    fn open((): &(), options: &SourceOptions<'_>) -> Result<PointBatches> {
        let shape = options.spec.points()?;
        let view = options.examples.images()?.clone();
        if view.is_empty() {
            return Err(Error::invalid_value(
                "data.source",
                "no training examples",
                "a model needs examples to train on",
                "give a data set with a train split",
            ));
        }
        let columns = Column::all(&view, shape);
        let SourceOptions { batch_size, seed, device, .. } = *options;
        Ok(PointBatches { view, columns, batch_size, seed, device: device.clone() })
    }

    fn amount(&self) -> Amount {
        Amount { count: self.batch_size as u64, unit: "points" }
    }
}

/// What is known of a column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// What it is called.
    pub name: String,
    /// The mean of its values.
    pub mean: f64,
    /// Their standard deviation, of the population.
    pub std: f64,
    /// Which values it has.
    pub values: Values,
}

/// Which values a column has. It is told from up to 16,384 rows, spread over all of them, and the least and the largest value of all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Values {
    /// The same in every row.
    One,
    /// Values that rows share: at most 256, each in two rows or more on average, such as whole numbers and yes or no; or among others a
    /// frequent one, which more than a tenth of the rows have, such as the 0 of a day without rain.
    Repeated {
        /// How far values are apart. Where most values are in several rows, the least distance between two, without those below a
        /// thousandth of the median distance, which are rounding; where most are in one row only, the median distance.
        spacing: f32,
    },
    /// Values that rows hardly share, or more than 256: something measured.
    Measured,
}

impl Column {
    /// The columns of points of `shape`.
    pub fn all(view: &View, shape: &PointShape) -> Vec<Column> {
        let column = |(at, (tally, seen)): (usize, (Tally, Vec<f32>))| tally.column(shape.column(at), seen);
        tallies(view, shape.dims).enumerate().map(column).collect()
    }
}

/// What all values of each column are, and those of the rows that are looked at.
fn tallies(view: &View, dims: usize) -> impl Iterator<Item = (Tally, Vec<f32>)> {
    let rows: Vec<usize> = view.spread(SEEN).collect();
    let all = (0..view.len()).map(|i| view.point(i));
    let tallies = Tally::all(all, dims).into_iter().enumerate();
    tallies.map(move |(at, tally)| (tally, rows.iter().map(|&i| view.point(i)[at]).collect()))
}

/// For each column, the values of the rows that are looked at, and the least and the largest of all.
pub(super) fn seen(view: &View, dims: usize) -> Vec<Vec<f32>> {
    tallies(view, dims).map(|(tally, seen)| tally.with_ends(seen)).collect()
}

/// What all values of a column are.
#[derive(Clone, Debug)]
struct Tally {
    count: u64,
    mean: f64,
    /// Σ (x − mean)² (Welford 1962).
    squares: f64,
    low: f32,
    high: f32,
}

impl Tally {
    const EMPTY: Tally =
        Tally { count: 0, mean: 0.0, squares: 0.0, low: f32::INFINITY, high: f32::NEG_INFINITY };

    /// Those of points of so many coordinates.
    fn all<'a>(points: impl Iterator<Item = &'a [f32]>, dims: usize) -> Vec<Tally> {
        let mut tallies = vec![Tally::EMPTY; dims];
        for point in points {
            tallies.iter_mut().zip(point).for_each(|(tally, &value)| tally.add(value));
        }
        tallies
    }

    fn add(&mut self, value: f32) {
        self.count += 1;
        let away = f64::from(value) - self.mean;
        self.mean += away / self.count as f64;
        self.squares += away * (f64::from(value) - self.mean);
        (self.low, self.high) = (self.low.min(value), self.high.max(value));
    }

    /// The column of this name, in some of whose rows are the values `seen`.
    fn column(self, name: String, seen: Vec<f32>) -> Column {
        let Tally { count, mean, squares, low, high } = self;
        if low >= high {
            // Rounding of the mean of equal values is no deviation.
            return Column { name, mean, std: 0.0, values: Values::One };
        }
        let values = match Repeats::of(&counted(self.with_ends(seen))) {
            Some(Repeats { spacing, .. }) => Values::Repeated { spacing },
            None => Values::Measured,
        };
        Column { name, mean, std: (squares / count as f64).sqrt(), values }
    }

    /// The values `seen`, the least and the largest of all among them.
    fn with_ends(&self, mut seen: Vec<f32>) -> Vec<f32> {
        for end in [self.low, self.high] {
            if !seen.contains(&end) {
                seen.push(end);
            }
        }
        seen
    }
}

/// Each value, ascending, and how many rows have it. Zero with a minus is zero.
pub(super) fn counted(mut seen: Vec<f32>) -> Vec<(f32, usize)> {
    seen.sort_unstable_by(f32::total_cmp);
    seen.chunk_by(|a, b| a == b).map(|rows| (rows[0] + 0.0, rows.len())).collect()
}

/// How the values of a column repeat that is not the same in every row.
pub(super) struct Repeats {
    /// Whether they are few, each in two rows or more on average.
    pub(super) are_few: bool,
    /// Whether most are in one row only.
    pub(super) mostly_once: bool,
    /// Those that more than a tenth of the rows have, ascending.
    pub(super) frequent: Vec<f32>,
    /// How far values are apart; see [`Values::Repeated`].
    pub(super) spacing: f32,
}

impl Repeats {
    /// Those of two or more values, [`counted`]; `None` where they do not repeat.
    pub(super) fn of(found: &[(f32, usize)]) -> Option<Repeats> {
        let all: usize = found.iter().map(|(_, rows)| rows).sum();
        let are_few = found.len() <= FEW && 2 * found.len() <= all;
        let is_frequent = |&&(_, rows): &&(f32, usize)| rows > 1 && FREQUENT * rows > all;
        let frequent: Vec<f32> = found.iter().filter(is_frequent).map(|(value, _)| *value).collect();
        if !are_few && frequent.is_empty() {
            return None;
        }
        let mut distances: Vec<f32> = found.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        distances.sort_unstable_by(f32::total_cmp);
        let median = distances[distances.len() / 2];
        let in_one_row = found.iter().filter(|(_, rows)| *rows == 1).count();
        let mostly_once = 2 * in_one_row > found.len();
        let spacing = match mostly_once {
            true => median,
            false => distances.into_iter().find(|&distance| distance >= DUST * median).unwrap_or(median),
        };
        Some(Repeats { are_few, mostly_once, frequent, spacing })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DataConfig;
    use crate::data::{DataSpec, Examples, Places, open};
    use poiesis_collect::Split;

    #[test]
    fn the_rows_of_a_table_come_as_batches() {
        let root = tempfile::tempdir().unwrap();
        let row = |i: usize| format!("{i};{};-1e-3\n", i as f32 * 0.5).replace('.', ",");
        let rows: String = (0..40).map(row).collect();
        let path = root.path().join("table.csv");
        std::fs::write(&path, format!("a;b;c\n{rows}x;y;z\n")).unwrap();
        let config = DataConfig { source: path.to_string_lossy().into_owned(), ..DataConfig::default() };
        let places = Places { data_dir: root.path().into(), cache: root.path().join("cache") };
        let dataset = open(&config, &places, &|_| ()).unwrap();
        assert_eq!((dataset.card().total(), dataset.card().skipped.count), (40, 1));
        let spec = DataSpec::of(&dataset).unwrap();
        let shape = spec.points().unwrap();
        assert_eq!((shape.dims, &shape.columns[..]), (3, &["a", "b", "c"].map(str::to_owned)[..]));
        let examples = Examples::of(&dataset, Split::Train).unwrap();
        let count = examples.len() as usize;
        let options = SourceOptions {
            examples: &examples,
            spec: &spec,
            batch_size: count,
            seed: 3,
            device: &Device::flex(),
        };
        let batches = PointBatches::open(&(), &options).unwrap();
        assert_eq!((batches.batch_size(), batches.dims()), (count, 3));
        let mean = batches.columns().iter().map(|column| column.mean).collect::<Vec<_>>();
        assert!((mean[0] - 2.0 * mean[1]).abs() < 1e-9 && (mean[2] + 1e-3).abs() < 1e-9, "{mean:?}");
        let named = batches.columns().iter().map(|column| (column.name.as_str(), column.values));
        assert!(named.eq([("a", Values::Measured), ("b", Values::Measured), ("c", Values::One)]));
        // A step is an epoch, so that each row comes exactly once, with the values of the file.
        let points = batches.points(0);
        assert_eq!(points.dims(), [count, 3]);
        let values: Vec<f32> = points.into_data().iter::<f32>().collect();
        let mut seen: Vec<usize> = values.chunks(3).map(|point| point[0] as usize).collect();
        assert!(values.chunks(3).all(|point| point[1..] == [point[0] * 0.5, -1e-3]), "{values:?}");
        seen.sort_unstable();
        seen.dedup();
        let validation = Examples::of(&dataset, Split::Validation).unwrap();
        assert_eq!((seen.len(), count + validation.len() as usize), (count, 40));
    }

    fn column(values: impl IntoIterator<Item = f32>) -> Column {
        let values: Vec<f32> = values.into_iter().collect();
        let tally = Tally::all(values.chunks(1), 1).remove(0);
        tally.column("a".to_owned(), values)
    }

    #[test]
    fn columns_of_few_values_are_told_from_measured_ones() {
        let all = column([1.0, 2.0, 3.0, 4.0]);
        assert_eq!((all.mean, all.std, all.values), (2.5, 1.25_f64.sqrt(), Values::Measured));
        let flag = column((0..100).map(|i| f32::from(i % 9 == 0)));
        assert_eq!(flag.values, Values::Repeated { spacing: 1.0 });
        assert!((flag.mean - 0.12).abs() < 1e-12 && (flag.std - (0.12 * 0.88_f64).sqrt()).abs() < 1e-12);
        assert_eq!(column([0.0, 5.0, 5.5, 9.0].repeat(2)).values, Values::Repeated { spacing: 0.5 });
        assert_eq!(column([0.0, -0.0]).values, Values::One);
        // Far from 0, where a sum of squares would lose the deviation.
        let far = column((0..1000).map(|i| 1e7 + i as f32));
        assert!((far.std - 288.675).abs() < 1e-3 && far.values == Values::Measured, "{far:?}");
        let same = column([0.1; 7]);
        assert_eq!((same.mean, same.std, same.values), (f64::from(0.1_f32), 0.0, Values::One));
        let ages = |count: usize| column((0..count).map(|i| (i % 300) as f32)).values;
        assert_eq!(
            (ages(250), ages(5000)),
            (Values::Measured, Values::Measured),
            "seldom twice, and too many"
        );
    }

    #[test]
    fn a_frequent_value_among_measured_ones_is_repeated() {
        // Rain on one day of five: 0.5, 1, 1.5 and so on, each once.
        let rain = |dry: usize| {
            let wet = (0..600).map(|i| 0.5 + 0.5 * i as f32);
            column(wet.chain(std::iter::repeat_n(0.0, dry))).values
        };
        assert_eq!(rain(2400), Values::Repeated { spacing: 0.5 });
        assert_eq!(rain(60), Values::Measured, "less than a tenth of the rows");
        // Few values, of which all but one are measured, and two of those by chance next to each other.
        let near = (0..100).map(|i| 10.0 + i as f32).chain([10.01]);
        let days = column(near.chain(std::iter::repeat_n(0.0, 400)));
        assert_eq!(days.values, Values::Repeated { spacing: 1.0 });
    }

    #[test]
    fn rounding_is_no_distance_between_values() {
        let spacing = |values: &[f32]| column(values.repeat(10)).values;
        let rounded = [0.3, 0.3_f32.next_up(), 0.6, 0.9];
        let Values::Repeated { spacing: found } = spacing(&rounded) else { panic!("few values") };
        assert!((found - 0.3).abs() < 1e-6, "{found}");
        assert_eq!(spacing(&[0.0, 1.0, 1.0001, 5.0]), Values::Repeated { spacing: 1.0 });
        // Values that double are apart by the first distance, and one of a missing answer changes nothing.
        let doubling: Vec<f32> = (0..11).map(|i| 2_f32.powi(i)).collect();
        assert_eq!(spacing(&doubling), Values::Repeated { spacing: 1.0 });
        assert_eq!(spacing(&[0.0, 1.0, 2.0, 3.0, 999_999.0]), Values::Repeated { spacing: 1.0 });
    }

    #[test]
    fn a_rare_value_that_was_not_looked_at_makes_a_column_of_two() {
        let tally = Tally::all([[0.0_f32], [0.0], [0.0], [2.0]].iter().map(|row| &row[..]), 1).remove(0);
        let seldom = tally.column("a".to_owned(), vec![0.0; 3]);
        assert_eq!((seldom.std > 0.0, seldom.values), (true, Values::Repeated { spacing: 2.0 }));
    }
}
