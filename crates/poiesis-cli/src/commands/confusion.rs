//! The result of a classification as text, and as a picture beside the evaluation.

use std::path::{Path, PathBuf};

use anyhow::Result;
use poiesis::evaluate::{Calibrated, Classification, Evaluation};
use poiesis::picture::Picture;
use serde_json::json;

use super::evaluate::plus_minus;
use super::pictures;
use crate::render::{count, table};

/// Classes of which all confusions are shown.
const SHOWN: usize = 20;
/// The most frequent confusions that are shown of more classes.
const MOST_CONFUSED: usize = 10;
/// Longest name of a class in a table, in characters.
const NAME: usize = 12;

/// Errors, calibration and confusions as text; `took` is how long it took.
pub(crate) fn render(found: &Classification, took: &str) -> String {
    // Evaluations of earlier versions do not hold it.
    let deviation = (found.error * (1.0 - found.error)).sqrt();
    let error = (found.images > 1).then(|| 100.0 * deviation / (found.images as f64).sqrt());
    let mut text = format!(
        "\nclassification ({} images, {took})\n  {} errors = {:.2}{} %   {:.4} nats   {:.4} calibration error\n",
        count(found.images as u64),
        count(found.errors as u64),
        found.error * 100.0,
        plus_minus(error, 2),
        found.nats,
        found.calibration_error,
    );
    if let Some(calibrated) = &found.calibrated {
        text.push_str(&render_calibrated(calibrated));
    }
    text.push_str(&confusions(found));
    text
}

fn render_calibrated(calibrated: &Calibrated) -> String {
    let temperatures: Vec<String> = calibrated.temperatures.iter().map(|t| format!("{t:.3}")).collect();
    let fitted_to = match calibrated.fitted_to.as_str() {
        "halves" => "the other half of the images".to_owned(),
        split => format!("the {split} split"),
    };
    format!(
        "  calibrated: {:.4} nats   {:.4} calibration error   temperature {}, fitted to {fitted_to}\n",
        calibrated.nats,
        calibrated.calibration_error,
        temperatures.join(" and "),
    )
}

/// How often each class is taken for each: all of it for a few classes, else what happens most.
fn confusions(found: &Classification) -> String {
    let classes = found.confusion.len();
    let name = |class: usize| match found.classes.get(class) {
        Some(name) if name.chars().count() > NAME => name.chars().take(NAME - 1).collect::<String>() + "…",
        Some(name) => name.clone(),
        None => class.to_string(),
    };
    let text = if classes <= SHOWN {
        let names: Vec<String> = (0..classes).map(|class| format!(">{}", name(class))).collect();
        let mut header = vec!["CLASS"];
        header.extend(names.iter().map(String::as_str));
        header.push(">ERROR");
        let row = |(class, row): (usize, &Vec<u64>)| {
            let of_class: u64 = row.iter().sum();
            let error = (of_class - row[class]) as f64 / of_class.max(1) as f64 * 100.0;
            let mut cells = vec![name(class)];
            cells.extend(row.iter().map(|&times| if times == 0 { "·".to_owned() } else { count(times) }));
            cells.push(if of_class == 0 { "-".to_owned() } else { format!("{error:.1} %") });
            cells
        };
        let rows: Vec<Vec<String>> = found.confusion.iter().enumerate().map(row).collect();
        table(&header, &rows)
    } else {
        let pairs = found.most_confused(MOST_CONFUSED);
        let row = |(class, taken, times): (usize, usize, u64)| {
            let of_class: u64 = found.confusion[class].iter().sum();
            vec![name(class), name(taken), count(times), count(of_class)]
        };
        table(&["CLASS", "TAKEN FOR", ">TIMES", ">OF"], &pairs.into_iter().map(row).collect::<Vec<_>>())
    };
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// Writes the confusions as a picture beside the kept evaluation, unless that has one; its path.
pub(crate) fn write_picture(evaluation: &Evaluation, kept: &Path) -> Result<Option<PathBuf>> {
    let Some(found) = evaluation.read::<Classification>("classification") else { return Ok(None) };
    let path = pictures::beside(kept, "confusions");
    if !path.exists() {
        let Evaluation { run, model, step, data, split, .. } = evaluation;
        let made = json!({
            "verb": "evaluate", "run": run, "model": model, "step": step, "data": data, "split": split,
            "rows": "classes", "columns": "taken for", "classes": found.classes,
        });
        let picture: Picture = found.picture();
        picture.write_png(&path, Some(&made))?;
    }
    Ok(Some(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(confusion: Vec<Vec<u64>>, classes: &[&str]) -> Classification {
        let images: u64 = confusion.iter().flatten().sum();
        let right: u64 = confusion.iter().enumerate().map(|(class, row)| row[class]).sum();
        let error = (images - right) as f64 / images as f64;
        Classification {
            images: images as usize,
            errors: (images - right) as usize,
            error,
            standard_error: None,
            nats: 0.5,
            calibration_error: 0.15,
            calibrated: None,
            classes: classes.iter().map(|&name| name.to_owned()).collect(),
            class_errors: Vec::new(),
            confusion,
        }
    }

    #[test]
    fn few_classes_have_a_table_and_many_have_pairs() {
        let mut few = found(vec![vec![3, 1], vec![0, 4]], &["cat", "a long-haired dog"]);
        few.calibrated = Some(Calibrated {
            fitted_to: "halves".into(),
            temperatures: vec![2.0, 2.5],
            nats: 0.4,
            calibration_error: 0.01,
        });
        let text = render(&few, "1 s");
        for part in [
            "1 errors = 12.50 ± 11.69 %",
            "0.4000 nats   0.0100 calibration error   temperature 2.000 and 2.500, fitted to the other half",
            "  CLASS         cat  a long-hair…   ERROR\n",
            "  cat             3             1  25.0 %\n",
            "  a long-hair…    ·             4   0.0 %\n",
        ] {
            assert!(text.contains(part), "{text}\n{part}");
        }
        let mut many = vec![vec![0; 21]; 21];
        (0..21).for_each(|class| many[class][class] = 9);
        (many[4][7], many[20][0]) = (2, 1);
        let text = render(&found(many, &[]), "1 s");
        assert!(
            text.contains("  CLASS  TAKEN FOR  TIMES  OF\n  4      7              2  11\n  20     0 "),
            "{text}"
        );
    }
}
