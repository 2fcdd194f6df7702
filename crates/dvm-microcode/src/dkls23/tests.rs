//! Signing by DKLs23, honest and attacked, for every OLE.

mod bodies;
mod cheats;
mod fields;
mod harness;
mod oles;
mod set_up;
