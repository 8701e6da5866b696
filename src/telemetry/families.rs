//! The only list of metric names: each family with its kind, its labels and its meaning. No label has the name of a
//! query. The values of every label come from the files or from a fixed list, so that the number of series is bounded.

/// One family of metrics.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name: prefix `portolan_` (or `process_`, which every process has), base units.
    pub name: &'static str,
    /// Its kind.
    pub kind: MetricKind,
    /// The labels of its samples, in their order; without `le` of histograms.
    pub labels: &'static [&'static str],
    /// Its meaning, in a sentence.
    pub help: &'static str,
}

/// The kinds of Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// A number that only rises, from the start of the process.
    Counter,
    /// A value at the moment of the scrape.
    Gauge,
    /// Counts by upper bound.
    Histogram,
}

impl MetricKind {
    /// Its name in the text format.
    pub fn as_str(self) -> &'static str {
        match self {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        }
    }
}

/// Declares the families, and the list of all.
macro_rules! families {
    ($($id:ident $kind:ident $name:literal [$($label:literal)*] $help:literal;)*) => {
        $(pub(crate) const $id: Family =
            Family { name: $name, kind: MetricKind::$kind, labels: &[$($label),*], help: $help };)*
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
        "When the files were last loaded or refused, in Unix seconds.";
    LOAD_RUNNING Gauge "portolan_reload_running_seconds" []
        "How long the load of the files that is running has lasted; 0 without one.";
    RELOADS Counter "portolan_reloads_total" ["result"] "Times the files were loaded again, by result.";

    NOTICED Gauge "portolan_file_changes_noticed" []
        "Whether the system reports changed files; otherwise they are checked every few seconds.";
    ZONE_CURRENT Gauge "portolan_zone_current" ["zone"] "Whether a zone is served as its files are now.";
    ZONE_SINCE Gauge "portolan_zone_version_timestamp_seconds" ["zone"]
        "When the version of a zone that is served was first loaded, in Unix seconds.";
    ZONE_REMOVAL Gauge "portolan_zone_removal_timestamp_seconds" ["zone"]
        "Until when a zone is still served that disappeared from the files or lost all its names, in Unix seconds.";

    NAME_ELIGIBLE Gauge "portolan_name_eligible" ["zone" "name"]
        "Endpoints of a steered name's own pool that may be answered with.";
    NAME_ON_EMPTY Gauge "portolan_name_on_empty" ["zone" "name"]
        "1 while on_empty answers some clients of a steered name.";
    NAME_PREFERRED Gauge "portolan_name_preferred" ["zone" "name"]
        "0 while some clients of a steered name get another answer than with every endpoint up.";

    DRILL Gauge "portolan_drill" ["drill" "target"] "1 while a drill runs: what it loses counts as down.";
    DRILLS Counter "portolan_drills_total" ["result"] "Drills of this server that ended, by result.";

    LEASE_EPOCH Gauge "portolan_lease_epoch" ["zone" "name"]
        "The epoch of an exclusive name: it rises with each promotion.";
    LEASE_ACTIVE Gauge "portolan_lease_active" ["zone" "name" "endpoint"]
        "1 for the active endpoint of an exclusive name.";
    LEASE_HOLDER Gauge "portolan_lease_holder" ["zone" "name"]
        "1 while this server holds the lease of an exclusive name.";
    LEASE_STORE_UP Gauge "portolan_lease_store_up" ["zone" "name"]
        "Whether the lease of an exclusive name can be read, and a server renews it.";

    ENDPOINT_UP Gauge "portolan_endpoint_up" ["zone" "endpoint" "region"]
        "Whether an endpoint is up: 1 while any of its addresses is.";
    OVERRIDDEN Gauge "portolan_endpoint_overridden" ["zone" "endpoint" "state"]
        "1 while an operator's override is in force for an endpoint.";
    HELD_DOWN Gauge "portolan_endpoint_held_down" ["zone" "endpoint"]
        "1 while damping keeps an endpoint down at a vantage because it flaps.";
    SUSPECT Gauge "portolan_endpoint_suspect" ["zone" "endpoint"]
        "1 while a vantage has measured failures of an endpoint that are too few to report it down.";
    TRANSITIONS Counter "portolan_transitions_total" ["zone" "endpoint" "to"]
        "Transitions of an endpoint's agreed health, by the health after.";
    RTT Gauge "portolan_rtt_seconds" ["vantage" "zone" "endpoint"]
        "Smoothed round-trip time from a vantage to an endpoint; none where there would be over 100,000 of them.";
    REGION_RTT Gauge "portolan_region_rtt_seconds" ["region" "zone" "endpoint"]
        "Round-trip time from a region to an endpoint: the median of the region's vantages.";
    REGION_UNREACHABLE Gauge "portolan_region_unreachable" ["region" "zone" "endpoint"]
        "1 while most vantages of a region can't reach an endpoint that is up for the others; absent otherwise.";

    SOURCE_UP Gauge "portolan_source_up" ["zone" "source"]
        "Whether a source of endpoints answers with something that can be used.";
    SOURCE_KEPT Gauge "portolan_source_kept" ["zone" "source"]
        "1 while endpoints stay that a source suddenly does not list any more, until that is confirmed.";
    SOURCE_ENDPOINTS Gauge "portolan_source_endpoints" ["zone" "source"] "How many endpoints of a source are served.";
    SOURCE_AGE Gauge "portolan_source_age_seconds" ["zone" "source"]
        "How long ago the endpoints were what the source lists (Consul, etcd: 0 while it is followed).";

    VANTAGE_UP Gauge "portolan_vantage_up" ["vantage" "region"] "Whether a vantage's reports count.";
    VANTAGE_BLIND Gauge "portolan_vantage_blind" ["vantage" "region"]
        "Whether a vantage is cut off itself and has frozen its verdicts.";
    HELD Gauge "portolan_held_connections" ["vantage"]
        "Idle connections that a vantage keeps open, one to each address of a monitor with hold = true.";
    PROBES Counter "portolan_probes_total" ["vantage" "kind" "result"]
        "Probes that ended, by kind and result.";
    PROBE_SECONDS Histogram "portolan_probe_seconds" ["vantage" "kind"] "How long a probe took, failed ones too.";
    HEALTH_WRITES Counter "portolan_health_writes_total" ["result"]
        "Times the last known health was written to the state directory, by result.";

    STATE_WRITES Counter "portolan_state_writes_total" ["result"]
        "Files written to the state directory, including the last known health, by result.";
    STATE_UNSAVED Gauge "portolan_state_unsaved_since_timestamp_seconds" ["file"]
        "Since when a file of the state directory on the disk lacks changes, in Unix seconds; only while it does.";
    CERT_EXPIRY Gauge "portolan_cert_expiry_seconds" []
        "When the certificate for DNS clients expires, in Unix seconds.";

    QUERIES Counter "portolan_queries_total" ["transport" "rcode"]
        "Replies, by transport and response code.";
    ZONE_QUERIES Counter "portolan_zone_queries_total" ["zone"] "Replies from a zone.";
    ANSWER_SECONDS Histogram "portolan_answer_seconds" ["transport"]
        "How long the server worked on an answer: of one in 64 batches (UDP, the mean of the batch) or messages.";
    TRUNCATED Counter "portolan_truncated_total" ["transport"]
        "Replies that were sent truncated, including those over the rate limit.";
    CONNECTIONS Counter "portolan_connections_total" ["transport"] "Connections of DNS clients that were accepted.";
    OPEN_CONNECTIONS Gauge "portolan_open_connections" ["transport"] "Connections of DNS clients that are open.";
    HANDSHAKES Counter "portolan_handshakes_total" ["transport" "result"]
        "TLS and QUIC handshakes of DNS clients, by result.";
    SEATS_TAKEN Gauge "portolan_seats_taken" ["listener"] "Connections that have a seat.";
    SEATS Gauge "portolan_seats" ["listener"] "How many connections may have a seat.";
    WAITING Gauge "portolan_waiting_bytes" ["listener"]
        "Octets of replies and requests that wait, without the first 4 KiB of each connection.";
    WAITING_LIMIT Gauge "portolan_waiting_bytes_limit" ["listener"] "How many octets may wait.";
    DROPPED Counter "portolan_dropped_total" ["reason"]
        "Messages that got no reply, by reason; with the reason dnstap: messages that the query log lost.";
    DNSTAP_OPEN Gauge "portolan_dnstap_open" [] "Whether the query log can be written; only with [dnstap].";
    DNSTAP_WRITTEN Counter "portolan_dnstap_written_total" []
        "Messages that were written to the query log; only with [dnstap].";
    SLIPPED Counter "portolan_slipped_total" []
        "Replies over the rate limit that were sent truncated, so that the client retries over TCP.";
    RECV_QUEUE_DROPS Counter "portolan_recv_queue_drops_total" []
        "Datagrams that the kernel dropped because a receive queue was full.";
    ANSWERS Counter "portolan_answers_total" ["zone" "name" "endpoint"]
        "How often an endpoint was in a reply for a steered name.";

    SINK_UP Gauge "portolan_sink_up" ["sink"]
        "Whether a sink takes all events; 0 while some wait for another try, and when it is off.";
    SINK_WAITING Gauge "portolan_sink_events_waiting" ["sink"] "Events of the log that a sink has not confirmed.";
    SINK_POSITION Gauge "portolan_sink_position_number" ["sink"]
        "All events up to this number are confirmed by a sink, refused or lost.";
    SINK_DELIVERED Counter "portolan_sink_events_delivered_total" ["sink"] "Events that a sink confirmed.";
    SINK_FAILURES Counter "portolan_sink_failures_total" ["sink"] "Tries to send an event to a sink that failed.";
    SINK_DEAD_LETTERS Counter "portolan_sink_dead_letters_total" ["sink"]
        "Events that a sink refused so often that they were given up.";
    SINK_LOST Counter "portolan_sink_events_lost_total" ["sink"]
        "Events that a sink never got, because the log no longer had them.";

    FOLLOW_UP Gauge "portolan_follow_up" ["follow"]
        "Whether a stream is followed; 0 while it can't be read, and after events of it were missed.";
    FOLLOW_BEHIND Gauge "portolan_follow_messages_waiting" ["follow"] "Messages of a stream that had no effect yet.";
    FOLLOW_POSITION Gauge "portolan_follow_position_sequence" ["follow"]
        "All messages of a stream up to this sequence have had their effect.";
    FOLLOW_APPLIED Counter "portolan_follow_changes_total" ["follow"] "Overrides that events of a stream changed.";
    FOLLOW_IGNORED Counter "portolan_follow_events_ignored_total" ["follow"]
        "Events of a stream that were none for this server, or changed nothing.";
    FOLLOW_REFUSED Counter "portolan_follow_events_refused_total" ["follow"]
        "Events of a stream that could not be used.";
    FOLLOW_MISSED Counter "portolan_follow_messages_missed_total" ["follow"]
        "Most messages that a stream discarded before they were read.";

    API_REFUSED Counter "portolan_api_refused_total" ["reason"]
        "Requests and connections that the API refused or closed, by reason.";

    LOG_LINES_DROPPED Counter "portolan_log_lines_dropped_total" []
        "Lines of the log that were lost because standard error was not read.";

    FLEET_CONNECTED Gauge "portolan_fleet_connected" [] "Whether this node is connected to a NATS server of its fleet.";
    FLEET_CONNECTIONS Counter "portolan_fleet_connections_total" [] "How often the connection to NATS was made.";
    FLEET_DROPPED Counter "portolan_fleet_dropped_total" ["direction"]
        "Messages that were lost at this node: out, not connected; in, not read in time; overtaken, not used in time.";
    FLEET_TARGETS_CURRENT Gauge "portolan_fleet_targets_current" []
        "Whether what the fleet probes can be read; otherwise this node probes what it has read last.";
    FLEET_TARGETS Gauge "portolan_fleet_targets" ["state"]
        "Checks of the fleet: probed here, not_allowed by vantage.exec, refused as unusable, left_out of the fleet.";
    FLEET_LEFT_OUT Gauge "portolan_fleet_left_out_checks" ["zone"]
        "Checks of a zone that vantages do not probe, because the fleet has no room for them.";
    FLEET_DIFFERING Gauge "portolan_fleet_zones_differing" []
        "Zones of servers that differ from those that the fleet probes.";
    FLEET_OVERRIDES_CURRENT Gauge "portolan_fleet_overrides_current" []
        "Whether the overrides of the fleet can be read; otherwise those that are known stay in force.";
    FLEET_OVERRIDES_PENDING Gauge "portolan_fleet_overrides_pending" []
        "Changes of overrides that were made at this server and that the fleet does not have yet.";
    FLEET_OVERRIDES_REVISION Gauge "portolan_fleet_overrides_revision" []
        "The newest revision of the fleet's overrides that this server serves.";
    FLEET_OVERRIDES_REFUSED Counter "portolan_fleet_overrides_refused_total" []
        "Values and messages about overrides of the fleet that could not be used.";
    FLEET_OVERRIDES_SERVERS Gauge "portolan_fleet_overrides_servers" ["state"]
        "Other servers by what they serve: current, behind this server's overrides, or silent.";
    FLEET_REPORTS_SENT Counter "portolan_fleet_reports_sent_total" [] "Reports that this node's vantage published.";
    FLEET_REPORTS Counter "portolan_fleet_reports_total" ["vantage" "region"]
        "Reports of another vantage that were accepted.";
    FLEET_REPORT_OCTETS Counter "portolan_fleet_report_octets_total" ["vantage" "region"]
        "Octets of the reports of another vantage that were accepted.";
    FLEET_GAPS Counter "portolan_fleet_report_gaps_total" ["vantage" "region"]
        "Times that reports of another vantage were missing, which are requested again.";
    FLEET_REFUSED Counter "portolan_fleet_reports_refused_total" ["vantage" "reason"]
        "Reports that were refused, by reason; vantage is empty for names that no known vantage has.";
    FLEET_EVENTS_WAITING Gauge "portolan_fleet_events_waiting" []
        "Events of this server that are not known to be in the stream of the fleet.";
    FLEET_EVENTS_ACKNOWLEDGED Gauge "portolan_fleet_events_acknowledged_number" []
        "The number of the last event of this server that is known to be in the stream of the fleet.";
    FLEET_EVENTS_LOST Counter "portolan_fleet_events_lost_total" []
        "Events of this server that never came into the stream, because its log no longer had them.";
    FLEET_EVENTS_LAST Gauge "portolan_fleet_events_last_number" ["node"]
        "The number of the last event of each server that was read from the stream.";
    FLEET_EVENTS_MISSING Counter "portolan_fleet_events_missing_total" ["node"]
        "Events of each server that are missing between those that were read from the stream.";
    FLEET_EVENTS_REFUSED Counter "portolan_fleet_events_refused_total" ["reason"]
        "Events of the stream that this server can't use.";
    FLEET_REFUSED_BEATS Counter "portolan_fleet_beats_refused_total" []
        "Heartbeats of other servers that could not be used.";

    CPU_SECONDS Counter "process_cpu_seconds_total" [] "Total user and system CPU time spent in seconds.";
    RESIDENT Gauge "process_resident_memory_bytes" [] "Resident memory size in bytes.";
    VIRTUAL Gauge "process_virtual_memory_bytes" [] "Virtual memory size in bytes.";
    OPEN_FDS Gauge "process_open_fds" [] "Number of open file descriptors.";
    MAX_FDS Gauge "process_max_fds" [] "Maximum number of open file descriptors.";
    START_TIME Gauge "process_start_time_seconds" []
        "Start time of the process since unix epoch in seconds.";
}
