//! Output: people read lines, programs read one JSON document; waits show that they go on.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use dvm_core::reason::ReasonCode;
use dvm_node::views::ExecutionView;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::cli::exit::{Exit, Failure, exit_of};

/// Writes a line to standard output.
pub(crate) fn line(text: impl AsRef<str>) {
    // A reader that went away needs no more lines.
    let _ = writeln!(std::io::stdout().lock(), "{}", text.as_ref());
}

/// Prints the value as JSON, or what `text` makes of it.
pub(crate) fn print<T: Serialize>(as_json: bool, value: &T, text: impl FnOnce(&T) -> String) {
    if as_json {
        line(serde_json::to_string(value).unwrap_or_default());
    } else {
        line(text(value).trim_end_matches('\n'));
    }
}

/// Runs something that takes a while, with a spinner where there is someone to see it.
pub(crate) fn waiting<T>(words: &str, work: impl FnOnce() -> T) -> T {
    if !std::io::stderr().is_terminal() {
        return work();
    }
    let spinner = ProgressBar::new_spinner().with_message(words.to_owned());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} [{elapsed}]") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(Duration::from_millis(120));
    let done = work();
    spinner.finish_and_clear();
    done
}

/// Asks a person to confirm what was shown; `--yes` answers for scripts.
pub(crate) fn confirmed(yes: bool, question: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("read the text above and repeat the command with --yes"));
    }
    // If the question cannot be written the answer will not be `yes`.
    let _ = write!(std::io::stderr().lock(), "{question} Type `yes`: ");
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    if read.is_ok() && answer.trim() == "yes" {
        return Ok(());
    }
    Err(Failure::usage("not confirmed; nothing was signed"))
}

/// Writes to standard error: what people need to see and programs do not.
pub(crate) fn note(text: impl AsRef<str>) {
    // With no standard error left there is nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "{}", text.as_ref().trim_end_matches('\n'));
}

/// An execution for people.
pub(crate) fn execution(view: &ExecutionView) -> String {
    let mut out = format!("{} with key {}: {}\n", view.act, view.key_id, view.state);
    let mut row = |name: &str, value: &str| {
        if !value.is_empty() {
            out.push_str(&format!("  {name:<14} {value}\n"));
        }
    };
    row("intent", &view.intent);
    row("execution", view.execution_id.as_deref().unwrap_or_default());
    row("publication", view.publication_id.as_deref().unwrap_or_default());
    row("why", &view.codes.join(", "));
    row("waits for", &view.missing.join(", "));
    row("culprits", &view.culprits.join(", "));
    row("left out", &view.left_out.join(", "));
    row("signers", &view.signers.join(", "));
    row("approvals", &view.approvals.join(", "));
    row("material", view.material.as_deref().unwrap_or_default());
    row("result ref", view.result_ref.as_deref().unwrap_or_default());
    row("signature", view.signature_hex.as_deref().unwrap_or_default());
    row("sender", view.sender.as_deref().unwrap_or_default());
    row("transaction", view.transaction_hash.as_deref().unwrap_or_default());
    row("raw", view.raw_transaction_hex.as_deref().unwrap_or_default());
    for receipt in &view.receipts {
        row("receipt", receipt);
    }
    for (run, root) in &view.trace_roots {
        row("trace root", &format!("{root} (run {})", run.get(..8).unwrap_or(run)));
    }
    let next = next_step(view);
    if !next.is_empty() {
        out.push_str(&format!("Next: {next}\n"));
    }
    out
}

/// What can be done next about an execution, by its state and codes; empty when all is done.
pub(crate) fn next_step(view: &ExecutionView) -> String {
    let approve = |purpose: &str| {
        let intent = &view.intent;
        format!(
            "an approver runs `dvm approve {intent} --purpose {purpose} --key-file … \
             --passphrase-file …`, or `dvm deny` to end it"
        )
    };
    let code = view.codes.iter().find_map(|code| ReasonCode::from_name(code));
    match view.state.as_str() {
        "Published" if view.act == "key.generate" => format!(
            "the key has no authority yet: governors run `dvm gov propose activate {} …`",
            view.key_id
        ),
        "Published" if view.raw_transaction_hex.is_some() => {
            "send the raw transaction to its chain: `eth_sendRawTransaction` of any Ethereum node"
                .to_owned()
        }
        "Published" | "Stashed" => String::new(),
        "AwaitingApproval" => approve("admit"),
        "Executed" if code.is_none_or(|code| code == ReasonCode::ApprovalsMissing) => {
            format!("held at the gate: {}", approve("release"))
        }
        _ if code == Some(ReasonCode::KeyNotActive) => format!(
            "see `dvm key show {}` and `dvm cluster status`: governors activate or resume a key, \
             and lift a hold",
            view.key_id
        ),
        _ => code.map(|code| code.row().next.to_owned()).unwrap_or_default(),
    }
}

/// The exit code that goes with an execution's state.
pub(crate) fn exit_for(view: &ExecutionView) -> Exit {
    let first = view.codes.iter().find_map(|code| ReasonCode::from_name(code)).map(exit_of);
    match view.state.as_str() {
        "Published" | "Stashed" => Exit::Done,
        "AwaitingApproval" | "Executed" => Exit::Waiting,
        // A request that contradicts an earlier one is not answered like one that a policy refuses.
        "Denied" => first.filter(|exit| *exit != Exit::Waiting).unwrap_or(Exit::Refused),
        "Discarded" | "Expired" | "Poisoned" => Exit::Refused,
        "Aborted" => first.unwrap_or(Exit::Internal),
        _ => first.unwrap_or(Exit::Timeout),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(state: &str, codes: &[&str]) -> ExecutionView {
        let text = |value: &str| value.to_owned();
        ExecutionView {
            intent: text("intent"),
            execution_id: None,
            publication_id: None,
            state: text(state),
            codes: codes.iter().map(|code| text(code)).collect(),
            missing: Vec::new(),
            culprits: Vec::new(),
            left_out: Vec::new(),
            act: text("sign.message"),
            key_id: text("k"),
            key_epoch: 1,
            display: String::new(),
            display_hash: String::new(),
            tenant: text("t"),
            requester: text("r"),
            policy_root: String::new(),
            attempt: 1,
            signers: Vec::new(),
            material: None,
            result_ref: None,
            signature_hex: None,
            sender: None,
            raw_transaction_hex: None,
            transaction_hash: None,
            receipts: Vec::new(),
            trace_roots: std::collections::BTreeMap::new(),
            approvals: Vec::new(),
            recovered: false,
            serial_commits: 0,
        }
    }

    #[test]
    fn a_denial_for_a_contradiction_exits_as_a_conflict_and_one_by_policy_as_a_refusal() {
        assert_eq!(exit_for(&view("Denied", &["REPLAY_OR_CONFLICT"])), Exit::Conflict);
        assert_eq!(exit_for(&view("Denied", &["POLICY_DENIED"])), Exit::Refused);
        assert_eq!(exit_for(&view("Denied", &["APPROVALS_MISSING"])), Exit::Refused);
        assert_eq!(exit_for(&view("Denied", &[])), Exit::Refused);
    }

    #[test]
    fn whoever_is_refused_or_waits_is_told_what_comes_next() {
        assert!(
            execution(&view("Denied", &["KEY_NOT_ACTIVE"])).contains("Next: see `dvm key show k`")
        );
        assert!(next_step(&view("AwaitingApproval", &[])).contains("--purpose admit"));
        let waits = view("Executed", &["APPROVALS_MISSING"]);
        assert!(next_step(&waits).contains("--purpose release"));
        assert!(!next_step(&view("Executed", &["STALE_EPOCH"])).contains("--purpose"));
        assert_eq!(next_step(&view("Published", &[])), "");
    }
}
