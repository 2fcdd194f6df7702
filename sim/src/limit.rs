//! A full disk, for one call: the size that files of this process may have.
//!
//! Source: setrlimit(2), RLIMIT_FSIZE. A write past it fails with EFBIG (and a signal, which is
//! blocked here), which SQLite reports as it reports any failed write; a write across it is short.
//! The limit is the process's, so a call under it keeps other threads' writes out.
//!
//! Always true: the limit is lifted when the guard is dropped.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};

use crate::SimError;

static WRITES: RwLock<()> = RwLock::new(());

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
    Ok(Full { soft, hard, _alone: alone })
}

impl Drop for Full {
    fn drop(&mut self) {
        // The hard limit is as it was, so the soft one may go back to where it was.
        let _ = setrlimit(Resource::RLIMIT_FSIZE, self.soft, self.hard);
    }
}

/// Held by whoever writes files, so that no disk is full meanwhile.
pub(crate) fn writes() -> RwLockReadGuard<'static, ()> {
    WRITES.read().unwrap_or_else(PoisonError::into_inner)
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
        assert!(std::fs::write(&file, [0; 11]).is_ok());
    }
}
