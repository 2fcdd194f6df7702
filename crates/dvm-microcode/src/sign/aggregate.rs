//! Adding up t shares to the signature.
//!
//! Source: RFC 9591 §5.3.
//! Always true: the signature verified under the key and the message, by an independent library, before it is
//! returned; it is a [`Secret`] until the gate publishes it.

use std::collections::BTreeMap;

use dvm_blame::{Binding, Fault, SchnorrSuite};
use zeroize::Zeroize;

use crate::secret::{Secret, SecretMessages};

/// Combines the shares of all t signers, by node name; if shares are wrong, names all their senders.
pub fn aggregate<C: SchnorrSuite>(
    binding: &Binding<C>,
    shares: &SecretMessages,
) -> Result<Secret<Vec<u8>>, Fault> {
    // RFC 9591 §5.3, aggregate(...): z = Σ z_i; return (group_commitment, z)
    with_plain(shares, |shares| binding.aggregate(shares)).map(|mut signature| {
        let kept = Secret::new(signature.to_vec());
        signature.zeroize();
        kept
    })
}

/// Shows the shares to a public check, which takes plain bytes. The copies live for this call and are wiped on every
/// way out of it.
pub(crate) fn with_plain<R>(
    shares: &SecretMessages,
    check: impl FnOnce(&BTreeMap<String, Vec<u8>>) -> R,
) -> R {
    let plain = shares.iter().map(|(node, share)| (node.clone(), share.expose(Vec::clone)));
    let mut plain: BTreeMap<String, Vec<u8>> = plain.collect();
    let verdict = check(&plain);
    plain.values_mut().for_each(Zeroize::zeroize);
    verdict
}
