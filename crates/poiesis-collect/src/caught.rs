//! Panics of other crates' decoders, which are caught and become errors.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Runs code of others; `None` when it panics. The state it has worked on must not be used then.
pub(crate) fn caught<T>(run: impl FnOnce() -> T) -> Option<T> {
    DEPTH.set(DEPTH.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(run));
    DEPTH.set(DEPTH.get() - 1);
    result.ok()
}

/// Whether a panic on this thread would be caught here and become an error, so that a panic hook need not report it.
pub fn panics_are_caught() -> bool {
    DEPTH.get() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_expected_only_within() {
        assert!(!panics_are_caught());
        assert_eq!(caught(|| caught(panics_are_caught)), Some(Some(true)));
        assert_eq!(caught(|| -> u8 { panic!("of a decoder") }), None);
        assert!(!panics_are_caught());
    }
}
