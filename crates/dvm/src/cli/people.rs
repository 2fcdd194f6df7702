//! `dvm approve`, `dvm deny`, `dvm release`: what people say about one execution.
//!
//! Always true: what is signed is the text that was shown. Its hash is computed here from the text,
//! not taken from the node; kernels compute it from the intent and refuse an approval of another.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use dvm_core::admission::{Approval, Denial, Purpose};
use dvm_core::digest::{Domain, Tagged};
use dvm_core::reason::ReasonCode;
use dvm_core::{B32, Link, Signed};
use dvm_node::views::ExecutionView;
use serde_json::Value;

use super::Global;
use super::exit::{Exit, Failure};
use super::sign::tell;
use crate::client::{As, Client};
use crate::person::{KeyArgs, PersonKey};
use crate::show;

pub(crate) const APPROVE_EXAMPLES: &str = "Examples:
  dvm approve bafyreicid --key-file alice.json --passphrase-file alice.pass
  dvm approve bafyreicid --purpose release --key-file alice.json --passphrase-file alice.pass --yes";
pub(crate) const DENY_EXAMPLES: &str = "Example:
  dvm deny bafyreicid --key-file alice.json --passphrase-file alice.pass --yes";
pub(crate) const RELEASE_EXAMPLES: &str = "Example:
  dvm release bafyreicid --token-file tokens.json";

/// How long an approval counts unless the approver says otherwise.
const APPROVAL_LIFE_MS: u64 = 3_600_000;

/// How often, and how far apart, an execution is looked at after a person spoke.
const MOVE_LOOKS: u32 = 15;
const MOVE_PAUSE: Duration = Duration::from_millis(100);

/// What an approval is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PurposeArg {
    /// The act may run.
    Admit,
    /// Its held result may leave.
    Release,
}

/// `dvm approve`.
#[derive(Debug, Args)]
pub(crate) struct ApproveArgs {
    /// Intent CID or execution id.
    id: String,
    /// What for; what the execution waits for if absent.
    #[arg(long, value_enum)]
    purpose: Option<PurposeArg>,
    /// Sign without asking.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    key: KeyArgs,
}

/// `dvm deny`.
#[derive(Debug, Args)]
pub(crate) struct DenyArgs {
    /// Intent CID or execution id.
    id: String,
    /// Sign without asking.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    key: KeyArgs,
}

/// `dvm release`.
#[derive(Debug, Args)]
pub(crate) struct ReleaseArgs {
    /// Intent CID or execution id.
    id: String,
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(u64::MAX)
}

/// The hash of the text that this person saw.
fn shown_hash(view: &ExecutionView) -> Result<B32, Failure> {
    let hash = Tagged::new(Domain::Display).part(view.display.as_bytes()).finish();
    if hash.hex() == view.display_hash {
        return Ok(hash);
    }
    let message = "the node shows another text than the one that the intent is bound to";
    Err(Failure::refused(ReasonCode::BindingMismatch, message))
}

fn parsed<T>(value: Option<T>, what: &str) -> Result<T, Failure> {
    let message = || format!("the node gave no usable {what}");
    value.ok_or_else(|| Failure::refused(ReasonCode::PayloadRejected, message()))
}

fn context_link(context: &Value, field: &str) -> Result<Link, Failure> {
    parsed(context.get(field).and_then(Value::as_str).and_then(|text| text.parse().ok()), field)
}

fn purpose_of(view: &ExecutionView, asked: Option<PurposeArg>) -> Result<Purpose, Failure> {
    let held = view.state == "Executed";
    let asked = asked.unwrap_or(if held { PurposeArg::Release } else { PurposeArg::Admit });
    if asked == PurposeArg::Admit {
        return Ok(Purpose::Admit);
    }
    let hex = |text: &Option<String>| text.as_deref().and_then(B32::from_hex);
    let (execution_id, result_ref) = (hex(&view.execution_id), hex(&view.result_ref));
    let (Some(execution_id), Some(result_ref)) = (execution_id, result_ref) else {
        let message = "there is no held result to release yet";
        return Err(Failure::refused(ReasonCode::WrongPhase, message));
    };
    Ok(Purpose::Release { execution_id, result_ref })
}

/// Signs and hands in an approval of what this view shows.
pub(crate) fn give_approval(
    client: &Client,
    view: &ExecutionView,
    purpose: Purpose,
    person: &PersonKey,
) -> Result<ExecutionView, Failure> {
    let context = client.get(As::Approver, "/v1/governance/context")?;
    let approval = Approval {
        cluster: context_link(&context, "cluster")?,
        approver: person.person.clone(),
        purpose,
        intent: parsed(view.intent.parse().ok(), "intent")?,
        display_hash: shown_hash(view)?,
        key_id: parsed(view.key_id.parse().ok(), "key_id")?,
        key_epoch: view.key_epoch,
        policy_root: context_link(&context, "policy_root")?,
        expires_ms: now_ms().saturating_add(APPROVAL_LIFE_MS),
    };
    let answer =
        client.post_artifact(As::Approver, "/v1/approvals", &Signed::new(approval, &person.key))?;
    parsed(serde_json::from_value(answer).ok(), "execution")
}

/// What is about to be signed. A program that has answered already finds it in the JSON.
fn show_text(global: &Global, yes: bool, view: &ExecutionView, what: &str) {
    if global.json && yes {
        return;
    }
    show::note(format!("{what}\n\n{}\nnow {}", view.display, view.state));
}

/// Runs `dvm approve`.
pub(crate) fn approve(global: &Global, args: &ApproveArgs) -> Result<Exit, Failure> {
    let client = global.client()?;
    let view = client.execution(As::Approver, &args.id, 0)?;
    let purpose = purpose_of(&view, args.purpose)?;
    let what = match purpose {
        Purpose::Admit => "You approve that this is done:",
        Purpose::Release { .. } => "You approve that the result of this leaves:",
    };
    show_text(global, args.yes, &view, what);
    show::confirmed(args.yes, "Sign this approval?")?;
    let after = give_approval(&client, &view, purpose, &args.key.open()?)?;
    let moved = show::waiting("waiting for the cluster", || until_it_moves(&client, after))?;
    show::print(global.json, &moved, show::execution);
    // Giving an approval has succeeded even if others are still missing.
    Ok(Exit::Done)
}

/// Runs `dvm deny`.
pub(crate) fn deny(global: &Global, args: &DenyArgs) -> Result<Exit, Failure> {
    let client = global.client()?;
    let view = client.execution(As::Approver, &args.id, 0)?;
    show_text(global, args.yes, &view, "You end this for ever, and destroy a held result:");
    show::confirmed(args.yes, "Sign this denial?")?;
    let person = args.key.open()?;
    let context = client.get(As::Approver, "/v1/governance/context")?;
    let denial = Denial {
        cluster: context_link(&context, "cluster")?,
        approver: person.person.clone(),
        intent: parsed(view.intent.parse().ok(), "intent")?,
        display_hash: shown_hash(&view)?,
        key_id: parsed(view.key_id.parse().ok(), "key_id")?,
        key_epoch: view.key_epoch,
    };
    let answer =
        client.post_artifact(As::Approver, "/v1/denials", &Signed::new(denial, &person.key))?;
    let after: ExecutionView = parsed(serde_json::from_value(answer).ok(), "execution")?;
    let moved = show::waiting("waiting for the cluster", || until_it_moves(&client, after))?;
    show::print(global.json, &moved, show::execution);
    Ok(Exit::Done)
}

/// The execution once it has left the state in which it waited for people; or, if it needs more of
/// them, as it is after a moment.
fn until_it_moves(client: &Client, before: ExecutionView) -> Result<ExecutionView, Failure> {
    let mut view = before;
    for _ in 0..MOVE_LOOKS {
        if !matches!(
            view.state.as_str(),
            "AwaitingApproval" | "Executed" | "Admitted" | "Running" | "Opening"
        ) {
            break;
        }
        std::thread::sleep(MOVE_PAUSE);
        view = client.execution(As::Approver, &view.intent, 0)?;
    }
    Ok(view)
}

/// Runs `dvm release`.
pub(crate) fn release(global: &Global, args: &ReleaseArgs) -> Result<Exit, Failure> {
    let client = global.client()?;
    let view = show::waiting("asking the gate", || client.release(As::Client, &args.id))?;
    Ok(tell(global, &view))
}
