//! `poiesis discover probe`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use poiesis::atomic;
use poiesis::discover::{ProbeOptions, ProbeReport, probe};
use poiesis_collect::Split;
use serde_json::json;

use super::OfData;
use crate::args::OfRun;
use crate::commands::evaluate::Meters;
use crate::commands::inspect::split;
use crate::commands::pictures::{positive, several};
use crate::render::{count, exists, json, result, table};

/// Measure what a model's features know of classes, by the number of labels
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  poiesis discover probe runs/dcgan-mnist
  poiesis discover probe runs/vae-mnist --labels-per-class 1,10,100 --draws 10 --csv probe.csv

A linear classifier is fitted to the model's features of some labelled images and tested on held-out ones: the more the \
features know, the fewer labels it needs. Beside it are the same for features of the network with random weights, for \
pixels and their first 50 principal components, and the votes of nearest neighbours among features. The same labels are \
used for all of them. The data must have classes.")]
pub(super) struct Probe {
    #[command(flatten)]
    of: OfRun,
    #[command(flatten)]
    data: OfData,
    /// Numbers of labels of each class; all images are used after them.
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', default_value = "1,4,10,25,100", value_parser = positive)]
    labels_per_class: Vec<usize>,
    /// How many times labels are chosen for each of these numbers.
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u64).range(1..=1000))]
    draws: u64,
    /// Labelled training images, evenly spread over the split.
    #[arg(long, value_name = "N", default_value = "10000", value_parser = several)]
    images: usize,
    /// Held-out images to test on.
    #[arg(long, value_name = "N", default_value = "5000", value_parser = several)]
    test_images: usize,
    /// Split to test on [default: test if there is one, else validation].
    #[arg(long, value_name = "SPLIT", value_parser = split)]
    split: Option<Split>,
    /// Seed of the choice of labels and of random weights.
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// Also write the accuracies to this file, a line for each.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Replace the file if it exists.
    #[arg(long, requires = "csv")]
    force: bool,
    /// Print the results as JSON.
    #[arg(long)]
    json: bool,
}

impl Probe {
    pub(super) fn run(self) -> Result<()> {
        if let Some(csv) = &self.csv {
            if csv.exists() && !self.force {
                return Err(exists(csv, "--csv"));
            }
            atomic::expect_writable(csv)?;
        }
        let trained = self.of.open()?;
        trained.features()?;
        let dataset = self.data.open(&trained)?;
        let options = ProbeOptions {
            train: self.images,
            test: self.test_images,
            split: self.split,
            labels_per_class: self.labels_per_class.clone(),
            draws: self.draws,
            seed: self.seed,
        };
        let mut meters = Meters::new(self.json);
        let found = probe(&trained, &dataset, &options, &mut |at| meters.show(at))?;
        meters.end();
        if self.json {
            json(&json!({ "run": trained.info.id, "options": options, "found": found }))?;
        } else {
            result(&render(&found))?;
        }
        if let Some(path) = &self.csv {
            atomic::write(path, csv(&found).as_bytes())?;
        }
        Ok(())
    }
}

fn render(found: &ProbeReport) -> String {
    let mut text = format!(
        "accuracy in % on {} images of the {} split; {} labelled training images of {} classes\n",
        count(found.test as u64),
        found.split,
        count(found.train as u64),
        found.classes.len()
    );
    let numbers = found.curves[0].points.iter().map(|point| match point.per_class {
        Some(number) => format!(">{number} PER CLASS"),
        None => ">ALL".to_owned(),
    });
    let header: Vec<String> =
        ["LINEAR PROBE OF".to_owned(), ">VALUES".to_owned()].into_iter().chain(numbers).collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let cell = |accuracy: f64, deviation: f64, draws: u64| match draws {
        1 => format!("{:.1}", accuracy * 100.0),
        _ => format!("{:.1} ± {:.1}", accuracy * 100.0, deviation * 100.0),
    };
    let rows: Vec<Vec<String>> = found
        .curves
        .iter()
        .map(|curve| {
            let cells = curve.points.iter().map(|point| cell(point.accuracy, point.deviation, point.draws));
            [curve.name.to_owned(), curve.dims.to_string()].into_iter().chain(cells).collect()
        })
        .collect();
    text.push_str(&table(&header, &rows));
    if !found.left_out.is_empty() {
        let numbers: Vec<String> = found.left_out.iter().map(usize::to_string).collect();
        text.push_str(&format!(
            "left out, because a class has fewer labels: {} per class\n",
            numbers.join(", ")
        ));
    }
    text.push_str(&chart(found));
    text
}

/// The curves as a chart of characters: a column for each number of labels, a letter for each curve.
fn chart(found: &ProbeReport) -> String {
    const LINES: usize = 11;
    const WIDTH: usize = 10;
    let accuracies = || found.curves.iter().flat_map(|curve| curve.points.iter().map(|point| point.accuracy));
    let low = (accuracies().fold(1.0, f64::min) * 10.0).floor() / 10.0;
    let line_of =
        |accuracy: f64| ((accuracy - low) / (1.0 - low).max(0.1) * (LINES - 1) as f64).round() as usize;
    let mut text = String::from("\n");
    for line in (0..LINES).rev() {
        let height = low + (1.0 - low).max(0.1) * line as f64 / (LINES - 1) as f64;
        text.push_str(&format!("{:>5.0} % |", height * 100.0));
        for column in 0..found.curves[0].points.len() {
            let letters: String = letters(found)
                .zip(&found.curves)
                .filter(|(_, curve)| line_of(curve.points[column].accuracy).min(LINES - 1) == line)
                .map(|(letter, _)| letter)
                .collect();
            text.push_str(&format!("{letters:^WIDTH$}"));
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    let columns = found.curves[0].points.iter().map(|point| match point.per_class {
        Some(number) => number.to_string(),
        None => "all".to_owned(),
    });
    let columns: String = columns.map(|column| format!("{column:^WIDTH$}")).collect();
    text.push_str(&format!("{:>9}{}\n", "", columns.trim_end()));
    for (letter, curve) in letters(found).zip(&found.curves) {
        text.push_str(&format!("{:>9}{letter}  {}\n", "", curve.name));
    }
    text
}

fn letters(found: &ProbeReport) -> impl Iterator<Item = char> + use<> {
    ('A'..='Z').take(found.curves.len())
}

fn csv(found: &ProbeReport) -> String {
    let mut text = String::from("of,values,labels_per_class,labels,draws,accuracy,deviation\n");
    for curve in &found.curves {
        for point in &curve.points {
            let per_class = point.per_class.map_or_else(|| "all".to_owned(), |number| number.to_string());
            text.push_str(&format!(
                "\"{}\",{},{per_class},{},{},{},{}\n",
                curve.name, curve.dims, point.labels, point.draws, point.accuracy, point.deviation
            ));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use poiesis::discover::{ProbeCurve, ProbePoint};

    use super::*;

    fn report() -> ProbeReport {
        let point = |per_class: Option<usize>, accuracy| {
            let draws = if per_class.is_some() { 5 } else { 1 };
            ProbePoint { per_class, labels: 20, draws, accuracy, deviation: 0.01 }
        };
        let curve = |name, first, last| ProbeCurve {
            name,
            dims: 8,
            points: vec![point(Some(2), first), point(None, last)],
        };
        ProbeReport {
            train: 1000,
            test: 500,
            split: Split::Test,
            classes: vec!["a".into(), "b".into()],
            left_out: vec![900],
            curves: vec![curve("features", 0.9, 1.0), curve("pixels, all", 0.5, 0.8)],
        }
    }

    #[test]
    fn accuracies_are_shown_in_a_table_and_a_chart() {
        let text = render(&report());
        assert!(text.contains("features              8   90.0 ± 1.0  100.0\n"), "{text}");
        assert!(text.contains("left out, because a class has fewer labels: 900 per class"), "{text}");
        let lines: Vec<&str> = text.lines().collect();
        let line = |height: &str| *lines.iter().find(|line| line.starts_with(height)).unwrap();
        assert_eq!(line("  100 % |"), "  100 % |              A");
        assert_eq!(line("   90 % |"), "   90 % |    A");
        assert_eq!(line("   80 % |"), "   80 % |              B");
        assert_eq!(line("   50 % |"), "   50 % |    B");
    }

    #[test]
    fn a_line_of_the_file_has_one_accuracy() {
        let text = csv(&report());
        assert_eq!(text.lines().count(), 5);
        assert!(text.contains("\"pixels, all\",8,all,20,1,0.8,0.01\n"), "{text}");
    }
}
