//! The environments against Gymnasium, many at a time, and behind a pipe.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod contract;
mod gymnasium;
#[cfg(unix)]
mod process;
mod vectorized;
