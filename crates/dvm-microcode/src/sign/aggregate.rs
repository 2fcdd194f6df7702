//! Adding up t shares to the signature.
//!
//! Source: RFC 9591 §5.3.
//! Always true: the signature verified under the key and the message, by an independent library, before it is
//! returned; it is a [`Secret`] until the gate publishes it.

use std::collections::BTreeMap;

use dvm_blame::{Binding, Fault, FrostSuite};
use zeroize::Zeroize;

use crate::secret::{Secret, SecretMessages};

/// Combines the shares of all t signers, by node name; if shares are wrong, names all their senders.
pub fn aggregate<C: FrostSuite>(
    binding: &Binding<C>,
    shares: &SecretMessages,
) -> Result<Secret<Vec<u8>>, Fault> {
    // The public check takes plain bytes. These copies live for this call and are wiped on every way out of it.
    let mut open: BTreeMap<String, Vec<u8>> =
        shares.iter().map(|(node, share)| (node.clone(), share.expose(Vec::clone))).collect();
    // RFC 9591 §5.3, aggregate(...): z = Σ z_i; return (group_commitment, z)
    let signature = binding.aggregate(&open);
    open.values_mut().for_each(Zeroize::zeroize);
    signature.map(|mut signature| {
        let kept = Secret::new(signature.to_vec());
        signature.zeroize();
        kept
    })
}
