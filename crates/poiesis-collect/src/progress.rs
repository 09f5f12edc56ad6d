//! Progress of collecting, for display.

/// How far collecting has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Examples written.
    pub done: u64,
    /// Files skipped.
    pub skipped: u64,
    /// Bytes of the source that were decoded.
    pub bytes: u64,
    /// How many examples there are, skipped ones included, when that is known before the end.
    pub total: Option<u64>,
}
