//! `ogel api`: any request, for what has no command of its own.

use crate::{
    Context, Result,
    args::ApiArgs,
    failure::{Exit, Failure},
};
use bytes::Bytes;
use http::{HeaderMap, Method};
use ogel_client::RawResponse;
use serde_json::{Map, Value, json};
use std::{
    io::{IsTerminal as _, Read as _},
    path::Path,
};
use url::form_urlencoded;

pub(crate) async fn run(context: &Context, args: ApiArgs) -> Result {
    let method: Method = args
        .method
        .to_uppercase()
        .parse()
        .map_err(|_| Failure::usage(format!("`{}` is not an HTTP method", args.method)))?;
    let in_query = matches!(method, Method::GET | Method::HEAD | Method::DELETE);
    let path = if in_query { with_query(args.path, &args.field) } else { args.path };
    let body = match args.input {
        Some(file) => {
            Some(tokio::task::spawn_blocking(move || read(&file)).await.map_err(|_| unreadable("it broke"))??)
        }
        None if !in_query && !args.field.is_empty() => Some(object(args.field)?),
        None => None,
    };
    let client = context.client()?;
    let response = client.raw(method, &path, body).await.map_err(|error| context.explain(error))?;
    print(context, &response, args.include)?;
    match response.failure(&client) {
        Some(error) => Err(context.explain(error).reported()),
        None => Ok(()),
    }
}

fn with_query(path: String, fields: &[(String, String)]) -> String {
    if fields.is_empty() {
        return path;
    }
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{path}{separator}{query}")
}

fn object(fields: Vec<(String, String)>) -> Result<Bytes> {
    let object: Map<String, Value> = fields.into_iter().map(|(name, value)| (name, Value::String(value))).collect();
    serde_json::to_vec(&object).map(Bytes::from).map_err(|error| unreadable(&error.to_string()))
}

fn read(file: &Path) -> Result<Bytes> {
    let mut bytes = Vec::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().lock().read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|mut file| file.read_to_end(&mut bytes))
    };
    read.map_err(|error| unreadable(&format!("`{}`: {error}", file.display())))?;
    Ok(bytes.into())
}

fn unreadable(why: &str) -> Failure {
    Failure::new(Exit::Usage, "UNREADABLE_INPUT", format!("cannot read the body: {why}"))
}

/// The body as it came; with `--json` always a JSON document, and with `--include` one that has the headers too.
fn print(context: &Context, response: &RawResponse, include: bool) -> Result {
    let output = &context.output;
    let value: Option<Value> =
        if response.body.is_empty() { Some(Value::Null) } else { serde_json::from_slice(&response.body).ok() };
    if output.json {
        let value = value.unwrap_or_else(|| Value::String(String::from_utf8_lossy(&response.body).into_owned()));
        if !include {
            return output.json(&value);
        }
        let headers: Map<String, Value> =
            headers(&response.headers).map(|(name, value)| (name, Value::String(value))).collect();
        return output.json(&json!({"status": response.status.as_u16(), "headers": headers, "body": value}));
    }
    if include {
        let mut head = format!("HTTP/1.1 {}\n", response.status);
        for (name, value) in headers(&response.headers) {
            head.push_str(&format!("{name}: {value}\n"));
        }
        output.data(&head)?;
    }
    if response.body.is_empty() {
        return Ok(());
    }
    let is_terminal = std::io::stdout().is_terminal();
    match value {
        Some(value) if is_terminal => output.json(&value),
        _ => {
            output.bytes(&response.body)?;
            if is_terminal && !response.body.ends_with(b"\n") { output.bytes(b"\n") } else { Ok(()) }
        }
    }
}

fn headers(headers: &HeaderMap) -> impl Iterator<Item = (String, String)> {
    headers.iter().map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_go_into_a_query_that_may_be_there_already() {
        let field = [("branch".to_owned(), "a b&c".to_owned())];
        assert_eq!(with_query("deployments".to_owned(), &field), "deployments?branch=a+b%26c");
        assert_eq!(with_query("deployments?limit=1".to_owned(), &field), "deployments?limit=1&branch=a+b%26c");
    }
}
