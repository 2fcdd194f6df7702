//! Which faults a campaign met, and which of them did something.

use std::collections::BTreeMap;

macro_rules! kinds {
    ($($variant:ident, $name:literal;)*) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[expect(missing_docs, reason = "each is named by its own string below")]
        pub enum Kind { $($variant,)* }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name, for people.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

kinds! {
    Reorder, "reorder";
    Duplicate, "duplicate";
    Drop, "drop";
    Delay, "delay";
    OneWay, "one-way partition";
    Partition, "partition";
    Crash, "crash of a node";
    KernelDies, "kernel dies, node follows";
    BeforeWrite, "crash before the n-th vault write";
    AfterWrite, "crash after the n-th vault write";
    TornWrite, "torn vault write";
    BeforeGroup, "crash before the n-th journal group";
    AfterGroup, "crash after the n-th journal group";
    MidRelease, "crash between releases";
    NoSpace, "no space for a vault write";
    RollbackVault, "rollback of a vault";
    RollbackJournal, "rollback of a journal";
    RollbackBoth, "rollback of a node";
    ClockForward, "clock step forwards";
    ClockBack, "clock step backwards";
    Cancel, "cancel in mid-run";
    Hold, "emergency hold";
    Equivocate, "equivocating peer";
    Mutate, "peer that alters frames";
    Withhold, "peer that withholds";
    Replay, "peer that repeats old messages";
    Misjudge, "peer that gives wrong answers";
    Cheat, "signer that cheats in a round";
    HostileRuntime, "hostile runtime over its kernel";
}

/// Counters of one seed or many.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    hits: BTreeMap<Kind, u64>,
    seeds: BTreeMap<Kind, u64>,
    planned: BTreeMap<Kind, u64>,
}

impl Coverage {
    /// A seed's plan has this kind.
    pub fn plan(&mut self, kind: Kind) {
        self.planned.insert(kind, 1);
    }

    /// A fault did something.
    pub fn took_effect(&mut self, kind: Kind) {
        let hits = self.hits.entry(kind).or_default();
        *hits = hits.saturating_add(1);
        self.seeds.insert(kind, 1);
    }

    /// How often a kind took effect.
    pub fn hits(&self, kind: Kind) -> u64 {
        self.hits.get(&kind).copied().unwrap_or(0)
    }

    /// How many seeds it took effect in.
    pub fn seeds(&self, kind: Kind) -> u64 {
        self.seeds.get(&kind).copied().unwrap_or(0)
    }

    /// How many seeds had it in their plan.
    pub fn planned(&self, kind: Kind) -> u64 {
        self.planned.get(&kind).copied().unwrap_or(0)
    }

    /// Adds another's counters.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in [
            (&mut self.hits, &other.hits),
            (&mut self.seeds, &other.seeds),
            (&mut self.planned, &other.planned),
        ] {
            for (kind, n) in theirs {
                let sum = mine.entry(*kind).or_default();
                *sum = sum.saturating_add(*n);
            }
        }
    }
}
