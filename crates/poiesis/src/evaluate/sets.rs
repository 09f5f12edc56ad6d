//! Which images of the data samples are compared with: as many on every side, chosen by chance, as samples are.

use std::ops::Range;

use poiesis_collect::{Split, View};
use serde::{Deserialize, Serialize};

use super::metric::Subject;
use crate::error::Result;
use crate::rng;

/// How the images of a comparison were chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Chosen {
    /// Spread evenly over each split, as version 0.1.0 chose them: numbers measured like this are not comparable with those of
    /// later versions.
    #[default]
    Spread,
    /// Drawn at random without replacement, from the train split itself where that is the one measured on, but never twice.
    Random,
}

/// Equal numbers of held-out and of training images.
pub(super) struct Sets {
    /// The split that is measured on.
    pub(super) held_out: View,
    pub(super) train: View,
    /// Whether both are the train split, of which the two sets are then disjoint parts.
    pub(super) is_train: bool,
    seed: u64,
}

impl Sets {
    /// What samples of a model of images are compared with; `None` where the model has none, or there is nothing to compare with.
    pub(super) fn of(subject: &Subject<'_>) -> Result<Option<Sets>> {
        let samples_images = subject.trained.spec.images().is_ok()
            && crate::generate::can_generate(&subject.trained.abilities());
        let train = subject.dataset.and_then(|data| data.split(Split::Train)).filter(|_| samples_images);
        let Some(train) = train else { return Ok(None) };
        let held_out = subject.held_out.images()?.clone();
        Ok(Some(Sets {
            held_out,
            train,
            is_train: subject.split == Some(Split::Train),
            seed: subject.protocol.seed,
        }))
    }

    /// Sets of two splits.
    #[cfg(test)]
    pub(super) fn of_views(held_out: View, train: View, seed: u64) -> Sets {
        Sets { held_out, train, is_train: false, seed }
    }

    /// How many images each set can have.
    pub(super) fn most(&self) -> usize {
        if self.is_train { self.train.len() / 2 } else { self.held_out.len().min(self.train.len()) }
    }

    /// `count` held-out images.
    pub(super) fn held_out(&self, count: usize) -> Vec<usize> {
        self.drawn(&self.held_out, 0..count)
    }

    /// `count` training images, none of which is among as many held-out ones.
    pub(super) fn train(&self, count: usize) -> Vec<usize> {
        let first = if self.is_train { count } else { 0 };
        self.drawn(&self.train, first..first + count)
    }

    /// The images at `places` of a random order.
    fn drawn(&self, view: &View, places: Range<usize>) -> Vec<usize> {
        let len = view.len() as u64;
        places.map(|place| rng::permute(self.seed, 0, place as u64, len) as usize).collect()
    }
}

/// Images, concatenated.
pub(super) fn bytes(view: &View, indices: &[usize]) -> Vec<u8> {
    indices.iter().flat_map(|&index| view.image(index)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::super::sliced_wasserstein;
    use super::*;
    use crate::config::DataConfig;
    use crate::data::{Places, open};

    /// The floor of `count` of 4,000 images of two classes, 100 grey levels apart, in the order of their classes or in turns; then what it
    /// is between the first ones and a random choice.
    fn floor(sorted: bool, count: usize) -> [f64; 2] {
        let root = tempfile::tempdir().unwrap();
        let image = |i: usize| {
            let class = if sorted { i / 2000 } else { i % 2 };
            let noise = rng::uniform(&mut rng::generator(3, "test", i as u64), 16);
            noise.into_iter().map(move |u| (u * 40.0) as u8 + 100 * class as u8).collect::<Vec<u8>>()
        };
        let pixels: Vec<u8> = (0..4000).flat_map(image).collect();
        let mut idx = vec![0, 0, 8, 3];
        [4000_u32, 4, 4].iter().for_each(|length| idx.extend(length.to_be_bytes()));
        let source = root.path().join("images-idx3-ubyte");
        std::fs::write(&source, [idx, pixels].concat()).unwrap();
        let config = DataConfig {
            source: source.to_string_lossy().into_owned(),
            holdout: 0.0,
            ..DataConfig::default()
        };
        let places = Places { data_dir: root.path().into(), cache: root.path().join("cache") };
        let train = open(&config, &places, &|_| ()).unwrap().require(Split::Train).unwrap();
        assert_eq!(train.len(), 4000);
        let sets = Sets { held_out: train.clone(), train, is_train: true, seed: 0 };
        assert_eq!(sets.most(), 2000);
        let (held_out, other) = (sets.held_out(count), sets.train(count));
        assert!(held_out.iter().all(|index| !other.contains(index)), "an image is on both sides");
        let [held_out, other] = [held_out, other].map(|indices| bytes(&sets.train, &indices));
        let measured = sliced_wasserstein(&other, &held_out, &other, 16, 64, 0);
        assert_eq!((measured.images, measured.chosen), (count, Chosen::Random));
        assert_eq!(measured.distance, measured.floor, "samples and training images are measured alike");
        let first = bytes(&sets.train, &(0..count).collect::<Vec<_>>());
        [measured.floor, sliced_wasserstein(&first, &held_out, &first, 16, 64, 0).floor]
    }

    #[test]
    fn two_halves_of_one_set_are_close_in_any_order_of_the_data() {
        // Two halves differ in the share of a class by 0.016, give or take: √0.016 · 100 = 13 grey levels, and twice that is unlikely.
        for sorted in [true, false] {
            let [floor, _] = floor(sorted, 2000);
            assert!(floor < 26.0, "sorted {sorted}: {floor}");
        }
        // The first 1,500 of the sorted ones are all of one class, and half of the random ones: √½ · 100 = 71.
        let [floor, of_first] = floor(true, 1500);
        assert!(floor < 26.0 && (60.0..80.0).contains(&of_first), "{floor} {of_first}");
    }
}
