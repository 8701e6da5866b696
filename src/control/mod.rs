//! The operator's side: HTTP API, explain, status. Reads the snapshot that is being served.
