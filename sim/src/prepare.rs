//! Prepared clusters: formed, with one active key, made once and copied into every seed.
//!
//! Always true: the same variant is the same cluster, bytes of vaults included, in every process.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use dvm_core::Signer;
use dvm_core::authority::{ClusterManifest, KeyReady};
use dvm_core::call::{KernelCall, KernelReply};
use dvm_core::governance::EventKind;
use dvm_kernel::seal::SealingKey;
use dvm_node::journal::{Journal, Loaded};
use dvm_node::witness::Witness;
use dvm_policy::PolicySet;
use ed25519_dalek::SigningKey;

use crate::cast::{self, NODES, Variant, WITNESS};
use crate::disk::{Tables, VaultFiles};
use crate::host::kernel_rng;
use crate::judge::{Asks, Judge};
use crate::people::{Client, Governor, People, Wanted};
use crate::plan::Plan;
use crate::world::{Event, Halt, Origin, World, hosts};
use crate::{SimError, disk, limit};

/// Randomness of the preparation; no seed of a campaign reaches it.
const PREPARATION: u64 = u64::MAX;
const JOURNAL_FILE: &str = "witness.db";

/// A cluster to copy.
pub(crate) struct Prepared {
    pub manifest: ClusterManifest,
    pub disks: Vec<(VaultFiles, Tables)>,
    /// The kernels' signing keys: the simulator chose what they were drawn from.
    pub kernel_keys: Vec<SigningKey>,
    /// And the keys that their peers seal to.
    pub sealing_keys: Vec<[u8; 32]>,
    /// The facts of the active key.
    pub ready: KeyReady,
    witness: Vec<u8>,
}

impl Prepared {
    /// A witness's journal, as a file of its own below `dir`.
    pub(crate) fn witness_journal(&self, dir: &Path) -> Result<Loaded, SimError> {
        let _shared = limit::writes();
        let place = disk::vault_dir(dir, WITNESS)?.join(JOURNAL_FILE);
        std::fs::write(&place, &self.witness)?;
        Ok(Journal::open(&place)?)
    }
}

/// The clusters of this process, each made when it is first asked for.
#[derive(Default)]
pub(crate) struct Shelf(BTreeMap<Variant, Arc<Prepared>>);

impl Shelf {
    /// The prepared cluster of this variant.
    pub(crate) fn get(
        &mut self,
        variant: Variant,
        policy: &PolicySet,
    ) -> Result<Arc<Prepared>, Halt> {
        if let Some(known) = self.0.get(&variant) {
            return Ok(known.clone());
        }
        let made = Arc::new(prepare(variant, policy)?);
        self.0.insert(variant, made.clone());
        Ok(made)
    }
}

fn prepare(variant: Variant, policy: &PolicySet) -> Result<Prepared, Halt> {
    let _shared = limit::writes();
    let scratch = disk::scratch()?;
    let dir = scratch.path();
    let mut hosts = hosts(dir, PREPARATION, &[])?;
    let (mut passports, mut kernel_keys, mut sealing_keys) = (Vec::new(), Vec::new(), Vec::new());
    for (host, name) in hosts.iter_mut().zip(NODES) {
        let mut kernel = host.boot_kernel(0)?;
        let KernelReply::Attested(attested) = kernel.handle(KernelCall::Attest) else {
            return Err(Halt::Sim(SimError::Shape("a kernel does not attest")));
        };
        let mut rng = kernel_rng(PREPARATION, name, 1);
        rng.set_stream(1);
        let (key, sealing) = (SigningKey::generate(&mut rng), SealingKey::generate(&mut rng));
        let foreseen = key.public_key() == attested.body.kernel_key
            && sealing.public() == attested.body.sealing_key.0;
        if !foreseen {
            return Err(Halt::Sim(SimError::Shape("a kernel's keys are not those foreseen")));
        }
        kernel_keys.push(key);
        sealing_keys.push(*sealing.to_vault());
        passports.push(cast::passport(name, &attested.body));
    }
    let manifest = cast::manifest(passports, policy);
    let witness_file = disk::vault_dir(dir, WITNESS)?.join(JOURNAL_FILE);
    let witness = Witness::new(
        cast::id(WITNESS),
        &manifest,
        cast::key("w1/cosign"),
        &Journal::open(&witness_file).map_err(SimError::from)?,
    )
    .map_err(SimError::Engine)?;
    let origin = Origin {
        seed: PREPARATION,
        manifest: manifest.clone(),
        policy,
        witness,
        plan: Plan::calm(variant),
        people: People::default(),
        judge: Judge::new(Asks::default()),
        told: false,
    };
    let mut world = World::new(origin, hosts);
    make_key(&mut world, variant)?;
    let ready = key_ready(&world, &manifest)?;
    let witness = write_witness(&witness_file, &world.witness_tables)?;
    let disks = put_away(&mut world)?;
    Ok(Prepared { manifest, disks, kernel_keys, sealing_keys, ready, witness })
}

/// The cluster forms, makes its key, and governors activate it under the variant's floor.
fn make_key(world: &mut World, variant: Variant) -> Result<(), Halt> {
    world.start_all()?;
    world.healed = true;
    world.run_until(2_000)?;
    world.people.clients.push(Client::new(
        0,
        "key".into(),
        Wanted::Key("demo".into(), variant.backend),
    ));
    world.after(1, Event::Person(0));
    world.run_until(10_000)?;
    let activation = EventKind::KeyActivated { key_id: cast::id("demo") };
    world.people.governors.push(Governor::new(0, 0, vec![(activation, Some(variant.floor()))]));
    world.people.forget_content();
    world.after(1, Event::Person(1));
    world.run_until(20_000)?;
    world.people.forget_content();
    world.run_until(world.now_ms + 1_000)?;
    let active = world.people.governors.iter().all(|g| g.to_decide.is_empty());
    if active { Ok(()) } else { Err(Halt::Sim(SimError::Shape("the key is not activated"))) }
}

fn key_ready(world: &World, manifest: &ClusterManifest) -> Result<KeyReady, SimError> {
    let mut state = dvm_governance::AuthorityState::genesis(manifest)
        .map_err(|_| SimError::Shape("the manifest does not hold"))?;
    let rows = world.hosts.first().map(|h| h.tables.recovered().log).unwrap_or_default();
    for row in rows {
        let entry = dvm_core::codec::decode(&row).map_err(|_| SimError::Shape("no log entry"))?;
        state = dvm_governance::apply(&state, &entry)
            .map_err(|_| SimError::Shape("the log does not fold"))?;
    }
    let record = state.key(&cast::id("demo")).ok_or(SimError::Shape("no key in the log"))?;
    Ok(record.ready.clone())
}

fn write_witness(file: &Path, tables: &Tables) -> Result<Vec<u8>, SimError> {
    let (journal, thread) = Journal::open(file)?.start(Box::new(|_| {}))?;
    journal.write(tables.as_batch()).map_err(|_| SimError::Shape("the witness's journal"))?;
    thread.close();
    Ok(std::fs::read(file)?)
}

/// The disks after an orderly end. Finished operations are left out of the journals: every seed
/// begins with a node that has long forgotten how its key was made.
fn put_away(world: &mut World) -> Result<Vec<(VaultFiles, Tables)>, SimError> {
    let mut disks = Vec::new();
    for host in &mut world.hosts {
        host.alive = None;
        disks.push((VaultFiles::read(&host.dir)?, host.tables.without_operations()));
    }
    Ok(disks)
}
