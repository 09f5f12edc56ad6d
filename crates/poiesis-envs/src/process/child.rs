//! A program with lines in and out, which is ended with everything that it started.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child as System, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How many lines of error output are kept.
const KEPT: usize = 20;
/// The longest line, in bytes. A line of an answer is longer only by mistake.
const LONGEST: u64 = 1 << 26;
/// The longest line of error output that is kept whole, in bytes.
const SAID: u64 = 1 << 10;
/// How long a program has to end by itself when it is no longer needed.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long error output is waited for after a program has ended.
const LAST_WORDS: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(5);

/// A running program.
pub(super) struct Child {
    process: System,
    requests: Option<Sender<String>>,
    lines: Receiver<Vec<u8>>,
    said: Arc<Mutex<VecDeque<String>>>,
    listener: Option<JoinHandle<()>>,
    /// Whether it has been killed, after which its number may belong to another program.
    gone: bool,
}

/// Why there is no line.
pub(super) enum Silence {
    /// The program did not write one in time.
    Timeout,
    /// It closed its output.
    Ended,
}

impl Child {
    /// Starts a program. On Unix it leads a process group, so that what it starts can be ended with it.
    pub(super) fn start(program: &str, arguments: &[String]) -> std::io::Result<Child> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut process = command.spawn()?;
        let (requests, asked) = channel::<String>();
        let (sender, lines) = sync_channel(1);
        let said = Arc::new(Mutex::new(VecDeque::new()));
        if let Some(input) = process.stdin.take() {
            thread::spawn(move || pass_on(input, &asked));
        }
        if let Some(output) = process.stdout.take() {
            thread::spawn(move || lines_of(output, LONGEST, |line| sender.send(line).is_ok()));
        }
        let kept = Arc::clone(&said);
        let listener = process.stderr.take().map(|errors| thread::spawn(move || keep(errors, &kept)));
        Ok(Child { process, requests: Some(requests), lines, said, listener, gone: false })
    }

    /// Gives it a line. That it has ended shows when its answer is waited for.
    pub(super) fn send(&self, line: String) {
        if let Some(requests) = &self.requests {
            _ = requests.send(line);
        }
    }

    /// Waits for its next line.
    pub(super) fn receive(&self, timeout: Duration) -> Result<Vec<u8>, Silence> {
        self.lines.recv_timeout(timeout).map_err(|reason| match reason {
            RecvTimeoutError::Timeout => Silence::Timeout,
            RecvTimeoutError::Disconnected => Silence::Ended,
        })
    }

    /// A line that it has written already, without waiting.
    pub(super) fn waiting(&self) -> Option<Vec<u8>> {
        self.lines.try_recv().ok()
    }

    /// How it ended, for a program that has closed its output. It is killed if it does not end by itself.
    pub(super) fn status(&mut self) -> String {
        match self.end_by_itself() {
            Some(status) => status.to_string(),
            None => {
                self.kill();
                "it closed its output, and was killed".into()
            }
        }
    }

    /// Ends it and everything that it started.
    pub(super) fn kill(&mut self) {
        if std::mem::replace(&mut self.gone, true) {
            return;
        }
        #[cfg(unix)]
        if let Ok(id) = i32::try_from(self.process.id())
            && let Some(group) = rustix::process::Pid::from_raw(id)
        {
            _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        _ = self.process.kill();
        _ = self.process.wait();
    }

    /// The last lines of its error output.
    pub(super) fn last_words(&mut self) -> Vec<String> {
        let since = Instant::now();
        while self.listener.as_ref().is_some_and(|listener| !listener.is_finished())
            && since.elapsed() < LAST_WORDS
        {
            thread::sleep(PAUSE);
        }
        self.said.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn end_by_itself(&mut self) -> Option<ExitStatus> {
        let since = Instant::now();
        loop {
            match self.process.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if since.elapsed() < FAREWELL => thread::sleep(PAUSE),
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

impl Drop for Child {
    /// Closes its input, lets it end, and kills what is left of it.
    fn drop(&mut self) {
        self.requests = None;
        // A program that waits to write its next line is let go.
        while self.waiting().is_some() {}
        _ = self.end_by_itself();
        self.kill();
    }
}

fn pass_on(mut input: ChildStdin, asked: &Receiver<String>) {
    while let Ok(line) = asked.recv() {
        if input.write_all(line.as_bytes()).and_then(|()| input.flush()).is_err() {
            return;
        }
    }
}

/// Passes lines on without their ends until the output or the reader ends. Longer lines are cut.
fn lines_of(output: impl Read, longest: u64, mut pass: impl FnMut(Vec<u8>) -> bool) {
    let mut output = BufReader::new(output);
    loop {
        let mut line = Vec::new();
        match output.by_ref().take(longest).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        while line.last().is_some_and(u8::is_ascii_whitespace) {
            line.pop();
        }
        if !pass(line) {
            return;
        }
    }
}

fn keep(errors: impl Read, kept: &Mutex<VecDeque<String>>) {
    lines_of(errors, SAID, |line| {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(String::from_utf8_lossy(&line).into_owned());
        true
    });
}
