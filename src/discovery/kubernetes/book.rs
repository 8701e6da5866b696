//! The objects of the API that a source follows, of the kind that its `resource` names. Pure.

use std::collections::BTreeMap;

use serde::Deserialize as _;
use serde_json::Value;

use crate::discovery::InstanceList;
use crate::discovery::kubernetes::addresses::AddressedObject;
use crate::discovery::kubernetes::slices::{EndpointSlice, instances_of};
use crate::model::{KubernetesResource, KubernetesSource, Mappings};

/// Most octets of memory of all objects together. Judgment: more than 50,000 endpoints with the texts that they have.
const MAX_OCTETS: usize = 32 << 20;

/// One object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ApiObject {
    /// An EndpointSlice.
    Slice(EndpointSlice),
    /// An Ingress or a Gateway.
    Addressed(AddressedObject),
}

impl ApiObject {
    /// From JSON.
    pub(super) fn read(resource: KubernetesResource, value: &Value) -> Result<ApiObject, serde_json::Error> {
        match resource {
            KubernetesResource::EndpointSlices => EndpointSlice::deserialize(value).map(ApiObject::Slice),
            KubernetesResource::Ingresses | KubernetesResource::Gateways => {
                AddressedObject::deserialize(value).map(ApiObject::Addressed)
            }
        }
    }

    /// Its name, which is unique in the namespace.
    pub(super) fn name(&self) -> &str {
        match self {
            ApiObject::Slice(slice) => slice.name(),
            ApiObject::Addressed(object) => object.name(),
        }
    }

    fn octets(&self) -> usize {
        match self {
            ApiObject::Slice(slice) => slice.octets(),
            ApiObject::Addressed(object) => object.octets(),
        }
    }
}

/// All objects of a source.
#[derive(Debug, Default)]
pub(super) struct ObjectBook {
    by_name: BTreeMap<String, ApiObject>,
    /// What they take of memory.
    octets: usize,
}

impl ObjectBook {
    /// An object is new, or another one than before. An error says that all of them are too large.
    pub(super) fn set(&mut self, object: ApiObject) -> Result<(), String> {
        self.remove(object.name());
        let octets = self.octets + object.octets();
        if octets > MAX_OCTETS {
            return Err(format!("its objects take over {} MiB of memory", MAX_OCTETS >> 20));
        }
        self.octets = octets;
        self.by_name.insert(object.name().to_owned(), object);
        Ok(())
    }

    /// An object has gone.
    pub(super) fn remove(&mut self, name: &str) {
        let gone = self.by_name.remove(name);
        self.octets -= gone.map_or(0, |object| object.octets());
    }

    /// The instances, in the order of the objects' names or of the pods.
    pub(super) fn list(&self, source: &KubernetesSource, mappings: &Mappings, max: usize) -> InstanceList {
        let mut list = InstanceList::new(max);
        let port_name = source.port_name.as_deref();
        let slices = self.by_name.values().filter_map(|object| match object {
            ApiObject::Slice(slice) => Some(slice),
            ApiObject::Addressed(_) => None,
        });
        instances_of(slices, port_name, &source.zones, mappings, &mut list);
        for object in self.by_name.values() {
            if let ApiObject::Addressed(object) = object {
                object.list(port_name, mappings, &mut list);
            }
        }
        list
    }
}
