//! The set-ups of a key's pairs in the vault: when they come, and when they go.

use dvm_core::ReasonCode;
use dvm_core::call::{KernelCall, KernelReply};
use dvm_core::intent::Backend;

use crate::harness::{Cluster, NODES};

const BACKEND: Backend = Backend::Dkls23Secp256k1;

fn pairs(cluster: &Cluster, node: &str) -> usize {
    cluster.records(node, "pair-setup").len()
}

#[test]
fn pairs_come_with_the_held_key_and_go_with_it_unless_it_is_published() {
    let mut cluster = Cluster::formed();
    let (_, held) = cluster.held_key(BACKEND);
    let (execution_id, code) = (held.execution_id, ReasonCode::RemoteTimeout);
    for node in NODES {
        assert_eq!(pairs(&cluster, node), 2);
        let abort = KernelCall::Abort { execution_id, code };
        assert!(matches!(cluster.call(node, abort), KernelReply::Denied(_)));
        assert_eq!(pairs(&cluster, node), 0);
    }
    // A second opening of an intent destroys what the first one held.
    let (intent, _) = cluster.held_key(BACKEND);
    cluster.open("n1", &intent, None);
    assert_eq!((pairs(&cluster, "n1"), pairs(&cluster, "n2")), (0, 2));
    for backend in [Backend::FrostEd25519, Backend::FrostSecp256k1Tr] {
        let mut cluster = Cluster::formed();
        cluster.held_key(backend);
        assert_eq!(pairs(&cluster, "n1"), 0);
    }
}
