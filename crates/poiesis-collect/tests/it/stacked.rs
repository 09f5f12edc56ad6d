//! Stacked grey images: their channels and classes are those of the images they are made of.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::path::Path;

use poiesis_collect::{Dataset, Error, Options, Split, collect, stack};

fn grey(folder: &Path, channels: u8) -> Dataset {
    let out = folder.join("grey");
    let options =
        Options { count: Some(80), size: Some((6, 7)), channels: Some(channels), ..Options::default() };
    collect(Path::new("shapes"), &out, &options, &|_| ()).unwrap();
    Dataset::open(&out).unwrap()
}

#[test]
fn each_channel_is_an_image_of_the_split_and_the_class_that_of_all_three() {
    let folder = tempfile::tempdir().unwrap();
    let grey = grey(folder.path(), 1);
    let options = Options { count: Some(300), seed: 3, ..Options::default() };
    let [out, again] = ["stacked", "again"].map(|name| folder.path().join(name));
    let card = stack(&grey, &out, &options, &|_| ()).unwrap().card;
    let classes = &grey.card().classes;
    assert_eq!((&card.shape[..], card.classes.len()), (&[6, 7, 3][..], classes.len().pow(3)));
    assert_eq!(card.name, "stacked-shapes");
    let stacked = Dataset::open(&out).unwrap();
    stacked.verify().unwrap();
    assert_eq!(stacked.require(Split::Train).unwrap().len(), 300);
    for split in [Split::Train, Split::Validation] {
        let (view, whole) = (grey.require(split).unwrap(), stacked.require(split).unwrap());
        let labels: HashMap<&[u8], u32> =
            (0..view.len()).map(|i| (view.image(i), view.label(i).unwrap())).collect();
        for i in 0..whole.len() {
            let name = &card.classes[whole.label(i).unwrap() as usize];
            let of_channels: Vec<&str> = (0..3)
                .map(|channel| {
                    let channel: Vec<u8> = whole.image(i).iter().skip(channel).step_by(3).copied().collect();
                    classes[labels[&channel[..]] as usize].as_str()
                })
                .collect();
            assert_eq!(*name, of_channels.join("-"));
        }
    }
    assert_eq!(stack(&grey, &again, &options, &|_| ()).unwrap().card.fingerprint, card.fingerprint);
    let other = Options { seed: 4, ..options };
    let third = folder.path().join("third");
    assert_ne!(stack(&grey, &third, &other, &|_| ()).unwrap().card.fingerprint, card.fingerprint);
}

#[test]
fn images_with_colours_are_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let coloured = grey(folder.path(), 3);
    let out = folder.path().join("stacked");
    let error = stack(&coloured, &out, &Options::default(), &|_| ()).unwrap_err();
    assert!(matches!(error, Error::BadOption { option: "stack", .. }), "{error}");
    assert!(!out.exists());
}
