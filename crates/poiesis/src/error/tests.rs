//! Messages, hints and the nearest names.

use std::error::Error as _;
use std::path::Path;

use super::*;

#[test]
fn nearest_forgives_small_mistakes_only() {
    let models = ["dcgan", "vae", "pixelcnn", "optimizer.learning_rate", "optimizer.name"];
    assert_eq!(nearest("dcgn", &models), Some("dcgan"));
    assert_eq!(nearest("DC-GAN", &models), Some("dcgan"));
    assert_eq!(nearest("vea", &models), Some("vae"));
    assert_eq!(nearest("learning-rte", &models), Some("optimizer.learning_rate"));
    assert_eq!(nearest("optimiser.learning_rate", &models), Some("optimizer.learning_rate"));
    assert_eq!(nearest("diffusion", &models), None);
    assert_eq!(nearest("x", &[]), None);
}

#[test]
fn a_message_names_the_file_and_the_reason_and_a_hint_the_remedy() {
    let said = |error: &Error| (error.to_string(), error.hint().unwrap_or_default());
    let full = Error::io("write", Path::new("runs/a/model.safetensors"))(io::ErrorKind::StorageFull.into());
    assert_eq!(
        said(&full),
        (
            "cannot write runs/a/model.safetensors: no storage space".into(),
            "free some space on that disk, then run the same command again".into()
        )
    );
    assert!(full.source().is_none(), "the reason is in the message, so a chain must not repeat it");
    assert_eq!(Error::io("read", Path::new("a"))(io::ErrorKind::Interrupted.into()).hint(), None);
    assert_eq!(
        said(&Error::unknown("model", "dcgn", ["dcgan", "vae"])),
        ("there is no model called `dcgn`".into(), "did you mean `dcgan`?".into())
    );
    assert_eq!(
        said(&Error::unknown("device", "metal", ["cpu", "cuda"])),
        ("there is no device called `metal`".into(), "choose one of cpu, cuda".into())
    );
    assert_eq!(Error::unknown("class", "3", []).hint(), None);
    let differs = Error::ConfigDiffers {
        run: "runs/a".into(),
        differences: vec![
            ("batch".into(), "64".into(), "32".into()),
            ("seed".into(), "1".into(), "2".into()),
        ],
    };
    assert_eq!(
        said(&differs).0,
        "runs/a was started with another configuration (batch is 64 there and 32 here, \
         seed is 1 there and 2 here)"
    );
    let memory = Error::OutOfMemory {
        key: "train.batch_size".into(),
        value: "9".into(),
        needed: 34_560_000_000,
        available: 999,
        remedy: "lower batch".into(),
    };
    assert_eq!(
        said(&memory),
        (
            "`train.batch_size` = 9 is too much for this machine: 34.6 GB of memory would be needed and 999 B are \
             available"
                .into(),
            "lower batch".into()
        )
    );
}

#[test]
fn a_configuration_error_shows_the_line() {
    let source = toml::from_str::<toml::Table>("steps = 3\nbatch = = 2").unwrap_err();
    let message = Error::Config { path: "a.toml".into(), source: Box::new(source) }.to_string();
    assert!(message.starts_with("a.toml is not a valid configuration\n"), "{message}");
    assert!(message.contains("line 2"), "{message}");
}
