//! Zero-sharing: the signers' ζ add up to zero, and any t − 1 of them say nothing of the last.
//!
//! Source: DKLs23 (eprint 2023/765), Functionality 3.4, from the seeds that each pair agreed on when it was set up.
//! Always true: the pair's two contributions to one item of one run cancel out: the larger name adds, the smaller
//! subtracts.

use dvm_blame::Fault;
use k256::Scalar;
use k256::elliptic_curve::bigint::U256;
use k256::elliptic_curve::ops::Reduce;
use zeroize::Zeroize;

use super::preimage;
use super::terms::{Pairs, Terms};
use super::vole::Vole;
use crate::secret::Secret;

/// ζ_i of one item of the run.
pub(crate) fn zero_share<V: Vole>(
    terms: &Terms,
    item: u16,
    pairs: &Pairs<V>,
) -> Result<Secret<Scalar>, Fault> {
    let mut zeta = Scalar::ZERO;
    for peer in terms.peers() {
        let pair = terms.pair(pairs, peer)?;
        let mut fragment =
            pair.zero_seed.expose(|seed| preimage::zero_fragment(seed, &terms.run_sid, item));
        // q is so close to 2^256 that the reduction's bias is below 2^-127.
        let share = <Scalar as Reduce<U256>>::reduce_bytes(&fragment.into());
        fragment.zeroize();
        if terms.me.as_str() > peer { zeta += share } else { zeta -= share }
    }
    Ok(Secret::new(zeta))
}
