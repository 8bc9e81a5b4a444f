//! `ogel billing`: tables that people read, JSON for everybody else.

use crate::{
    ogel::{Ogel, healthy},
    server::{Reply, Seen, Server},
};
use serde_json::{Value, json};

const ORGANIZATION: &str = "org_01h455vb4pex5vsknk084sn02q";
const INVOICE: &str = "inv_01h455vb4pex5vsknk084sn02q";
const START: &str = "2026-11-01T00:00:00.000Z";
const END: &str = "2026-12-01T00:00:00.000Z";

fn plan() -> Value {
    let usage = |metric: &str, included: i64| json!({"metric": metric, "included": included, "price": 1, "per": 60});
    json!({
        "plan": "pro", "name": "Pro", "price": 2000, "currency": "USD",
        "limits": {"requestsPerWindow": 100, "windowSeconds": 10, "deploymentsPerDay": 1000, "concurrentBuilds": 100,
                   "buildLogDays": 30},
        "usage": [usage("requests", 10_000_000), usage("egressBytes", 1_000_000_000_000), usage("buildSeconds", 1_440_000),
                  usage("deployments", 10_000)],
    })
}

fn line(kind: &str, description: &str, quantity: i64, amount: i64) -> Value {
    json!({"kind": kind, "description": description, "quantity": quantity, "amount": amount, "from": START, "to": END})
}

fn billing() -> Value {
    json!({
        "organizationId": ORGANIZATION, "plan": plan(), "periodStart": START, "periodEnd": END, "currency": "USD",
        "total": 2050, "forecast": 2150, "lines": [line("plan", "Plan Pro", 1, 2000),
        line("usage", "Requests beyond the 10,000,000 included", 2_500_000, 50)],
        "usage": [{"metric": "requests", "quantity": 12_500_000, "included": 10_000_000},
                  {"metric": "egressBytes", "quantity": 1_500_000, "included": 1_000_000_000_000i64}],
    })
}

fn invoice() -> Value {
    json!({
        "id": INVOICE, "organizationId": ORGANIZATION, "number": "2026-11-9c44f0a1b2c3", "status": "open",
        "periodStart": START, "periodEnd": END, "currency": "USD", "total": 2050, "lines": billing()["lines"],
        "createdAt": END, "paidAt": null,
    })
}

fn budget(paused: bool) -> Value {
    json!({
        "organizationId": ORGANIZATION, "amount": 5000, "currency": "USD", "alertsAt": [50, 100], "action": "pause",
        "spent": if paused { 5000 } else { 2600 }, "paused": paused, "alerts": [{"percent": 50, "at": START}], "updatedAt": START,
    })
}

fn preview() -> Value {
    json!({
        "from": "free", "to": "pro", "at": START, "periodStart": START, "periodEnd": END, "currency": "USD",
        "lines": [line("plan", "Plan Pro", 1, 1000)], "amount": 1000, "nextMonth": 2000,
    })
}

fn subscription() -> Value {
    json!({"organizationId": ORGANIZATION, "plan": "pro", "since": START, "periodStart": START, "periodEnd": END})
}

fn usage() -> Value {
    json!({"organizationId": ORGANIZATION, "from": START, "to": END, "groupBy": "day",
           "usage": [{"metric": "buildSeconds", "quantity": 3661, "from": START}]})
}

fn answers(seen: &Seen) -> Reply {
    let of = |rest: &str| format!("organizations/{ORGANIZATION}/billing{rest}");
    let (method, path) =
        seen.operation().split_once(' ').map(|(method, path)| (method.to_owned(), path.to_owned())).unwrap();
    let is = |wanted: &str, rest: &str| method == wanted && path == of(rest);
    if method == "GET" && path == "organizations" {
        let organization = json!({"id": ORGANIZATION, "name": "A", "slug": "a", "plan": "pro", "role": "owner", "createdAt": START, "updatedAt": START});
        return Reply::Json(
            200,
            json!({"organizations": [organization], "pagination": {"nextCursor": null, "hasMore": false}}),
        );
    }
    if method == "GET" && path == "billing/plans" {
        return Reply::Json(200, json!({"plans": [plan()]}));
    }
    match () {
        () if is("GET", "") => Reply::Json(200, billing()),
        () if is("POST", "/subscription/preview") => Reply::Json(200, preview()),
        () if is("PUT", "/subscription") => Reply::Json(200, subscription()),
        () if is("POST", "/portal-session") => Reply::Json(200, json!({"url": "https://pay.example/1"})),
        () if is("GET", "/usage") => Reply::Json(200, usage()),
        () if is("GET", "/invoices") => {
            Reply::Json(200, json!({"invoices": [invoice()], "pagination": {"nextCursor": null, "hasMore": false}}))
        }
        () if is("GET", &format!("/invoices/{INVOICE}")) => Reply::Json(200, invoice()),
        () if is("GET", &format!("/invoices/{INVOICE}/html")) => Reply::Text(200, "<!DOCTYPE html>x"),
        () if is("GET", "/budget") || is("PUT", "/budget") => Reply::Json(200, budget(method == "PUT")),
        () if is("DELETE", "/budget") => Reply::Text(204, ""),
        () => healthy(seen, "success"),
    }
}

#[tokio::test]
async fn json_is_what_the_server_said() {
    let server = Server::start(answers).await;
    let ogel = Ogel::at(&server);
    for (args, expected) in [
        (&["billing"][..], billing()),
        (&["billing", "plans"], json!([plan()])),
        (&["billing", "plan", "--organization", "a"], billing()),
        (&["billing", "change", "pro"], preview()),
        (&["billing", "change", "pro", "--yes"], subscription()),
        (&["billing", "portal"], json!({"url": "https://pay.example/1"})),
        (&["billing", "usage", "--by", "day"], usage()),
        (&["billing", "invoices"], json!([invoice()])),
        (&["billing", "invoice", INVOICE], invoice()),
        (&["billing", "budget"], budget(false)),
        (&["billing", "budget", "set", "50", "--pause"], budget(true)),
        (&["billing", "budget", "rm"], json!({"organizationId": ORGANIZATION})),
    ] {
        let ran = ogel.run(&[args, &["--json"]].concat()).await;
        assert_eq!((ran.code, ran.json()), (Some(0), expected), "{args:?}");
    }
}

#[tokio::test]
async fn people_get_tables_of_what_they_pay() {
    let server = Server::start(answers).await;
    let ogel = Ogel::at(&server);
    let mut all = String::new();
    for args in [
        &["billing"][..],
        &["billing", "plans"],
        &["billing", "usage", "--by", "day"],
        &["billing", "invoices"],
        &["billing", "invoice", INVOICE],
        &["billing", "budget"],
    ] {
        let ran = ogel.run(args).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        all.push_str(&ran.stdout);
        all.push('\n');
    }
    insta::assert_snapshot!(all, @r"
    plan      Pro ($20.00/month)
    period    2026-11-01 to 2026-12-01
    so far    $20.50
    forecast  $21.50

    USAGE     USED        INCLUDED    SHARE
    requests  12,500,000  10,000,000  125%
    traffic   1.5 MB      1 TB        0%

    DESCRIPTION                              QUANTITY   AMOUNT
    Plan Pro                                            $20.00
    Requests beyond the 10,000,000 included  2,500,000  $0.50
    total                                               $20.50

    PLAN  PRICE         RATE PER KEY  REQUESTS    TRAFFIC  BUILD TIME  DEPLOYMENTS  LOGS KEPT
    pro   $20.00/month  100/10 s      10,000,000  1 TB     400h        10,000       30 days

    DAY         USAGE       USED
    2026-11-01  build time  1h 1m

    MONTH    NUMBER                STATUS  TOTAL   ID
    2026-11  2026-11-9c44f0a1b2c3  open    $20.50  inv_01h455vb4pex5vsknk084sn02q

    invoice  2026-11-9c44f0a1b2c3
    period   2026-11-01 to 2026-12-01
    status   open

    DESCRIPTION                              QUANTITY   AMOUNT
    Plan Pro                                            $20.00
    Requests beyond the 10,000,000 included  2,500,000  $0.50
    total                                               $20.50

    budget        $50.00 a month
    so far        $26.00 (52%)
    alerts at     50%, 100%
    raised        50% on 2026-11-01
    when used up  owners are told, new deployments are refused
    ");
}

#[tokio::test]
async fn a_plan_is_changed_only_when_it_was_said_to() {
    let server = Server::start(answers).await;
    let ogel = Ogel::at(&server);
    let ran = ogel.run(&["billing", "change", "pro"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""));
    assert!(ran.stderr.contains("$10.00") && ran.stderr.contains("--yes"), "{ran:?}");
    let changes = || server.seen().iter().filter(|seen| seen.operation().starts_with("PUT ")).count();
    assert_eq!(changes(), 0);
    let ran = ogel.run(&["billing", "change", "pro", "--yes"]).await;
    assert_eq!((ran.code, ran.stdout.as_str(), changes()), (Some(0), "pro\n", 1));
}

#[tokio::test]
async fn a_budget_that_stops_deployments_says_so() {
    let server = Server::start(answers).await;
    let ogel = Ogel::at(&server);
    let ran = ogel.run(&["billing", "budget", "set", "50", "--pause", "--alert", "50", "--alert", "100"]).await;
    assert!(ran.stderr.contains("deployments are paused"), "{ran:?}");
    let body = server.seen().into_iter().find(|seen| seen.operation().starts_with("PUT ")).unwrap().body;
    assert_eq!(body, json!({"amount": 5000, "alertsAt": [50, 100], "action": "pause"}));
    let ran = ogel.run(&["billing", "budget", "set", "5,5"]).await;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let page = ogel.run(&["billing", "invoice", INVOICE, "--html"]).await;
    assert_eq!(page.stdout, "<!DOCTYPE html>x");
    assert_eq!(ogel.run(&["billing", "usage", "--from", "soon"]).await.code, Some(2));
}

#[tokio::test]
async fn a_budget_is_read_and_shown_in_the_minor_units_of_the_currency() {
    fn yen(seen: &Seen) -> Reply {
        in_currency(seen, "JPY")
    }
    fn dinars(seen: &Seen) -> Reply {
        in_currency(seen, "KWD")
    }
    for (script, typed, minor, shown, refused) in [
        (yen as fn(&Seen) -> Reply, "5000", 5000, "5,000 JPY a month", "5000.5"),
        (dinars, "4.25", 4250, "5.000 KWD a month", "4.2505"),
    ] {
        let server = Server::start(script).await;
        let ogel = Ogel::at(&server);
        let ran = ogel.run(&["billing", "budget", "set", typed]).await;
        assert!(ran.code == Some(0) && ran.stdout.contains(shown), "{ran:?}");
        let sent = || server.seen().into_iter().filter(|seen| seen.operation().starts_with("PUT ")).collect::<Vec<_>>();
        assert_eq!(sent()[0].body["amount"], minor);
        let ran = ogel.run(&["billing", "budget", "set", refused]).await;
        assert!(ran.code == Some(2) && ran.stderr.contains("write it like `"), "{ran:?}");
        assert_eq!(sent().len(), 1);
    }
}

fn in_currency(seen: &Seen, currency: &str) -> Reply {
    match answers(seen) {
        Reply::Json(status, mut body) => {
            if body.get("currency").is_some() {
                body["currency"] = currency.into();
            }
            Reply::Json(status, body)
        }
        other => other,
    }
}
