//! A node's share of a key, with the public half it belongs to.
//!
//! Always true: the share times the generator is the node's verifying share in the group key; the secret stays
//! decoded (decoding it per signature costs more than signing) and leaves only as sealed bytes.
//! Not here: encryption of the sealed bytes, which is the vault's.

use dvm_blame::layout::{Reader, Writer};
use dvm_blame::{Bug, FrostSuite, GROUP_KEY_BYTES_MAX, GroupKey, NODE_NAME_BYTES_MAX, Rule};
use frost_core::keys::{KeyPackage, SigningShare, VerifyingShare};

use crate::secret::Secret;

const DOMAIN: &str = "dvm/key-share/v1";

/// One node's share of a threshold key.
pub struct KeyShare<C: FrostSuite> {
    node: String,
    group: GroupKey<C>,
    transcript: [u8; 32],
    package: Secret<KeyPackage<C>>,
}

impl<C: FrostSuite> KeyShare<C> {
    /// Joins a share to its group key; `None` if it is not this node's share of this key.
    pub(crate) fn new(
        node: &str,
        group: GroupKey<C>,
        transcript: [u8; 32],
        share: SigningShare<C>,
    ) -> Option<Self> {
        let verifying_share = VerifyingShare::from(share);
        if group.verifying_share(node).ok()? != verifying_share {
            return None;
        }
        let package = Secret::new(KeyPackage::new(
            group.identifier(node).ok()?,
            share,
            verifying_share,
            *group.package().verifying_key(),
            group.threshold(),
        ));
        Some(Self { node: node.to_owned(), group, transcript, package })
    }

    /// The node this share belongs to.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The public half. It contains the public key, so it stays in the kernel until `publish_pubkey`.
    pub fn group(&self) -> &GroupKey<C> {
        &self.group
    }

    /// The hash of the key generation that made this key; the same at every node.
    pub fn transcript(&self) -> &[u8; 32] {
        &self.transcript
    }

    pub(crate) fn package(&self) -> &Secret<KeyPackage<C>> {
        &self.package
    }

    /// The share's encoding, for the vault to seal. Nothing else serialises a share.
    pub fn seal_bytes(&self) -> Result<Secret<Vec<u8>>, Bug> {
        let group = self.group.encode()?;
        let share = Secret::new(self.package.expose(|package| package.signing_share().serialize()));
        Ok(Secret::new(share.expose(|share| {
            Writer::of(DOMAIN, &[self.node.as_bytes(), &group, &self.transcript, share]).finish()
        })))
    }

    /// Reads what [`KeyShare::seal_bytes`] wrote, and checks the share against its verifying share again: a vault
    /// record that was swapped or damaged must not sign.
    pub fn unseal(bytes: &[u8]) -> Result<Self, Rule> {
        Self::unseal_with(bytes, |encoded| GroupKey::decode(encoded))
    }

    /// The same, for a caller that may have decoded the public half before: `group` gives what [`GroupKey::decode`]
    /// gives for these bytes. Decoding it is most of the work, and nothing of it is secret.
    pub fn unseal_with(
        bytes: &[u8],
        group: impl FnOnce(&[u8]) -> Result<GroupKey<C>, Rule>,
    ) -> Result<Self, Rule> {
        Self::read(bytes, group).ok_or(Rule::MalformedSealedKey)
    }

    fn read(bytes: &[u8], group: impl FnOnce(&[u8]) -> Result<GroupKey<C>, Rule>) -> Option<Self> {
        let mut reader = Reader::new(bytes, DOMAIN)?;
        let node = reader.text(NODE_NAME_BYTES_MAX)?;
        let group = group(reader.field(GROUP_KEY_BYTES_MAX)?).ok()?;
        let transcript = reader.field(32)?.try_into().ok()?;
        let share = SigningShare::deserialize(reader.field(32)?).ok()?;
        reader.end()?;
        Self::new(node, group, transcript, share)
    }
}
