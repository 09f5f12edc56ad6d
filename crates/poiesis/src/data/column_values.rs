//! Which values drawn points may have, by column: those of the training points where these repeat.

use poiesis_collect::View;
use serde::{Deserialize, Serialize};

use super::points::{Repeats, counted, seen};

/// Most numbers that are kept for all columns together, so that `run.json` stays small.
const MOST_KEPT: usize = 20_000;

/// Which values a column of drawn points may have. It is told from the training points, as [`Values`](super::Values) are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnValues {
    /// Any: something measured.
    #[default]
    Any,
    /// A whole number of this range, all of which the column has, at most 256: flags, ages and counts.
    Whole {
        /// The least.
        least: f32,
        /// The largest.
        largest: f32,
    },
    /// One of these, ascending: other values that rows share, at most 256.
    Known(Vec<f32>),
    /// Any, with some frequent ones, which are what lies close to them, ascending: the 0 of a day without rain.
    Frequent(Vec<Frequent>),
}

/// A frequent value among measured ones.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Frequent {
    /// The value.
    pub value: f32,
    /// Drawn values from here on are this one: half as far below it as values are apart, or `f32::MIN` where it is the least.
    pub from: f32,
    /// Drawn values up to here are this one: half as far above it as values are apart, or `f32::MAX` where it is the largest.
    pub to: f32,
}

impl ColumnValues {
    /// Those of the columns of training points of `dims` coordinates; empty where each column may have any. Beyond 20,000 numbers in
    /// all, the columns with the most may have any.
    pub(super) fn all(view: &View, dims: usize) -> Vec<ColumnValues> {
        let mut all: Vec<ColumnValues> = seen(view, dims).into_iter().map(ColumnValues::of).collect();
        bound(&mut all);
        if all.iter().all(|values| *values == ColumnValues::Any) { Vec::new() } else { all }
    }

    /// Those of a column with the values `seen`, the least and the largest among them.
    fn of(seen: Vec<f32>) -> ColumnValues {
        let found = counted(seen);
        if found.len() == 1 {
            return ColumnValues::Known(vec![found[0].0]);
        }
        match Repeats::of(&found) {
            None => ColumnValues::Any,
            Some(Repeats { are_few: true, mostly_once: false, .. }) => {
                let values: Vec<f32> = found.into_iter().map(|(value, _)| value).collect();
                let is_next = |pair: &[f32]| pair[1] - pair[0] == 1.0;
                match values[0].fract() == 0.0 && values.windows(2).all(is_next) {
                    true => ColumnValues::Whole { least: values[0], largest: values[values.len() - 1] },
                    false => ColumnValues::Known(values),
                }
            }
            Some(Repeats { spacing, frequent, .. }) => {
                let (least, largest) = (found[0].0, found[found.len() - 1].0);
                let around = |&value: &f32| Frequent {
                    value,
                    from: if value == least { f32::MIN } else { value - 0.5 * spacing },
                    to: if value == largest { f32::MAX } else { value + 0.5 * spacing },
                };
                match frequent.is_empty() {
                    true => ColumnValues::Any,
                    false => ColumnValues::Frequent(frequent.iter().map(around).collect()),
                }
            }
        }
    }

    /// A drawn value as one of the column: the nearest of few, the frequent one that it lies close to, otherwise itself.
    pub fn fit(&self, drawn: f32) -> f32 {
        if drawn.is_nan() {
            return drawn;
        }
        match self {
            ColumnValues::Any => drawn,
            // Of two the smaller, as `nearest`, and zero without a minus. An f64 holds the half of any f32.
            &ColumnValues::Whole { least, largest } => {
                (f64::from(drawn.clamp(least, largest)) - 0.5).ceil() as f32 + 0.0
            }
            ColumnValues::Known(values) => nearest(values, drawn),
            ColumnValues::Frequent(all) => {
                let close = |frequent: &&Frequent| (frequent.from..=frequent.to).contains(&drawn);
                all.iter().find(close).map_or(drawn, |frequent| frequent.value)
            }
        }
    }

    /// How many numbers are kept of it. A range is not counted.
    fn kept(&self) -> usize {
        match self {
            ColumnValues::Any | ColumnValues::Whole { .. } => 0,
            ColumnValues::Known(values) => values.len(),
            ColumnValues::Frequent(all) => 3 * all.len(),
        }
    }

    /// Whether it can be that of a column, for one that comes from a file.
    pub(super) fn is_valid(&self) -> bool {
        match self {
            ColumnValues::Any => true,
            ColumnValues::Whole { least, largest } => {
                let is_whole = |value: &f32| value.is_finite() && value.fract() == 0.0;
                is_whole(least) && is_whole(largest) && least <= largest
            }
            ColumnValues::Known(values) => {
                !values.is_empty() && values.iter().all(|value| value.is_finite()) && values.is_sorted()
            }
            ColumnValues::Frequent(all) => all.iter().all(|frequent| frequent.value.is_finite()),
        }
    }
}

/// Lets the columns of which the most numbers are kept have any values, until at most [`MOST_KEPT`] are left.
fn bound(all: &mut [ColumnValues]) {
    let mut by_size: Vec<&mut ColumnValues> = all.iter_mut().collect();
    by_size.sort_by_key(|values| values.kept());
    let mut kept = 0;
    for values in by_size {
        kept += values.kept();
        if kept > MOST_KEPT {
            *values = ColumnValues::Any;
        }
    }
}

/// The nearest of `values`, which are ascending; of two the smaller.
fn nearest(values: &[f32], drawn: f32) -> f32 {
    let above = values.partition_point(|&value| value < drawn);
    match (above.checked_sub(1).map(|below| values[below]), values.get(above)) {
        (Some(below), Some(&above)) => {
            if above - drawn < drawn - below {
                above
            } else {
                below
            }
        }
        (Some(end), None) | (None, Some(&end)) => end,
        (None, None) => drawn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DataConfig;
    use crate::data::{DataSpec, Places, PointShape, open};
    use crate::media::{Codec, Media};

    fn fitted(column: &[f32], drawn: &[f32]) -> Vec<f32> {
        let values = ColumnValues::of(column.to_vec());
        drawn.iter().map(|&value| values.fit(value)).collect()
    }

    #[test]
    fn few_values_are_the_only_ones() {
        let flags = [0.0, 1.0, 0.0, 0.0];
        assert_eq!(fitted(&flags, &[0.288, 1.053, -3.0, 0.5, 0.51]), [0.0, 1.0, 0.0, 0.0, 1.0]);
        let halves = [0.0, 0.5, 1.5, 0.5, 0.0, 1.5];
        assert_eq!(fitted(&halves, &[0.26, 1.1, 9.0]), [0.5, 1.5, 1.5]);
        let counts: Vec<f32> = (0..60).map(|i| (i % 12) as f32).collect();
        assert_eq!(fitted(&counts, &[2.2499, -0.4, 11.7]), [2.0, 0.0, 11.0]);
        assert_eq!(fitted(&[7.0; 5], &[6.98]), [7.0]);
        assert!(fitted(&flags, &[f32::NAN])[0].is_nan());
        assert_eq!(fitted(&[-0.0, 1.0, 0.0, 1.0], &[-0.1])[0].to_bits(), 0, "zero without a minus");
    }

    #[test]
    fn consecutive_whole_numbers_are_a_range() {
        let of = |column: &[f32]| ColumnValues::of(column.repeat(4));
        assert_eq!(of(&[2.0, -1.0, 0.0, 1.0]), ColumnValues::Whole { least: -1.0, largest: 2.0 });
        assert_eq!(of(&[0.0, 2.0, 3.0]), ColumnValues::Known(vec![0.0, 2.0, 3.0]));
        assert_eq!(of(&[0.5, 1.5]), ColumnValues::Known(vec![0.5, 1.5]));
        let infinite = [f32::NEG_INFINITY, -0.5, 0.5, 1.51, f32::INFINITY];
        assert_eq!(fitted(&[-1.0, 0.0, 1.0, 2.0].repeat(4), &infinite), [-1.0, -1.0, 0.0, 2.0, 2.0]);
        // Where an f32 has no halves.
        let large = 8_388_609.0;
        assert_eq!(fitted(&[large, large + 1.0, large + 2.0].repeat(4), &[large + 1.0]), [large + 1.0]);
        for (least, largest) in [(1.0, 0.0), (0.5, 1.5), (0.0, f32::INFINITY)] {
            assert!(!ColumnValues::Whole { least, largest }.is_valid(), "{least} {largest}");
        }
    }

    #[test]
    fn columns_of_the_most_values_have_any_beyond_a_bound() {
        let list = |count: usize| ColumnValues::Known((0..count).map(|i| 2.0 * i as f32).collect());
        let whole = ColumnValues::Whole { least: 0.0, largest: 255.0 };
        let mut all = [vec![list(250); 79], vec![whole.clone(), list(2), list(248), list(256)]].concat();
        bound(&mut all);
        // 79 · 250 + 2 + 248 = 20,000.
        assert_eq!(all[..79], vec![list(250); 79]);
        assert_eq!(all[79..], [whole, list(2), list(248), ColumnValues::Any]);
    }

    #[test]
    fn frequent_values_take_what_lies_close_and_measured_ones_stay() {
        let rain: Vec<f32> =
            (0..600).map(|i| 0.5 + 0.5 * i as f32).chain(std::iter::repeat_n(0.0, 900)).collect();
        assert_eq!(fitted(&rain, &[-4.0, -0.1, 0.2, 0.3, 7.77]), [0.0, 0.0, 0.0, 0.3, 7.77]);
        // In the middle of the others.
        let change: Vec<f32> =
            (-300..300).map(|i| i as f32 + 0.5).chain(std::iter::repeat_n(0.0, 900)).collect();
        assert_eq!(fitted(&change, &[-4.2, -0.4, 0.4, 0.6]), [-4.2, 0.0, 0.0, 0.6]);
        let measured: Vec<f32> = (0..1000).map(|i| i as f32 * 0.37).collect();
        assert_eq!(ColumnValues::of(measured), ColumnValues::Any);
    }

    #[test]
    fn points_drawn_for_a_table_fit_its_columns() {
        let root = tempfile::tempdir().unwrap();
        let row = |i: usize| format!("{},{},{},{}\n", i % 2, 10 + i % 5, i as f32 * 0.37, i * (i % 3) / 2);
        let rows: String = (0..200).map(row).collect();
        let path = root.path().join("table.csv");
        std::fs::write(&path, format!("flag,age,size,rain\n{rows}")).unwrap();
        let config = DataConfig { source: path.to_string_lossy().into_owned(), ..DataConfig::default() };
        let places = Places { data_dir: root.path().into(), cache: root.path().join("cache") };
        let dataset = open(&config, &places, &|_| ()).unwrap();
        let spec = DataSpec::of(&dataset).unwrap();
        let drawn = Codec::new(&spec, None).media_of(&[0.288, 12.2499, 33.3, -0.4]);
        assert_eq!(drawn, Media::Point(vec![0.0, 12.0, 33.3, 0.0]));
        // They are saved with the run, and a run without them is of the same data and leaves points as they are.
        let saved = serde_json::to_value(&spec).unwrap();
        let read: DataSpec = serde_json::from_value(saved.clone()).unwrap();
        assert_eq!(read.points().unwrap().values, spec.points().unwrap().values);
        let mut old = saved;
        old["content"]["points"].as_object_mut().unwrap().remove("values").unwrap();
        let old: DataSpec = serde_json::from_value(old).unwrap();
        assert_eq!(old, spec);
        assert!(old.check().is_ok() && spec.check().is_ok());
        let plain = Codec::new(&old, None).media_of(&[0.288, 12.2499, 33.3, -0.4]);
        assert_eq!(plain, Media::Point(vec![0.288, 12.2499, 33.3, -0.4]));
    }

    #[test]
    fn values_for_other_columns_than_there_are_are_refused() {
        let shape = PointShape { dims: 2, columns: Vec::new(), values: vec![ColumnValues::Any] };
        let spec = |shape: &PointShape| DataSpec {
            content: crate::data::Content::Points(shape.clone()),
            classes: 0,
            unlabelled: false,
        };
        assert!(spec(&shape).check().is_err());
        let empty = PointShape { values: vec![ColumnValues::Any, ColumnValues::Known(vec![])], ..shape };
        assert!(spec(&empty).check().is_err());
    }
}
