//! The verbs of `discover` that read features, codes and first weights, on tiny models.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;

use crate::support::{Place, parse, tiny};

fn is_a_picture(place: &Place, name: &str) {
    let bytes = fs::read(place.path(name)).unwrap();
    assert!(bytes.starts_with(b"\x89PNG") && bytes.len() > 500, "{name}");
}

#[test]
fn what_a_vae_has_learned_is_found() {
    let place = Place::new();
    place.ok(&tiny("vae", "run", "--quiet"));

    let text = place.ok("discover directions run --rows 3 --steps 5 --out directions.png");
    assert!(text.contains("EIGENVALUE") && text.contains("random weights would be"), "{text}");
    is_a_picture(&place, "directions.png");
    let found =
        parse(&place.ok("discover directions run --method pca --samples 80 --rows 3 --out pca.png --json"));
    let directions = found["found"]["directions"].as_array().unwrap();
    assert_eq!(directions.len(), 3);
    for direction in directions {
        let squares =
            direction["vector"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap().powi(2));
        assert!((squares.sum::<f64>() - 1.0).abs() < 1e-4, "{direction}");
    }

    let text = place.ok("discover clusters run --images 25 --exemplars 2 --out clusters.png");
    assert!(text.contains("class error") && text.contains("stability"), "{text}");
    is_a_picture(&place, "clusters.png");
    let found =
        parse(&place.ok("discover clusters run --method gmm --split train --images 60 --out gmm.png --json"));
    let clusters = found["found"]["clusters"].as_array().unwrap();
    let sizes: u64 = clusters.iter().map(|cluster| cluster["size"].as_u64().unwrap()).sum();
    assert_eq!(sizes, 60);
    assert_eq!(found["found"]["criterion"].as_array().unwrap().len(), 20);

    let probe = "discover probe run --labels-per-class 1,4,500 --draws 2";
    let text = place.ok(&format!("{probe} --csv probe.csv"));
    assert!(
        text.contains("fewer labels: 500 per class") && text.contains("features without training"),
        "{text}"
    );
    // Five ways of reading images, with 1, 4 and all labels.
    assert_eq!(fs::read_to_string(place.path("probe.csv")).unwrap().lines().count(), 1 + 5 * 3);
    assert!(place.fails(&format!("{probe} --csv probe.csv")).contains("--force"));
    let again = |seed: u64| place.ok(&format!("{probe} --seed {seed} --json"));
    assert_eq!(again(1), again(1));
}

#[test]
fn codes_are_compared_with_factors() {
    let place = Place::new();
    place.ok(&tiny("vae", "run", "--quiet"));
    let text = place.ok("discover factors run run --images 150 --test-images 30");
    assert_eq!(text.lines().filter(|line| line.contains("random weights")).count(), 2, "{text}");
    let found = parse(&place.ok("discover factors run --images 150 --test-images 30 --json"));
    let scores = found["runs"][0]["found"]["scores"].as_array().unwrap();
    let names: Vec<&str> = scores.iter().map(|scores| scores["codes"].as_str().unwrap()).collect();
    assert_eq!(names, ["trained", "untrained", "random", "factors"]);
    for name in ["mig", "disentanglement", "completeness", "informativeness", "factor_vae", "explicitness"] {
        let [random, ceiling] = [2, 3].map(|at| scores[at][name].as_f64().unwrap());
        assert!(random < 0.6 && ceiling > random + 0.2, "{name}: {random} {ceiling}");
    }
}

#[test]
fn the_codes_of_an_infogan_are_shown_and_counted() {
    let place = Place::new();
    let settings =
        "noise_dim=4 categorical=[5] generator_widths=[8,4] discriminator_widths=[4,8] hidden_dim=12 q_dim=8";
    let settings: String = settings.split(' ').map(|setting| format!("--set {setting} ")).collect();
    place.ok(&format!(
        "train infogan --data shapes --size 16 --set data.count=300 {settings} --batch-size 8 --steps 20 --quiet --out gan"
    ));
    let text = place.ok("discover traverse gan --code c1 --rows 3 --out c1.png");
    assert!(text.starts_with("columns: c1 is 0, 1, 2, 3, 4\n"), "{text}");
    let text = place.ok("discover traverse gan --code c2 --steps 5 --out c2.png");
    assert!(
        text.starts_with("columns: c2 is -2, -1, 0, 1, 2\nrows: the first categorical code is 0, 1, 2,"),
        "{text}"
    );
    is_a_picture(&place, "c2.png");
    let said = place.fails("discover traverse gan --code c9");
    assert!(said.contains("`c9`") && said.contains("c1"), "{said}");
    let found = parse(&place.ok("discover clusters gan --method code --images 20 --out code.png --json"));
    assert_eq!(found["found"]["clusters"].as_array().unwrap().len(), 5);
    assert!(found["found"]["classes"]["error"].as_f64().unwrap() <= 0.8);
    assert!(place.fails("discover traverse gan --code c1 --steps 4").contains("--steps"));
    let said = place.fails("discover clusters gan --method code --clusters 5 --seed 1");
    assert!(said.contains("--clusters, --seed"), "{said}");
    assert!(place.fails("discover directions gan --samples 50").contains("--samples"));
    place.ok("discover directions gan --rows 2 --out directions.png");
}

#[test]
fn what_a_model_cannot_give_is_said_with_a_way_out() {
    let place = Place::new();
    place.ok(&tiny("vae", "run", "--quiet"));
    let said = place.fails("discover clusters run --method code");
    assert!(said.contains("categorical") && said.contains("kmeans"), "{said}");
    let said = place.fails("discover traverse run --code c1");
    assert!(said.contains("no codes") && said.contains("--dims"), "{said}");
    let said = place.fails("discover clusters run --images 10 --clusters 11");
    assert!(said.contains("`clusters`") && said.contains("--clusters"), "{said}");
    place.ok(&tiny("pixelcnn", "pixels", "--quiet"));
    let said = place.fails("discover probe pixels");
    assert!(said.contains("features") && said.contains("infogan"), "{said}");
    assert!(place.fails("discover directions pixels").contains("decode"));
    assert!(place.fails("discover factors pixels").contains("encode"));
}
