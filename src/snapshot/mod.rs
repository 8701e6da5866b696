//! What is being served: every zone, name and decision of one moment, immutable.
