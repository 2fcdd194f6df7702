//! The transcript of a signature: signers, commitments and message, and R and the challenge that follow.
//!
//! Source: RFC 9591 §4.4–4.6. All of it is public, so the computation is `dvm-blame`'s, where an offline verifier
//! runs the same lines.

use std::collections::BTreeMap;

use dvm_blame::{Binding, Fault, GroupKey, SchnorrSuite};

/// Binds the message to exactly t signers' commitments, by node name. A signer whose commitments are malformed is
/// named.
pub fn bind<C: SchnorrSuite>(
    group: &GroupKey<C>,
    commitments: &BTreeMap<String, Vec<u8>>,
    message: &[u8],
) -> Result<Binding<C>, Fault> {
    Binding::new(group, commitments, message)
}

/// Checks exactly t signers' commitments before there is a message. A signer whose commitments are malformed is named.
pub fn check_commitments<C: SchnorrSuite>(
    group: &GroupKey<C>,
    commitments: &BTreeMap<String, Vec<u8>>,
) -> Result<(), Fault> {
    dvm_blame::check_commitments(group, commitments)
}
