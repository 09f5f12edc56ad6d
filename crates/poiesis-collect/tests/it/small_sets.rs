//! Sets of a few examples: each split has one where two examples differ.

use std::path::Path;

use crate::common::*;
use poiesis_collect::{Options, Split};

#[test]
fn something_is_held_out_of_the_smallest_sets() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path();
    let counts = |folder: &Path, options: &Options| {
        let dataset = packed(folder, options).unwrap();
        let card = dataset.card();
        (card.count(Split::Train), card.count(Split::Validation))
    };
    let make = |ending: &str, seed: u32| match ending {
        "png" => png(8, 8, seed),
        "wav" => wav(8000, 1, 16, &[seed as i32 + 1; 40]),
        _ => format!("text {seed}").into_bytes(),
    };
    for ending in ["png", "wav", "txt"] {
        for set in 0..8_u32 {
            let folder = path.join(format!("{ending}{set}"));
            for i in 0..2 + set % 4 {
                write(&folder, &format!("{i}.{ending}"), &make(ending, set * 10 + i));
            }
            let (train, held) = counts(&folder, &Options::default());
            assert!(train > 0 && held > 0, "{ending} {set}: {train} {held}");
            assert_eq!(train + held, 2 + set as usize % 4);
            let nearly_all = Options { holdout: 0.999_999_9, ..Options::default() };
            assert_eq!(counts(&folder, &nearly_all).0, 1, "{ending} {set}");
            assert_eq!(
                counts(&folder, &Options { holdout: 0.0, ..Options::default() }).1,
                0,
                "nothing was to be held out"
            );
        }
        // Equal examples stay together, and one alone cannot be divided.
        let same = path.join(format!("same-{ending}"));
        (0..3).for_each(|i| write(&same, &format!("{i}.{ending}"), &make(ending, 5)));
        let dataset = packed(&same, &Options::default()).unwrap();
        assert_eq!((dataset.card().count(Split::Train), dataset.card().count(Split::Validation)), (3, 0));
        let notes = &dataset.card().notes;
        assert!(notes.iter().any(|note| note.contains("too few different")), "{notes:?}");
    }
    write(path, "p.csv", b"1,2\n3,4\n");
    assert_eq!(counts(&path.join("p.csv"), &Options::default()), (1, 1));
    write(path, "lines.txt", b"one\nbad\ntwo\n");
    assert_eq!(counts(&path.join("lines.txt"), &Options { lines: true, ..Options::default() }), (2, 1));
    // A text that cannot be used is not what is held out.
    write(path, "mixed/a.txt", b"one");
    write(path, "mixed/b.txt", b"two");
    write(path, "mixed/c.txt", b"three \xff");
    assert_eq!(counts(&path.join("mixed"), &Options::default()), (1, 1));
}
