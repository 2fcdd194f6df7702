//! Frames that came before their run: a peer may be faster than this node's own kernel.
//!
//! Always true: what is kept is bounded for each sender by itself, in number, bytes and time, so one peer cannot
//! crowd out another.

use std::collections::VecDeque;

use dvm_core::bytes::B32;
use dvm_core::frame::Envelope;
use dvm_core::limits::PARTIES_MAX;
use dvm_score::plan::frame_bytes_max;

/// A frame is kept this long at most.
const EARLY_TTL_MS: u64 = 5_000;
/// So many of each sender at most: two levels of sixteen runs.
const EARLY_MAX: usize = 2 * PARTIES_MAX;
/// And of so many payload bytes together: the largest frame that a plan has, twice.
const EARLY_BYTES_MAX: usize = 2 * frame_bytes_max(2) as usize;

/// The frames, in the order in which they came, each with its time.
#[derive(Default)]
pub(super) struct Early(VecDeque<(u64, Envelope)>);

fn payload_bytes(envelope: &Envelope) -> usize {
    let payloads = envelope.broadcast.payloads.iter().chain(&envelope.private.payloads);
    payloads.map(|payload| payload.len()).sum()
}

impl Early {
    /// Keeps a frame: of each sender few, and not much together, none twice.
    pub(super) fn keep(&mut self, now_ms: u64, envelope: &Envelope) {
        let from = &envelope.header.body.from;
        let of_sender = self.0.iter().filter(|(_, e)| e.header.body.from == *from);
        let known = of_sender.clone().any(|(_, e)| e == envelope);
        let kept: usize = of_sender.clone().map(|(_, e)| payload_bytes(e)).sum();
        let fits = kept.saturating_add(payload_bytes(envelope)) <= EARLY_BYTES_MAX;
        if !known && of_sender.count() < EARLY_MAX && fits {
            self.0.push_back((now_ms, envelope.clone()));
        }
    }

    /// Takes out what came for a run, now that it is known.
    pub(super) fn take(&mut self, run: &B32) -> Vec<Envelope> {
        let (mine, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|(_, e)| e.header.body.execution_id == *run);
        self.0 = rest.into();
        mine.into_iter().map(|(_, envelope)| envelope).collect()
    }

    /// Forgets what nobody asked for in time.
    pub(super) fn expire(&mut self, now_ms: u64) {
        self.0.retain(|(at, _)| now_ms < at + EARLY_TTL_MS);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use dvm_core::frame::{FrameHeader, OutTree, Outgoing};
    use dvm_core::run::Boot;
    use dvm_core::{NodeId, Signed};
    use ed25519_dalek::SigningKey;

    use super::*;

    pub(in crate::engine) fn frame(from: &str, run: u8, bytes: usize) -> Envelope {
        let to: [NodeId; 1] = ["me".parse().unwrap()];
        let private = [(to[0].clone(), vec![(0, vec![0; bytes].into())])].into();
        let out = Outgoing { private, ..Outgoing::default() };
        let tree = OutTree::lay_out(out, &to, B32::default);
        let header = FrameHeader {
            execution_id: B32([run; 32]),
            boot: Boot { generation: 1, id: B32::default() },
            vault_seq: 1,
            level: 1,
            from: from.parse().unwrap(),
            prev_view: B32::default(),
            out_root: tree.out_root,
        };
        let header = Signed::new(header, &SigningKey::from_bytes(&[7; 32]));
        tree.envelopes(&header).remove(0)
    }

    fn taken(early: &mut Early, runs: impl Iterator<Item = u8>) -> usize {
        runs.map(|run| early.take(&B32([run; 32])).len()).sum()
    }

    #[test]
    fn of_each_sender_32_frames_are_kept_and_no_sender_takes_anothers_place() {
        let mut early = Early::default();
        for run in 0..=32 {
            early.keep(0, &frame("flood", run, 1));
        }
        early.keep(0, &frame("flood", 0, 1));
        early.keep(0, &frame("other", 40, 1));
        assert_eq!(taken(&mut early, 0..=32), 32);
        assert_eq!(taken(&mut early, 40..=40), 1);
        assert_eq!(taken(&mut early, 0..=40), 0, "what was taken is gone");
    }

    #[test]
    fn of_each_sender_two_of_the_largest_frames_are_kept_and_not_a_byte_more() {
        let most = EARLY_BYTES_MAX / 2;
        let kept = |last: usize| {
            let mut early = Early::default();
            early.keep(0, &frame("flood", 1, most));
            early.keep(0, &frame("flood", 2, last));
            early.keep(0, &frame("other", 3, most));
            taken(&mut early, 1..=3)
        };
        assert_eq!(kept(most), 3);
        assert_eq!(kept(most + 1), 2);
    }

    #[test]
    fn what_nobody_asks_for_is_forgotten_after_5_seconds() {
        for (now_ms, left) in [(EARLY_TTL_MS, 1), (EARLY_TTL_MS + 1, 0)] {
            let mut early = Early::default();
            early.keep(1, &frame("slow", 1, 1));
            early.expire(now_ms);
            assert_eq!(taken(&mut early, 1..=1), left);
        }
    }
}
