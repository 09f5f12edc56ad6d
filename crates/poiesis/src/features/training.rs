//! Trains the feature network of a data set, measures it, and keeps it with the data.

use burn::tensor::{Device, Int, Tensor, TensorData};
use poiesis_collect::{Dataset, Split, View};
use poiesis_kernels::categorical_log_prob;

use super::own::{Network, NetworkInfo, OwnNetwork, Task, to_tensor};
use super::sensitivity::Sensitivity;
use super::{Features, Moments};
use crate::atomic;
use crate::data::{DataSpec, ImageShape};
use crate::error::{Error, Result};
use crate::nn::{Arrays, Init, Mode, StateDict};
use crate::optim::{Optimizer, OptimizerConfig, OptimizerKind};
use crate::rng::{self, Generator};

/// Images in a batch.
const BATCH: usize = 64;
/// How often each image is seen, as far as the limits on steps allow.
const EPOCHS: usize = 20;
const FEWEST_STEPS: usize = 150;
const MOST_STEPS: usize = 2000;
/// The limit for many classes, of each of which a batch has few images or none.
const MOST_STEPS_PER_CLASS: usize = 20;
const LEARNING_RATE: f64 = 2e-3;
/// Held-out images that are looked at, and those on each side of a distance.
const LOOKED_AT: usize = 5000;
const COMPARED: usize = 2000;
/// One image in so many is set aside where nothing is held out.
const SET_ASIDE: usize = 10;
/// Fewest held-out images among which distances are measured; otherwise those of the train split are.
const FEWEST: usize = 600;
/// Fewest training images from which it is worth trying: of fewer, most networks do not notice that kinds of images are missing.
pub const ENOUGH_IMAGES: usize = 800;
/// Steps between two reports.
const REPORTED: u64 = 10;

/// Trains the feature network of a data set of images and keeps it there; `progress` receives the steps done and their number. With
/// the same data and seed it is the same network, whatever the number of threads.
///
/// It learns the classes where at least half of the training images have one, otherwise to predict rotations by quarter turns.
///
/// # Errors
///
/// [`Error::InvalidValue`] when the data are no images or too few; [`Error::NotComparable`] when the network does not notice that kinds
/// of images are missing, in which case nothing is kept; [`Error::Io`] when it cannot be kept, which is found out before the training.
pub fn train_network(dataset: &Dataset, seed: u64, progress: &mut dyn FnMut(u64, u64)) -> Result<OwnNetwork> {
    // Before the work of which it will be the result.
    atomic::expect_writable(&OwnNetwork::path(dataset))?;
    let data = TrainingData::of(dataset)?;
    let (arrays, steps) = train(&data, seed, progress);
    let card = dataset.card();
    let info = NetworkInfo {
        data: card.name.clone(),
        fingerprint: card.fingerprint.clone(),
        shape: data.shape,
        task: data.task,
        outputs: data.outputs,
        seed,
        steps,
        images: data.train.len(),
        held_out: data.held_out.len().min(LOOKED_AT),
        accuracy: 0.0,
        sensitivity: Sensitivity::default(),
    };
    let open = |arrays: Arrays| match OwnNetwork::with(info.clone(), arrays, &Device::flex()) {
        Ok(network) => network,
        Err(reason) => panic!("a network that was just trained: {reason}"),
    };
    let variance = data.variance(&open(arrays.clone()));
    let mut network = open(scaled(arrays, 1.0 / variance.max(f64::MIN_POSITIVE).sqrt()));
    let accuracy = data.accuracy(&network);
    let sensitivity = data.sensitivity(&network, seed);
    if !sensitivity.notices_dropped() {
        return Err(Error::NotComparable {
            reason: format!(
                "a feature network of {} would not notice that kinds of images are missing: the distance is {:.4} without \
                 {} of them, and {:.4} between real images",
                card.name, sensitivity.dropped, sensitivity.dropped_kinds, sensitivity.floor
            ),
            remedy: "collect more images or labels, or use the weights of Inception".into(),
        });
    }
    network.set_info(|info| (info.accuracy, info.sensitivity) = (accuracy, sensitivity));
    network.keep(dataset)?;
    Ok(network)
}

/// The arrays of a network whose features are multiplied by `factor` and whose logits stay the same: numbers measured with different
/// networks then have one scale.
fn scaled(mut arrays: Arrays, factor: f64) -> Arrays {
    for (name, factor) in
        [("features.weight", factor), ("features.bias", factor), ("output.weight", 1.0 / factor)]
    {
        let Some(array) = arrays.get_mut(name) else { panic!("a feature network without `{name}`") };
        array.data.iter_mut().for_each(|x| *x = (f64::from(*x) * factor) as f32);
    }
    arrays
}

/// An image of a split.
#[derive(Clone, Copy)]
struct Place<'a> {
    view: &'a View,
    index: usize,
}

impl Place<'_> {
    fn label(&self) -> Option<u32> {
        self.view.label(self.index)
    }
}

/// What a network is trained and measured with.
struct TrainingData {
    shape: ImageShape,
    task: Task,
    outputs: usize,
    train_view: View,
    held_out_view: View,
    /// Images that it is trained on, in the train split.
    train: Vec<usize>,
    /// Other images, in a random order.
    held_out: Vec<usize>,
}

impl TrainingData {
    fn of(dataset: &Dataset) -> Result<TrainingData> {
        let spec = DataSpec::of(dataset)?;
        let shape = spec.images()?;
        let train_view = dataset.require(Split::Train)?;
        let len = train_view.len();
        let labelled: Vec<usize> = (0..len).filter(|&index| train_view.label(index).is_some()).collect();
        let by_class = spec.classes > 1 && 2 * labelled.len() >= len;
        let (task, outputs) = if by_class { (Task::Classes, spec.classes) } else { (Task::Rotations, 4) };
        let usable = |view: &View, index: &usize| task == Task::Rotations || view.label(*index).is_some();
        let shuffled = |view: &View, indices: Vec<usize>| -> Vec<usize> {
            let count = indices.len() as u64;
            let order = (0..count).map(|place| indices[rng::permute(0, 0, place, count) as usize]);
            order.filter(|index| usable(view, index)).collect()
        };
        let apart = [Split::Test, Split::Validation].into_iter().find_map(|split| dataset.split(split));
        let all = shuffled(&train_view, (0..len).collect());
        let (train, held_out_view, held_out) = match apart {
            Some(view) => {
                let held_out = shuffled(&view, (0..view.len()).collect());
                (all, view, held_out)
            }
            None => {
                let (held_out, train) = all.split_at(all.len() / SET_ASIDE);
                (train.to_vec(), train_view.clone(), held_out.to_vec())
            }
        };
        if train.len() < BATCH || held_out.len() < 2 {
            return Err(Error::InvalidValue {
                key: "data.source".into(),
                value: format!("{} training and {} held-out images", train.len(), held_out.len()),
                reason: format!(
                    "a feature network needs at least {BATCH} images to learn from and others to be tried on"
                ),
                remedy: "collect more images".into(),
            });
        }
        Ok(TrainingData { shape, task, outputs, train_view, held_out_view, train, held_out })
    }

    /// The variance of a feature over training images, averaged over features.
    fn variance(&self, network: &OwnNetwork) -> f64 {
        let some = &self.train[..self.train.len().min(COMPARED)];
        let images: Vec<u8> = some.iter().flat_map(|&index| self.train_view.image(index)).copied().collect();
        let features = Features::of(network, &images, self.shape, &mut |_| ());
        let covariance = Moments::of(&features.values, features.dims).covariance;
        covariance.iter().step_by(features.dims + 1).sum::<f64>() / features.dims as f64
    }

    /// Images as the network is asked about them: the classes as they are, or turned by 0, 1, 2, 3, 0, … quarters.
    fn accuracy(&self, network: &OwnNetwork) -> f64 {
        let asked = &self.held_out[..self.held_out.len().min(LOOKED_AT)];
        let mut right = 0;
        for (number, batch) in asked.chunks(BATCH).enumerate() {
            let mut images = Vec::new();
            let mut expected = Vec::new();
            for (within, &index) in batch.iter().enumerate() {
                let place = Place { view: &self.held_out_view, index };
                let turn = if self.task == Task::Rotations { (number * BATCH + within) % 4 } else { 0 };
                images.extend(moved(self.held_out_view.image(index), self.shape, turn, [0, 0]));
                expected.push(
                    place.label().filter(|_| self.task == Task::Classes).map_or(turn, |class| class as usize),
                );
            }
            right += network
                .predictions(&images)
                .iter()
                .zip(expected)
                .filter(|(found, wanted)| *found == wanted)
                .count();
        }
        right as f64 / asked.len() as f64
    }

    fn sensitivity(&self, network: &OwnNetwork, seed: u64) -> Sensitivity {
        let (view, order) = match self.held_out.len() >= FEWEST {
            true => (&self.held_out_view, &self.held_out),
            false => (&self.train_view, &self.train),
        };
        let count = COMPARED.min(order.len() / 3);
        let set = |indices: &[usize]| -> Vec<u8> {
            indices.iter().flat_map(|&index| view.image(index)).copied().collect()
        };
        let more = &order[2 * count..order.len().min(4 * count)];
        let sets = [set(&order[..count]), set(&order[count..2 * count]), set(more)];
        let labels: Option<Vec<u32>> = match self.task {
            Task::Classes => {
                order[count..2 * count].iter().chain(more).map(|&index| view.label(index)).collect()
            }
            Task::Rotations => None,
        };
        let [real, others, more] = &sets;
        Sensitivity::of(network, self.shape, [real, others, more], labels.as_deref(), seed)
    }

    /// The images of a step and their targets.
    fn batch(&self, seed: u64, step: u64, device: &Device) -> (Tensor<4>, Tensor<1, Int>) {
        let mut generator = rng::generator(seed, "features batch", step);
        let len = self.train.len() as u64;
        let (mut images, mut targets) = (Vec::new(), Vec::new());
        for place in step * BATCH as u64..(step + 1) * BATCH as u64 {
            let index = self.train[rng::permute(seed, place / len, place % len, len) as usize];
            let turn = if self.task == Task::Rotations { rng::below(&mut generator, 4) as usize } else { 0 };
            let shift = [self.shape.height, self.shape.width].map(|side| shift(side, &mut generator));
            images.extend(moved(self.train_view.image(index), self.shape, turn, shift));
            let class = self.train_view.label(index).filter(|_| self.task == Task::Classes);
            targets.push(class.map_or(turn as i64, i64::from));
        }
        let targets = Tensor::from_data(TensorData::new(targets, [BATCH]), device);
        (to_tensor(&images, self.shape, device), targets)
    }
}

/// A shift of at most a sixteenth of the side.
fn shift(side: usize, generator: &mut Generator) -> isize {
    let most = side / 16;
    rng::below(generator, 2 * most as u64 + 1) as isize - most as isize
}

/// An image turned by quarters against the clock and shifted. Its edge goes on beyond it, and a turned image that is not square is
/// stretched back to its shape.
fn moved(image: &[u8], shape: ImageShape, turn: usize, [down, right]: [isize; 2]) -> Vec<u8> {
    let ImageShape { height, width, channels } = shape;
    let place = |part: f32, side: usize, shift: isize| {
        ((part * side as f32) as usize).min(side - 1).saturating_add_signed(shift).min(side - 1)
    };
    let mut turned = Vec::with_capacity(image.len());
    for at in 0..height * width {
        let (v, u) =
            (((at / width) as f32 + 0.5) / height as f32, ((at % width) as f32 + 0.5) / width as f32);
        let (v, u) = [(v, u), (u, 1.0 - v), (1.0 - v, 1.0 - u), (1.0 - u, v)][turn];
        let from = (place(v, height, down) * width + place(u, width, right)) * channels;
        turned.extend_from_slice(&image[from..from + channels]);
    }
    turned
}

/// Trains a network; returns its arrays and the number of steps.
fn train(data: &TrainingData, seed: u64, progress: &mut dyn FnMut(u64, u64)) -> (Arrays, u64) {
    let device = Device::flex().autodiff();
    let mut network = Network::new(data.shape, data.outputs, &mut Init::new(seed, &device));
    let config = OptimizerConfig {
        kind: OptimizerKind::AdamW,
        learning_rate: LEARNING_RATE,
        weight_decay: 0.01,
        ..OptimizerConfig::default()
    };
    let mut optimizer = Optimizer::new(&config);
    let most = MOST_STEPS.max(MOST_STEPS_PER_CLASS * data.outputs);
    let steps = (EPOCHS * data.train.len() / BATCH).clamp(FEWEST_STEPS, most) as u64;
    let mut done = 0;
    while done < steps {
        let until = steps.min(done + REPORTED);
        // On a thread of the pool, so that operations do not have to wake it from outside.
        network = rayon::scope(|_| {
            (done..until).fold(network, |network, step| {
                let (x, targets) = data.batch(seed, step, &device);
                let (_, logits) = network.forward(x, Mode::Train);
                let loss = categorical_log_prob(logits, targets).mean().neg();
                let schedule = 0.5 + 0.5 * (std::f64::consts::PI * step as f64 / steps as f64).cos();
                optimizer.step(network, &mut loss.backward(), schedule)
            })
        });
        done = until;
        progress(done, steps);
    }
    (StateDict::of(&network).to_arrays(), steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DataConfig;
    use crate::data::{Places, open};
    use crate::features::FeatureNetwork as _;

    #[test]
    fn images_are_turned_against_the_clock_and_shifted() {
        let square = ImageShape { height: 2, width: 2, channels: 1 };
        assert_eq!(moved(&[1, 2, 3, 4], square, 1, [0, 0]), [2, 4, 1, 3]);
        assert_eq!(moved(&[1, 2, 3, 4], square, 2, [0, 0]), [4, 3, 2, 1]);
        assert_eq!(moved(&[1, 2, 3, 4], square, 3, [0, 0]), [3, 1, 4, 2]);
        assert_eq!(moved(&[1, 2, 3, 4], square, 0, [1, 0]), [3, 4, 3, 4]);
        assert_eq!(moved(&[1, 2, 3, 4], square, 0, [0, -1]), [1, 1, 3, 3]);
        let wide = ImageShape { height: 1, width: 2, channels: 3 };
        assert_eq!(moved(&[1, 2, 3, 4, 5, 6], wide, 2, [0, 0]), [4, 5, 6, 1, 2, 3]);
        let large = ImageShape { height: 28, width: 28, channels: 1 };
        let image: Vec<u8> = (0..784).map(|i| (i % 251) as u8).collect();
        let back = (0..4).fold(image.clone(), |image, _| moved(&image, large, 1, [0, 0]));
        assert_eq!(back, image);
    }

    #[test]
    fn a_network_learns_classes_notices_missing_ones_and_is_kept_with_the_data() {
        let root = tempfile::tempdir().unwrap();
        let config = DataConfig { source: "shapes".into(), size: 16, count: 900, ..DataConfig::default() };
        let places = Places { data_dir: root.path().into(), cache: root.path().join("cache") };
        let dataset = open(&config, &places, &|_| ()).unwrap();
        let device = Device::flex();
        assert!(OwnNetwork::open(&dataset, &device).unwrap().is_none());
        let mut seen = 0;
        let network = train_network(&dataset, 3, &mut |done, all| seen = done * 1000 / all).unwrap();
        assert_eq!(seen, 1000);
        let info = network.info();
        assert_eq!((info.task, info.outputs), (Task::Classes, dataset.card().classes.len()));
        let chance = 1.0 / info.outputs as f64;
        assert!(info.accuracy > 1.5 * chance, "{info:?}");
        assert!(info.sensitivity.notices_dropped());
        let images: Vec<u8> = {
            let train = dataset.require(Split::Train).unwrap();
            (0..train.len()).flat_map(|index| train.image(index)).copied().collect()
        };
        let features = Features::of(&network, &images, info.shape, &mut |_| ());
        let moments = Moments::of(&features.values, features.dims);
        let variance =
            moments.covariance.iter().step_by(features.dims + 1).sum::<f64>() / features.dims as f64;
        assert!((variance - 1.0).abs() < 1e-3, "{variance}");
        let again = OwnNetwork::open(&dataset, &device).unwrap().unwrap();
        assert_eq!((again.name(), again.info()), (network.name(), info));
        let image = dataset.require(Split::Train).unwrap().image(0).to_vec();
        assert_eq!(again.compute(&image, info.shape), network.compute(&image, info.shape));
        assert!(network.name().starts_with("features-of-shapes-") && network.name().len() == 27);

        // Other data of the same name, and a damaged file.
        let other = open(&DataConfig { count: 890, ..config }, &places, &|_| ()).unwrap();
        std::fs::copy(OwnNetwork::path(&dataset), OwnNetwork::path(&other)).unwrap();
        let fault = |dataset: &Dataset| OwnNetwork::open(dataset, &device).err().unwrap().to_string();
        assert!(fault(&other).contains("made for other data"));
        std::fs::write(OwnNetwork::path(&dataset), "{").unwrap();
        assert!(fault(&dataset).contains("features.safetensors"));
    }
}
