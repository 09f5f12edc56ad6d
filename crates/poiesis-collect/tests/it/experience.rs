//! Experience: the same episodes in every format, demonstrations as others have published them, and everything that can be wrong.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a test says what it leaves out")]

use std::path::{Path, PathBuf};

use crate::common::demos::*;
use crate::common::*;
use poiesis_collect::{
    ActionKind, ActionsCard, Card, Dataset, Episode, Episodes, Error, ExperienceCard, ExperienceWriter, Kind,
    Limits, Options, Split, SplitBy, collect, preview, write_experience,
};

fn whole() -> Options {
    Options { holdout: 0.0, ..Options::default() }
}

fn of_kind() -> Options {
    Options { kind: Some(Kind::Experience), ..whole() }
}

fn owned(episodes: &Episodes) -> Vec<Episode> {
    let own = |view: poiesis_collect::EpisodeView<'_>| Episode {
        observations: view.observations.to_vec(),
        actions: view.actions.to_vec(),
        rewards: view.rewards.to_vec(),
        terminated: view.terminated,
    };
    episodes.iter().map(own).collect()
}

fn train(dataset: &Dataset) -> Vec<Episode> {
    owned(&dataset.require_episodes(Split::Train).unwrap())
}

fn facts(dataset: &Dataset) -> &ExperienceCard {
    dataset.card().experience.as_ref().unwrap()
}

fn skipped(dataset: &Dataset) -> Vec<String> {
    let list = &dataset.card().skipped.list;
    list.iter().map(|file| format!("{}: {}", file.name, file.reason)).collect()
}

fn notes(dataset: &Dataset) -> String {
    dataset.card().notes.join("\n")
}

/// A folder with one file.
fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), name, bytes);
    let path = root.path().join(name);
    (root, path)
}

fn folder(arrays: &Arrays) -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    write_arrays(root.path(), "set", arrays);
    let path = root.path().join("set");
    (root, path)
}

#[test]
fn the_same_episodes_in_every_format_are_the_same_data_set() {
    for (lengths, width) in [(&[5, 3, 9, 1][..], 0), (&[5, 3, 9, 1], 2), (&[4, 4, 4], 0), (&[4, 4, 4], 1)] {
        let demos = demos(lengths, width);
        let root = tempfile::tempdir().unwrap();
        let arrays = [cut(&demos, width), transitions(&demos, width)];
        let even = lengths.iter().all(|length| *length == lengths[0]).then(|| even(&demos, width));
        let mut sources = Vec::new();
        for (number, arrays) in arrays.iter().chain(&even).enumerate() {
            write_arrays(root.path(), &format!("folder{number}"), arrays);
            write(root.path(), &format!("archive{number}.npz"), &npz(arrays));
            sources.extend([format!("folder{number}"), format!("archive{number}.npz")]);
        }
        write(root.path(), "table.parquet", &transitions_table(&demos, width));
        write(root.path(), "episodes.jsonl", episode_lines(&demos, width).as_bytes());
        write(root.path(), "steps.jsonl", transition_lines(&demos, width).as_bytes());
        write(root.path(), "steps.ndjson.gz", &gzip(transition_lines(&demos, width).as_bytes()));
        sources
            .extend(["table.parquet", "episodes.jsonl", "steps.jsonl", "steps.ndjson.gz"].map(str::to_owned));
        let mut fingerprint = None;
        for source in sources {
            let dataset = packed(&root.path().join(&source), &whole()).unwrap();
            let card = dataset.card();
            assert_eq!((card.kind, card.total()), (Kind::Experience, demos.len()), "{source}");
            assert_eq!(train(&dataset), demos, "{source}");
            let expected = match width {
                // Of three choices the shortest set uses two.
                0 => ActionsCard::Discrete { choices: 3 },
                dims => ActionsCard::Continuous { dims },
            };
            assert_eq!(facts(&dataset).actions, expected, "{source}");
            assert_eq!(card.skipped.count, 0, "{source}");
            let known = fingerprint.get_or_insert_with(|| card.fingerprint.clone());
            assert_eq!(*known, card.fingerprint, "{source}");
        }
    }
}

#[test]
fn the_card_says_what_the_episodes_are() {
    let demos = demos(&[5, 3, 9, 1], 2);
    let (_root, path) = folder(&cut(&demos, 2));
    let options = Options { environment: Some("Hopper-v4".to_owned()), ..whole() };
    let dataset = packed(&path, &options).unwrap();
    let card = dataset.card();
    assert_eq!(
        (card.name.as_str(), &card.shape[..], card.split_by),
        ("set", &[OBSERVATION][..], SplitBy::Content)
    );
    assert_eq!((card.elements(Split::Train), card.channel_mean.len()), (18, OBSERVATION));
    let returns: Vec<f64> =
        demos.iter().map(|demo| demo.rewards.iter().map(|&reward| f64::from(reward)).sum()).collect();
    let mean = returns.iter().sum::<f64>() / 4.0;
    let about = facts(&dataset);
    assert_eq!(about.environment.as_deref(), Some("Hopper-v4"));
    assert!((about.mean_return.unwrap() - mean).abs() < 1e-9);
    assert_eq!(about.max_return, returns.iter().copied().reduce(f64::max));
    assert_eq!(about.min_return, returns.iter().copied().reduce(f64::min));
    assert_eq!((about.mean_length, about.min_length, about.max_length), (4.5, 1, 9));
    assert_eq!((about.terminated, about.without_rewards), (2, 0));
    let values: Vec<f64> = demos
        .iter()
        .flat_map(|demo| demo.observations.iter().step_by(OBSERVATION))
        .map(|&v| f64::from(v))
        .collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    assert!((card.channel_mean[0] - mean).abs() < 1e-9, "{} and {mean}", card.channel_mean[0]);
    // The name of the environment is about the data and no part of them.
    let unnamed = packed(&path, &whole()).unwrap();
    assert_eq!(unnamed.card().fingerprint, card.fingerprint);
    let changed = packed(&path, &Options { actions: Some(ActionKind::Continuous), ..whole() }).unwrap();
    assert_eq!(changed.card().fingerprint, card.fingerprint);
    let picture = preview(&dataset, Split::Train, 100).unwrap();
    assert_eq!(picture.pixels.len(), (picture.width * picture.height * 3) as usize);
    assert!(picture.pixels.chunks_exact(3).any(|pixel| pixel[2] > pixel[0]), "a curve is seen");
}

#[test]
fn a_data_set_of_episodes_is_read_as_nothing_else() {
    let (_root, path) = folder(&cut(&demos(&[2, 3], 0), 0));
    let dataset = packed(&path, &whole()).unwrap();
    let says = |error: Error| {
        assert!(matches!(error, Error::WrongKind { found: "experience", .. }), "{error}");
    };
    says(dataset.require(Split::Train).unwrap_err());
    says(dataset.require_stream(Split::Train).unwrap_err());
    assert!(dataset.split(Split::Train).is_none() && dataset.stream(Split::Train).is_none());
    assert!(matches!(dataset.require_episodes(Split::Test), Err(Error::NoSplit { .. })));
    let points = packed("grid".as_ref(), &Options { count: Some(10), ..Options::default() }).unwrap();
    assert!(points.episodes(Split::Train).is_none());
    assert!(matches!(points.require_episodes(Split::Train), Err(Error::WrongKind { .. })));
}

#[test]
fn shards_and_threads_leave_no_trace() {
    let demos = demos(&[7; 40], 2);
    let (_root, path) = file("a.npz", &npz(&even(&demos, 2)));
    let large = packed(&path, &whole()).unwrap();
    let small = packed(&path, &Options { shard_bytes: 500, ..whole() }).unwrap();
    assert!(small.card().splits[0].shards.len() > 10);
    assert_eq!(large.card().fingerprint, small.card().fingerprint);
    assert_eq!(train(&small), demos);
    assert!(files_with_threads(&path, &whole(), 1) == files_with_threads(&path, &whole(), 4));
}

#[test]
fn whole_episodes_are_held_out_by_their_content_where_there_are_enough() {
    let demos = demos(&[3; 60], 0);
    let distinct: Vec<Episode> = demos
        .into_iter()
        .enumerate()
        .map(|(i, demo)| Episode {
            observations: demo.observations.iter().map(|v| v + i as f32).collect(),
            ..demo
        })
        .collect();
    let (_root, path) = folder(&even(&distinct, 0));
    let options = Options { holdout: 0.25, ..Options::default() };
    let dataset = packed(&path, &options).unwrap();
    let held = owned(&dataset.require_episodes(Split::Validation).unwrap());
    assert!((5..30).contains(&held.len()), "{} of 60 held out", held.len());
    assert_eq!(train(&dataset).len() + held.len(), 60);
    assert!(held.iter().all(|demo| distinct.contains(demo) && !train(&dataset).contains(demo)));
    let mut reversed = distinct.clone();
    reversed.reverse();
    let (_root, path) = folder(&even(&reversed, 0));
    let other = owned(&packed(&path, &options).unwrap().require_episodes(Split::Validation).unwrap());
    assert!(other.iter().rev().eq(&held), "the order does not matter");
    // Nine are too few for a tenth.
    let (_root, path) = folder(&even(&distinct[..9], 0));
    let dataset = packed(&path, &Options::default()).unwrap();
    assert_eq!((dataset.card().count(Split::Train), dataset.card().count(Split::Validation)), (9, 0));
    assert!(notes(&dataset).contains("too few different episodes to hold any out"), "{}", notes(&dataset));
    let (_root, path) = folder(&even(&distinct[..10], 0));
    let dataset = packed(&path, &Options::default()).unwrap();
    assert!(dataset.card().count(Split::Validation) >= 1);
}

#[test]
fn several_sets_are_one_and_may_name_splits() {
    let demos = demos(&[3, 4, 5, 6], 2);
    let root = tempfile::tempdir().unwrap();
    write_arrays(root.path(), "set/train", &cut(&demos[..2], 2));
    write(root.path(), "set/more/test.npz", &npz(&transitions(&demos[2..3], 2)));
    write(root.path(), "set/valid.jsonl", episode_lines(&demos[3..], 2).as_bytes());
    let dataset = packed(&root.path().join("set"), &Options::default()).unwrap();
    assert_eq!(dataset.card().split_by, SplitBy::Source);
    let of = |split| owned(&dataset.require_episodes(split).unwrap());
    assert_eq!(of(Split::Train), demos[..2]);
    assert_eq!((of(Split::Test), of(Split::Validation)), (demos[2..3].to_vec(), demos[3..].to_vec()));
    assert!(notes(&dataset).contains("3 sets of episodes are one data set"), "{}", notes(&dataset));
    write(root.path(), "two/a.parquet", &transitions_table(&demos[..2], 2));
    write(root.path(), "two/b.parquet", &transitions_table(&demos[2..], 2));
    assert_eq!(train(&packed(&root.path().join("two"), &whole()).unwrap()), demos);
    assert_eq!(train(&packed(&root.path().join("two"), &of_kind()).unwrap()), demos);
    // A compressed copy is not read again.
    let lines = episode_lines(&demos, 2);
    write(root.path(), "copies/a.jsonl", lines.as_bytes());
    write(root.path(), "copies/a.jsonl.gz", &gzip(lines.as_bytes()));
    let dataset = packed(&root.path().join("copies"), &whole()).unwrap();
    assert_eq!(train(&dataset), demos);
    assert!(notes(&dataset).contains("1 file is a compressed copy"), "{}", notes(&dataset));
    // Of another environment.
    write_arrays(root.path(), "mixed/a", &cut(&demos, 2));
    write_arrays(root.path(), "mixed/b", &cut(&demos::demos(&[3], 1), 1));
    let error = packed(&root.path().join("mixed"), &whole()).unwrap_err();
    assert!(matches!(error, Error::MixedEpisodes { .. }) && error.hint().is_some(), "{error}");
    let text = error.to_string();
    for part in
        ["a episode 0 has observations of 3 and actions of 2 numbers", "b episode 0 has", "actions of 1 "]
    {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn experience_is_recognised_where_it_is_unmistakable() {
    let demos = demos(&[3, 4], 2);
    let root = tempfile::tempdir().unwrap();
    // Beside other arrays and a few words about them.
    write_arrays(root.path(), "set", &cut(&demos, 2));
    write(root.path(), "set/infos.npy", &npy("<f4", &[2], &floats([1.0, 2.0])));
    write(root.path(), "set/README.txt", b"of an expert");
    let dataset = packed(&root.path().join("set"), &whole()).unwrap();
    assert_eq!((dataset.card().kind, dataset.card().total()), (Kind::Experience, 2));
    assert!(notes(&dataset).contains("1 text "), "{}", notes(&dataset));
    // Records with words under such names are text.
    write(root.path(), "text.jsonl", b"{\"state\": \"CA\", \"action\": \"veto\", \"text\": \"no\"}\n");
    assert_eq!(packed(&root.path().join("text.jsonl"), &whole()).unwrap().card().kind, Kind::Text);
    // Images beside a small set of episodes are still images, and the kind decides.
    for i in 0..30 {
        write(root.path(), &format!("set/images/{i}.png"), &png(64, 64, i));
    }
    let dataset = packed(&root.path().join("set"), &whole()).unwrap();
    assert_eq!(dataset.card().kind, Kind::Images);
    assert!(notes(&dataset).contains("files of experience"), "{}", notes(&dataset));
    assert_eq!(train(&packed(&root.path().join("set"), &of_kind()).unwrap()), demos);
    // What has no actions, or is not there at all.
    let alone = told(&packed(&root.path().join("set/obs.npy"), &of_kind()).unwrap_err());
    assert!(alone.contains("it is a single array; give the folder that it is in"), "{alone}");
    for name in ["set/images", "text.jsonl", "set/README.txt"] {
        let error = packed(&root.path().join(name), &of_kind()).unwrap_err();
        let text = told(&error);
        assert!(
            text.contains("`kind` cannot be experience") && text.contains("observations and actions"),
            "{text}"
        );
    }
    let only = Options { include: vec!["images/*".to_owned()], ..whole() };
    assert_eq!(packed(&root.path().join("set"), &only).unwrap().card().kind, Kind::Images);
}

#[test]
fn options_of_other_kinds_are_refused() {
    let (_root, path) = folder(&cut(&demos(&[3, 4], 2), 2));
    let refused = |options: Options, option: &str| {
        let error = packed(&path, &options).unwrap_err();
        assert_eq!(error.option(), Some(option), "{error}");
    };
    refused(Options { size: Some((8, 8)), ..whole() }, "size");
    refused(Options { lines: true, ..whole() }, "lines");
    refused(Options { text_field: Some("x".to_owned()), ..whole() }, "text_field");
    refused(Options { test_files: vec!["a".to_owned()], ..whole() }, "test_files");
    refused(Options { actions: Some(ActionKind::Discrete), ..whole() }, "actions");
    refused(Options { environment: Some(String::new()), ..whole() }, "environment");
    let points = Options { environment: Some("CartPole-v1".to_owned()), ..Options::default() };
    let error = packed("grid".as_ref(), &points).unwrap_err();
    assert!(error.to_string().contains("only experience has it"), "{error}");
}

#[test]
fn actions_that_may_be_either_are_to_be_named() {
    // Choices that are stored as floating-point numbers.
    let choices = demos(&[3, 4], 0);
    let mut arrays = cut(&choices, 0);
    let values = choices.iter().flat_map(|demo| demo.actions.clone());
    arrays[1].1 = npy("<f4", &[7, 1], &floats(values));
    let (_root, path) = folder(&arrays);
    let error = packed(&path, &whole()).unwrap_err();
    assert!(matches!(error, Error::UnclearActions { .. }), "{error}");
    assert_eq!((error.option(), told(&error).contains("discrete or continuous")), (Some("actions"), true));
    let as_kind = |kind| packed(&path, &Options { actions: Some(kind), ..whole() }).unwrap();
    let (discrete, continuous) = (as_kind(ActionKind::Discrete), as_kind(ActionKind::Continuous));
    assert_eq!(facts(&discrete).actions, ActionsCard::Discrete { choices: 3 });
    assert_eq!(facts(&continuous).actions, ActionsCard::Continuous { dims: 1 });
    assert_ne!(discrete.card().fingerprint, continuous.card().fingerprint);
    // Several whole numbers.
    let mut arrays = cut(&choices, 0);
    arrays[1].1 = npy("<i8", &[7, 2], &wholes(0..14));
    let (_root, path) = folder(&arrays);
    let error = packed(&path, &whole()).unwrap_err().to_string();
    assert!(error.contains("each is 2 whole numbers"), "{error}");
}

#[test]
fn what_is_wrong_with_one_episode_is_named_and_the_others_are_kept() {
    let mut demos = demos(&[3, 4, 2, 5, 1], 0);
    demos[1].observations[4] = f32::NAN;
    demos[2].rewards[0] = f32::INFINITY;
    demos[3].actions[1] = -1.0;
    let (_root, path) = folder(&cut(&demos, 0));
    let dataset = packed(&path, &whole()).unwrap();
    assert_eq!(train(&dataset), [demos[0].clone(), demos[4].clone()]);
    assert_eq!(
        skipped(&dataset),
        [
            "episode 1: a number of its observations is NaN",
            "episode 2: a number of its rewards is infinite, or too large for an f32",
            "episode 3: one of its actions is -1, and choices are whole numbers from 0 to 2",
        ]
    );
    // An episode without a transition.
    let mut arrays = cut(&demos::demos(&[3, 4], 2), 2);
    arrays[0].1 = npy("<f4", &[10, OBSERVATION], &floats((0..30).map(|v| v as f32)));
    arrays[3].1 = npy("<i8", &[2], &wholes([3, 3]));
    arrays[4].1 = npy("|b1", &[3], &[0, 0, 1]);
    let (_root, path) = folder(&arrays);
    let dataset = packed(&path, &whole()).unwrap();
    assert_eq!(
        (train(&dataset).len(), skipped(&dataset)),
        (2, vec!["episode 1: it has no transition".to_owned()])
    );
    // Lines that cannot be read.
    let good = episode_lines(&demos::demos(&[2, 3], 2), 2);
    let bad = "{\"observations\": [[1, 2, 3], [1, 2, 3]], \"actions\": [[1, NaN]]}\nnot JSON\n{\"a\": 1}\n";
    let (_root, path) = file("a.jsonl", format!("{good}{bad}").as_bytes());
    let dataset = packed(&path, &whole()).unwrap();
    let reasons = skipped(&dataset);
    assert_eq!((train(&dataset).len(), reasons.len()), (2, 3), "{reasons:?}");
    assert!(reasons[0].starts_with("a.jsonl:3: expected"), "{reasons:?}");
    assert!(reasons[2].starts_with("a.jsonl:5: it has no observation or no action"), "{reasons:?}");
    // All of them.
    let (_root, path) = file("a.jsonl", b"{\"obs\": [[1], [2, 3]], \"acts\": [1]}\n");
    let error = packed(&path, &whole()).unwrap_err();
    assert!(matches!(error, Error::NothingUsable { example: "episode", .. }), "{error}");
    assert!(error.to_string().contains("a.jsonl:1: an observation has 2 numbers"), "{error}");
}

#[test]
fn rewards_may_be_missing() {
    let demos = demos(&[3, 4], 2);
    let mut arrays = cut(&demos, 2);
    arrays.retain(|(name, _)| *name != "rews");
    let (_root, path) = folder(&arrays);
    let dataset = packed(&path, &whole()).unwrap();
    let about = facts(&dataset);
    assert_eq!((about.without_rewards, about.mean_return, about.std_return), (2, None, None));
    assert!(train(&dataset).iter().all(|demo| demo.rewards.is_empty()));
    assert!(preview(&dataset, Split::Train, 4).is_ok());
    // Of one of two.
    let lines = episode_lines(&demos, 2).replacen("\"rewards\"", "\"points\"", 1);
    let (_root, path) = file("a.jsonl", lines.as_bytes());
    let dataset = packed(&path, &whole()).unwrap();
    let about = facts(&dataset);
    assert_eq!((about.without_rewards, about.min_return), (1, about.max_return));
    assert!(about.mean_return.is_some());
}

#[test]
fn an_action_that_led_nowhere_known_is_left_out_and_counted() {
    let demos = demos(&[3, 4], 2);
    let mut arrays = transitions(&demos, 2);
    arrays.retain(|(name, _)| *name != "next_observations");
    let (_root, path) = folder(&arrays);
    let dataset = packed(&path, &whole()).unwrap();
    let found = train(&dataset);
    assert_eq!([found[0].rewards.len(), found[1].rewards.len()], [2, 3]);
    assert_eq!(found[0].observations, demos[0].observations[..3 * OBSERVATION]);
    assert!(!found[1].terminated);
    assert!(notes(&dataset).contains("after the last action of 2 episodes"), "{}", notes(&dataset));
}

#[test]
fn flags_end_episodes_of_one_length_early() {
    let demos = demos(&[4, 4, 4], 2);
    let mut arrays = even(&demos, 2);
    arrays[3].1 = npy("|b1", &[3, 4], &[0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
    let (_root, path) = folder(&arrays);
    let found = train(&packed(&path, &whole()).unwrap());
    let lengths: Vec<_> = found.iter().map(|demo| (demo.rewards.len(), demo.terminated)).collect();
    assert_eq!(lengths, [(2, true), (4, true), (4, false)]);
    assert_eq!(found[0].observations, demos[0].observations[..3 * OBSERVATION]);
    assert_eq!(found[1].observations, demos[1].observations);
    // Of whole episodes one flag is enough.
    let mut arrays = even(&demos, 2);
    arrays.push(("truncated", npy("|b1", &[3], &[1, 0, 1])));
    let (_root, path) = folder(&arrays);
    assert_eq!(train(&packed(&path, &whole()).unwrap()), demos);
}

#[test]
fn arrays_that_do_not_fit_together_are_errors_with_their_names() {
    let demos = demos(&[4, 4], 2);
    let says = |arrays: &Arrays, parts: &[&str]| {
        let (_root, path) = folder(arrays);
        let error = packed(&path, &whole()).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error}");
        parts.iter().for_each(|part| assert!(told(&error).contains(part), "{}", told(&error)));
    };
    let change = |arrays: &Arrays, name: &str, bytes: Vec<u8>| -> Arrays {
        arrays.iter().map(|(n, b)| (*n, if *n == name { bytes.clone() } else { b.clone() })).collect()
    };
    let (even, cut, flat) = (even(&demos, 2), cut(&demos, 2), transitions(&demos, 2));
    let zeros = |shape: &[usize]| npy("<f4", shape, &vec![0; 4 * shape.iter().product::<usize>()]);
    says(&change(&even, "actions", zeros(&[2, 3, 2])), &["actions.npy", "[2, 3, 2]", "5 observations"]);
    says(&change(&even, "actions", zeros(&[3, 4, 2])), &["actions.npy", "[2, 5, 3]"]);
    says(&change(&even, "rewards", zeros(&[2, 5])), &["rewards.npy", "[2, 5]", "[2, 4, 2]"]);
    says(&change(&even, "rewards", zeros(&[2])), &["rewards.npy", "[2]"]);
    says(&change(&even, "rewards", zeros(&[2, 4, 2])), &["rewards.npy", "2 numbers for each action"]);
    says(&change(&even, "observations", zeros(&[2, 5, 2, 2])), &["observations.npy", "[episodes, steps + 1"]);
    says(&change(&cut, "obs", zeros(&[9, 3])), &["obs.npy", "8 actions in 2 episodes go with 10"]);
    says(&change(&cut, "indices", npy("<i8", &[1], &wholes([9]))), &["indices.npy", "cuts at 9"]);
    says(&change(&cut, "indices", zeros(&[1])), &["indices.npy", "whole numbers"]);
    says(&change(&flat, "terminals", zeros(&[7])), &["terminals.npy", "[7]"]);
    let unflagged: Arrays =
        flat.iter().filter(|(n, _)| !["terminals", "timeouts"].contains(n)).cloned().collect();
    says(&unflagged, &["nothing says where episodes end", "indices"]);
    says(&change(&even, "rewards", npy("|O", &[2, 4], &[0; 64])), &["rewards.npy", "type |O"]);
    let mut fortran = npy("<f4", &[2, 4], &[0; 32]);
    let at = fortran.windows(5).position(|word| word == b"False").unwrap();
    fortran[at..at + 5].copy_from_slice(b"True ");
    says(&change(&even, "rewards", fortran), &["rewards.npy", "Fortran"]);
    says(&change(&even, "rewards", npy("<f4", &[2, 4], &[0; 30])), &["rewards.npy", "30 bytes"]);
}

#[test]
fn headers_that_promise_the_moon_take_no_memory() {
    let demos = demos(&[4, 4], 2);
    let huge = |shape: &[usize]| npy("<f4", shape, &[0; 64]);
    for shape in [&[1 << 40, 1 << 40, 8][..], &[2, 5, 1 << 60], &[usize::MAX, 2, 3], &[0, 1 << 40, 1 << 40]] {
        for array in ["observations", "actions", "rewards"] {
            let arrays: Arrays = even(&demos, 2)
                .into_iter()
                .map(|(name, bytes)| (name, if name == array { huge(shape) } else { bytes }))
                .collect();
            let (_root, path) = folder(&arrays);
            let error = packed(&path, &whole()).unwrap_err();
            assert!(told(&error).contains(array), "{}", told(&error));
            let (_root, path) = file("a.npz", &npz(&arrays));
            assert!(told(&packed(&path, &whole()).unwrap_err()).contains("a.npz"));
        }
    }
    // One episode that is longer than the memory for it: millions of zeros in a small archive.
    let steps = 400_000;
    let arrays: Arrays = vec![
        ("observations", npy("|u1", &[1, steps + 1, 2], &vec![0; 2 * steps + 2])),
        ("actions", npy("|u1", &[1, steps], &vec![0; steps])),
    ];
    let bytes = npz(&arrays);
    assert!(bytes.len() < 100_000);
    let (_root, path) = file("a.npz", &bytes);
    let limits = Limits { max_memory: 16 << 20, ..Limits::default() };
    let error = packed(&path, &Options { limits, ..whole() }).unwrap_err();
    assert!(told(&error).contains("memory for one episode"), "{}", told(&error));
    let long = format!("{{\"obs\": [[{}0]], \"acts\": [0]}}\n", "0,".repeat(200_000));
    let (_root, path) = file("a.jsonl", long.as_bytes());
    let error = packed(&path, &Options { limits, ..whole() }).unwrap_err();
    assert!(told(&error).contains("line 1 is longer"), "{}", told(&error));
    assert_eq!(error.option(), Some("max_memory"));
}

#[test]
fn a_bit_flipped_in_an_archive_is_never_taken_for_data() {
    let arrays = cut(&demos(&[40, 50], 2), 2);
    let whole_file = npz(&arrays);
    let (root, path) = file("a.npz", &whole_file);
    let right = packed(&path, &whole()).unwrap().card().fingerprint.clone();
    for at in (40..whole_file.len()).step_by(61) {
        let mut bytes = whole_file.clone();
        bytes[at] ^= 4;
        write(root.path(), "a.npz", &bytes);
        if let Ok(dataset) = packed(&path, &of_kind()) {
            // A name or a time of the archive, which are not covered, or the name of an array that is not needed.
            let card = dataset.card();
            let same = card.fingerprint == right
                || facts(&dataset).without_rewards > 0
                || facts(&dataset).terminated == 0;
            assert!(same, "byte {at}");
        }
    }
}

fn writer() -> ExperienceWriter {
    ExperienceWriter {
        environment: Some("Pendulum-v1".to_owned()),
        sources: vec!["ppo, 100 steps".to_owned()],
        ..ExperienceWriter::new(OBSERVATION, ActionsCard::Continuous { dims: 2 })
    }
}

#[test]
fn recorded_episodes_are_those_that_are_read_back() {
    let demos = demos(&[5, 3, 9, 1], 2);
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("set");
    let episodes = || demos.iter().cloned().map(Ok::<_, Error>);
    let report = write_experience(&out, &writer(), episodes()).unwrap();
    assert_eq!((report.progress.done, &report.folder), (4, &out));
    let dataset = Dataset::open(&out).unwrap();
    dataset.verify().unwrap();
    assert_eq!(train(&dataset), demos);
    let card = dataset.card();
    assert_eq!((card, card.name.as_str(), &card.sources[0][..]), (&report.card, "set", "ppo, 100 steps"));
    assert_eq!(facts(&dataset).environment.as_deref(), Some("Pendulum-v1"));
    // The same as from files.
    let (_root, path) = folder(&cut(&demos, 2));
    assert_eq!(packed(&path, &whole()).unwrap().card().fingerprint, card.fingerprint);
    assert!(matches!(write_experience(&out, &writer(), episodes()), Err(Error::OutputExists { .. })));
    assert_eq!(train(&Dataset::open(&out).unwrap()), demos, "it is as it was");
    assert!(matches!(
        collect(&out, &root.path().join("b"), &whole(), &|_| ()),
        Err(Error::AlreadyPacked { .. })
    ));
}

#[test]
fn what_cannot_be_recorded_leaves_nothing_behind() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("set");
    let demos = demos(&[5, 3], 2);
    let attempt = |episodes: Vec<Result<Episode, Error>>, writer: &ExperienceWriter| {
        let error = write_experience(&out, writer, episodes).unwrap_err();
        assert!(std::fs::read_dir(root.path()).unwrap().next().is_none(), "nothing is left");
        error
    };
    let failed = Err(Error::NotFound { path: "the environment".into() });
    assert!(matches!(attempt(vec![Ok(demos[0].clone()), failed], &writer()), Error::NotFound { .. }));
    assert!(matches!(attempt(vec![], &writer()), Error::NoEpisodes { .. }));
    let mut bad = demos[1].clone();
    bad.rewards[0] = f32::NAN;
    let error = attempt(vec![Ok(demos[0].clone()), Ok(bad)], &writer());
    assert!(matches!(error, Error::BadEpisode { episode: 1, .. }), "{error}");
    assert!(error.to_string().contains("rewards is NaN"), "{error}");
    let discrete = ExperienceWriter::new(OBSERVATION, ActionsCard::Discrete { choices: 2 });
    let error = attempt(vec![Ok(demos::demos(&[4], 0)[0].clone())], &discrete);
    assert!(error.to_string().contains("one of its actions is 2, and there are 2 choices"), "{error}");
    let held = ExperienceWriter { holdout: 1.5, ..writer() };
    assert_eq!(attempt(vec![Ok(demos[0].clone())], &held).option(), Some("holdout"));
}

#[test]
#[should_panic(expected = "an episode of 18 numbers of observations, 10 of actions and 5 rewards")]
fn an_episode_of_wrong_sizes_is_a_bug() {
    let root = tempfile::tempdir().unwrap();
    let wrong = ExperienceWriter::new(4, ActionsCard::Continuous { dims: 2 });
    let _ =
        write_experience(&root.path().join("set"), &wrong, demos(&[5], 2).into_iter().map(Ok::<_, Error>));
}

/// Writes a card back after a change.
fn changed(out: &Path, change: impl Fn(&mut Card)) -> Error {
    let path = out.join("dataset.json");
    let before = std::fs::read(&path).unwrap();
    let mut card: Card = serde_json::from_slice(&before).unwrap();
    change(&mut card);
    std::fs::write(&path, serde_json::to_vec(&card).unwrap()).unwrap();
    let error = Dataset::open(out).and_then(|set| set.verify()).unwrap_err();
    std::fs::write(&path, before).unwrap();
    error
}

#[test]
fn a_packed_data_set_that_was_changed_is_noticed() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("set");
    let discrete = ExperienceWriter::new(OBSERVATION, ActionsCard::Discrete { choices: 3 });
    write_experience(&out, &discrete, demos(&[5, 3], 0).into_iter().map(Ok::<_, Error>)).unwrap();
    let corrupt = |change: &dyn Fn(&mut Card)| {
        let error = changed(&out, change);
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    };
    corrupt(&|card| card.experience = None);
    corrupt(&|card| card.shape = vec![4]);
    corrupt(&|card| {
        card.shape = vec![4];
        card.experience.as_mut().unwrap().observation = 4;
    });
    corrupt(&|card| card.experience.as_mut().unwrap().actions = ActionsCard::Discrete { choices: 2 });
    corrupt(&|card| card.experience.as_mut().unwrap().actions = ActionsCard::Discrete { choices: 0 });
    corrupt(&|card| card.experience.as_mut().unwrap().actions = ActionsCard::Discrete { choices: 1 << 30 });
    corrupt(&|card| card.experience.as_mut().unwrap().actions = ActionsCard::Continuous { dims: usize::MAX });
    corrupt(&|card| {
        card.splits[0].elements = u64::MAX;
        card.splits[0].shards[0].elements = u64::MAX;
    });
    corrupt(&|card| card.splits[0].elements = 0);
    corrupt(&|card| {
        card.splits[0].count = 20;
        card.splits[0].shards[0].count = 20;
    });
    let other = changed(&out, |card| {
        card.experience.as_mut().unwrap().actions = ActionsCard::Continuous { dims: 1 };
    });
    assert!(matches!(other, Error::FingerprintMismatch { .. }), "{other}");
    // Every bit of a shard counts, or is refused.
    let shard = out.join("train-00000.safetensors");
    let before = std::fs::read(&shard).unwrap();
    for at in 1024..before.len() {
        let mut bytes = before.clone();
        bytes[at] ^= 1;
        std::fs::write(&shard, bytes).unwrap();
        assert!(Dataset::open(&out).and_then(|set| set.verify()).is_err(), "byte {at}");
    }
}

/// A folder of the shared demonstrations; a test passes by where it is not there, and says so.
fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/demos").join(name);
    if !path.is_dir() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

#[test]
fn published_demonstrations_are_read_as_they_are() {
    let continuous = |dims| ActionsCard::Continuous { dims };
    let sets = [
        // Folder, observation, actions, episodes, transitions, returns by the README of the data.
        ("ant", 27, continuous(8), 2, 2000, Some([4651.0, 4713.0])),
        ("half_cheetah", 17, continuous(6), 2, 2000, Some([4002.0, 4068.0])),
        ("hopper", 11, continuous(3), 2, 2000, Some([3717.0, 3718.0])),
        ("walker2d", 17, continuous(6), 2, 2000, Some([5329.0, 5437.0])),
        ("cartpole", 4, ActionsCard::Discrete { choices: 2 }, 57, 26_964, None),
        ("pendulum", 3, continuous(1), 56, 11_200, None),
    ];
    for (name, observation, actions, episodes, transitions, returns) in sets {
        let Some(path) = shared(name) else { return };
        let dataset = packed(&path, &whole()).unwrap();
        let found = dataset.require_episodes(Split::Train).unwrap();
        assert_eq!((found.observation(), found.actions()), (observation, actions), "{name}");
        assert_eq!((found.len(), found.transitions()), (episodes, transitions), "{name}");
        let about = facts(&dataset);
        if let Some([low, high]) = returns {
            assert!((about.min_return.unwrap() - low).abs() < 1.0, "{name}: {about:?}");
            assert!((about.max_return.unwrap() - high).abs() < 1.0, "{name}: {about:?}");
            assert_eq!((about.min_length, about.max_length), (1000, 1000));
        }
        assert!(found.iter().all(|episode| {
            episode.observations.len() == (episode.transitions + 1) * observation
                && episode.actions.len() == episode.transitions * actions.width()
        }));
    }
    let Some(path) = shared("cartpole") else { return };
    let dataset = packed(&path, &Options::default()).unwrap();
    let about = facts(&dataset);
    assert!((about.mean_return.unwrap() - 473.0).abs() < 1.0 && about.terminated == 57, "{about:?}");
    assert!((1..20).contains(&dataset.card().count(Split::Validation)));
    let Some(path) = shared("pendulum") else { return };
    let dataset = packed(&path, &Options::default()).unwrap();
    assert!((dataset.card().experience.as_ref().unwrap().mean_return.unwrap() + 189.0).abs() < 1.0);
}
