//! The only list of metric names: each family with its kind, its labels and what it means. Never a label with a query name;
//! every label's values come from the files or from a fixed list, so that the number of series is bounded.

/// One family of metrics.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name: prefix `portolan_` (or `process_`, which every process has), base units.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// The labels that each of its samples has, in their order; of a histogram without `le`.
    pub labels: &'static [&'static str],
    /// What it means, in a sentence.
    pub help: &'static str,
}

/// What a family is to Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises, from the start of the process.
    Counter,
    /// As it is now.
    Gauge,
    /// Counts by upper bound.
    Histogram,
}

impl Kind {
    /// The word for it in the text format.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// Declares the families, and the list of all.
macro_rules! families {
    ($($id:ident $kind:ident $name:literal [$($label:literal)*] $help:literal;)*) => {
        $(pub(crate) const $id: Family =
            Family { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)*
        /// Every family, in the order in which they are listed here.
        pub const ALL: &[Family] = &[$($id),*];
    };
}

families! {
    BUILD_INFO Gauge "portolan_build_info" ["version"] "1, with the version of the program.";
    GENERATION Gauge "portolan_generation" [] "How many times the files were loaded with success.";
    LAST_RELOAD_OK Gauge "portolan_last_reload_ok" []
        "Whether the files as they were at the last attempt are served.";
    LAST_RELOAD_AT Gauge "portolan_last_reload_timestamp_seconds" []
        "When the files were last loaded, or were to be, in Unix seconds.";
    RELOADS Counter "portolan_reloads_total" ["result"] "Times the files were loaded again, by how it ended.";

    NOTICED Gauge "portolan_file_changes_noticed" []
        "Whether the system gives notice of changed files; else they are looked at every few seconds.";
    ZONE_CURRENT Gauge "portolan_zone_current" ["zone"] "Whether a zone is served as its files are.";
    ZONE_SINCE Gauge "portolan_zone_version_timestamp_seconds" ["zone"]
        "When the version of a zone that is served was first loaded, in Unix seconds.";
    ZONE_REMOVAL Gauge "portolan_zone_removal_timestamp_seconds" ["zone"]
        "Until when a zone is served that disappeared from the files, or its names, in Unix seconds.";

    NAME_ELIGIBLE Gauge "portolan_name_eligible" ["zone" "name"]
        "Endpoints of a steered name's own pool that may be answered with.";
    NAME_ON_EMPTY Gauge "portolan_name_on_empty" ["zone" "name"]
        "1 while on_empty answers some clients of a steered name.";
    NAME_PREFERRED Gauge "portolan_name_preferred" ["zone" "name"]
        "0 while some clients of a steered name get something else than they would if every endpoint were up.";

    ENDPOINT_UP Gauge "portolan_endpoint_up" ["zone" "endpoint" "region"]
        "Whether an endpoint is up: 1 while any of its addresses is.";
    OVERRIDDEN Gauge "portolan_endpoint_overridden" ["zone" "endpoint" "state"]
        "1 while an operator's override holds for an endpoint.";
    HELD_DOWN Gauge "portolan_endpoint_held_down" ["zone" "endpoint"]
        "1 while a vantage holds an endpoint down because it flaps.";
    SUSPECT Gauge "portolan_endpoint_suspect" ["zone" "endpoint"]
        "1 while a vantage has seen failures of an endpoint that are not enough to call it down.";
    TRANSITIONS Counter "portolan_transitions_total" ["zone" "endpoint" "to"]
        "Transitions of an endpoint's agreed health, by the health after.";
    RTT Gauge "portolan_rtt_seconds" ["vantage" "zone" "endpoint"]
        "Smoothed round-trip time from a vantage to an endpoint.";

    VANTAGE_UP Gauge "portolan_vantage_up" ["vantage" "region"] "Whether a vantage's reports count.";
    VANTAGE_BLIND Gauge "portolan_vantage_blind" ["vantage" "region"]
        "Whether a vantage is cut off itself and has frozen its verdicts.";
    HELD Gauge "portolan_held_connections" ["vantage"]
        "Idle connections that a vantage holds open, one to each address whose monitor says so.";
    PROBES Counter "portolan_probes_total" ["vantage" "kind" "result"]
        "Probes that ended, by kind and result.";
    PROBE_SECONDS Histogram "portolan_probe_seconds" ["vantage" "kind"] "How long a probe took, failed ones too.";
    HEALTH_KEPT Counter "portolan_health_writes_total" ["result"]
        "Times the last known health was written to the state directory, by how it ended.";

    STATE_WRITES Counter "portolan_state_writes_total" ["result"]
        "Files written to the state directory, last known health too, by how it ended.";
    CERT_EXPIRY Gauge "portolan_cert_expiry_seconds" []
        "When the certificate that DNS clients are shown ends, in Unix seconds.";

    QUERIES Counter "portolan_queries_total" ["transport" "rcode"]
        "Replies, by transport and response code.";
    ZONE_QUERIES Counter "portolan_zone_queries_total" ["zone"] "Replies that a zone gave.";
    TRUNCATED Counter "portolan_truncated_total" ["transport"]
        "Replies that went out truncated, those over the rate limit too.";
    CONNECTIONS Counter "portolan_connections_total" ["transport"] "Connections of DNS clients that were taken.";
    OPEN_CONNECTIONS Gauge "portolan_open_connections" ["transport"] "Connections of DNS clients that are open.";
    DROPPED Counter "portolan_dropped_total" ["reason"] "What came in and got no reply, by reason.";
    SLIPPED Counter "portolan_slipped_total" []
        "Replies over the rate limit that went out truncated, so that their client asks over TCP.";
    RECV_QUEUE_DROPS Counter "portolan_recv_queue_drops_total" []
        "Datagrams that the kernel dropped because a receive queue was full.";
    ANSWERS Counter "portolan_answers_total" ["zone" "name" "endpoint"]
        "How often an endpoint was in a reply for a steered name.";

    CPU_SECONDS Counter "process_cpu_seconds_total" [] "Total user and system CPU time spent in seconds.";
    RESIDENT Gauge "process_resident_memory_bytes" [] "Resident memory size in bytes.";
    VIRTUAL Gauge "process_virtual_memory_bytes" [] "Virtual memory size in bytes.";
    OPEN_FDS Gauge "process_open_fds" [] "Number of open file descriptors.";
    MAX_FDS Gauge "process_max_fds" [] "Maximum number of open file descriptors.";
    START_TIME Gauge "process_start_time_seconds" []
        "Start time of the process since unix epoch in seconds.";
}
