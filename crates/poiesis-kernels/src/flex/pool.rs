//! Buffers that return to a pool when dropped, for scratch and for the values of results.
//!
//! Large blocks that are returned to the system cost page faults at every step (7 % of the time of a
//! DCGAN step); blocks that stay here do not. A thread reuses the blocks that it used last: a block that another thread wrote would
//! first have to be fetched from the cache of that core, which takes a quarter of the time of a convolution if the cores share no
//! cache.

#![expect(unsafe_code, reason = "Burn's allocation interface is made of unsafe functions")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::mem::{self, MaybeUninit};
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn_std::{AccessError, AccessPolicy, AllocationController, AllocationProperty, Bytes};
use bytemuck::{Pod, Zeroable};

/// The pool keeps at most this many unused bytes.
const RETAINED_BYTES: usize = 1 << 30;

/// Buffers below this many lines are left to the allocator.
const SMALL_LINES: usize = 64;

/// One cache line; buffers are aligned to cache lines so that no vector crosses two.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct Line([f32; 16]);

/// A block of `f32` with unspecified initial values.
pub struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    /// A buffer of `len` values, not cleared.
    pub fn take(len: usize) -> Self {
        let count = size_class(len.div_ceil(16));
        let lines = free_lines(count).unwrap_or_else(|| vec![Line::zeroed(); count]);
        Self { lines, len }
    }

    /// A buffer of `len` zeros.
    pub fn zeros(len: usize) -> Self {
        let mut buffer = Self::take(len);
        buffer.fill(0.0);
        buffer
    }

    /// The same memory as storage of a Burn tensor.
    pub fn into_bytes(self) -> Bytes {
        let len = self.len * size_of::<f32>();
        // SAFETY: the controller hands out exactly `len` bytes, all of them initialised floats.
        unsafe { Bytes::from_controller(Box::new(Allocation(self)), len) }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let lines = mem::take(&mut self.lines);
        if lines.len() < SMALL_LINES {
            return;
        }
        if let Some(lines) = keep_own(lines) {
            keep(lines);
        }
    }
}

/// A buffer with the interface that Burn's `Bytes` need.
struct Allocation(Buffer);

impl AllocationController for Allocation {
    fn alloc_align(&self) -> usize {
        align_of::<f32>()
    }

    fn property(&self) -> AllocationProperty {
        AllocationProperty::Other
    }

    unsafe fn memory_mut(&mut self, _policy: AccessPolicy) -> Result<&mut [MaybeUninit<u8>], AccessError> {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut self.0);
        // SAFETY: `MaybeUninit<u8>` has the layout of `u8`, and the caller promises to write only
        // initialised bytes.
        Ok(unsafe { &mut *(std::ptr::from_mut(bytes) as *mut [MaybeUninit<u8>]) })
    }

    fn memory(&self, _policy: AccessPolicy) -> Result<&[MaybeUninit<u8>], AccessError> {
        let bytes: &[u8] = bytemuck::cast_slice(&self.0);
        // SAFETY: `MaybeUninit<u8>` has the layout of `u8` and the slice cannot be written through.
        Ok(unsafe { &*(std::ptr::from_ref(bytes) as *const [MaybeUninit<u8>]) })
    }

    fn capacity(&self) -> usize {
        self.0.len() * size_of::<f32>()
    }
}

/// Unused blocks, by their number of lines.
struct Pool {
    free: BTreeMap<usize, Vec<Vec<Line>>>,
    lines: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { free: BTreeMap::new(), lines: 0 });

fn lock() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A free block of at least `count` lines, and at most a quarter more.
fn free_lines(count: usize) -> Option<Vec<Line>> {
    if count < SMALL_LINES {
        return None;
    }
    if let Ok(Some(lines)) = OWN.try_with(|own| own.borrow_mut().take(count)) {
        return Some(lines);
    }
    let mut pool = lock();
    let (&size, blocks) = pool.free.range_mut(count..=count + count / 4).next()?;
    let lines = blocks.pop();
    if blocks.is_empty() {
        pool.free.remove(&size);
    }
    pool.lines -= size;
    lines
}

/// Keeps a block for any thread, or frees it.
fn keep(lines: Vec<Line>) {
    let mut pool = lock();
    if (pool.lines + lines.len()) * size_of::<Line>() <= RETAINED_BYTES {
        pool.lines += lines.len();
        pool.free.entry(lines.len()).or_default().push(lines);
    }
}

/// The blocks that a thread used last, the latest at the end.
pub struct Own {
    /// The blocks.
    pub blocks: Vec<Vec<Line>>,
    /// Their lines together.
    pub lines: usize,
}

/// Most blocks that a thread keeps for itself.
const OWN_BLOCKS: usize = 16;

/// Most lines of the blocks that a thread keeps for itself.
pub const OWN_LINES: usize = 1 << 18;

thread_local! {
    static OWN: RefCell<Own> = const { RefCell::new(Own { blocks: Vec::new(), lines: 0 }) };
}

impl Own {
    fn take(&mut self, count: usize) -> Option<Vec<Line>> {
        let fits = |lines: &Vec<Line>| (count..=count + count / 4).contains(&lines.len());
        let lines = self.blocks.remove(self.blocks.iter().rposition(fits)?);
        self.lines -= lines.len();
        Some(lines)
    }

    /// Keeps a block and returns the oldest one if there are too many.
    pub fn keep(&mut self, lines: Vec<Line>) -> Option<Vec<Line>> {
        self.lines += lines.len();
        self.blocks.push(lines);
        (self.lines > OWN_LINES || self.blocks.len() > OWN_BLOCKS).then(|| {
            let oldest = self.blocks.remove(0);
            self.lines -= oldest.len();
            oldest
        })
    }
}

/// Keeps a block for this thread. Returns one for all threads: this one if it is large or the thread ends, or an older one.
fn keep_own(lines: Vec<Line>) -> Option<Vec<Line>> {
    if lines.len() > OWN_LINES / 4 {
        return Some(lines);
    }
    let mut lines = Some(lines);
    let older = OWN.try_with(|own| lines.take().and_then(|lines| own.borrow_mut().keep(lines)));
    older.unwrap_or(lines)
}

/// Rounds up to a sixteenth of the next power of two, so that similar sizes share blocks.
fn size_class(count: usize) -> usize {
    count.next_multiple_of((count.next_power_of_two() / 16).max(1))
}
