//! The process that reads a table for another one.

use std::io::{self, BufWriter, Read, Write};
use std::path::Path;
use std::thread;

use super::wire::Request;
use crate::source::parquet;

/// Stack of the thread that reads, in bytes.
const STACK: usize = 16 << 20;
/// Memory for the program itself, in bytes.
const PROGRAM: u64 = 64 << 20;
/// Addresses for the program itself: its files, and what the allocator reserves without using it, in bytes.
const ADDRESSES: u64 = 1 << 30;

/// Reads a table for the process that started this one: reads its request from `input` and writes the replies to `output`. The memory
/// of this process is limited first, so it should do nothing else.
///
/// # Errors
///
/// When the other process is gone or is not one of Poiesis. What is wrong with the table is a reply, and no error here.
pub fn serve(table: &Path, input: &mut dyn Read, output: &mut (dyn Write + Send)) -> io::Result<()> {
    let mut text = Vec::new();
    input.take(1 << 20).read_to_end(&mut text)?;
    let request: Request = serde_json::from_slice(&text)?;
    limit(request.memory)?;
    thread::scope(|scope| {
        let read = || {
            let mut output = BufWriter::with_capacity(1 << 16, output);
            let last = parquet::answer(table, &request.columns, &mut |reply| reply.write(&mut output))?;
            last.write(&mut output)?;
            output.flush()
        };
        let reader = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, read)?;
        reader.join().unwrap_or_else(|_| Err(io::Error::other("the thread that reads has panicked")))
    })
}

/// Limits the memory of this process, which also leaves no core file, writes no files and ends when the one that started it ends.
#[cfg(unix)]
fn limit(memory: u64) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let limits = [
        (Resource::Data, memory.saturating_add(PROGRAM)),
        (Resource::As, memory.saturating_add(ADDRESSES)),
        (Resource::Core, 0),
        (Resource::Fsize, 0),
    ];
    for (resource, limit) in limits {
        let allowed = getrlimit(resource).maximum.map_or(limit, |allowed| allowed.min(limit));
        setrlimit(resource, Rlimit { current: Some(allowed), maximum: Some(allowed) })?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn limit(_: u64) -> io::Result<()> {
    Ok(())
}
