//! Signing round one: fresh nonces and the commitments to them.
//!
//! Source: RFC 9591 §5.1 and §4.1.

use dvm_blame::{Bug, Fault, FrostSuite, SchnorrSuite};
use frost_core::round1::{self, SigningNonces};
use rand_core::{CryptoRng, RngCore};

use crate::key_share::KeyShare;
use crate::secret::OneTime;

/// The nonces (d_i, e_i) of one signature. Used up by [`crate::sign::partial_sig`], wiped if it never runs.
pub struct Nonces<C: FrostSuite>(pub(crate) OneTime<SigningNonces<C>>);

/// Draws nonces; returns them with D_i ‖ E_i, which goes to all signers. Does not depend on the message.
pub fn nonce_commit<C: SchnorrSuite>(
    key: &KeyShare<C>,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<(Nonces<C>, Vec<u8>), Fault> {
    draw(key, rng)
}

/// The same for any suite: the probe of a key generation draws nonces, too.
pub(crate) fn draw<C: FrostSuite>(
    key: &KeyShare<C>,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<(Nonces<C>, Vec<u8>), Fault> {
    // RFC 9591 §5.1, commit(sk_i): hiding_nonce = nonce_generate(sk_i), binding_nonce = nonce_generate(sk_i);
    //   each hashes 32 random bytes with the share, so that a weak RNG alone does not repeat a nonce.
    let (nonces, commitments) =
        key.package().expose(|package| round1::commit(package.signing_share(), rng));
    let nonces = Nonces(OneTime::new(nonces));
    //   comm_i = (hiding_nonce_commitment, binding_nonce_commitment) = (G^d_i, G^e_i)
    let mut message = commitments.hiding().serialize().map_err(|_| Bug::Encoding)?;
    message.extend(commitments.binding().serialize().map_err(|_| Bug::Encoding)?);
    Ok((nonces, message))
}
