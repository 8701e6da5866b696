//! The only place that wires: binds, spawns, connects, takes signals, stops in order.
