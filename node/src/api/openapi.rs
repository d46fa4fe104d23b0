//! `/api/v1/openapi.json`, built from the table of routes and the types of the verbs: it cannot be out of date.

use std::sync::Arc;

use axum::routing::get;
use utoipa::ToSchema;
use utoipa::openapi::path::{HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{ComponentsBuilder, Schema};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Content, InfoBuilder, OpenApi, OpenApiBuilder, Paths, Ref, RefOr, Required};

use super::answer;
use super::service::Service;
use super::stream::NDJSON;
use super::token::Scope;
use super::verb::{Method, PREFIX, Route, Verb, routes};
use crate::problem::ProblemBody;
use crate::progress::ProgressFrame;

/// A named schema, as the components list has it.
type Named = (String, RefOr<Schema>);

/// Adds a type and what it names to the components; returns its own schema.
type Describe = fn(&mut Vec<Named>) -> RefOr<Schema>;

/// The types of a route, as functions that tell their schemas.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    request: Describe,
    response: Option<Describe>,
    media: &'static str,
}

impl Shape {
    pub(super) fn of<V: Verb>() -> Self {
        Self { request: schema::<V::Request>, response: Some(schema::<V::Response>), media: "application/json" }
    }

    pub(super) fn stream<Request: ToSchema, Item: ToSchema>(media: &'static str) -> Self {
        Self { request: schema::<Request>, response: Some(schema::<Item>), media }
    }
}

/// The [`Describe`] of `T`.
fn schema<T: ToSchema>(named: &mut Vec<Named>) -> RefOr<Schema> {
    T::schemas(named);
    named.push((T::name().into_owned(), T::schema()));
    T::schema()
}

fn reference<T: ToSchema>(named: &mut Vec<Named>) -> RefOr<Schema> {
    schema::<T>(named);
    Ref::from_schema_name(T::name()).into()
}

pub(super) fn document_route() -> Route {
    Route {
        name: "openapi",
        method: Method::Get,
        path: "/openapi.json",
        scope: Scope::Read,
        about: "This document.",
        handler: get(|| async { answer::json(&document()) }).with_state::<Arc<Service>>(()),
        shape: Shape { request: schema::<super::types::Empty>, response: None, media: "application/json" },
    }
}

/// The whole document.
pub(super) fn document() -> OpenApi {
    let mut named = Vec::new();
    let mut paths = Paths::new();
    for route in routes() {
        let method = match route.method {
            Method::Get => HttpMethod::Get,
            Method::Post => HttpMethod::Post,
        };
        let operation = operation(&route, &mut named);
        paths.add_path_operation(format!("{PREFIX}{}", route.path), vec![method], operation);
    }
    schema::<ProgressFrame>(&mut named);
    let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
    let components = ComponentsBuilder::new().schemas_from_iter(named).security_scheme("token", bearer);
    let info = InfoBuilder::new().title("Syncra node").version(env!("CARGO_PKG_VERSION")).description(Some(ABOUT));
    OpenApiBuilder::new().info(info).paths(paths).components(Some(components.build())).build()
}

const ABOUT: &str = "The API of one node. Over its Unix socket the caller is the local user; over loopback TCP a bearer \
    token is needed. Every failure is `{\"error\": Problem}`. A verb called with `Accept: application/x-ndjson` answers \
    with any number of `{\"progress\": ProgressFrame}` lines and one last line, `{\"result\": …}` or `{\"error\": …}`.";

fn operation(route: &Route, named: &mut Vec<Named>) -> Operation {
    let request = (route.shape.request)(named);
    let mut answer = ResponseBuilder::new().description("The answer.");
    if let Some(response) = route.shape.response {
        let content = Content::new(Some(response(named)));
        answer = answer.content(route.shape.media, content.clone());
        if route.shape.media != NDJSON {
            answer = answer.content(NDJSON, content);
        }
    }
    let operation = OperationBuilder::new()
        .operation_id(Some(route.name))
        .summary(Some(route.about))
        .description(Some(format!("Needs the scope `{}`.", route.scope)))
        .security(SecurityRequirement::new("token", [route.scope.to_string()]))
        .response("200", answer.build())
        .response("default", problem(named));
    match route.method {
        Method::Get => operation.parameters(Some(parameters(request))).build(),
        Method::Post => {
            let body = RequestBodyBuilder::new().content("application/json", Content::new(Some(request)));
            operation.request_body(Some(body.required(Some(Required::True)).build())).build()
        }
    }
}

fn problem(named: &mut Vec<Named>) -> Response {
    let body = Content::new(Some(reference::<ProblemBody>(named)));
    ResponseBuilder::new().description("`{\"error\": Problem}`").content("application/json", body).build()
}

/// The fields of a GET's request as query parameters.
fn parameters(request: RefOr<Schema>) -> Vec<Parameter> {
    let RefOr::T(Schema::Object(object)) = request else { return Vec::new() };
    let parameter = |(name, schema): (String, RefOr<Schema>)| {
        let required = if object.required.contains(&name) { Required::True } else { Required::False };
        let about = match &schema {
            RefOr::T(Schema::Object(field)) => field.description.clone(),
            _ => None,
        };
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query).required(required);
        parameter.description(about).schema(Some(schema)).build()
    };
    object.properties.clone().into_iter().map(parameter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_in_the_document_and_every_reference_resolves() {
        let json = serde_json::to_value(document()).unwrap();
        for route in routes() {
            let path = &json["paths"][format!("{PREFIX}{}", route.path)];
            let method = if route.method == Method::Get { "get" } else { "post" };
            assert_eq!(path[method]["operationId"], route.name);
            assert!(!route.about.is_empty());
        }
        let text = json.to_string();
        for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(json["components"]["schemas"][name].is_object(), "{name}");
        }
    }
}
