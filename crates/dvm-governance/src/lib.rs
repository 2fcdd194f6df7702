//! Governance: events, guards, the fold to authority state, decisions and head certificates. Pure.
