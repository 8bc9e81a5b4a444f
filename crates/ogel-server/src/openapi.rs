//! `openapi.json`: the routes' own documentation, plus what is the same for every operation.

use crate::resources::RESOURCES;
use ogel_api::error::{ErrorBody, ErrorCode, ErrorEnvelope};
use std::fmt::Write as _;
use utoipa::{
    PartialSchema as _, ToSchema as _,
    openapi::{
        ContentBuilder, InfoBuilder, OpenApi, Ref, RefOr, ResponseBuilder, Server,
        path::Operation,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
        tag::TagBuilder,
    },
};

/// Adds to the routes' document: title, server, security scheme, and the error envelope as every operation's default.
pub(crate) fn complete(mut document: OpenApi) -> OpenApi {
    document.info = InfoBuilder::new()
        .title("Ogel Unified API")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("The single entry point of the platform: accounts, projects, deployments, build logs."))
        .build();
    document.servers = Some(vec![Server::new(ogel_api::BASE_PATH)]);
    let tags = RESOURCES.iter().map(|resource| {
        let description = format!("{}{}", resource.plan.summary(), resource.cache.summary());
        TagBuilder::new().name(resource.name).description(Some(description)).build()
    });
    document.tags = Some(tags.collect());
    let components = document.components.get_or_insert_default();
    components.security_schemes.insert(
        "bearer".to_owned(),
        RefOr::T(SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some("A session token or an API key"))
                .build(),
        )),
    );
    let mut schemas = vec![
        (ErrorEnvelope::name().into_owned(), ErrorEnvelope::schema()),
        (ErrorBody::name().into_owned(), ErrorBody::schema()),
        (ErrorCode::name().into_owned(), ErrorCode::schema()),
    ];
    ErrorEnvelope::schemas(&mut schemas);
    for (name, schema) in schemas {
        components.schemas.entry(name).or_insert(schema);
    }
    let failure = ResponseBuilder::new()
        .description("A failure; `error.code` says which")
        .content(
            "application/json",
            ContentBuilder::new().schema(Some(RefOr::Ref(Ref::from_schema_name(ErrorEnvelope::name())))).build(),
        )
        .build();
    for (_, operation) in operations_mut(&mut document) {
        operation.responses.responses.insert("default".to_owned(), RefOr::T(failure.clone()));
    }
    document
}

fn operations_mut(document: &mut OpenApi) -> impl Iterator<Item = (&String, &mut Operation)> {
    document.paths.paths.iter_mut().flat_map(|(path, item)| {
        [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch]
            .into_iter()
            .filter_map(Option::as_mut)
            .map(move |operation| (path, operation))
    })
}

/// The file as it is committed and served.
pub fn json() -> String {
    let mut text =
        serde_json::to_string_pretty(&crate::router::document()).expect("a document holds only plain values");
    text.push('\n');
    text
}

/// docs/errors.md: the error table for people.
pub fn errors_page() -> String {
    let mut page = String::from(
        "# Errors\n\nMade by `ogeld errors`; do not edit. Every answer that is not a success is this envelope:\n\n\
         ```json\n{\"error\":{\"code\":\"NOT_FOUND\",\"message\":\"…\",\"requestId\":\"req_…\",\"traceId\":\"…\",\
         \"retryable\":false,\"source\":\"gateway\"}}\n```\n\n\
         `details` lists each thing that is wrong where there can be several. `source` says whose fault it is: \
         `gateway` (the request, or the edge that read it), `studio` (our data) or `ghost` (the deployment backend). \
         Clients must accept codes they do not know.\n\n\
         | code | status | retry | meaning |\n|---|---|---|---|\n",
    );
    for code in ErrorCode::ALL {
        let retry = if code.retryable() { "yes" } else { "no" };
        let _ = writeln!(page, "| `{code}` | {} | {retry} | {} |", code.status().as_u16(), code.summary());
    }
    page
}
