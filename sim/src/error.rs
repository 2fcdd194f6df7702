//! Why a simulation could not be carried out. A broken rule is a `Complaint`, not an error.

use dvm_core::ReasonCode;

/// Why a simulation could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// The scratch directory.
    #[error("scratch files: {0}")]
    Io(#[from] std::io::Error),
    /// A vault did not open.
    #[error(transparent)]
    Vault(#[from] dvm_kernel::vault::VaultError),
    /// A kernel did not start.
    #[error(transparent)]
    Kernel(#[from] dvm_kernel::StartError),
    /// An engine did not start.
    #[error("the engine does not start: {0}")]
    Engine(ReasonCode),
    /// The witness's journal.
    #[error(transparent)]
    Journal(#[from] dvm_node::journal::JournalFault),
    /// The shipped policies do not load.
    #[error("the shipped policies do not load")]
    Policy,
    /// A limit of the process could not be set.
    #[error("a limit of the process: {0}")]
    Limit(#[from] nix::errno::Errno),
    /// The prepared cluster, or an answer of the API, is not as expected: a bug of the simulator.
    #[error("{0}")]
    Shape(&'static str),
}
