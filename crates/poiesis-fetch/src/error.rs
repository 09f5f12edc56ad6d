//! What can go wrong: errors, which end a call, and faults of single addresses.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// The result of what can fail because of the user, the network or the machine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a set could not be fetched. The message includes what the system said, so [`std::error::Error::source`] is empty.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No address gave a file.
    #[error("{}", no_address(file, tried))]
    NoAddress {
        /// The file, below the folder of data sets.
        file: String,
        /// The addresses in the order in which they were tried.
        tried: Vec<Tried>,
    },

    /// Something else is there under the name of a published file.
    #[error("{} is not the published file: its sha256 is {got}, and not {expected}", path.display())]
    OtherContent {
        /// The file.
        path: PathBuf,
        /// Its sha256.
        got: String,
        /// That of the published file.
        expected: String,
    },

    /// Another process is fetching the same file.
    #[error("another process is fetching {}", path.display())]
    Busy {
        /// Where it writes.
        path: PathBuf,
    },

    /// A file or folder could not be read, written, made or renamed.
    #[error("cannot {doing} {}: {}", path.display(), r#source)]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The verb, such as "write".
        doing: &'static str,
        /// What the system said.
        r#source: io::Error,
    },

    /// An option has a value that cannot be used.
    #[error("{option} cannot be {value}: {reason}")]
    BadOption {
        /// The option: `from`, `proxies` or `certificates`.
        option: &'static str,
        /// The value.
        value: String,
        /// Why.
        reason: String,
    },

    /// The caller ended it. What has come is kept, and a later call continues.
    #[error("stopped after {kept} bytes of {file}")]
    Stopped {
        /// The name of the file that was on its way.
        file: String,
        /// How much of it is kept.
        kept: u64,
    },
}

impl Error {
    /// What can be done about it: one line, without a full stop.
    pub fn hint(&self) -> Option<String> {
        let fixed = match self {
            Error::NoAddress { tried, .. } => return Some(remedy(tried).to_owned()),
            Error::OtherContent { .. } => "move it away, or fetch it again and replace it",
            Error::Busy { .. } => "wait until it is done",
            Error::Stopped { .. } => "fetch it again to continue",
            Error::BadOption { option: "from", .. } => {
                "give a folder, or an address that begins with https://, http:// or file://"
            }
            Error::BadOption { option: "certificates", .. } => {
                "give a file of certificates in PEM, or none to trust the built-in ones"
            }
            Error::BadOption { .. } => "give it as http://HOST:PORT",
            Error::Io { r#source, .. } => match r#source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "make room on the disk, or choose a folder on another one"
                }
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    "choose a folder that you may write to"
                }
                io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                    "move the file away that is in the place of a folder, or choose another folder"
                }
                _ => return None,
            },
        };
        Some(fixed.to_owned())
    }

    pub(crate) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |error| Error::Io { path, doing, r#source: error }
    }
}

/// What helps where no address gave a file.
fn remedy(tried: &[Tried]) -> &'static str {
    let any = |is: fn(&Fault) -> bool| tried.iter().any(|tried| is(&tried.fault));
    if any(|fault| matches!(fault, Fault::Certificate(_))) {
        "where a network puts its own certificate in the place of others, give the file that it is in"
    } else if any(|fault| matches!(fault, Fault::Proxy(_))) {
        "give another proxy, or except the host from it"
    } else if tried.iter().all(|tried| matches!(tried.fault, Fault::Unreachable(_) | Fault::NoHost)) {
        "connect this machine to the network, through a proxy if it has one, or give a folder that has the files"
    } else {
        "try again later, or give another address, or a folder that has the files"
    }
}

/// An address that did not give a file.
#[derive(Debug)]
pub struct Tried {
    /// The address, or the path of a local file.
    pub address: String,
    /// What was wrong with it.
    pub fault: Fault,
}

/// What is wrong with one address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The file is not there.
    #[error("there is no such file")]
    NotFound,
    /// The server answers with a status that is no success.
    #[error("the server answers with status {code}")]
    Status {
        /// The status of HTTP.
        code: u16,
        /// How long the server asks to wait.
        wait: Option<Duration>,
    },
    /// No connection could be made, or it broke.
    #[error("{0}")]
    Unreachable(String),
    /// The name of the host is not known.
    #[error("the name of the host is not known")]
    NoHost,
    /// The proxy refuses.
    #[error("the proxy refuses: {0}")]
    Proxy(String),
    /// The address says nothing.
    #[error("it was silent for {} s", .0.as_secs_f64())]
    Silent(Duration),
    /// It leads to another address again and again.
    #[error("it redirects too often")]
    Redirects,
    /// It leads from https to http.
    #[error("it redirects from https to {0}, which is not secure")]
    Downgrade(String),
    /// The certificate of the host is not to be trusted.
    #[error("its certificate is not trusted ({0})")]
    Certificate(String),
    /// The address or the answer cannot be understood.
    #[error("{0}")]
    Malformed(String),
    /// What comes ends before all is there.
    #[error("it ended after {got} of {expected} bytes")]
    EndsEarly {
        /// Bytes that came.
        got: u64,
        /// Bytes there should be.
        expected: u64,
    },
    /// It is larger or smaller than what was published.
    #[error("it has {got} bytes, and the published file {expected}")]
    WrongSize {
        /// Bytes it has.
        got: u64,
        /// Bytes of the published file.
        expected: u64,
    },
    /// It is larger than what was published.
    #[error("it has more than {limit} bytes")]
    TooLarge {
        /// Most bytes that are taken.
        limit: u64,
    },
    /// It is not what was published.
    #[error("its sha256 is {got}, and that of the published file {expected}")]
    WrongChecksum {
        /// Its sha256.
        got: String,
        /// That of the published file.
        expected: String,
    },
    /// It is an archive that cannot be read.
    #[error("the archive cannot be read ({0})")]
    Archive(String),
    /// A local file cannot be read.
    #[error("{0}")]
    Unreadable(io::Error),
}

impl Fault {
    /// Whether it may pass, so that the same address is worth another try.
    pub fn may_pass(&self) -> bool {
        match self {
            Fault::Unreachable(_) | Fault::Silent(_) | Fault::EndsEarly { .. } => true,
            Fault::Status { code, .. } => *code >= 500 || [408, 425, 429].contains(code),
            _ => false,
        }
    }
}

/// One line for each address, or one line for one.
fn no_address(file: &str, tried: &[Tried]) -> String {
    if let [Tried { address, fault }] = tried {
        return format!("cannot fetch {file} from {address}: {fault}");
    }
    let mut text = format!("cannot fetch {file} from any of {} addresses", tried.len());
    for Tried { address, fault } in tried {
        let _ = write!(text, "\n  {address}: {fault}");
    }
    text
}
