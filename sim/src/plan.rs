//! What a seed does to its world: which faults, when, and at which rates.

use dvm_core::intent::Scheme;

use crate::cast::Variant;
use crate::coverage::{Coverage, Kind};
use crate::dice::Dice;
use crate::disk::Tear;

/// Faults happen before this; then everything is mended and must come to an end.
pub(crate) const FAULTS_END_MS: u64 = 7_000;
/// Clocks further apart than this stop two kernels from working together, by rule.
const SKEW_ALLOWED_MS: i64 = 14_000;

/// Chances in a thousand, per message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    /// It is lost.
    pub drop: u64,
    /// It comes twice.
    pub duplicate: u64,
    /// It comes much later, and holds up what follows.
    pub delay: u64,
    /// What follows may overtake it.
    pub reorder: u64,
}

/// What goes wrong once.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Crash { node: usize },
    KernelDies { node: usize },
    Cut { from: usize, to: usize, both: bool, for_ms: u64, noticed: bool },
    Mend { a: usize, b: usize },
    Clock { node: usize, by_ms: i64 },
    Copy { node: usize },
    Rollback { node: usize, vault: bool, journal: bool },
    Heal,
}

/// A fault and its time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scheduled {
    pub at_ms: u64,
    pub what: Fault,
}

/// What happens to a write to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The process dies before it.
    Before,
    /// The process dies after it, before anyone hears of it.
    After,
    /// The process dies within it.
    Torn(Tear),
    /// The process dies after it, when so many of what waited for it are out.
    MidRelease(usize),
    /// The disk takes so many bytes more and no further one.
    NoSpace(u64),
}

/// A fault of the n-th durable write of a node.
#[derive(Clone, Copy, Debug)]
pub struct DiskFault {
    /// Where.
    pub node: usize,
    /// Counted from 1, the start of the node's first life included.
    pub write: u64,
    /// What.
    pub fate: Fate,
}

/// How a lying peer lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Signs two roots for one level.
    Equivocate,
    /// Alters what its frames say, under its kernel's signature.
    Mutate,
    /// Keeps messages back.
    Withhold,
    /// Says again what it said earlier.
    Replay,
    /// Answers wrongly, forks proposals, claims wrong ends.
    Misjudge,
    /// Alters the words of its rounds, the sealed ones as well.
    Cheat,
    /// Drives its own, honest kernel against the rules.
    Runtime,
}

impl Lie {
    /// All that need no knowledge of a protocol's rounds.
    const BESIDE_ROUNDS: [Self; 6] = [
        Self::Equivocate,
        Self::Mutate,
        Self::Withhold,
        Self::Replay,
        Self::Misjudge,
        Self::Runtime,
    ];

    /// As coverage names it.
    pub fn kind(self) -> Kind {
        match self {
            Self::Equivocate => Kind::Equivocate,
            Self::Mutate => Kind::Mutate,
            Self::Withhold => Kind::Withhold,
            Self::Replay => Kind::Replay,
            Self::Misjudge => Kind::Misjudge,
            Self::Cheat => Kind::Cheat,
            Self::Runtime => Kind::HostileRuntime,
        }
    }
}

/// Everything that a seed decides in advance.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which cluster it begins with.
    pub variant: Variant,
    /// Per message.
    pub rates: Rates,
    pub(crate) scheduled: Vec<Scheduled>,
    /// Faults of kernels' vaults.
    pub vault: Vec<DiskFault>,
    /// Faults of journals.
    pub journal: Vec<DiskFault>,
    /// Who lies, and how.
    pub liar: Option<(usize, Lie)>,
    /// Whether a fault lasts, so that an operation may rightly stand still.
    pub lasting: bool,
}

impl Plan {
    /// A world in which nothing goes wrong.
    pub fn calm(variant: Variant) -> Self {
        Self {
            variant,
            rates: Rates::default(),
            scheduled: Vec::new(),
            vault: Vec::new(),
            journal: Vec::new(),
            liar: None,
            lasting: false,
        }
    }

    /// The plan of a seed.
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed, "plan");
        let at = dice.one_of(&VARIANTS_DRAWN).unwrap_or(0);
        let variant = Variant::ALL.get(at).copied().unwrap_or(VARIANT_FIRST);
        let mut plan = Self::calm(variant);
        plan.draw_network(&mut dice);
        plan.draw_processes(&mut dice);
        plan.draw_disks(&mut dice);
        plan.draw_clocks(&mut dice);
        if dice.permille(280) {
            let lie = dice.one_of(&Lie::BESIDE_ROUNDS).unwrap_or(Lie::Equivocate);
            let node = dice.index(3);
            // Where signers multiply in pairs, there is most to lie about.
            let cheats = if variant.backend.scheme() == Scheme::Ecdsa { 600 } else { 100 };
            plan.liar = Some((node, if dice.permille(cheats) { Lie::Cheat } else { lie }));
            plan.lasting = true;
        }
        plan.schedule(FAULTS_END_MS, Fault::Heal);
        plan
    }

    fn schedule(&mut self, at_ms: u64, what: Fault) {
        self.scheduled.push(Scheduled { at_ms, what });
    }

    fn draw_network(&mut self, dice: &mut Dice) {
        let mut rate = |chance, max| if dice.permille(chance) { dice.between(5, max) } else { 0 };
        self.rates = Rates {
            drop: rate(300, 80),
            duplicate: rate(300, 200),
            delay: rate(300, 80),
            reorder: rate(400, 500),
        };
        if dice.permille(300) {
            let from = dice.index(3);
            let to = (from + 1 + dice.index(2)) % 3;
            let at_ms = dice.below(FAULTS_END_MS - 3_000);
            let (both, noticed) = (dice.permille(500), dice.permille(700));
            let for_ms = dice.between(100, 4_000);
            self.schedule(at_ms, Fault::Cut { from, to, both, for_ms, noticed });
            if both && dice.permille(400) {
                // The whole node is on its own.
                let third = 3 - from - to;
                self.schedule(at_ms, Fault::Cut { from, to: third, both, for_ms, noticed });
            }
        }
    }

    fn draw_processes(&mut self, dice: &mut Dice) {
        for _ in 0..dice.below(3) {
            if dice.permille(350) {
                let node = dice.index(3);
                self.schedule(dice.below(2_500), Fault::Crash { node });
            }
        }
        if dice.permille(120) {
            let node = dice.index(3);
            self.schedule(dice.below(1_500), Fault::KernelDies { node });
        }
        if dice.permille(120) {
            let node = dice.index(3);
            let copied_ms = dice.below(1_500);
            let at_ms = copied_ms + dice.between(10, 3_000);
            let (vault, journal) =
                dice.one_of(&[(true, false), (false, true), (true, true)]).unwrap_or((true, true));
            self.schedule(copied_ms, Fault::Copy { node });
            self.schedule(at_ms, Fault::Rollback { node, vault, journal });
            self.lasting = true;
        }
    }

    fn draw_disks(&mut self, dice: &mut Dice) {
        if dice.permille(350) {
            let thousandth = dice.below(1_000);
            let fates = [
                Fate::Before,
                Fate::After,
                Fate::Torn(Tear::Cut(thousandth)),
                Fate::Torn(Tear::Garbled(thousandth)),
                Fate::NoSpace(dice.below(20_000)),
            ];
            let fate = dice.one_of(&fates).unwrap_or(Fate::Before);
            let (node, write) = (dice.index(3), dice.between(1, 14));
            self.vault.push(DiskFault { node, write, fate });
        }
        if dice.permille(250) {
            let fates = [Fate::Before, Fate::After, Fate::MidRelease(dice.index(4))];
            let fate = dice.one_of(&fates).unwrap_or(Fate::Before);
            let (node, write) = (dice.index(3), dice.between(1, 20));
            self.journal.push(DiskFault { node, write, fate });
        }
    }

    fn draw_clocks(&mut self, dice: &mut Dice) {
        if !dice.permille(200) {
            return;
        }
        let node = dice.index(3);
        let far = dice.permille(150);
        let reach = if far { 600_000 } else { SKEW_ALLOWED_MS.unsigned_abs() };
        let size = i64::try_from(dice.between(10, reach)).unwrap_or(10);
        let by_ms = if dice.permille(500) { size } else { -size };
        self.lasting |= far;
        self.schedule(dice.below(3_000), Fault::Clock { node, by_ms });
        if dice.permille(400) {
            self.schedule(dice.between(3_000, 5_000), Fault::Clock { node, by_ms: -by_ms });
        }
    }

    /// Notes what the plan has.
    pub(crate) fn cover(&self, coverage: &mut Coverage) {
        let Rates { drop, duplicate, delay, reorder } = self.rates;
        let rates = [
            (drop, Kind::Drop),
            (duplicate, Kind::Duplicate),
            (delay, Kind::Delay),
            (reorder, Kind::Reorder),
        ];
        rates.iter().filter(|(rate, _)| *rate > 0).for_each(|(_, kind)| coverage.plan(*kind));
        for scheduled in &self.scheduled {
            if let Some(kind) = scheduled.what.kind() {
                coverage.plan(kind);
            }
        }
        self.vault.iter().for_each(|f| coverage.plan(vault_kind(f.fate)));
        self.journal.iter().for_each(|f| coverage.plan(journal_kind(f.fate)));
        if let Some((_, lie)) = self.liar {
            coverage.plan(lie.kind());
        }
    }
}

/// How often each variant is drawn, by index: the last two, whose signatures cost the most, once in five.
const VARIANTS_DRAWN: [usize; 20] = [0, 0, 0, 1, 1, 1, 2, 3, 4, 5, 0, 6, 6, 7, 7, 1, 2, 3, 4, 5];

const VARIANT_FIRST: Variant =
    Variant { backend: dvm_core::intent::Backend::FrostEd25519, admit: 0, release: 0 };

impl Fault {
    pub(crate) fn kind(self) -> Option<Kind> {
        match self {
            Self::Crash { .. } => Some(Kind::Crash),
            Self::KernelDies { .. } => Some(Kind::KernelDies),
            Self::Cut { both: true, .. } => Some(Kind::Partition),
            Self::Cut { .. } => Some(Kind::OneWay),
            Self::Clock { by_ms, .. } if by_ms > 0 => Some(Kind::ClockForward),
            Self::Clock { .. } => Some(Kind::ClockBack),
            Self::Rollback { vault: true, journal: true, .. } => Some(Kind::RollbackBoth),
            Self::Rollback { vault: true, .. } => Some(Kind::RollbackVault),
            Self::Rollback { .. } => Some(Kind::RollbackJournal),
            Self::Copy { .. } | Self::Mend { .. } | Self::Heal => None,
        }
    }
}

/// As coverage names the fate of a vault's write.
pub(crate) fn vault_kind(fate: Fate) -> Kind {
    match fate {
        Fate::Before => Kind::BeforeWrite,
        Fate::After | Fate::MidRelease(_) => Kind::AfterWrite,
        Fate::Torn(_) => Kind::TornWrite,
        Fate::NoSpace(_) => Kind::NoSpace,
    }
}

/// As coverage names the fate of a journal's group.
pub(crate) fn journal_kind(fate: Fate) -> Kind {
    match fate {
        Fate::MidRelease(_) => Kind::MidRelease,
        Fate::After => Kind::AfterGroup,
        _ => Kind::BeforeGroup,
    }
}

impl Plan {
    /// Before this, nobody goes home: a fault is still to come that may undo what is done.
    pub(crate) fn quiet_ms(&self) -> u64 {
        let hard = self
            .scheduled
            .iter()
            .filter(|s| !matches!(s.what, Fault::Heal | Fault::Copy { .. } | Fault::Clock { .. }));
        hard.map(|s| s.at_ms + 3_000).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variant_is_drawn_and_signers_that_multiply_once_in_five() {
        let drawn = (0..1_000).map(|seed| Plan::of(seed).variant);
        let drawn: Vec<Variant> = drawn.collect();
        assert!(Variant::ALL.iter().all(|variant| drawn.contains(variant)));
        let multiply = drawn.iter().filter(|v| v.backend.scheme() == Scheme::Ecdsa).count();
        assert!((150..250).contains(&multiply), "{multiply}");
    }
}
