//! Signatures that held: what one thread has verified lately, so that it need not be done again.
//!
//! Source: verifying is a function of key, message and signature alone, and a node meets the same
//! signed statement many times: on arrival, in the interpreter, at every fold of the log.
//!
//! Always true: a check is left out only if the very same key, message and signature passed it
//! before (SHA-256 over all three); a failure is never remembered. The memory has a fixed size
//! whatever is shown to it.

use std::cell::RefCell;

use sha2::{Digest as _, Sha256};

/// How many are remembered: 128 KiB.
const SLOTS: usize = 4096;

thread_local! {
    static HELD: RefCell<Vec<[u8; 32]>> = const { RefCell::new(Vec::new()) };
}

/// Whether `check` holds for this key, message and signature.
pub(super) fn holds(
    key: &[u8; 32],
    message: &[u8],
    signature: &[u8; 64],
    check: impl FnOnce() -> bool,
) -> bool {
    // Key and signature have one length each, so nothing else has these bytes.
    let name: [u8; 32] = Sha256::new()
        .chain_update(key)
        .chain_update(signature)
        .chain_update(message)
        .finalize()
        .into();
    let [first, second, ..] = name;
    let slot = usize::from(u16::from_be_bytes([first, second])) % SLOTS;
    if HELD.with_borrow(|held| held.get(slot) == Some(&name)) {
        return true;
    }
    let good = check();
    if good {
        HELD.with_borrow_mut(|held| {
            held.resize(SLOTS, [0; 32]);
            if let Some(place) = held.get_mut(slot) {
                *place = name;
            }
        });
    }
    good
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_held_is_not_checked_again_and_what_did_not_is() {
        let (key, signature) = ([1; 32], [2; 64]);
        assert!(!holds(&key, b"m", &signature, || false));
        assert!(holds(&key, b"m", &signature, || true));
        assert!(holds(&key, b"m", &signature, || unreachable!()));
        assert!(!holds(&[3; 32], b"m", &signature, || false));
        assert!(!holds(&key, b"n", &signature, || false));
        assert!(!holds(&key, b"m", &[3; 64], || false));
    }

    #[test]
    fn whatever_is_shown_the_memory_keeps_its_size() {
        for n in 0..3 * SLOTS as u64 {
            assert!(holds(&[4; 32], &n.to_be_bytes(), &[5; 64], || true));
        }
        assert_eq!(HELD.with_borrow(Vec::len), SLOTS);
    }
}
