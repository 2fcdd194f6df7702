//! The crash matrix: every durable write of every node, with a crash before, within and after it.
//!
//! Source: the design's "Crash and resume". Each scenario is first run without a fault, and its
//! writes are counted; then once per write and fate. Up to the fault every run is the first one
//! again, event by event.
//!
//! Always true: every point is visited; the judge is the campaign's own.

use crate::SimError;
use crate::cast::Variant;
use crate::coverage::Coverage;
use crate::disk::Tear;
use crate::judge::Complaint;
use crate::people::{Client, People, Wanted};
use crate::plan::{DiskFault, Fate, Lie, Plan};
use crate::seed::{Draw, Stage, settle};
use crate::world::{Halt, World};
use dvm_core::authority::KeyReady;
use dvm_core::intent::Backend;

/// One row of scenarios.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    variant: Variant,
    clients: fn(u64, &Plan, KeyReady) -> People,
    /// Who cheats in every round that it has a part in.
    cheat: Option<usize>,
}

/// What the matrix crosses: a signature released at once, one held for a person, a new key; a signature by kernels that
/// multiply in pairs, and one in which a signer cheats, is banned, and the others sign.
pub const SCENARIOS: [Scenario; 5] = [
    Scenario {
        name: "signature, automatic release",
        variant: ED_AUTO,
        clients: signature,
        cheat: None,
    },
    Scenario { name: "signature, held release", variant: ED_HELD, clients: signature, cheat: None },
    Scenario {
        name: "key generation and publication",
        variant: ED_AUTO,
        clients: new_key,
        cheat: None,
    },
    Scenario { name: "ECDSA signature", variant: ECDSA, clients: signature, cheat: None },
    Scenario {
        name: "ECDSA signature with a cheat",
        variant: ECDSA,
        clients: signature,
        cheat: Some(1),
    },
];

const ED_AUTO: Variant = Variant { backend: Backend::FrostEd25519, admit: 0, release: 0 };
const ED_HELD: Variant = Variant { backend: Backend::FrostEd25519, admit: 0, release: 1 };
const ECDSA: Variant = Variant { backend: Backend::Dkls23Secp256k1, admit: 0, release: 0 };
/// Virtual time in which every point must come to an end.
const PATIENCE_MS: u64 = 60_000;
/// A cheat is banned in one of so many seeds, or the scenario shows nothing.
const SEEDS_MAX: u64 = 32;
const VAULT_FATES: [Fate; 5] = [
    Fate::Before,
    Fate::Torn(Tear::Cut(300)),
    Fate::Torn(Tear::Cut(900)),
    Fate::Torn(Tear::Garbled(950)),
    Fate::After,
];
const JOURNAL_FATES: [Fate; 3] = [Fate::Before, Fate::MidRelease(1), Fate::After];

fn signature(_: u64, plan: &Plan, key: KeyReady) -> People {
    let wanted = Wanted::signature(plan.variant.backend, *b"a matrix");
    People::only(Client::new(0, "matrix".into(), wanted), key)
}

fn new_key(_: u64, _: &Plan, key: KeyReady) -> People {
    let wanted = Wanted::Key("matrix".into(), Backend::FrostEd25519);
    People::only(Client::new(0, "matrix".into(), wanted), key)
}

/// One point of the matrix, and what came of it.
#[derive(Clone, Debug)]
pub struct Point {
    /// The scenario's name.
    pub scenario: &'static str,
    /// The node.
    pub node: usize,
    /// The kernel's vault, or else the node's journal.
    pub vault: bool,
    /// The write, counted from 1.
    pub write: u64,
    /// What happened to it.
    pub fate: Fate,
    /// The rule that did not hold, if one did not.
    pub complaint: Option<Complaint>,
    /// Where the operation ended.
    pub end: String,
    /// How it went.
    pub story: Vec<String>,
}

/// What a matrix came to.
#[derive(Debug, Default)]
pub struct Matrix {
    /// Points whose fault took effect.
    pub points: u64,
    /// Where their operations ended: state and count.
    pub ends: std::collections::BTreeMap<String, u64>,
    /// Points at which a rule did not hold.
    pub bad: Vec<Point>,
    /// Bans that kernels said.
    pub bans: u64,
    /// Which faults took effect.
    pub coverage: Coverage,
}

/// Visits every point of a scenario. `step` is told of each.
///
/// # Errors
/// [`SimError`] if the simulation itself failed.
pub fn run(
    stage: &mut Stage,
    scenario: &Scenario,
    mut step: impl FnMut(),
) -> Result<Matrix, SimError> {
    let mut matrix = Matrix::default();
    let mut calm = Plan::calm(scenario.variant);
    calm.liar = scenario.cheat.map(|node| (node, Lie::Cheat));
    let (seed, writes) = without_faults(stage, scenario, &calm)?;
    for (node, (vault, journal)) in writes.into_iter().enumerate() {
        let rows = [(true, vault, &VAULT_FATES[..]), (false, journal, &JOURNAL_FATES[..])];
        for (vault, count, fates) in rows {
            for write in 1..=count {
                for fate in fates.iter().copied() {
                    let mut plan = calm.clone();
                    let fault = DiskFault { node, write, fate };
                    if vault { &mut plan.vault } else { &mut plan.journal }.push(fault);
                    let (world, complaint) = play(stage, scenario, (seed, plan.clone()), false)?;
                    let end = world.people.clients.first().map_or("", |c| c.state()).to_owned();
                    matrix.points += 1;
                    *matrix.ends.entry(end.clone()).or_default() += 1;
                    matrix.coverage.add(&world.coverage);
                    matrix.bans += world.judge.bans;
                    drop(world);
                    if complaint.is_some() {
                        // Once more, with its story kept.
                        let (again, complaint) = play(stage, scenario, (seed, plan), true)?;
                        let story = again.story.lines().to_vec();
                        let scenario = scenario.name;
                        matrix.bad.push(Point {
                            scenario,
                            node,
                            vault,
                            write,
                            fate,
                            complaint,
                            end,
                            story,
                        });
                    }
                    step();
                }
            }
        }
    }
    Ok(matrix)
}

/// A seed, and how often each node's kernel and journal write in it, where nothing goes wrong but a cheat if there is
/// one: the first seed then in which it is banned, for it says what is lied about.
fn without_faults(
    stage: &mut Stage,
    scenario: &Scenario,
    calm: &Plan,
) -> Result<(u64, Vec<(u64, u64)>), SimError> {
    for seed in 0..SEEDS_MAX {
        let (world, complaint) = play(stage, scenario, (seed, calm.clone()), false)?;
        if complaint.is_some() {
            return Err(SimError::Shape("the scenario breaks a rule without a fault"));
        }
        if scenario.cheat.is_none() || world.judge.bans > 0 {
            let writes = world.hosts.iter().map(|h| (h.kernel_commits, h.journal_commits));
            return Ok((seed, writes.collect()));
        }
    }
    Err(SimError::Shape("a cheat is never banned"))
}

fn play(
    stage: &mut Stage,
    scenario: &Scenario,
    (seed, plan): (u64, Plan),
    told: bool,
) -> Result<(World, Option<Complaint>), SimError> {
    let draw = Draw { clients: scenario.clients, told };
    let mut world = match stage.world(seed, plan, draw) {
        Ok(world) => world,
        Err(Halt::Sim(error)) => return Err(error),
        Err(Halt::Complaint(_)) => return Err(SimError::Shape("the preparation breaks a rule")),
    };
    if let Some(liar) = &mut world.liar {
        liar.always();
    }
    let lived = world.start_all().and_then(|()| settle(&mut world, PATIENCE_MS));
    match lived {
        Ok(()) => Ok((world, None)),
        Err(Halt::Complaint(complaint)) => Ok((world, Some(complaint))),
        Err(Halt::Sim(error)) => Err(error),
    }
}
