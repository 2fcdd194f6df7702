//! The kernel's store: sealed records in one SQLite file, changed by all-or-nothing transactions.
//!
//! Source: design of the vault (WAL, synchronous=FULL, exclusive, one connection, pragmas read back).
//! Always true:
//! - what a transaction did is durable before `txn` returns Ok, and nothing of it is visible otherwise;
//! - after any doubt about what is on disk the object refuses every later call (burn on doubt): a failed fsync must not
//!   be retried, and a marker whose commit is unknown counts as consumed;
//! - a record opens only as what it was sealed as: cluster, node, kind, id, epoch and version are in its AAD;
//! - counters (boot generation, `vault_seq`, clock mark, record version) only rise, in the commit that uses them.
//!
//! Not here: detection of a restored older directory. No local check can; peers' kernels remember its statements
//! (`sighting.rs`). Meanings of kinds are the caller's.

mod counters;
mod read;
mod record;
mod store;
#[cfg(test)]
mod tests;
mod txn;

pub use read::MAX_SCAN_RECORDS;
pub use record::{Handle, MAX_ID_BYTES, MAX_KIND_BYTES, MAX_PLAINTEXT_BYTES, Record};
pub use txn::Txn;

use crate::unseal::MasterKey;
use counters::Counters;
use rand_core::CryptoRngCore;
use read::Reader;
use record::{Scope, Sealer};
use rusqlite::{Connection, TransactionBehavior};
use std::io;
use std::path::Path;

/// The database's name inside the vault directory.
pub const VAULT_FILE: &str = "vault.db";

/// Bytes of the random id drawn at every open.
pub const BOOT_ID_BYTES: usize = 16;

/// Longest node name in a binding; names are certificate-sized, not documents.
pub const MAX_NODE_BYTES: usize = 128;

/// What the vault will not do: a rule, and nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultRule {
    /// The directory is not a directory of ours with mode 0700.
    #[error("the vault directory must be ours, with mode 0700")]
    DirectoryExposed,
    /// Another process has this vault open.
    #[error("the vault is in use")]
    InUse,
    /// The master key does not open the canary.
    #[error("the master key does not open this vault")]
    WrongKey,
    /// The linked SQLite is older than the fix of the WAL-reset bug.
    #[error("SQLite {version} is older than 3.51.3")]
    SqliteTooOld {
        /// `sqlite3_libversion_number()`.
        version: i32,
    },
    /// A pragma did not read back as it was set.
    #[error("pragma {pragma} is not in effect")]
    PragmaNotInEffect {
        /// Its name.
        pragma: &'static str,
    },
    /// `insert_new` met a record of this kind and id: a marker is set once.
    #[error("a record of this kind and id exists")]
    AlreadyPresent,
    /// A kind, id, plaintext, node name or scan beyond its bound, or a reserved kind.
    #[error("{what} is empty, too long or reserved")]
    OutOfBounds {
        /// What was out of bounds.
        what: &'static str,
    },
    /// The vault belongs to another cluster or node.
    #[error("the vault is bound to another cluster or node")]
    BoundElsewhere,
    /// An earlier call left doubt about what is on disk.
    #[error("the vault is poisoned by an earlier fault")]
    Poisoned,
    /// A record does not open as what it stands for: torn, swapped or altered.
    #[error("a record of kind {kind} does not open")]
    Damaged {
        /// The record's kind.
        kind: String,
    },
}

/// Why a call of the vault failed.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// A rule.
    #[error(transparent)]
    Refused(#[from] VaultRule),
    /// SQLite could not do its work. The vault is poisoned.
    #[error("vault: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The directory or file could not be reached, at open.
    #[error("vault: {0}")]
    Io(#[from] io::Error),
}

/// The open vault of this process.
pub struct Vault {
    connection: Connection,
    sealer: Sealer,
    scope: Scope,
    counters: Counters,
    boot_id: [u8; BOOT_ID_BYTES],
    commits: u64,
    poisoned: bool,
    rng: Box<dyn CryptoRngCore + Send>,
}

impl Vault {
    /// Opens or creates the vault in `dir`, and makes this start durable: the boot generation is raised before anything
    /// can be said with it. A crash in here costs one generation number.
    pub fn open(
        dir: &Path,
        key: MasterKey,
        mut rng: Box<dyn CryptoRngCore + Send>,
    ) -> Result<Self, VaultError> {
        store::check_directory(dir)?;
        let mut connection = store::connect(&dir.join(VAULT_FILE))?;
        let sealer = Sealer::new(&key);
        drop(key);
        let mut boot_id = [0u8; BOOT_ID_BYTES];
        rng.fill_bytes(&mut boot_id);

        let tx =
            store::in_use(connection.transaction_with_behavior(TransactionBehavior::Exclusive))?;
        let mut counters = counters::load_or_create(&tx, &sealer, &mut *rng)?;
        let scope = counters::load_binding(&tx, &sealer)?;
        counters::refuse_newer_records(&tx, &counters)?;
        counters.boot_gen = counters::next(counters.boot_gen)?;
        counters::save(&tx, &sealer, &mut counters, &mut *rng)?;
        tx.commit()?;

        Ok(Self { connection, sealer, scope, counters, boot_id, commits: 1, poisoned: false, rng })
    }

    /// Runs `work` in one transaction. If it returns Ok, its effects are durable before this returns Ok; if it returns
    /// Err, none is. An error from SQLite, here or swallowed inside `work`, poisons the vault.
    pub fn txn<T, E: From<VaultError>>(
        &mut self,
        work: impl FnOnce(&mut Txn<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        if self.poisoned {
            return Err(VaultError::from(VaultRule::Poisoned).into());
        }
        // Poisoned until the outcome is known, so that every way out of here that is not a known outcome stays so.
        self.poisoned = true;
        let tx = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(VaultError::from)?;
        let mut txn =
            Txn::begin(tx, &self.sealer, &self.scope, self.counters.clone(), &mut *self.rng);
        let outcome = work(&mut txn);
        if txn.faulted() {
            return Err(outcome
                .err()
                .unwrap_or_else(|| VaultError::from(VaultRule::Poisoned).into()));
        }
        match outcome {
            Ok(value) => {
                let (counters, scope) = txn.commit()?;
                self.counters = counters;
                if let Some(scope) = scope {
                    self.scope = scope;
                }
                self.commits = self.commits.saturating_add(1);
                self.poisoned = false;
                Ok(value)
            }
            Err(refused) => {
                txn.roll_back()?;
                self.poisoned = false;
                Err(refused)
            }
        }
    }

    /// Reads one record. An error from SQLite poisons the vault.
    pub fn get(&mut self, kind: &str, id: &[u8]) -> Result<Option<Record>, VaultError> {
        self.read(|reader| reader.one(kind, id))
    }

    /// All records of a kind, by id. Refused beyond [`MAX_SCAN_RECORDS`]. An error from SQLite poisons the vault.
    pub fn scan(&mut self, kind: &str) -> Result<Vec<Record>, VaultError> {
        self.read(|reader| reader.all(kind))
    }

    fn read<T>(
        &mut self,
        work: impl FnOnce(Reader<'_>) -> Result<T, VaultError>,
    ) -> Result<T, VaultError> {
        if self.poisoned {
            return Err(VaultRule::Poisoned.into());
        }
        let (connection, sealer, scope) = (&self.connection, &self.sealer, &self.scope);
        let outcome = work(Reader { connection, sealer, scope });
        self.poisoned = matches!(outcome, Err(VaultError::Sqlite(_) | VaultError::Io(_)));
        outcome
    }

    /// The boot generation of this start; raised at every open.
    pub fn boot_gen(&self) -> u64 {
        self.counters.boot_gen
    }

    /// The random id of this start.
    pub fn boot_id(&self) -> [u8; BOOT_ID_BYTES] {
        self.boot_id
    }

    /// The highest `vault_seq` that a committed transaction took.
    pub fn vault_seq(&self) -> u64 {
        self.counters.vault_seq
    }

    /// The committed high-water mark of the clock.
    pub fn clock_high_ms(&self) -> u64 {
        self.counters.clock_high_ms
    }

    /// Durable commits of this start, the one at open included.
    pub fn commits(&self) -> u64 {
        self.commits
    }

    /// True once a fault left doubt about what is on disk.
    pub fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// The cluster and node that the vault is bound to, once `Txn::bind` committed.
    pub fn binding(&self) -> Option<(&[u8], &[u8])> {
        self.scope.bound()
    }
}
