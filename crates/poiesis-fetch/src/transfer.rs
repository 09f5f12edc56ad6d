//! One file from the first address that has it.

use std::fs;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::ops::ControlFlow;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::error::{Error, Fault, Result};
use crate::event::Event;
use crate::options::Options;
use crate::part::Part;
use crate::published::File;
use crate::web::{Opened, Web};

/// The longest wait between two tries of an address.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How often the caller is asked during a wait whether to continue.
const TICK: Duration = Duration::from_millis(100);

/// Tells the caller of an event; `Break` ends the call.
pub(crate) type Watch<'a> = dyn FnMut(Event<'_>) -> ControlFlow<()> + 'a;

/// What is known of a file before it comes.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// The file that it is, or that is made of it.
    pub(crate) file: &'a File,
    /// Its size, where that is known.
    pub(crate) bytes: Option<u64>,
    /// Most bytes that are taken.
    pub(crate) limit: u64,
    /// Its sha256, where that is known.
    pub(crate) sha256: Option<&'a str>,
}

/// How a file came.
pub(crate) struct Came {
    /// Whether some of it was there before, perhaps from elsewhere.
    pub(crate) resumed: bool,
}

/// Why the transfer of a file from one address ended.
pub(crate) enum End {
    /// The address is at fault: the next one may do.
    Fault(Fault),
    /// This machine is, or the caller has ended it.
    Error(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> End {
        End::Error(error)
    }
}

impl From<Fault> for End {
    fn from(fault: Fault) -> End {
        End::Fault(fault)
    }
}

/// Transfers files, with connections that are made when the first is needed.
pub(crate) struct Transfers<'a> {
    options: &'a Options,
    web: Option<Web>,
}

impl<'a> Transfers<'a> {
    pub(crate) fn new(options: &'a Options) -> Transfers<'a> {
        Transfers { options, web: None }
    }

    /// Brings a file from an address into a part, which may hold its beginning. Faults that may pass are waited for, and a file that was
    /// continued and has come out wrong is fetched once from its beginning.
    pub(crate) fn bring(
        &mut self,
        wanted: Wanted<'_>,
        address: &Address,
        part: &mut Part,
        watch: &mut Watch<'_>,
    ) -> Result<Came, End> {
        let mut failures = 0;
        let mut anew = false;
        loop {
            let before = part.len();
            let fault = match self.attempt(wanted, address, part, watch) {
                Ok(came) => match wrong(wanted, part) {
                    None => return Ok(came),
                    Some(fault) => {
                        part.clear()?;
                        if !came.resumed || anew {
                            return Err(fault.into());
                        }
                        // The beginning was that of another file.
                        anew = true;
                        continue;
                    }
                },
                Err(End::Fault(fault)) => fault,
                Err(error) => return Err(error),
            };
            failures = if part.len() > before { 1 } else { failures + 1 };
            if !fault.may_pass() || failures > self.options.retries {
                return Err(fault.into());
            }
            self.pause(wanted.file, address, &fault, failures, part, watch)?;
        }
    }

    /// One request, and all that comes of it.
    fn attempt(
        &mut self,
        wanted: Wanted<'_>,
        address: &Address,
        part: &mut Part,
        watch: &mut Watch<'_>,
    ) -> Result<Came, End> {
        let kept = part.len();
        if wanted.bytes == Some(kept) {
            return Ok(Came { resumed: true });
        }
        let from = if kept > wanted.limit { 0 } else { kept };
        let Opened { mut reader, from, total } = self.open(address, from)?;
        if let (Some(got), Some(expected)) = (total, wanted.bytes)
            && got != expected
        {
            return Err(Fault::WrongSize { got, expected }.into());
        }
        if let Some(got) = total
            && got > wanted.limit
        {
            return Err(Fault::TooLarge { limit: wanted.limit }.into());
        }
        if from == 0 && part.len() > 0 {
            part.clear()?;
        }
        let (file, total) = (wanted.file, total.or(wanted.bytes));
        tell(watch, file, part, Event::Begins { file, address: &address.to_string(), kept: from })?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = match reader.read(&mut buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.reading(address, error).into()),
            };
            if read == 0 {
                break;
            }
            if part.len() + read as u64 > wanted.limit {
                part.clear()?;
                return Err(Fault::TooLarge { limit: wanted.limit }.into());
            }
            part.append(&buffer[..read])?;
            tell(watch, file, part, Event::Progress { file, done: part.len(), total })?;
        }
        match total {
            Some(expected) if part.len() < expected => {
                Err(Fault::EndsEarly { got: part.len(), expected }.into())
            }
            _ => Ok(Came { resumed: from > 0 }),
        }
    }

    fn open(&mut self, address: &Address, from: u64) -> Result<Opened, End> {
        match address {
            Address::File(path) => open_file(path, from).map_err(End::Fault),
            Address::Web(address) => {
                let web = match &mut self.web {
                    Some(web) => web,
                    none => none.insert(Web::new(self.options)?),
                };
                web.open(address, from).map_err(End::Fault)
            }
        }
    }

    fn reading(&self, address: &Address, error: io::Error) -> Fault {
        match (address, &self.web) {
            (Address::Web(_), Some(web)) => web.reading(error),
            _ => Fault::Unreadable(error),
        }
    }

    fn pause(
        &self,
        file: &File,
        address: &Address,
        fault: &Fault,
        failures: u32,
        part: &Part,
        watch: &mut Watch<'_>,
    ) -> Result<()> {
        let asked = match fault {
            Fault::Status { wait, .. } => *wait,
            _ => None,
        };
        let own = self.options.pause.saturating_mul(1 << (failures - 1).min(16)).min(LONGEST_PAUSE);
        let wait = asked.unwrap_or(own);
        let until = Instant::now() + wait;
        tell(watch, file, part, Event::Again { file, address: &address.to_string(), fault, wait })?;
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            thread::sleep(left.min(TICK));
            tell(watch, file, part, Event::Waiting)?;
        }
        Ok(())
    }
}

/// Tells the caller of an event, and ends the call where it says so.
pub(crate) fn tell(watch: &mut Watch<'_>, file: &File, part: &Part, event: Event<'_>) -> Result<()> {
    match watch(event) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Stopped { file: file.name.clone(), kept: part.len() }),
    }
}

/// What is wrong with a file that has come, if anything is known of it.
fn wrong(wanted: Wanted<'_>, part: &Part) -> Option<Fault> {
    if let Some(expected) = wanted.bytes.filter(|&expected| expected != part.len()) {
        return Some(Fault::WrongSize { got: part.len(), expected });
    }
    let expected = wanted.sha256?;
    let got = part.digest();
    (got != expected).then(|| Fault::WrongChecksum { got, expected: expected.to_owned() })
}

/// A local file, from a byte on.
fn open_file(path: &Path, from: u64) -> Result<Opened, Fault> {
    let fault = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Fault::NotFound,
        _ => Fault::Unreadable(error),
    };
    // Opening a FIFO would wait.
    let found = fs::metadata(path).map_err(fault)?;
    if !found.is_file() {
        return Err(Fault::Unreadable(io::Error::other("it is no file")));
    }
    let mut file = fs::File::open(path).map_err(fault)?;
    let from = if from > found.len() { 0 } else { from };
    file.seek(SeekFrom::Start(from)).map_err(fault)?;
    Ok(Opened { reader: Box::new(file), from, total: Some(found.len()) })
}
