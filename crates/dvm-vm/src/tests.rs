//! Claims about the interpreter, by what they are about.

mod blame;
mod context;
mod order;
mod refusal;
mod replay;
