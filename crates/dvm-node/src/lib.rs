//! The node: engine and drivers for stores, transport, governance replication, the gate and the HTTP API.
