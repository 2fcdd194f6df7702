//! The two types that hold secrets.
//!
//! Always true, and held by compile-fail tests: no Clone, Copy, Debug, Display, PartialEq, Hash, Serialize, Deref
//! or AsRef; the value is read inside a closure, so every place that reads one can be found by its name; it is
//! wiped on drop, also when a round fails. [`OneTime`] can be read once in its life, by giving it away.
//! Not here: locked memory and core-dump protection; those belong to the process that holds the values. Rust may
//! leave copies on the stack where a value was moved; both types keep theirs in one heap place to limit that.

use std::collections::BTreeMap;

use zeroize::Zeroize;

/// A secret value.
pub struct Secret<T: Zeroize>(Box<T>);

impl<T: Zeroize> Secret<T> {
    /// Takes the value over.
    pub fn new(value: T) -> Self {
        Self(Box::new(value))
    }

    /// Reads the value. What the closure returns is no longer protected: return only what may be known.
    pub fn expose<R>(&self, read: impl FnOnce(&T) -> R) -> R {
        read(&self.0)
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        wipe(&mut *self.0);
    }
}

/// Secret messages by the node they come from or go to.
pub type SecretMessages = BTreeMap<String, Secret<Vec<u8>>>;

/// A secret that must not be used twice: nonces above all. Two uses of one nonce give away the key share.
pub struct OneTime<T: Zeroize>(Box<T>);

impl<T: Zeroize> OneTime<T> {
    /// Takes the value over.
    pub fn new(value: T) -> Self {
        Self(Box::new(value))
    }

    /// Uses the value up. It is wiped when the closure is done, whatever the closure returned.
    pub fn consume<R>(self, spend: impl FnOnce(&T) -> R) -> R {
        spend(&self.0)
    }
}

impl<T: Zeroize> Drop for OneTime<T> {
    fn drop(&mut self) {
        wipe(&mut *self.0);
    }
}

/// Overwrites the value.
///
/// frost-core zeroises some scalars by plain assignment, which the compiler may drop because the memory is freed
/// right after. Showing the value to `black_box` makes the stores observable.
fn wipe<T: Zeroize>(value: &mut T) {
    value.zeroize();
    std::hint::black_box(value);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    struct Witness(Arc<AtomicUsize>);

    impl Zeroize for Witness {
        fn zeroize(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn secret_is_wiped_when_it_is_dropped_and_not_before() {
        let wiped = Arc::new(AtomicUsize::new(0));
        let secret = Secret::new(Witness(wiped.clone()));
        assert_eq!(secret.expose(|value| value.0.load(Ordering::SeqCst)), 0);
        drop(secret);
        assert_eq!(wiped.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn one_time_value_is_wiped_after_its_use_and_when_it_was_never_used() {
        let wiped = Arc::new(AtomicUsize::new(0));
        let during = OneTime::new(Witness(wiped.clone())).consume(|v| v.0.load(Ordering::SeqCst));
        assert_eq!((during, wiped.load(Ordering::SeqCst)), (0, 1));
        drop(OneTime::new(Witness(wiped.clone())));
        assert_eq!(wiped.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn one_time_value_is_wiped_when_its_use_panics() {
        let wiped = Arc::new(AtomicUsize::new(0));
        let value = OneTime::new(Witness(wiped.clone()));
        let spend = std::panic::AssertUnwindSafe(|| value.consume(|_| panic!("in use")));
        assert!(std::panic::catch_unwind(spend).is_err());
        assert_eq!(wiped.load(Ordering::SeqCst), 1);
    }
}
