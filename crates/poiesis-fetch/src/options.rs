//! How sets are fetched.

use std::path::PathBuf;
use std::time::Duration;

use crate::address::Place;

/// How sets are fetched.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the files are, in place of the published addresses.
    pub from: Option<Place>,
    /// Fetch files that are there already, and replace them.
    pub again: bool,
    /// How long an address may be silent: while a connection is made, before it answers, and between two parts of a file.
    pub timeout: Duration,
    /// How often an address that failed is tried again before the next one. Each part of the file that comes starts the count anew.
    pub retries: u32,
    /// The wait before the first of these; each further one is twice as long, up to half a minute.
    pub pause: Duration,
    /// The proxies to go through.
    pub proxies: Proxies,
    /// A file of certificates in PEM to trust, in place of the built-in ones.
    pub certificates: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            from: None,
            again: false,
            timeout: Duration::from_secs(30),
            retries: 4,
            pause: Duration::from_secs(1),
            proxies: Proxies::default(),
            certificates: None,
        }
    }
}

/// The proxies to go through, as `http://HOST:PORT`, with `USER:PASSWORD@` before the host if need be.
#[derive(Clone, Debug, Default)]
pub struct Proxies {
    /// That for https addresses.
    pub https: Option<String>,
    /// That for http addresses.
    pub http: Option<String>,
    /// Hosts that are reached without one, as `NO_PROXY` lists them: names, which stand for what is below them too, `*.example.com` or
    /// `*` for all.
    pub except: Vec<String>,
}
