//! The simulated disk of one node: its kernel's real vault files, and its journal as tables.
//!
//! Source: the vault is SQLite in WAL mode; what a power cut leaves is the database file and a
//! prefix of the log, possibly with a bad last frame. So a crash at any point of a kernel call is
//! made afterwards: the call is performed, its files are read as they are, the log is cut or
//! garbled somewhere past its length before the call, and the kernel is started over the result.
//! The journal's commits are atomic by SQLite's word, so its tables take a group whole or not at all.
//!
//! Not here: when a fault happens.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use dvm_kernel::vault::VAULT_FILE;
use dvm_node::engine::Recovered;
use dvm_node::journal::{Table, Write, WriteBatch};

use crate::{SimError, limit};

/// The bytes of a vault, as a power cut leaves them.
#[derive(Clone, Default)]
pub(crate) struct VaultFiles {
    database: Vec<u8>,
    log: Vec<u8>,
}

/// How the last writes of a vault were lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tear {
    /// All of them.
    Whole,
    /// From this thousandth of them on.
    Cut(u64),
    /// One byte at this thousandth of them is another.
    Garbled(u64),
}

fn wal(dir: &Path) -> PathBuf {
    dir.join(format!("{VAULT_FILE}-wal"))
}

fn read_or_empty(path: &Path) -> Result<Vec<u8>, SimError> {
    match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        other => Ok(other?),
    }
}

/// Length of the vault's log now.
pub(crate) fn log_len(dir: &Path) -> u64 {
    std::fs::metadata(wal(dir)).map_or(0, |m| m.len())
}

impl VaultFiles {
    /// Reads the files under a running or stopped kernel.
    pub(crate) fn read(dir: &Path) -> Result<Self, SimError> {
        Ok(Self { database: read_or_empty(&dir.join(VAULT_FILE))?, log: read_or_empty(&wal(dir))? })
    }

    /// Puts the files in place of whatever is there; no kernel may run on them.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), SimError> {
        let _shared = limit::writes();
        std::fs::write(dir.join(VAULT_FILE), &self.database)?;
        std::fs::set_permissions(dir.join(VAULT_FILE), Permissions::from_mode(0o600))?;
        if self.log.is_empty() {
            match std::fs::remove_file(wal(dir)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
                _ => Ok(()),
            }
        } else {
            Ok(std::fs::write(wal(dir), &self.log)?)
        }
    }

    /// Loses what was written since the log was `before` bytes long. False if a checkpoint came
    /// between, so that there is no telling.
    pub(crate) fn tear(&mut self, before: u64, how: Tear) -> bool {
        let before = usize::try_from(before).unwrap_or(usize::MAX);
        let Some(fresh) = self.log.len().checked_sub(before).filter(|n| *n > 0) else {
            return false;
        };
        let place = |thousandth: u64| {
            let fresh = fresh as u64;
            let at = fresh.saturating_mul(thousandth.min(999)).checked_div(1000).unwrap_or(0);
            before.saturating_add(usize::try_from(at).unwrap_or(0))
        };
        match how {
            Tear::Whole => self.log.truncate(before),
            Tear::Cut(at) => self.log.truncate(place(at)),
            Tear::Garbled(at) => {
                let at = place(at);
                if let Some(byte) = self.log.get_mut(at) {
                    *byte = !*byte;
                }
            }
        }
        true
    }
}

/// The journal's tables.
#[derive(Clone, Default)]
pub(crate) struct Tables(BTreeMap<Table, BTreeMap<Vec<u8>, Vec<u8>>>);

impl Tables {
    /// Applies a batch; false if an insert met a key that is there.
    pub(crate) fn apply(&mut self, batch: WriteBatch) -> bool {
        batch.into_iter().all(|write| match write {
            Write::Put { table, key, value } => {
                self.0.entry(table).or_default().insert(key, value);
                true
            }
            Write::Insert { table, key, value } => {
                self.0.entry(table).or_default().insert(key, value).is_none()
            }
            Write::Delete { table, key } => {
                self.0.entry(table).or_default().remove(&key);
                true
            }
        })
    }

    fn rows(&self, table: Table) -> Vec<(Vec<u8>, Vec<u8>)> {
        let rows = self.0.get(&table).into_iter().flatten();
        rows.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// What an engine finds when it starts.
    pub(crate) fn recovered(&self) -> Recovered {
        let values = |table| self.rows(table).into_iter().map(|(_, value)| value).collect();
        Recovered {
            intents: values(Table::Intents),
            runs: values(Table::Executions),
            events: self.rows(Table::TraceEvents),
            frames: self.rows(Table::Outbox),
            log: values(Table::GovLog),
            chain: values(Table::Chain),
            meta: self.rows(Table::Meta),
        }
    }

    /// The same without what belongs to single operations.
    pub(crate) fn without_operations(&self) -> Self {
        let kept = [Table::Meta, Table::GovLog];
        Self(
            self.0.iter().filter(|(t, _)| kept.contains(t)).map(|(t, r)| (*t, r.clone())).collect(),
        )
    }

    /// Everything as one batch of puts, for another store.
    pub(crate) fn as_batch(&self) -> WriteBatch {
        let each = self.0.iter().flat_map(|(table, rows)| rows.iter().map(move |r| (*table, r)));
        each.map(|(table, (key, value))| Write::Put {
            table,
            key: key.clone(),
            value: value.clone(),
        })
        .collect()
    }
}

/// A directory of the mode that a vault demands, in memory where the machine has such a place.
pub(crate) fn scratch() -> Result<tempfile::TempDir, SimError> {
    let memory = Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    builder.prefix("dvm-sim-").permissions(Permissions::from_mode(0o700));
    let made = if memory.is_dir() { builder.tempdir_in(memory) } else { builder.tempdir() };
    Ok(made?)
}

/// A directory for one vault.
pub(crate) fn vault_dir(parent: &Path, name: &str) -> Result<PathBuf, SimError> {
    let dir = parent.join(name);
    std::fs::create_dir_all(&dir)?;
    std::fs::set_permissions(&dir, Permissions::from_mode(0o700))?;
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tearing_loses_only_what_came_after() {
        let files = VaultFiles { database: vec![1], log: (0..100).collect() };
        let torn = |how| {
            let mut torn = files.clone();
            assert!(torn.tear(60, how));
            torn.log
        };
        assert_eq!(torn(Tear::Whole).len(), 60);
        assert_eq!(torn(Tear::Cut(500)).len(), 80);
        let garbled = torn(Tear::Garbled(999));
        assert_eq!(garbled.len(), 100);
        let differs: Vec<_> = (0..100).filter(|i| garbled[*i] != files.log[*i]).collect();
        assert!(differs.len() == 1 && differs[0] >= 60);
        assert!(!files.clone().tear(100, Tear::Whole), "nothing was written");
    }
}
