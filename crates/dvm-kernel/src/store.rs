//! The kernel's records in the vault: their kinds, how they are read, and one batch of writes per transaction.
//!
//! Always true: a handler collects its writes in a [`Draft`] and commits it once, so what it did is durable as a
//! whole or not at all; memory follows only after the commit.
//! Not here: sealing and SQLite (`vault`).

use dvm_core::Link;
use dvm_core::codec::{self, Artifact};
use zeroize::Zeroizing;

use crate::stop::Stop;
use crate::vault::Vault;

/// What kind of record it is. The name is in the record's associated data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// This kernel's own two keys.
    OwnKeys,
    /// The cluster it is pinned to.
    Pin,
    /// Certified log entries, by sequence number.
    LogEntry,
    /// The sign-once register.
    Register,
    /// The highest statement seen of each peer's kernel.
    Peer,
    /// Nodes whose kernels run twice, with the evidence.
    Fence,
    /// This kernel's starts, by generation.
    Boot,
    /// What ended this kernel.
    End,
    /// Openings and failures per key.
    Usage,
    /// What became of each intent.
    Intent,
    /// Denials by people.
    Tombstone,
    /// Held results, without their secret.
    Held,
    /// The secret of a held result.
    HeldShare,
    /// The bytes that a held signature is over.
    HeldMessage,
    /// Key shares, by key and the link of their facts.
    KeyShare,
    /// What this kernel shares with another holder of a key, by the run that generated the key and by the holder.
    PairSetup,
    /// Whom this kernel caught, by key, epoch and node.
    Ban,
    /// Consumption of one-time material.
    Consumed,
    /// Permits consumed, by run and level.
    Permits,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OwnKeys => "own-keys",
            Self::Pin => "pin",
            Self::LogEntry => "log-entry",
            Self::Register => "register",
            Self::Peer => "peer-mark",
            Self::Fence => "fence",
            Self::Boot => "own-boot",
            Self::End => "end",
            Self::Usage => "usage",
            Self::Intent => "intent",
            Self::Tombstone => "tombstone",
            Self::Held => "held",
            Self::HeldShare => "held-share",
            Self::HeldMessage => "held-message",
            Self::KeyShare => "key-share",
            Self::PairSetup => "pair-setup",
            Self::Ban => "ban",
            Self::Consumed => "consumed",
            Self::Permits => "permits",
        }
    }
}

enum Write {
    Put(Kind, Vec<u8>, Zeroizing<Vec<u8>>),
    InsertNew(Kind, Vec<u8>, Zeroizing<Vec<u8>>),
    Delete(Kind, Vec<u8>),
    Bind(Link, String),
}

/// Everything that one call will make durable.
pub(crate) struct Draft {
    from_seq: u64,
    seq: u64,
    writes: Vec<Write>,
}

impl Draft {
    pub(crate) fn new(vault: &Vault) -> Self {
        Self { from_seq: vault.vault_seq(), seq: vault.vault_seq(), writes: Vec::new() }
    }

    /// The number of the next statement; durable with the draft.
    pub(crate) fn next_seq(&mut self) -> u64 {
        self.seq = self.seq.saturating_add(1);
        self.seq
    }

    pub(crate) fn put<T: Artifact>(&mut self, kind: Kind, id: &[u8], value: &T) {
        self.put_secret(kind, id, Zeroizing::new(codec::encode(value)));
    }

    pub(crate) fn put_secret(&mut self, kind: Kind, id: &[u8], bytes: Zeroizing<Vec<u8>>) {
        self.writes.push(Write::Put(kind, id.to_vec(), bytes));
    }

    /// A record that must not exist yet; the commit is refused if it does.
    pub(crate) fn insert_new(&mut self, kind: Kind, id: &[u8], bytes: Vec<u8>) {
        self.writes.push(Write::InsertNew(kind, id.to_vec(), Zeroizing::new(bytes)));
    }

    pub(crate) fn delete(&mut self, kind: Kind, id: &[u8]) {
        self.writes.push(Write::Delete(kind, id.to_vec()));
    }

    /// Binds the vault to its cluster and node.
    pub(crate) fn bind(&mut self, cluster: Link, node: &str) {
        self.writes.push(Write::Bind(cluster, node.to_owned()));
    }

    /// Makes it durable, with the clock's mark.
    pub(crate) fn commit(self, vault: &mut Vault, clock_high_ms: u64) -> Result<(), Stop> {
        vault.txn(|txn| {
            txn.raise_clock(clock_high_ms);
            for _ in self.from_seq..self.seq {
                txn.next_vault_seq()?;
            }
            for write in &self.writes {
                match write {
                    Write::Put(kind, id, bytes) => {
                        txn.put(kind.name(), id, 0, bytes)?;
                    }
                    Write::InsertNew(kind, id, bytes) => {
                        txn.insert_new(kind.name(), id, 0, bytes)?;
                    }
                    Write::Delete(kind, id) => {
                        txn.delete(kind.name(), id)?;
                    }
                    Write::Bind(cluster, node) => {
                        txn.bind(&cluster.digest().0, node.as_bytes())?;
                    }
                }
            }
            Ok(())
        })
    }
}

/// The plaintext of one record.
pub(crate) fn read(
    vault: &mut Vault,
    kind: Kind,
    id: &[u8],
) -> Result<Option<Zeroizing<Vec<u8>>>, Stop> {
    Ok(vault.get(kind.name(), id)?.map(|record| record.plaintext))
}

/// One record, decoded.
pub(crate) fn load<T: Artifact>(
    vault: &mut Vault,
    kind: Kind,
    id: &[u8],
) -> Result<Option<T>, Stop> {
    read(vault, kind, id)?.map(|bytes| decoded(&bytes)).transpose()
}

/// Every record of a kind, decoded, by id.
pub(crate) fn load_all<T: Artifact>(
    vault: &mut Vault,
    kind: Kind,
) -> Result<Vec<(Vec<u8>, T)>, Stop> {
    vault
        .scan(kind.name())?
        .into_iter()
        .map(|r| Ok((r.id.clone(), decoded(&r.plaintext)?)))
        .collect()
}

fn decoded<T: Artifact>(bytes: &[u8]) -> Result<T, Stop> {
    codec::decode(bytes).map_err(|_| Stop::internal("a record does not decode"))
}
