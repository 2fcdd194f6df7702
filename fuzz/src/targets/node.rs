//! What the node reads: its configuration, tokens, names, policies, and the frames of its transport.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use dvm_core::{KeyId, Link, NodeId, PersonId, Tenant};
use dvm_node::config::{NodeConfig, WitnessConfig};
use dvm_node::tokens::{Principal, TokenBook, TokenHash};
use dvm_policy::PolicySet;
use tokio::sync::Semaphore;

use super::transport;
use crate::{Seen, memory};

fn on_runtime<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.unwrap().block_on(work)
}

/// Messages: each is what was sent; a length over the bound ends the connection before it costs memory.
pub(super) fn transport_frame(data: &[u8]) -> Seen {
    let budget = Arc::new(Semaphore::new(dvm_node::transport::INCOMING_BUDGET));
    let allowed = transport::MAX_MESSAGE + memory::FIXED + 4 * data.len();
    let (messages, end) = memory::within(allowed, || {
        on_runtime(async {
            let (mut rest, mut messages) = (data, Vec::new());
            loop {
                match transport::read(&mut rest, &budget).await {
                    Ok(message) => messages.push(message),
                    Err(error) => break (messages, error.kind()),
                }
            }
        })
    });
    // Without the beats between them, the messages are the data up to where it stops being frames.
    let mut at = 0;
    for message in &messages {
        while data[at..].starts_with(&[0, 0, 0, 1, 1]) {
            at += 5;
        }
        let frame = on_runtime(transport::write(message));
        assert!(data[at..].starts_with(&frame), "a message that was not sent");
        at += frame.len();
    }
    assert_eq!(budget.available_permits(), dvm_node::transport::INCOMING_BUDGET, "memory is lost");
    Seen::of((messages.len().min(16), end))
}

/// Beats: anything but a beat ends the connection.
pub(super) fn transport_beats(data: &[u8]) -> Seen {
    let (heard, end) = on_runtime(async { transport::beats(&mut &*data).await });
    assert_eq!(heard, data.starts_with(&[0, 0, 0, 1, 1]));
    let all = data.chunks_exact(5).all(|beat| beat == [0, 0, 0, 1, 1]);
    assert_eq!(end.kind() == std::io::ErrorKind::UnexpectedEof, all);
    Seen::of((heard, end.kind()))
}

fn file(data: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    std::fs::write(&file, data).unwrap();
    (directory, file)
}

/// A node's configuration: what is read is written and read the same; what it names is checked.
pub(super) fn node_config(data: &[u8]) -> Seen {
    let (_directory, path) = file(data);
    match memory::bounded(data.len(), || NodeConfig::load(&path)) {
        Ok(config) => {
            let (_other, again) = file(toml::to_string(&config).unwrap().as_bytes());
            assert_eq!(NodeConfig::load(&again).unwrap(), config, "written and read differ");
            let sources = &config.kernel.unseal;
            let named = [sources.identity.is_some(), sources.passphrase.is_some()];
            let named = named.into_iter().chain([sources.credential.is_some()]);
            assert_eq!(config.kernel.spawn().is_ok(), named.filter(|is| *is).count() == 1);
            assert!(config.parts().is_err(), "a configuration without its files was taken");
            Seen::of(("config", config.members.len().min(8), config.timing.is_some()))
        }
        Err(error) => Seen::refused(&reason(&error.to_string())),
    }
}

/// A witness's configuration.
pub(super) fn witness_config(data: &[u8]) -> Seen {
    let (_directory, path) = file(data);
    match memory::bounded(data.len(), || WitnessConfig::load(&path)) {
        Ok(config) => {
            let (_other, again) = file(toml::to_string(&config).unwrap().as_bytes());
            assert_eq!(WitnessConfig::load(&again).unwrap(), config, "written and read differ");
            assert!(config.parts().is_err(), "a configuration without its files was taken");
            Seen::of(("config", config.members.len().min(8)))
        }
        Err(error) => Seen::refused(&reason(&error.to_string())),
    }
}

/// What the parser says, without the place and the excerpt.
fn reason(error: &str) -> String {
    error.lines().last().unwrap_or(error).to_owned()
}

/// Token records: one meaning, and never one without a role.
pub(super) fn token_record(data: &[u8]) -> Seen {
    let Ok(principal) = memory::bounded(data.len(), || Principal::from_json(data)) else {
        return Seen::of("refused");
    };
    let again = principal.to_json().unwrap();
    assert_eq!(Principal::from_json(&again), Ok(principal.clone()));
    assert!(!principal.roles.is_empty());
    let book = TokenBook::load([(vec![1; 32], data.to_vec())]);
    assert!(book.is_ok() && TokenBook::load([(vec![1; 33], data.to_vec())]).is_err());
    Seen::of(("record", principal.roles.len(), principal.tenant.len().min(4)))
}

/// Token texts: exactly one form.
pub(super) fn token_text(data: &[u8]) -> Seen {
    let Ok(text) = std::str::from_utf8(data) else { return Seen::of("not text") };
    let digits = text.strip_prefix("dvm_").unwrap_or_default();
    let form = digits.len() == 64
        && digits.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase());
    assert_eq!(TokenHash::of_presented(text).is_ok(), form);
    assert!(TokenBook::default().principal(text).is_none());
    Seen::of((form, digits.len().min(65)))
}

/// Ids and links in text: what is read is written the same.
pub(super) fn names(data: &[u8]) -> Seen {
    fn one<T: FromStr + ToString>(text: &str) -> bool {
        text.parse::<T>().is_ok_and(|name| {
            assert_eq!(name.to_string(), text);
            true
        })
    }
    let Ok(text) = std::str::from_utf8(data) else { return Seen::of("not text") };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:@-".contains(&byte);
    let form = (1..=64).contains(&text.len()) && text.bytes().all(plain);
    let ids = [one::<NodeId>(text), one::<KeyId>(text), one::<PersonId>(text), one::<Tenant>(text)];
    assert!(ids.iter().all(|id| *id == form), "an id of another form");
    let link = text.parse::<Link>().is_ok_and(|link| {
        let again = link.to_string().parse::<Link>();
        assert_eq!(again, Ok(link));
        assert_eq!(Link::from_bytes(&link.to_bytes()), Some(link));
        true
    });
    let bytes = Link::from_bytes(data).is_some_and(|link| {
        assert_eq!(link.to_bytes(), data);
        true
    });
    let code = dvm_core::ReasonCode::ALL.iter().any(|code| code.name() == text);
    Seen::of((form, link, bytes, code))
}

/// Cedar files, separated by zero bytes: loaded whole and alike from their bundle, or refused whole.
pub(super) fn policy_files(data: &[u8]) -> Seen {
    let Ok(text) = std::str::from_utf8(data) else { return Seen::of("not text") };
    let files: BTreeMap<String, String> = text
        .split('\0')
        .take(4)
        .enumerate()
        .map(|(at, text)| (format!("f{at}"), text.to_owned()))
        .collect();
    // Parser and validator are somebody else's: their memory is held to a larger bound, and they recurse,
    // so they run on half the stack of a worker thread.
    let load = || PolicySet::load(files);
    let loaded = memory::within(256 << 20, || {
        let small = std::thread::Builder::new().stack_size(1 << 20);
        std::thread::scope(|scope| small.spawn_scoped(scope, load).unwrap().join().unwrap())
    });
    match loaded {
        Ok(set) => {
            let again = PolicySet::from_bundle(set.bundle()).unwrap();
            assert_eq!(again.policy_root(), set.policy_root());
            Seen::of(("policies", set.bundle().files.len()))
        }
        Err(refused) => {
            Seen::of((std::mem::discriminant(&refused), refused.to_string().len() / 32))
        }
    }
}

/// Genuine inputs of the targets here, for the corpus.
pub(super) fn genuine() -> Vec<(&'static str, Vec<u8>)> {
    let message = on_runtime(transport::write(b"a message"));
    let beat = vec![0, 0, 0, 1, 1];
    let text = |text: &str| text.as_bytes().to_vec();
    let mut all = vec![
        ("transport_frame", [message.clone(), beat.clone(), message].concat()),
        ("transport_beats", [beat.clone(), beat].concat()),
        ("node_config", text(NODE_CONFIG)),
        ("witness_config", text(WITNESS_CONFIG)),
        ("token_record", text(r#"{"tenant":"acme","person":"alice","roles":["client"]}"#)),
        ("token_text", text(&format!("dvm_{}", "0a".repeat(32)))),
        ("names", text("n1")),
        ("names", text("bafyreid7qoywk77r7rj3slobqfekdvs57qwuwh5d2z3sqsw52iabe3mqne")),
        ("names", Link::of_raw(b"x").to_bytes()),
    ];
    let shipped = PolicySet::shipped().unwrap();
    let files: Vec<&str> = shipped.bundle().files.iter().map(|file| file.text.as_str()).collect();
    all.extend(files.iter().map(|file| ("policy_files", text(file))));
    let nested = format!("{}true{}", "(".repeat(31), ")".repeat(31));
    let when = "@id(\"a\")\npermit(principal, action, resource) when";
    all.push(("policy_files", text(&format!("{when} {{ {nested} }};"))));
    all.push(("policy_files", text(&files.join("\0"))));
    all
}

const NODE_CONFIG: &str = r#"node = "n1"
cluster = "bafyreid7qoywk77r7rj3slobqfekdvs57qwuwh5d2z3sqsw52iabe3mqne"
manifest_file = "manifest.cbor"
data_dir = "data"
peer_listen = "127.0.0.1:7001"
api_listen = "127.0.0.1:7101"
policy_dir = "policy"
tls_key_file = "node.pem"
policy_key_file = "policy.key"
tokens_file = "tokens.json"

[timing]
soft_ms = 500

[kernel]
vault = "vault"
require_isolation = true

[kernel.unseal]
identity = "master.key"

[members]
n2 = "127.0.0.1:7002"
w1 = "127.0.0.1:7003"
"#;

const WITNESS_CONFIG: &str = r#"witness = "w1"
cluster = "bafyreid7qoywk77r7rj3slobqfekdvs57qwuwh5d2z3sqsw52iabe3mqne"
manifest_file = "manifest.cbor"
data_dir = "data"
peer_listen = "127.0.0.1:7003"
tls_key_file = "node.pem"
cosign_key_file = "cosign.key"

[members]
n1 = "127.0.0.1:7001"
"#;
