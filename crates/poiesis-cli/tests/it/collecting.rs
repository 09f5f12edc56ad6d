//! What `collect` chooses and proposes, and `export`, which writes a data set out again.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;

use poiesis::picture::Picture;

use crate::support::{Place, parse, text, tiny, words};

/// A folder of pictures with colours, of this size and this many.
fn pictures(place: &Place, folder: &str, side: usize, count: usize) {
    fs::create_dir_all(place.path(folder)).unwrap();
    for number in 0..count {
        let pixels = (0..side * side * 3).map(|at| (at * 7 + number * 31 + at % 3 * 60) as u8).collect();
        let picture = Picture::new(side, side, 3, pixels);
        picture.write_png(&place.path(folder).join(format!("{number:02}.png")), None).unwrap();
    }
}

/// Collects, and returns what is said of it and the commands that are proposed, without the name of the program.
fn collect(place: &Place, arguments: &str) -> (String, Vec<String>) {
    let output = place.run(&words(&format!("collect {arguments}")));
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    let printed = text(&output.stdout);
    let (_, next) = printed.split_once("what to try next\n").unwrap();
    let commands = next.lines().filter_map(|line| line.strip_prefix("  "));
    let commands = commands.map(|line| {
        let (_, command) = line.split_once(' ').unwrap();
        command.split("  #").next().unwrap().trim_end().to_owned()
    });
    (said + &printed, commands.collect())
}

#[test]
fn each_command_that_is_proposed_works_for_images_of_any_size() {
    let place = Place::new();
    pictures(&place, "in", 80, 24);
    for size in ["72", "30x20", "64"] {
        let out = format!("packed-{size}");
        let (said, commands) = collect(&place, &format!("in {out} --size {size}"));
        let trainings: Vec<&String> =
            commands.iter().filter(|command| command.starts_with("train ")).collect();
        assert!(!trainings.is_empty(), "{said}");
        // Those of the usual size are tried in `docs/start.md`.
        for command in trainings.into_iter().filter(|_| size != "64") {
            place.ok(&format!("{command} --steps 1 --dry-run"));
        }
        assert_eq!(said.contains("collect with --size "), size != "64", "{said}");
    }
}

#[test]
fn images_of_a_published_set_get_a_size_that_models_learn() {
    let place = Place::new();
    pictures(&place, "data/noto-emoji", 72, 24);
    let (said, commands) = collect(&place, "noto-emoji packed");
    assert!(said.contains("chosen: --size 64 (images of 72×72);"), "{said}");
    assert!(said.contains("64×64 RGB"), "{said}");
    assert!(commands.iter().any(|command| command.starts_with("train vae ")), "{said}");
}

#[test]
fn so_little_data_that_it_is_memorised_is_said() {
    let place = Place::new();
    pictures(&place, "three", 32, 3);
    let (said, _) = collect(&place, "three packed");
    assert!(said.contains("so few that a model can only memorise"), "{said}");
    fs::write(place.path("note.txt"), "a few words and no more\n".repeat(12)).unwrap();
    let (said, _) = collect(&place, "note.txt words");
    assert!(said.contains("so little that a model can only memorise"), "{said}");
    assert!(!said.contains("/s\n"), "the speed of packing one text\n{said}");
    pictures(&place, "many", 32, 40);
    let (said, _) = collect(&place, "many enough");
    assert!(!said.contains("memorise"), "{said}");
}

#[test]
fn inspect_prepares_a_source_as_collect_does() {
    let place = Place::new();
    pictures(&place, "in", 72, 24);
    place.ok("collect in packed");
    let output = place.run(&words("inspect in --preview seen.png"));
    let said = text(&output.stderr);
    assert!(said.contains("as collect chooses: --size 64 (images of 72×72)\n"), "{said}");
    let card = |folder: &str| parse(&place.ok(&format!("inspect {folder} --json")));
    let (raw, packed) = (card("in"), card("packed"));
    assert!(raw["fingerprint"].is_string(), "{raw}");
    for key in ["fingerprint", "shape", "splits"] {
        assert_eq!(raw[key], packed[key], "{key}");
    }
}

#[test]
fn white_drawings_on_transparency_are_seen() {
    let place = Place::new();
    fs::create_dir(place.path("icons")).unwrap();
    for number in 0..8 {
        let alpha = |at: usize| if (at + number).is_multiple_of(5) { 255 } else { 0 };
        let pixels = (0..32 * 32 * 4).map(|at| if at % 4 == 3 { alpha(at / 4) } else { 255 }).collect();
        let picture = Picture::new(32, 32, 4, pixels);
        picture.write_png(&place.path("icons").join(format!("{number}.png")), None).unwrap();
    }
    let (said, _) = collect(&place, "icons packed");
    assert!(said.contains("chosen: --background '#000000' (on #ffffff nothing would be left"), "{said}");
    assert!(!said.contains("of a single colour"), "{said}");
    let (said, _) = collect(&place, "icons white --background #ffffff");
    assert!(!said.contains("--background") && said.contains("every image is of a single colour"), "{said}");
}

#[test]
fn classes_count_as_examples_do_in_all_splits() {
    let place = Place::new();
    pictures(&place, "in/cat", 16, 30);
    pictures(&place, "in/dog", 16, 10);
    let (said, _) = collect(&place, "in packed --holdout 0.4");
    assert!(said.contains("cat 30, dog 10\n"), "{said}");
}

#[test]
fn a_run_is_not_collected() {
    let place = Place::new();
    place.ok(&tiny("dcgan", "run", "--quiet"));
    for command in ["collect run packed", "inspect run", "export run out", "train dcgan --data run --steps 1"]
    {
        let error = place.fails(command);
        assert!(error.contains("run cannot be used: it is a run of dcgan and no data"), "{command}\n{error}");
        assert!(error.contains("hint: `runs show` shows the run; its data are shapes"), "{command}\n{error}");
    }
}

#[test]
fn a_single_image_is_named_as_such() {
    let place = Place::new();
    pictures(&place, "in", 32, 1);
    let error = place.fails("collect in/00.png packed");
    assert!(error.contains("in/00.png cannot be used: it is a single image"), "{error}");
    assert!(error.contains("hint: give a folder of images"), "{error}");
}

#[test]
fn a_data_set_is_written_out_and_read_again() {
    let place = Place::new();
    pictures(&place, "in/cat", 16, 12);
    pictures(&place, "in/dog", 16, 9);
    place.ok("collect in packed --licence CC0");
    let said = place.ok("export packed out");
    assert!(said.starts_with("out: 21 files, ") && said.contains("licence: CC0"), "{said}");
    place.ok("collect out again");
    let card = |folder: &str| parse(&place.ok(&format!("inspect {folder} --json")));
    let (before, after) = (card("packed"), card("again"));
    for key in ["shape", "classes"] {
        assert_eq!(before[key], after[key]);
    }
    let counts = |card: &serde_json::Value| -> Vec<String> {
        card["splits"].as_array().unwrap().iter().map(|split| split["class_counts"].to_string()).collect()
    };
    assert_eq!(counts(&before), counts(&after));
    let error = place.fails("export packed out");
    assert!(error.contains("out exists and is not empty"), "{error}");
    let written = parse(&place.ok("export packed some --split validation --count 1 --json"));
    assert_eq!((&written["files"], &written["splits"]["validation"]), (&1.into(), &1.into()), "{written}");
    let error = place.fails("export packed other --split test");
    assert!(error.contains("no test split"), "{error}");
}

#[test]
fn the_command_that_export_prints_gives_the_same_examples() {
    let place = Place::new();
    pictures(&place, "in/cat", 72, 12);
    let grey = |at: usize, number: usize| (at / 3 * 7 + number * 31) as u8;
    fs::create_dir(place.path("grey")).unwrap();
    for number in 0..12 {
        let pixels = (0..30 * 20 * 3).map(|at| grey(at, number)).collect();
        let picture = Picture::new(30, 20, 3, pixels);
        picture.write_png(&place.path("grey").join(format!("{number:02}.png")), None).unwrap();
    }
    let names: String = (0..200).map(|i| format!("name {i} of {}\n", i % 7)).collect();
    fs::write(place.path("names.txt"), names).unwrap();
    let card = |folder: &str| parse(&place.ok(&format!("inspect {folder} --json")));
    for (number, how) in [
        "in --size 72 --class-level 1 --licence CC0",
        "in --size 72 --holdout 0",
        "grey --size 30x20 --channels 3",
        "names.txt --lines --vocabulary bpe --vocabulary-size 280",
        "names.txt --vocabulary bytes --holdout 0",
    ]
    .into_iter()
    .enumerate()
    {
        let (source, flags) = how.split_once(' ').unwrap();
        place.ok(&format!("collect {source} packed-{number} {flags}"));
        let output = place.run(&words(&format!("export packed-{number} out-{number}")));
        let said = text(&output.stderr);
        let (_, command) = said.split_once("read it again: ").unwrap();
        let (_, command) = command.lines().next().unwrap().split_once(' ').unwrap();
        place.ok(&command.replace(" NEW", &format!(" again-{number}")));
        let (before, after) = (card(&format!("packed-{number}")), card(&format!("again-{number}")));
        assert!(before["fingerprint"].is_string(), "{before}");
        for key in ["fingerprint", "classes", "shape", "licence"] {
            assert_eq!(before[key], after[key], "{how}\n{command}");
        }
        let written = parse(&place.ok(&format!("export packed-{number} again/{number} --json")));
        assert!(written["collect"].as_str().unwrap().contains(" collect again/"), "{written}");
    }
}

#[test]
fn images_of_several_sizes_are_collected_before_they_are_exported() {
    let place = Place::new();
    pictures(&place, "mixed", 16, 3);
    pictures(&place, "mixed/more", 20, 2);
    for verb in ["export mixed out", "features mixed"] {
        let error = place.fails(verb);
        assert!(error.contains("images differ in size"), "{error}");
        assert!(error.contains("hint: collect it first: "), "{error}");
        assert!(error.contains(" collect mixed OUT --size N|WxH"), "{error}");
    }
}
