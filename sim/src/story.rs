//! The readable story of one seed: numbered lines of who did what, and what went wrong.

use dvm_core::ReasonCode;
use dvm_core::call::{KernelCall, KernelReply};
use dvm_node::wire::PeerMessage;

use crate::cast::NODES;
use crate::coverage::Kind;

/// Lines for people; nothing is kept unless somebody reads.
pub(crate) struct Story {
    told: bool,
    lines: Vec<String>,
}

impl Story {
    pub(crate) fn new(told: bool) -> Self {
        Self { told, lines: Vec::new() }
    }

    /// The lines so far.
    pub(crate) fn lines(&self) -> &[String] {
        &self.lines
    }

    /// One line.
    pub(crate) fn line(&mut self, now_ms: u64, node: usize, what: impl FnOnce() -> String) {
        if self.told {
            let who = NODES.get(node).copied().unwrap_or("--");
            let number = self.lines.len() + 1;
            self.lines.push(format!("{number:>4}  {now_ms:>6} ms  {who}  {}", what()));
        }
    }

    /// A fault.
    pub(crate) fn fault(&mut self, now_ms: u64, node: usize, kind: Kind) {
        self.line(now_ms, node, || format!("** {}", kind.name()));
    }

    /// A log line of an engine.
    pub(crate) fn log(
        &mut self,
        now_ms: u64,
        node: usize,
        event: &str,
        subject: &str,
        code: Option<ReasonCode>,
    ) {
        self.line(now_ms, node, || {
            format!("   {event} {} {}", short(subject), code.map_or("", ReasonCode::name))
        });
    }

    /// A message that arrives.
    pub(crate) fn message(&mut self, now_ms: u64, from: usize, to: usize, message: &PeerMessage) {
        self.line(now_ms, from, || {
            format!("-> {} {}", NODES.get(to).copied().unwrap_or("?"), describe(message))
        });
    }

    /// A kernel's call and reply.
    pub(crate) fn kernel(
        &mut self,
        now_ms: u64,
        node: usize,
        call: &KernelCall,
        reply: &KernelReply,
    ) {
        self.line(now_ms, node, || format!("   kernel {}: {}", asked(call), replied(reply)));
    }
}

/// The first word of a debug form: its variant's name.
fn word(text: &str) -> String {
    text.split([' ', '{', '(']).next().unwrap_or_default().to_owned()
}

fn short(text: &str) -> String {
    text.split(' ')
        .map(|word| {
            if word.len() > 20 {
                word.chars().rev().take(8).collect::<Vec<_>>().into_iter().rev().collect()
            } else {
                word.to_owned()
            }
        })
        .collect::<Vec<String>>()
        .join(" ")
}

fn describe(message: &PeerMessage) -> String {
    match message {
        PeerMessage::Consider(c) => format!("Consider try {}", c.attempt),
        PeerMessage::Considered(c) => format!(
            "Considered try {}: {}",
            c.attempt,
            c.code.map_or(if c.open.is_some() { "opened" } else { "not opened" }, ReasonCode::name)
        ),
        PeerMessage::Propose(p) => {
            format!("Propose {} {:?}", short(&p.header.execution_id().hex()), p.header.participants)
        }
        PeerMessage::Frame(f) => format!(
            "Frame {} level {}",
            short(&f.header.body.execution_id.hex()),
            f.header.body.level
        ),
        PeerMessage::Resend { execution_id, level } => {
            format!("Resend {} from level {level}", short(&execution_id.hex()))
        }
        PeerMessage::Stopped { execution_id, code } => {
            format!("Stopped {} {code}", short(&execution_id.hex()))
        }
        PeerMessage::Headers { headers, .. } => {
            format!("Headers {}", if headers.is_some() { "given" } else { "asked" })
        }
        PeerMessage::Certified { entries, .. } => format!("Certified {} entries", entries.len()),
        PeerMessage::FetchLog { from } => format!("FetchLog {from}"),
        other => word(&format!("{other:?}")),
    }
}

fn asked(call: &KernelCall) -> String {
    let word = word(&format!("{call:?}"));
    match call {
        KernelCall::Step { level, .. } | KernelCall::OpenResult { level, .. } => {
            format!("{word} level {level}")
        }
        _ => word,
    }
}

fn replied(reply: &KernelReply) -> String {
    match reply {
        KernelReply::Refused { code, rule, .. } => format!("refused, {code}: {rule}"),
        KernelReply::Level(level) if level.header.is_none() => "the level failed".to_owned(),
        KernelReply::Level(level) if level.published.is_some() => "performed; published".to_owned(),
        KernelReply::Level(_) => "performed".to_owned(),
        KernelReply::Opened(open) => format!("opened, vault_seq {}", open.body.vault_seq),
        KernelReply::Status { held, .. } => format!("holds {} results", held.len()),
        other => word(&format!("{other:?}")),
    }
}
