//! Finds the direction of latents that stands for an attribute, from images with it and images without it: logistic regression, and the
//! difference of means beside it (Shen et al. 2020, "InterFaceGAN", arXiv:2005.09635).

use crate::abilities::{Latents, Prior};
use crate::apply::attribute::{Along, Attribute, Change, Leakage, Spread, projection};
use crate::error::{Error, Result};
use crate::fitting::{Logistic, Rows};
use crate::rng;
use crate::trained::Trained;

/// Fewest images of a set.
pub const FEWEST_IMAGES: usize = 5;
/// λ in the mean of −log p plus λ / 2 · Σ weights². Latents have about the same scale, that of their prior.
const PENALTY: f64 = 1e-2;
/// Number of the first permutation that chooses what a probe of other images tells them from.
const REST: u64 = 2;
/// Each image is held out of one fit of so many.
const FOLDS: u64 = 5;

/// Finds the direction from the latents of images without an attribute to those with it. Both sets have a name and a row for each image.
///
/// `others` are the images of other classes or folders, which show what an edit changes besides the attribute: see
/// [`Attribute::leakage`].
///
/// The accuracy is that of five fits, each to four fifths of the images and tested on the others; the direction is fitted to all. A smaller
/// set counts as much as the larger one. `seed` decides which images are held out together.
///
/// # Errors
///
/// [`Error::MissingCapability`] for a model that does not decode latents; [`Error::InvalidValue`] when a set or one of
/// `others` has fewer than [`FEWEST_IMAGES`] images, or the latents have only categories.
///
/// # Panics
///
/// When the latents are not as long as those of the model.
pub fn attribute(
    trained: &Trained,
    with: (&str, &Rows),
    without: (&str, &Rows),
    others: &[(String, Rows)],
    seed: u64,
) -> Result<Attribute> {
    let latents = trained.latents()?;
    let named = others.iter().map(|(name, rows)| ("other", (name.as_str(), rows)));
    for (key, (name, rows)) in [("with", with), ("without", without)].into_iter().chain(named) {
        assert_eq!(rows.dims(), latents.latent_dim(), "latents of another length");
        if rows.len() < FEWEST_IMAGES {
            let reason = format!("{} images are too few to find and test a direction", rows.len());
            return Err(Error::invalid_value(key, name, &reason, &format!("give at least {FEWEST_IMAGES}")));
        }
    }
    let used = continuous(latents);
    if used.is_empty() {
        let reason = "the latents of this model have only categories, between which there are no directions";
        return Err(Error::invalid_value("with", with.0, reason, "give the run of another model"));
    }
    let sets = Sets { with: with.1, without: without.1, used: &used };
    let [logistic, means] = [sets.along(seed, Sets::by_logistic), sets.along(seed, Sets::by_means)];
    let leakage = leakage([&logistic, &means], sets, others, seed);
    Ok(Attribute {
        run: trained.info.id.clone(),
        model: trained.entry.name().to_owned(),
        step: trained.step,
        weights: trained.weights(),
        fingerprint: trained.fingerprint(),
        with: with.0.to_owned(),
        without: without.0.to_owned(),
        images: [with.1.len(), without.1.len()],
        logistic,
        means,
        leakage,
    })
}

/// How probes of other images answer to an amount of 1 along both directions.
fn leakage(directions: [&Along; 2], sets: Sets<'_>, others: &[(String, Rows)], seed: u64) -> Vec<Leakage> {
    let all: Vec<&Rows> =
        [sets.with, sets.without].into_iter().chain(others.iter().map(|(_, rows)| rows)).collect();
    let of = |(index, (name, rows)): (usize, &(String, Rows))| {
        let rest: Vec<&Rows> =
            all.iter().enumerate().filter(|(at, _)| *at != index + 2).map(|(_, of)| *of).collect();
        let rest = a_part_of_each(&rest, rows.len(), seed);
        let probe = Sets { with: rows, without: &rest, used: sets.used };
        let (along, scale) = probe.fitted(seed, Sets::by_logistic);
        let [logistic, means] = directions.map(|direction| {
            let cosine = projection(&direction.direction, &along.direction);
            let moved = direction.unit * cosine;
            Change { cosine, logit: scale * moved, share: moved / along.unit }
        });
        let Along { accuracy, standard_error, .. } = along;
        Leakage { name: name.clone(), images: rows.len(), accuracy, standard_error, logistic, means }
    };
    others.iter().enumerate().map(of).collect()
}

/// About `count` rows, the same number of each set as far as it has them.
fn a_part_of_each(sets: &[&Rows], count: usize, seed: u64) -> Rows {
    let each = count.div_ceil(sets.len());
    let chosen = |(number, rows): (usize, &&Rows)| {
        let len = rows.len() as u64;
        let place = |index| rng::permute(seed, REST + number as u64, index, len) as usize;
        rows.select(&(0..len.min(each as u64)).map(place).collect::<Vec<_>>())
    };
    let mut parts = sets.iter().enumerate().map(chosen);
    let first = parts.next().unwrap_or_else(|| Rows::new(Vec::new(), 1));
    parts.fold(first, |mut all, part| {
        all.extend(&part);
        all
    })
}

/// The numbers of the latent values that are not of a categorical part.
fn continuous(latents: &dyn Latents) -> Vec<usize> {
    let priors = latents.priors().into_iter().enumerate();
    priors.filter(|(_, prior)| *prior != Prior::Categorical).map(|(value, _)| value).collect()
}

/// A direction and the projection on it above which an image counts as one with the attribute.
struct Rule {
    direction: Vec<f32>,
    threshold: f64,
    /// Logits for a step of 1 along the direction; of a rule without logits, 1.
    scale: f64,
}

/// The latents of both sets, and which of their values count.
#[derive(Clone, Copy)]
struct Sets<'a> {
    with: &'a Rows,
    without: &'a Rows,
    used: &'a [usize],
}

impl Sets<'_> {
    /// What `find` makes of all images, and how accurate it is on images that it has not seen.
    fn along(self, seed: u64, find: impl Fn(Sets<'_>) -> Rule) -> Along {
        self.fitted(seed, find).0
    }

    /// The same with the scale of the rule.
    fn fitted(self, seed: u64, find: impl Fn(Sets<'_>) -> Rule) -> (Along, f64) {
        let (accuracy, standard_error) = self.accuracy(seed, &find);
        let Rule { direction, scale, .. } = find(self);
        let [with, without] = [self.with, self.without].map(|rows| spread(rows, &direction));
        // Means that are as good as equal give no unit.
        let least = 1e-3 * (with.deviation + without.deviation).max(f64::from(f32::EPSILON));
        let unit = (with.mean - without.mean).max(least);
        (Along { unit, direction, with, without, accuracy, standard_error }, scale)
    }

    /// The mean of both sets' fractions of held-out images on the right side, and its standard error.
    fn accuracy(self, seed: u64, find: &impl Fn(Sets<'_>) -> Rule) -> (f64, f64) {
        let order = |set: u64, len: usize| -> Vec<u64> {
            (0..len as u64).map(|index| rng::permute(seed, set, index, len as u64) % FOLDS).collect()
        };
        let folds = [order(0, self.with.len()), order(1, self.without.len())];
        let mut right = [0; 2];
        for fold in 0..FOLDS {
            let part = |set: usize, held_out: bool| {
                let chosen = folds[set].iter().enumerate().filter(|(_, of)| (**of == fold) == held_out);
                chosen.map(|(index, _)| index).collect::<Vec<_>>()
            };
            let [with, without] = [self.with.select(&part(0, false)), self.without.select(&part(1, false))];
            let rule = find(Sets { with: &with, without: &without, used: self.used });
            let is_with = |row: &[f32]| projection(row, &rule.direction) > rule.threshold;
            right[0] += part(0, true).iter().filter(|&&index| is_with(self.with.row(index))).count();
            right[1] += part(1, true).iter().filter(|&&index| !is_with(self.without.row(index))).count();
        }
        let counts = [self.with.len(), self.without.len()].map(|count| count as f64);
        let right = right.map(|right| right as f64);
        let accuracy = (right[0] / counts[0] + right[1] / counts[1]) / 2.0;
        // One more right and one more wrong, so that a few images that are all right do not look certain.
        let variance = |set: usize| {
            let part = (right[set] + 1.0) / (counts[set] + 2.0);
            part * (1.0 - part) / counts[set]
        };
        (accuracy, (variance(0) + variance(1)).sqrt() / 2.0)
    }

    /// The weights of a logistic regression.
    fn by_logistic(sets: Sets<'_>) -> Rule {
        // The smaller set is repeated, so that both count alike.
        let count = sets.with.len().max(sets.without.len());
        let values = |rows: &Rows, index: usize| {
            let row = rows.row(index % rows.len());
            sets.used.iter().map(|&value| row[value]).collect::<Vec<f32>>()
        };
        let both =
            (0..count).flat_map(|i| [values(sets.without, i), values(sets.with, i)].concat()).collect();
        let labels: Vec<u32> = (0..2 * count as u32).map(|row| row % 2).collect();
        let fitted =
            Logistic::zero(sets.used.len(), 2).fitted(&Rows::new(both, sets.used.len()), &labels, PENALTY);
        let difference: Vec<f64> = fitted.weights.chunks(2).map(|weights| weights[1] - weights[0]).collect();
        let length =
            difference.iter().map(|weight| weight * weight).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
        let threshold = (fitted.biases[0] - fitted.biases[1]) / length;
        Rule { direction: sets.whole(&difference), threshold, scale: length }
    }

    /// The difference of means; the threshold is in the middle.
    fn by_means(sets: Sets<'_>) -> Rule {
        let [with, without] = [sets.with.means(), sets.without.means()];
        let difference: Vec<f64> = sets.used.iter().map(|&value| with[value] - without[value]).collect();
        let direction = sets.whole(&difference);
        let middle: f64 = sets
            .used
            .iter()
            .map(|&value| (with[value] + without[value]) / 2.0 * f64::from(direction[value]))
            .sum();
        Rule { direction, threshold: middle, scale: 1.0 }
    }

    /// The values that are used as a direction of length 1 in all of them.
    fn whole(self, values: &[f64]) -> Vec<f32> {
        let length = values.iter().map(|value| value * value).sum::<f64>().sqrt();
        let mut whole = vec![0.0; self.with.dims()];
        for (&at, value) in self.used.iter().zip(values) {
            // Where nothing differs, any direction is as good.
            whole[at] = if length > 0.0 { value / length } else { 1.0 / (values.len() as f64).sqrt() } as f32;
        }
        whole
    }
}

fn spread(rows: &Rows, direction: &[f32]) -> Spread {
    let places: Vec<f64> = rows.iter().map(|row| projection(row, direction)).collect();
    let count = places.len() as f64;
    let mean = places.iter().sum::<f64>() / count;
    let variance = places.iter().map(|place| (place - mean).powi(2)).sum::<f64>() / count;
    Spread { mean, deviation: variance.sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIMS: usize = 8;

    /// Normal latents, moved by `shift` along a planted direction for the images with the attribute.
    fn planted(count: usize, shift: f32, purpose: &str) -> (Rows, Vec<f32>) {
        let direction: Vec<f32> = (0..DIMS).map(|i| (i as f32 - 3.0) / 44.0_f32.sqrt()).collect();
        let noise = rng::normal(&mut rng::generator(4, purpose, 0), count * DIMS);
        let value = |(at, noise): (usize, &f32)| noise + shift * direction[at % DIMS];
        (Rows::new(noise.iter().enumerate().map(value).collect(), DIMS), direction)
    }

    fn cosine(a: &[f32], b: &[f32]) -> f64 {
        projection(a, b) / (projection(a, a) * projection(b, b)).sqrt()
    }

    #[test]
    fn a_planted_direction_is_found() {
        let ((with, direction), (without, _)) = (planted(3000, 1.5, "with"), planted(1000, -1.5, "without"));
        let used: Vec<usize> = (0..DIMS).collect();
        let sets = Sets { with: &with, without: &without, used: &used };
        for along in [sets.along(0, Sets::by_logistic), sets.along(0, Sets::by_means)] {
            assert!(cosine(&along.direction, &direction) > 0.99, "{along:?}");
            assert!((along.unit - 3.0).abs() < 0.1 && (along.with.deviation - 1.0).abs() < 0.05, "{along:?}");
            // Φ(1.5) of the images are on the right side.
            assert!((along.accuracy - 0.9332).abs() < 3.0 * along.standard_error, "{along:?}");
            assert!((along.standard_error - 0.0046).abs() < 0.001, "{along:?}");
            assert!((along.place(with.row(0)) - along.place(without.row(0))).abs() < 4.0);
            let middle: Vec<f32> = vec![0.0; DIMS];
            assert!((along.place(&middle) - 0.5).abs() < 0.05);
        }
    }

    #[test]
    fn logistic_regression_leaves_out_what_only_goes_along() {
        // The second value is the first with noise added: it tells nothing more, yet its means differ as much.
        let noise = rng::normal(&mut rng::generator(5, "noise", 0), 8000);
        let rows = |sign: f32, first: usize| {
            let row = |at: usize| {
                let x = sign + noise[first + 2 * at];
                [x, x + 0.5 * noise[first + 2 * at + 1]]
            };
            Rows::new((0..2000).flat_map(row).collect(), 2)
        };
        let (with, without) = (rows(1.0, 0), rows(-1.0, 4000));
        let sets = Sets { with: &with, without: &without, used: &[0, 1] };
        let [logistic, means] = [sets.along(0, Sets::by_logistic), sets.along(0, Sets::by_means)];
        assert!(cosine(&logistic.direction, &[1.0, 0.0]) > 0.98, "{logistic:?}");
        assert!(cosine(&means.direction, &[1.0, 1.0]) > 0.98, "{means:?}");
    }

    #[test]
    fn sets_that_do_not_differ_have_half_of_the_images_on_each_side() {
        let ((with, _), (without, _)) = (planted(400, 0.0, "with"), planted(60, 0.0, "without"));
        let used: Vec<usize> = (0..DIMS).collect();
        let sets = Sets { with: &with, without: &without, used: &used };
        let found = sets.along(1, Sets::by_logistic);
        assert!((found.accuracy - 0.5).abs() < 3.0 * found.standard_error, "{found:?}");
        let same = Sets { with: &with, without: &with, used: &used };
        let found = same.along(1, Sets::by_means);
        assert!(found.unit > 0.0 && (projection(&found.direction, &found.direction) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_few_images_that_are_all_right_are_not_certain() {
        let ((with, _), (without, _)) = (planted(5, 9.0, "with"), planted(5, -9.0, "without"));
        let used: Vec<usize> = (0..DIMS).collect();
        let found = Sets { with: &with, without: &without, used: &used }.along(0, Sets::by_means);
        assert!(found.accuracy == 1.0 && found.standard_error > 0.08, "{found:?}");
    }

    /// 400 normal latents around `middle`, which has a value for the first dimensions.
    fn around(middle: &[f32], purpose: &str) -> Rows {
        let noise = rng::normal(&mut rng::generator(6, purpose, 0), 400 * DIMS);
        let value = |(at, noise): (usize, &f32)| noise + middle.get(at % DIMS).unwrap_or(&0.0);
        Rows::new(noise.iter().enumerate().map(value).collect(), DIMS)
    }

    #[test]
    fn a_class_along_the_direction_is_changed_and_one_across_it_is_not() {
        let used: Vec<usize> = (0..DIMS).collect();
        let (with, without) = (around(&[2.0], "with"), around(&[-2.0], "without"));
        let sets = Sets { with: &with, without: &without, used: &used };
        let directions = [sets.along(0, Sets::by_logistic), sets.along(0, Sets::by_means)];
        // One more of the same kind further on, one to the side, one the other way and to the side.
        let others = [("on", vec![6.0]), ("side", vec![0.0, 4.0]), ("back", vec![-4.0, 0.0, 4.0])];
        let others = others.map(|(name, middle)| (name.to_owned(), around(&middle, name)));
        let found = leakage([&directions[0], &directions[1]], sets, &others, 0);
        assert_eq!(found.iter().map(|of| of.name.as_str()).collect::<Vec<_>>(), ["on", "side", "back"]);
        for of in &found {
            assert!(of.images == 400 && of.accuracy > 0.9, "{of:?}");
            for change in [of.logistic, of.means] {
                // The signs and sizes go together.
                assert!(change.logit * change.cosine >= 0.0 && change.share * change.cosine >= 0.0, "{of:?}");
            }
        }
        let [on, side, back] = [found[0].means, found[1].means, found[2].means];
        assert!(on.cosine > 0.6 && on.logit > 1.0 && (0.2..1.2).contains(&on.share), "{on:?}");
        assert!(side.cosine.abs() < 0.2 && side.share.abs() < 0.2, "{side:?}");
        assert!(back.cosine < -0.25 && back.logit < -0.5, "{back:?}");
        assert_eq!(found, leakage([&directions[0], &directions[1]], sets, &others, 0));
    }

    #[test]
    fn an_amount_of_1_changes_the_logit_of_a_probe_of_the_same_images_by_the_way_between_them() {
        let used: Vec<usize> = (0..DIMS).collect();
        let (with, without) = (around(&[1.0], "with"), around(&[-1.0], "without"));
        let sets = Sets { with: &with, without: &without, used: &used };
        let (along, scale) = sets.fitted(0, Sets::by_logistic);
        // A probe that tells `with` from `without` is the direction itself.
        let rule = Sets::by_logistic(sets);
        assert_eq!((rule.scale, &rule.direction), (scale, &along.direction));
        let logit = |place: f64| rule.scale * (place - rule.threshold);
        let way = logit(along.with.mean) - logit(along.without.mean);
        assert!((way - scale * along.unit).abs() < 1e-9 && way > 1.0, "{way} {scale}");
        // That of two normal distributions, 2 apart with variance 1, has the scale 2; the penalty makes it smaller.
        assert!((1.4..2.5).contains(&scale), "{scale}");
    }

    #[test]
    fn a_probe_is_told_from_the_same_number_of_each_other_set() {
        let rows = |value: f32, count: usize| Rows::new(vec![value; count], 1);
        let (a, b, c) = (rows(1.0, 50), rows(2.0, 3), rows(3.0, 20));
        let part = a_part_of_each(&[&a, &b, &c], 29, 4);
        let count = |value: f32| part.iter().filter(|row| row[0] == value).count();
        assert_eq!([count(1.0), count(2.0), count(3.0)], [10, 3, 10]);
    }

    #[test]
    fn categories_are_left_alone() {
        let (with, without) =
            (Rows::new([1.0, 0.0, 1.0].repeat(5), 3), Rows::new([0.0, 1.0, -1.0].repeat(5), 3));
        let sets = Sets { with: &with, without: &without, used: &[2] };
        assert_eq!(sets.along(0, Sets::by_logistic).direction, [0.0, 0.0, 1.0]);
    }
}
