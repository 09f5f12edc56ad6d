//! Messages and remedies.

use super::*;

#[test]
fn a_message_has_the_reason_and_the_hint_the_remedy() {
    let error = Error::MixedSizes {
        first: "a.png".to_owned(),
        first_size: (8, 9),
        other: "b.png".to_owned(),
        other_size: (7, 7),
    };
    assert_eq!(error.to_string(), "images differ in size: a.png is 8x9, b.png is 7x7 (width x height)");
    assert_eq!((error.hint().as_deref(), error.option()), (Some("choose one `size` for all"), Some("size")));
    let error = Error::malformed(Path::new("a"), "it is empty");
    assert_eq!((error.hint(), error.option()), (None, None));
    let error = Error::damaged(Path::new("a"), "it ends early", "fetch it again");
    assert_eq!(error.to_string(), "a is damaged: it ends early");
    assert_eq!(error.hint().as_deref(), Some("fetch it again"));
    let error = Error::damaged(Path::new("a"), "its values are of type <f4", "save them as uint8");
    assert_eq!(error.to_string(), "a cannot be used: its values are of type <f4");
    let error = Error::malformed(Path::new("a"), "it does not begin like an IDX file");
    assert_eq!(error.to_string(), "a cannot be used: it does not begin like an IDX file");
}

#[test]
fn space_is_to_be_freed_only_where_it_is_short() {
    let hint = |kind: io::ErrorKind| Error::write(Path::new("a"), kind.into()).hint().unwrap();
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
        assert!(hint(kind).contains("free some"), "{kind}");
    }
    for kind in [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem, io::ErrorKind::Other] {
        assert!(!hint(kind).contains("free"), "{kind}");
    }
    assert!(hint(io::ErrorKind::FileTooLarge).contains("limit"));
    let read = Error::read(Path::new("a"), io::ErrorKind::PermissionDenied.into());
    assert!(read.hint().unwrap().contains("permissions"));
}

#[test]
fn every_option_that_mends_a_skipped_file_has_a_remedy() {
    for option in ["sample_rate", "mono", "max_memory", "text_field", "columns"] {
        assert!(remedy_of(option).is_some_and(|remedy| remedy.contains(&format!("`{option}`"))));
    }
}
