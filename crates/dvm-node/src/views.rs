//! What the HTTP API shows: plain JSON shapes, documented in OpenAPI. Times in milliseconds since
//! the epoch, byte strings in lower-case hex, links as CIDs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// State of one operation, from intent to release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExecutionView {
    /// CID of the intent: the operation's stable name.
    pub intent: String,
    /// The current act run, once t signers are bound.
    pub execution_id: Option<String>,
    /// The publication run, once the result is held.
    pub publication_id: Option<String>,
    /// `Proposed`, `AwaitingApproval`, `Admitted`, `Running`, `PendingRemote`, `Executed`, `Opening`,
    /// `Published`, `Stashed`, `Denied`, `Discarded`, `Aborted`, `Poisoned` or `Expired`.
    pub state: String,
    /// Reason codes that apply now.
    pub codes: Vec<String>,
    /// Peers it waits for.
    pub missing: Vec<String>,
    /// Peers that a check named: their kernels signed what no honest kernel says. Not asked again.
    pub culprits: Vec<String>,
    /// Peers that a try went on without: they were silent past the deadline, or stopped too often.
    pub left_out: Vec<String>,
    /// The act's class, such as `sign.message`.
    pub act: String,
    /// The key.
    pub key_id: String,
    /// Its epoch.
    pub key_epoch: u32,
    /// The text that approvers are shown.
    pub display: String,
    /// Its hash, which approvals bind.
    pub display_hash: String,
    /// Whose request.
    pub tenant: String,
    /// Who asked.
    pub requester: String,
    /// The policy root in force here.
    pub policy_root: String,
    /// The coordinator's count of tries.
    pub attempt: u32,
    /// The signers of the current act run.
    pub signers: Vec<String>,
    /// The one-time material that the current act run spends: its batch and its place there. None if it makes its own.
    #[serde(default)]
    pub material: Option<String>,
    /// The held result's public name, which release approvals bind; of a batch, its name.
    pub result_ref: Option<String>,
    /// The signature, once published.
    pub signature_hex: Option<String>,
    /// Of a transaction: the account that pays, with its EIP-55 checksum.
    #[serde(default)]
    pub sender: Option<String>,
    /// Of a published transaction: what `eth_sendRawTransaction` takes. Not in lists.
    #[serde(default)]
    pub raw_transaction_hex: Option<String>,
    /// The name that it has on its chain. Not in lists.
    #[serde(default)]
    pub transaction_hash: Option<String>,
    /// CIDs of this node's receipts on it, in chain order.
    pub receipts: Vec<String>,
    /// CID of this node's TraceRoot per run.
    pub trace_roots: BTreeMap<String, String>,
    /// Approvals counted so far: `person purpose`.
    pub approvals: Vec<String>,
    /// Whether it went on after a crash.
    pub recovered: bool,
    /// Longest chain of durable writes behind its latest state: a diagnostic.
    pub serial_commits: u32,
}

/// A key as governance sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyView {
    /// Its name.
    pub key_id: String,
    /// `Generated`, `Pre-activation`, `Authorized`, `Active`, `Suspended`, …
    pub state: String,
    /// Its epoch.
    pub key_epoch: u32,
    /// The protocol family.
    pub backend: String,
    /// Shares needed.
    pub threshold: u16,
    /// Holders.
    pub roster: Vec<String>,
    /// The public key, hex.
    pub public_key_hex: String,
    /// The public key as PEM, where the format exists.
    pub public_key_pem: Option<String>,
    /// The key's account on EVM chains, with its EIP-55 checksum; ECDSA keys have one.
    #[serde(default)]
    pub evm_address: Option<String>,
    /// BIP-32 chain code, hex; ECDSA keys have one. With the public key it gives every key below, as an xpub does.
    #[serde(default)]
    pub chain_code_hex: Option<String>,
    /// CID of its KeyReady.
    pub key_ready_cid: String,
    /// The key at the path that was asked for.
    #[serde(default)]
    pub below: Option<KeyBelowView>,
}

/// A key below a key, by BIP-32's non-hardened indices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyBelowView {
    /// The way to it, such as `m/0/7`.
    pub path: String,
    /// Its public key, hex.
    pub public_key_hex: String,
    /// Its account on EVM chains, with its EIP-55 checksum.
    pub evm_address: String,
}

/// One member as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MemberView {
    /// Its name.
    pub node: String,
    /// `self`, `up` or `down`.
    pub link: String,
    /// Highest boot generation seen of its kernel.
    pub boot_generation: Option<u64>,
    /// Why this node's kernel does no work with that one's: `SPLIT_BRAIN_FENCED` for a vault that was restored, or that
    /// runs twice. Of this node itself: why its own kernel stopped for good.
    pub refused: Option<String>,
}

/// Evidence that a node's kernel runs twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FenceView {
    /// The node.
    pub node: String,
    /// The fencing record: two statements by that kernel which no single kernel makes. Canonical bytes, hex.
    pub record_hex: String,
}

/// The cluster as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatusView {
    /// This node.
    pub node: String,
    /// CID of the genesis manifest.
    pub cluster: String,
    /// `Forming`, `Normal`, `Degraded`, `Halted`, `Disputed` or `Retired`.
    pub cluster_state: String,
    /// Certified events.
    pub log_size: u64,
    /// RFC 6962 root over them.
    pub log_root: String,
    /// The policy root in force.
    pub policy_root: String,
    /// The node's process id.
    pub pid: u32,
    /// The kernel's process id.
    pub kernel_pid: u32,
    /// Members.
    pub members: Vec<MemberView>,
    /// Nodes whose kernels run twice, with the evidence.
    pub fences: Vec<FenceView>,
    /// Operations that this node knows.
    pub operations: u64,
    /// Transactions of this node's journal since it started.
    pub journal_commits: u64,
}

/// A request to perform an act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SubmitRequest {
    /// Names this request for ever; sending it again gives the same operation.
    pub idempotency_key: String,
    /// What to do.
    pub act: ActRequest,
    /// When the intent expires; one hour from now if absent.
    #[serde(default)]
    pub expires_ms: Option<u64>,
    /// Wait so long for `wait_for` before answering; 0 answers at once.
    #[serde(default)]
    pub wait_ms: u64,
    /// `published` (the default) or `executed`.
    #[serde(default)]
    pub wait_for: Option<String>,
}

/// The act of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", deny_unknown_fields)]
pub enum ActRequest {
    /// Make a key.
    #[serde(rename = "key.generate")]
    KeyGenerate {
        /// Its new name.
        key_id: String,
        /// `frost-ed25519`, `frost-secp256k1-tr` or `dkls23-secp256k1`.
        backend: String,
        /// Shares needed to sign.
        threshold: u16,
        /// Holders; every node if absent.
        #[serde(default)]
        roster: Option<Vec<String>>,
    },
    /// Sign a message or file.
    #[serde(rename = "sign.message")]
    SignMessage {
        /// The key.
        key_id: String,
        /// The content, base64.
        message_base64: String,
    },
    /// Sign a raw digest.
    #[serde(rename = "sign.digest")]
    SignDigest {
        /// The key.
        key_id: String,
        /// 32 bytes, hex.
        digest_hex: String,
    },
    /// Sign a transaction of an EVM chain.
    #[serde(rename = "sign.evm_transaction")]
    SignEvmTransaction {
        /// The key.
        key_id: String,
        /// The key below it that signs, such as `m/0/7`; `m`, the key itself, if absent.
        #[serde(default)]
        path: Option<String>,
        /// The sender, if it is to be compared with the key's address: `0x` and 40 hex digits.
        #[serde(default)]
        from: Option<String>,
        /// The unsigned payload, hex: the type byte and the fields, or the nine fields of EIP-155.
        transaction_hex: String,
    },
    /// Prepare one-time material with which exactly these signers can sign later. Ends as `Stashed`; it may be
    /// spent by any of them, and goes with their kernels.
    #[serde(rename = "presign.batch")]
    PresignBatch {
        /// The key.
        key_id: String,
        /// The path below it that it is good for; `m`, the key itself, if absent.
        #[serde(default)]
        path: Option<String>,
        /// The signers: as many as the key's threshold.
        signers: Vec<String>,
        /// How many pieces, 1 to 32.
        count: u16,
    },
}

/// An error, on every route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorView {
    /// The reason code.
    pub code: String,
    /// What happened and what to do, for people.
    pub message: String,
}
