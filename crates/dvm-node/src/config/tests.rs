use std::os::unix::fs::PermissionsExt;

use dvm_core::authority::{Floor, Governors, NodePassport, Person, ReleaseRule};
use dvm_core::{B32, PublicKey};
use rand_core::OsRng;

use super::*;
use crate::setup::write_new;
use crate::tokens::{BearerToken, Role};

/// A directory with a configuration of node `n1` that holds.
struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Self { dir: tempfile::tempdir().unwrap() };
        let tls = NodeKey::load_or_create(&site.path("tls.pem")).unwrap();
        let policy_key = SigningKey::generate(&mut OsRng);
        let hex_key = hex::encode(policy_key.as_bytes()) + "\n";
        write_new(&site.path("policy.key"), hex_key.as_bytes(), 0o600).unwrap();
        let policies = PolicySet::shipped().unwrap();
        std::fs::create_dir(site.path("policies")).unwrap();
        for file in &policies.bundle().files {
            std::fs::write(site.path(&format!("policies/{}.cedar", file.name)), &file.text)
                .unwrap();
        }
        let row = TokenRow {
            token_sha256: hex::encode(BearerToken::mint(&mut OsRng).hash().as_bytes()),
            principal: Principal {
                tenant: "acme".into(),
                person: "alice".into(),
                roles: [Role::Client].into(),
            },
        };
        std::fs::write(site.path("tokens.json"), serde_json::to_vec(&vec![row]).unwrap()).unwrap();
        let node_key = PublicKey(B32(tls.public().unwrap()));
        let manifest = manifest(node_key, policy_key.public_key(), policies.policy_root());
        std::fs::write(site.path("manifest.dagcbor"), codec::encode(&manifest)).unwrap();
        site.write(&site.config(&codec::link_of(&manifest).to_string()));
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn config(&self, cluster: &str) -> String {
        format!(
            r#"node = "n1"
cluster = "{cluster}"
manifest_file = "manifest.dagcbor"
data_dir = "data"
peer_listen = "127.0.0.1:0"
api_listen = "127.0.0.1:0"
policy_dir = "policies"
tls_key_file = "tls.pem"
policy_key_file = "policy.key"
tokens_file = "tokens.json"
[kernel]
vault = "vault"
unseal = {{ identity = "kernel.identity" }}
[members]
n2 = "127.0.0.1:7002"
"#
        )
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.path("node.toml")).unwrap()
    }

    fn write(&self, text: &str) {
        std::fs::write(self.path("node.toml"), text).unwrap();
    }

    fn parts(&self) -> Checked<NodeParts> {
        NodeConfig::load(&self.path("node.toml"))?.parts()
    }

    /// The error after one replacement in the file.
    fn refusal(&self, from: &str, to: &str) -> ConfigError {
        let good = self.text();
        assert!(good.contains(from), "{from}");
        self.write(&good.replace(from, to));
        let refused = self.parts().err().unwrap();
        self.write(&good);
        assert!(self.parts().is_ok());
        refused
    }
}

fn key() -> PublicKey {
    SigningKey::generate(&mut OsRng).public_key()
}

fn manifest(node_key: PublicKey, policy_key: PublicKey, policy_root: Link) -> ClusterManifest {
    let passport = |node: &str, node_key, policy_key| NodePassport {
        node: node.parse().unwrap(),
        org: "acme".parse().unwrap(),
        node_key,
        kernel_key: key(),
        sealing_key: B32([1; 32]),
        policy_key,
        generation: 1,
    };
    ClusterManifest {
        name: "acme".parse().unwrap(),
        nonce: B32::default(),
        nodes: vec![passport("n1", node_key, policy_key), passport("n2", key(), key())],
        witnesses: Vec::new(),
        faults: 0,
        sequencer: "n1".parse().unwrap(),
        governors: Governors {
            threshold: 1,
            members: vec![Person { person: "g1".parse().unwrap(), key: key() }],
            proposer_counts: true,
        },
        approvers: Vec::new(),
        policy_root,
        keygen_floor: Floor {
            admit: None,
            release: ReleaseRule::Auto,
            acts: Vec::new(),
            executions_per_hour: 1,
            failures_to_freeze: 1,
        },
    }
}

#[test]
fn a_consistent_configuration_loads_with_paths_from_its_own_directory() {
    let site = Site::new();
    let parts = site.parts().unwrap();
    assert_eq!(parts.peers.len(), 1);
    let args = &parts.kernel.args;
    assert_eq!(args[0..2], ["--vault".to_owned(), site.path("vault").display().to_string()]);
    assert_eq!(args[2], "--identity");
    assert!(!args.contains(&"--require-isolation".to_owned()));
}

#[test]
fn an_unknown_field_or_a_missing_one_is_refused_with_its_place() {
    let site = Site::new();
    let unknown = site.refusal("data_dir", "data_dirr = \"x\"\ndata_dir");
    assert!(
        matches!(unknown, ConfigError::Form { .. }) && unknown.to_string().contains("data_dirr")
    );
    let missing = site.refusal("api_listen = \"127.0.0.1:0\"\n", "");
    assert!(missing.to_string().contains("api_listen"));
}

#[test]
fn another_manifest_than_the_pinned_one_is_refused() {
    let site = Site::new();
    let cluster = site.text().lines().nth(1).unwrap().to_owned();
    let other = format!("cluster = \"{}\"", Link::of_artifact(b"other"));
    assert!(matches!(site.refusal(&cluster, &other), ConfigError::OtherManifest { .. }));
    assert!(matches!(site.refusal(&cluster, "cluster = \"x\""), ConfigError::Value { .. }));
}

#[test]
fn a_member_that_the_manifest_lacks_or_that_lacks_an_address_is_refused() {
    let site = Site::new();
    let refused = site.refusal("node = \"n1\"", "node = \"n9\"");
    assert!(matches!(refused, ConfigError::NotAMember { role: "node", .. }));
    let refused = site.refusal("n2 = \"127.0.0.1:7002\"\n", "");
    assert!(matches!(refused, ConfigError::Members { problem: "it lacks", .. }));
    for stranger in ["n1", "n3"] {
        let refused = site.refusal("[members]\n", &format!("[members]\n{stranger} = \"h:1\"\n"));
        assert!(matches!(refused, ConfigError::Members { .. }), "{stranger}");
    }
}

#[test]
fn a_key_that_others_can_read_or_that_is_not_the_manifests_is_refused() {
    let site = Site::new();
    for name in ["policy.key", "tls.pem"] {
        let set = |mode| {
            std::fs::set_permissions(site.path(name), PermissionsExt::from_mode(mode)).unwrap();
        };
        set(0o640);
        assert!(matches!(site.parts(), Err(ConfigError::Exposed { .. })), "{name}");
        set(0o400);
        assert!(site.parts().is_ok());
        set(0o600);
    }
    std::fs::write(site.path("policy.key"), hex::encode([7; 32])).unwrap();
    let refused = site.parts().err().unwrap();
    assert!(matches!(refused, ConfigError::OtherKey { field: "policy_key", .. }));
    std::fs::write(site.path("policy.key"), "zz").unwrap();
    assert!(matches!(site.parts(), Err(ConfigError::Form { .. })));
}

#[test]
fn a_missing_tls_key_is_an_error_and_none_is_drawn_in_its_place() {
    let site = Site::new();
    std::fs::remove_file(site.path("tls.pem")).unwrap();
    assert!(matches!(site.parts(), Err(ConfigError::Unreadable { .. })));
    assert!(!site.path("tls.pem").exists());
}

#[test]
fn a_policy_that_does_not_hold_is_refused_with_its_file() {
    let site = Site::new();
    std::fs::write(site.path("policies/99-bad.cedar"), "permit (principal").unwrap();
    let refused = site.parts().err().unwrap();
    assert!(refused.to_string().contains("99-bad"), "{refused}");
}

#[test]
fn a_token_whose_names_could_not_stand_in_an_intent_is_refused() {
    let site = Site::new();
    let good = std::fs::read_to_string(site.path("tokens.json")).unwrap();
    std::fs::write(site.path("tokens.json"), good.replace("alice", "alice smith")).unwrap();
    assert!(matches!(site.parts(), Err(ConfigError::Form { .. })));
}

#[test]
fn exactly_one_source_of_the_master_key_is_named() {
    let site = Site::new();
    let unseal = "{ identity = \"kernel.identity\" }";
    let none = site.refusal(unseal, "{}");
    assert!(matches!(none, ConfigError::Value { field: "kernel.unseal", .. }));
    let two = site.refusal(unseal, "{ identity = \"a\", passphrase = \"b\" }");
    assert!(matches!(two, ConfigError::Value { field: "kernel.unseal", .. }));
}

#[test]
fn a_hard_deadline_must_lie_above_the_soft_one() {
    let site = Site::new();
    let with = |hard| format!("[timing]\nsoft_ms = 500\nhard_ms = {hard}\n[kernel]\n");
    let refused = site.refusal("[kernel]\n", &with(500));
    assert!(matches!(refused, ConfigError::Value { field: "timing.hard_ms", .. }));
    site.write(&site.text().replace("[kernel]\n", &with(501)));
    assert_eq!(site.parts().unwrap().timing.hard_ms, 501);
}

#[test]
fn nothing_is_recorded_unless_a_file_is_named_and_its_path_counts_from_the_configuration() {
    let site = Site::new();
    let load = || NodeConfig::load(&site.path("node.toml"));
    assert_eq!(load().unwrap().diagnostics, None);
    let text = site.text();
    site.write(&format!("{text}[diagnostics]\nrecord_wire = \"wire.capture\"\n"));
    let file = load().unwrap().diagnostics.unwrap().record_wire.unwrap();
    assert_eq!(file, site.path("wire.capture"));
    site.write(&format!("{text}[diagnostics]\nrecord = \"wire.capture\"\n"));
    assert!(load().is_err());
}

#[test]
fn what_is_kept_in_stock_has_marks_in_order_and_paths_that_kernels_derive_at() {
    let site = Site::new();
    let base = site.text();
    let refused = |pool: &str| {
        site.write(&format!("{base}[pool]\n{pool}\n"));
        match site.parts().err() {
            Some(ConfigError::Value { field, .. }) => field,
            other => panic!("{pool}: {other:?}"),
        }
    };
    for (pool, field) in [
        ("low = 9\nhigh = 8", "pool.low"),
        ("high = 1025", "pool.high"),
        ("paths = [\"m/2147483648\"]", "pool.paths"),
        ("paths = [\"0/1\"]", "pool.paths"),
        ("paths = [\"m/0/0/0/0/0/0/0/0/0/0/0\"]", "pool.paths"),
    ] {
        assert_eq!(refused(pool), field, "{pool}");
    }
    for pool in
        ["low = 8\nhigh = 8", "high = 1024", "high = 0", "paths = [\"m\", \"m/2147483647\"]"]
    {
        site.write(&format!("{base}[pool]\n{pool}\n"));
        assert!(site.parts().is_ok(), "{pool}");
    }
    site.write(&base);
    assert_eq!(site.parts().unwrap().pool, crate::engine::PoolMarks::default());
}
