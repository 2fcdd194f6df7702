//! Sums of products of scalars, reduced once and not for each product.
//!
//! Always true: the sum is exact until it is reduced: 512 bits, and a word for what is over.
//! Constant time: the factors are secret. k256's integers multiply and add limb by limb, whatever is in them, and the
//! number of terms is public.

use k256::Scalar;
use k256::elliptic_curve::bigint::{Limb, U256, U512};
use k256::elliptic_curve::ops::Reduce;

/// Σ a·b.
pub(super) fn sum_of_products<'a>(
    terms: impl IntoIterator<Item = (&'a Scalar, &'a Scalar)>,
) -> Scalar {
    let (mut low, mut high, mut over) = (U256::ZERO, U256::ZERO, Limb::ZERO);
    for (a, b) in terms {
        let (product_low, product_high) = U256::from(a).mul_wide(&U256::from(b));
        let carry;
        (low, carry) = low.adc(&product_low, Limb::ZERO);
        let carry_high;
        (high, carry_high) = high.adc(&product_high, carry);
        over = over.wrapping_add(carry_high);
    }
    let over = Scalar::reduce(U256::from(over.0));
    <Scalar as Reduce<U512>>::reduce(high.concat(&low)) + over * two_to_512()
}

/// 2^512 modulo the group order.
fn two_to_512() -> Scalar {
    <Scalar as Reduce<U512>>::reduce(U512::MAX) + Scalar::ONE
}

#[cfg(test)]
mod tests {
    use k256::elliptic_curve::Field;

    use super::*;
    use crate::testing::rng;

    #[test]
    fn sum_is_that_of_the_reduced_products() {
        let mut rng = rng(1);
        let top = -Scalar::ONE;
        for count in [0, 1, 2, 416] {
            let random: Vec<(Scalar, Scalar)> =
                (0..count).map(|_| (Scalar::random(&mut rng), Scalar::random(&mut rng))).collect();
            // Each carries: (q − 1)² has all its high bits set.
            let highest = vec![(top, top); count];
            for terms in [random, highest] {
                let expected: Scalar = terms.iter().map(|(a, b)| a * b).sum();
                assert_eq!(sum_of_products(terms.iter().map(|(a, b)| (a, b))), expected);
            }
        }
    }
}
