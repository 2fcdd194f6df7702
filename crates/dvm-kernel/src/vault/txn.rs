//! One transaction of the vault.
//!
//! Always true: an SQLite error inside it marks it faulted, whatever the caller does with the error, and a faulted
//! transaction is never committed; the counters it raised are written as its last statement.

use super::counters::{self, Counters};
use super::record::{Name, Scope, Sealer, check_name};
use super::{Handle, MAX_PLAINTEXT_BYTES, VaultError, VaultRule};
use rand_core::CryptoRngCore;
use rusqlite::{Transaction, params};

/// Work in progress; nothing of it is visible or durable until `Vault::txn` returns Ok.
pub struct Txn<'a> {
    tx: Transaction<'a>,
    sealer: &'a Sealer,
    scope: &'a Scope,
    new_scope: Option<Scope>,
    counters: Counters,
    rng: &'a mut dyn CryptoRngCore,
    faulted: bool,
}

impl<'a> Txn<'a> {
    pub(super) fn begin(
        tx: Transaction<'a>,
        sealer: &'a Sealer,
        scope: &'a Scope,
        counters: Counters,
        rng: &'a mut dyn CryptoRngCore,
    ) -> Self {
        Self { tx, sealer, scope, new_scope: None, counters, rng, faulted: false }
    }

    /// Writes a record, replacing one of the same kind and id.
    pub fn put(
        &mut self,
        kind: &str,
        id: &[u8],
        epoch: u64,
        plaintext: &[u8],
    ) -> Result<Handle, VaultError> {
        let outcome = self.write(
            (kind, id, epoch),
            plaintext,
            "INSERT INTO record(kind, id, version, sealed) VALUES(?1, ?2, ?3, ?4)
             ON CONFLICT(kind, id) DO UPDATE SET version=excluded.version, sealed=excluded.sealed",
        );
        self.watch(outcome)
    }

    /// Writes a record that must not exist yet: the marker of a consumption. Refused as `AlreadyPresent` otherwise.
    pub fn insert_new(
        &mut self,
        kind: &str,
        id: &[u8],
        epoch: u64,
        plaintext: &[u8],
    ) -> Result<Handle, VaultError> {
        let outcome = self.write(
            (kind, id, epoch),
            plaintext,
            "INSERT INTO record(kind, id, version, sealed) VALUES(?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
        );
        self.watch(outcome)
    }

    /// Deletes one record; false if there was none.
    pub fn delete(&mut self, kind: &str, id: &[u8]) -> Result<bool, VaultError> {
        check_name(kind, id)?;
        let outcome = self
            .tx
            .prepare_cached("DELETE FROM record WHERE kind=?1 AND id=?2")
            .and_then(|mut statement| statement.execute(params![kind, id]))
            .map_err(VaultError::from);
        Ok(self.watch(outcome)? > 0)
    }

    /// Takes the next `vault_seq` for the statement that this transaction carries. A crash before the commit takes it
    /// back together with the statement; a refused transaction too.
    pub fn next_vault_seq(&mut self) -> Result<u64, VaultError> {
        self.counters.vault_seq = counters::next(self.counters.vault_seq)?;
        Ok(self.counters.vault_seq)
    }

    /// Raises the clock's persisted high-water mark; a lower value changes nothing.
    pub fn raise_clock(&mut self, high_ms: u64) {
        self.counters.clock_high_ms = self.counters.clock_high_ms.max(high_ms);
    }

    /// Binds the vault to its cluster (32 bytes) and node, once. What is written by later transactions has both in its
    /// AAD. Binding again to the same is no change; to another is refused.
    pub fn bind(&mut self, cluster: &[u8], node: &[u8]) -> Result<(), VaultError> {
        let scope = Scope::new(cluster, node)?;
        match self.new_scope.as_ref().unwrap_or(self.scope) {
            bound if *bound == scope => return Ok(()),
            bound if bound.bound().is_some() => return Err(VaultRule::BoundElsewhere.into()),
            _ => {}
        }
        self.counters.version = counters::next(self.counters.version)?;
        let outcome = counters::save_binding(
            &self.tx,
            self.sealer,
            (&scope, self.counters.version),
            &mut *self.rng,
        );
        self.watch(outcome)?;
        self.new_scope = Some(scope);
        Ok(())
    }

    pub(super) fn faulted(&self) -> bool {
        self.faulted
    }

    /// Writes the counters and commits; returns what the vault must take over.
    pub(super) fn commit(mut self) -> Result<(Counters, Option<Scope>), VaultError> {
        counters::save(&self.tx, self.sealer, &mut self.counters, &mut *self.rng)?;
        self.tx.commit()?;
        Ok((self.counters, self.new_scope))
    }

    pub(super) fn roll_back(self) -> Result<(), VaultError> {
        Ok(self.tx.rollback()?)
    }

    /// Remembers an SQLite error even if the caller swallows it.
    fn watch<T>(&mut self, outcome: Result<T, VaultError>) -> Result<T, VaultError> {
        if matches!(outcome, Err(VaultError::Sqlite(_) | VaultError::Io(_))) {
            self.faulted = true;
        }
        outcome
    }

    fn write(
        &mut self,
        (kind, id, epoch): (&str, &[u8], u64),
        plaintext: &[u8],
        statement: &str,
    ) -> Result<Handle, VaultError> {
        check_name(kind, id)?;
        if plaintext.len() > MAX_PLAINTEXT_BYTES {
            return Err(VaultRule::OutOfBounds { what: "plaintext" }.into());
        }
        let version = counters::next(self.counters.version)?;
        let name = Name { kind, id, version };
        let sealed = self.sealer.seal((self.scope, epoch), name, plaintext, &mut *self.rng)?;
        let handle = Handle::of(&sealed);
        let column =
            i64::try_from(version).map_err(|_| VaultRule::OutOfBounds { what: "counter" })?;
        let changed =
            self.tx.prepare_cached(statement)?.execute(params![kind, id, column, sealed])?;
        if changed != 1 {
            return Err(VaultRule::AlreadyPresent.into());
        }
        self.counters.version = version;
        Ok(handle)
    }
}
