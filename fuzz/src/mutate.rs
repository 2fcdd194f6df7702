//! The mutator: seeded changes that decoders are known to be bad at.

use rand_chacha::ChaCha20Rng;
use rand_core::RngCore;

/// Bytes at which decoders turn: CBOR heads and their widths, ends of ranges, text that nests.
const EDGES: [u8; 28] = [
    0x00, 0x01, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1f, 0x20, 0x40, 0x58, 0x5f, 0x60, 0x7f, 0x80,
    0x81, 0x9b, 0x9f, 0xa0, 0xa1, 0xbb, 0xd8, 0xf4, 0xf6, 0xf7, 0xfb, 0xff,
];
/// Bytes that, repeated, nest: lists and maps in CBOR, brackets in text.
const NESTS: [u8; 9] = [0x81, 0xa1, 0xd8, b'(', b'[', b'{', b'!', b'-', b'"'];
/// Most changes stacked on one seed.
const STACK_MAX: usize = 6;
/// Longest run of one repeated byte.
const RUN_MAX: usize = 2_048;

/// Changes a copy of `seed`, sometimes with parts of `other`.
pub fn mutate(rng: &mut ChaCha20Rng, seed: &[u8], other: &[u8], bytes_max: usize) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=below(rng, STACK_MAX) {
        change(rng, &mut bytes, other);
        bytes.truncate(bytes_max);
        if below(rng, 2) == 0 {
            break;
        }
    }
    bytes
}

/// A number below `end`; 0 if there is none.
pub fn below(rng: &mut ChaCha20Rng, end: usize) -> usize {
    if end == 0 { 0 } else { (rng.next_u64() % end as u64) as usize }
}

fn change(rng: &mut ChaCha20Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = below(rng, bytes.len() + 1);
    match below(rng, 12) {
        0 | 1 => flip(rng, bytes, at),
        2 => set(rng, bytes, at),
        3 => integer(rng, bytes, at),
        4 => {
            let few: Vec<u8> = (0..=below(rng, 8)).map(|_| rng.next_u32() as u8).collect();
            bytes.splice(at..at, few);
        }
        5 => {
            let (from, to) = chunk(rng, bytes.len());
            bytes.drain(from..to);
        }
        6 => {
            let (from, to) = chunk(rng, bytes.len());
            let twice = bytes[from..to].to_vec();
            bytes.splice(at..at, twice);
        }
        7 => swap(rng, bytes),
        8 => bytes.truncate(at),
        9 => splice(rng, bytes, other, at),
        10 => {
            let (from, to) = chunk(rng, other.len());
            let end = (at + to - from).min(bytes.len());
            bytes.splice(at..end, other[from..to].iter().copied());
        }
        _ => {
            let byte = NESTS[below(rng, NESTS.len())];
            bytes.splice(at..at, std::iter::repeat_n(byte, 1 + below(rng, RUN_MAX)));
        }
    }
}

fn flip(rng: &mut ChaCha20Rng, bytes: &mut [u8], at: usize) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << below(rng, 8);
    }
}

fn set(rng: &mut ChaCha20Rng, bytes: &mut [u8], at: usize) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = EDGES[below(rng, EDGES.len())];
    }
}

/// Overwrites 1, 2, 4 or 8 bytes with an integer at an edge, or moves the one there by a little.
fn integer(rng: &mut ChaCha20Rng, bytes: &mut [u8], at: usize) {
    let width = 1 << below(rng, 4);
    let len = bytes.len() as u64;
    let Some(place) = bytes.get_mut(at..at + width) else { return };
    let now = place.iter().fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
    let edges = [0, 1, u64::MAX, u64::MAX / 2, 1 << 31, 1 << 32, len, len + 1, 1 << 53];
    let next = match below(rng, 3) {
        0 => now.wrapping_add(1 + below(rng, 16) as u64),
        1 => now.wrapping_sub(1 + below(rng, 16) as u64),
        _ => edges[below(rng, edges.len())],
    };
    place.copy_from_slice(&next.to_be_bytes()[8 - width..]);
}

fn swap(rng: &mut ChaCha20Rng, bytes: &mut Vec<u8>) {
    let (a, b) = chunk(rng, bytes.len());
    let taken: Vec<u8> = bytes.drain(a..b).collect();
    let at = below(rng, bytes.len() + 1);
    bytes.splice(at..at, taken);
}

fn splice(rng: &mut ChaCha20Rng, bytes: &mut Vec<u8>, other: &[u8], at: usize) {
    bytes.truncate(at);
    bytes.extend_from_slice(&other[below(rng, other.len() + 1)..]);
}

/// A stretch of at most 64 bytes, mostly; sometimes of any length.
fn chunk(rng: &mut ChaCha20Rng, len: usize) -> (usize, usize) {
    let from = below(rng, len + 1);
    let longest = if below(rng, 4) == 0 { len } else { 64 };
    (from, (from + below(rng, longest + 1)).min(len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::SeedableRng;

    #[test]
    fn the_same_seed_gives_the_same_inputs_and_none_is_over_the_bound() {
        let make = |seed| {
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            (0..500).map(|_| mutate(&mut rng, &[7; 90], &[9; 40], 100)).collect::<Vec<_>>()
        };
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
        assert!(make(3).iter().all(|bytes| bytes.len() <= 100));
        assert!(make(3).iter().any(|bytes| bytes.len() > 90));
    }

    #[test]
    fn every_change_takes_an_empty_input() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        for _ in 0..500 {
            let _ = mutate(&mut rng, &[], &[], 64);
        }
    }
}
