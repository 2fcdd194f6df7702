//! A node's share of an ECDSA key, as its signing uses it.
//!
//! Source: DKLs23 (eprint 2023/765), Protocol 3.6: a signer multiplies with its additive share of the key.
//! Always true: FROST cannot sign with it, because everything in [`crate::sign`] asks for a
//! [`crate::SchnorrSuite`]; the one exception is the probe inside the key generation.

use dvm_blame::{Roster, Rule, Secp256k1};
use frost_core::compute_lagrange_coefficient;
use k256::Scalar;

use crate::key_share::KeyShare;
use crate::secret::Secret;

/// One node's share of an ECDSA key.
pub type EcdsaShare = KeyShare<Secp256k1>;

impl EcdsaShare {
    /// λ_i(P)·(p(i) + τ): over all signers, these add up to the private key plus `tweak`.
    pub(crate) fn additive(
        &self,
        signers: &Roster,
        tweak: &Scalar,
    ) -> Result<Secret<Scalar>, Rule> {
        if signers.size() != self.group().threshold() {
            return Err(Rule::SignerCount);
        }
        let identifiers = signers.nodes().map(|node| self.group().identifier(node));
        let identifiers = identifiers.collect::<Result<_, _>>()?;
        let me = self.group().identifier(self.node())?;
        // Refuses an identifier that is not in the set.
        let lambda =
            compute_lagrange_coefficient(&identifiers, None, me).map_err(|_| Rule::NotAMember)?;
        Ok(Secret::new(
            self.package().expose(|key| lambda * (key.signing_share().to_scalar() + tweak)),
        ))
    }
}

#[cfg(test)]
mod tests {
    use k256::ProjectivePoint;

    use crate::testing::{generate, name, subsets};
    use crate::{Roster, Rule, Secp256k1};

    use super::*;

    fn roster(keys: &[&EcdsaShare]) -> Roster {
        Roster::new(keys.iter().map(|key| key.node())).unwrap()
    }

    #[test]
    fn additive_shares_of_any_t_signers_add_up_to_the_derived_key() {
        let code = [7; 32];
        for (t, n) in [(2, 2), (2, 3), (3, 5)] {
            let keys = generate::<Secp256k1>(t, n, 1);
            let public_key = keys[0].group().public_key();
            for path in [vec![], vec![44, 60, 0]] {
                let derived = dvm_blame::bip32::derive(public_key, &code, &path).unwrap();
                for signers in subsets(&keys, t) {
                    let roster = roster(&signers);
                    let part = |key: &&EcdsaShare| {
                        key.additive(&roster, derived.tweak()).ok().unwrap().expose(|part| *part)
                    };
                    let sum: Scalar = signers.iter().map(part).sum();
                    let point = ProjectivePoint::GENERATOR * sum;
                    let encoded = dvm_blame::ecdsa::point_bytes(&point).unwrap();
                    assert_eq!(&encoded, derived.public_key());
                }
            }
        }
    }

    #[test]
    fn additive_share_is_only_for_exactly_t_members_of_which_it_is_one() {
        let keys = generate::<Secp256k1>(2, 3, 1);
        let all: Vec<&EcdsaShare> = keys.iter().collect();
        let refused = |roster: &Roster| keys[0].additive(roster, &Scalar::ZERO).err();
        assert_eq!(refused(&roster(&all[..2])), None);
        assert_eq!(refused(&roster(&all)), Some(Rule::SignerCount));
        assert_eq!(refused(&roster(&all[1..])), Some(Rule::NotAMember));
        let stranger = Roster::new([name(1), name(9)]).unwrap();
        assert_eq!(refused(&stranger), Some(Rule::NotAMember));
    }
}
