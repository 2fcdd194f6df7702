//! How a command ends: one exit code per kind of failure, and the words that go with it.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use dvm_core::reason::ReasonCode;
use dvm_node::config::ConfigError;
use serde_json::json;

macro_rules! exits {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $text:literal;)*) => {
        /// An exit code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Exit { $($(#[$doc])* $variant = $number,)* }

        impl Exit {
            /// Number and meaning of each, for `dvm --help` and the documentation.
            pub(crate) const TABLE: &'static [(u8, &'static str)] = &[$(($number, $text),)*];
        }
    };
}

exits! {
    /// Done.
    Done = 0, "done";
    /// A fault of this machine or a bug.
    Internal = 1, "internal: disk, process, or a bug of ours";
    /// The command line. Clap's own number.
    Usage = 2, "usage: wrong arguments or a malformed file";
    /// No.
    Refused = 3, "refused: by policy, by the key's state, by people, or expired";
    /// Not yet.
    Waiting = 4, "waiting: for approvals, or for release";
    /// Nobody there.
    Timeout = 5, "timeout: peers are missing, or it is not settled yet";
    /// Evidence or log does not hold.
    Evidence = 6, "evidence: a bundle or log does not hold together";
    /// Token.
    NotAuthorized = 7, "not authorised: token missing, unknown or without the role";
    /// No such thing.
    NotFound = 8, "not found: no such execution, key or file";
    /// Another thing is there.
    Conflict = 9, "conflict: the request contradicts an earlier one, or the phase, or the head";
    /// Bound.
    Limit = 10, "limit: a named bound was reached; back off";
    /// No answer.
    Unreachable = 11, "unreachable: no node answers at --api";
    /// Sandbox.
    Isolation = 12, "isolation: a required isolation layer does not hold";
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// The exit code of a reason code: one table, stable.
pub(crate) fn exit_of(code: ReasonCode) -> Exit {
    use ReasonCode as R;
    match code {
        R::PayloadRejected => Exit::Usage,
        R::PolicyDenied
        | R::PublicationDenied
        | R::DeniedByApprover
        | R::KeyNotActive
        | R::KeyFrozen
        | R::PartyBanned
        | R::GuardRefused
        | R::MaterialPoisoned
        | R::Equivocation
        | R::SplitBrainFenced
        | R::Expired => Exit::Refused,
        R::ApprovalsMissing => Exit::Waiting,
        R::RemoteTimeout => Exit::Timeout,
        R::LogInconsistent => Exit::Evidence,
        R::NotAuthorized => Exit::NotAuthorized,
        R::NotFound => Exit::NotFound,
        R::BindingMismatch
        | R::WrongRecipient
        | R::SessionMismatch
        | R::ReplayOrConflict
        | R::StepPermitReused
        | R::StaleEpoch
        | R::WrongPhase => Exit::Conflict,
        R::ResourceLimit => Exit::Limit,
        R::Internal => Exit::Internal,
        R::IsolationMissing => Exit::Isolation,
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// A node refused, or something here did for the same reason.
    #[error("{code}: {message}")]
    Refused {
        /// The reason code.
        code: ReasonCode,
        /// For people.
        message: String,
    },
    /// No node answers.
    #[error("no node answers at {url}: {cause}. Is it running? See --api")]
    Unreachable {
        /// Where.
        url: String,
        /// What the HTTP client says.
        cause: String,
    },
    /// The answer is not of its form.
    #[error("the node at {url} answered something else than `{expected}`")]
    Answer {
        /// Where.
        url: String,
        /// What was expected.
        expected: &'static str,
    },
    /// The command line.
    #[error("{0}")]
    Usage(String),
    /// A file.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A file is not of its form.
    #[error("{}: {problem}", path.display())]
    Form {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Evidence does not hold.
    #[error("{0}")]
    Evidence(#[from] dvm_evidence::Refused),
    /// A cluster could not be made.
    #[error("{0}")]
    Setup(#[from] dvm_node::setup::SetupFault),
    /// A configuration does not hold.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// A daemon ended by itself.
    #[error("{0}")]
    Node(#[from] dvm_node::node::NodeFault),
    /// A process of ours ended or did not start.
    #[error("{what}: {problem}")]
    Process {
        /// Which.
        what: String,
        /// What happened.
        problem: String,
    },
}

impl Failure {
    /// Its exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Refused { code, .. } => exit_of(*code),
            Self::Unreachable { .. } => Exit::Unreachable,
            Self::Evidence(_) => Exit::Evidence,
            Self::File { error, .. } | Self::Config(ConfigError::Unreadable { error, .. })
                if error.kind() == ErrorKind::NotFound =>
            {
                Exit::NotFound
            }
            Self::Usage(_) | Self::Form { .. } | Self::Config(_) => Exit::Usage,
            Self::Answer { .. }
            | Self::File { .. }
            | Self::Setup(_)
            | Self::Node(_)
            | Self::Process { .. } => Exit::Internal,
        }
    }

    /// Says it: as text, or as `{code, message, next, exit}` in one line on standard error.
    pub(crate) fn report(&self, as_json: bool) {
        let mut err = std::io::stderr().lock();
        let code = match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Evidence(refused) => Some(refused.code),
            _ => None,
        };
        let next = code.map(|code| code.row().next);
        // With no standard error left there is nowhere to say it.
        let _ = if as_json {
            let message = self.to_string();
            writeln!(
                err,
                "{}",
                json!({
                    "code": code.map(ReasonCode::name), "message": message, "next": next,
                    "exit": self.exit() as u8,
                })
            )
        } else {
            let next = next.map(|next| format!("\nNext: {next}")).unwrap_or_default();
            writeln!(err, "dvm: {self}{next}")
        };
    }

    pub(crate) fn refused(code: ReasonCode, message: impl Into<String>) -> Self {
        Self::Refused { code, message: message.into() }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    pub(crate) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |error| Self::File { path, error }
    }

    pub(crate) fn form(path: &Path, problem: impl ToString) -> Self {
        Self::Form { path: path.to_owned(), problem: problem.to_string() }
    }
}

/// The table as text, for `--help`.
pub(crate) fn table() -> String {
    let rows = Exit::TABLE.iter().map(|(number, text)| format!("  {number:>2}  {text}\n"));
    format!("Exit codes:\n{}", rows.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_success_is_zero_and_numbers_are_unique() {
        let numbers: std::collections::BTreeSet<u8> = Exit::TABLE.iter().map(|(n, _)| *n).collect();
        assert_eq!(numbers.len(), Exit::TABLE.len());
        for code in ReasonCode::ALL {
            assert_ne!(exit_of(*code), Exit::Done, "{code}");
        }
    }

    #[test]
    fn kinds_of_failure_have_the_documented_codes() {
        let refused = |code| Failure::refused(code, "").exit() as u8;
        assert_eq!(refused(ReasonCode::KeyNotActive), 3);
        assert_eq!(refused(ReasonCode::ApprovalsMissing), 4);
        assert_eq!(refused(ReasonCode::RemoteTimeout), 5);
        assert_eq!(refused(ReasonCode::LogInconsistent), 6);
        assert_eq!(refused(ReasonCode::NotAuthorized), 7);
        assert_eq!(refused(ReasonCode::NotFound), 8);
        assert_eq!(Failure::usage("x").exit() as u8, 2);
        let file = |kind: ErrorKind| Failure::file(Path::new("f"))(kind.into()).exit() as u8;
        assert_eq!((file(ErrorKind::NotFound), file(ErrorKind::PermissionDenied)), (8, 1));
    }
}
