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
