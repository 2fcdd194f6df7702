//! Three nodes with their kernels and a witness, from the binaries that ship.
//!
//! Always true: every process ends with this one, because its standard input is a pipe that only
//! this process holds, and because dropping the cluster waits for each.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use dvm_core::authority::{ApproverSet, Floor, Governors, Person, ReleaseRule};
use dvm_core::intent::ActClass;
use dvm_core::{PersonId, Signer};
use dvm_node::setup::{ClusterPlan, MadeCluster, MadeMember, TokenFile, create};
use ed25519_dalek::SigningKey;
use rand_core::OsRng;

use crate::Outcome;
use crate::client::{Client, number, until};

/// Longest wait for the members to find each other.
const FORMING_TIME: Duration = Duration::from_secs(60);
/// Longest wait for a stock of material.
const STOCKING_TIME: Duration = Duration::from_secs(120);
/// The approvers' set.
pub const APPROVERS: &str = "approvers";

/// Someone who signs with a key that exists only in this process.
pub struct Signatory {
    /// Who.
    pub person: PersonId,
    /// Their key.
    pub key: SigningKey,
}

impl Signatory {
    fn new(name: &str) -> Outcome<Self> {
        let person = name.parse().map_err(|_| format!("`{name}` is not a name"))?;
        Ok(Self { person, key: SigningKey::generate(&mut OsRng) })
    }

    fn public(&self) -> Person {
        Person { person: self.person.clone(), key: self.key.public_key() }
    }
}

/// A running cluster.
pub struct Cluster {
    /// What was made on disk.
    pub made: MadeCluster,
    /// A client per node.
    pub clients: Vec<Client>,
    /// Two of three decide; these are the two.
    pub governors: Vec<Signatory>,
    /// The one who approves.
    pub approver: Signatory,
    /// Process ids: the nodes', then their kernels'.
    pub pids: (Vec<u32>, Vec<u32>),
    stock: Stock,
    children: Vec<Child>,
}

/// The directory with `dvm` and `dvm-kernel`: `DVM_BIN_DIR`, or where this binary was built.
///
/// # Errors
/// A binary is missing; the text says how to build it.
pub fn binaries() -> Outcome<PathBuf> {
    let built = || -> Outcome<PathBuf> {
        // target/<profile>/deps/figures-<hash>
        let own = std::env::current_exe()?;
        Ok(own.ancestors().nth(2).map(Path::to_owned).unwrap_or_default())
    };
    let dir = std::env::var_os("DVM_BIN_DIR").map_or_else(built, |dir| Ok(dir.into()))?;
    for name in ["dvm", "dvm-kernel"] {
        if !dir.join(name).is_file() {
            let build = "run `cargo build --release --bins` first, or set DVM_BIN_DIR";
            return Err(format!("no `{name}` in {}: {build}", dir.display()).into());
        }
    }
    Ok(dir)
}

/// How much one-time material the nodes keep in stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stock {
    /// None: every signature makes what it needs.
    None,
    /// Enough that eight clients find some whenever they ask.
    Ample,
}

impl Stock {
    /// Pieces of a set of signers.
    fn high(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Ample => 512,
        }
    }

    /// As a part of a node's configuration.
    fn toml(self) -> String {
        format!("\n[pool]\nlow = {}\nhigh = {}\n", self.high() / 2, self.high())
    }
}

impl Cluster {
    /// Makes a cluster in a directory, starts it and waits until it is formed.
    ///
    /// # Errors
    /// A fault of the machine, or a cluster that does not form.
    pub fn start(dir: &Path, stock: Stock) -> Outcome<Self> {
        let binaries = binaries()?;
        let governors = vec![Signatory::new("gov-1")?, Signatory::new("gov-2")?];
        let (third, approver) = (Signatory::new("gov-3")?, Signatory::new("approver-1")?);
        let mut members: Vec<Person> = governors.iter().map(Signatory::public).collect();
        members.push(third.public());
        let made = create(&plan(dir, &binaries, members, &approver)?)?;
        for node in &made.nodes {
            let mut config = File::options().append(true).open(&node.config)?;
            config.write_all(stock.toml().as_bytes())?;
        }
        let tokens: TokenFile = serde_json::from_str(&std::fs::read_to_string(&made.tokens_file)?)?;
        let api = |member: &MadeMember| member.api.map(|addr| format!("http://{addr}"));
        let clients = made.nodes.iter().filter_map(api).map(|a| Client::new(a, tokens.clone()));
        let (clients, pids) = (clients.collect(), (Vec::new(), Vec::new()));
        let children = Vec::new();
        let mut cluster = Self { made, clients, governors, approver, pids, stock, children };
        cluster.spawn_all(&binaries.join("dvm"))?;
        for client in &cluster.clients {
            let status = until(FORMING_TIME, "the cluster forms", || {
                let status = client.get("operator", "/v1/status")?;
                Ok(Some(status).filter(|s| number(s, "log_size") > 0))
            })?;
            cluster.pids.0.push(u32::try_from(number(&status, "pid"))?);
            cluster.pids.1.push(u32::try_from(number(&status, "kernel_pid"))?);
        }
        Ok(cluster)
    }

    fn spawn_all(&mut self, dvm: &Path) -> Outcome<()> {
        let nodes = self.made.nodes.iter().map(|member| ("node", member));
        let witnesses = self.made.witnesses.iter().map(|member| ("witness", member));
        for (role, member) in nodes.chain(witnesses) {
            let child = Command::new(dvm)
                .args([role, "run", "--until-stdin-ends", "--config"])
                .arg(&member.config)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(File::create(member.dir.join(format!("{role}.log")))?)
                .spawn()?;
            self.children.push(child);
        }
        Ok(())
    }

    /// Waits until the first nodes, so many, have one whole stock of this key's material.
    ///
    /// # Errors
    /// A node that does not answer, or that is not stocked in time.
    pub fn wait_for_stock(&self, key: &str, nodes: usize) -> Outcome<()> {
        let sample = format!("dvm_pool_depth{{key=\"{key}\"");
        for client in self.clients.iter().take(nodes) {
            until(STOCKING_TIME, "material in stock", || {
                let metrics = client.metrics()?;
                let samples = metrics.lines().filter(|line| line.starts_with(&sample));
                let depths =
                    samples.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
                Ok((depths.sum::<u64>() >= self.stock.high()).then_some(()))
            })?;
        }
        Ok(())
    }

    /// Transactions committed by all nodes' journals since they started.
    ///
    /// # Errors
    /// A node that does not answer.
    pub fn journal_commits(&self) -> Outcome<u64> {
        let of = |c: &Client| Ok(number(&c.get("operator", "/v1/status")?, "journal_commits"));
        self.clients.iter().map(of).sum()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in &mut self.children {
            // The end of its input asks it to stop.
            drop(child.stdin.take());
        }
        for child in &mut self.children {
            // One that has ended already is what is wanted.
            let _ = child.wait();
        }
    }
}

fn plan(
    dir: &Path,
    binaries: &Path,
    governors: Vec<Person>,
    approver: &Signatory,
) -> Outcome<ClusterPlan> {
    let name = |text: &str| text.parse().map_err(|_| format!("`{text}` is not a name"));
    Ok(ClusterPlan {
        dir: dir.to_owned(),
        name: "bench".parse().map_err(|_| "the cluster's name")?,
        nodes: vec![name("n1")?, name("n2")?, name("n3")?],
        witnesses: vec![name("w1")?],
        faults: 1,
        governors: Governors { threshold: 2, members: governors, proposer_counts: true },
        approvers: vec![ApproverSet {
            name: APPROVERS.parse().map_err(|_| "the approver set's name")?,
            members: vec![approver.public()],
        }],
        keygen_floor: Floor {
            admit: None,
            release: ReleaseRule::Auto,
            acts: vec![ActClass::KeyGenerate],
            executions_per_hour: 60,
            failures_to_freeze: 5,
        },
        note: "BENCH cluster: throw it away".to_owned(),
        kernel_binary: Some(binaries.join("dvm-kernel")),
    })
}
