//! The phase table: which call a run accepts in which phase, and where it may go.
//!
//! Source: the design's kernel page. One table, read by every handler before it looks at anything else; a cell that
//! is not in it refuses.
//! Always true: a handler moves a run only to a phase that its own cell names (`Phase::may` is asked before the
//! transaction that makes the move durable).
//! Not here: what else a call must satisfy.

use dvm_core::ReasonCode;

use crate::stop::Stop;

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The kernel knows nothing of this intent.
    Empty,
    /// It has given an opening.
    Admitted,
    /// It performs levels.
    Running,
    /// It holds a finished result, sealed.
    Held,
    /// It has said yes at the gate.
    Granted,
    /// Its share may be out.
    Opening,
    /// Nothing more happens: aborted, destroyed or published.
    Closed,
}

/// The calls that the table speaks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `KernelCall::Open`
    Open,
    /// `KernelCall::Start`
    Start,
    /// `KernelCall::Step`
    Step,
    /// `KernelCall::Grant`
    Grant,
    /// `KernelCall::OpenResult`
    OpenResult,
    /// `KernelCall::Abort`
    Abort,
}

use Phase::{Admitted, Closed, Empty, Granted, Held, Opening, Running};

/// One row per phase, one column per verb in the order of [`Verb`]: the phases that may follow. Empty: refused.
///
/// - A later Open of an intent ends what the earlier one held, until a grant is out: from then on the signature may
///   exist, and a second one for the same intent must not.
/// - Start in Held and after mints the permits of the publication run and moves nothing. It repeats, so that a
///   publication survives a restart of either process.
/// - Grant in Granted, and OpenResult in Opening and Closed, give the stored bytes again; nothing is recomputed.
const TABLE: [(Phase, [&[Phase]; 6]); 7] = [
    //          Open          Start        Step              Grant             OpenResult           Abort
    (Empty, [&[Admitted], &[], &[], &[], &[], &[]]),
    (Admitted, [&[Admitted], &[Running], &[], &[], &[], &[Closed]]),
    (Running, [&[Admitted], &[], &[Running, Held, Closed], &[], &[], &[Closed]]),
    (Held, [&[Admitted], &[Held], &[], &[Granted, Held, Closed], &[], &[Closed]]),
    (Granted, [&[], &[Granted], &[], &[Granted, Closed], &[Opening, Closed], &[Closed]]),
    (Opening, [&[], &[Opening], &[], &[Opening], &[Opening, Closed], &[]]),
    (Closed, [&[Admitted], &[Closed], &[], &[Closed], &[Closed], &[]]),
];

impl Phase {
    /// Refuses a verb that this phase does not allow.
    ///
    /// # Errors
    /// `WRONG_PHASE`.
    pub(crate) fn allows(self, verb: Verb) -> Result<(), Stop> {
        if self.next(verb).is_empty() { Err(refused()) } else { Ok(()) }
    }

    /// Refuses a move that this verb may not make from here.
    ///
    /// # Errors
    /// `WRONG_PHASE`.
    pub(crate) fn may(self, verb: Verb, to: Self) -> Result<(), Stop> {
        if self.next(verb).contains(&to) { Ok(()) } else { Err(refused()) }
    }

    /// The stable name, as `Status` shows it.
    pub fn name(self) -> &'static str {
        match self {
            Empty => "Empty",
            Admitted => "Admitted",
            Running => "Running",
            Held => "Held",
            Granted => "Granted",
            Opening => "Opening",
            Closed => "Closed",
        }
    }

    fn next(self, verb: Verb) -> &'static [Self] {
        let row = TABLE.iter().find(|(phase, _)| *phase == self);
        row.and_then(|(_, cells)| cells.get(verb as usize)).copied().unwrap_or(&[])
    }
}

fn refused() -> Stop {
    Stop::refused(ReasonCode::WrongPhase, "the phase table has no such cell")
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERBS: [Verb; 6] =
        [Verb::Open, Verb::Start, Verb::Step, Verb::Grant, Verb::OpenResult, Verb::Abort];

    /// The table again, written as the design states it: `.` refuses, letters are the phases that may follow.
    const STATED: [(Phase, [&str; 6]); 7] = [
        (Empty, ["A", ".", ".", ".", ".", "."]),
        (Admitted, ["A", "R", ".", ".", ".", "C"]),
        (Running, ["A", ".", "RHC", ".", ".", "C"]),
        (Held, ["A", "H", ".", "GHC", ".", "C"]),
        (Granted, [".", "G", ".", "GC", "OC", "C"]),
        (Opening, [".", "O", ".", "O", "OC", "."]),
        (Closed, ["A", "C", ".", "C", "C", "."]),
    ];

    #[test]
    fn every_cell_allows_exactly_what_the_design_states() {
        for (phase, cells) in STATED {
            for (verb, stated) in VERBS.into_iter().zip(cells) {
                assert_eq!(phase.allows(verb).is_err(), stated == ".", "{phase:?} x {verb:?}");
                for (to, _) in STATED {
                    let letter = if to == Empty { 'E' } else { to.name().chars().next().unwrap() };
                    let expected = stated.contains(letter);
                    assert_eq!(
                        phase.may(verb, to).is_ok(),
                        expected,
                        "{phase:?} x {verb:?} -> {to:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn nothing_leads_back_from_opening_to_a_phase_in_which_the_result_could_be_destroyed() {
        for verb in VERBS {
            for to in [Empty, Admitted, Running, Held, Granted] {
                assert!(Opening.may(verb, to).is_err(), "{verb:?} -> {to:?}");
            }
        }
    }
}
