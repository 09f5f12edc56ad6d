//! Episodes as data, with the real program: collected, shown and refused.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;

use crate::support::{Place, parse};
use poiesis::picture::Picture;

/// Episodes of a task with two numbers to observe: `count` of them, of 3, 4, 5 … steps, with actions as they are written.
fn lines(count: usize, action: impl Fn(usize) -> String) -> String {
    let episode = |i: usize| {
        let steps = i + 3;
        let observations: Vec<String> =
            (0..=steps).map(|at| format!("[{}.5, {}]", at, (i * 7 + at) % 5)).collect();
        let actions: Vec<String> = (0..steps).map(|at| action(i + at)).collect();
        let rewards = vec!["1.0"; steps].join(", ");
        format!(
            "{{\"observations\": [{}], \"actions\": [{}], \"rewards\": [{rewards}], \"terminated\": {}}}\n",
            observations.join(", "),
            actions.join(", "),
            i.is_multiple_of(2)
        )
    };
    (0..count).map(episode).collect()
}

#[test]
fn episodes_are_collected_and_shown() {
    let place = Place::new();
    fs::write(place.path("demos.jsonl"), lines(20, |at| (at % 3).to_string())).unwrap();
    let said = place.ok("collect demos.jsonl data/demos --env CartPole-v1");
    for part in [
        "episodes     20: ",
        "environment  CartPole-v1",
        "observation  2 numbers",
        "actions      discrete, 3 choices",
        "returns      mean 12.50 ± 5.916 (standard deviation), 3.000 to 22.00",
        "lengths      mean 12.50, 3 to 22",
        "terminated   10; the others were cut off",
        "train bc --env CartPole-v1 --demos data/demos",
    ] {
        let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(plain(&said).contains(&plain(part)), "{part}\n{said}");
    }
    let shown = place.ok("inspect data/demos --verify --preview demos.png");
    assert!(shown.contains("choices made") && shown.contains("returns of the train split"), "{shown}");
    assert!(shown.lines().any(|line| line.contains(" to ") && line.contains("####")), "{shown}");
    let (picture, _) = Picture::read_png(&place.path("demos.png")).unwrap();
    assert!(picture.width() > 100);
    let card = parse(&place.ok("inspect data/demos --json"));
    assert_eq!(
        (&card["kind"], &card["experience"]["environment"]),
        (&"experience".into(), &"CartPole-v1".into())
    );
    // A raw source is packed into the cache.
    assert!(place.ok("inspect demos.jsonl").contains("environment  not stated"));
}

#[test]
fn what_cannot_be_told_is_asked_for() {
    let place = Place::new();
    fs::write(place.path("demos.jsonl"), lines(4, |at| format!("{}.0", at % 3))).unwrap();
    let said = place.fails("collect demos.jsonl data/demos");
    assert!(said.contains("it is not clear what the actions") && said.contains("--actions KIND"), "{said}");
    let said = place.ok("collect demos.jsonl data/demos --actions discrete --kind experience");
    assert!(said.contains("discrete, 3 choices"), "{said}");
    let said = place.ok("collect demos.jsonl data/vectors --actions continuous");
    assert!(said.contains("continuous, 1 number"), "{said}");
    assert!(place.ok("inspect data/vectors").contains("actions are"));
    let said = place.fails("collect shapes data/shapes --count 10 --env CartPole-v1");
    assert!(said.contains("only experience has it") && said.contains("--env NAME"), "{said}");
}
