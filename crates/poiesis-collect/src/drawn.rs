//! How many examples are made of the images of each split, where examples are drawn from a data set.

use crate::dataset::{Dataset, View};
use crate::split::Split;

/// The splits of `images`, their images, and how many examples are made of them: `count` of the training split, if given; else as many as
/// there are images.
pub(crate) fn splits(images: &Dataset, count: Option<usize>) -> Vec<(Split, View, usize)> {
    let has = Split::ALL.into_iter().filter_map(|split| images.split(split).map(|view| (split, view)));
    has.map(|(split, view)| {
        let asked = count.filter(|_| split == Split::Train);
        let count = asked.unwrap_or(view.len());
        (split, view, count)
    })
    .collect()
}
