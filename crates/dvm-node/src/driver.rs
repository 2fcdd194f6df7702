//! The driver: performs the engine's effects on real disks, pipes and sockets.
//!
//! One thread owns the engine and takes inputs in order. Writes and everything visible go through the
//! journal's queue in the order the engine gave them; kernel calls go to the pipe at once and run
//! beside the node's own writes, but for one that rests on writes that are not durable yet.
//!
//! Not here: any decision.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dvm_core::call::KernelReply;
use dvm_core::codec;
use dvm_core::ids::NodeId;
use dvm_core::reason::ReasonCode;
use tokio::sync::{mpsc, oneshot};

use crate::api::client::Ask;
use crate::engine::{ApiReply, Effect, Engine, Input, Recovered, Setup, Token};
use crate::journal::{Group, Journal, Loaded, Table};
use crate::kernel_link::{KernelLink, LinkDown};
use crate::transport::{Inbound, InboundReceiver, Transport};
use crate::wire::Wire;

/// How often time alone is an input.
const TICK: Duration = Duration::from_millis(50);

/// What the engine's thread receives.
enum Work {
    Input(Input),
    Api(Ask),
    /// A call whose writes are durable now.
    Kernel {
        token: Token,
        request: Vec<u8>,
    },
    Stop,
}

/// Reads what the journal holds.
///
/// # Errors
/// A fault of the disk.
pub fn recovered(loaded: &Loaded) -> Result<Recovered, crate::journal::JournalFault> {
    let values = |table| -> Result<Vec<Vec<u8>>, crate::journal::JournalFault> {
        Ok(loaded.scan(table)?.into_iter().map(|(_, value)| value).collect())
    };
    Ok(Recovered {
        intents: values(Table::Intents)?,
        runs: values(Table::Executions)?,
        events: loaded.scan(Table::TraceEvents)?,
        frames: loaded.scan(Table::Outbox)?,
        log: values(Table::GovLog)?,
        chain: values(Table::Chain)?,
        meta: loaded.scan(Table::Meta)?,
    })
}

/// What a node's parts are, once started.
pub struct Parts {
    /// The store.
    pub journal: Journal,
    /// The secret process.
    pub kernel: KernelLink,
    /// The peers.
    pub transport: Transport,
    /// What peers say.
    pub inbound: InboundReceiver,
}

/// A running engine.
pub struct Running {
    work: mpsc::UnboundedSender<Work>,
    thread: std::thread::JoinHandle<()>,
}

impl Running {
    /// Stops taking inputs and waits for the thread. What is queued in the journal stays queued.
    pub fn stop(self) {
        // A thread that has already ended has nothing left to stop.
        let _ = self.work.send(Work::Stop);
        let _ = self.thread.join();
    }
}

/// Starts the engine's thread and the tasks that feed it.
///
/// # Errors
/// `LOG_INCONSISTENT` if the journal does not hold together.
pub fn start(
    setup: Setup,
    found: Recovered,
    parts: Parts,
    asked: mpsc::Receiver<Ask>,
) -> Result<Running, ReasonCode> {
    let engine = Engine::new(setup, found)?;
    let (work, inputs) = mpsc::unbounded_channel();
    tokio::spawn(listen(parts.inbound, work.clone()));
    tokio::spawn(ask(asked, work.clone()));
    tokio::spawn(tick(work.clone()));
    let driver = Driver {
        journal: parts.journal,
        kernel: parts.kernel,
        transport: parts.transport,
        work: work.clone(),
        answers: BTreeMap::new(),
        next_api: 0,
        written: 0,
        durable: Arc::default(),
    };
    let spawned =
        std::thread::Builder::new().name("engine".to_owned()).spawn(|| driver.run(engine, inputs));
    let thread = spawned.map_err(|_| ReasonCode::Internal)?;
    Ok(Running { work, thread })
}

async fn ask(mut asked: mpsc::Receiver<Ask>, work: mpsc::UnboundedSender<Work>) {
    while let Some(ask) = asked.recv().await {
        if work.send(Work::Api(ask)).is_err() {
            return;
        }
    }
}

async fn tick(work: mpsc::UnboundedSender<Work>) {
    let mut every = tokio::time::interval(TICK);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        if work.send(Work::Input(Input::Tick)).is_err() {
            return;
        }
    }
}

async fn listen(mut inbound: InboundReceiver, work: mpsc::UnboundedSender<Work>) {
    while let Some(event) = inbound.recv().await {
        let input = match event {
            Inbound::Up(node) => node.parse().ok().map(Input::Up),
            Inbound::Down(node) => node.parse().ok().map(Input::Down),
            Inbound::Message { from, bytes } => read_message(&from, &bytes),
        };
        let Some(input) = input else { continue };
        if work.send(Work::Input(input)).is_err() {
            return;
        }
    }
}

/// A peer's bytes as an input; nothing, with a log line, if they are not a message.
pub(crate) fn read_message(from: &str, bytes: &[u8]) -> Option<Input> {
    let from: NodeId = from.parse().ok()?;
    match codec::decode::<Wire>(bytes) {
        Ok(wire) => Some(Input::Peer { from, commits: wire.commits, message: wire.message }),
        Err(error) => {
            tracing::warn!(%from, %error, code = ReasonCode::BindingMismatch.name(), "message refused");
            None
        }
    }
}

/// Performs effects. Owned by the engine's thread.
struct Driver {
    journal: Journal,
    kernel: KernelLink,
    transport: Transport,
    work: mpsc::UnboundedSender<Work>,
    answers: BTreeMap<Token, oneshot::Sender<ApiReply>>,
    next_api: Token,
    /// Count of the engine's writes, and of those of them that are durable.
    written: u64,
    durable: Arc<AtomicU64>,
}

impl Driver {
    fn run(mut self, mut engine: Engine, mut inputs: mpsc::UnboundedReceiver<Work>) {
        let first = engine.start(now_ms());
        self.perform(first);
        while let Some(work) = inputs.blocking_recv() {
            let input = match work {
                Work::Stop => return,
                Work::Input(input) => input,
                Work::Kernel { token, request } => {
                    self.ask_kernel(token, request);
                    continue;
                }
                Work::Api(Ask { call, answer }) => {
                    self.next_api += 1;
                    self.answers.insert(self.next_api, answer);
                    Input::Api { token: self.next_api, call }
                }
            };
            let effects = engine.handle(now_ms(), input);
            self.perform(effects);
        }
    }

    /// Performs what one input gave. What goes through the journal enters it as one group, so that one
    /// transaction makes all of it durable.
    fn perform(&mut self, effects: Vec<Effect>) {
        let mut group = Group::default();
        let mut writes = false;
        for effect in effects {
            match effect {
                Effect::Write(batch) => {
                    self.written += 1;
                    if !batch.is_empty() {
                        writes = true;
                        group.write(batch);
                    }
                }
                Effect::Send { to, commits, message } => {
                    let bytes = codec::encode(&Wire { commits, message });
                    let transport = self.transport.clone();
                    group.release(Box::new(move || {
                        // A peer that is away gets everything it needs again when it is back.
                        if let Err(error) = transport.send(to.as_str(), bytes) {
                            tracing::debug!(%to, %error, "not sent");
                        }
                    }));
                }
                Effect::Kernel { token, call, after } => {
                    let request = codec::encode(&*call);
                    if after <= self.durable.load(Ordering::Acquire) {
                        self.ask_kernel(token, request);
                    } else {
                        let work = self.work.clone();
                        group.release(Box::new(move || {
                            // After a stop nothing is asked any more.
                            let _ = work.send(Work::Kernel { token, request });
                        }));
                    }
                }
                Effect::Reply { token, reply } => {
                    let Some(answer) = self.answers.remove(&token) else { continue };
                    group.release(Box::new(move || {
                        // The caller may have gone away; the operation goes on.
                        let _ = answer.send(reply);
                    }));
                }
                Effect::Log { event, subject, code } => {
                    let code = code.map_or("", ReasonCode::name);
                    tracing::info!(subject, code, "{event}");
                }
            }
        }
        if writes {
            let (written, durable) = (self.written, self.durable.clone());
            group.release(Box::new(move || durable.store(written, Ordering::Release)));
        }
        if self.journal.submit_group(group).is_err() {
            // Nothing can be made durable any more, so nothing may become visible.
            tracing::error!(code = ReasonCode::Internal.name(), "the journal has stopped");
        }
    }

    fn ask_kernel(&self, token: Token, request: Vec<u8>) {
        let work = self.work.clone();
        self.kernel.call(
            request,
            Box::new(move |answer| {
                let Some(reply) = reply_of(answer) else { return };
                // After a stop nobody needs the answer.
                let _ = work.send(Work::Input(Input::Kernel { token, reply }));
            }),
        );
    }
}

/// What the engine hears of a call. Nothing if the kernel is gone: the call may have run, the node ends
/// by that loss alone, and a refusal would settle for ever what the next start can still do.
fn reply_of(answer: Result<Vec<u8>, LinkDown>) -> Option<KernelReply> {
    let refused = |code, rule: String| KernelReply::Refused { code, rule, publication: None };
    match answer {
        Ok(bytes) => Some(codec::decode(&bytes).unwrap_or_else(|error| {
            refused(ReasonCode::Internal, format!("the kernel's answer: {error}"))
        })),
        Err(LinkDown::Gone) => None,
        Err(down @ (LinkDown::Busy | LinkDown::TooLarge { .. })) => {
            Some(refused(ReasonCode::ResourceLimit, down.to_string()))
        }
    }
}

/// Milliseconds since the epoch, by this host's clock.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_hears_nothing_of_a_call_whose_kernel_is_gone_and_a_refusal_of_one_not_made() {
        assert_eq!(reply_of(Err(LinkDown::Gone)), None);
        let code = |answer| match reply_of(answer) {
            Some(KernelReply::Refused { code, .. }) => code,
            other => panic!("{other:?}"),
        };
        assert_eq!(code(Err(LinkDown::Busy)), ReasonCode::ResourceLimit);
        assert_eq!(code(Err(LinkDown::TooLarge { len: 1 })), ReasonCode::ResourceLimit);
        assert_eq!(code(Ok(b"no reply".to_vec())), ReasonCode::Internal);
        let status = KernelReply::Status { held: Vec::new(), stash: Vec::new() };
        assert_eq!(reply_of(Ok(codec::encode(&status))), Some(status));
    }
}
