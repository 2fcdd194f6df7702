//! The public half of a threshold key: who holds it, under which identifier, with which verifying share.
//!
//! What: everything that is needed to check a share or a signature of the key, and nothing secret. It stays
//! inside the kernels until `publish_pubkey`, because it contains the public key.
//! Source: RFC 9591 §4 and appendix C; BIP-341 for the internal and the output key.
//! Always true: 2 <= t <= n < 2t; identifiers distinct and non-zero; all verifying shares lie on one polynomial of
//! degree t-1 whose value at zero is the output key, so a lying record cannot make an honest signer look
//! guilty; the output key is the suite's function of the internal key; one encoding.

use std::collections::{BTreeMap, BTreeSet};

use frost_core::keys::{PublicKeyPackage, VerifyingShare};
use frost_core::{Element, Group, Identifier, VerifyingKey, compute_lagrange_coefficient};

use crate::fault::{Bug, Rule};
use crate::layout::{Reader, Writer};
use crate::roster::{NODE_NAME_BYTES_MAX, PARTIES_MAX, Party, Roster};
use crate::suite::{FrostSuite, element_from_bytes};

/// Longest encoding: the parts of [`PARTIES_MAX`] parties and a small header.
pub const GROUP_KEY_BYTES_MAX: usize = 256 + PARTIES_MAX * (NODE_NAME_BYTES_MAX + 128);

const DOMAIN: &str = "dvm/group-key/v1";
const SUITE_NAME_BYTES_MAX: usize = 32;

/// The public half of a threshold key.
#[derive(Clone, PartialEq, Eq)]
pub struct GroupKey<C: FrostSuite> {
    roster: Roster,
    threshold: u16,
    identifiers: BTreeMap<String, Identifier<C>>,
    package: PublicKeyPackage<C>,
    internal: VerifyingKey<C>,
    public_key: C::PublicKey,
}

impl<C: FrostSuite> GroupKey<C> {
    /// Checks that the parts fit together.
    pub fn new(
        identifiers: BTreeMap<String, Identifier<C>>,
        package: PublicKeyPackage<C>,
        internal: VerifyingKey<C>,
    ) -> Result<Self, Rule> {
        let roster = Roster::new(identifiers.keys().cloned())?;
        let threshold = package.min_signers().ok_or(Rule::Threshold)?;
        roster.check_threshold(threshold)?;
        let distinct: BTreeSet<Identifier<C>> = identifiers.values().copied().collect();
        if distinct.len() != identifiers.len()
            || !distinct.iter().eq(package.verifying_shares().keys())
            || C::output_key(&internal) != *package.verifying_key()
            || on_one_polynomial(&package, threshold).is_none()
        {
            return Err(Rule::MalformedGroupKey);
        }
        let encoded = package.verifying_key().serialize().map_err(|_| Rule::MalformedGroupKey)?;
        let length = C::SUITE.public_key_bytes();
        let tail = encoded.len().checked_sub(length).and_then(|start| encoded.get(start..));
        let public_key = tail.and_then(|tail| C::PublicKey::try_from(tail).ok());
        let public_key = public_key.ok_or(Rule::MalformedGroupKey)?;
        Ok(Self { roster, threshold, identifiers, package, internal, public_key })
    }

    /// The key that verifiers use: 32 bytes for Ed25519 or x-only, 33 for ECDSA.
    pub fn public_key(&self) -> &C::PublicKey {
        &self.public_key
    }

    /// The key that the DKG's contributions add up to, before any tweak, in the suite's element encoding.
    pub fn internal_key(&self) -> Result<Vec<u8>, Bug> {
        self.internal.serialize().map_err(|_| Bug::Encoding)
    }

    /// t: how many sign.
    pub fn threshold(&self) -> u16 {
        self.threshold
    }

    /// Who holds shares.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// The node's identifier.
    pub fn identifier(&self, node: &str) -> Result<Identifier<C>, Rule> {
        self.identifiers.get(node).copied().ok_or(Rule::NotAMember)
    }

    /// The node's verifying share Y_i.
    pub fn verifying_share(&self, node: &str) -> Result<VerifyingShare<C>, Rule> {
        let identifier = self.identifier(node)?;
        self.package.verifying_shares().get(&identifier).copied().ok_or(Rule::NotAMember)
    }

    /// The parties behind these identifiers, in roster order.
    pub fn parties(&self, identifiers: &[Identifier<C>]) -> Vec<Party> {
        let named = |party: &Party| {
            self.identifiers.get(&party.node).is_some_and(|own| identifiers.contains(own))
        };
        self.roster.parties().filter(named).collect()
    }

    /// FROST's own form of the public data.
    pub fn package(&self) -> &PublicKeyPackage<C> {
        &self.package
    }

    /// The one encoding.
    pub fn encode(&self) -> Result<Vec<u8>, Bug> {
        let mut writer = Writer::new(DOMAIN)
            .field(C::SUITE.name().as_bytes())
            .number(self.threshold)
            .number(self.roster.size())
            .field(&self.internal_key()?);
        for (node, identifier) in &self.identifiers {
            let share = self.package.verifying_shares().get(identifier).ok_or(Bug::Identifier)?;
            writer = writer
                .field(node.as_bytes())
                .field(&identifier.serialize())
                .field(&share.serialize().map_err(|_| Bug::Encoding)?);
        }
        Ok(writer.finish())
    }

    /// Reads the one encoding and checks everything that [`GroupKey::new`] checks.
    pub fn decode(bytes: &[u8]) -> Result<Self, Rule> {
        if bytes.len() > GROUP_KEY_BYTES_MAX {
            return Err(Rule::MalformedGroupKey);
        }
        let key = Self::read(bytes).ok_or(Rule::MalformedGroupKey)??;
        // Out-of-order and repeated names are the encodings that reading alone would let through.
        if key.encode().ok().as_deref() != Some(bytes) {
            return Err(Rule::MalformedGroupKey);
        }
        Ok(key)
    }

    fn read(bytes: &[u8]) -> Option<Result<Self, Rule>> {
        let mut reader = Reader::new(bytes, DOMAIN)?;
        if reader.text(SUITE_NAME_BYTES_MAX)? != C::SUITE.name() {
            return None;
        }
        let threshold = reader.number()?;
        let size = reader.number()?;
        if usize::from(size) > PARTIES_MAX {
            return None;
        }
        let internal = VerifyingKey::new(element_from_bytes::<C>(reader.field(C::ELEMENT_BYTES)?)?);
        let mut identifiers = BTreeMap::new();
        let mut shares = BTreeMap::new();
        for _ in 0..size {
            let node = reader.text(NODE_NAME_BYTES_MAX)?;
            let identifier = Identifier::<C>::deserialize(reader.field(32)?).ok()?;
            let share = element_from_bytes::<C>(reader.field(C::ELEMENT_BYTES)?)?;
            identifiers.insert(node.to_owned(), identifier);
            shares.insert(identifier, VerifyingShare::new(share));
        }
        reader.end()?;
        let package = PublicKeyPackage::new(shares, C::output_key(&internal), Some(threshold));
        Some(Self::new(identifiers, package, internal))
    }
}

/// Interpolates in the exponent from the first t shares: at zero it must give the key, at every other party that
/// party's share.
fn on_one_polynomial<C: FrostSuite>(package: &PublicKeyPackage<C>, threshold: u16) -> Option<()> {
    let base: BTreeSet<Identifier<C>> =
        package.verifying_shares().keys().take(usize::from(threshold)).copied().collect();
    let value_at = |x: Option<Identifier<C>>| -> Option<Element<C>> {
        let mut sum = C::Group::identity();
        for identifier in &base {
            let share = package.verifying_shares().get(identifier)?;
            let weight = compute_lagrange_coefficient(&base, x, *identifier).ok()?;
            sum = sum + share.to_element() * weight;
        }
        Some(sum)
    };
    if value_at(None)? != package.verifying_key().to_element() {
        return None;
    }
    for (identifier, share) in package.verifying_shares() {
        if !base.contains(identifier) && value_at(Some(*identifier))? != share.to_element() {
            return None;
        }
    }
    Some(())
}
