//! The vault's own three records: the canary, the counters, the binding to a cluster.
//!
//! Always true: counters only rise; they are written in the same commit as what they count, under a version that no
//! record exceeds. A record newer than the counters means that the counters' row was put back alone: refused.

use super::record::{Name, OWN_KIND, Scope, Sealer};
use super::{VaultError, VaultRule};
use rand_core::CryptoRngCore;
use rusqlite::{OptionalExtension, Transaction, params};
use zeroize::Zeroizing;

const CANARY_ID: &[u8] = b"canary";
const COUNTERS_ID: &[u8] = b"counters";
const BINDING_ID: &[u8] = b"binding";

const CANARY: &[u8] = b"this vault opens under this key";
/// The canary and a new vault's first counters.
const FIRST_VERSION: u64 = 1;
/// SQLite integers are signed; so the counters end where those do.
const MAX_COUNTER: u64 = i64::MAX as u64;
const COUNTERS_BYTES: usize = 32;

/// The version and plaintext of one of our own records.
type Own = (u64, Zeroizing<Vec<u8>>);

/// What only rises.
#[derive(Clone)]
pub(super) struct Counters {
    pub(super) boot_gen: u64,
    pub(super) vault_seq: u64,
    pub(super) clock_high_ms: u64,
    pub(super) version: u64,
}

impl Counters {
    fn to_bytes(&self) -> Vec<u8> {
        [self.boot_gen, self.vault_seq, self.clock_high_ms, self.version]
            .iter()
            .flat_map(|counter| counter.to_be_bytes())
            .collect()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, VaultError> {
        let bytes: &[u8; COUNTERS_BYTES] = bytes.try_into().map_err(|_| damaged())?;
        let (words, _) = bytes.as_chunks::<8>();
        let &[boot_gen, vault_seq, clock_high_ms, version] = words else {
            return Err(damaged());
        };
        Ok(Self {
            boot_gen: u64::from_be_bytes(boot_gen),
            vault_seq: u64::from_be_bytes(vault_seq),
            clock_high_ms: u64::from_be_bytes(clock_high_ms),
            version: u64::from_be_bytes(version),
        })
    }
}

/// The next value of a counter; at its end the vault stops rather than repeats.
pub(super) fn next(counter: u64) -> Result<u64, VaultError> {
    if counter >= MAX_COUNTER {
        return Err(VaultRule::OutOfBounds { what: "counter" }.into());
    }
    Ok(counter.saturating_add(1))
}

/// Checks the key against the canary and reads the counters; makes both in an empty vault.
pub(super) fn load_or_create(
    tx: &Transaction<'_>,
    sealer: &Sealer,
    rng: &mut dyn CryptoRngCore,
) -> Result<Counters, VaultError> {
    let records: i64 = tx.query_row("SELECT count(*) FROM record", [], |row| row.get(0))?;
    if records == 0 {
        let mut counters =
            Counters { boot_gen: 0, vault_seq: 0, clock_high_ms: 0, version: FIRST_VERSION };
        write_own(tx, sealer, (CANARY_ID, FIRST_VERSION), CANARY, rng)?;
        save(tx, sealer, &mut counters, rng)?;
        return Ok(counters);
    }
    match read_own(tx, sealer, CANARY_ID) {
        Ok(Some((_, canary))) if canary.as_slice() == CANARY => {}
        Err(VaultError::Sqlite(error)) => return Err(error.into()),
        Ok(Some(_)) | Err(_) => return Err(VaultRule::WrongKey.into()),
        Ok(None) => return Err(damaged()),
    }
    let (version, bytes) = read_own(tx, sealer, COUNTERS_ID)?.ok_or_else(damaged)?;
    let counters = Counters::from_bytes(&bytes)?;
    if counters.version != version {
        return Err(damaged());
    }
    Ok(counters)
}

/// Refuses a counters' row that is older than some record.
pub(super) fn refuse_newer_records(
    tx: &Transaction<'_>,
    counters: &Counters,
) -> Result<(), VaultError> {
    let newest: i64 = tx.query_row("SELECT max(version) FROM record", [], |row| row.get(0))?;
    if u64::try_from(newest).is_ok_and(|newest| newest == counters.version) {
        Ok(())
    } else {
        Err(damaged())
    }
}

/// Writes the counters under the next version, which is thereby the newest of the vault.
pub(super) fn save(
    tx: &Transaction<'_>,
    sealer: &Sealer,
    counters: &mut Counters,
    rng: &mut dyn CryptoRngCore,
) -> Result<(), VaultError> {
    counters.version = next(counters.version)?;
    write_own(tx, sealer, (COUNTERS_ID, counters.version), &counters.to_bytes(), rng)
}

/// The binding, or the empty scope of a vault that is not bound yet.
pub(super) fn load_binding(tx: &Transaction<'_>, sealer: &Sealer) -> Result<Scope, VaultError> {
    match read_own(tx, sealer, BINDING_ID)? {
        None => Ok(Scope::default()),
        Some((_, bytes)) => {
            let (cluster, node) = bytes.split_at_checked(32).ok_or_else(damaged)?;
            Scope::new(cluster, node)
        }
    }
}

/// Writes the binding, under a version that the caller took from the counters.
pub(super) fn save_binding(
    tx: &Transaction<'_>,
    sealer: &Sealer,
    (scope, version): (&Scope, u64),
    rng: &mut dyn CryptoRngCore,
) -> Result<(), VaultError> {
    let (cluster, node) = scope.bound().ok_or_else(damaged)?;
    write_own(tx, sealer, (BINDING_ID, version), &[cluster, node].concat(), rng)
}

fn damaged() -> VaultError {
    VaultRule::Damaged { kind: OWN_KIND.to_owned() }.into()
}

fn read_own(tx: &Transaction<'_>, sealer: &Sealer, id: &[u8]) -> Result<Option<Own>, VaultError> {
    let row: Option<(i64, Vec<u8>)> = tx
        .query_row(
            "SELECT version, sealed FROM record WHERE kind=?1 AND id=?2",
            params![OWN_KIND, id],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let Some((version, sealed)) = row else { return Ok(None) };
    let version = u64::try_from(version).map_err(|_| damaged())?;
    let name = Name { kind: OWN_KIND, id, version };
    let (_, plaintext) = sealer.open(&Scope::default(), name, &sealed)?;
    Ok(Some((version, plaintext)))
}

fn write_own(
    tx: &Transaction<'_>,
    sealer: &Sealer,
    (id, version): (&[u8], u64),
    plaintext: &[u8],
    rng: &mut dyn CryptoRngCore,
) -> Result<(), VaultError> {
    let name = Name { kind: OWN_KIND, id, version };
    let sealed = sealer.seal((&Scope::default(), 0), name, plaintext, rng)?;
    let column = i64::try_from(version).map_err(|_| damaged())?;
    let mut statement = tx.prepare_cached(
        "INSERT INTO record(kind, id, version, sealed) VALUES(?1, ?2, ?3, ?4)
         ON CONFLICT(kind, id) DO UPDATE SET version=excluded.version, sealed=excluded.sealed",
    )?;
    statement.execute(params![OWN_KIND, id, column, sealed])?;
    Ok(())
}
