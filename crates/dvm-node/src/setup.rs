//! Creating a cluster on disk: keys, vaults, manifest, policies, tokens and configurations.
//!
//! Always true: every secret is in a file that only its owner can touch, under the directory of the
//! one member that needs it; a node's directory holds hashes of tokens, never a token; kernels make
//! their own keys and only their public halves come out; an existing cluster is never overwritten.
//!
//! Not here: the keys of governors and approvers. They are people's; only their public halves are
//! in the plan.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use dvm_core::authority::{
    ApproverSet, ClusterManifest, Floor, Governors, NodePassport, WitnessPassport,
};
use dvm_core::call::{Attestation, KernelCall, KernelReply};
use dvm_core::{B32, Link, NodeId, PersonId, PublicKey, Signer, codec};
use dvm_policy::PolicySet;
use ed25519_dalek::SigningKey;
use rand_core::{OsRng, RngCore};
use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, KernelConfig, NodeConfig, TokenRow, Unseal, WitnessConfig};
use crate::kernel_link::{KernelLink, KernelSpawn, LinkDown};
use crate::tokens::{BearerToken, Principal, Role};
use crate::transport::NodeKey;

/// Why a cluster was not created.
#[derive(Debug, thiserror::Error)]
pub enum SetupFault {
    /// A file or directory could not be made. It exists already, or the disk refuses.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The plan names no node.
    #[error("a cluster needs at least one node")]
    NoNodes,
    /// No free port on loopback.
    #[error("no free port on loopback: {0}")]
    Port(#[source] std::io::Error),
    /// A kernel could not be started.
    #[error("{}: {error} (build it with `cargo build --release --bins`)", binary.display())]
    Spawn {
        /// Its binary.
        binary: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A kernel gave no attestation.
    #[error("the kernel of `{node}` did not answer: {down}")]
    Kernel {
        /// Whose.
        node: NodeId,
        /// Why.
        down: LinkDown,
    },
    /// A kernel answered something else.
    #[error("the kernel of `{node}` did not attest")]
    NotAttested {
        /// Whose.
        node: NodeId,
    },
    /// A key could not be made.
    #[error(transparent)]
    Key(#[from] crate::transport::TransportFault),
    /// The configuration does not hold.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The shipped policies do not load.
    #[error(transparent)]
    Policy(#[from] dvm_policy::LoadRefused),
    /// The manifest breaks a rule of governance.
    #[error(transparent)]
    Manifest(#[from] dvm_governance::GuardRefused),
}

type Made<T> = Result<T, SetupFault>;

/// What to create.
pub struct ClusterPlan {
    /// Where; made if it is not there.
    pub dir: PathBuf,
    /// For people.
    pub name: PersonId,
    /// The nodes; the first one orders governance events.
    pub nodes: Vec<NodeId>,
    /// The witnesses.
    pub witnesses: Vec<NodeId>,
    /// Equivocating members tolerated.
    pub faults: u16,
    /// Who decides.
    pub governors: Governors,
    /// Who approves.
    pub approvers: Vec<ApproverSet>,
    /// What making a key takes.
    pub keygen_floor: Floor,
    /// Said in the trust file, for people.
    pub note: String,
    /// The kernel's binary; beside this one if absent.
    pub kernel_binary: Option<PathBuf>,
}

/// One member, ready to run.
#[derive(Clone, Debug)]
pub struct MadeMember {
    /// Its id.
    pub id: NodeId,
    /// Its directory.
    pub dir: PathBuf,
    /// Its configuration file.
    pub config: PathBuf,
    /// Its API; a witness has none.
    pub api: Option<SocketAddr>,
}

/// A created cluster. Paths are absolute.
#[derive(Clone, Debug)]
pub struct MadeCluster {
    /// CID of the manifest.
    pub cluster: Link,
    /// The nodes.
    pub nodes: Vec<MadeMember>,
    /// The witnesses.
    pub witnesses: Vec<MadeMember>,
    /// Tokens in the clear, by role. For whoever runs the cluster, mode 0600.
    pub tokens_file: PathBuf,
    /// What an auditor needs to trust.
    pub trust_file: PathBuf,
}

/// The trust file: the one thing that an offline verifier takes on faith.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustFile {
    /// CID of the genesis manifest.
    pub cluster: String,
    /// For people.
    pub name: String,
    /// For people.
    pub note: String,
}

/// Tokens in the clear, by role.
pub type TokenFile = BTreeMap<String, String>;

struct Ports {
    peer: SocketAddr,
    api: SocketAddr,
}

/// Keys of a member as they go into the manifest.
struct Member {
    id: NodeId,
    dir: PathBuf,
    ports: Ports,
    node_key: PublicKey,
    /// A node's policy key, a witness's cosigning key.
    own_key: PublicKey,
}

/// Creates everything and leaves nothing running.
///
/// # Errors
/// [`SetupFault`]; what was made until then stays, for inspection.
pub fn create(plan: &ClusterPlan) -> Made<MadeCluster> {
    let dir = std::path::absolute(&plan.dir).map_err(|e| file_fault(&plan.dir, e))?;
    private_dir(&dir, true)?;
    let mut ports = free_ports(2 * (plan.nodes.len() + plan.witnesses.len()))?.into_iter();
    let mut member = |id: &NodeId, own: &str| make_member(&dir, id, own, &mut ports);
    let nodes: Vec<Member> =
        plan.nodes.iter().map(|id| member(id, "policy.key")).collect::<Made<_>>()?;
    let witnesses: Vec<Member> =
        plan.witnesses.iter().map(|id| member(id, "cosign.key")).collect::<Made<_>>()?;
    let policy = PolicySet::shipped()?;
    let manifest = manifest(plan, &nodes, &witnesses, policy.policy_root())?;
    // A manifest that governance refuses is found here, not at the first start.
    dvm_governance::AuthorityState::genesis(&manifest)?;
    let cluster = codec::link_of(&manifest);
    write_new(&dir.join("manifest.dagcbor"), &codec::encode(&manifest), 0o644)?;
    write_policies(&dir.join("policies"), &policy)?;
    let (tokens, rows) = mint_tokens(plan.name.as_str());
    let tokens_file = dir.join("tokens.json");
    write_new(&tokens_file, pretty(&tokens).as_bytes(), 0o600)?;
    let all: Vec<&Member> = nodes.iter().chain(&witnesses).collect();
    for node in &nodes {
        write_new(&node.dir.join("tokens.json"), pretty(&rows).as_bytes(), 0o600)?;
        write_toml(&node.dir.join("node.toml"), &node_config(plan, node, &all, &cluster))?;
    }
    for witness in &witnesses {
        write_toml(&witness.dir.join("witness.toml"), &witness_config(witness, &all, &cluster))?;
    }
    let trust_file = dir.join("cluster.json");
    let trust = TrustFile {
        cluster: cluster.to_string(),
        name: plan.name.to_string(),
        note: plan.note.clone(),
    };
    write_new(&trust_file, pretty(&trust).as_bytes(), 0o644)?;
    let made = |member: Member, config: &str, has_api: bool| MadeMember {
        config: member.dir.join(config),
        api: has_api.then_some(member.ports.api),
        id: member.id,
        dir: member.dir,
    };
    Ok(MadeCluster {
        cluster,
        nodes: nodes.into_iter().map(|m| made(m, "node.toml", true)).collect(),
        witnesses: witnesses.into_iter().map(|m| made(m, "witness.toml", false)).collect(),
        tokens_file,
        trust_file,
    })
}

fn file_fault(path: &Path, error: std::io::Error) -> SetupFault {
    SetupFault::File { path: path.to_owned(), error }
}

/// Makes a directory that only its owner can enter, as a vault's must be.
///
/// # Errors
/// [`SetupFault::File`], also if it is there and must not be.
pub fn private_dir(path: &Path, may_exist: bool) -> Made<()> {
    let made = DirBuilder::new().recursive(may_exist).mode(0o700).create(path);
    made.map_err(|error| file_fault(path, error))
}

/// Writes a file that is not there yet.
///
/// # Errors
/// [`SetupFault::File`], also if it exists.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Made<()> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    opened
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .map_err(|error| file_fault(path, error))
}

fn pretty(value: &impl Serialize) -> String {
    // Maps with string keys and plain fields always serialise.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

fn write_toml(path: &Path, value: &impl Serialize) -> Made<()> {
    let text = toml::to_string_pretty(value)
        .map_err(|e| file_fault(path, std::io::Error::new(std::io::ErrorKind::InvalidData, e)))?;
    write_new(path, text.as_bytes(), 0o600)
}

fn write_policies(dir: &Path, policy: &PolicySet) -> Made<()> {
    private_dir(dir, false)?;
    for file in &policy.bundle().files {
        write_new(&dir.join(format!("{}.cedar", file.name)), file.text.as_bytes(), 0o644)?;
    }
    Ok(())
}

/// Ports that are free now. All are held until the last one is found, so that none comes twice.
fn free_ports(count: usize) -> Made<Vec<SocketAddr>> {
    let listen = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let held: Vec<TcpListener> =
        (0..count).map(listen).collect::<Result<_, _>>().map_err(SetupFault::Port)?;
    held.iter().map(TcpListener::local_addr).collect::<Result<_, _>>().map_err(SetupFault::Port)
}

fn make_member(
    dir: &Path,
    id: &NodeId,
    own_key_file: &str,
    ports: &mut impl Iterator<Item = SocketAddr>,
) -> Made<Member> {
    let dir = dir.join(id.as_str());
    private_dir(&dir, false)?;
    private_dir(&dir.join("data"), false)?;
    let node_key = NodeKey::load_or_create(&dir.join("tls.pem"))?;
    let own_key = SigningKey::generate(&mut OsRng);
    write_new(&dir.join(own_key_file), hex_line(own_key.as_bytes()).as_bytes(), 0o600)?;
    let none = || SetupFault::Port(std::io::ErrorKind::AddrNotAvailable.into());
    let ports = Ports { peer: ports.next().ok_or_else(none)?, api: ports.next().ok_or_else(none)? };
    Ok(Member {
        id: id.clone(),
        dir,
        ports,
        node_key: PublicKey(B32(node_key.public()?)),
        own_key: own_key.public_key(),
    })
}

fn hex_line(bytes: &[u8]) -> String {
    hex::encode(bytes) + "\n"
}

fn kernel_config(plan: &ClusterPlan, dir: &Path) -> KernelConfig {
    KernelConfig {
        binary: plan.kernel_binary.clone(),
        vault: dir.join("vault"),
        unseal: Unseal { identity: Some(dir.join("kernel.identity")), ..Unseal::default() },
        require_isolation: false,
    }
}

fn manifest(
    plan: &ClusterPlan,
    nodes: &[Member],
    witnesses: &[Member],
    policy_root: Link,
) -> Made<ClusterManifest> {
    let mut passports = Vec::new();
    for node in nodes {
        let attested = first_attestation(plan, node)?;
        passports.push(NodePassport {
            node: node.id.clone(),
            org: plan.name.clone(),
            node_key: node.node_key,
            kernel_key: attested.kernel_key,
            sealing_key: attested.sealing_key,
            policy_key: node.own_key,
            generation: 1,
        });
    }
    let witness = |w: &Member| WitnessPassport {
        node: w.id.clone(),
        org: plan.name.clone(),
        node_key: w.node_key,
        cosign_key: w.own_key,
    };
    let mut witnesses: Vec<WitnessPassport> = witnesses.iter().map(witness).collect();
    let sequencer = passports.first().map(|p| p.node.clone());
    passports.sort_by(|a, b| a.node.cmp(&b.node));
    witnesses.sort_by(|a, b| a.node.cmp(&b.node));
    let mut nonce = B32::default();
    OsRng.fill_bytes(&mut nonce.0);
    Ok(ClusterManifest {
        name: plan.name.clone(),
        nonce,
        nodes: passports,
        witnesses,
        faults: plan.faults,
        sequencer: sequencer.ok_or(SetupFault::NoNodes)?,
        governors: plan.governors.clone(),
        approvers: plan.approvers.clone(),
        policy_root,
        keygen_floor: plan.keygen_floor.clone(),
    })
}

/// Starts a node's kernel on its new vault, once, so that it makes its keys.
fn first_attestation(plan: &ClusterPlan, node: &Member) -> Made<Attestation> {
    let mut seed = [0; 32];
    OsRng.fill_bytes(&mut seed);
    write_new(&node.dir.join("kernel.identity"), hex_line(&seed).as_bytes(), 0o600)?;
    private_dir(&node.dir.join("vault"), false)?;
    let spawn = kernel_config(plan, &node.dir).spawn()?;
    let link = start_kernel(&spawn)?;
    let reply = ask_kernel(&link, &KernelCall::Attest);
    match reply.map_err(|down| SetupFault::Kernel { node: node.id.clone(), down })? {
        Some(KernelReply::Attested(signed)) if signed.verify(signed.body.kernel_key).is_ok() => {
            Ok(signed.body)
        }
        _ => Err(SetupFault::NotAttested { node: node.id.clone() }),
    }
}

/// Starts a kernel that nobody watches: for set-up and for looking at it.
///
/// # Errors
/// [`SetupFault::Spawn`].
pub fn start_kernel(spawn: &KernelSpawn) -> Made<KernelLink> {
    // Its end shows in the next call.
    KernelLink::spawn(spawn, Box::new(|_| {}))
        .map_err(|error| SetupFault::Spawn { binary: spawn.binary.clone(), error })
}

/// One call, waited for. `None` if the answer does not decode.
///
/// # Errors
/// [`LinkDown`].
pub fn ask_kernel(link: &KernelLink, call: &KernelCall) -> Result<Option<KernelReply>, LinkDown> {
    let (answer, answered) = std::sync::mpsc::channel();
    let reply = move |result| {
        // The receiver waits below until this runs.
        let _ = answer.send(result);
    };
    link.call(codec::encode(call), Box::new(reply));
    let bytes = answered.recv().unwrap_or(Err(LinkDown::Gone))?;
    Ok(codec::decode(&bytes).ok())
}

fn mint_tokens(tenant: &str) -> (TokenFile, Vec<TokenRow>) {
    let roles = [
        ("client", Role::Client),
        ("approver", Role::Approver),
        ("operator", Role::Operator),
        ("auditor", Role::Auditor),
    ];
    let (mut tokens, mut rows) = (TokenFile::new(), Vec::new());
    for (name, role) in roles {
        let token = BearerToken::mint(&mut OsRng);
        rows.push(TokenRow {
            token_sha256: hex::encode(token.hash().as_bytes()),
            principal: Principal {
                tenant: tenant.to_owned(),
                person: format!("{tenant}-{name}"),
                roles: [role].into(),
            },
        });
        tokens.insert(name.to_owned(), token.expose().to_owned());
    }
    (tokens, rows)
}

fn addresses(me: &Member, all: &[&Member]) -> BTreeMap<NodeId, String> {
    let others = all.iter().filter(|member| member.id != me.id);
    others.map(|member| (member.id.clone(), member.ports.peer.to_string())).collect()
}

fn node_config(plan: &ClusterPlan, node: &Member, all: &[&Member], cluster: &Link) -> NodeConfig {
    NodeConfig {
        node: node.id.clone(),
        cluster: cluster.to_string(),
        manifest_file: "../manifest.dagcbor".into(),
        data_dir: "data".into(),
        peer_listen: node.ports.peer,
        api_listen: node.ports.api,
        policy_dir: "../policies".into(),
        tls_key_file: "tls.pem".into(),
        policy_key_file: "policy.key".into(),
        tokens_file: "tokens.json".into(),
        timing: None,
        pool: None,
        diagnostics: None,
        kernel: kernel_config(plan, Path::new("")),
        members: addresses(node, all),
    }
}

fn witness_config(witness: &Member, all: &[&Member], cluster: &Link) -> WitnessConfig {
    WitnessConfig {
        witness: witness.id.clone(),
        cluster: cluster.to_string(),
        manifest_file: "../manifest.dagcbor".into(),
        data_dir: "data".into(),
        peer_listen: witness.ports.peer,
        tls_key_file: "tls.pem".into(),
        cosign_key_file: "cosign.key".into(),
        members: addresses(witness, all),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_files_never_replace_old_ones_and_secrets_are_private() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        write_new(&file, b"one", 0o600).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert!(matches!(write_new(&file, b"two", 0o600), Err(SetupFault::File { .. })));
        assert_eq!(std::fs::read(&file).unwrap(), b"one");
    }

    #[test]
    fn nodes_get_hashes_of_tokens_and_never_a_token() {
        let (tokens, rows) = mint_tokens("demo");
        assert_eq!(
            tokens.keys().collect::<Vec<_>>(),
            ["approver", "auditor", "client", "operator"]
        );
        let stored = pretty(&rows);
        for token in tokens.values() {
            assert!(!stored.contains(token.as_str()));
        }
    }

    #[test]
    fn free_ports_are_all_different() {
        let mut ports = free_ports(16).unwrap();
        ports.sort();
        ports.dedup();
        assert_eq!(ports.len(), 16);
    }
}
