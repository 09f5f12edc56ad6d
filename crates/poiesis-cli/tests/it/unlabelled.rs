//! Documents and images whose class is not known, beside others that have one, with the real program.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;

use crate::support::{Place, parse, text, words};
use serde_json::Value;

/// Texts in folders of two classes, and as many beside these folders as `loose` says.
fn provide(place: &Place, loose: usize) {
    let many = |word: &str, number: usize| format!("{} {number}", vec![word; 2 + number % 5].join(" "));
    for (class, word, count) in [("cats", "meow", 24), ("dogs", "woof", 12)] {
        fs::create_dir_all(place.path(&format!("pets/{class}"))).unwrap();
        for number in 0..count {
            fs::write(place.path(&format!("pets/{class}/{number}.txt")), many(word, number)).unwrap();
        }
    }
    for number in 0..loose {
        fs::write(place.path(&format!("pets/loose{number:02}.txt")), many("blub", number)).unwrap();
    }
}

fn train(place: &Place, out: &str) {
    place.ok(&format!(
        "train transformer --data pets --paper-defaults --set width=16 --set layers=1 --set heads=2 --set context=24 \
         --batch-size 8 --steps 150 --set sample_frames=0 --set sample_count=1 --set sample_length=20 --quiet --out {out}"
    ));
}

fn info(place: &Place, run: &str) -> Value {
    parse(&fs::read_to_string(place.path(&format!("{run}/run.json"))).unwrap())
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[track_caller]
fn near(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-9 * b.abs().max(1.0), "{a} and {b}");
}

/// −log Σ p · exp(−nats).
fn mixed(each: &[(f64, f64)]) -> f64 {
    -each.iter().map(|(p, nats)| p * (-nats).exp()).sum::<f64>().ln()
}

#[test]
fn documents_outside_of_classes_are_learned_as_such() {
    let place = Place::new();
    provide(&place, 16);
    train(&place, "run");
    let data = &info(&place, "run")["data"];
    assert_eq!(data["spec"]["unlabelled"], true);
    let counted: u64 = data["class_counts"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum();
    assert!((25..=36).contains(&counted), "{data}");

    let drawn = |more: &str| place.ok(&format!("sample run --temperature 0 --length 9 {more}"));
    assert!(drawn("").contains("blub"), "{}", drawn(""));
    assert!(drawn("--class cats").contains("meow") && drawn("--class dogs").contains("woof"));
    let turns = drawn("--count 6");
    let said = ["blub", "meow", "woof"].map(|word| turns.contains(word));
    assert_eq!(said, [true; 3], "without a class first, then each class: {turns}");
    let none = drawn("--class none --count 6");
    assert_eq!(["blub", "meow", "woof"].map(|word| none.contains(word)), [true, false, false], "{none}");
    let refused = place.fails("sample run --class nine");
    assert!(refused.contains("no class called `nine`"), "{refused}");
    // The first line says that no paths are expected.
    let suggested = |verb: &str| place.ok(&format!("suggest -- {verb} run --class n"));
    let offers = |verb: &str| suggested(verb).lines().skip(1).any(|line| line.starts_with("none"));
    assert_eq!(["sample", "score"].map(offers), [true, false], "{}", suggested("sample"));

    let all = parse(&place.ok("score run pets --csv all.csv --json"));
    let of = |name: &str| {
        let examples = all["examples"].as_array().unwrap();
        examples.iter().find(|example| example["name"] == name).unwrap().clone()
    };
    assert_eq!(of("pets/cats/3.txt")["condition"], "class");
    assert_eq!(of("pets/loose03.txt")["condition"], "no-class");
    assert_eq!((&all["protocol"]["mixtures"], &all["protocol"]["class_shares"]), (&0.into(), &Value::Null));
    let csv = fs::read_to_string(place.path("all.csv")).unwrap();
    assert!(csv.lines().next().unwrap().ends_with(",tokens,condition"), "{csv}");
    let output = place.run(&words("score run pets/loose03.txt"));
    let table = text(&output.stdout);
    assert!(table.contains("1 without a known class, scored as examples without one"), "{table}");
    assert!(!text(&output.stderr).contains("Each is scored"), "{}", text(&output.stderr));
    let alone = parse(&place.ok("score run pets/loose03.txt --json"))["mean"]["nats"].clone();
    near(number(&alone), number(&of("pets/loose03.txt")["nats"]));
    let as_cat = parse(&place.ok("score run pets/loose03.txt --class cats --json"))["mean"]["nats"].clone();
    assert!(number(&as_cat) > number(&alone) + 1.0, "{as_cat} as a cat, {alone} as what it is");

    place.ok("evaluate run --json");
    place.ok("compress pets/loose03.txt pets/cats/1.txt --model run --out own.poi");
    place.ok("decompress own.poi --model run --out again");
    let same = |name: &str| {
        fs::read(place.path(&format!("again/{name}"))).unwrap() == fs::read(place.path(name)).unwrap()
    };
    assert!(same("pets/loose03.txt") && same("pets/cats/1.txt"));
}

#[test]
fn the_folder_names_the_class_and_a_document_of_none_is_a_mixture_of_all() {
    let place = Place::new();
    provide(&place, 0);
    train(&place, "run");
    let data = info(&place, "run")["data"].clone();
    assert!(data["spec"].get("unlabelled").is_none(), "{data}");
    let counts: Vec<f64> = data["class_counts"].as_array().unwrap().iter().map(number).collect();

    let nats =
        |arguments: &str| number(&parse(&place.ok(&format!("score run {arguments} --json")))["mean"]["nats"]);
    for given in ["pets/dogs", "pets/dogs/3.txt"] {
        let scored = parse(&place.ok(&format!("score run {given} --json")));
        assert_eq!(scored["examples"][0]["class"], "dogs", "{scored}");
        assert_eq!(scored["examples"][0]["condition"], "class");
    }
    let [as_cat, as_dog] = ["cats", "dogs"].map(|class| nats(&format!("pets/dogs/3.txt --class {class}")));
    near(nats("pets/dogs/3.txt"), as_dog);
    assert!(as_cat > as_dog + 1.0, "{as_cat} {as_dog}");
    let said = place.fails("score run pets/dogs --class birds");
    assert!(said.contains("birds") && said.contains("cats"), "{said}");

    // Longer than a window.
    fs::write(place.path("mine.txt"), "woof woof meow woof 3 meow meow woof woof woof").unwrap();
    fs::create_dir(place.path("birds")).unwrap();
    fs::copy(place.path("mine.txt"), place.path("birds/mine.txt")).unwrap();
    let output = place.run(&words("score run mine.txt birds pets/cats/0.txt --json --per-token tokens.csv"));
    let scored = parse(&text(&output.stdout));
    let examples = scored["examples"].as_array().unwrap();
    let conditions: Vec<&str> = examples.iter().map(|e| e["condition"].as_str().unwrap()).collect();
    assert_eq!(conditions, ["mixture", "mixture", "class"]);
    assert_eq!(
        (&scored["protocol"]["mixtures"], &scored["protocol"]["class_shares"]),
        (&2.into(), &"training".into())
    );
    let told = text(&output.stderr);
    assert!(
        told.contains("without a class that the model knows: 2. Each is scored with all 2 classes"),
        "{told}"
    );
    let [as_cat, as_dog] = ["cats", "dogs"].map(|class| nats(&format!("mine.txt --class {class}")));
    assert!((as_cat - as_dog).abs() > 0.01, "the class matters: {as_cat} {as_dog}");
    let total = counts[0] + counts[1];
    near(number(&examples[0]["nats"]), mixed(&[(counts[0] / total, as_cat), (counts[1] / total, as_dog)]));
    assert_eq!(examples[0]["nats"], examples[1]["nats"]);
    let tokens = fs::read_to_string(place.path("tokens.csv")).unwrap();
    let of_mine = tokens.lines().filter(|line| line.starts_with("mine.txt,"));
    let sum: f64 = of_mine.map(|line| line.rsplit(',').next().unwrap().parse::<f64>().unwrap()).sum();
    near(sum, number(&examples[0]["nats"]));

    // A class that the model does not know is told, and a folder in that of a class need not be one.
    for folder in ["zoo/bird", "zoo/cats/kittens", "zoo/cats/old"] {
        fs::create_dir_all(place.path(folder)).unwrap();
        fs::copy(place.path("mine.txt"), place.path(folder).join("mine.txt")).unwrap();
    }
    for (given, class, condition, note) in [
        ("zoo", ["bird", "cats"], ["mixture", "class"], "classes that the model does not know: 1 (bird)"),
        ("zoo/bird zoo/cats", ["", "cats"], ["mixture", "class"], "a folder of zoo/cats counts as cats"),
    ] {
        let output = place.run(&words(&format!("score run {given} --json")));
        let scored = parse(&text(&output.stdout));
        let of =
            |key: &str| [0, 1].map(|at: usize| scored["examples"][at][key].as_str().unwrap_or("").to_owned());
        assert_eq!(
            (of("class"), of("condition")),
            (class.map(Into::into), condition.map(Into::into)),
            "{given}"
        );
        assert!(text(&output.stderr).contains(note), "{}", text(&output.stderr));
    }
    assert!(place.fails("sample run --class none").contains("no class called `none`"));

    // A run of an earlier version does not know the shares.
    let mut earlier = info(&place, "run");
    earlier["data"].as_object_mut().unwrap().remove("class_counts");
    fs::write(place.path("run/run.json"), earlier.to_string()).unwrap();
    let scored = parse(&place.ok("score run mine.txt --json"));
    assert_eq!(scored["protocol"]["class_shares"], "uniform");
    near(number(&scored["mean"]["nats"]), mixed(&[(0.5, as_cat), (0.5, as_dog)]));
    let table = place.ok("score run mine.txt");
    assert!(
        table.contains("1 without a known class, scored as a mixture of all classes, with equal shares"),
        "{table}"
    );
}
