//! What the vault gives back: records as the last committed transaction left them.
//!
//! Always true: a record is given only if it opens as what it stands for. One statement is one consistent look, so a
//! read needs no transaction of its own.

use super::record::{Name, Scope, Sealer, check_name};
use super::{Handle, Record, VaultError, VaultRule};
use rusqlite::{Connection, OptionalExtension, params};

/// Most records that one scan returns; beyond it the scan is refused and not cut short.
pub const MAX_SCAN_RECORDS: usize = 65_536;

/// What reading needs of the vault.
pub(super) struct Reader<'a> {
    pub(super) connection: &'a Connection,
    pub(super) sealer: &'a Sealer,
    pub(super) scope: &'a Scope,
}

impl Reader<'_> {
    pub(super) fn one(&self, kind: &str, id: &[u8]) -> Result<Option<Record>, VaultError> {
        check_name(kind, id)?;
        let row: Option<(i64, Vec<u8>)> = self
            .connection
            .prepare_cached("SELECT version, sealed FROM record WHERE kind=?1 AND id=?2")?
            .query_row(params![kind, id], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        row.map(|(version, sealed)| self.opened(kind, id.to_vec(), (version, &sealed))).transpose()
    }

    pub(super) fn all(&self, kind: &str) -> Result<Vec<Record>, VaultError> {
        check_name(kind, b"any")?;
        let mut statement = self
            .connection
            .prepare_cached("SELECT id, version, sealed FROM record WHERE kind=?1 ORDER BY id")?;
        let mut rows = statement.query(params![kind])?;
        let mut records = Vec::new();
        while let Some(row) = rows.next()? {
            if records.len() >= MAX_SCAN_RECORDS {
                return Err(VaultRule::OutOfBounds { what: "scan" }.into());
            }
            let sealed: Vec<u8> = row.get(2)?;
            records.push(self.opened(kind, row.get(0)?, (row.get(1)?, &sealed))?);
        }
        Ok(records)
    }

    fn opened(
        &self,
        kind: &str,
        id: Vec<u8>,
        (version, sealed): (i64, &[u8]),
    ) -> Result<Record, VaultError> {
        let version =
            u64::try_from(version).map_err(|_| VaultRule::Damaged { kind: kind.to_owned() })?;
        let (epoch, plaintext) =
            self.sealer.open(self.scope, Name { kind, id: &id, version }, sealed)?;
        Ok(Record { id, epoch, version, handle: Handle::of(sealed), plaintext })
    }
}
