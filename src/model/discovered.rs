//! Endpoints that sources state, and what else they state of them. Values only.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{CheckView, DiscoveredPool, EndpointId, ON_EMPTY_WORDS};
use crate::wire::Name;

/// One endpoint that a source states, for the next model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveredEndpoint {
    /// Its name in the zone.
    pub name: String,
    /// One IPv4 and one IPv6 address at most; none with a `cname`, otherwise at least one.
    pub addresses: Vec<IpAddr>,
    /// The name of a host that is answered as a CNAME: in lower case, with its final dot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cname: Option<String>,
    /// With a `cname`, the address to probe, and its port if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<(IpAddr, Option<u16>)>,
    /// Where it serves, and is probed unless the monitor has a port.
    pub port: Option<u16>,
    /// Its weight, 0 to 1,000,000.
    pub weight: u32,
    /// Its region, as the source names it.
    pub region: Option<String>,
    /// Its country, as the source names it.
    pub country: Option<String>,
    /// Answers a second that it can take.
    pub capacity: Option<u64>,
}

impl DiscoveredEndpoint {
    /// Why it can't be an endpoint of these files, with what to do; `None` if it can.
    pub fn reason_against(&self, needs: ProbeNeeds, is_declared: impl Fn(&str) -> bool) -> Option<String> {
        if ON_EMPTY_WORDS.contains(&self.name.as_str()) {
            return Some(format!(
                "`{}` has another meaning in `on_empty`, so it is no name of an endpoint: write `names = \
                 \"...-{{name}}\"`",
                self.name
            ));
        }
        if let Some(region) = self.region.as_ref().filter(|region| !is_declared(region)) {
            return Some(format!("its region \"{region}\" is not declared: add [regions.{region}] to the settings"));
        }
        if needs.address && self.cname.is_some() && self.probe.is_none() {
            let why = "it is probed, and has no address to probe: register one in its field `probe`, or leave out \
                       `monitor`";
            return Some(why.to_owned());
        }
        let port = self.probe.and_then(|(_, port)| port).or(self.port);
        (needs.port && port.is_none()).then(|| {
            "it has no port, and its monitor has none: register one, or write `port` in the monitor".to_owned()
        })
    }
}

/// What an instance must say so that it can be probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProbeNeeds {
    /// Its port.
    pub port: bool,
    /// With the name of a host, an address.
    pub address: bool,
}

impl DiscoveredPool {
    /// What its instances must say so that they can be probed.
    pub fn probe_needs(&self) -> ProbeNeeds {
        ProbeNeeds { port: self.needs_port, address: self.needs_probe }
    }
}

/// The endpoints of one source that could not be added to a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAdded {
    /// How many.
    pub count: usize,
    /// Which ones and why, in one line; of many the first few.
    pub why: String,
}

/// The endpoints of each source, by the zone and the name of the source. What is not in it is not known yet.
pub type DiscoveredSets = BTreeMap<(Name, String), Arc<[Arc<DiscoveredEndpoint>]>>;

/// Where an endpoint of the model comes from, if no file declares it.
#[derive(Debug, Clone)]
pub struct Discovered {
    /// The source: an index of [`Model::sources`](crate::model::Model::sources).
    pub source: u32,
    /// As it was stated.
    pub endpoint: Arc<DiscoveredEndpoint>,
    /// Whether a check of it goes to the port of the instance.
    pub is_probed_there: bool,
}

/// What a source states of an endpoint that changes how it is answered with. Everything else is as measured.
#[derive(Debug, Clone)]
pub enum Stated {
    /// It is not listed any more, or with another address: never answered with.
    Withdrawn {
        /// What the source is called: `discover.web`.
        source: Arc<str>,
    },
    /// It is not listed any more, and stays until another one is up: what is measured counts.
    Leaving {
        /// What the source is called.
        source: Arc<str>,
    },
    /// It has this verdict, whatever is measured.
    Judged(Arc<CheckView>),
}

/// What sources state, by endpoint. Of a discovered endpoint that is not in it, the measured health counts.
pub type StatedByEndpoint = BTreeMap<EndpointId, Stated>;
