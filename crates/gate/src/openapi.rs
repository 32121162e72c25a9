//! The OpenAPI document: what utoipa reads off the handlers, and the refusals from the table of
//! endpoints, with the statuses that they really get.

use std::{collections::BTreeMap, sync::OnceLock};

use skein_core::refusal::Code;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        Content, HttpMethod, PathItem, Ref, ResponseBuilder,
        path::Operation,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use crate::{
    answer::{ErrorBody, status},
    route::{self, Endpoint},
};

/// The document.
pub(crate) fn document() -> &'static utoipa::openapi::OpenApi {
    static DOCUMENT: OnceLock<utoipa::openapi::OpenApi> = OnceLock::new();
    DOCUMENT.get_or_init(Api::openapi)
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Skein gate",
        description = "Accounts and logins of a Skein server. Everything else is spoken with the \
                       chat server over QUIC, whose address a login answers.\n\nEvery answer that \
                       is not a success is a JSON object `error` with a stable `code`, a sentence \
                       for people in `message`, and for limits `retry_after` in seconds, which is \
                       also in the header `retry-after`. Bodies have at most 64 KiB, are JSON, and \
                       have no fields but the documented ones."
    ),
    paths(
        route::codes::request_code,
        route::accounts::register,
        route::password::reset,
        route::login::log_in,
        route::logout::log_out,
        route::whoami::who_am_i,
        route::chat::where_to_chat,
        route::document::document,
        route::health::health,
        route::health::ready,
    ),
    components(schemas(ErrorBody)),
    tags(
        (name = "accounts", description = "Registering, and forgetting one's password."),
        (name = "sessions", description = "Logging in and out."),
        (name = "service", description = "About the gate itself."),
    ),
    modifiers(&Token, &Refusals)
)]
struct Api;

/// Says how a token is sent.
struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("skein_ and 43 characters of base64url")
            .description(Some("The token that a login answers."))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// Adds to each operation the reasons with which it may refuse.
struct Refusals;

impl Modify for Refusals {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for endpoint in route::endpoints() {
            let item = document.paths.paths.get_mut(endpoint.path);
            if let Some(operation) = item.and_then(|item| operation(item, &endpoint.method)) {
                add_refusals(operation, &endpoint);
            }
        }
    }
}

fn operation<'a>(item: &'a mut PathItem, method: &HttpMethod) -> Option<&'a mut Operation> {
    match method {
        HttpMethod::Get => item.get.as_mut(),
        HttpMethod::Post => item.post.as_mut(),
        _ => None,
    }
}

fn add_refusals(operation: &mut Operation, endpoint: &Endpoint) {
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in endpoint.refuses.iter().copied().flatten() {
        by_status.entry(status(*code).as_u16()).or_default().push(*code);
    }
    if endpoint.refuses.contains(&route::WITH_BODY) {
        by_status.entry(415).or_default().push(Code::Malformed);
    }
    for (status, codes) in by_status {
        let names: Vec<_> = codes.iter().map(|code| format!("`{code}`")).collect();
        let content = Content::new(Some(Ref::from_schema_name("ErrorBody")));
        let response = ResponseBuilder::new()
            .description(names.join(", "))
            .content("application/json", content)
            .build();
        operation.responses.responses.insert(status.to_string(), response.into());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn json() -> Value {
        serde_json::to_value(document()).expect("JSON")
    }

    #[test]
    fn has_every_route_and_no_other() {
        let name = |method: &HttpMethod| match method {
            HttpMethod::Get => "get",
            HttpMethod::Post => "post",
            _ => "other",
        };
        let routed: BTreeSet<_> = route::endpoints()
            .iter()
            .map(|endpoint| (endpoint.path.to_owned(), name(&endpoint.method).to_owned()))
            .collect();
        let json = json();
        let paths = json["paths"].as_object().expect("paths");
        let methods = paths.iter().flat_map(|(path, item)| {
            let methods = item.as_object().expect("an item").keys();
            methods.map(|method| (path.clone(), method.clone()))
        });
        assert_eq!(methods.collect::<BTreeSet<_>>(), routed);
    }

    #[test]
    fn documents_each_operation_whole() {
        let json = json();
        for endpoint in route::endpoints() {
            let item = json["paths"][endpoint.path].as_object().expect("an item");
            for operation in item.values() {
                assert!(operation["summary"].is_string(), "{}", endpoint.path);
                for code in endpoint.refuses.iter().copied().flatten() {
                    let response = &operation["responses"][status(*code).as_str()];
                    let listed = response["description"].as_str().expect("a description");
                    assert!(listed.contains(code.name()), "{} {code}", endpoint.path);
                }
                let takes_token = endpoint.refuses.contains(&route::WITH_TOKEN);
                assert_eq!(operation["security"].is_array(), takes_token, "{}", endpoint.path);
            }
        }
        assert!(json["components"]["securitySchemes"]["token"].is_object());
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let json = json();
        let text = json.to_string();
        for reference in text.split("\"#/").skip(1) {
            let path = reference.split('"').next().expect("a path");
            assert!(json.pointer(&format!("/{path}")).is_some(), "{path}");
        }
        for schema in json["components"]["schemas"].as_object().expect("schemas").values() {
            for (field, property) in schema["properties"].as_object().into_iter().flatten() {
                assert!(
                    property["description"].is_string()
                        || property["$ref"].is_string()
                        || property["oneOf"].is_array(),
                    "{field} is undocumented"
                );
            }
        }
    }
}
