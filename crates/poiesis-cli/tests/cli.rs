//! Texts: help, lists, dry runs and usage errors, compared with `tests/cmd/`.
//!
//! `TRYCMD=overwrite cargo test -p poiesis-cli --test cli` writes them anew.

#[test]
fn texts_are_as_written_down() {
    trycmd::TestCases::new().env("COLUMNS", "100").case("tests/cmd/*.trycmd");
}
