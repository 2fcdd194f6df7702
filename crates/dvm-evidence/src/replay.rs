//! Replay: every peer's traces run again from the bundle alone.
//!
//! Not here: whether the bundle is to be believed. It names its own cluster; [`crate::verify()`] holds
//! it against one that is trusted.

use dvm_core::codec::link_of;
use dvm_core::link::Link;
use dvm_core::{B32, NodeId};

use crate::read;
use crate::verify::{Case, Refused, context};

/// One trace, run again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Whose.
    pub peer: NodeId,
    /// Of which run.
    pub execution_id: B32,
    /// The TraceRoot in the bundle.
    pub recorded: Link,
    /// The TraceRoot that the events lead to, or where they stop being a run.
    pub replayed: Result<Link, Refused>,
}

impl Replayed {
    /// Whether both are the same.
    pub fn equal(&self) -> bool {
        self.replayed.as_ref() == Ok(&self.recorded)
    }
}

/// Replays every trace in a bundle.
///
/// # Errors
/// [`Refused`] if the file is no bundle, or its log or intent does not hold by itself.
pub fn replay_bundle(car: &[u8]) -> Result<Vec<Replayed>, Refused> {
    let bundle = read::read(car)?;
    let case = Case::new(&bundle.parts)?;
    let mut all = Vec::new();
    for part in &bundle.parts.parts {
        for (i, run) in part.runs.iter().enumerate() {
            let path = format!("peers/{}/runs/{i}", part.node);
            let (ctx, _) = context(&case, part, run, &path)?;
            let root = dvm_vm::replay(&ctx, &run.trace.events).map_err(|e| {
                let what = "an event does not follow from those before";
                Refused::code(format!("{path}/trace/{}", e.index), e.code, what)
            });
            all.push(Replayed {
                peer: part.node.clone(),
                execution_id: ctx.execution_id(),
                recorded: run.trace_root.link(),
                replayed: root.map(|root| link_of(&root)),
            });
        }
    }
    Ok(all)
}
