//! One sealed record: its bytes, its associated data, its handle.
//!
//! Layout: format (1) | bound (1) | epoch (8, big-endian) | nonce (24) | ciphertext and tag. The clear header tells how
//! to rebuild the AAD and is itself in it, so changing it only makes the record unreadable.
//! AAD: each of domain, cluster, node, kind, id, epoch, version, prefixed by its length (u32, big-endian). Cluster and
//! node are empty for records written before the vault was bound (the node's own keys, which the manifest names).
//! Always true: a nonce is drawn anew for each sealing; 24 random bytes do not repeat.

use super::{VaultError, VaultRule};
use crate::unseal::MasterKey;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use rand_core::CryptoRngCore;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Longest kind name.
pub const MAX_KIND_BYTES: usize = 64;
/// Longest record id; ids are digests and small tuples of them.
pub const MAX_ID_BYTES: usize = 256;
/// Longest plaintext: equal to the longest frame, since what is stored came through one.
pub const MAX_PLAINTEXT_BYTES: usize = crate::pipe::MAX_FRAME_BYTES;

/// The kind of the vault's own records.
pub(super) const OWN_KIND: &str = "vault";

const DOMAIN: &[u8] = b"dvm/vault/record/v1";
const KEY_DOMAIN: &[u8] = b"dvm/vault/key/v1";
const FORMAT: u8 = 1;
const NONCE_BYTES: usize = 24;

/// Refuses kinds and ids beyond their bounds, and the vault's own kind.
pub(super) fn check_name(kind: &str, id: &[u8]) -> Result<(), VaultError> {
    if kind.is_empty() || kind.len() > MAX_KIND_BYTES || kind == OWN_KIND {
        return Err(VaultRule::OutOfBounds { what: "kind" }.into());
    }
    if id.is_empty() || id.len() > MAX_ID_BYTES {
        return Err(VaultRule::OutOfBounds { what: "id" }.into());
    }
    Ok(())
}

/// SHA-256 of a sealed record. Never of a plaintext, so it can be shown without telling anything about the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Handle([u8; 32]);

impl Handle {
    /// The digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(super) fn of(sealed: &[u8]) -> Self {
        Self(Sha256::digest(sealed).into())
    }
}

/// An opened record. The plaintext is wiped on drop.
pub struct Record {
    /// Its id within its kind.
    pub id: Vec<u8>,
    /// The epoch it was put under.
    pub epoch: u64,
    /// The vault-wide version of the write; never used twice.
    pub version: u64,
    /// The handle of its sealed form.
    pub handle: Handle,
    /// The content.
    pub plaintext: Zeroizing<Vec<u8>>,
}

/// Whose vault it is; empty until bound.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Scope {
    cluster: Vec<u8>,
    node: Vec<u8>,
}

impl Scope {
    pub(super) fn new(cluster: &[u8], node: &[u8]) -> Result<Self, VaultError> {
        if cluster.len() != 32 {
            return Err(VaultRule::OutOfBounds { what: "cluster" }.into());
        }
        if node.is_empty() || node.len() > super::MAX_NODE_BYTES {
            return Err(VaultRule::OutOfBounds { what: "node" }.into());
        }
        Ok(Self { cluster: cluster.to_vec(), node: node.to_vec() })
    }

    pub(super) fn bound(&self) -> Option<(&[u8], &[u8])> {
        if self.cluster.is_empty() { None } else { Some((&self.cluster, &self.node)) }
    }
}

/// What names a record.
#[derive(Clone, Copy)]
pub(super) struct Name<'a> {
    pub(super) kind: &'a str,
    pub(super) id: &'a [u8],
    pub(super) version: u64,
}

impl Name<'_> {
    fn damaged(&self) -> VaultError {
        VaultRule::Damaged { kind: self.kind.to_owned() }.into()
    }
}

/// The vault's AEAD. It wipes its key on drop.
pub(super) struct Sealer {
    cipher: XChaCha20Poly1305,
}

impl Sealer {
    /// Separates this use of the master key from any other.
    pub(super) fn new(key: &MasterKey) -> Self {
        let derived: Zeroizing<[u8; 32]> = Zeroizing::new(key.expose(|bytes| {
            Sha256::new().chain_update(KEY_DOMAIN).chain_update(bytes).finalize().into()
        }));
        Self { cipher: XChaCha20Poly1305::new(derived.as_slice().into()) }
    }

    pub(super) fn seal(
        &self,
        (scope, epoch): (&Scope, u64),
        name: Name<'_>,
        plaintext: &[u8],
        rng: &mut dyn CryptoRngCore,
    ) -> Result<Vec<u8>, VaultError> {
        let mut nonce = [0u8; NONCE_BYTES];
        rng.fill_bytes(&mut nonce);
        let payload = Payload { msg: plaintext, aad: &aad(scope, epoch, name) };
        let ciphertext =
            self.cipher.encrypt(XNonce::from_slice(&nonce), payload).map_err(|_| name.damaged())?;
        let mut sealed = vec![FORMAT, u8::from(scope.bound().is_some())];
        sealed.extend_from_slice(&epoch.to_be_bytes());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&ciphertext);
        Ok(sealed)
    }

    /// Opens `sealed` as the record `name`; anything else is `Damaged`.
    pub(super) fn open(
        &self,
        scope: &Scope,
        name: Name<'_>,
        sealed: &[u8],
    ) -> Result<(u64, Zeroizing<Vec<u8>>), VaultError> {
        let (header, rest) = sealed.split_first_chunk::<2>().ok_or_else(|| name.damaged())?;
        let (epoch, rest) = rest.split_first_chunk::<8>().ok_or_else(|| name.damaged())?;
        let (nonce, ciphertext) =
            rest.split_first_chunk::<NONCE_BYTES>().ok_or_else(|| name.damaged())?;
        let epoch = u64::from_be_bytes(*epoch);
        let unbound = Scope::default();
        let scope = match *header {
            [FORMAT, 0] => &unbound,
            [FORMAT, 1] if scope.bound().is_some() => scope,
            _ => return Err(name.damaged()),
        };
        let payload = Payload { msg: ciphertext, aad: &aad(scope, epoch, name) };
        let plaintext =
            self.cipher.decrypt(XNonce::from_slice(nonce), payload).map_err(|_| name.damaged())?;
        Ok((epoch, Zeroizing::new(plaintext)))
    }
}

fn aad(scope: &Scope, epoch: u64, name: Name<'_>) -> Vec<u8> {
    let (epoch, version) = (epoch.to_be_bytes(), name.version.to_be_bytes());
    let fields: [&[u8]; 7] =
        [DOMAIN, &scope.cluster, &scope.node, name.kind.as_bytes(), name.id, &epoch, &version];
    let mut bytes = Vec::new();
    for field in fields {
        // Every field is bounded far below 4 GiB before it comes here.
        bytes.extend_from_slice(&(field.len() as u32).to_be_bytes());
        bytes.extend_from_slice(field);
    }
    bytes
}
