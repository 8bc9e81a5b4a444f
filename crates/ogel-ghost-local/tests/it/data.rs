//! Databases, collections, documents and the queries over them.

use http::Method;
use serde_json::{Value, json};

use crate::support::{Ghost, ghost};

const DOCUMENTS: &str = "/v1/projects/shop/databases/main/collections/books/documents";

async fn library(ghost: &Ghost) {
    let database = json!({ "databaseId": "main", "name": "Main" });
    assert_eq!(ghost.call(Method::POST, "/v1/projects/shop/databases", database).await.0, 201);
    let collection = json!({ "collectionId": "books", "name": "Books" });
    assert_eq!(ghost.call(Method::POST, "/v1/projects/shop/databases/main/collections", collection).await.0, 201);
    for (id, title, year, lent) in [
        ("a", "Dune", 1965, true),
        ("b", "Emma", 1815, false),
        ("c", "Ubik", 1969, false),
        ("d", "It's \"x\"", 1965, true),
    ] {
        let body = json!({ "documentId": id, "data": { "title": title, "year": year, "lent": lent } });
        assert_eq!(ghost.call(Method::POST, DOCUMENTS, body).await.0, 201);
    }
}

async fn ask(ghost: &Ghost, queries: &[Value]) -> (u16, Value) {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for one in queries {
        query.append_pair("queries[]", &one.to_string());
    }
    let (status, body) = ghost.call(Method::GET, &format!("{DOCUMENTS}?{}", query.finish()), Value::Null).await;
    (status.as_u16(), body)
}

#[tokio::test]
async fn documents_are_found_by_queries() {
    let (ghost, _dir) = ghost().await;
    library(&ghost).await;
    let q = |method: &str, attribute: &str, values: Value| json!({ "method": method, "attribute": attribute, "values": values });
    let page = |method: &str, value: Value| json!({ "method": method, "values": [value] });
    let by_year = q("orderDesc", "year", json!([]));
    let cases = [
        (vec![], 4, "abcd"),
        (vec![q("equal", "title", json!(["Dune", "Emma"]))], 2, "ab"),
        (vec![q("equal", "lent", json!([true]))], 2, "ad"),
        (vec![q("notEqual", "year", json!([1965]))], 2, "bc"),
        (vec![q("greaterThan", "year", json!([1965]))], 1, "c"),
        (vec![q("between", "year", json!([1800, 1965]))], 3, "abd"),
        (vec![q("startsWith", "title", json!(["It's \""]))], 1, "d"),
        (vec![q("endsWith", "title", json!(["ik"]))], 1, "c"),
        (vec![q("contains", "title", json!(["mm"]))], 1, "b"),
        (vec![q("isNull", "missing", json!([]))], 4, "abcd"),
        (vec![q("equal", "$id", json!(["c"]))], 1, "c"),
        (vec![by_year.clone()], 4, "cadb"),
        (vec![by_year.clone(), page("limit", json!(2))], 4, "ca"),
        (vec![by_year, page("cursorAfter", json!("a")), page("limit", json!(2))], 4, "db"),
        (vec![page("offset", json!(3))], 4, "d"),
    ];
    for (queries, total, ids) in cases {
        let (status, body) = ask(&ghost, &queries).await;
        assert_eq!((status, &body["total"]), (200, &json!(total)), "{queries:?}: {body}");
        let found: Vec<&str> =
            body["documents"].as_array().unwrap().iter().map(|d| d["$id"].as_str().unwrap()).collect();
        assert_eq!(found.concat(), ids, "{queries:?}");
    }
    for (query, kind) in [
        (json!("nonsense"), "general_argument_invalid"),
        (q("explode", "year", json!([1])), "general_query_invalid"),
        (q("equal", "a\") OR 1=1 --", json!([1])), "general_query_invalid"),
        (page("limit", json!(1000)), "general_query_invalid"),
        (page("cursorAfter", json!("none")), "general_cursor_not_found"),
    ] {
        let (status, body) = ask(&ghost, std::slice::from_ref(&query)).await;
        assert_eq!((status, body["type"].as_str().unwrap()), (400, kind), "{query}");
    }
    ghost.inner.shutdown().await;
}

#[tokio::test]
async fn data_is_changed_and_removed_and_takes_along_what_is_inside() {
    let (ghost, _dir) = ghost().await;
    library(&ghost).await;
    let one = format!("{DOCUMENTS}/a");
    let (_, body) = ghost.call(Method::PATCH, &one, json!({ "data": { "year": 1966 } })).await;
    assert_eq!(
        (&body["title"], &body["year"], &body["$collectionId"]),
        (&json!("Dune"), &json!(1966), &json!("books"))
    );
    let (_, body) = ghost.call(Method::PATCH, &one, json!({ "data": { "$id": "z" } })).await;
    assert_eq!(body["type"], "document_invalid_structure");
    let (_, body) = ghost.call(Method::POST, DOCUMENTS, json!({ "documentId": "a", "data": {} })).await;
    assert_eq!(body["type"], "document_already_exists");
    assert_eq!(ghost.call(Method::DELETE, &one, Value::Null).await.0, 204);
    assert_eq!(ghost.call(Method::GET, &one, Value::Null).await.1["type"], "document_not_found");
    let database = "/v1/projects/shop/databases/main";
    let (_, body) = ghost.call(Method::PATCH, database, json!({ "name": "Other", "enabled": false })).await;
    assert_eq!((&body["name"], &body["enabled"]), (&json!("Other"), &json!(false)));
    let list = ghost.get("/v1/projects/shop/databases").await;
    assert_eq!((&list["total"], &list["documents"][0]["enabled"]), (&json!(1), &json!(false)));
    assert_eq!(ghost.get(&format!("{database}/collections")).await["documents"][0]["name"], "Books");
    assert_eq!(ghost.call(Method::DELETE, database, Value::Null).await.0, 204);
    assert_eq!(ghost.call(Method::GET, DOCUMENTS, Value::Null).await.1["type"], "database_not_found");
    ghost.inner.shutdown().await;
}
