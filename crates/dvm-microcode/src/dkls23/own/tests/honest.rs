//! Two honest ends.

use super::*;

/// Set-up and runs in both directions.
pub(super) fn multiplies_both_ways<A: Vole, B: Vole>(seed: u64) {
    let Ends { a, b } = set_up::<A, B>(seed);
    for seed in 0..3 {
        let input = input(seed);
        assert_eq!(honest::<A, B>((&a, &b), &input), Outcome::Product(input));
        assert_eq!(honest::<B, A>((&b, &a), &input), Outcome::Product(input));
    }
    let edges = [Scalar::ZERO, -Scalar::ONE];
    assert_eq!(honest::<A, B>((&a, &b), &edges), Outcome::Product(edges));
}

#[test]
fn ours_multiplies_with_ours() {
    multiplies_both_ways::<OwnVole, OwnVole>(11);
}
