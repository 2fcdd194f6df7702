//! A full disk, for one call: the size that files of this process may have.
//!
//! Source: setrlimit(2), RLIMIT_FSIZE. A write past it fails with EFBIG (and a signal, which is
//! blocked here), which SQLite reports as it reports any failed write; a write across it is short.
//! The limit is the process's, so a call under it keeps other threads' writes out; both are held for
//! one call each, never for a seed, so that threads do not wait for each other's seeds.
//!
//! Always true: the limit is lifted when the guard is dropped.

use std::cell::Cell;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};

use crate::SimError;

static WRITES: RwLock<()> = RwLock::new(());

thread_local! {
    /// How many guards this thread holds, of either kind: only the outermost takes the lock.
    static HELD: Cell<u32> = const { Cell::new(0) };
}

/// Held while files end where they were told to.
pub(crate) struct Full {
    soft: u64,
    hard: u64,
    _alone: RwLockWriteGuard<'static, ()>,
}

/// No file grows past so many bytes until the guard is dropped.
pub(crate) fn files_end_at(bytes: u64) -> Result<Full, SimError> {
    let alone = WRITES.write().unwrap_or_else(PoisonError::into_inner);
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGXFSZ);
    blocked.thread_block()?;
    let (soft, hard) = getrlimit(Resource::RLIMIT_FSIZE)?;
    setrlimit(Resource::RLIMIT_FSIZE, bytes.min(hard), hard)?;
    HELD.set(HELD.get() + 1);
    Ok(Full { soft, hard, _alone: alone })
}

impl Drop for Full {
    fn drop(&mut self) {
        // The hard limit is as it was, so the soft one may go back to where it was.
        let _ = setrlimit(Resource::RLIMIT_FSIZE, self.soft, self.hard);
        HELD.set(HELD.get().saturating_sub(1));
    }
}

/// A time in which files may be written.
pub(crate) struct Writes {
    _shared: Option<RwLockReadGuard<'static, ()>>,
}

/// Held by whoever writes files, so that no other thread's disk fills up meanwhile. May be taken
/// within another guard of this thread.
pub(crate) fn writes() -> Writes {
    let outer = HELD.get() == 0;
    let shared = outer.then(|| WRITES.read().unwrap_or_else(PoisonError::into_inner));
    HELD.set(HELD.get() + 1);
    Writes { _shared: shared }
}

impl Drop for Writes {
    fn drop(&mut self) {
        HELD.set(HELD.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_past_the_limit_fails_and_one_after_it_is_lifted_does_not() {
        let dir = crate::disk::scratch().unwrap();
        let file = dir.path().join("file");
        let full = files_end_at(10).unwrap();
        assert!(std::fs::write(&file, [0; 11]).is_err());
        assert!(std::fs::write(&file, [0; 10]).is_ok());
        drop(full);
        let _shared = writes();
        assert!(std::fs::write(&file, [0; 11]).is_ok());
    }
}
