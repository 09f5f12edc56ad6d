//! Columns of a table that lie elsewhere than those that weights were learned from.
//!
//! A model that standardises columns was trained in units made from the mean and the deviation of its own data, so a run that starts from
//! it keeps these. Values far from there are hard to learn.

use crate::data::PointShape;
use crate::nn::{Arrays, StateDict, StateTensor, is_fixed};

/// A mean is elsewhere if it is more deviations away than this.
const FAR: f32 = 3.0;
/// A deviation is another if one is so many times the other.
const TIMES: f32 = 5.0;
/// How many columns are named.
const NAMED: usize = 8;

/// A note that names the columns which have mean or deviation elsewhere in `there`, from where weights are, than in `here`, the weights of
/// a model that was made for the new data; `None` where no column has. `run` is the name of the run that `there` is from.
pub(super) fn elsewhere(there: &Arrays, here: &StateDict, shape: &PointShape, run: &str) -> Option<String> {
    let mut names = Vec::new();
    for (name, mean) in there.iter().filter(|(name, _)| is_fixed(name) && name.ends_with("column_mean")) {
        let of_std = name.replace("column_mean", "column_std");
        let (Some(std), Some(new_mean), Some(new_std)) =
            (there.get(&of_std), here.get(name), here.get(&of_std))
        else {
            continue;
        };
        let there = mean.data.iter().copied().zip(std.data.iter().copied());
        let here = floats(new_mean).into_iter().zip(floats(new_std));
        let moved = there.zip(here).enumerate().filter(|(_, (there, here))| is_elsewhere(*there, *here));
        names.extend(moved.map(|(at, _)| format!("`{}`", shape.column(at))));
    }
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!names.is_empty()).then(|| {
        format!(
            "{}{more}: mean or deviation differs much from that in the data of {run}, by which the model scales columns; a run that starts anew may learn these data better",
            names.join(", ")
        )
    })
}

/// Whether a column of this mean and deviation is elsewhere than one of `(mean, std)`.
fn is_elsewhere((mean, std): (f32, f32), (new_mean, new_std): (f32, f32)) -> bool {
    // A column of one value, there or here, has no deviation to compare.
    let is_other = std > 0.0 && new_std > 0.0 && !(1.0 / TIMES..=TIMES).contains(&(new_std / std));
    is_other || (new_mean - mean).abs() > FAR * std
}

fn floats(array: &StateTensor) -> Vec<f32> {
    array.values.to_data().iter::<f32>().collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::nn::Array;

    fn arrays(mean: [f32; 3], std: [f32; 3]) -> Arrays {
        let array = |values: [f32; 3]| Array::new(vec![3], values.to_vec());
        let named = [("s.column_mean", mean), ("s.column_std", std), ("weight", [0.0; 3])];
        named.map(|(name, values)| (name.to_owned(), array(values))).into()
    }

    #[test]
    fn columns_that_lie_elsewhere_are_named() {
        let shape = PointShape { columns: ["a", "b", "c"].map(str::to_owned).into(), ..PointShape::new(3) };
        let there = arrays([170.0, 65.0, 7.0], [10.0, 12.0, 0.0]);
        let note = |mean: [f32; 3], std: [f32; 3]| {
            let here = StateDict::from_arrays(arrays(mean, std), &Device::flex());
            elsewhere(&there, &here, &shape, "first")
        };
        assert_eq!(note([185.0, 50.0, 7.0], [8.0, 40.0, 0.0]), None);
        let moved = note([1700.0, 65.0, 7.0], [10.0, 12.0, 0.0]).unwrap();
        assert!(moved.starts_with("`a`: mean or deviation differs much"), "{moved}");
        let wider = note([170.0, 65.0, 7.0], [1.0, 120.0, 0.0]).unwrap();
        assert!(wider.starts_with("`a`, `b`: mean or deviation differs much"), "{wider}");
        assert_eq!(note([170.0, 65.0, 7.0], [0.0, 12.0, 0.0]), None, "one value, where others were");
    }
}
