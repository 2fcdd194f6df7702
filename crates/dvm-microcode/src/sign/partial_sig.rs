//! Signing round two: this node's share of the signature.
//!
//! Source: RFC 9591 §5.2.
//! Always true: the nonces are gone when this returns, whatever it returns. The caller writes the consumed marker
//! before the share leaves the kernel; a crash between the two costs one signing attempt and no secret.

use dvm_blame::{Binding, Bug, Fault, FrostSuite, Rule, SchnorrSuite};
use frost_core::{Error, round2};

use super::nonce_commit::Nonces;
use crate::key_share::KeyShare;
use crate::secret::Secret;

/// Computes z_i. Secret: with t of them anyone has the signature, so they leave the kernel at release only.
pub fn partial_sig<C: SchnorrSuite>(
    key: &KeyShare<C>,
    nonces: Nonces<C>,
    binding: &Binding<C>,
) -> Result<Secret<Vec<u8>>, Fault> {
    respond(key, nonces, binding)
}

/// The same for any suite: the probe of a key generation needs shares, too.
pub(crate) fn respond<C: FrostSuite>(
    key: &KeyShare<C>,
    nonces: Nonces<C>,
    binding: &Binding<C>,
) -> Result<Secret<Vec<u8>>, Fault> {
    if binding.group() != key.group() {
        return Err(Rule::OtherSession.into());
    }
    if !binding.signers().any(|node| node == key.node()) {
        return Err(Rule::NotAMember.into());
    }
    // RFC 9591 §5.2, sign(...): sig_share = hiding_nonce + (binding_nonce * binding_factor)
    //   + (lambda_i * sk_i * challenge)
    // The library first checks that our own commitments stand in the list unchanged: signing under other ones would
    // use the nonces for a transcript they were not made for.
    let signed = nonces.0.consume(|nonces| {
        key.package().expose(|package| round2::sign(binding.package(), nonces, package))
    });
    match signed {
        Ok(share) => Ok(Secret::new(share.serialize())),
        Err(Error::IncorrectCommitment) => Err(Rule::OwnMessageChanged.into()),
        Err(_) => Err(Bug::Library.into()),
    }
}
