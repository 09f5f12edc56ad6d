//! Examples whose class is not known, for a model whose likelihood depends on the class: they are scored as a mixture,
//! −log p(x) = −log Σ_c p(c) p(x|c), with the share of each class in the training data as p(c).
//!
//! Of a sequence, each token is predicted by the same mixture: log p(x_t | x_<t) = log Σ_c p(c | x_<t) p(x_t | x_<t, c), where the posterior
//! p(c | x_<t) follows from the tokens before. These sum to the score of the whole.

use serde::Serialize;

use super::{Score, ScoreProtocol, Scores, of_images};
use crate::abilities::Likelihood;
use crate::data::{ImageShape, TokenShape};
use crate::evaluate::{ImageSet, Progress};
use crate::run::DataInfo;
use crate::trained::Trained;

/// How the class of an example entered its score, where the likelihood of the model depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// The example has a class that the model knows: the score is −log p(x|c).
    Class,
    /// The example has no class that the model knows, and the model has learned examples without a class: it is scored as one of those.
    NoClass,
    /// The example has no class that the model knows: it is scored under a mixture of all classes.
    Mixture,
    /// The example is a document of a split without a class, and the model was trained to read such documents as those of the first class.
    FirstClass,
}

impl Condition {
    /// Its name in reports, such as `no-class`.
    pub fn name(self) -> &'static str {
        match self {
            Condition::Class => "class",
            Condition::NoClass => "no-class",
            Condition::Mixture => "mixture",
            Condition::FirstClass => "first-class",
        }
    }

    /// That of an example of `class` which is read as tokens of `shape`; `None` where their likelihood does not depend on it.
    pub(super) fn of_tokens(shape: TokenShape, class: Option<u32>) -> Option<Condition> {
        (shape.beginnings > 1).then_some(match class {
            Some(_) => Condition::Class,
            None if shape.unlabelled => Condition::NoClass,
            None => Condition::Mixture,
        })
    }
}

/// Where the shares of classes in a mixture are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shares {
    /// Those of the examples that the model was trained on.
    Training,
    /// All are equal: the run does not say how many examples of each class it was trained on.
    Uniform,
}

/// The classes that an example may be of, each with log p(c).
pub(super) struct ClassPrior {
    pub(super) shares: Shares,
    classes: Vec<(u32, f64)>,
}

impl ClassPrior {
    /// The shares of classes in the data of a run; classes without an example are left out.
    pub(super) fn of(data: &DataInfo) -> ClassPrior {
        let total: u64 = data.class_counts.iter().sum();
        let (shares, counts) = match total {
            0 => (Shares::Uniform, vec![1; data.classes.len()]),
            _ => (Shares::Training, data.class_counts.clone()),
        };
        let total = counts.iter().sum::<u64>() as f64;
        let each = (0..).zip(counts).filter(|&(_, count)| count > 0);
        ClassPrior {
            shares,
            classes: each.map(|(class, count)| (class, (count as f64 / total).ln())).collect(),
        }
    }

    /// The classes that an example of `class` is scored with: that one alone, or all where it is not known.
    pub(super) fn with(&self, class: Option<u32>) -> Vec<(u32, f64)> {
        class.map_or_else(|| self.classes.clone(), |class| vec![(class, 0.0)])
    }
}

/// −log Σ_c p(c) p(x|c) from log p(c) and −log p(x|c) of each class.
fn mixed(each: impl Iterator<Item = (f64, f64)>) -> f64 {
    let joint: Vec<f64> = each.map(|(log_share, nats)| log_share - nats).collect();
    -log_sum_exp(&joint)
}

/// The same for each token of a sequence, given those before it: from log p(c) and −log p(x_t | x_<t, c) of all tokens, for each class.
/// Infinite from the first token on up to which the sequence is impossible in every class.
///
/// # Panics
///
/// When the classes have different numbers of tokens.
pub(super) fn mixed_tokens(each: &[(f64, Vec<f64>)]) -> Vec<f64> {
    if let [(_, nats)] = each {
        return nats.clone();
    }
    let length = each.first().map_or(0, |(_, nats)| nats.len());
    assert!(each.iter().all(|(_, nats)| nats.len() == length), "all read the same {length} tokens");
    // log p(c, x_1 … x_t).
    let mut joint: Vec<f64> = each.iter().map(|&(log_share, _)| log_share).collect();
    let mut before = log_sum_exp(&joint);
    let next = |place: usize| {
        joint.iter_mut().zip(each).for_each(|(joint, (_, nats))| *joint -= nats[place]);
        let after = log_sum_exp(&joint);
        let nats = if after == f64::NEG_INFINITY { f64::INFINITY } else { before - after };
        before = after;
        nats
    };
    (0..length).map(next).collect()
}

/// log Σ exp(v); NaN if one of them is.
fn log_sum_exp(values: &[f64]) -> f64 {
    // `f64::max` would drop NaN.
    let larger = |most: f64, value: f64| if value > most || value.is_nan() { value } else { most };
    let most = values.iter().copied().fold(f64::NEG_INFINITY, larger);
    if !most.is_finite() {
        return most;
    }
    most + values.iter().map(|value| (value - most).exp()).sum::<f64>().ln()
}

/// Scores images under the likelihood of a class: each of its own, and of all where that is not known. `progress` counts an image once
/// for each class that it is scored with.
pub(super) fn of_images_with_classes(
    trained: &Trained,
    likelihood: Likelihood<'_>,
    (pixels, classes, numbers): (&[&[u8]], &[Option<u32>], &[u64]),
    shape: ImageShape,
    protocol: ScoreProtocol,
    progress: &mut dyn FnMut(Progress),
) -> Scores {
    let prior = ClassPrior::of(&trained.info.data);
    let with: Vec<Vec<(u32, f64)>> = classes.iter().map(|&class| prior.with(class)).collect();
    let each: Vec<(usize, u32)> =
        (0..).zip(&with).flat_map(|(at, with)| with.iter().map(move |&(class, _)| (at, class))).collect();
    let set = ImageSet::of_images(
        each.iter().map(|&(at, _)| pixels[at]).collect(),
        each.iter().map(|&(_, class)| Some(class)).collect(),
        each.iter().map(|&(at, _)| numbers[at]).collect(),
    );
    let all = of_images(trained, likelihood, &set, shape, protocol, progress);
    let mut rest = all.scores.iter();
    let mut scores = Vec::with_capacity(classes.len());
    for (class, with) in classes.iter().zip(&with) {
        let found: Vec<_> = rest.by_ref().take(with.len()).copied().collect();
        let (nats, condition) = match class {
            Some(_) => (found[0].nats, Condition::Class),
            None => {
                let each = with.iter().zip(&found).map(|(&(_, log_share), score)| (log_share, score.nats));
                (mixed(each), Condition::Mixture)
            }
        };
        scores.push(Score { nats, condition: Some(condition), ..found[0] });
    }
    let shares = classes.contains(&None).then_some(prior.shares);
    Scores { scores, shares, ..all }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12 * b.abs().max(1.0), "{a} and {b}");
    }

    #[test]
    fn a_mixture_is_the_log_of_a_sum_of_probabilities() {
        let each = [(0.25_f64.ln(), 3.0), (0.75_f64.ln(), 1.0)];
        near(mixed(each.into_iter()), -(0.25 * (-3.0_f64).exp() + 0.75 * (-1.0_f64).exp()).ln());
        // Far below the smallest number that a float can hold.
        near(mixed([(0.5_f64.ln(), 9000.0), (0.5_f64.ln(), 9000.0)].into_iter()), 9000.0);
        near(mixed([(0.5_f64.ln(), f64::INFINITY), (0.5_f64.ln(), 2.0)].into_iter()), 2.0 + 2.0_f64.ln());
    }

    #[test]
    fn tokens_are_weighed_by_the_posterior_and_sum_to_the_whole() {
        let each = vec![(0.5_f64.ln(), vec![0.1, 2.0, 0.3]), (0.5_f64.ln(), vec![4.0, 0.2, 0.3])];
        let nats = mixed_tokens(&each);
        let p = |nats: f64| (-nats).exp();
        near(p(nats[0]), 0.5 * p(0.1) + 0.5 * p(4.0));
        let posterior = p(0.1) / (p(0.1) + p(4.0));
        near(p(nats[1]), posterior * p(2.0) + (1.0 - posterior) * p(0.2));
        near(nats[2], 0.3);
        near(nats.iter().sum(), mixed(each.iter().map(|(share, nats)| (*share, nats.iter().sum()))));
        let alone = vec![(0.0, vec![0.1, 0.7])];
        assert_eq!(mixed_tokens(&alone), [0.1, 0.7], "to the bit");
        assert!(mixed_tokens(&[]).is_empty());
    }

    #[test]
    fn what_no_class_can_be_is_infinitely_surprising_and_nan_is_not_hidden() {
        let (half, never) = (0.5_f64.ln(), f64::INFINITY);
        assert_eq!(mixed([(half, never), (half, never)].into_iter()), never);
        let each = [(half, vec![1.0, never, 2.0]), (half, vec![1.0, never, 3.0])];
        assert_eq!(mixed_tokens(&each)[1..], [never, never]);
        // The second class alone remains.
        let one = [(half, vec![never, never]), (half, vec![1.0, 2.0])];
        let nats = mixed_tokens(&one);
        near(nats[0], 1.0 + 2.0_f64.ln());
        near(nats[1], 2.0);
        for other in [1.0, never, f64::NAN] {
            assert!(mixed([(half, f64::NAN), (half, other)].into_iter()).is_nan(), "{other}");
            assert!(mixed([(half, other), (half, f64::NAN)].into_iter()).is_nan(), "{other}");
            assert!(mixed_tokens(&[(half, vec![f64::NAN]), (half, vec![other])])[0].is_nan(), "{other}");
        }
    }

    #[test]
    fn classes_have_their_shares_in_training_where_the_run_knows_them() {
        let data = |class_counts: Vec<u64>| DataInfo {
            classes: ["a", "b", "c"].map(String::from).to_vec(),
            class_counts,
            ..DataInfo::default()
        };
        let known = ClassPrior::of(&data(vec![3, 0, 1]));
        assert_eq!(known.shares, Shares::Training);
        assert_eq!(known.with(None), [(0, 0.75_f64.ln()), (2, 0.25_f64.ln())]);
        assert_eq!(known.with(Some(1)), [(1, 0.0)]);
        let unknown = ClassPrior::of(&data(Vec::new()));
        assert_eq!(unknown.shares, Shares::Uniform);
        assert_eq!(unknown.with(None).len(), 3);
        near(unknown.with(None)[2].1, -(3.0_f64.ln()));
    }
}
