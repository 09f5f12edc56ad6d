//! Saving, reading, damage, retention and concurrent use of checkpoints.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::thread;

use proptest::prelude::*;
use safetensors::SafeTensors;

use super::*;
use crate::error::Error;

fn checkpoint(step: u64) -> Checkpoint {
    let array = |seed: u64, shape: &[usize]| {
        let size: usize = shape.iter().product();
        let data = (0..size).map(|i| ((seed + i as u64) as f32).sin()).collect();
        Array::new(shape.to_vec(), data)
    };
    let arrays = |seed| {
        Arrays::from([
            ("generator/conv.weight".to_owned(), array(seed + step, &[4, 3, 2])),
            ("generator/conv.bias".to_owned(), array(seed + step + 1, &[4])),
            ("logit.scale".to_owned(), array(seed, &[])),
            ("nothing".to_owned(), array(seed, &[0, 5])),
        ])
    };
    Checkpoint {
        model: arrays(1),
        ema: arrays(2),
        train: arrays(3),
        state: State {
            model: "dcgan".into(),
            step,
            scalars: BTreeMap::from([("loss_bits".into(), f64::NAN.to_bits()), ("epoch".into(), u64::MAX)]),
        },
    }
}

fn bytes_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect()
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_was_saved_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let saved = checkpoint(123);
    let path = save(folder.path(), &saved).unwrap();
    assert_eq!(path, folder.path().join("step-000000123"));
    assert_eq!(
        names_in(&path),
        ["COMPLETE", "ema.safetensors", "model.safetensors", "state.json", "train.safetensors"]
    );
    assert_eq!(names_in(folder.path()), ["step-000000123"]);
    assert_eq!(read(&path).unwrap(), saved);
    let found = newest(folder.path()).unwrap();
    assert_eq!((found.content, found.path, found.findings), (saved.clone(), path.clone(), vec![]));
    assert_eq!(read_part(&path, Part::Ema).unwrap(), (saved.state, saved.ema));
}

#[test]
fn the_bytes_depend_on_the_content_alone_and_any_reader_of_safetensors_accepts_them() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = bytes_of(&save(a.path(), &checkpoint(5)).unwrap());
    assert_eq!(first, bytes_of(&save(b.path(), &checkpoint(5)).unwrap()));

    let tensors = SafeTensors::deserialize(&first["model.safetensors"]).unwrap();
    assert_eq!(tensors.tensor("generator/conv.weight").unwrap().shape(), [4, 3, 2]);
    let (_, metadata) = SafeTensors::read_metadata(&first["model.safetensors"]).unwrap();
    let about = metadata.metadata().clone().unwrap();
    assert_eq!(about["poiesis"], r#"{"model":"dcgan","step":5,"part":"model"}"#);
    let header = u64::from_le_bytes(first["model.safetensors"][..8].try_into().unwrap());
    assert_eq!(header % 8, 0, "values must be aligned");
}

#[test]
fn the_newest_complete_one_wins_and_the_others_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(newest(folder.path()), Err(Error::NoCheckpoint { .. })));
    assert!(matches!(newest(&folder.path().join("absent")), Err(Error::NoCheckpoint { .. })));
    for step in [9, 10, 100] {
        save(folder.path(), &checkpoint(step)).unwrap();
    }
    fs::create_dir(folder.path().join("step-000000200.partial")).unwrap();
    fs::create_dir(folder.path().join("step-000000300")).unwrap();
    fs::create_dir(folder.path().join("step-000000001.removed")).unwrap();
    fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    let found = newest(folder.path()).unwrap();
    assert_eq!(found.content.state.step, 100);
    let reasons: Vec<_> = found.findings.iter().map(ToString::to_string).collect();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert!(reasons[0].ends_with("step-000000001.removed: was being removed"), "{}", reasons[0]);
    assert!(reasons[1].ends_with("step-000000200.partial: was never finished"), "{}", reasons[1]);
    assert!(reasons[2].ends_with("step-000000300: has no COMPLETE"), "{}", reasons[2]);

    sweep(folder.path()).unwrap();
    assert_eq!(
        names_in(folder.path()),
        ["notes.txt", "step-000000009", "step-000000010", "step-000000100", "step-000000300"]
    );
}

#[test]
fn a_complete_one_that_was_damaged_is_an_error_that_names_the_older_good_one() {
    type Damage = fn(&Path);
    let damage: [(&str, Damage); 6] = [
        ("model.safetensors has", |file| {
            let bytes = fs::read(file).unwrap();
            fs::write(file, &bytes[..bytes.len() - 1]).unwrap();
        }),
        ("content of train.safetensors has changed", |file| {
            let mut bytes = fs::read(file).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(file, bytes).unwrap();
        }),
        ("ema.safetensors is missing", |file| fs::remove_file(file).unwrap()),
        ("content of state.json has changed", |file| {
            let text = fs::read_to_string(file).unwrap().replace("3", "4");
            fs::write(file, text).unwrap();
        }),
        ("COMPLETE cannot be read", |file| fs::write(file, "").unwrap()),
        ("COMPLETE does not list", |file| fs::write(file, r#"{"format":1,"files":{}}"#).unwrap()),
    ];
    for (reason, damage) in damage {
        let folder = tempfile::tempdir().unwrap();
        let older = save(folder.path(), &checkpoint(2)).unwrap();
        let path = save(folder.path(), &checkpoint(3)).unwrap();
        let file = reason.split(' ').find(|word| word.contains('.') || *word == "COMPLETE").unwrap();
        damage(&path.join(file));
        let error = newest(folder.path()).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(reason), "{message} should say {reason}");
        assert!(message.contains("step-000000003"), "{message}");
        let Error::CheckpointDamaged { older: Some(found), .. } = error else { panic!("{message}") };
        assert_eq!(found, older);
        // The remedy in the message works.
        fs::rename(&path, folder.path().join("damaged")).unwrap();
        assert_eq!(newest(folder.path()).unwrap().content.state.step, 2);
    }
}

#[test]
fn saving_a_step_again_never_loses_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = save(folder.path(), &checkpoint(7)).unwrap();
    let written = fs::metadata(path.join("COMPLETE")).unwrap().modified().unwrap();
    save(folder.path(), &checkpoint(7)).unwrap();
    assert_eq!(fs::metadata(path.join("COMPLETE")).unwrap().modified().unwrap(), written);
    assert_eq!(names_in(folder.path()), ["step-000000007"]);

    let mut other = checkpoint(7);
    other.state.scalars.insert("epoch".into(), 1);
    save(folder.path(), &other).unwrap();
    assert_eq!(read(&path).unwrap(), other);
    assert_eq!(read(&folder.path().join("step-000000007.old-1")).unwrap(), checkpoint(7));
}

#[test]
fn the_last_few_and_every_so_many_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    for step in 1..=12 {
        save(folder.path(), &checkpoint(step)).unwrap();
    }
    let steps = || survey(folder.path()).unwrap().complete.iter().map(|&(step, _)| step).collect::<Vec<_>>();
    assert_eq!(
        prune(folder.path(), Retention { last: 3, every: 4, best: &[] }).unwrap(),
        [1, 2, 3, 5, 6, 7, 9]
    );
    assert_eq!(steps(), [4, 8, 10, 11, 12]);
    assert_eq!(prune(folder.path(), Retention { last: 0, every: 0, best: &[] }).unwrap(), [4, 8, 10, 11]);
    assert_eq!(steps(), [12], "the newest always stays");
    assert_eq!(names_in(folder.path()), ["step-000000012"]);
}

#[test]
fn the_best_is_kept_beside_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    for step in 1..=6 {
        save(folder.path(), &checkpoint(step)).unwrap();
    }
    let keep = |best: &[u64]| prune(folder.path(), Retention { last: 2, every: 0, best }).unwrap();
    assert_eq!(keep(&[2, 3]), [1, 4]);
    assert_eq!(keep(&[2]), [3]);
    assert_eq!(keep(&[6]), [2], "the best is one of the newest now");
    assert_eq!(keep(&[3]), [0; 0], "the best is not there any more");
    assert_eq!(names_in(folder.path()), ["step-000000005", "step-000000006"]);
}

#[test]
fn the_state_of_the_newest_is_read_alone() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), &checkpoint(4)).unwrap();
    let path = save(folder.path(), &checkpoint(5)).unwrap();
    fs::remove_file(path.join("train.safetensors")).unwrap();
    assert_eq!(newest_state(folder.path()).unwrap().content, checkpoint(5).state);
    fs::write(path.join("state.json"), "{}").unwrap();
    assert!(matches!(newest_state(folder.path()), Err(Error::CheckpointDamaged { older: Some(_), .. })));
}

#[test]
fn checkpoints_that_belong_to_no_run_are_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    for step in [0, 10, 20] {
        save(folder.path(), &checkpoint(step)).unwrap();
    }
    set_aside_all_but(folder.path(), Some(0)).unwrap();
    assert_eq!(names_in(folder.path()), ["step-000000000", "step-000000010.old-1", "step-000000020.old-1"]);
    set_aside_all_but(folder.path(), None).unwrap();
    assert!(matches!(newest(folder.path()), Err(Error::NoCheckpoint { .. })));
}

#[test]
fn one_can_read_while_another_trains_and_prunes() {
    let folder = tempfile::tempdir().unwrap();
    save(folder.path(), &checkpoint(1)).unwrap();
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for step in 2..40 {
                save(folder.path(), &checkpoint(step)).unwrap();
                prune(folder.path(), Retention { last: 1, every: 0, best: &[] }).unwrap();
            }
        });
        while !writer.is_finished() {
            let found = newest(folder.path()).unwrap();
            assert_eq!(found.content, checkpoint(found.content.state.step));
        }
    });
}

#[test]
fn a_checkpoint_of_another_model_is_told_apart() {
    let state = checkpoint(1).state;
    assert!(state.expect_model("dcgan", Path::new("a")).is_ok());
    let message = state.expect_model("vae", Path::new("a")).unwrap_err().to_string();
    assert!(message.contains("`dcgan`") && message.contains("`vae`"), "{message}");
}

#[test]
fn a_folder_that_cannot_be_written_leaves_the_last_checkpoint_intact() {
    let folder = tempfile::tempdir().unwrap();
    let path = save(folder.path(), &checkpoint(1)).unwrap();
    let before = bytes_of(&path);
    // A file in place of the temporary folder fails for every user, including root.
    fs::write(folder.path().join("step-000000002.partial"), "in the way").unwrap();
    let error = save(folder.path(), &checkpoint(2)).unwrap_err();
    assert!(error.to_string().contains("step-000000002.partial"), "{error}");
    assert_eq!(bytes_of(&path), before);
    assert_eq!(newest(folder.path()).unwrap().content, checkpoint(1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn every_bit_pattern_survives(
        bits in proptest::collection::vec(any::<u32>(), 0..40),
        name in "[a-z./]{1,20}",
        scalar in any::<u64>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let data: Vec<f32> = bits.iter().map(|&bits| f32::from_bits(bits)).collect();
        let mut saved = checkpoint(1);
        saved.model.insert(name.clone(), Array::new(vec![data.len(), 1], data));
        saved.state.scalars.insert("x".into(), scalar);
        let found = read(&save(folder.path(), &saved).unwrap()).unwrap();
        let back: Vec<u32> = found.model[&name].data.iter().map(|value| value.to_bits()).collect();
        prop_assert_eq!(back, bits);
        prop_assert_eq!(found.state, saved.state);
    }
}
