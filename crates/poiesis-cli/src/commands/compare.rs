//! `poiesis compare`: the latest evaluations of several runs in one table. Whole runs are compared by `poiesis runs compare`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use poiesis::evaluate::{Better, ComparedValue, Comparison, Evaluation, Row};

use crate::render::{failure, json, note, number, program, quoted, result, table};

/// Compare the evaluations of several runs in one table
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis compare runs/dcgan-mnist runs/infogan-mnist
  poiesis compare runs/*-cifar10 --csv > table.csv
  poiesis compare runs/trpo-hopper runs/gail-hopper      agents, by their returns in one environment

The latest evaluation that was kept in each run is shown, the best value of each row with a star. Where errors are known \
and the intervals of 95 % overlap, the row says that there is no difference. Runs that were not measured alike (other \
data or environment, split, seed, numbers of images or episodes, or feature network) are refused with all that differs.

To see what differs in the settings of runs, and what was measured during training, use poiesis runs compare.")]
pub(crate) struct Compare {
    /// Folders of runs, each with an evaluation.
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
    /// Print as CSV.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

impl Compare {
    pub(crate) fn run(self) -> Result<()> {
        let mut evaluations = Vec::new();
        for run in &self.runs {
            let name = run.display().to_string();
            let Some((_, evaluation)) = Evaluation::latest(run)? else {
                let how = format!("{} evaluate {}", program(), quoted(&name));
                return Err(failure(format!("{name} has no evaluation"), how));
            };
            evaluations.push((name, evaluation));
        }
        let comparison = Comparison::of(&evaluations)?;
        if self.json {
            return json(&serde_json::to_value(&comparison)?);
        }
        if self.csv {
            return result(&to_csv(&comparison));
        }
        result(&to_table(&comparison))?;
        if comparison.rows.iter().any(has_star) {
            note("* is the best of a row");
        }
        Ok(())
    }
}

fn to_table(comparison: &Comparison) -> String {
    let Comparison { data, fingerprint, split, seed, runs, rows } = comparison;
    let short = fingerprint.get(..12).unwrap_or(fingerprint);
    let mut text = match split {
        Some(split) => format!("on the {split} split of {data} ({short}…), seed {seed}\n\n"),
        None => format!("in {data}, seed {seed}\n\n"),
    };
    let titles: Vec<String> = runs.iter().map(|run| format!(">{}", run.run)).collect();
    let mut header = vec!["METRIC", "UNIT", "BETTER"];
    header.extend(titles.iter().map(String::as_str));
    header.push("");
    let mut lines = vec![about(comparison, "model", |run| comparison.runs[run].model.clone())];
    lines.push(about(comparison, "step", |run| comparison.runs[run].step.to_string()));
    lines.push(about(comparison, "weights", |run| comparison.runs[run].weights.to_owned()));
    lines.extend(rows.iter().map(|row| line(row, comparison)));
    text.push_str(&table(&header, &lines));
    text
}

fn about(comparison: &Comparison, what: &str, of: impl Fn(usize) -> String) -> Vec<String> {
    let mut cells = vec![what.to_owned(), String::new(), String::new()];
    // As wide as a star after each value.
    cells.extend((0..comparison.runs.len()).map(|run| of(run) + "  "));
    cells.push(String::new());
    cells
}

fn line(row: &Row, comparison: &Comparison) -> Vec<String> {
    let better = row.better.map_or("", Better::name);
    let mut cells = vec![row.name.clone(), row.unit.to_owned(), better.to_owned()];
    cells.extend(values(row));
    let runs: Vec<&str> = comparison.runs.iter().map(|run| run.run.as_str()).collect();
    cells.push(remark(row, &runs));
    cells
}

/// The value of each run, the best with a star where it is clearly the best.
pub(super) fn values(row: &Row) -> Vec<String> {
    let starred = has_star(row);
    let cell = |(run, value): (usize, &Option<ComparedValue>)| {
        let star = if starred && row.best.contains(&run) { " *" } else { "  " };
        value.map_or_else(|| "-".to_owned(), shown) + star
    };
    row.values.iter().enumerate().map(cell).collect()
}

/// Whether a run is clearly the best: no other is within the errors, and not all are equal.
pub(super) fn has_star(row: &Row) -> bool {
    let is_draw = row.best.len() > 1 && row.best.len() == row.values.iter().flatten().count();
    !row.best.is_empty() && row.no_difference.is_empty() && !is_draw
}

/// Says which of the runs, called by their names, do not differ; nothing where the best is clear.
pub(super) fn remark(row: &Row, runs: &[&str]) -> String {
    let close = row.best.len() + row.no_difference.len();
    match (row.no_difference.is_empty(), close == row.values.iter().flatten().count()) {
        (true, _) => String::new(),
        (false, true) => "no difference".to_owned(),
        (false, false) => {
            let close = row.best.iter().chain(&row.no_difference).map(|&run| runs[run]);
            format!("no difference: {}", close.collect::<Vec<_>>().join(", "))
        }
    }
}

fn shown(value: ComparedValue) -> String {
    match value.error {
        Some(error) => format!("{} ± {}", number(value.value), number(error)),
        None => number(value.value),
    }
}

/// One line for each row, with the value and the error of each run.
fn to_csv(comparison: &Comparison) -> String {
    let mut header = vec!["metric".to_owned(), "unit".into(), "better".into()];
    header.extend(comparison.runs.iter().flat_map(|run| [run.run.clone(), format!("{} error", run.run)]));
    let mut lines = vec![header];
    for row in &comparison.rows {
        let better = row.better.map_or("", Better::name);
        let mut cells = vec![row.name.clone(), row.unit.to_owned(), better.to_owned()];
        for value in &row.values {
            cells.push(value.map(|value| value.value.to_string()).unwrap_or_default());
            cells
                .push(value.and_then(|value| value.error).map(|error| error.to_string()).unwrap_or_default());
        }
        lines.push(cells);
    }
    lines
        .iter()
        .map(|cells| cells.iter().map(|cell| field(cell)).collect::<Vec<_>>().join(",") + "\n")
        .collect()
}

/// A field of CSV: in quotes where it has a comma, a quote or a line break.
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use poiesis::evaluate::Compared;

    use super::*;

    fn comparison() -> Comparison {
        let run =
            |run: &str| Compared { run: run.into(), model: "vae".into(), step: 60, weights: "averaged" };
        let value = |value, error| Some(ComparedValue { value, error });
        let row = |name: &str, values, best, no_difference| Row {
            metric: "bound".into(),
            name: name.into(),
            unit: "nats",
            better: Some(Better::Lower),
            values,
            best,
            no_difference,
        };
        Comparison {
            data: "mnist".into(),
            fingerprint: "0123456789abcdef".into(),
            split: Some("test".into()),
            seed: 0,
            runs: vec![run("runs/a,b"), run("runs/c")],
            rows: vec![
                row("clear", vec![value(2.0, None), value(3.5, None)], vec![0], vec![]),
                row("close", vec![value(2.0, Some(1.0)), value(2.5, Some(0.5))], vec![0], vec![1]),
                row("missing", vec![None, value(1.0, None)], vec![1], vec![]),
            ],
        }
    }

    #[test]
    fn the_best_has_a_star_and_close_values_say_so() {
        let text = to_table(&comparison());
        let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        assert!(line("clear").contains("2.000 *") && !line("clear").contains("3.500 *"), "{text}");
        assert!(
            line("close").contains("2.000 ± 1.000") && line("close").ends_with("no difference"),
            "{text}"
        );
        assert!(!line("close").contains('*') && line("missing").contains("-"), "{text}");
        assert_eq!(comparison().rows.iter().map(has_star).collect::<Vec<_>>(), [true, false, true]);
    }

    #[test]
    fn csv_has_values_and_errors_and_quotes_commas() {
        let text = to_csv(&comparison());
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            [
                "metric,unit,better,\"runs/a,b\",\"runs/a,b error\",runs/c,runs/c error",
                "clear,nats,lower,2,,3.5,",
                "close,nats,lower,2,1,2.5,0.5",
                "missing,nats,lower,,,1,",
            ]
        );
    }
}
