//! Requests of HTTP: one file, from any byte on.

use std::fs;
use std::io::{self, Read};
use std::time::Duration;

use ureq::http::HeaderMap;
use ureq::http::header::{CONTENT_RANGE, RANGE, RETRY_AFTER};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Proxy};

use crate::error::{Error, Fault, Result};
use crate::options::Options;

/// Redirects that are followed.
const REDIRECTS: u32 = 10;

/// The longest wait that a server may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Connections to servers.
pub(crate) struct Web {
    https: Agent,
    http: Agent,
    timeout: Duration,
}

/// A file on its way to us.
pub(crate) struct Opened {
    pub(crate) reader: Box<dyn Read>,
    /// The byte with which it begins.
    pub(crate) from: u64,
    /// Bytes of the whole file, if that is known.
    pub(crate) total: Option<u64>,
}

impl Web {
    /// Prepares connections; none is made.
    pub(crate) fn new(options: &Options) -> Result<Web> {
        let roots = match &options.certificates {
            Some(path) => roots(&path.to_string_lossy(), fs::read(path))?,
            None => RootCerts::WebPki,
        };
        let tls = TlsConfig::builder().root_certs(roots).build();
        let except = &options.proxies.except;
        // A connection that began with https stays with it.
        let agent = |proxy: Option<&String>, https_only: bool| -> Result<Agent> {
            let timeout = Some(options.timeout);
            let config = Agent::config_builder()
                .proxy(proxy.map(|proxy| through(proxy, except)).transpose()?)
                .https_only(https_only)
                .http_status_as_error(false)
                .max_redirects(REDIRECTS)
                .tls_config(tls.clone())
                .user_agent(concat!("poiesis/", env!("CARGO_PKG_VERSION")))
                .accept_encoding("identity")
                .timeout_resolve(timeout)
                .timeout_connect(timeout)
                .timeout_recv_response(timeout)
                .timeout_per_read(timeout)
                .timeout_per_write(timeout);
            Ok(config.build().new_agent())
        };
        Ok(Web {
            https: agent(options.proxies.https.as_ref(), true)?,
            http: agent(options.proxies.http.as_ref(), false)?,
            timeout: options.timeout,
        })
    }

    /// Asks for a file from a byte on. A server that knows no ranges sends all of it.
    pub(crate) fn open(&self, address: &str, from: u64) -> Result<Opened, Fault> {
        let is_https = address.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"));
        let agent = if is_https { &self.https } else { &self.http };
        let mut request = agent.get(address);
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        let mut response = request.call().map_err(|error| self.fault(error))?;
        let range = range(response.headers());
        let (from, total) = match (response.status().as_u16(), range) {
            (200, _) => (0, response.body_mut().content_length()),
            (206, Some((first, total))) if first == from => (from, total),
            (206, _) => {
                return Err(Fault::Malformed("the server sent another range than was asked for".into()));
            }
            // Nothing comes after what is there. What is there may be of another file, so it is fetched from its beginning.
            (416, _) if from > 0 => return self.open(address, 0),
            (404 | 410, _) => return Err(Fault::NotFound),
            (code, _) => return Err(Fault::Status { code, wait: wait(response.headers()) }),
        };
        Ok(Opened { reader: Box::new(response.into_body().into_reader()), from, total })
    }

    /// What is wrong where reading what has been opened fails.
    pub(crate) fn reading(&self, error: io::Error) -> Fault {
        self.fault(error.into())
    }

    fn fault(&self, error: ureq::Error) -> Fault {
        match error {
            ureq::Error::Timeout(_) => Fault::Silent(self.timeout),
            ureq::Error::HostNotFound => Fault::NoHost,
            ureq::Error::TooManyRedirects => Fault::Redirects,
            ureq::Error::RequireHttpsOnly(address) => Fault::Downgrade(address),
            ureq::Error::ConnectProxyFailed(reason) => Fault::Proxy(reason),
            ureq::Error::Rustls(error) => Fault::Certificate(error.to_string()),
            ureq::Error::Tls(reason) => Fault::Certificate(reason.to_owned()),
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
                Fault::Malformed("it is not a valid address".to_owned())
            }
            ureq::Error::RedirectFailed => Fault::Malformed("its redirect leads nowhere".to_owned()),
            ureq::Error::Io(error) => match error.kind() {
                // That is how rustls says what it refuses.
                io::ErrorKind::InvalidData => Fault::Certificate(error.to_string()),
                io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Fault::Silent(self.timeout),
                io::ErrorKind::ConnectionRefused => {
                    Fault::Unreachable("the connection was refused".to_owned())
                }
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe => Fault::Unreachable("the connection broke".to_owned()),
                _ => Fault::Unreachable(format!("there is no connection ({error})")),
            },
            ureq::Error::Protocol(error) => Fault::Unreachable(format!("what it says is not HTTP ({error})")),
            other => Fault::Unreachable(format!("there is no connection ({other})")),
        }
    }
}

/// The first byte of an answer that is a part, and the bytes of the whole, if it says so: `bytes 100-199/200`.
fn range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, total.trim().parse().ok()))
}

/// How long a server asks to wait, where it says so in seconds.
fn wait(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
}

/// The certificates in a file that are to be trusted.
fn roots(name: &str, pem: io::Result<Vec<u8>>) -> Result<RootCerts> {
    let bad = |reason: String| Error::BadOption { option: "certificates", value: name.to_owned(), reason };
    let pem = pem.map_err(|error| bad(format!("it cannot be read ({error})")))?;
    let certificates: Vec<Certificate<'static>> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(bad("it holds no certificate".to_owned()));
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

/// A proxy, and the hosts that are reached without it.
fn through(address: &str, except: &[String]) -> Result<Proxy> {
    let bad = |_| Error::BadOption {
        option: "proxies",
        // Without the password.
        value: address.rsplit_once('@').map_or(address, |(_, host)| host).to_owned(),
        reason: "it is no address of a proxy".to_owned(),
    };
    let given = Proxy::new(address).map_err(bad)?;
    if !["HTTP", "HTTPS"].contains(&given.protocol().to_string().as_str()) {
        return Err(bad(ureq::Error::InvalidProxyUrl));
    }
    let mut proxy = Proxy::builder(given.protocol()).host(given.host()).port(given.port());
    if let Some(name) = given.username() {
        proxy = proxy.username(name);
    }
    if let Some(password) = given.password() {
        proxy = proxy.password(password);
    }
    for host in except.iter().map(|host| host.trim()).filter(|host| !host.is_empty()) {
        proxy = proxy.no_proxy(host);
        // As usual, a name stands for what is below it too.
        if !host.starts_with(['*', '.']) {
            proxy = proxy.no_proxy(&format!(".{host}"));
        }
    }
    proxy.build().map_err(bad)
}
