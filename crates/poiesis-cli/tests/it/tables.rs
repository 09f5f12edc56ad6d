//! Tables: what is proposed for them, starting from the weights of another one, and pictures of the plane.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;

use poiesis::picture::{BACKGROUND, Picture};

use crate::support::{Place, tiny};

/// A table of 60 rows, each made from its number.
fn table(place: &Place, name: &str, header: &str, row: impl Fn(usize) -> String) {
    let rows: String = (0..60).map(|i| row(i) + "\n").collect();
    fs::write(place.path(name), format!("{header}\n{rows}")).unwrap();
}

/// Training of a small GAN that standardises columns.
const SMALL: &str = "--steps 2 --set latent_dim=2 --set generator_hidden_dims=[4] --set discriminator_hidden_dims=[4] \
                     --set standardize=true --quiet";

#[test]
fn models_that_cannot_learn_a_column_of_one_value_are_not_proposed() {
    let place = Place::new();
    table(&place, "table.csv", "height,weight,site", |i| format!("{},{},7", 150 + i, 40 + i * i % 50));
    let said = place.ok("collect table.csv packed");
    assert!(said.contains("train gan --data packed") && !said.contains("realnvp"), "{said}");
    place.ok(&format!("train gan --data packed --out run {SMALL}"));
    let error = place.fails("train realnvp --data packed --steps 1 --out flow");
    assert!(error.contains("the column `site`: it has the same value in every training row"), "{error}");
    assert!(
        error.contains("hint: leave this column out of the table") && !place.path("flow").exists(),
        "{error}"
    );
    table(&place, "varied.csv", "height,weight,site", |i| format!("{},{},{}", 150 + i, 40 + i, i % 3));
    let error = place.fails("train gan --data varied.csv --init-from run --steps 1 --out tuned");
    assert!(error.contains("`site` is 7 in all of its samples"), "{error}");
    table(&place, "both.csv", "height,weight", |i| format!("{},{}", 150 + i, 40 + i * i % 50));
    let said = place.ok("collect both.csv both");
    assert!(said.contains("train realnvp --data both"), "{said}");
}

#[test]
fn pictures_of_the_plane_of_an_earlier_version_are_animated_with_those_of_this_one() {
    let place = Place::new();
    place.ok(&tiny("gan", "run", "--quiet"));
    let samples = place.path("run/samples");
    let mut pictures: Vec<_> = fs::read_dir(samples).unwrap().map(|entry| entry.unwrap().path()).collect();
    pictures.sort();
    let last = Picture::read_png(pictures.last().unwrap()).unwrap().0;
    Picture::filled(40, 30, &[9, 8, 7]).write_png(&pictures[0], None).unwrap();
    place.ok("animate run --out film.png");
    place.ok("animate run --out film.gif");
    let first = Picture::read_png(&place.path("film.png")).unwrap().0;
    assert_eq!((first.width(), first.height()), (last.width(), last.height()));
    assert_eq!(first.pixel(first.width() / 2, first.height() / 2), [9, 8, 7]);
    assert_eq!(first.pixel(0, 0), [BACKGROUND; 3]);
}

/// A table of people: two flags, whole years, a measured height, a time, and money that most have not.
fn people(place: &Place) {
    table(place, "people.csv", "age,smoker,height,debt,stamp", |i| {
        let debt = if i % 2 == 0 { 0.0 } else { 100.3 + i as f32 * 7.7 };
        let (height, smokes) = (1.5 + i as f32 * 0.007, if i % 3 == 0 { "yes" } else { "no" });
        format!("{},{smokes},{height},{debt},{}", 20 + i % 9, 1_700_000_000 + i * 128)
    });
}

const FLOW: &str =
    "--set hidden_dim=8 --set couplings=3 --set dequantize_columns=true --batch-size 16 --steps 20 --quiet";

/// The rows of a CSV with a header.
fn rows(place: &Place, name: &str) -> Vec<Vec<f32>> {
    let text = fs::read_to_string(place.path(name)).unwrap();
    text.lines().skip(1).map(|row| row.split(',').map(|value| value.parse().unwrap()).collect()).collect()
}

#[test]
fn samples_of_a_table_fit_its_columns() {
    let place = Place::new();
    people(&place);
    let said = place.ok("collect people.csv packed --columns debt,age,smoker,height --holdout 0.2");
    assert!(said.contains("60 times true or yes was read as 1, or false or no as 0"), "{said}");
    place.ok(&format!("train realnvp --data packed --out flow {FLOW}"));
    place.ok(&format!("train gan --data packed --out game {SMALL}"));
    for run in ["flow", "game"] {
        place.ok(&format!("sample {run} --count 300 --out {run}.csv"));
        let drawn = rows(&place, &format!("{run}.csv"));
        assert_eq!(drawn.len(), 300);
        for row in &drawn {
            assert!(row[1].fract() == 0.0 && (20.0..=28.0).contains(&row[1]), "{row:?}");
            assert!(row[2] == 0.0 || row[2] == 1.0, "{row:?}");
            assert!(row[0] >= 0.0, "{row:?}");
        }
        assert!(drawn.iter().any(|row| row[3].fract() != 0.0), "heights are measured");
    }
    // The same as an array and as a picture.
    place.ok("sample flow --count 300 --out flow.npy");
    place.ok("sample flow --count 300 --out drawn.png");
    assert!(place.path("drawn.png").exists() && !place.path("drawn.csv").exists());
    let error = place.fails("sample flow --out flow.txt");
    assert!(error.contains(".csv, .npy for NumPy, or .png"), "{error}");
    let said = place.ok("collect flow.npy again");
    assert!(said.contains("300") && said.contains("points of 4 dimensions"), "{said}");
    place.ok("score flow flow.npy --csv a.csv");
    place.ok("score flow flow.csv --csv b.csv");
    let scores = |name: &str| -> Vec<String> {
        let text = fs::read_to_string(place.path(name)).unwrap();
        text.lines().skip(1).map(|row| row.split_once(',').unwrap().1.to_owned()).collect()
    };
    assert_eq!(scores("a.csv"), scores("b.csv"));
}

#[test]
fn columns_of_a_table_are_found_by_name_and_its_rows_encoded() {
    let place = Place::new();
    people(&place);
    let said = place.ok("collect people.csv all");
    assert!(said.contains("stamp   1700000000 to 1700007600"), "{said}");
    place.ok("collect people.csv packed --columns age,smoker,height");
    place.ok(&format!("train realnvp --data packed --out flow {FLOW}"));
    let nats = |file: &str| {
        place.ok(&format!("score flow {file} --csv scores.csv --force"));
        let text = fs::read_to_string(place.path("scores.csv")).unwrap();
        text.lines().skip(1).map(|row| row.split(',').nth(2).unwrap().to_owned()).collect::<Vec<_>>()
    };
    fs::write(place.path("own.csv"), "age,smoker,height\n21,1,1.7\n25,0,1.8\n").unwrap();
    fs::write(place.path("turned.csv"), "name,height,age,smoker\nann,1.7,21,yes\nbob,1.8,25,no\n").unwrap();
    assert_eq!(nats("own.csv"), nats("turned.csv"));
    let said = place.run(&["score", "flow", "turned.csv"]);
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("turned.csv: the model does not know 1 column (name)"), "{said}");
    fs::write(place.path("short.csv"), "age,height\n21,1.7\n").unwrap();
    let error = place.fails("score flow short.csv");
    assert!(error.contains("it has no column `smoker`, but 2 columns (age, height)"), "{error}");

    // Rows become latents with their names, and again the rows that they were.
    let said = place.ok("encode flow turned.csv --out z.npy");
    assert!(said.contains("2 points as latents of 3 values"), "{said}");
    let names = fs::read_to_string(place.path("z.csv")).unwrap();
    assert_eq!(names.lines().nth(1), Some("0,turned.csv:2,"), "{names}");
    place.ok("decode flow z.npy --out again.csv");
    let (again, own) = (rows(&place, "again.csv"), rows(&place, "own.csv"));
    assert!(fs::read_to_string(place.path("again.csv")).unwrap().starts_with("age,smoker,height\n"));
    for (again, own) in again.iter().zip(&own) {
        assert_eq!(again[..2], own[..2], "values of columns that repeat come back exactly");
        assert!((again[2] - own[2]).abs() < 1e-3, "{again:?} for {own:?}");
    }
    place.ok("encode flow --split train --images 5 --out five.safetensors");
    assert!(place.fails("encode flow own.csv --starts 2 --out no.npy").contains("--starts"));
    assert!(place.fails("decode flow z.npy --columns 2 --out no.csv").contains("--columns"));
    let error = place.fails("anomaly flow own.csv");
    assert!(error.contains("poiesis score RUN FILES"), "{error}");
    let shown = place.run(&["discover", "traverse", "flow"]);
    assert!(!shown.status.success() && shown.stdout.is_empty(), "{shown:?}");
}
