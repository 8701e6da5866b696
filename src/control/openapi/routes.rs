//! The only list of the paths of the API. The router has an arm for each (`control::router`), and so has the document
//! (`operations`): a path that is in the list and lacks one does not compile, and no other path exists.

/// Declares the routes and the list of all.
macro_rules! routes {
    ($($id:ident $path:literal;)*) => {
        /// A path of the API.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(in crate::control) enum ApiRoute { $(#[doc = $path] $id),* }

        impl ApiRoute {
            /// All of them.
            pub(in crate::control) const ALL: &[ApiRoute] = &[$(ApiRoute::$id),*];

            /// The path, as the router has it: `{name}` is one part, `{*name}` is the rest.
            pub(in crate::control) fn path(self) -> &'static str {
                match self { $(ApiRoute::$id => $path),* }
            }
        }
    };
}

routes! {
    Index "/";
    Healthz "/healthz";
    Readyz "/readyz";
    Metrics "/metrics";
    Document "/v1/openapi.json";
    Status "/v1/status";
    Transitions "/v1/transitions";
    Explain "/v1/explain";
    Simulate "/v1/simulate";
    Names "/v1/names";
    History "/v1/history";
    Events "/v1/events";
    Overrides "/v1/overrides";
    Override "/v1/overrides/{*target}";
    Failback "/v1/failback/{name}";
    Drill "/v1/drill";
    DrillRenewal "/v1/drill/{id}";
    Heartbeat "/v1/heartbeat/{endpoint}";
    Reload "/v1/reload";
}

impl ApiRoute {
    /// The path for people, such as `/v1/overrides/TARGET`.
    pub(in crate::control) fn shown(self) -> String {
        let part = |part: &str| match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(name) => name.trim_start_matches('*').to_uppercase(),
            None => part.to_owned(),
        };
        self.path().split('/').map(part).collect::<Vec<_>>().join("/")
    }
}
