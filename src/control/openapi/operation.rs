//! How an operation, which is one method of a path, is described: its parameters, its body, and its responses.

use std::borrow::Cow;

use serde_json::{Value, json};
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, ToSchema};

use crate::config::Role;

/// A type of the API, with its schema and those of its parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) name: fn() -> Cow<'static, str>,
    pub(super) collect: fn(&mut Vec<(String, RefOr<Schema>)>),
}

impl Shape {
    /// That of `T`.
    pub(super) fn of<T: ToSchema>() -> Shape {
        Shape {
            name: T::name,
            collect: |schemas| {
                schemas.push((T::name().into_owned(), T::schema()));
                T::schemas(schemas);
            },
        }
    }
}

/// What a success returns.
#[derive(Debug, Clone, Copy)]
pub(super) enum ResponseContent {
    /// Text of this media type.
    Text(&'static str),
    /// A JSON object of another standard.
    Object,
    /// One value.
    Json(Shape),
    /// An array of them.
    List(Shape),
    /// One value, or a stream of server-sent events.
    JsonOrEvents(Shape),
}

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody, without a token.
    Everybody,
    /// The holder of a token with this role.
    With(Role),
    /// Everybody; some requests need a token with this role.
    Partly(Role),
}

/// The costs of a call that restrict how many may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cost {
    /// It runs at once.
    Little,
    /// It runs when it is its turn, on a thread for such calls, and its response may be long.
    Much,
}

/// One method of a path.
#[derive(Debug)]
pub(super) struct Operation {
    /// In lower case.
    pub(super) method: &'static str,
    pub(super) what: &'static str,
    /// The parameters as the document has them.
    pub(super) parameters: Vec<Value>,
    /// The body, and whether it is required.
    pub(super) body: Option<(Shape, bool)>,
    pub(super) content: ResponseContent,
    pub(super) access: Access,
    pub(super) cost: Cost,
    /// The errors of this operation only, by status.
    pub(super) own_errors: Vec<(u16, &'static str)>,
    /// Further statuses, each with the media type of its body, if it has one.
    pub(super) others: Vec<(u16, &'static str, Option<&'static str>)>,
}

impl Operation {
    fn new(method: &'static str, what: &'static str, content: ResponseContent) -> Operation {
        let (parameters, own_errors, others) = (Vec::new(), Vec::new(), Vec::new());
        let (access, cost) = (Access::Everybody, Cost::Little);
        Operation { method, what, parameters, body: None, content, access, cost, own_errors, others }
    }

    pub(super) fn get(what: &'static str, content: ResponseContent) -> Operation {
        Operation::new("get", what, content)
    }

    pub(super) fn put(what: &'static str, content: ResponseContent) -> Operation {
        Operation::new("put", what, content)
    }

    pub(super) fn post(what: &'static str, content: ResponseContent) -> Operation {
        Operation::new("post", what, content)
    }

    pub(super) fn delete(what: &'static str, content: ResponseContent) -> Operation {
        Operation::new("delete", what, content)
    }

    /// The same with the parameters of the type that the handler reads the query into.
    pub(super) fn queried_by<Q: IntoParams>(mut self) -> Operation {
        let parameters = Q::into_params(|| Some(ParameterIn::Query));
        self.parameters.extend(parameters.iter().filter_map(|of| serde_json::to_value(of).ok()).map(adapted));
        self
    }

    /// The same with a parameter of the path.
    pub(super) fn at(self, name: &str, what: &str, schema: Value) -> Operation {
        self.with(json!({ "name": name, "in": "path", "required": true, "description": what, "schema": schema }))
    }

    /// The same with a parameter.
    pub(super) fn with(mut self, parameter: Value) -> Operation {
        self.parameters.push(parameter);
        self
    }

    /// The same with a body that is required.
    pub(super) fn taking<T: ToSchema>(self) -> Operation {
        Operation { body: Some((Shape::of::<T>(), true)), ..self }
    }

    /// The same with a body that may be absent.
    pub(super) fn optionally_taking<T: ToSchema>(self) -> Operation {
        Operation { body: Some((Shape::of::<T>(), false)), ..self }
    }

    pub(super) fn by(self, role: Role) -> Operation {
        Operation { access: Access::With(role), ..self }
    }

    pub(super) fn partly_by(self, role: Role) -> Operation {
        Operation { access: Access::Partly(role), ..self }
    }

    pub(super) fn costs_much(self) -> Operation {
        Operation { cost: Cost::Much, ..self }
    }

    /// The same with an error of its own.
    pub(super) fn fails(mut self, status: u16, when: &'static str) -> Operation {
        self.own_errors.push((status, when));
        self
    }

    /// The same with another response that is no problem.
    pub(super) fn or(mut self, status: u16, when: &'static str, media: Option<&'static str>) -> Operation {
        self.others.push((status, when, media));
        self
    }
}

/// A parameter of the query whose schema has no `null`: an absent parameter is not sent. A description of the schema
/// becomes that of the parameter.
fn adapted(mut parameter: Value) -> Value {
    let what = parameter["schema"].as_object_mut().and_then(|schema| schema.remove("description"));
    if let Some(what) = what {
        parameter["description"] = what;
    }
    if let Some(kind) = parameter["schema"].get_mut("type")
        && let Value::Array(kinds) = kind
    {
        kinds.retain(|kind| kind != "null");
        if let [one] = &mut kinds[..] {
            *kind = one.take();
        }
    }
    parameter
}
