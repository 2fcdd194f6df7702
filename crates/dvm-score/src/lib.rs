//! L2 workflows to L1 scores to L0 plans: the IR, its checker, rewrite rules and the planner. Pure.
