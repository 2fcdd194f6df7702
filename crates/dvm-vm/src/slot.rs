//! One peer's place in one level: a join-semilattice over signed headers.
//!
//! Source: the design's `Empty < Seen < Conflict`. A slot names headers by link; what stands in
//! them is in the trace. A kernel signs one header per slot and re-sends it as it is, so a second
//! one, whichever field differs, is two stories told.
//!
//! Always true: [`Slot::merge`] is commutative, associative and idempotent, so the order of
//! arrival does not show.

use dvm_core::Link;

/// What is known of one peer's statement in one level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Slot {
    /// Nothing.
    #[default]
    Empty,
    /// One signed header.
    Seen(Link),
    /// Two different signed headers, the two lowest of those seen, in order: evidence.
    Conflict(Link, Link),
}

impl Slot {
    /// The least slot that is at least both.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        let mut links: Vec<Link> = self.links().chain(other.links()).collect();
        links.sort_unstable();
        links.dedup();
        match links.as_slice() {
            [] => Self::Empty,
            [one] => Self::Seen(*one),
            [low, high, ..] => Self::Conflict(*low, *high),
        }
    }

    fn links(self) -> impl Iterator<Item = Link> {
        let (a, b) = match self {
            Self::Empty => (None, None),
            Self::Seen(one) => (Some(one), None),
            Self::Conflict(low, high) => (Some(low), Some(high)),
        };
        a.into_iter().chain(b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_slot() -> impl Strategy<Value = Slot> {
        let link = |n: u8| Link::of_artifact(&[n]);
        let seen = move |n| Slot::Seen(link(n));
        prop_oneof![
            Just(Slot::Empty),
            (0_u8..4).prop_map(seen),
            (0_u8..4, 0_u8..4).prop_map(move |(a, b)| seen(a).merge(seen(b))),
        ]
    }

    proptest! {
        #[test]
        fn merge_is_a_join(a in any_slot(), b in any_slot(), c in any_slot()) {
            prop_assert_eq!(a.merge(b), b.merge(a));
            prop_assert_eq!(a.merge(b).merge(c), a.merge(b.merge(c)));
            prop_assert_eq!(a.merge(a), a);
            prop_assert_eq!(a.merge(Slot::Empty), a);
            prop_assert_eq!(a.merge(b).merge(a), a.merge(b));
        }
    }

    #[test]
    fn the_same_header_is_no_conflict_and_another_is() {
        let (a, b) = (Slot::Seen(Link::of_artifact(b"a")), Slot::Seen(Link::of_artifact(b"b")));
        assert_eq!(a.merge(a), a);
        assert!(matches!(a.merge(b), Slot::Conflict(..)));
    }
}
