//! From model and world view to a snapshot; pure.
