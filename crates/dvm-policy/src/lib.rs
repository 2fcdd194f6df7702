//! Cedar admission, approvals, ledger rules and the release judgement. Pure, given its state.
