//! Runs and checkpoints as this version and earlier ones write them, and as others leave them behind.

mod checkpoint_kill;
mod edited_files;
mod evaluate;
mod old_runs;
mod python;
mod unlabelled;

/// Limits this process to the instructions with which the old runs were made. Whichever test computes first decides for all tests
/// of this program, so each that trains calls it.
fn compute_as_old_runs() {
    poiesis::device::compute_with("avx2");
}
