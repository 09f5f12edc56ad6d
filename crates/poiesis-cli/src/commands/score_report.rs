//! What `poiesis score` shows and writes: a table, CSV and JSON.

use std::fmt::Write as _;

use poiesis::Trained;
use poiesis::apply::score::{Condition, Score, Scores, Shares, TokenScore, Unit, token_text};
use poiesis_collect::Split;
use serde_json::{Value, json};

use super::classify::field;
use crate::render::{count, number, of_run, table};

/// How many examples are listed.
const LISTED: usize = 20;

/// What was scored, and how it is called.
pub(super) struct Scored {
    pub(super) names: Vec<String>,
    pub(super) classes: Vec<Option<String>>,
    pub(super) scores: Scores,
    /// What could not be scored, with the reasons.
    pub(super) skipped: Vec<(String, String)>,
    /// The split of the run's own data, and whether its documents were read one after another.
    pub(super) of_split: Option<(Split, bool)>,
}

/// How scores are called.
pub(super) struct Measure {
    /// In a header of a table and of a CSV.
    header: &'static str,
    key: &'static str,
    /// In a sentence.
    words: String,
    /// The key of bits.
    bits: String,
}

impl Measure {
    pub(super) fn of(scores: &Scores) -> Measure {
        let bits = format!("bits_per_{}", scores.unit.name());
        match scores.importance_samples {
            None => {
                Measure { header: ">NATS (-LOG P)", key: "nll_nats", words: "-log p, exact".to_owned(), bits }
            }
            Some(draws) => Measure {
                header: ">NATS (BOUND ON -LOG P)",
                key: "bound_nats",
                words: format!("bound on -log p, {} draws each", count(draws)),
                bits,
            },
        }
    }
}

/// The first scores as a table, and their mean.
pub(super) fn in_words(scored: &Scored, measure: &Measure) -> String {
    let Scored { names, classes, scores, skipped, .. } = scored;
    let unit = scores.unit.name();
    let bits = format!(">BITS/{}", unit.to_uppercase());
    let with_class = classes.iter().any(Option::is_some);
    let mut header = vec!["EXAMPLE"];
    if with_class {
        header.push("CLASS");
    }
    header.extend([measure.header, bits.as_str()]);
    let row = |((name, class), score): ((&String, &Option<String>), &Score)| {
        let mut row = vec![name.clone()];
        if with_class {
            row.push(class.clone().unwrap_or_else(|| "-".to_owned()));
        }
        row.extend([number(score.nats), number(score.bits())]);
        row
    };
    let rows: Vec<Vec<String>> =
        names.iter().zip(classes).zip(&scores.scores).take(LISTED).map(row).collect();
    let mut text = table(&header, &rows);
    let total = names.len();
    if total > LISTED {
        let more = count((total - LISTED) as u64);
        let _ = writeln!(text, "and {more} more; --csv FILE or --json lists them all");
    }
    let bits = number(scores.bits());
    let words = &measure.words;
    if let Some(nats) = scores.per_token() {
        let tokens: u64 = scores.scores.iter().filter_map(|score| score.tokens).sum();
        let (tokens, total) = (of_these(tokens, "token"), of_these(total as u64, "example"));
        let _ =
            writeln!(text, "{tokens} in {total}: {nats:.4} nats per token = {bits} bits/{unit}  ({words})");
    }
    // An image is an example of its own also where it is read as tokens.
    let whole = scores.window.is_none() || scores.unit == Unit::Dim;
    if let Some((mean, error)) = scores.mean().filter(|_| whole) {
        let total = count(total as u64);
        let _ = writeln!(
            text,
            "mean of {total}: {}{} nats = {bits} bits/{unit}  ({words})",
            number(mean),
            error.map(|error| format!(" ± {}", number(error))).unwrap_or_default()
        );
    }
    text.push_str(&conditions_of(scores));
    if !skipped.is_empty() {
        let _ = writeln!(text, "{} skipped", count(skipped.len() as u64));
    }
    text
}

/// So many of something, in the plural where they are not one.
fn of_these(number: u64, what: &str) -> String {
    format!("{} {what}{}", count(number), if number == 1 { "" } else { "s" })
}

/// How examples were scored whose class is not known, a line for each way; empty if there are none.
fn conditions_of(scores: &Scores) -> String {
    let weights = match scores.shares {
        Some(Shares::Uniform) => "with equal shares",
        _ => "with the shares of the training data",
    };
    let ways = [
        (Condition::Mixture, format!("as a mixture of all classes, {weights}")),
        (Condition::NoClass, "as examples without one, which the model has learned".to_owned()),
        (Condition::FirstClass, "as examples of the first class, as in training".to_owned()),
    ];
    let line = |(condition, way): &(Condition, String)| {
        let found = scores.count(*condition) as u64;
        (found > 0).then(|| format!("{} without a known class, scored {way}\n", count(found)))
    };
    ways.iter().filter_map(line).collect()
}

/// A line for each example.
pub(super) fn csv_of(scored: &Scored, measure: &Measure) -> String {
    let scores = &scored.scores;
    let with_tokens = scores.window.is_some();
    let with_condition = scores.scores.iter().any(|score| score.condition.is_some());
    let size = format!("{}s", scores.unit.name());
    let mut text = format!("name,class,{}", measure.key);
    if !scores.exact {
        text.push_str(",weighted_bound_nats");
    }
    let _ = write!(text, ",{},{size}{}", measure.bits, if with_tokens { ",tokens" } else { "" });
    text.push_str(if with_condition { ",condition\n" } else { "\n" });
    for ((name, class), score) in scored.names.iter().zip(&scored.classes).zip(&scores.scores) {
        let class = class.as_deref().map(field).unwrap_or_default();
        let _ = write!(text, "{},{class},{}", field(name), score.nats);
        if let Some(weighted) = score.weighted_nats {
            let _ = write!(text, ",{weighted}");
        }
        let _ = write!(text, ",{},{}", score.bits(), score.size);
        if let Some(tokens) = score.tokens {
            let _ = write!(text, ",{tokens}");
        }
        if let Some(condition) = score.condition {
            let _ = write!(text, ",{}", condition.name());
        }
        text.push('\n');
    }
    text
}

/// A line for each token; the one at which a document begins has no place.
pub(super) fn tokens_of(trained: &Trained, scored: &Scored, tokens: &[(usize, TokenScore)]) -> String {
    let mut text = "name,place,token,text,nats\n".to_owned();
    for (index, token) in tokens {
        let place = token.place.map(|place| place.to_string()).unwrap_or_default();
        let shown = field(&token_text(&trained.spec, token));
        let name = field(&scored.names[*index]);
        let _ = writeln!(text, "{name},{place},{},{shown},{}", token.token, token.nats);
    }
    text
}

/// Everything that was scored.
pub(super) fn report(trained: &Trained, scored: &Scored, measure: &Measure, seed: u64) -> Value {
    let Scored { names, classes, scores, skipped, of_split } = scored;
    let size = format!("{}s", scores.unit.name());
    let example = |((name, class), score): ((&String, &Option<String>), &Score)| {
        let mut value = json!({ "name": name, "class": class, "nats": score.nats });
        value[&measure.bits] = score.bits().into();
        value[&size] = score.size.into();
        if let Some(weighted) = score.weighted_nats {
            value["weighted_nats"] = weighted.into();
        }
        if let Some(tokens) = score.tokens {
            value["tokens"] = tokens.into();
        }
        if let Some(condition) = score.condition {
            value["condition"] = condition.name().into();
        }
        value
    };
    let (mean, error) = scores.mean().unwrap_or((f64::NAN, None));
    let mut of_all = json!({ "examples": names.len(), "nats": mean, "nats_error": error });
    of_all[&measure.bits] = scores.bits().into();
    if let Some(nats) = scores.per_token() {
        of_all["nats_per_token"] = nats.into();
    }
    let skipped = skipped.iter().map(|(file, reason)| json!({ "file": file, "reason": reason }));
    of_run(
        trained,
        json!({
            "measure": { "name": measure.key.trim_end_matches("_nats"), "exact": scores.exact, "words": measure.words },
            "protocol": {
                "importance_samples": scores.importance_samples,
                "window": scores.window.map(|[window, _]| window),
                "stride": scores.window.map(|[_, stride]| stride),
                "class_shares": scores.shares,
                "mixtures": scores.count(Condition::Mixture),
                "split": of_split.map(|(split, _)| split),
                "as_evaluate": of_split.is_some_and(|(_, as_evaluate)| as_evaluate),
                "seed": seed,
            },
            "mean": of_all,
            "examples": names.iter().zip(classes).zip(&scores.scores).map(example).collect::<Vec<_>>(),
            "skipped": skipped.collect::<Vec<_>>(),
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(exact: bool) -> Scored {
        let score = |nats: f64| Score {
            nats,
            weighted_nats: (!exact).then_some(nats - 1.0),
            size: 10,
            tokens: exact.then_some(11),
            condition: exact.then_some(if nats > 20.0 { Condition::Mixture } else { Condition::Class }),
        };
        Scored {
            names: vec!["a,b.txt".to_owned(), "c.txt".to_owned()],
            classes: vec![Some("x".to_owned()), None],
            scores: Scores {
                exact,
                unit: if exact { Unit::Character } else { Unit::Dim },
                importance_samples: (!exact).then_some(16),
                window: exact.then_some([8, 4]),
                shares: exact.then_some(Shares::Uniform),
                scores: vec![score(11.0), score(33.0)],
            },
            skipped: vec![("d.txt".to_owned(), "it is empty".to_owned())],
            of_split: None,
        }
    }

    #[test]
    fn tables_say_what_is_measured_and_end_with_the_mean() {
        let exact = scored(true);
        let text = in_words(&exact, &Measure::of(&exact.scores));
        assert!(text.contains("NATS (-LOG P)") && text.contains("BITS/CHARACTER"), "{text}");
        assert!(
            text.contains("22 tokens in 2 examples: 2.0000 nats per token = 3.174 bits/character"),
            "{text}"
        );
        assert!(
            text.ends_with(
                "\n1 without a known class, scored as a mixture of all classes, with equal shares\n1 skipped\n"
            ),
            "{text}"
        );
        let bound = scored(false);
        let text = in_words(&bound, &Measure::of(&bound.scores));
        assert!(text.contains("BOUND ON -LOG P") && text.contains("16 draws"), "{text}");
        assert!(text.contains("mean of 2: 22.00 ± 11.00 nats"), "{text}");
    }

    #[test]
    fn one_example_has_a_score_and_no_error() {
        let one = |exact: bool| {
            let mut one = scored(exact);
            one.scores.scores.truncate(1);
            one.names.truncate(1);
            one.classes.truncate(1);
            in_words(&one, &Measure::of(&one.scores))
        };
        assert!(one(true).contains("\n11 tokens in 1 example: 1.0000 nats per token"), "{}", one(true));
        assert!(one(false).contains("\nmean of 1: 11.00 nats ="), "{}", one(false));
    }

    #[test]
    fn files_have_a_line_for_each_example() {
        let exact = scored(true);
        let lines = csv_of(&exact, &Measure::of(&exact.scores));
        let lines: Vec<&str> = lines.lines().collect();
        assert_eq!(lines[0], "name,class,nll_nats,bits_per_character,characters,tokens,condition");
        assert!(
            lines[1].starts_with("\"a,b.txt\",x,11,1.58") && lines[1].ends_with(",10,11,class"),
            "{}",
            lines[1]
        );
        assert!(lines[2].starts_with("c.txt,,33,") && lines[2].ends_with(",mixture"), "{}", lines[2]);
        let bound = scored(false);
        let lines = csv_of(&bound, &Measure::of(&bound.scores));
        assert!(
            lines.starts_with("name,class,bound_nats,weighted_bound_nats,bits_per_dim,dims\n"),
            "{lines}"
        );
        assert!(lines.contains("c.txt,,33,32,"), "{lines}");
    }
}
