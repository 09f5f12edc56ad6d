//! `poiesis score`: how likely each of one's own examples is under a model.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use poiesis::Trained;
use poiesis::abilities::Likelihood;
use poiesis::apply::score::{
    Condition, Example, ScoreProtocol, TokenScore, reads_classes, reads_tokens, score, score_split,
};
use poiesis::atomic;
use poiesis::data::Examples;
use poiesis_collect::{Dataset, Split};

use super::classify::tell_skipped;
use super::discover::{OfData, expect_class};
use super::evaluate::Meters;
use super::given_examples::{Given, Unknown, read, some_of};
use super::given_images::expect_existing;
use super::inspect::split;
use super::pictures::positive;
use super::score_report::{Measure, Scored, csv_of, in_words, report, tokens_of};
use crate::args::OfRun;
use crate::render::{count, exists, expect_none, failure, json, note, result};

/// Tell how likely each of your own examples is: -log p or its bound, in nats and in bits
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis score runs/vae-photos new-photos/ --csv scores.csv
      a folder of images, with a line for each in a table
  poiesis score runs/transformer-novels letter.txt essays/ --per-token tokens.csv
      texts, with a line for each token
  poiesis score runs/realnvp-rings measurements.csv --json
      points: each row of the table is one
  poiesis score runs/wavenet-fsdd seven.wav --class 7
      a clip of sound, for a model that is conditioned on classes
  poiesis score runs/transformer-mails mails/spam letter.txt
      texts in a folder that is named after a class, and one whose class is not known
  poiesis score runs/vae-photos data/other-photos --split test
      a packed data set of the same shape
  poiesis score runs/vae-photos
      the held-out split, as evaluate measures it

NATS is -log p of the example, exact or a bound on it, as the header says: the higher, the more surprising. Bits are the \
same for each value of an image, character or sample of sound. Files are prepared as those that the model was trained on, \
and listed in the order in which they are given: a text file is one document, or one on each line for a model of lines, a \
record of .jsonl is one, and a row of a table is one point.

Files and packed data sets are scored one by one: the score of an example does not depend on the others. The run's own \
data, without any files, are scored as `poiesis evaluate` measures them, and the mean is its number: of text and sound the \
documents of the split are read one after another, so that one sees the end of the one before, and only its last window \
may be shorter than what is scored here. With --alone each is read by itself, as files are.

The score of a model that is conditioned on classes is that given the class: of --class, else the one that a table or a \
folder inside what is given says, else that of the folder that is given or that a file is in. Examples without a class that \
the model knows are scored as such where it has learned examples without one; otherwise as a mixture of all classes, -log of \
the sum of p(class) p(example given class), with the shares of the classes in the training data, or equal ones where the run \
does not have them. A mixture takes as long as one example of each class.

A low likelihood alone does not make an example odd: see `poiesis anomaly`.")]
pub(crate) struct ScoreVerb {
    #[command(flatten)]
    of: OfRun,
    /// Files, folders, archives or packed data sets of the model's kind [default: held-out examples of the run's data].
    #[arg(value_name = "FILES")]
    files: Vec<PathBuf>,
    /// Split of a data set [default: of the run's own data test if there is one, else validation; of others all].
    #[arg(long, value_name = "SPLIT", value_parser = split)]
    split: Option<Split>,
    /// Number of examples of each split of a data set: evenly spread over it, of text and sound the first [default: all].
    #[arg(long, short = 'n', value_name = "N", value_parser = positive)]
    count: Option<usize>,
    /// Class of the files, for a model conditioned on classes: its name or number [default: that of each, or of the folder it is in].
    #[arg(long, value_name = "CLASS")]
    class: Option<String>,
    /// Read each document of the run's own data by itself, not after the one before it.
    #[arg(long, conflicts_with = "files")]
    alone: bool,
    /// Draws for each image of a bound [default: 16].
    #[arg(long, value_name = "N", value_parser = positive)]
    importance_samples: Option<usize>,
    /// Seed of binarisation and noise.
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    #[command(flatten)]
    data: OfData,
    /// Write a line for each example to this file.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write a line for each token to this file, for a model that reads tokens.
    #[arg(long, value_name = "FILE")]
    per_token: Option<PathBuf>,
    /// Replace the files if they exist.
    #[arg(long)]
    force: bool,
    /// Print the scores as JSON.
    #[arg(long)]
    json: bool,
}

impl ScoreVerb {
    pub(crate) fn run(self) -> Result<()> {
        expect_existing(&self.files)?;
        for path in [&self.csv, &self.per_token].into_iter().flatten() {
            if path.exists() && !self.force {
                return Err(exists(path, "name"));
            }
            atomic::expect_writable(path)?;
        }
        let trained = self.of.open()?;
        // Before anything is read.
        let with_tokens = reads_tokens(&trained).map_err(|error| without_likelihood(&trained, &error))?;
        let class = expect_class(&trained, self.class.as_deref())?;
        let class = class.and_then(|class| trained.info.data.classes.get(class as usize).cloned());
        self.expect_flags_apply(&trained, with_tokens)?;
        let mut tokens = self.per_token.is_some().then(Vec::new);
        let scored = match self.files.is_empty() {
            true => self.own(&trained, &mut tokens)?,
            false => self.given(&trained, class.as_deref(), &mut tokens)?,
        };
        if scored.scores.scores.is_empty() {
            return Err(failure("there is nothing to score", "give other files, or another --split"));
        }
        let measure = Measure::of(&scored.scores);
        match self.json {
            true => json(&report(&trained, &scored, &measure, self.seed))?,
            false => result(&in_words(&scored, &measure))?,
        }
        if let Some(path) = &self.csv {
            atomic::write(path, csv_of(&scored, &measure).as_bytes())?;
            self.tell(path)?;
        }
        if let (Some(path), Some(tokens)) = (&self.per_token, &tokens) {
            atomic::write(path, tokens_of(&trained, &scored, tokens).as_bytes())?;
            self.tell(path)?;
        }
        Ok(())
    }

    fn tell(&self, path: &Path) -> Result<()> {
        if self.json { Ok(()) } else { result(&format!("{}\n", path.display())) }
    }

    /// Refuses flags that mean nothing for the model or what is scored.
    fn expect_flags_apply(&self, trained: &Trained, with_tokens: bool) -> Result<()> {
        let own = self.files.is_empty();
        let with_bound = trained.abilities().likelihood.and_then(Likelihood::bound).is_some();
        let name = trained.entry.name();
        expect_none(
            &format!("{name}, a model of {}", trained.spec.media().name()),
            &[
                ("--importance-samples", self.importance_samples.is_some() && !with_bound),
                ("--per-token", self.per_token.is_some() && !with_tokens),
                ("--alone", self.alone && !with_tokens),
            ],
        )?;
        expect_none("the run's own data", &[("--class", own && self.class.is_some())])?;
        // How images are prepared is known from the run's data.
        let of_files = !own && trained.spec.images().is_err();
        expect_none("files of this kind", &[("--data", of_files && self.data.is_given())])?;
        let mut packed = false;
        for path in &self.files {
            packed |= super::given_images::packed(path)?.is_some();
        }
        let flags = [("--split", self.split.is_some()), ("--count", self.count.is_some())];
        let flags = flags.map(|(flag, given)| (flag, given && !own && !packed));
        expect_none("files, which are all scored", &flags)
    }

    fn protocol(&self) -> ScoreProtocol {
        let usual = ScoreProtocol::default();
        let importance_samples = self.importance_samples.map_or(usual.importance_samples, |n| n as u64);
        ScoreProtocol { importance_samples, seed: self.seed }
    }

    /// Scores the run's own data.
    fn own(&self, trained: &Trained, tokens: &mut Option<Vec<(usize, TokenScore)>>) -> Result<Scored> {
        let dataset = self.data.open(trained)?;
        let (split, examples) = held_out(&dataset, self.split)?;
        if self.alone {
            let given = Given::of_dataset(trained, &dataset, Some(split), self.count)?;
            return self.scored(trained, given, Some((split, false)), tokens);
        }
        let mut meters = Meters::new(self.json);
        let (indices, scores) = score_split(
            trained,
            &examples,
            self.count,
            self.protocol(),
            &mut |index, token| tokens.iter_mut().for_each(|tokens| tokens.push((index, token))),
            &mut |at| meters.show(at),
        )?;
        meters.end();
        let names = &dataset.card().classes;
        let label = |index: &usize| match &examples {
            Examples::Images(view) => view.label(*index),
            Examples::Stream(stream) => stream.label(*index),
            Examples::Experience(_) => None,
        };
        let class = |index: &usize| names.get(label(index)? as usize).cloned();
        let without = match &examples {
            Examples::Images(view) if reads_classes(trained)? => {
                (0..view.len()).filter(|&index| view.label(index).is_none()).collect()
            }
            _ => Vec::new(),
        };
        let skipped = without.iter().map(|index| (format!("{split} {index}"), "it has no class".to_owned()));
        let skipped: Vec<(String, String)> = skipped.collect();
        tell_skipped(&skipped);
        let as_first = scores.count(Condition::FirstClass) as u64;
        if as_first > 0 {
            let (first, as_first) = (&trained.info.data.classes[0], count(as_first));
            note(&format!(
                "note: documents without a class in the {split} split: {as_first}. They are read as those of {first}, as the model has \
                 no token for them; --alone scores them as a mixture of all classes"
            ));
        }
        Ok(Scored {
            names: indices.iter().map(|index| format!("{split} {index}")).collect(),
            classes: indices.iter().map(class).collect(),
            scores,
            skipped,
            of_split: Some((split, true)),
        })
    }

    /// Scores what was given.
    fn given(
        &self,
        trained: &Trained,
        class: Option<&str>,
        tokens: &mut Option<Vec<(usize, TokenScore)>>,
    ) -> Result<Scored> {
        let given = read(&self.files, trained, &self.data, class, self.split, self.count, self.json)?;
        tell_skipped(&given.skipped);
        if given.examples.is_empty() {
            let media = trained.spec.media().name();
            let what = format!("what was given holds no {media} to score");
            return Err(failure(what, format!("give {} of {media}", super::given_examples::FORMS)));
        }
        self.scored(trained, given, None, tokens)
    }

    /// Scores examples by themselves.
    fn scored(
        &self,
        trained: &Trained,
        given: Given,
        of_split: Option<(Split, bool)>,
        tokens: &mut Option<Vec<(usize, TokenScore)>>,
    ) -> Result<Scored> {
        let Given { examples, skipped } = given;
        tell_of_unknown(trained, &Unknown::among(&examples, &trained.info.data.classes))?;
        let mut meters = Meters::new(self.json);
        let scores = score(
            trained,
            &examples,
            self.protocol(),
            &mut |index, token| tokens.iter_mut().for_each(|tokens| tokens.push((index, token))),
            &mut |at| meters.show(at),
        )?;
        meters.end();
        let (names, classes) = examples.into_iter().map(|Example { name, class, .. }| (name, class)).unzip();
        Ok(Scored { names, classes, scores, skipped, of_split })
    }
}

/// Names classes that the model does not know, and says that some examples take long, and why.
fn tell_of_unknown(trained: &Trained, unknown: &Unknown) -> Result<()> {
    let classes = trained.info.data.classes.len() as u64;
    if classes < 2 || !reads_classes(trained)? {
        return Ok(());
    }
    let (others, names) = &unknown.of_others;
    if *others > 0 {
        let (others, named) = (count(*others as u64), some_of(names));
        note(&format!(
            "note: examples of classes that the model does not know: {others} ({named}). They are scored like those without a class"
        ));
    }
    if unknown.all > 0 && !trained.spec.unlabelled {
        let (unknown, classes) = (count(unknown.all as u64), count(classes));
        note(&format!(
            "note: examples without a class that the model knows: {unknown}. Each is scored with all {classes} classes; --class names one"
        ));
    }
    Ok(())
}

/// The error for a model without a likelihood.
fn without_likelihood(trained: &Trained, error: &poiesis::Error) -> anyhow::Error {
    let what = format!("{} gives no likelihood, so nothing can be scored with it", trained.entry.name());
    failure(what, error.hint().unwrap_or_default())
}

/// The error of `anomaly` for a model of points, which this verb ranks.
pub(super) fn ranked_by_score(trained: &Trained) -> anyhow::Error {
    let what = format!("{} has learned points, and anomaly tells which images are odd", trained.info.id);
    match trained.abilities().likelihood.is_some() {
        true => failure(
            what,
            "rank rows with `poiesis score RUN FILES --csv scores.csv`: the higher NATS, the less likely",
        ),
        false => failure(
            what,
            "this model has no likelihood: train realnvp on the table and rank rows with `poiesis score`",
        ),
    }
}

/// The examples of the split that was asked for, or of the held-out one.
fn held_out(dataset: &Dataset, wanted: Option<Split>) -> Result<(Split, Examples)> {
    let splits = wanted.map_or(vec![Split::Test, Split::Validation], |split| vec![split]);
    let found = splits.iter().find_map(|&split| Some((split, Examples::of(dataset, split)?)));
    let name = dataset.card().name.clone();
    Ok(match wanted {
        Some(split) => found.ok_or(poiesis_collect::Error::NoSplit { name, split })?,
        None => found.ok_or(poiesis::Error::NothingHeldOut { data: name })?,
    })
}
