//! `grpc`: the standard health check.

use crate::config::keys::{KeyGroup as _, KeyKind as _, boolean, keys, text};
use crate::config::monitor::probing::{Probing, body};
use crate::config::monitor::tls::{Certificate, Host};
use crate::config::monitor::{Definition, Group};
use crate::model::monitor::bounds::MAX_TEXT;
use crate::model::{GrpcSpec, ProbeKind};
use crate::source::{At, Problems};
use serde_json::json;

keys! {
    /// The keys of a health check.
    Service {
        /// the service whose health is requested (`grpc.health.v1.Health/Check`, HTTP/2); empty means the whole
        /// server. Only SERVING is a success. Unknown fields of the reply are ignored; a reply without a status means
        /// UNKNOWN. `tls = true` uses TLS
        service: String = text("\"\"").sized(0..=MAX_TEXT).then(service).shown_as(|name| json!(name)),
            default String::new();
        /// the service whose health is requested (`grpc.health.v1.Health/Check`, HTTP/2); empty means the whole
        /// server. Only SERVING is a success. Unknown fields of the reply are ignored; a reply without a status means
        /// UNKNOWN. `tls = true` uses TLS
        tls: bool = boolean(), default false;
    }
}

pub(super) const GRPC: Definition = Definition::probe(
    &[Group::of::<Probing>(), Group::of::<Host>(), Group::of::<Certificate>(), Group::of::<Service>()],
    |fields, problems| {
        let keys = Service::take(fields, problems);
        let host = Host::take(fields, problems).host.map(|at| at.value);
        let certificate = Certificate::take(fields, problems).rule(0);
        let spec = GrpcSpec { service: keys.service.value, host, tls: keys.tls.value.then_some(certificate) };
        body(fields, Some(ProbeKind::Grpc(spec)), problems)
    },
);

fn service(At { value, place }: At<String>, problems: &mut Problems) -> Option<String> {
    if value.len() > MAX_TEXT {
        problems.error(&place, format!("`service` must be {MAX_TEXT} octets at most"));
    }
    Some(value)
}
