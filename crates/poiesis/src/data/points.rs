//! Points as batches, and what is known of their columns.

use burn::tensor::{Device, Tensor, TensorData};
use poiesis_collect::View;

use super::{Amount, PointShape, Source, SourceOptions};
use crate::error::{Error, Result};
use crate::rng;

/// A column with more values than this has many.
const FEW: usize = 256;
/// How many columns an error names.
const NAMED: usize = 8;

/// What a model needs of points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PointNeeds {
    /// Whether the model gives points a density. A column of one value has none, and is refused.
    pub density: bool,
}

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
    type Needs = PointNeeds;

    fn open(needs: &PointNeeds, options: &SourceOptions<'_>) -> Result<PointBatches> {
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
        let columns = Column::all((0..view.len()).map(|i| view.point(i)), shape.dims);
        if needs.density {
            expect_density(&columns, shape)?;
        }
        let SourceOptions { batch_size, seed, device, .. } = *options;
        Ok(PointBatches { view, columns, batch_size, seed, device: device.clone() })
    }

    fn amount(&self) -> Amount {
        Amount { count: self.batch_size as u64, unit: "points" }
    }
}

/// Refuses columns of one value: all probability at one place is a density without bound.
fn expect_density(columns: &[Column], shape: &PointShape) -> Result<()> {
    let constant = columns.iter().enumerate().filter(|(_, column)| column.values == Values::One);
    let names: Vec<String> = constant.map(|(at, _)| format!("`{}`", shape.column(at))).collect();
    let (columns, have, remedy) = match names.len() {
        0 => return Ok(()),
        1 => ("the column", "it has", "leave this column out of the table"),
        _ => ("the columns", "each has", "leave these columns out of the table"),
    };
    let value = format!("a table with {columns} {}", listed(&names));
    let reason =
        format!("{have} the same value in every training row, and the density of one value has no bound");
    Err(Error::invalid_value("data.source", &value, &reason, remedy))
}

/// `a`, `a and b`, `a, b and 3 more`.
fn listed(names: &[String]) -> String {
    match names {
        [one] => one.clone(),
        [all @ .., last] if names.len() <= NAMED => format!("{} and {last}", all.join(", ")),
        _ => format!("{} and {} more", names[..NAMED].join(", "), names.len() - NAMED),
    }
}

/// What is known of a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Column {
    /// The mean of its values.
    pub mean: f64,
    /// Their standard deviation, of the population.
    pub std: f64,
    /// Which values it has.
    pub values: Values,
}

/// Which values a column has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Values {
    /// The same in every row.
    One,
    /// At most 256, which most rows share with others: yes or no, a number of years, a grade.
    Few {
        /// The least distance between two of them.
        spacing: f32,
    },
    /// More, or values that hardly occur twice: something measured.
    Many,
}

impl Column {
    /// The columns of so many coordinates.
    fn all<'a>(points: impl Iterator<Item = &'a [f32]>, dims: usize) -> Vec<Column> {
        let mut tallies = vec![Tally::default(); dims];
        for point in points {
            tallies.iter_mut().zip(point).for_each(|(tally, &value)| tally.add(value));
        }
        tallies.into_iter().map(Tally::column).collect()
    }
}

/// What a column has had so far.
#[derive(Clone, Debug, Default)]
struct Tally {
    count: u64,
    mean: f64,
    /// Σ (x − mean)² (Welford 1962).
    squares: f64,
    /// The values in order, at most one more than are few.
    found: Vec<f32>,
}

impl Tally {
    fn add(&mut self, value: f32) {
        self.count += 1;
        let away = f64::from(value) - self.mean;
        self.mean += away / self.count as f64;
        self.squares += away * (f64::from(value) - self.mean);
        if self.found.len() <= FEW {
            // Zero with a minus is zero.
            let value = value + 0.0;
            if let Err(place) = self.found.binary_search_by(|known| known.total_cmp(&value)) {
                self.found.insert(place, value);
            }
        }
    }

    fn column(self) -> Column {
        let Tally { count, mean, squares, found } = self;
        let shared = found.len() <= FEW && 2 * found.len() as u64 <= count;
        let values = match found.len() {
            0 | 1 => Values::One,
            _ if shared => {
                let spacings = found.windows(2).map(|pair| pair[1] - pair[0]);
                Values::Few { spacing: spacings.fold(f32::INFINITY, f32::min) }
            }
            _ => Values::Many,
        };
        // Rounding of the mean of equal values is no deviation.
        let std = if values == Values::One { 0.0 } else { (squares / count as f64).sqrt() };
        Column { mean, std, values }
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
        let batches = PointBatches::open(&PointNeeds { density: false }, &options).unwrap();
        assert_eq!((batches.batch_size(), batches.dims()), (count, 3));
        let mean = batches.columns().iter().map(|column| column.mean).collect::<Vec<_>>();
        assert!((mean[0] - 2.0 * mean[1]).abs() < 1e-9 && (mean[2] + 1e-3).abs() < 1e-9, "{mean:?}");
        let values = batches.columns().iter().map(|column| column.values);
        assert!(values.eq([Values::Many, Values::Many, Values::One]));
        let error = PointBatches::open(&PointNeeds { density: true }, &options).err().unwrap();
        assert!(
            error.to_string().contains("with the column `c`: it has the same value in every training row"),
            "{error}"
        );
        assert_eq!(error.hint().unwrap(), "leave this column out of the table");
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
        let rows: Vec<[f32; 1]> = values.into_iter().map(|value| [value]).collect();
        Column::all(rows.iter().map(|row| &row[..]), 1)[0]
    }

    #[test]
    fn columns_of_few_values_are_told_from_measured_ones() {
        let all = column([1.0, 2.0, 3.0, 4.0]);
        assert_eq!((all.mean, all.std, all.values), (2.5, 1.25_f64.sqrt(), Values::Many));
        let flag = column((0..100).map(|i| f32::from(i % 9 == 0)));
        assert_eq!(flag.values, Values::Few { spacing: 1.0 });
        assert!((flag.mean - 0.12).abs() < 1e-12 && (flag.std - (0.12 * 0.88_f64).sqrt()).abs() < 1e-12);
        assert_eq!(column([0.0, 5.0, 5.5, 9.0].repeat(2)).values, Values::Few { spacing: 0.5 });
        assert_eq!(column([0.0, -0.0]).values, Values::One);
        // Far from 0, where a sum of squares would lose the deviation.
        let far = column((0..1000).map(|i| 1e7 + i as f32));
        assert!((far.std - 288.675).abs() < 1e-3 && far.values == Values::Many, "{far:?}");
        assert_eq!(column([0.1; 7]), Column { mean: f64::from(0.1_f32), std: 0.0, values: Values::One });
        let ages = |count: usize| column((0..count).map(|i| (i % 300) as f32)).values;
        assert_eq!((ages(250), ages(5000)), (Values::Many, Values::Many), "seldom twice, and too many");
    }

    #[test]
    fn columns_without_a_density_are_all_named() {
        let shape = PointShape { dims: 3, columns: Vec::new() };
        let columns = [column([1.0; 4]), column([1.0, 2.0]), column([0.0; 4])];
        let error = expect_density(&columns, &shape).unwrap_err();
        assert!(
            error.to_string().contains("with the columns `column 1` and `column 3`: each has the same"),
            "{error}"
        );
        assert_eq!(error.hint().unwrap(), "leave these columns out of the table");
        let names: Vec<String> = (0..12).map(|i| i.to_string()).collect();
        assert_eq!(listed(&names), "0, 1, 2, 3, 4, 5, 6, 7 and 4 more");
    }
}
