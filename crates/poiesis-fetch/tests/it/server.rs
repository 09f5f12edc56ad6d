//! A server of HTTP that answers as a test tells it.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// The first byte asked for, where a range is.
    pub(crate) from: Option<usize>,
    /// How many requests for this path came before.
    pub(crate) earlier: usize,
}

/// What is answered.
pub(crate) struct Reply {
    status: u16,
    headers: Vec<String>,
    steps: Vec<Step>,
}

enum Step {
    Send(Vec<u8>),
    /// Sends zeros until the other side has had enough, but no more than so many.
    Flood(usize),
    Wait(Duration),
}

impl Reply {
    /// A status and nothing else.
    pub(crate) fn status(status: u16) -> Reply {
        Reply { status, headers: vec!["Content-Length: 0".into()], steps: Vec::new() }
    }

    /// Another address.
    pub(crate) fn redirect(status: u16, address: &str) -> Reply {
        Reply::status(status).header(&format!("Location: {address}"))
    }

    /// A whole file, whatever range was asked for.
    pub(crate) fn whole(file: &[u8]) -> Reply {
        let length = format!("Content-Length: {}", file.len());
        Reply { status: 200, headers: vec![length], steps: vec![Step::Send(file.to_vec())] }
    }

    /// A file, from the byte on that was asked for.
    pub(crate) fn file(file: &[u8], request: &Request) -> Reply {
        match request.from {
            None => Reply::whole(file),
            Some(from) if from >= file.len() => {
                Reply::status(416).header(&format!("Content-Range: bytes */{}", file.len()))
            }
            Some(from) => {
                let range = format!("Content-Range: bytes {from}-{}/{}", file.len() - 1, file.len());
                Reply { status: 206, ..Reply::whole(&file[from..]) }.header(&range)
            }
        }
    }

    /// A file without its length.
    pub(crate) fn unmeasured(file: &[u8]) -> Reply {
        Reply { status: 200, headers: Vec::new(), steps: vec![Step::Send(file.to_vec())] }
    }

    /// Zeros without end and without a length.
    pub(crate) fn flood(most: usize) -> Reply {
        Reply { status: 200, headers: Vec::new(), steps: vec![Step::Flood(most)] }
    }

    pub(crate) fn header(mut self, header: &str) -> Reply {
        self.headers.push(header.to_owned());
        self
    }

    /// Breaks the connection after so many bytes of the body.
    pub(crate) fn cut(mut self, after: usize) -> Reply {
        self.steps.truncate(1);
        if let Some(Step::Send(bytes)) = self.steps.first_mut() {
            bytes.truncate(after);
        }
        self
    }

    /// Says nothing more for a while, after so many bytes of the body.
    pub(crate) fn stall(self, after: usize, pause: Duration) -> Reply {
        let mut reply = self.cut(after);
        reply.steps.push(Step::Wait(pause));
        reply
    }

    /// Sends the body in pieces, with a pause after each.
    pub(crate) fn slowly(mut self, piece: usize, pause: Duration) -> Reply {
        let mut steps = Vec::new();
        for step in self.steps {
            match step {
                Step::Send(bytes) => {
                    for piece in bytes.chunks(piece) {
                        steps.extend([Step::Send(piece.to_vec()), Step::Wait(pause)]);
                    }
                }
                other => steps.push(other),
            }
        }
        self.steps = steps;
        self
    }
}

/// A server on this machine, which ends when it is dropped.
pub(crate) struct Server {
    address: String,
    asked: Arc<Mutex<Vec<Request>>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server that answers each request by `reply`.
    pub(crate) fn start(reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked: Arc<Mutex<Vec<Request>>> = Arc::default();
        let ends = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (asked, ends, reply) = (Arc::clone(&asked), Arc::clone(&ends), Arc::new(reply));
            move || {
                for stream in listener.incoming() {
                    if ends.load(Ordering::Relaxed) {
                        break;
                    }
                    let (asked, reply) = (Arc::clone(&asked), Arc::clone(&reply));
                    // What the other side does not take is lost.
                    thread::spawn(move || stream.is_ok_and(|stream| serve(stream, &asked, &*reply).is_ok()));
                }
            }
        });
        Server { address, asked, ends, thread: Some(thread) }
    }

    /// The address of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests so far.
    pub(crate) fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }

    /// The paths of all requests so far.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.asked().into_iter().map(|request| request.path).collect()
    }

    /// The ranges that were asked for so far.
    pub(crate) fn ranges(&self) -> Vec<Option<usize>> {
        self.asked().into_iter().map(|request| request.from).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        // It waits for a connection.
        let _ = TcpStream::connect(&self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    stream: TcpStream,
    asked: &Mutex<Vec<Request>>,
    reply: &(dyn Fn(&Request) -> Reply + Send + Sync),
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = read(&mut reader)?;
    {
        let mut asked = asked.lock().unwrap();
        request.earlier = asked.iter().filter(|earlier| earlier.path == request.path).count();
        asked.push(request.clone());
    }
    let mut stream = stream;
    if request.method == "CONNECT" {
        // A proxy: what comes through it is answered here too.
        stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
        return serve(stream, asked, reply);
    }
    let Reply { status, headers, steps } = reply(&request);
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    stream.write_all(format!("HTTP/1.1 {status} Said\r\nConnection: close\r\n{headers}\r\n").as_bytes())?;
    for step in steps {
        match step {
            Step::Send(bytes) => stream.write_all(&bytes)?,
            Step::Wait(pause) => thread::sleep(pause),
            Step::Flood(most) => {
                for _ in 0..most / 4096 {
                    stream.write_all(&[0; 4096])?;
                }
            }
        }
    }
    stream.shutdown(Shutdown::Write)?;
    // Bytes that were not read would break the connection before the other side has read its own.
    let _ = stream.read(&mut [0; 64]);
    Ok(())
}

fn read(reader: &mut impl BufRead) -> std::io::Result<Request> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let [method, path, _] = words[..] else { return Err(ErrorKind::InvalidData.into()) };
    let mut request = Request { method: method.into(), path: path.into(), from: None, earlier: 0 };
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            return Ok(request);
        }
        if let Some(range) = header.strip_prefix("range: bytes=") {
            request.from = range.strip_suffix('-').and_then(|from| from.parse().ok());
        }
    }
}
