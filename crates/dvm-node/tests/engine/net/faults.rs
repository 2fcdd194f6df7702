//! What fails in the in-process cluster: a process between its kernel and its engine, and clocks.

use super::*;

impl Net {
    /// A kernel's answer, if it reaches its engine.
    pub(super) fn answered(&mut self, at: &NodeId, call: KernelCall) -> Option<KernelReply> {
        let level = match &call {
            KernelCall::Step { level, .. } => Some((at.clone(), *level)),
            _ => None,
        };
        let reply = self.asked(at, call);
        if level.is_some() && level == self.dies {
            self.dies = None;
            self.down.insert(at.clone());
            return None;
        }
        Some(reply)
    }

    /// Time passes in one step, as when a machine sleeps.
    pub fn jump_ms(&mut self, ms: u64) {
        self.clock.fetch_add(ms, Ordering::SeqCst);
        self.pass_ms(50);
    }

    pub fn set_back_ms(&mut self, ms: u64) {
        self.clock.fetch_sub(ms, Ordering::SeqCst);
        self.pass_ms(50);
    }
}
