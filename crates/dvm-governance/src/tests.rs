//! Claims about the log, each with a case just inside and just outside.

mod approvals;
mod events;
mod heads;
mod life;
