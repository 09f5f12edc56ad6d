//! Downloads of published data sets, checked and resumable: the only code of Poiesis that opens a connection.
//!
//! [`published()`] lists the sets, which are data in `published.toml`: addresses, sizes, checksums, licences. [`fetch`] brings the files
//! of one into the folder of data sets. Each is written to a file with `.part` at the end of its name, which a later call continues,
//! and gets its own name only when it has the published checksum. The [`Event`]s say what happens; nothing is printed, no environment
//! variable is read, and nothing is fetched unless [`fetch`] is called.

mod address;
mod archive;
mod error;
mod event;
mod fetch;
mod options;
mod part;
mod published;
mod transfer;
mod web;

pub use address::Place;
pub use error::{Error, Fault, Result, Tried};
pub use event::Event;
pub use fetch::{Fetched, FetchedFile, fetch};
pub use options::{Options, Proxies};
pub use published::{Archive, File, Published, State, find, published, read};
