//! How the API reaches the engine: one bounded channel, one answer per call.
//!
//! Always true: a call that finds the channel full is refused at once (`RESOURCE_LIMIT`), and one
//! whose answer is lost because the node stops gets `INTERNAL`; no caller waits for ever.
//!
//! Not here: what a call does. The driver hands each [`Ask`] to the engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dvm_core::reason::ReasonCode;
use tokio::sync::{mpsc, oneshot};

use crate::engine::{ApiCall, ApiReply};

/// Calls on their way to the engine; more are refused, so a slow engine cannot fill memory.
pub const CALLS_MAX: usize = 1024;

/// One call and where its answer goes.
#[derive(Debug)]
pub struct Ask {
    /// The call.
    pub call: ApiCall,
    /// For the answer.
    pub answer: oneshot::Sender<ApiReply>,
}

/// What only the driver knows of this process.
pub struct Facts {
    /// The kernel's process id; 0 while there is none.
    pub kernel_pid: AtomicU32,
    /// Transactions that this node's journal has committed since it started.
    pub journal_commits: Box<dyn Fn() -> u64 + Send + Sync>,
}

/// The API's handle on the engine. Clones share one channel.
#[derive(Clone)]
pub struct EngineClient {
    calls: mpsc::Sender<Ask>,
    facts: Arc<Facts>,
}

impl EngineClient {
    /// A client, and the end that the driver reads.
    pub fn new(facts: Arc<Facts>) -> (Self, mpsc::Receiver<Ask>) {
        let (calls, asked) = mpsc::channel(CALLS_MAX);
        (Self { calls, facts }, asked)
    }

    /// Makes a call and waits for its answer, which comes when every write behind it is durable.
    pub async fn call(&self, call: ApiCall) -> ApiReply {
        let (answer, answered) = oneshot::channel();
        if self.calls.try_send(Ask { call, answer }).is_err() {
            let message = "the node has too many calls waiting; retry shortly".to_owned();
            return ApiReply::Error { code: ReasonCode::ResourceLimit, message };
        }
        answered.await.unwrap_or_else(|_| {
            let message = "the node is stopping; ask it again when it is back".to_owned();
            ApiReply::Error { code: ReasonCode::Internal, message }
        })
    }

    /// The kernel's process id.
    pub fn kernel_pid(&self) -> u32 {
        self.facts.kernel_pid.load(Ordering::Relaxed)
    }

    /// Journal transactions since the start.
    pub fn journal_commits(&self) -> u64 {
        (self.facts.journal_commits)()
    }
}
