//! Whether codes of images are the factors that made them: scores of disentanglement, after the protocols of Locatello et al. 2018
//! (arXiv:1811.12359), on data whose factors are known.

mod boosting;
mod dci;
mod explicitness;
mod information;
mod sap;
mod votes;

use poiesis_collect::{Dataset, Factor, Split, View};
use serde::Serialize;

use super::represent::{Report, each_batch};
use crate::abilities::{Encoder, LatentPart, Latents, Prior};
use crate::data::ImageShape;
use crate::error::{Error, Result};
use crate::evaluate::Progress;
use crate::fitting::{Rows, likeliest};
use crate::model::TrainedModel;
use crate::nn::flatten;
use crate::rng;
use crate::trained::Trained;

/// Bins of equal width that a continuous factor is cut into.
const BINS: usize = 10;

/// How codes are compared with factors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FactorsProtocol {
    /// Training images that predictors are fitted to, evenly spread over the split.
    pub fitted: usize,
    /// Held-out images that they are tested on, likewise.
    pub tested: usize,
    /// Seed of votes, random codes and random weights.
    pub seed: u64,
}

impl Default for FactorsProtocol {
    fn default() -> FactorsProtocol {
        FactorsProtocol { fitted: 10_000, tested: 5_000, seed: 0 }
    }
}

/// Scores of codes, each 0 to 1, higher is better.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FactorScores {
    /// What the codes are: `trained`, `untrained`, `random` or `factors`.
    pub codes: &'static str,
    /// How many codes there are.
    pub count: usize,
    /// Of these, those that are the same for all images; predictors do not see them.
    pub constant: usize,
    /// Mutual information gap: 20 bins of equal width.
    pub mig: f64,
    /// `DCI[gbt]`: disentanglement.
    pub disentanglement: f64,
    /// `DCI[gbt]`: completeness.
    pub completeness: f64,
    /// `DCI[gbt]`: informativeness, the mean accuracy of the trees.
    pub informativeness: f64,
    /// Separated attribute predictability, by accuracy.
    pub sap: f64,
    /// The FactorVAE score.
    pub factor_vae: f64,
    /// Modularity; random codes have a high one, so see explicitness too.
    pub modularity: f64,
    /// Explicitness: mean area under the curve; ½ for codes that say nothing.
    pub explicitness: f64,
}

/// The scores of a model's codes and what they are compared with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Factors {
    /// The factors, in order.
    pub factors: Vec<String>,
    /// Images that predictors were fitted to.
    pub fitted: usize,
    /// Images that they were tested on.
    pub tested: usize,
    /// Values that each factor is cut into.
    pub values: Vec<usize>,
    /// The scores: of the trained model, of the same model with random weights, of random codes, and of the factors themselves.
    pub scores: Vec<FactorScores>,
}

/// Codes of examples with their factors.
pub(super) struct Sample {
    pub(super) codes: Rows,
    /// For each factor, the value of each example, numbered from 0.
    pub(super) factors: Vec<Vec<usize>>,
}

/// Compares a model's codes of images with the factors that made them; `progress` receives the progress.
///
/// # Errors
///
/// [`Error::MissingCapability`] when the model cannot encode; [`Error::InvalidValue`] for data whose factors are not known;
/// [`Error::NothingHeldOut`] when there is no held-out split, and [`Error::Data`] when there is no training split.
pub fn factors(
    trained: &Trained,
    dataset: &Dataset,
    protocol: &FactorsProtocol,
    progress: &mut dyn FnMut(Progress),
) -> Result<Factors> {
    let encoder = trained.encoder()?;
    let shape = trained.spec.images()?;
    let card = dataset.card();
    let train = dataset.require(Split::Train)?;
    let held_out = dataset.split(Split::Test).or_else(|| dataset.split(Split::Validation));
    let held_out = held_out.ok_or_else(|| Error::NothingHeldOut { data: card.name.clone() })?;
    let unknown = || {
        let reason = "the factors that made its images are not known";
        Error::invalid_value("data.source", &card.name, reason, "give a run that was trained on `shapes`")
    };
    if card.factors.is_empty() || train.factors(0).is_none() || held_out.factors(0).is_none() {
        return Err(unknown());
    }
    let sides = [(&train, protocol.fitted), (&held_out, protocol.tested)].map(|(view, count)| Side {
        view,
        indices: view.spread(count).collect(),
        shape,
        known: &card.factors,
    });
    let parts = trained.abilities().latents.map(Latents::parts).unwrap_or_default();
    let untrained = trained.untrained(protocol.seed)?;
    let mut scores = Vec::new();
    let models = [("trained", Some(encoder)), ("untrained", untrained_encoder(&*untrained))];
    for (name, encoder) in models.into_iter().filter_map(|(name, encoder)| Some((name, encoder?))) {
        let mut report =
            Report::new("encoding", "images", sides.iter().map(|side| side.indices.len()).sum(), progress);
        let [fit, test] = sides.each_ref().map(|side| side.encoded(encoder, &parts, trained, &mut report));
        scores.push(score(name, fit, test, protocol.seed, progress));
    }
    let count = scores[0].count;
    let [fit, test] = [0, 1].map(|at: usize| sides[at].random(count, protocol.seed, at as u64));
    scores.push(score("random", fit, test, protocol.seed, progress));
    let [fit, test] = sides.each_ref().map(Side::ideal);
    let values =
        fit.factors.iter().map(|factor| factor.iter().max().map_or(0, |largest| largest + 1)).collect();
    scores.push(score("factors", fit, test, protocol.seed, progress));
    Ok(Factors {
        factors: card.factors.iter().map(|factor| factor.name.clone()).collect(),
        fitted: sides[0].indices.len(),
        tested: sides[1].indices.len(),
        values,
        scores,
    })
}

fn untrained_encoder(model: &dyn TrainedModel) -> Option<&dyn Encoder> {
    model.abilities().encoder
}

/// The images on one side, fitted to or tested on.
struct Side<'a> {
    view: &'a View,
    indices: Vec<usize>,
    shape: ImageShape,
    known: &'a [Factor],
}

impl Side<'_> {
    fn encoded(
        &self,
        encoder: &dyn Encoder,
        parts: &[LatentPart],
        trained: &Trained,
        report: &mut Report<'_>,
    ) -> Sample {
        let encode = |images, classes: &[Option<u32>]| encoder.encode(flatten(images), classes);
        let latents = each_batch(self.view, &self.indices, self.shape, &trained.device, report, encode);
        Sample { codes: codes(&latents, parts), factors: self.factors() }
    }

    /// Normal noise instead of codes.
    fn random(&self, count: usize, seed: u64, index: u64) -> Sample {
        let noise = rng::normal(&mut rng::generator(seed, "random codes", index), count * self.indices.len());
        Sample { codes: Rows::new(noise, count), factors: self.factors() }
    }

    /// The values of the factors as codes.
    fn ideal(&self) -> Sample {
        let factors = self.factors();
        let codes = (0..self.indices.len())
            .flat_map(|at| factors.iter().map(move |factor| factor[at] as f32))
            .collect();
        Sample { codes: Rows::new(codes, factors.len()), factors }
    }

    fn factors(&self) -> Vec<Vec<usize>> {
        let value = |factor: usize, index: usize| {
            let values = self.view.factors(index).unwrap_or_default();
            values.get(factor).map_or(0, |&value| value_of(&self.known[factor], value))
        };
        (0..self.known.len()).map(|f| self.indices.iter().map(|&index| value(f, index)).collect()).collect()
    }
}

/// The number of a factor's value: of a discrete one itself, of a continuous one its bin.
fn value_of(factor: &Factor, value: f32) -> usize {
    if factor.discrete {
        return (value - factor.low).round().max(0.0) as usize;
    }
    let place = f64::from(value - factor.low) / f64::from(factor.high - factor.low);
    ((place * BINS as f64).max(0.0) as usize).min(BINS - 1)
}

/// The codes in latents: a categorical part is one code, its likeliest category; each other value is one.
fn codes(latents: &Rows, parts: &[LatentPart]) -> Rows {
    let whole = [LatentPart { name: String::new(), size: latents.dims(), prior: Prior::Normal }];
    let parts = if parts.is_empty() { &whole[..] } else { parts };
    let mut dims = 0;
    let mut values = Vec::new();
    for row in latents.iter() {
        let (mut rest, before) = (row, values.len());
        for part in parts {
            let (own, after) = rest.split_at(part.size);
            rest = after;
            match part.prior {
                Prior::Categorical => {
                    let probs: Vec<f64> = own.iter().map(|&p| f64::from(p)).collect();
                    values.push(likeliest(&probs) as f32);
                }
                Prior::Normal | Prior::Uniform | Prior::Learned => values.extend_from_slice(own),
            }
        }
        dims = values.len() - before;
    }
    Rows::new(values, dims)
}

/// All scores. Codes that are the same for all fitted examples tell nothing, so predictors do without them.
fn score(
    name: &'static str,
    fit: Sample,
    test: Sample,
    seed: u64,
    progress: &mut dyn FnMut(Progress),
) -> FactorScores {
    let means = fit.codes.means();
    let variances = fit.codes.variances(&means);
    let varies = |&code: &usize| variances[code].sqrt() > 1e-6 * means[code].abs().max(1e-6);
    let kept: Vec<usize> = (0..variances.len()).filter(varies).collect();
    let (count, constant) = (variances.len(), variances.len() - kept.len());
    let mut scores = FactorScores {
        codes: name,
        count,
        constant,
        mig: 0.0,
        disentanglement: 0.0,
        completeness: 0.0,
        informativeness: 0.0,
        sap: 0.0,
        factor_vae: 0.0,
        modularity: 0.0,
        explicitness: 0.5,
    };
    if kept.is_empty() {
        return scores;
    }
    let [fit, test] = [fit, test].map(|sample| Sample { codes: columns(&sample.codes, &kept), ..sample });
    let information = information::Information::of(&fit);
    scores.mig = information.gap();
    // A constant code counts as one that tells nothing.
    scores.modularity = information.modularity() * kept.len() as f64 / count as f64;
    let mut report = Report::new("growing trees", "factors", fit.factors.len(), progress);
    let dci = dci::dci(&fit, &test, &mut |done| report.at(done));
    (scores.disentanglement, scores.completeness) = (dci.disentanglement, dci.completeness);
    scores.informativeness = dci.informativeness;
    progress(Progress::working("scoring codes"));
    scores.sap = sap::separated_predictability(&fit, &test);
    scores.factor_vae = votes::factor_vae_score(&fit, &test, seed);
    scores.explicitness = explicitness::explicitness(&fit, &test);
    scores
}

/// Some columns of rows.
fn columns(rows: &Rows, kept: &[usize]) -> Rows {
    Rows::new(rows.iter().flat_map(|row| kept.iter().map(move |&column| row[column])).collect(), kept.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Examples with three independent factors of four values each, and codes made from them.
    fn sample(count: usize, index: u64, code: impl Fn(&[usize], &mut rng::Generator) -> Vec<f32>) -> Sample {
        let mut generator = rng::generator(3, "examples", index);
        let (mut factors, mut codes, mut dims) = (vec![Vec::new(); 3], Vec::new(), 0);
        for _ in 0..count {
            let values: Vec<usize> = (0..3).map(|_| rng::below(&mut generator, 4) as usize).collect();
            let code = code(&values, &mut generator);
            dims = code.len();
            codes.extend(code);
            factors.iter_mut().zip(values).for_each(|(factor, value)| factor.push(value));
        }
        Sample { codes: Rows::new(codes, dims), factors }
    }

    fn scores(code: impl Fn(&[usize], &mut rng::Generator) -> Vec<f32>) -> FactorScores {
        score("test", sample(1500, 0, &code), sample(800, 1, &code), 0, &mut |_| ())
    }

    #[test]
    fn codes_that_are_the_factors_reach_1_in_every_score() {
        // In another order and scale, with a constant.
        let found =
            scores(|values, _| vec![5.0, values[2] as f32, -3.0 * values[0] as f32, 9.0 + values[1] as f32]);
        assert_eq!((found.count, found.constant), (4, 1));
        // The bias of information from counts is (4 − 1)² / 2 N = 0.003 nats.
        assert!(found.mig > 0.99, "{found:?}");
        assert!(
            found.disentanglement > 0.99 && found.completeness > 0.99 && found.informativeness > 0.999,
            "{found:?}"
        );
        // The other codes predict a quarter right by chance, and the machine of one code three quarters or all.
        assert_eq!(found.factor_vae, 1.0);
        assert!(found.sap > 0.35 && found.explicitness > 0.8, "{found:?}");
        assert!((found.modularity - 0.75).abs() < 0.01, "{found:?}");
    }

    #[test]
    fn noise_is_near_the_floor_in_every_score() {
        let found = scores(|_, generator| rng::normal(generator, 5));
        assert!(found.mig < 0.02 && found.sap < 0.05 && found.disentanglement < 0.25, "{found:?}");
        assert!(
            (found.informativeness - 0.25).abs() < 0.06 && (found.explicitness - 0.5).abs() < 0.04,
            "{found:?}"
        );
        assert!((found.factor_vae - 1.0 / 3.0).abs() < 0.1, "{found:?}");
    }

    #[test]
    fn codes_that_mix_two_factors_are_informative_but_not_disentangled() {
        let found = scores(|values, _| {
            let (a, b) = (values[0] as f32, values[1] as f32);
            vec![a + b, a - b, values[2] as f32]
        });
        assert!(found.informativeness > 0.95 && found.disentanglement < 0.75 && found.mig < 0.6, "{found:?}");
        assert_eq!(scores(|_, _| vec![1.0, 2.0]).constant, 2);
    }

    #[test]
    fn a_categorical_part_is_one_code_and_continuous_factors_are_cut() {
        let part = |size, prior| LatentPart { name: "c".into(), size, prior };
        let parts = [part(1, Prior::Uniform), part(3, Prior::Categorical), part(1, Prior::Normal)];
        let latents = Rows::new(vec![0.5, 0.1, 0.2, 0.7, -1.0, 0.25, 0.9, 0.05, 0.05, 2.0], 5);
        assert_eq!(codes(&latents, &parts), Rows::new(vec![0.5, 2.0, -1.0, 0.25, 0.0, 2.0], 3));
        let factor =
            |discrete| Factor { name: "f".into(), unit: "u".into(), low: -30.0, high: 30.0, discrete };
        assert_eq!([-30.0, -24.1, 29.9, 30.0].map(|x| value_of(&factor(false), x)), [0, 0, 9, 9]);
        assert_eq!(value_of(&factor(true), -28.0), 2);
    }
}
