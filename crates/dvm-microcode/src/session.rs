//! One key generation: who, how many, and under which session id.
//!
//! Always true: identifiers are derived from session and node, never received; t and n keep 2 <= t <= n < 2t.
//! Not here: where the session id comes from (the kernel makes it from the execution id and never reuses it).

use std::collections::BTreeMap;

use dvm_blame::{Bug, Fault, FrostSuite, Roster, Rule};
use frost_core::Identifier;

use crate::preimage;

/// Names one run; never reused.
pub type SessionId = [u8; 32];

/// The terms of one key generation, as one party sees them. Public.
#[derive(Clone)]
pub struct Session<C: FrostSuite> {
    sid: SessionId,
    roster: Roster,
    threshold: u16,
    me: String,
    identifiers: BTreeMap<String, Identifier<C>>,
}

impl<C: FrostSuite> Session<C> {
    /// Checks the terms and derives everybody's identifier.
    pub fn new(sid: SessionId, roster: Roster, threshold: u16, me: &str) -> Result<Self, Fault> {
        roster.check_threshold(threshold)?;
        let me = roster.party(me)?.node;
        let mut identifiers = BTreeMap::new();
        for node in roster.nodes() {
            let preimage = preimage::identifier(&sid, node);
            let identifier = Identifier::derive(&preimage).map_err(|_| Bug::Identifier)?;
            if identifiers.values().any(|other| *other == identifier) {
                return Err(Bug::Identifier.into());
            }
            identifiers.insert(node.to_owned(), identifier);
        }
        Ok(Self { sid, roster, threshold, me, identifiers })
    }

    /// The session id.
    pub fn sid(&self) -> &SessionId {
        &self.sid
    }

    /// The parties.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// t: how many will sign.
    pub fn threshold(&self) -> u16 {
        self.threshold
    }

    /// This party's name.
    pub fn me(&self) -> &str {
        &self.me
    }

    /// Everybody else, in roster order.
    pub fn peers(&self) -> impl Iterator<Item = &str> {
        self.roster.nodes().filter(|node| *node != self.me)
    }

    pub(crate) fn identifiers(&self) -> &BTreeMap<String, Identifier<C>> {
        &self.identifiers
    }

    pub(crate) fn identifier(&self, node: &str) -> Result<Identifier<C>, Rule> {
        self.identifiers.get(node).copied().ok_or(Rule::NotAMember)
    }

    /// The node behind an identifier.
    pub(crate) fn node(&self, identifier: Identifier<C>) -> Result<&str, Bug> {
        self.identifiers
            .iter()
            .find_map(|(node, own)| (*own == identifier).then_some(node.as_str()))
            .ok_or(Bug::Identifier)
    }

    /// The hash a party commits with: see [`preimage::OpeningCommitment`].
    pub(crate) fn opening_commitment(&self, node: &str, package: &[u8], blind: &[u8]) -> [u8; 32] {
        preimage::OpeningCommitment {
            sid: &self.sid,
            suite: C::SUITE.name(),
            threshold: self.threshold,
            size: self.roster.size(),
            node,
            package,
            blind,
        }
        .hash()
    }
}
