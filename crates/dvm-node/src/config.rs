//! Configuration of a node and of a witness: TOML files, checked whole before anything starts.
//!
//! Always true: an unknown field is refused; relative paths count from the file's own directory; a
//! key file that others can read is refused; what the files hold agrees with the manifest, whose
//! CID the configuration pins: this member's keys, and an address for every other member.
//!
//! Not here: whether the policies are those in force (the governance log says that), and the
//! kernel's own files, which only the kernel reads.

mod pool;

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dvm_core::authority::ClusterManifest;
use dvm_core::{Link, NodeId, PersonId, PublicKey, Signer, Tenant, codec};
use dvm_policy::PolicySet;
use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::engine::{PoolMarks, Timing};
use crate::kernel_link::{KERNEL_BINARY, KernelSpawn};
use crate::tokens::{Principal, TokenBook};
use crate::transport::{NodeKey, PeerAddr};

pub use pool::PoolConfig;

/// Longest configuration, token or policy file: far above any that people write.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Longest time of one kernel call: a key's argon2id unsealing is the slowest, under two seconds.
const KERNEL_CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// Why a configuration was refused. Nothing has started.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A file is longer than any configuration needs.
    #[error("{}: longer than {FILE_BYTES_MAX} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// A file is not of its form.
    #[error("{}: {problem}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Where and what.
        problem: String,
    },
    /// A file with a secret can be touched by others.
    #[error("{}: holds a secret and must be a regular file with mode 0600 or 0400", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// The manifest is not the one that the configuration pins.
    #[error("{}: the manifest's CID is {found}, but the configuration pins {pinned}", path.display())]
    OtherManifest {
        /// The manifest's file.
        path: PathBuf,
        /// Its CID.
        found: Box<Link>,
        /// What was expected.
        pinned: Box<Link>,
    },
    /// This member is not in the manifest in this role.
    #[error("the manifest has no {role} named `{member}`")]
    NotAMember {
        /// `node` or `witness`.
        role: &'static str,
        /// Who.
        member: NodeId,
    },
    /// A key file does not hold the key that the manifest has for this member.
    #[error("{}: its public key {found} is not the manifest's {field} of `{member}`", path.display())]
    OtherKey {
        /// The key file.
        path: PathBuf,
        /// Its public key.
        found: PublicKey,
        /// The field of the passport.
        field: &'static str,
        /// Whose.
        member: NodeId,
    },
    /// The list of members is not that of the manifest.
    #[error("[members] must give an address to exactly the other members; {problem} `{member}`")]
    Members {
        /// `it lacks`, or `the manifest does not know`.
        problem: &'static str,
        /// Whom.
        member: NodeId,
    },
    /// A value is out of its range.
    #[error("`{field}` {rule}")]
    Value {
        /// Which.
        field: &'static str,
        /// What it must be.
        rule: &'static str,
    },
}

type Checked<T> = Result<T, ConfigError>;

/// Where the kernel's master key comes from. Exactly one is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unseal {
    /// A file of 64 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<PathBuf>,
    /// A file with a passphrase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<PathBuf>,
    /// A systemd credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// How to start the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelConfig {
    /// Its binary; `dvm-kernel` beside `dvm` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<PathBuf>,
    /// Its vault's directory.
    pub vault: PathBuf,
    /// Its master key's source.
    pub unseal: Unseal,
    /// Refuse to start if an isolation layer is missing.
    #[serde(default)]
    pub require_isolation: bool,
}

impl KernelConfig {
    /// The command that starts it. Only paths and names are on it, never a secret.
    ///
    /// # Errors
    /// [`ConfigError`] if not exactly one source of the master key is named, or this binary's own
    /// path is unknown.
    pub fn spawn(&self) -> Checked<KernelSpawn> {
        let path = |p: &Path| p.display().to_string();
        let source = match (&self.unseal.identity, &self.unseal.passphrase, &self.unseal.credential)
        {
            (Some(file), None, None) => ["--identity".to_owned(), path(file)],
            (None, Some(file), None) => ["--passphrase".to_owned(), path(file)],
            (None, None, Some(name)) => ["--credential".to_owned(), name.clone()],
            _ => {
                let rule = "names exactly one of `identity`, `passphrase` and `credential`";
                return Err(ConfigError::Value { field: "kernel.unseal", rule });
            }
        };
        let mut spawn = KernelSpawn::beside_current_exe(KERNEL_CALL_TIMEOUT)
            .map_err(|error| ConfigError::Unreadable { path: KERNEL_BINARY.into(), error })?;
        if let Some(binary) = &self.binary {
            spawn.binary.clone_from(binary);
        }
        spawn.args = vec!["--vault".to_owned(), path(&self.vault)];
        spawn.args.extend(source);
        if self.require_isolation {
            spawn.args.push("--require-isolation".to_owned());
        }
        Ok(spawn)
    }

    fn make_absolute(&mut self, base: &Path) {
        let Unseal { identity, passphrase, .. } = &mut self.unseal;
        let files =
            [self.binary.as_mut(), Some(&mut self.vault), identity.as_mut(), passphrase.as_mut()];
        for file in files.into_iter().flatten() {
            *file = base.join(&*file);
        }
    }
}

/// Deadlines that a slow site may lengthen; what is absent is the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimingConfig {
    /// Ask again for a missing verdict.
    pub consider_retry_ms: Option<u64>,
    /// ... and, of what has waited for long, at least so often.
    pub consider_retry_max_ms: Option<u64>,
    /// Report `REMOTE_TIMEOUT` when fewer than t have opened.
    pub consider_deadline_ms: Option<u64>,
    /// A level open this long is re-sent and reported.
    pub soft_ms: Option<u64>,
    /// An act's level open this long aborts the run.
    pub hard_ms: Option<u64>,
    /// A publication that waits this long for a peer that is down is tried anew with others.
    pub publish_retry_ms: Option<u64>,
}

impl TimingConfig {
    fn over_defaults(self) -> Checked<Timing> {
        let base = Timing::default();
        let timing = Timing {
            consider_retry_ms: self.consider_retry_ms.unwrap_or(base.consider_retry_ms),
            consider_retry_max_ms: self.consider_retry_max_ms.unwrap_or(base.consider_retry_max_ms),
            consider_deadline_ms: self.consider_deadline_ms.unwrap_or(base.consider_deadline_ms),
            soft_ms: self.soft_ms.unwrap_or(base.soft_ms),
            hard_ms: self.hard_ms.unwrap_or(base.hard_ms),
            publish_retry_ms: self.publish_retry_ms.unwrap_or(base.publish_retry_ms),
        };
        if timing.consider_retry_ms == 0 || timing.soft_ms == 0 || timing.publish_retry_ms == 0 {
            return Err(ConfigError::Value { field: "timing", rule: "has a deadline of 0 ms" });
        }
        if timing.hard_ms <= timing.soft_ms {
            return Err(ConfigError::Value {
                field: "timing.hard_ms",
                rule: "must be above `soft_ms`",
            });
        }
        Ok(timing)
    }
}

/// What is kept to look at later. Nothing, unless it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiagnosticsConfig {
    /// A file that gets every message this node puts on the wire; made if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_wire: Option<PathBuf>,
}

/// A node's configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// This node.
    pub node: NodeId,
    /// CID of the cluster's manifest: what everything rests on.
    pub cluster: String,
    /// The manifest's canonical bytes.
    pub manifest_file: PathBuf,
    /// This node's own store.
    pub data_dir: PathBuf,
    /// Where peers reach it.
    pub peer_listen: SocketAddr,
    /// Where clients reach it. Plain HTTP: loopback, or behind a TLS proxy.
    pub api_listen: SocketAddr,
    /// Directory of `.cedar` files.
    pub policy_dir: PathBuf,
    /// Node key, PEM.
    pub tls_key_file: PathBuf,
    /// Policy key, 64 hex digits.
    pub policy_key_file: PathBuf,
    /// Hashes of bearer tokens and whom they speak for, JSON.
    pub tokens_file: PathBuf,
    /// Deadlines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timing: Option<TimingConfig>,
    /// What is kept in stock for later signatures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolConfig>,
    /// What is kept to look at later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnostics: Option<DiagnosticsConfig>,
    /// The kernel.
    pub kernel: KernelConfig,
    /// `host:port` of every other member, witnesses included.
    pub members: BTreeMap<NodeId, String>,
}

/// Everything that a node's configuration names, loaded and found consistent.
pub struct NodeParts {
    /// The genesis manifest.
    pub manifest: ClusterManifest,
    /// The policies.
    pub policy: PolicySet,
    /// Signs this node's control-plane statements.
    pub policy_key: SigningKey,
    /// For TLS.
    pub tls_key: NodeKey,
    /// The other members.
    pub peers: Vec<PeerAddr>,
    /// Who may call the API.
    pub tokens: TokenBook,
    /// How to start the kernel.
    pub kernel: KernelSpawn,
    /// Deadlines.
    pub timing: Timing,
    /// What is kept in stock.
    pub pool: PoolMarks,
}

impl NodeConfig {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(file: &Path) -> Checked<Self> {
        let (mut config, base): (Self, PathBuf) = read_toml(file)?;
        let paths = [
            &mut config.manifest_file,
            &mut config.data_dir,
            &mut config.policy_dir,
            &mut config.tls_key_file,
            &mut config.policy_key_file,
            &mut config.tokens_file,
        ];
        for path in paths {
            *path = base.join(&*path);
        }
        config.kernel.make_absolute(&base);
        if let Some(file) = config.diagnostics.as_mut().and_then(|d| d.record_wire.as_mut()) {
            *file = base.join(&*file);
        }
        Ok(config)
    }

    /// Loads everything it names and checks that it fits together.
    ///
    /// # Errors
    /// [`ConfigError`] with the first thing that does not.
    pub fn parts(&self) -> Checked<NodeParts> {
        let manifest = read_manifest(&self.manifest_file, &self.cluster)?;
        let passport = manifest
            .passport(&self.node)
            .ok_or_else(|| ConfigError::NotAMember { role: "node", member: self.node.clone() })?;
        let tls_key = read_tls_key(&self.tls_key_file, &self.node, passport.node_key)?;
        let policy_key = read_signing_key(&self.policy_key_file)?;
        let own = (self.policy_key_file.as_path(), "policy_key", &self.node);
        check_key(policy_key.public_key(), passport.policy_key, own)?;
        Ok(NodeParts {
            policy: read_policies(&self.policy_dir)?,
            policy_key,
            tls_key,
            peers: peers(&manifest, &self.node, &self.members)?,
            tokens: read_tokens(&self.tokens_file)?,
            kernel: self.kernel.spawn()?,
            timing: self.timing.unwrap_or_default().over_defaults()?,
            pool: self.pool.clone().unwrap_or_default().over_defaults()?,
            manifest,
        })
    }
}

/// A witness's configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessConfig {
    /// This witness.
    pub witness: NodeId,
    /// CID of the cluster's manifest.
    pub cluster: String,
    /// The manifest's canonical bytes.
    pub manifest_file: PathBuf,
    /// Its store: the register of what it cosigned.
    pub data_dir: PathBuf,
    /// Where nodes reach it.
    pub peer_listen: SocketAddr,
    /// Node key, PEM.
    pub tls_key_file: PathBuf,
    /// Cosigning key, 64 hex digits.
    pub cosign_key_file: PathBuf,
    /// `host:port` of every other member.
    pub members: BTreeMap<NodeId, String>,
}

/// Everything that a witness's configuration names.
pub struct WitnessParts {
    /// The genesis manifest.
    pub manifest: ClusterManifest,
    /// Cosigns heads.
    pub cosign_key: SigningKey,
    /// For TLS.
    pub tls_key: NodeKey,
    /// The other members.
    pub peers: Vec<PeerAddr>,
}

impl WitnessConfig {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(file: &Path) -> Checked<Self> {
        let (mut config, base): (Self, PathBuf) = read_toml(file)?;
        let paths = [
            &mut config.manifest_file,
            &mut config.data_dir,
            &mut config.tls_key_file,
            &mut config.cosign_key_file,
        ];
        for path in paths {
            *path = base.join(&*path);
        }
        Ok(config)
    }

    /// Loads everything it names and checks that it fits together.
    ///
    /// # Errors
    /// [`ConfigError`] with the first thing that does not.
    pub fn parts(&self) -> Checked<WitnessParts> {
        let manifest = read_manifest(&self.manifest_file, &self.cluster)?;
        let passport = manifest.witnesses.iter().find(|w| w.node == self.witness);
        let passport = passport.ok_or_else(|| ConfigError::NotAMember {
            role: "witness",
            member: self.witness.clone(),
        })?;
        let tls_key = read_tls_key(&self.tls_key_file, &self.witness, passport.node_key)?;
        let cosign_key = read_signing_key(&self.cosign_key_file)?;
        let own = (self.cosign_key_file.as_path(), "cosign_key", &self.witness);
        check_key(cosign_key.public_key(), passport.cosign_key, own)?;
        let peers = peers(&manifest, &self.witness, &self.members)?;
        Ok(WitnessParts { cosign_key, tls_key, peers, manifest })
    }
}

/// One row of a tokens file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRow {
    /// SHA-256 of the token's text, hex.
    pub token_sha256: String,
    /// Whom it speaks for.
    pub principal: Principal,
}

fn read(path: &Path) -> Checked<Vec<u8>> {
    let unreadable = |error| ConfigError::Unreadable { path: path.to_owned(), error };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(ConfigError::TooLong { path: path.to_owned() });
    }
    Ok(bytes)
}

fn read_text(path: &Path) -> Checked<String> {
    String::from_utf8(read(path)?).map_err(|_| form(path, "not UTF-8 text"))
}

fn form(path: &Path, problem: impl ToString) -> ConfigError {
    ConfigError::Form { path: path.to_owned(), problem: problem.to_string() }
}

/// The file's value and the absolute directory that its relative paths count from.
fn read_toml<T: DeserializeOwned>(file: &Path) -> Checked<(T, PathBuf)> {
    let absolute = std::path::absolute(file)
        .map_err(|error| ConfigError::Unreadable { path: file.to_owned(), error })?;
    let value = toml::from_str(&read_text(file)?).map_err(|e| form(file, e))?;
    let base = absolute.parent().unwrap_or(Path::new("/")).to_owned();
    Ok((value, base))
}

/// Reads a manifest and checks that it is the pinned one.
///
/// # Errors
/// [`ConfigError`].
pub fn read_manifest(path: &Path, pinned: &str) -> Checked<ClusterManifest> {
    let rule = "must be the CID of the cluster's manifest";
    let pinned: Link = pinned.parse().map_err(|_| ConfigError::Value { field: "cluster", rule })?;
    let bytes = read(path)?;
    let manifest: ClusterManifest = codec::decode(&bytes).map_err(|e| form(path, e))?;
    let found = Link::of_artifact(&bytes);
    if found != pinned {
        let (found, pinned) = (Box::new(found), Box::new(pinned));
        return Err(ConfigError::OtherManifest { path: path.to_owned(), found, pinned });
    }
    Ok(manifest)
}

/// Reads a signing key: 64 hex digits in a file that only its owner can touch.
///
/// # Errors
/// [`ConfigError`].
pub fn read_signing_key(path: &Path) -> Checked<SigningKey> {
    check_private(path)?;
    let text = read_text(path)?;
    let mut seed = [0; 32];
    hex::decode_to_slice(text.trim_end(), &mut seed)
        .map_err(|_| form(path, "not 64 hex digits"))?;
    Ok(SigningKey::from_bytes(&seed))
}

fn check_private(path: &Path) -> Checked<()> {
    let facts = std::fs::symlink_metadata(path)
        .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
    if facts.is_file() && facts.mode() & 0o077 == 0 {
        Ok(())
    } else {
        Err(ConfigError::Exposed { path: path.to_owned() })
    }
}

fn read_tls_key(path: &Path, member: &NodeId, expected: PublicKey) -> Checked<NodeKey> {
    // A missing key is an error here, never a reason to draw a new one.
    check_private(path)?;
    let key = NodeKey::load_or_create(path).map_err(|e| form(path, e))?;
    let public = PublicKey(dvm_core::B32(key.public().map_err(|e| form(path, e))?));
    check_key(public, expected, (path, "node_key", member))?;
    Ok(key)
}

fn check_key(
    found: PublicKey,
    expected: PublicKey,
    (path, field, member): (&Path, &'static str, &NodeId),
) -> Checked<()> {
    if found == expected {
        return Ok(());
    }
    Err(ConfigError::OtherKey { path: path.to_owned(), found, field, member: member.clone() })
}

fn peers(
    manifest: &ClusterManifest,
    me: &NodeId,
    addresses: &BTreeMap<NodeId, String>,
) -> Checked<Vec<PeerAddr>> {
    let nodes = manifest.nodes.iter().map(|p| (&p.node, p.node_key));
    let witnesses = manifest.witnesses.iter().map(|w| (&w.node, w.node_key));
    let mut peers = Vec::new();
    for (member, key) in nodes.chain(witnesses).filter(|(member, _)| *member != me) {
        let addr = addresses
            .get(member)
            .ok_or_else(|| ConfigError::Members { problem: "it lacks", member: member.clone() })?;
        peers.push(PeerAddr { id: member.to_string(), addr: addr.clone(), tls_key: key.0.0 });
    }
    let members = manifest.members();
    match addresses.keys().find(|name| *name == me || !members.contains(name)) {
        Some(stranger) => {
            let problem = "the manifest does not know, as another member,";
            Err(ConfigError::Members { problem, member: stranger.clone() })
        }
        None => Ok(peers),
    }
}

/// Reads and validates the `.cedar` files of a directory.
///
/// # Errors
/// [`ConfigError`] for a file that cannot be read, and for policies that do not load.
pub fn read_policies(directory: &Path) -> Checked<PolicySet> {
    let unreadable = |error| ConfigError::Unreadable { path: directory.to_owned(), error };
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let cedar = path.extension().is_some_and(|e| e == "cedar");
        let name = path.file_stem().and_then(|stem| stem.to_str());
        if let (true, Some(name)) = (cedar, name) {
            files.insert(name.to_owned(), read_text(&path)?);
        }
    }
    PolicySet::load(files).map_err(|e| form(directory, e))
}

fn read_tokens(path: &Path) -> Checked<TokenBook> {
    let rows: Vec<TokenRow> = serde_json::from_slice(&read(path)?).map_err(|e| form(path, e))?;
    let mut stored = Vec::new();
    for row in rows {
        let hash =
            hex::decode(&row.token_sha256).map_err(|_| form(path, "`token_sha256` is not hex"))?;
        let Principal { tenant, person, .. } = &row.principal;
        if tenant.parse::<Tenant>().is_err() || person.parse::<PersonId>().is_err() {
            return Err(form(path, "a tenant or person is not a name of 1 to 64 plain characters"));
        }
        stored.push((hash, row.principal.to_json().map_err(|e| form(path, e))?));
    }
    TokenBook::load(stored).map_err(|e| form(path, e))
}

#[cfg(test)]
mod tests;
