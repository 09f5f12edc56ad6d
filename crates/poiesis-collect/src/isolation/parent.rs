//! The process that lets another read a table.

use std::io::{self, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{self, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::Reader;
use super::wire::{Reply, Request};
use crate::error::{Error, Result};
use crate::regular;

/// How much of the error output of the process is kept, in bytes.
const SAID: u64 = 1 << 14;

/// A process that reads a table. It is ended when this is dropped.
pub(crate) struct Child {
    table: PathBuf,
    process: process::Child,
    replies: Receiver<io::Result<Reply>>,
    said: Option<JoinHandle<String>>,
    reader: Reader,
    memory: u64,
}

impl Child {
    /// Starts it.
    pub(crate) fn start(reader: Reader, table: &Path, request: &Request) -> Result<Child> {
        // What is no file, or may not be read, is said as for any other file.
        regular::open(table).map_err(|e| Error::read(table, e))?;
        let fail = |e| Error::read(&reader.program, e);
        let mut process = Command::new(&reader.program)
            .args(&reader.arguments)
            .arg(table)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(fail)?;
        let (mut input, output, errors) =
            (process.stdin.take(), process.stdout.take(), process.stderr.take());
        let asked = serde_json::to_vec(request).map_err(|e| fail(e.into()))?;
        // If it has ended already, its output says so.
        let _ = input.as_mut().map(|input| input.write_all(&asked));
        drop(input);
        let (sender, replies) = sync_channel(1);
        let most = request.memory;
        thread::spawn(move || {
            let Some(output) = output else { return };
            pass_on(output, most, &|reply| sender.send(reply).is_ok());
        });
        let said = errors.map(|errors| thread::spawn(|| text_of(errors)));
        Ok(Child { table: table.to_owned(), process, replies, said, reader, memory: request.memory })
    }

    /// Its next reply. An end, a failure or a timeout is an error of the table.
    pub(crate) fn next(&mut self) -> Result<Reply> {
        match self.replies.recv_timeout(self.reader.timeout) {
            Ok(Ok(Reply::Failed { reason, remedy })) => Err(Error::damaged(&self.table, reason, remedy)),
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => Err(self.bad(format!("the reply of its reader is garbled: {error}"))),
            Err(RecvTimeoutError::Timeout) => {
                let seconds = self.reader.timeout.as_secs();
                Err(self.bad(format!("no row could be read for {seconds} s")))
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.ended()),
        }
    }

    /// How it ended; a process that has only closed its output is killed.
    fn status(&mut self) -> io::Result<ExitStatus> {
        for _ in 0..100 {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.process.kill()?;
        self.process.wait()
    }

    fn bad(&self, reason: String) -> Error {
        Error::damaged(&self.table, reason, crate::source::FETCH)
    }

    /// Why the process has ended before it was done.
    fn ended(&mut self) -> Error {
        let status = self.status();
        let said = self.said.take().and_then(|said| said.join().ok()).unwrap_or_default();
        if said.contains("memory allocation") || said.contains("capacity overflow") {
            let reason =
                format!("reading it takes more than the {} MB of memory for that", self.memory / 1_000_000);
            return Error::Malformed {
                path: self.table.clone(),
                reason,
                remedy: "allow more memory with `max_memory`, unless it is small".to_owned(),
                option: Some("max_memory".to_owned()),
            };
        }
        if said.contains("overflowed its stack") {
            return self.bad("it is nested too deeply".to_owned());
        }
        self.bad(format!("its reader was ended {}", status.map_or_else(|e| e.to_string(), how)))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Passes on the replies of a process until it ends or they are no longer wanted.
fn pass_on(output: ChildStdout, most: u64, send: &dyn Fn(io::Result<Reply>) -> bool) {
    let mut output = BufReader::with_capacity(1 << 16, output);
    loop {
        match Reply::read(&mut output, most) {
            Ok(Some(reply)) => {
                if !send(Ok(reply)) {
                    return;
                }
            }
            // It ended, within a frame or between two.
            Ok(None) => return,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return,
            Err(error) => {
                send(Err(error));
                return;
            }
        }
    }
}

/// The beginning of what a process prints; the rest is read so that it does not block.
fn text_of(mut errors: ChildStderr) -> String {
    let mut said = Vec::new();
    let _ = (&mut errors).take(SAID).read_to_end(&mut said);
    let _ = io::copy(&mut errors, &mut io::sink());
    String::from_utf8_lossy(&said).into_owned()
}

#[cfg(unix)]
fn how(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    status.signal().map_or_else(|| status.to_string(), |signal| format!("by signal {signal}"))
}

#[cfg(not(unix))]
fn how(status: ExitStatus) -> String {
    status.to_string()
}
