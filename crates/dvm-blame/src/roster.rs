//! Who takes part: node names in sorted order, each with its 1-based index.
//!
//! Always true: 2 to [`PARTIES_MAX`] names, sorted, distinct, none empty. The order is the byte order of the
//! names, so that every node computes the same indices from the same set.
//! Not here: keys and identifiers of the parties.

use std::collections::BTreeMap;

use crate::fault::{Fault, Rule};

/// Most parties of one key. Deployments have 3 or 5; the bound keeps decoding and the quadratic DKG small.
pub const PARTIES_MAX: usize = 32;

/// Longest node name in bytes: room for a CID or a host name.
pub const NODE_NAME_BYTES_MAX: usize = 128;

/// One party: its place in the sorted roster, from 1, and its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Party {
    /// Place in the sorted roster, from 1.
    pub index: u16,
    /// Node name.
    pub node: String,
}

/// The sorted set of parties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    nodes: Vec<String>,
}

impl Roster {
    /// Sorts the names and checks them.
    pub fn new<I, S>(nodes: I) -> Result<Self, Rule>
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        // One more than allowed is enough to see that there are too many.
        let mut nodes: Vec<String> =
            nodes.into_iter().take(PARTIES_MAX + 1).map(Into::into).collect();
        if nodes.len() < 2 || nodes.len() > PARTIES_MAX {
            return Err(Rule::RosterSize);
        }
        if nodes.iter().any(|node| node.is_empty() || node.len() > NODE_NAME_BYTES_MAX) {
            return Err(Rule::NodeName);
        }
        let named = nodes.len();
        nodes.sort_unstable();
        nodes.dedup();
        if nodes.len() != named {
            return Err(Rule::DuplicateNode);
        }
        Ok(Self { nodes })
    }

    /// n, the number of parties.
    pub fn size(&self) -> u16 {
        // PARTIES_MAX fits; saturating keeps the line free of a path that cannot happen.
        u16::try_from(self.nodes.len()).unwrap_or(u16::MAX)
    }

    /// The parties in order.
    pub fn parties(&self) -> impl Iterator<Item = Party> + '_ {
        (1u16..).zip(&self.nodes).map(|(index, node)| Party { index, node: node.clone() })
    }

    /// The node names in order.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().map(String::as_str)
    }

    /// The party of this name.
    pub fn party(&self, node: &str) -> Result<Party, Rule> {
        self.parties().find(|party| party.node == node).ok_or(Rule::NotAMember)
    }

    /// Checks a threshold against this roster: 2 <= t <= n < 2t.
    pub fn check_threshold(&self, threshold: u16) -> Result<(), Rule> {
        let n = self.size();
        if threshold < 2 || threshold > n || threshold.saturating_mul(2) <= n {
            return Err(Rule::Threshold);
        }
        Ok(())
    }

    /// Blames one node of this roster.
    pub fn blame(&self, node: &str, what: crate::Offence) -> Fault {
        match self.party(node) {
            Ok(party) => Fault::Blame { culprits: vec![party], what },
            Err(rule) => Fault::Refused(rule),
        }
    }

    /// Blames several nodes of this roster for one offence; in roster order, strangers left out.
    pub fn blame_all(&self, nodes: &[&str], what: crate::Offence) -> Fault {
        let culprits: Vec<Party> =
            self.parties().filter(|party| nodes.contains(&party.node.as_str())).collect();
        if culprits.is_empty() {
            Fault::Refused(Rule::NotAMember)
        } else {
            Fault::Blame { culprits, what }
        }
    }

    /// Checks that `messages` holds one message of each node of `expected` and of nobody else.
    pub fn check_senders<'a, T>(
        &self,
        messages: &BTreeMap<String, T>,
        expected: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), Rule> {
        let mut count = 0;
        for node in expected {
            if !messages.contains_key(node) {
                return Err(Rule::MissingMessage(self.party(node)?));
            }
            count += 1;
        }
        if messages.len() == count { Ok(()) } else { Err(Rule::UnexpectedMessage) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_follow_the_sorted_names_from_one() {
        let roster = Roster::new(["c", "a", "b"]).unwrap();
        let seen: Vec<_> = roster.parties().map(|party| (party.index, party.node)).collect();
        assert_eq!(seen, [(1, "a".into()), (2, "b".into()), (3, "c".into())]);
        assert_eq!(roster.party("b").unwrap().index, 2);
        assert_eq!(roster.party("d"), Err(Rule::NotAMember));
    }

    #[test]
    fn roster_refuses_sizes_names_and_duplicates_just_outside_the_bounds() {
        let names = |n: usize| (0..n).map(|i| format!("node-{i:03}"));
        assert!(Roster::new(names(2)).is_ok());
        assert!(Roster::new(names(PARTIES_MAX)).is_ok());
        assert_eq!(Roster::new(names(1)), Err(Rule::RosterSize));
        assert_eq!(Roster::new(names(PARTIES_MAX + 1)), Err(Rule::RosterSize));
        assert!(Roster::new(["a".to_string(), "x".repeat(NODE_NAME_BYTES_MAX)]).is_ok());
        assert_eq!(
            Roster::new(["a".to_string(), "x".repeat(NODE_NAME_BYTES_MAX + 1)]),
            Err(Rule::NodeName)
        );
        assert_eq!(Roster::new(["a", ""]), Err(Rule::NodeName));
        assert_eq!(Roster::new(["a", "b", "a"]), Err(Rule::DuplicateNode));
    }

    #[test]
    fn threshold_must_leave_no_room_for_two_disjoint_signing_sets() {
        let four = Roster::new(["a", "b", "c", "d"]).unwrap();
        assert_eq!(four.check_threshold(2), Err(Rule::Threshold));
        assert_eq!(four.check_threshold(3), Ok(()));
        assert_eq!(four.check_threshold(4), Ok(()));
        assert_eq!(four.check_threshold(5), Err(Rule::Threshold));
        let two = Roster::new(["a", "b"]).unwrap();
        assert_eq!(two.check_threshold(1), Err(Rule::Threshold));
        assert_eq!(two.check_threshold(2), Ok(()));
    }
}
