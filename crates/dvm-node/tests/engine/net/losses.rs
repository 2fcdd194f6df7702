//! What a node can lose of what it knew, and its kernel of what it held.

use dvm_core::call::{KernelCall, KernelReply};

use super::*;

impl Net {
    /// A full disk: this node's kernel refuses what it would have to keep.
    pub(super) fn asked(&mut self, at: &NodeId, call: KernelCall) -> KernelReply {
        let keeps = matches!(call, KernelCall::Deny { .. } | KernelCall::Abort { .. });
        if self.full.as_ref() == Some(at) && keeps {
            let rule = "the vault failed".to_owned();
            return KernelReply::Refused { code: ReasonCode::Internal, rule, publication: None };
        }
        self.hosts.get_mut(at).unwrap().kernel.as_mut().unwrap().handle(call)
    }

    /// Somebody goes past the node and has its kernel destroy what it holds of this operation.
    pub fn kernel_aborts(&mut self, name: &str, view: &Value) {
        let execution_id = B32::from_hex(view["execution_id"].as_str().unwrap()).unwrap();
        let call = KernelCall::Abort { execution_id, code: ReasonCode::RemoteTimeout };
        let reply = self.asked(&id(name), call);
        assert!(matches!(reply, KernelReply::Denied(_)), "{reply:?}");
    }

    /// The node dies with the last that it wrote; its kernel's vault has all.
    pub fn restart_with(&mut self, name: &str, tables: Tables) {
        let host = self.hosts.get_mut(&id::<NodeId>(name)).unwrap();
        (host.engine, host.tables) = (None, tables);
        self.crash_and_restart(name);
    }
}
