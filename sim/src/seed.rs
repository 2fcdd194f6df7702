//! One seed, from its prepared cluster to the verdict.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use dvm_core::authority::KeyReady;
use dvm_node::engine::ApiCall;
use dvm_node::journal::Loaded;
use dvm_node::witness::Witness;
use dvm_policy::PolicySet;
use tempfile::TempDir;

use crate::cast::{self, Variant, WITNESS};
use crate::cheat::Secrets;
use crate::coverage::Coverage;
use crate::judge::{Asks, Complaint, Judge};
use crate::liar::Liar;
use crate::people::People;
use crate::plan::{FAULTS_END_MS, Lie, Plan};
use crate::prepare::{Prepared, Shelf};
use crate::world::{Done, Halt, Origin, World, hosts};
use crate::{SimError, disk, limit};

/// Virtual time after the last fault in which everything must come to an end.
const PATIENCE_MS: u64 = 40_000;
/// The same where a fault lasts.
const LASTING_MS: u64 = 8_000;
/// One seed in so many has its evidence exported and verified.
const AUDITED: u64 = 16;
/// One seed in so many ends with a restart of everybody, and a look at what they still know.
const RESTARTED: u64 = 8;

/// What came of a seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which.
    pub seed: u64,
    /// Of every event.
    pub hash: [u8; 32],
    /// How many.
    pub events: u64,
    /// The rule that did not hold, if one did not.
    pub complaint: Option<Complaint>,
    /// What was met.
    pub coverage: Coverage,
    /// Numbered lines, if they were asked for.
    pub story: Vec<String>,
    /// Opening shares that were judged.
    pub openings: u64,
    /// Pairs of finished stories that were compared.
    pub stories: u64,
    /// Evidence bundles that were verified.
    pub bundles: u64,
    /// Bans that kernels said.
    pub bans: u64,
    /// How the operations ended.
    pub ends: Vec<String>,
}

/// Who takes part, and whether their story is kept.
pub(crate) struct Draw {
    pub clients: fn(u64, &Plan, KeyReady) -> People,
    pub told: bool,
}

/// A place to run seeds in, one after the other: one per thread.
pub struct Stage {
    dir: TempDir,
    policy: PolicySet,
    shelf: Arc<Mutex<Shelf>>,
    taken: BTreeMap<Variant, (Arc<Prepared>, Loaded)>,
}

impl Drop for Stage {
    /// A journal that is closed may write.
    fn drop(&mut self) {
        let _shared = limit::writes();
        self.taken.clear();
    }
}

impl Stage {
    /// A fresh place.
    ///
    /// # Errors
    /// [`SimError`] if there is no room for scratch files.
    pub fn new() -> Result<Self, SimError> {
        Self::beside(&Arc::new(Mutex::new(Shelf::default())))
    }

    /// A place for another thread, which shares what is prepared.
    pub(crate) fn another(&self) -> Result<Self, SimError> {
        Self::beside(&self.shelf)
    }

    fn beside(shelf: &Arc<Mutex<Shelf>>) -> Result<Self, SimError> {
        Ok(Self {
            dir: disk::scratch()?,
            policy: PolicySet::shipped().map_err(|_| SimError::Policy)?,
            shelf: shelf.clone(),
            taken: BTreeMap::new(),
        })
    }

    fn take(&mut self, variant: Variant) -> Result<(), Halt> {
        if self.taken.contains_key(&variant) {
            return Ok(());
        }
        let prepared = {
            let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
            shelf.get(variant, &self.policy)?
        };
        let n = self.taken.len();
        let place = disk::vault_dir(self.dir.path(), &format!("variant-{n}"))?;
        let journal = prepared.witness_journal(&place)?;
        self.taken.insert(variant, (prepared, journal));
        Ok(())
    }

    /// A world under this plan, with everybody started.
    pub(crate) fn world(&mut self, seed: u64, plan: Plan, people: Draw) -> Result<World, Halt> {
        let _shared = limit::writes();
        self.take(plan.variant)?;
        let people_told = people.told;
        let (prepared, journal) =
            self.taken.get(&plan.variant).ok_or(SimError::Shape("nothing prepared"))?;
        let witness =
            Witness::new(cast::id(WITNESS), &prepared.manifest, cast::key("w1/cosign"), journal)
                .map_err(SimError::Engine)?;
        let variant = plan.variant;
        let (admit, release) = (usize::from(variant.admit), usize::from(variant.release));
        let mut judge = Judge::new(Asks { admit, release });
        match plan.liar {
            Some((node, Lie::Runtime)) => judge.distrust_runtime(cast::node(node)),
            Some((node, _)) => judge.distrust(cast::node(node)),
            None => {}
        }
        let key = plan.liar.and_then(|(node, _)| prepared.kernel_keys.get(node)).cloned();
        let liar = plan.liar.zip(key).map(|(liar, key)| {
            let cluster = dvm_core::codec::link_of(&prepared.manifest);
            let secrets = Secrets { cluster, sealing: prepared.sealing_keys.clone() };
            Liar::new(seed, liar, (key, secrets))
        });
        let people = (people.clients)(seed, &plan, prepared.ready.clone());
        let origin = Origin {
            seed,
            manifest: prepared.manifest.clone(),
            policy: &self.policy,
            witness,
            plan,
            people,
            judge,
            told: people_told,
        };
        let hosts = hosts(self.dir.path(), seed, &prepared.disks)?;
        let mut world = World::new(origin, hosts);
        world.liar = liar;
        Ok(world)
    }

    /// Runs one seed.
    ///
    /// # Errors
    /// [`SimError`] if the simulation itself failed; a broken rule is in the outcome.
    pub fn run(&mut self, seed: u64, told: bool) -> Result<Outcome, SimError> {
        let mut coverage = Coverage::default();
        let plan = Plan::of(seed);
        plan.cover(&mut coverage);
        let mut world = match self.world(seed, plan, Draw { clients: People::of, told }) {
            Ok(world) => world,
            Err(Halt::Sim(error)) => return Err(error),
            Err(Halt::Complaint(_)) => {
                return Err(SimError::Shape("the preparation breaks a rule"));
            }
        };
        world.coverage = coverage;
        let complaint = match live(&mut world, seed) {
            Ok(()) => None,
            Err(Halt::Complaint(complaint)) => Some(complaint),
            Err(Halt::Sim(error)) => return Err(error),
        };
        Ok(outcome(world, seed, complaint))
    }
}

/// What came of a world.
pub(crate) fn outcome(world: World, seed: u64, complaint: Option<Complaint>) -> Outcome {
    let (hash, events) = world.digest();
    Outcome {
        seed,
        hash,
        events,
        complaint,
        story: world.story.lines().to_vec(),
        openings: world.judge.openings,
        stories: world.judge.stories,
        bundles: world.bundles,
        bans: world.judge.bans,
        ends: world.people.clients.iter().map(|c| c.state().to_owned()).collect(),
        coverage: world.coverage,
    }
}

/// The whole life of a world: faults, their end, and a last look.
pub(crate) fn live(world: &mut World, seed: u64) -> Done {
    world.start_all()?;
    // Where a fault lasts, an operation may stand still; a shorter look shows that it says why.
    let patience_ms = if world.plan.lasting { LASTING_MS } else { PATIENCE_MS };
    settle(world, FAULTS_END_MS + patience_ms)?;
    if seed.is_multiple_of(AUDITED) {
        audit(world)?;
    }
    if seed % RESTARTED == 1 {
        for node in 0..3 {
            world.crash(node, None, crate::coverage::Kind::Crash)?;
        }
        world.pass(3_000)?;
        settle(world, world.now_ms + PATIENCE_MS)?;
    }
    Ok(())
}

/// Goes on until everybody is content, also at a last look, or patience ends.
pub(crate) fn settle(world: &mut World, end_ms: u64) -> Done {
    while world.now_ms < end_ms {
        world.people.forget_content();
        world.run_until(end_ms)?;
        if world.last_look()? {
            break;
        }
    }
    world.last_word()
}

/// The evidence of every operation is exported and verified offline.
fn audit(world: &mut World) -> Done {
    for index in 0..world.people.clients.len() {
        let Some(client) = world.people.clients.get(index) else { continue };
        let (node, Some(id)) = (client.node, client.intent.clone()) else { continue };
        world.request(index, node, "evidence", ApiCall::Evidence(id))?;
    }
    world.pass(4_000)
}
