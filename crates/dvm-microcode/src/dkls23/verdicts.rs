//! One round's verdicts on all peers: everybody is judged before anybody is named.
//!
//! Always true: a round that ends early would tell a cheater by its timing, and its victims by their silence, which
//! check failed; so all culprits of a round are named at once and under one offence. Damage of our own is told
//! before any blame: a peer must not be banned for what a broken disk may have done.

use dvm_blame::{Bug, Fault, Offence, Roster};

use super::vole::VoleFault;

/// What is known of the peers so far.
pub(crate) struct Verdicts<'a> {
    roster: &'a Roster,
    culprits: Vec<&'a str>,
    damage: Option<Bug>,
}

impl<'a> Verdicts<'a> {
    pub(crate) fn new(roster: &'a Roster) -> Self {
        Self { roster, culprits: Vec::new(), damage: None }
    }

    /// Names a peer.
    pub(crate) fn accuse(&mut self, node: &'a str) {
        if !self.culprits.contains(&node) {
            self.culprits.push(node);
        }
    }

    /// Names a peer unless the check holds.
    pub(crate) fn demand(&mut self, node: &'a str, holds: bool) {
        if !holds {
            self.accuse(node);
        }
    }

    /// Takes what a step with a peer gave, or keeps in mind why it gave nothing.
    pub(crate) fn take<T>(&mut self, node: &'a str, result: Result<T, VoleFault>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(VoleFault::Malformed | VoleFault::Cheated) => {
                self.accuse(node);
                None
            }
            Err(VoleFault::Damaged(bug)) => {
                self.damage = Some(bug);
                None
            }
        }
    }

    /// Ends the judging: nothing, or the fault.
    pub(crate) fn end(self, what: Offence) -> Result<(), Fault> {
        if let Some(bug) = self.damage {
            return Err(bug.into());
        }
        if self.culprits.is_empty() {
            return Ok(());
        }
        Err(self.roster.blame_all(&self.culprits, what))
    }
}
