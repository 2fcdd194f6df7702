//! The interpreter: a pure step over events, its frontier, views, traces and replay.
