//! Runs and checkpoints as this version and earlier ones write them, and as others leave them behind.

mod checkpoint_kill;
mod edited_files;
mod evaluate;
mod old_runs;
