//! What a model's features know of classes: the accuracy of a linear probe by the number of labels, beside pixels, their principal
//! components, the same network without training, and nearest neighbours.

use poiesis_collect::{Dataset, Split, View};
use serde::Serialize;

use super::held_out;
use super::represent::{Report, each_batch, pixels};
use crate::abilities::Features;
use crate::data::ImageShape;
use crate::error::{Error, Result};
use crate::evaluate::Progress;
use crate::fitting::{Pca, Probe, Rows, Standardizer, likeliest};
use crate::rng;
use crate::trained::Trained;

/// Principal components of pixels.
const COMPONENTS: usize = 50;
/// Neighbours that vote.
const NEIGHBOURS: usize = 20;
/// Rows whose neighbours are searched at once.
const PIECE: usize = 512;

/// How a model is probed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProbeOptions {
    /// Labelled training images, evenly spread over the split: all that a probe can see.
    pub train: usize,
    /// Held-out images that probes are tested on, likewise.
    pub test: usize,
    /// The held-out split; `None` takes the test split if there is one, else the validation split.
    pub split: Option<Split>,
    /// Numbers of labels of each class; all images are used after them.
    pub labels_per_class: Vec<usize>,
    /// How many times labels are chosen for each of these numbers.
    pub draws: u64,
    /// Seed of the choice, and of the weights of the network without training.
    pub seed: u64,
}

impl Default for ProbeOptions {
    fn default() -> ProbeOptions {
        ProbeOptions {
            train: 10_000,
            test: 5_000,
            split: None,
            labels_per_class: vec![1, 4, 10, 25, 100],
            draws: 5,
            seed: 0,
        }
    }
}

/// The accuracy of one way of reading images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProbeCurve {
    /// How images are read, such as `features`.
    pub name: &'static str,
    /// Values for each image.
    pub dims: usize,
    /// The accuracy for each number of labels, rising.
    pub points: Vec<ProbePoint>,
}

/// The accuracy with some number of labels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProbePoint {
    /// Labels of each class; `None` where all images are used.
    pub per_class: Option<usize>,
    /// Labels in all.
    pub labels: usize,
    /// How many times they were chosen.
    pub draws: u64,
    /// Mean fraction of the test images that are classified right.
    pub accuracy: f64,
    /// Standard deviation over the draws; 0 for one.
    pub deviation: f64,
}

/// What a model's features know of classes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProbeReport {
    /// Labelled training images.
    pub train: usize,
    /// Test images with a label.
    pub test: usize,
    /// The split they are of.
    pub split: Split,
    /// The classes.
    pub classes: Vec<String>,
    /// Numbers of labels for which a class had too few images, so that they were left out.
    pub left_out: Vec<usize>,
    /// A curve for each way of reading images.
    pub curves: Vec<ProbeCurve>,
}

/// Fits probes to a model's features and to what they are compared with; `progress` receives the progress.
///
/// # Errors
///
/// [`Error::MissingCapability`] when the model has no features; [`Error::InvalidValue`] for data without classes, and when no image has a
/// label; [`Error::NothingHeldOut`] and [`Error::Data`] when a split is not there.
pub fn probe(
    trained: &Trained,
    dataset: &Dataset,
    options: &ProbeOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<ProbeReport> {
    let (model, shape) = (trained.features()?, trained.spec.images()?);
    let (split, test) = held_out(dataset, options.split)?;
    let train = dataset.require(Split::Train)?;
    let classes = dataset.card().classes.clone();
    let sides = [Side::labelled(&train, options.train), Side::labelled(&test, options.test)];
    let lacking = sides.iter().any(|side| side.labels.is_empty());
    if classes.len() < 2 || lacking {
        let reason = "a probe needs images of at least two classes, for training and held out";
        let name = &dataset.card().name;
        return Err(Error::invalid_value(
            "data.source",
            name,
            reason,
            "give a run that was trained on data with classes",
        ));
    }
    let draws = Draws::of(&sides[0].labels, classes.len(), options);
    let untrained = trained.untrained(options.seed)?;
    let mut curves = Vec::new();
    let read = |what, model: &dyn Features, progress: &mut dyn FnMut(Progress)| {
        let mut report =
            Report::new(what, "images", sides.iter().map(|side| side.indices.len()).sum(), progress);
        sides.each_ref().map(|side| {
            each_batch(side.view, &side.indices, shape, &trained.device, &mut report, |x, _| {
                model.features(x)
            })
        })
    };
    let labels = sides.each_ref().map(|side| &side.labels[..]);
    let features = read("reading features", model, progress);
    curves.push(draws.curve(["features", "probing features"], &features, labels, Way::Probe, progress));
    curves.push(draws.curve(
        ["features, nearest neighbours", "searching neighbours"],
        &features,
        labels,
        Way::Neighbours,
        progress,
    ));
    drop(features);
    if let Some(model) = untrained.abilities().features {
        let features = read("reading features without training", model, progress);
        curves.push(draws.curve(
            ["features without training", "probing features without training"],
            &features,
            labels,
            Way::Probe,
            progress,
        ));
    }
    let pixels = sides.each_ref().map(|side| side.pixels(shape));
    curves.push(draws.curve(["pixels", "probing pixels"], &pixels, labels, Way::Probe, progress));
    let pca = Pca::fit(&pixels[0], COMPONENTS);
    let components = pixels.each_ref().map(|pixels| pca.project(pixels));
    curves.push(draws.curve(
        ["components of pixels", "probing components"],
        &components,
        labels,
        Way::Probe,
        progress,
    ));
    Ok(ProbeReport {
        train: labels[0].len(),
        test: labels[1].len(),
        split,
        classes,
        left_out: draws.left_out,
        curves,
    })
}

/// Images with labels.
struct Side<'a> {
    view: &'a View,
    indices: Vec<usize>,
    labels: Vec<u32>,
}

impl Side<'_> {
    fn labelled(view: &View, count: usize) -> Side<'_> {
        let chosen = view.spread(count).filter_map(|index| Some((index, view.label(index)?)));
        let (indices, labels) = chosen.unzip();
        Side { view, indices, labels }
    }

    fn pixels(&self, shape: ImageShape) -> Rows {
        pixels(self.view, &self.indices, shape)
    }
}

/// How a class is found from values.
#[derive(Clone, Copy)]
enum Way {
    Probe,
    Neighbours,
}

/// Which labels are used: the same ones for each way of reading images.
struct Draws {
    /// For each number of labels of a class the choices, each a list of images.
    chosen: Vec<(Option<usize>, Vec<Vec<usize>>)>,
    left_out: Vec<usize>,
    classes: usize,
    seed: u64,
}

impl Draws {
    fn of(labels: &[u32], classes: usize, options: &ProbeOptions) -> Draws {
        let mut of_class = vec![Vec::new(); classes];
        labels.iter().enumerate().for_each(|(at, &label)| of_class[label as usize].push(at));
        of_class.retain(|images| !images.is_empty());
        let fewest = of_class.iter().map(Vec::len).min().unwrap_or(0);
        let mut numbers = options.labels_per_class.clone();
        numbers.sort_unstable();
        numbers.dedup();
        let (fit, left_out): (Vec<usize>, Vec<usize>) =
            numbers.into_iter().partition(|&number| number <= fewest);
        let draw = |number: usize, draw: u64| {
            let of_one = |(class, images): (usize, &Vec<usize>)| {
                let len = images.len() as u64;
                let epoch = draw * classes as u64 + class as u64;
                let place = move |i: u64| rng::permute(options.seed, epoch, i, len) as usize;
                (0..number as u64).map(|i| images[place(i)]).collect::<Vec<_>>()
            };
            of_class.iter().enumerate().flat_map(of_one).collect::<Vec<_>>()
        };
        let mut chosen: Vec<(Option<usize>, Vec<Vec<usize>>)> = fit
            .into_iter()
            .map(|number| (Some(number), (0..options.draws).map(|i| draw(number, i)).collect()))
            .collect();
        chosen.push((None, vec![(0..labels.len()).collect()]));
        Draws { chosen, left_out, classes, seed: options.seed }
    }

    /// The accuracy of one way of reading images for each number of labels; also what it is called, and what its progress is.
    fn curve(
        &self,
        [name, what]: [&'static str; 2],
        [train, test]: &[Rows; 2],
        [labels, expected]: [&[u32]; 2],
        way: Way,
        progress: &mut dyn FnMut(Progress),
    ) -> ProbeCurve {
        let fits = self.chosen.iter().map(|(_, draws)| draws.len()).sum();
        let mut report = Report::new(what, "fits", fits, progress);
        let mut point = |(per_class, draws): &(Option<usize>, Vec<Vec<usize>>)| {
            let mut accuracies = Vec::new();
            for chosen in draws {
                let (rows, labels) =
                    (train.select(chosen), chosen.iter().map(|&at| labels[at]).collect::<Vec<_>>());
                accuracies.push(match way {
                    Way::Probe => {
                        Probe::fit(&rows, &labels, self.classes, self.seed).accuracy(test, expected)
                    }
                    Way::Neighbours => {
                        neighbour_accuracy(&rows, &labels, self.classes, *per_class, test, expected)
                    }
                });
                report.add(1);
            }
            let (accuracy, deviation) = mean_and_deviation(&accuracies);
            let labels = draws[0].len();
            ProbePoint { per_class: *per_class, labels, draws: draws.len() as u64, accuracy, deviation }
        };
        ProbeCurve { name, dims: train.dims(), points: self.chosen.iter().map(&mut point).collect() }
    }
}

/// The mean, and the standard deviation of a sample (0 for one value).
fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    (mean, (squares / (count - 1.0).max(1.0)).sqrt())
}

/// The accuracy of votes of the nearest rows by the cosine of standardised values; no more of them vote than there are labels of a class.
fn neighbour_accuracy(
    rows: &Rows,
    labels: &[u32],
    classes: usize,
    per_class: Option<usize>,
    test: &Rows,
    expected: &[u32],
) -> f64 {
    let standardizer = Standardizer::of(rows);
    let unit = |rows: &Rows| {
        let rows = standardizer.apply(rows);
        let scaled = |row: &[f32]| {
            let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
            row.iter().map(|x| x / norm).collect::<Vec<_>>()
        };
        Rows::new(rows.iter().flat_map(scaled).collect(), rows.dims())
    };
    let known = unit(rows).tensor().transpose();
    let voters = per_class.unwrap_or(NEIGHBOURS).clamp(1, NEIGHBOURS).min(labels.len());
    let mut right = 0;
    let all: Vec<usize> = (0..test.len()).collect();
    for piece in all.chunks(PIECE) {
        let cosines = Rows::of_tensor(unit(&test.select(piece)).tensor().matmul(known.clone()));
        for (row, &at) in cosines.iter().zip(piece) {
            let mut order: Vec<usize> = (0..row.len()).collect();
            order.select_nth_unstable_by(voters - 1, |&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
            let mut votes = vec![0.0; classes];
            // The nearer of two classes with as many votes wins.
            order[..voters]
                .iter()
                .for_each(|&near| votes[labels[near] as usize] += 1.0 + 1e-3 * f64::from(row[near]));
            right += usize::from(likeliest(&votes) == expected[at] as usize);
        }
    }
    right as f64 / test.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_chosen_equally_from_each_class_and_differently_each_time() {
        let labels: Vec<u32> = (0..60).map(|i| i % 3).collect();
        let options = ProbeOptions { labels_per_class: vec![25, 4, 4], draws: 2, ..ProbeOptions::default() };
        let draws = Draws::of(&labels, 4, &options);
        assert_eq!(draws.left_out, [25]);
        assert_eq!(
            draws.chosen.iter().map(|(number, all)| (*number, all.len())).collect::<Vec<_>>(),
            [(Some(4), 2), (None, 1)]
        );
        let [first, second] = &draws.chosen[0].1[..] else { panic!("two draws") };
        assert_ne!(first, second);
        for class in 0..3 {
            assert_eq!(first.iter().filter(|&&at| labels[at] == class).count(), 4);
        }
        assert_eq!(draws.chosen[1].1[0].len(), 60);
    }

    #[test]
    fn neighbours_vote_by_direction() {
        // Directions of two classes; lengths say nothing.
        let rows = Rows::new(vec![1.0, 0.1, 5.0, -0.2, -1.0, 0.1, -9.0, 0.3], 2);
        let test = Rows::new(vec![0.5, 0.1, -20.0, 0.5], 2);
        assert_eq!(neighbour_accuracy(&rows, &[0, 0, 1, 1], 2, Some(1), &test, &[0, 1]), 1.0);
        assert_eq!(neighbour_accuracy(&rows, &[0, 0, 1, 1], 2, None, &test, &[1, 0]), 0.0);
    }

    #[test]
    fn a_curve_rises_with_labels_where_classes_overlap() {
        let side = |index: u64, count: usize| {
            let noise = rng::normal(&mut rng::generator(4, "test", index), 2 * count);
            let labels: Vec<u32> = (0..count as u32).map(|i| i % 2).collect();
            let value = |(i, p): (usize, &[f32])| [p[0] + 2.0 * (i % 2) as f32, p[1]];
            (Rows::new(noise.chunks(2).enumerate().flat_map(value).collect(), 2), labels)
        };
        let ((train, labels), (test, expected)) = (side(0, 400), side(1, 1000));
        let options = ProbeOptions { labels_per_class: vec![1, 100], draws: 8, ..ProbeOptions::default() };
        let draws = Draws::of(&labels, 2, &options);
        let curve =
            draws.curve(["test", "testing"], &[train, test], [&labels, &expected], Way::Probe, &mut |_| ());
        let found: Vec<f64> = curve.points.iter().map(|point| point.accuracy).collect();
        // The best possible is Φ(1) = 0.841.
        assert!(found[0] < found[1] && (found[2] - 0.841).abs() < 0.03, "{found:?}");
        assert!(curve.points[0].deviation > curve.points[1].deviation && curve.points[2].deviation == 0.0);
    }
}
