//! Demonstrations made by code, and the formats in which others save them.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::path::Path;

use parquet::basic::Compression;
use parquet::data_type::{BoolType, DataType, DoubleType, FloatType, Int64Type};
use parquet::file::writer::SerializedRowGroupWriter;
use poiesis_collect::Episode;

use super::{npy, parquet, write};

/// Numbers of an observation.
pub(crate) const OBSERVATION: usize = 3;

/// Episodes of these lengths whose numbers an f32 holds exactly; every second one terminates. Actions have `width` numbers, or are
/// one of three choices if it is 0.
pub(crate) fn demos(lengths: &[usize], width: usize) -> Vec<Episode> {
    let number = |episode: usize, at: usize| ((episode * 31 + at * 7) % 64) as f32 / 8.0 - 4.0;
    let episode = |(i, &length): (usize, &usize)| Episode {
        observations: (0..(length + 1) * OBSERVATION).map(|at| number(i, at)).collect(),
        actions: match width {
            0 => (0..length).map(|at| ((i + at) % 3) as f32).collect(),
            _ => (0..length * width).map(|at| number(i + 5, at)).collect(),
        },
        rewards: (0..length).map(|at| number(i + 9, at)).collect(),
        terminated: i % 2 == 1,
    };
    lengths.iter().enumerate().map(episode).collect()
}

pub(crate) fn floats(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}

pub(crate) fn doubles(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(|value| f64::from(value).to_le_bytes()).collect()
}

pub(crate) fn wholes(values: impl IntoIterator<Item = i64>) -> Vec<u8> {
    values.into_iter().flat_map(i64::to_le_bytes).collect()
}

fn all(demos: &[Episode], part: impl Fn(&Episode) -> &[f32]) -> Vec<f32> {
    demos.iter().flat_map(|demo| part(demo).to_vec()).collect()
}

fn length(demo: &Episode) -> usize {
    demo.rewards.len()
}

/// The array of actions: whole numbers if they are choices.
fn actions(demos: &[Episode], width: usize, shape: &[usize]) -> Vec<u8> {
    let values = all(demos, |demo| &demo.actions);
    match width {
        0 => npy("<i8", shape, &wholes(values.iter().map(|&value| value as i64))),
        _ => npy("<f4", &[shape, &[width]].concat(), &floats(values)),
    }
}

/// Arrays by name, without `.npy`.
pub(crate) type Arrays = Vec<(&'static str, Vec<u8>)>;

/// Episodes of one length.
pub(crate) fn even(demos: &[Episode], width: usize) -> Arrays {
    let (episodes, steps) = (demos.len(), length(&demos[0]));
    let observations = floats(all(demos, |demo| &demo.observations));
    let flags: Vec<u8> = demos.iter().map(|demo| u8::from(demo.terminated)).collect();
    vec![
        ("observations", npy("<f4", &[episodes, steps + 1, OBSERVATION], &observations)),
        ("actions", actions(demos, width, &[episodes, steps])),
        ("rewards", npy("<f8", &[episodes, steps], &doubles(all(demos, |demo| &demo.rewards)))),
        ("terminated", npy("|b1", &[episodes], &flags)),
    ]
}

/// As the package `imitation` saves them.
pub(crate) fn cut(demos: &[Episode], width: usize) -> Arrays {
    let steps: usize = demos.iter().map(length).sum();
    let mut ends: Vec<i64> = Vec::new();
    demos.iter().for_each(|demo| ends.push(ends.last().unwrap_or(&0) + length(demo) as i64));
    ends.pop();
    let flags: Vec<u8> = demos.iter().map(|demo| u8::from(demo.terminated)).collect();
    vec![
        (
            "obs",
            npy("<f4", &[steps + demos.len(), OBSERVATION], &floats(all(demos, |demo| &demo.observations))),
        ),
        ("acts", actions(demos, width, &[steps])),
        ("rews", npy("<f4", &[steps], &floats(all(demos, |demo| &demo.rewards)))),
        ("indices", npy("<i8", &[ends.len()], &wholes(ends))),
        ("terminal", npy("|b1", &[demos.len()], &flags)),
    ]
}

/// Transitions with the observation that each led to, as in D4RL.
pub(crate) fn transitions(demos: &[Episode], width: usize) -> Arrays {
    let steps: usize = demos.iter().map(length).sum();
    let before = |demo: &Episode| demo.observations[..length(demo) * OBSERVATION].to_vec();
    let after = |demo: &Episode| demo.observations[OBSERVATION..].to_vec();
    let flags = |wanted: bool| -> Vec<u8> {
        let of = |demo: &Episode| {
            let (end, is_so) = (length(demo), demo.terminated == wanted);
            (1..=end).map(move |at| u8::from(at == end && is_so))
        };
        demos.iter().flat_map(of).collect()
    };
    vec![
        ("observations", npy("<f4", &[steps, OBSERVATION], &floats(demos.iter().flat_map(before)))),
        ("next_observations", npy("<f4", &[steps, OBSERVATION], &floats(demos.iter().flat_map(after)))),
        ("actions", actions(demos, width, &[steps])),
        ("rewards", npy("<f4", &[steps], &floats(all(demos, |demo| &demo.rewards)))),
        ("terminals", npy("|b1", &[steps], &flags(true))),
        ("timeouts", npy("|b1", &[steps], &flags(false))),
    ]
}

/// Writes arrays as files of a folder.
pub(crate) fn write_arrays(folder: &Path, name: &str, arrays: &Arrays) {
    arrays.iter().for_each(|(array, bytes)| write(folder, &format!("{name}/{array}.npy"), bytes));
}

/// Arrays in one archive.
pub(crate) fn npz(arrays: &Arrays) -> Vec<u8> {
    let named: Vec<(String, &[u8])> =
        arrays.iter().map(|(name, bytes)| (format!("{name}.npy"), &bytes[..])).collect();
    super::zip(&named.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect::<Vec<_>>())
}

/// A table with a row for each transition and a number for each episode.
pub(crate) fn transitions_table(demos: &[Episode], width: usize) -> Vec<u8> {
    let list = |name: &str| {
        format!("required group {name} (LIST) {{ repeated group list {{ required float element; }} }}")
    };
    let action = if width == 0 { "required int64 action;".to_owned() } else { list("action") };
    let schema = format!(
        "message table {{ {} {action} required double reward; required boolean terminated; required int64 episode; {} }}",
        list("observation"),
        list("next_observation")
    );
    let steps: usize = demos.iter().map(length).sum();
    parquet(&schema, None, Compression::SNAPPY, |group| {
        let before = demos.iter().flat_map(|demo| demo.observations[..length(demo) * OBSERVATION].to_vec());
        list_column(group, &before.collect::<Vec<_>>(), OBSERVATION);
        let actions = all(demos, |demo| &demo.actions);
        match width {
            0 => plain::<Int64Type>(group, &actions.iter().map(|&action| action as i64).collect::<Vec<_>>()),
            _ => list_column(group, &actions, width),
        }
        let rewards: Vec<f64> = all(demos, |demo| &demo.rewards).into_iter().map(f64::from).collect();
        plain::<DoubleType>(group, &rewards);
        let last = |demo: &Episode| {
            let (end, terminated) = (length(demo), demo.terminated);
            (1..=end).map(move |at| at == end && terminated)
        };
        plain::<BoolType>(group, &demos.iter().flat_map(last).collect::<Vec<_>>());
        let numbers = demos.iter().enumerate().flat_map(|(i, demo)| vec![i as i64 + 7; length(demo)]);
        plain::<Int64Type>(group, &numbers.collect::<Vec<_>>());
        let after = demos.iter().flat_map(|demo| demo.observations[OBSERVATION..].to_vec());
        let after: Vec<f32> = after.collect();
        assert_eq!(after.len(), steps * OBSERVATION);
        list_column(group, &after, OBSERVATION);
    })
}

fn plain<T: DataType>(group: &mut SerializedRowGroupWriter<'_, &mut Vec<u8>>, values: &[T::T]) {
    super::column::<T>(group, values, None);
}

/// A column of lists of so many numbers.
fn list_column(group: &mut SerializedRowGroupWriter<'_, &mut Vec<u8>>, values: &[f32], each: usize) {
    let repeated: Vec<i16> = (0..values.len()).map(|at| i16::from(at % each != 0)).collect();
    let mut column = group.next_column().expect("memory takes it").expect("the schema has the column");
    let written =
        column.typed::<FloatType>().write_batch(values, Some(&vec![1; values.len()]), Some(&repeated));
    written.expect("memory takes it");
    column.close().expect("memory takes it");
}

/// Numbers as JSON, whole ones as such if they are choices.
fn numbers(values: &[f32], whole: bool) -> String {
    let one = |value: &f32| if whole { format!("{value:.0}") } else { format!("{value:?}") };
    values.iter().map(one).collect::<Vec<_>>().join(",")
}

fn lists(values: &[f32], each: usize) -> String {
    let rows: Vec<String> = values.chunks(each).map(|row| format!("[{}]", numbers(row, false))).collect();
    format!("[{}]", rows.join(","))
}

/// A record for each episode.
pub(crate) fn episode_lines(demos: &[Episode], width: usize) -> String {
    let line = |demo: &Episode| {
        let actions = match width {
            0 => format!("[{}]", numbers(&demo.actions, true)),
            _ => lists(&demo.actions, width),
        };
        format!(
            "{{\"observations\": {}, \"actions\": {actions}, \"rewards\": [{}], \"terminated\": {}}}\n",
            lists(&demo.observations, OBSERVATION),
            numbers(&demo.rewards, false),
            demo.terminated
        )
    };
    demos.iter().map(line).collect()
}

/// A record for each transition, and one without an action at the end of each episode.
pub(crate) fn transition_lines(demos: &[Episode], width: usize) -> String {
    let mut text = String::new();
    for demo in demos {
        let steps = length(demo);
        for (at, observation) in demo.observations.chunks(OBSERVATION).enumerate() {
            let observation = numbers(observation, false);
            if at == steps {
                text.push_str(&format!("{{\"observation\": [{observation}], \"action\": null}}\n"));
                continue;
            }
            let action = match width {
                0 => numbers(&demo.actions[at..=at], true),
                _ => format!("[{}]", numbers(&demo.actions[at * width..(at + 1) * width], false)),
            };
            let last = at + 1 == steps;
            text.push_str(&format!(
                "{{\"observation\": [{observation}], \"action\": {action}, \"reward\": {:?}, \"terminated\": {}, \"truncated\": {}}}\n",
                demo.rewards[at],
                last && demo.terminated,
                last && !demo.terminated
            ));
        }
    }
    text
}
