//! Downloads from a server of the tests' own, on this machine: no test needs a network.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stderr, reason = "what is passed over is named")]

mod archives;
mod faults;
mod killed;
mod places;
mod published;
mod resuming;
mod server;
mod support;
mod whole;
