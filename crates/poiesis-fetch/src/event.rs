//! What a caller hears of while files are fetched.

use std::time::Duration;

use crate::error::Fault;
use crate::published::File;

/// Something that happens while a set is fetched. The caller answers each with whether to continue.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A file is there already, with the published checksum.
    AlreadyThere {
        /// The file.
        file: &'a File,
    },
    /// An address has answered, and the file is on its way.
    Begins {
        /// The file.
        file: &'a File,
        /// The address it comes from.
        address: &'a str,
        /// Bytes that are kept from before.
        kept: u64,
    },
    /// Some of a file has come.
    Progress {
        /// The file.
        file: &'a File,
        /// Bytes of it that are there, with those kept from before.
        done: u64,
        /// Bytes it has; `None` where that is not known before its end.
        total: Option<u64>,
    },
    /// An address failed in a way that may pass, and is tried again after a while.
    Again {
        /// The file.
        file: &'a File,
        /// The address.
        address: &'a str,
        /// What happened.
        fault: &'a Fault,
        /// How long is waited.
        wait: Duration,
    },
    /// The wait goes on; comes several times a second, so that the caller can end it.
    Waiting,
    /// An address does not give the file.
    Failed {
        /// The file.
        file: &'a File,
        /// The address.
        address: &'a str,
        /// Why.
        fault: &'a Fault,
        /// The address that is tried next, if there is one.
        next: Option<&'a str>,
    },
    /// An archive is whole, and its members are taken out.
    Unpacking {
        /// The file that is made of them.
        file: &'a File,
    },
    /// A file is there, with the published checksum.
    Done {
        /// The file.
        file: &'a File,
        /// The address it came from.
        address: &'a str,
    },
}
