//! Checking one signer's share before anything is added up.
//!
//! Source: RFC 9591 §5.4. The check is public and is `dvm-blame`'s; the share is not public before release, so
//! it comes as a [`Secret`].

use dvm_blame::{Binding, Fault, SchnorrSuite};

use crate::secret::Secret;

/// Checks a share; a wrong one names its sender.
pub fn verify_share<C: SchnorrSuite>(
    binding: &Binding<C>,
    node: &str,
    share: &Secret<Vec<u8>>,
) -> Result<(), Fault> {
    share.expose(|share| binding.verify_share(node, share))
}
