//! What the checks of one zone look at: its policy file, its master file, and the model so far.

use crate::config::spec::{EndpointSpec, NameSpec, PolicySpec};
use crate::config::validate::Names;
use crate::masterfile::MasterFile;
use crate::model::{Endpoint, EndpointId, Facet, Model};
use crate::source::Problem;

/// One zone: the last one of the model.
#[derive(Debug, Clone, Copy)]
pub(super) struct ZoneContext<'a> {
    pub(super) spec: &'a PolicySpec,
    pub(super) file: &'a MasterFile,
    pub(super) names: &'a Names<'a>,
    pub(super) model: &'a Model,
    /// Whether the server belongs to a fleet.
    pub(super) has_fleet: bool,
}

impl<'a> ZoneContext<'a> {
    /// The endpoint as it is written.
    pub(super) fn endpoint_spec(&self, id: EndpointId) -> &'a EndpointSpec {
        &self.spec.endpoints[id.0 as usize - self.names.first_endpoint]
    }

    /// Labels where an endpoint is declared.
    pub(super) fn point_at(&self, problem: &mut Problem, endpoint: &str) {
        point_at(problem, endpoint, self.spec);
    }
}

/// Labels where an endpoint is declared.
pub(super) fn point_at(problem: &mut Problem, endpoint: &str, spec: &PolicySpec) {
    if let Some(endpoint) = spec.endpoint(endpoint) {
        problem.label(&endpoint.name.place, format!("endpoint `{}`", endpoint.name.value));
    }
}

/// One steered name of a zone, with what can answer it.
#[derive(Debug, Clone, Copy)]
pub(super) struct NameContext<'a> {
    pub(super) zone: ZoneContext<'a>,
    pub(super) name: &'a NameSpec,
    pub(super) endpoints: &'a [EndpointId],
    pub(super) facets: &'a [Facet],
}

impl<'a> std::ops::Deref for NameContext<'a> {
    type Target = ZoneContext<'a>;

    fn deref(&self) -> &ZoneContext<'a> {
        &self.zone
    }
}

impl<'a> NameContext<'a> {
    /// Its endpoints in the model.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = &'a Endpoint> + use<'a> {
        let model = self.zone.model;
        self.endpoints.iter().map(move |id| model.endpoint(*id))
    }

    /// Whether it has records of this facet.
    pub(super) fn has(&self, facet: Facet) -> bool {
        self.facets.contains(&facet)
    }
}
