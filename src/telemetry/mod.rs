//! Metrics and logs: the only list of metric names.
