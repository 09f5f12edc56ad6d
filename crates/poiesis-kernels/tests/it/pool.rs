//! Buffers and the pool that they return to.

use bytemuck::Zeroable;
use poiesis_kernels::internals::pool::{Buffer, Line, OWN_LINES, Own};

#[test]
fn buffers_are_aligned_and_reused() {
    let mut first = Buffer::take(123_457);
    first.fill(7.0);
    let address = first.as_ptr();
    assert_eq!(address as usize % 64, 0);
    assert_eq!(first.len(), 123_457);
    drop(first);
    let second = Buffer::zeros(123_457);
    assert!(second.iter().all(|&x| x == 0.0));
}

#[test]
fn a_thread_takes_what_it_used_last() {
    let address = |buffer: &Buffer| buffer.as_ptr() as usize;
    let (first, second) = (Buffer::take(54_321), Buffer::take(54_321));
    let last = address(&second);
    drop(first);
    drop(second);
    std::thread::scope(|scope| {
        scope.spawn(|| assert_ne!(address(&Buffer::take(54_321)), last));
    });
    assert_eq!(address(&Buffer::take(54_321)), last);
}

#[test]
fn a_thread_returns_its_oldest_block() {
    let mut own = Own { blocks: Vec::new(), lines: 0 };
    let block = || vec![Line::zeroed(); OWN_LINES / 4];
    let oldest = block();
    let address = oldest.as_ptr();
    assert!(own.keep(oldest).is_none());
    (0..3).for_each(|_| assert!(own.keep(block()).is_none()));
    assert_eq!(own.keep(block()).map(|block| block.as_ptr()), Some(address));
    assert_eq!(own.lines, OWN_LINES);
}

#[test]
fn bytes_hold_the_values() {
    let mut buffer = Buffer::take(3);
    buffer.copy_from_slice(&[1.0, 2.0, 3.0]);
    let bytes = buffer.into_bytes();
    assert_eq!(bytemuck::cast_slice::<u8, f32>(&bytes), [1.0, 2.0, 3.0]);
    let copy = bytes.clone();
    assert_eq!(copy[..], bytes[..]);
}
