//! What t signers committed to: the nonce commitments of exactly t of them and one message under one key.
//!
//! Source: RFC 9591 §4.4 (binding factors), §4.5 (group commitment R), §4.6 (challenge c), §5.3 (shares and
//! aggregation). For BIP-340 the suite negates keys and nonces as the parities of the key and of R ask.
//! Always true: exactly t signers, all members, every commitment decoded from its only encoding. A binding keeps its
//! group key, so a share cannot be checked against another key's commitments.
//! Not here: signing itself, which needs secrets.

use std::collections::BTreeMap;

use frost_core::round1::{NonceCommitment, SigningCommitments};
use frost_core::round2::SignatureShare;
use frost_core::{CheaterDetection, Error, Field, Group, Identifier, SigningPackage};

use crate::fault::{Bug, Fault, Offence, Rule, Unattributed};
use crate::group_key::GroupKey;
use crate::signature::SCHNORR_SIGNATURE_BYTES;
use crate::suite::{FrostSuite, SchnorrSuite, element_from_bytes, element_tail};

/// Longest message that is signed as it is. Larger ones are signed by digest; FROST hashes the message several
/// times and keeps a copy.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// The public transcript of one signature: signers, commitments, message, and what follows from them.
pub struct Binding<C: FrostSuite> {
    group: GroupKey<C>,
    signers: BTreeMap<String, Identifier<C>>,
    package: SigningPackage<C>,
    group_commitment: Vec<u8>,
    r: [u8; 32],
    challenge: Vec<u8>,
}

impl<C: FrostSuite> Binding<C> {
    /// Binds a message to the commitments (D_i ‖ E_i) of exactly t signers, by node name.
    pub fn new(
        group: &GroupKey<C>,
        commitments: &BTreeMap<String, Vec<u8>>,
        message: &[u8],
    ) -> Result<Self, Fault> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(Rule::MessageTooLong.into());
        }
        let decoded = decode_all(group, commitments)?;
        let signer = |node: &String| Ok((node.clone(), group.identifier(node)?));
        let signers = commitments.keys().map(signer).collect::<Result<_, Rule>>()?;
        let package = SigningPackage::new(decoded, message);
        let (group_commitment, challenge) = transcript(group, &package)?;
        let r = element_tail(&group_commitment).ok_or(Bug::Encoding)?;
        Ok(Self { group: group.clone(), signers, package, group_commitment, r, challenge })
    }

    /// The key this is bound to.
    pub fn group(&self) -> &GroupKey<C> {
        &self.group
    }

    /// The signers' names, sorted.
    pub fn signers(&self) -> impl Iterator<Item = &str> {
        self.signers.keys().map(String::as_str)
    }

    /// The message.
    pub fn message(&self) -> &[u8] {
        self.package.message()
    }

    /// R in the suite's element encoding, before BIP-340's choice of the even y.
    pub fn group_commitment(&self) -> &[u8] {
        &self.group_commitment
    }

    /// R as it will stand in the first half of the signature.
    pub fn r(&self) -> &[u8; 32] {
        &self.r
    }

    /// The challenge c, a scalar in the suite's encoding.
    pub fn challenge(&self) -> &[u8] {
        &self.challenge
    }

    /// FROST's own form of commitments and message.
    pub fn package(&self) -> &SigningPackage<C> {
        &self.package
    }

    /// Checks one signer's share: z_i G = R_i + c λ_i Y_i, up to BIP-340's signs.
    pub fn verify_share(&self, node: &str, share: &[u8]) -> Result<(), Fault> {
        let identifier = *self.signers.get(node).ok_or(Rule::UnexpectedMessage)?;
        let roster = self.group.roster();
        let share = SignatureShare::<C>::deserialize(share)
            .map_err(|_| roster.blame(node, Offence::MalformedSignatureShare))?;
        frost_core::verify_signature_share(
            identifier,
            &self.group.verifying_share(node)?,
            &share,
            &self.package,
            self.group.package().verifying_key(),
        )
        .map_err(|error| match error {
            Error::InvalidSignatureShare { .. } => roster.blame(node, Offence::WrongSignatureShare),
            _ => Bug::Library.into(),
        })
    }

    /// Whether the shares of all t signers add up to a signature, which is dropped. If shares are wrong, all their
    /// senders are named. Every suite's keys are probed so; no other use of them is common to all.
    pub fn probe(&self, shares: &BTreeMap<String, Vec<u8>>) -> Result<(), Fault> {
        self.sum(shares).map(drop)
    }

    fn sum(&self, shares: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>, Fault> {
        self.group.roster().check_senders(shares, self.signers())?;
        let mut decoded = BTreeMap::new();
        let mut malformed = Vec::new();
        for (node, identifier) in &self.signers {
            let bytes = shares.get(node).ok_or(Rule::UnexpectedMessage)?;
            match SignatureShare::<C>::deserialize(bytes) {
                Ok(share) => {
                    decoded.insert(*identifier, share);
                }
                Err(_) => malformed.push(*identifier),
            }
        }
        if !malformed.is_empty() {
            let culprits = self.group.parties(&malformed);
            return Err(Fault::Blame { culprits, what: Offence::MalformedSignatureShare });
        }
        let group = self.group.package();
        let all = CheaterDetection::AllCheaters;
        let signature =
            frost_core::aggregate_custom(&self.package, &decoded, group, all).map_err(|error| {
                match error {
                    Error::InvalidSignatureShare { culprits } => Fault::Blame {
                        culprits: self.group.parties(&culprits),
                        what: Offence::WrongSignatureShare,
                    },
                    Error::InvalidSignature => Unattributed::FinalSignature.into(),
                    _ => Bug::Library.into(),
                }
            })?;
        let signature = signature.serialize().map_err(|_| Unattributed::Degenerate)?;
        C::verify_schnorr(self.group.public_key(), self.message(), &signature)
            .map_err(|_| Unattributed::FinalSignature)?;
        Ok(signature)
    }
}

impl<C: SchnorrSuite> Binding<C> {
    /// Adds up the shares of all t signers. The signature is returned only if it verifies under the key and the
    /// message with an independent library; if shares are wrong, all their senders are named.
    pub fn aggregate(
        &self,
        shares: &BTreeMap<String, Vec<u8>>,
    ) -> Result<[u8; SCHNORR_SIGNATURE_BYTES], Fault> {
        let signature = self.sum(shares)?;
        signature.as_slice().try_into().map_err(|_| Bug::Encoding.into())
    }
}

/// Checks the commitments (D_i ‖ E_i) of exactly t signers, by node name, for a message that is not known yet: whom
/// [`Binding::new`] would name for malformed ones is named here.
pub fn check_commitments<C: FrostSuite>(
    group: &GroupKey<C>,
    commitments: &BTreeMap<String, Vec<u8>>,
) -> Result<(), Fault> {
    decode_all(group, commitments).map(drop)
}

/// The commitments of exactly t signers.
fn decode_all<C: FrostSuite>(
    group: &GroupKey<C>,
    commitments: &BTreeMap<String, Vec<u8>>,
) -> Result<BTreeMap<Identifier<C>, SigningCommitments<C>>, Fault> {
    if commitments.len() != usize::from(group.threshold()) {
        return Err(Rule::SignerCount.into());
    }
    let mut decoded = BTreeMap::new();
    let mut malformed = Vec::new();
    for (node, bytes) in commitments {
        let identifier = group.identifier(node)?;
        match signing_commitments::<C>(bytes) {
            Some(commitment) => {
                decoded.insert(identifier, commitment);
            }
            None => malformed.push(identifier),
        }
    }
    if !malformed.is_empty() {
        let culprits = group.parties(&malformed);
        return Err(Fault::Blame { culprits, what: Offence::MalformedNonceCommitment });
    }
    Ok(decoded)
}

/// D ‖ E, each in the element's only encoding.
fn signing_commitments<C: FrostSuite>(bytes: &[u8]) -> Option<SigningCommitments<C>> {
    let (hiding, binding) = bytes.split_at_checked(C::ELEMENT_BYTES)?;
    Some(SigningCommitments::new(
        NonceCommitment::new(element_from_bytes::<C>(hiding)?),
        NonceCommitment::new(element_from_bytes::<C>(binding)?),
    ))
}

/// R and c, both encoded.
fn transcript<C: FrostSuite>(
    group: &GroupKey<C>,
    package: &SigningPackage<C>,
) -> Result<(Vec<u8>, Vec<u8>), Fault> {
    // The suite's own preparation: for BIP-340, the key with even y.
    let no_shares = BTreeMap::new();
    let (package, _, public) =
        C::pre_aggregate(package, &no_shares, group.package()).map_err(|_| Bug::Library)?;
    let key = public.verifying_key();
    // RFC 9591 §4.4: binding_factor_list = compute_binding_factors(group_public_key, commitment_list, msg)
    let factors =
        frost_core::compute_binding_factor_list(&package, key, &[]).map_err(|_| Bug::Library)?;
    let package = C::pre_commitment_aggregate(&package, &factors).map_err(|_| Bug::Library)?;
    // RFC 9591 §4.5: group_commitment = compute_group_commitment(commitment_list, binding_factor_list)
    let element = frost_core::compute_group_commitment(&package, &factors)
        .map_err(|_| Bug::Library)?
        .to_element();
    let encoded = C::Group::serialize(&element).map_err(|_| Unattributed::Degenerate)?;
    // RFC 9591 §4.6: challenge = compute_challenge(group_commitment, group_public_key, msg)
    let challenge = C::challenge(&element, key, package.message()).map_err(|_| Bug::Library)?;
    let challenge = <C::Group as Group>::Field::serialize(&challenge.to_scalar());
    Ok((encoded.as_ref().to_vec(), challenge.as_ref().to_vec()))
}
