//! The local API as an app on the device sees it.

use reqwest::Method;
use serde_json::{Value as Json, json};

use crate::support::{Daemon, until_true};

const P: &str = "/v1/collections/patient/records";

async fn refused(
    daemon: &Daemon,
    method: Method,
    path: &str,
    body: Json,
    status: u16,
    code: &str,
) -> Json {
    let (found, reply) = daemon.ask(method.clone(), path, Some(body)).await;
    assert_eq!(
        (found.as_u16(), reply["code"].as_str()),
        (status, Some(code)),
        "{method} {path}: {reply}"
    );
    assert!(
        !reply["title"].as_str().unwrap_or_default().is_empty(),
        "{reply}"
    );
    assert!(
        !reply["detail"].as_str().unwrap_or_default().is_empty(),
        "{reply}"
    );
    reply
}

#[tokio::test]
async fn bad_records_are_refused_with_the_place_and_lose_nothing() {
    let a = Daemon::found("a").start().await;
    a.put(
        "patient",
        "p",
        json!({ "name": "Amina", "visits": {"$add": 1} }),
    )
    .await;
    let path = format!("{P}/p");
    for (fields, pointer, code) in [
        (json!({ "nmae": "x" }), "/nmae", "unknown_field"),
        (json!({ "name": 5 }), "/name", "wrong_type"),
        (json!({ "name": null }), "/name", "missing_required"),
        (json!({ "visits": 3 }), "/visits", "counter_needs_add"),
        (json!({ "born": "2026-13-40" }), "/born", "wrong_type"),
        (
            json!({ "name": "ok", "visits": {"$mul": 2} }),
            "/visits",
            "bad_intent",
        ),
    ] {
        let reply = refused(&a, Method::PATCH, &path, fields, 422, "invalid").await;
        assert_eq!(reply["errors"][0]["pointer"], pointer, "{reply}");
        assert_eq!(reply["errors"][0]["code"], code, "{reply}");
    }
    refused(&a, Method::POST, P, json!({ "phone": "1" }), 422, "invalid").await;
    refused(
        &a,
        Method::POST,
        P,
        json!({ "id": "p", "name": "x" }),
        409,
        "already_exists",
    )
    .await;
    refused(
        &a,
        Method::PATCH,
        &format!("{P}/none"),
        json!({ "name": "x" }),
        404,
        "not_found",
    )
    .await;
    refused(
        &a,
        Method::POST,
        "/v1/collections/pateint/records",
        json!({}),
        404,
        "unknown_collection",
    )
    .await;
    let record = a.record("patient", "p").await;
    assert_eq!(record["fields"], json!({ "name": "Amina", "visits": 1 }));
    assert_eq!(a.get("/v1/status").await["store"]["entries"], 1);
}

#[tokio::test]
async fn a_batch_is_one_change_set_or_nothing() {
    let a = Daemon::found("a").start().await;
    let bad = json!({ "edits": [
        { "op": "create", "collection": "patient", "id": "p", "fields": { "name": "Amina" } },
        { "op": "create", "collection": "visit", "id": "v", "fields": { "patient": "p", "temp_c": 60 } },
    ]});
    let reply = refused(&a, Method::POST, "/v1/batch", bad, 422, "invalid").await;
    assert_eq!(reply["errors"][0]["pointer"], "/edits/1/fields/temp_c");
    assert_eq!(a.count("patient").await, 0);

    let good = json!({ "edits": [
        { "op": "create", "collection": "patient", "id": "p", "fields": { "name": "Amina" } },
        { "op": "create", "collection": "visit", "id": "v", "fields": { "patient": "p", "temp_c": 39.5 } },
    ]});
    a.good(Method::POST, "/v1/batch", Some(good)).await;

    assert_eq!((a.count("patient").await, a.count("visit").await), (1, 1));
    assert_eq!(a.get("/v1/status").await["store"]["entries"], 1);
}

#[tokio::test]
async fn a_retried_write_takes_effect_once_even_across_a_restart() {
    let mut a = Daemon::found("a").start().await;
    let body = json!({ "name": "Amina", "visits": {"$add": 1} });
    let path = format!("{P}/p?upsert=true");
    let key = [("Idempotency-Key", "k1")];
    let first = a
        .ask_with(Method::PATCH, &path, Some(body.clone()), &key)
        .await
        .unwrap();
    a.kill();
    a.restart().await;

    let again = a
        .ask_with(Method::PATCH, &path, Some(body), &key)
        .await
        .unwrap();

    assert_eq!(again.1["etag"], first.1["etag"]);
    assert_eq!(a.record("patient", "p").await["fields"]["visits"], 1);
    let other = json!({ "visits": {"$add": 9} });
    let (status, reply) = a
        .ask_with(Method::PATCH, &path, Some(other), &key)
        .await
        .unwrap();
    assert_eq!(
        (status.as_u16(), reply["code"].as_str()),
        (422, Some("idempotency_key_reused"))
    );
}

#[tokio::test]
async fn lists_filter_on_any_field_and_page_by_cursor() {
    let a = Daemon::found("a").start().await;
    for n in 0..25 {
        let sex = if n % 2 == 0 { "female" } else { "male" };
        a.put(
            "patient",
            &format!("p{n:02}"),
            json!({ "name": format!("N{n}"), "sex": sex, "visits": {"$add": n} }),
        )
        .await;
    }
    let mut ids = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = a
            .get(&format!(
                "{P}?limit=7&filter=sex:eq:female&filter=visits:ge:4{cursor}"
            ))
            .await;
        ids.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|r| r["id"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let expected: Vec<String> = (4..25).step_by(2).map(|n| format!("p{n:02}")).collect();
    assert_eq!(ids, expected);
    refused(
        &a,
        Method::GET,
        &format!("{P}?filter=sx:eq:female"),
        Json::Null,
        400,
        "bad_request",
    )
    .await;
}

#[tokio::test]
async fn an_entity_tag_guards_against_overwriting() {
    let a = Daemon::found("a").start().await;
    let first = a.put("patient", "p", json!({ "name": "Amina" })).await;
    let old = first["etag"].as_str().unwrap().to_owned();
    a.put("patient", "p", json!({ "notes": "x" })).await;

    let tag = format!("\"{old}\"");
    let (status, reply) = a
        .ask_with(
            Method::PATCH,
            &format!("{P}/p"),
            Some(json!({ "notes": "y" })),
            &[("If-Match", &tag)],
        )
        .await
        .unwrap();

    assert_eq!(
        (status.as_u16(), reply["code"].as_str()),
        (412, Some("changed"))
    );
    assert_eq!(a.record("patient", "p").await["fields"]["notes"], "x");
}

#[tokio::test]
async fn why_names_the_winner_the_losers_and_the_reason() {
    let a = Daemon::found("a").start().await;
    let b = Daemon::beside("b", &a).await;
    a.put("patient", "p", json!({ "name": "Amina" })).await;
    until_true("b has it", || async { b.count("patient").await == 1 }).await;
    a.online(false).await;
    a.put("patient", "p", json!({ "phone": "1" })).await;
    b.put("patient", "p", json!({ "phone": "2" })).await;
    a.online(true).await;
    until_true("merged", || async {
        a.record("patient", "p").await["fields"]["phone"] == "2"
    })
    .await;

    let record = a.get(&format!("{P}/p?why=true")).await;

    let why = record["why"]
        .as_array()
        .unwrap()
        .iter()
        .find(|why| why["field"] == "phone")
        .unwrap();
    assert_eq!(
        (why["policy"].as_str(), why["value"].as_str()),
        (Some("lww"), Some("2"))
    );
    assert_eq!(why["winner"]["device_name"], "b");
    assert_eq!(why["others"][0]["device_name"], "a");
    assert_eq!(why["others"][0]["value"], "1");
    assert!(why["why"].as_str().unwrap().contains("latest"), "{why}");
}

#[tokio::test]
async fn the_change_feed_resumes_where_it_was_left() {
    let a = Daemon::found("a").start().await;
    for n in 0..5 {
        a.put("patient", &format!("p{n}"), json!({ "name": "x" }))
            .await;
    }
    let first = a.get("/v1/changes?feed=normal&since=0&limit=3").await;
    let ids = |page: &Json| -> Vec<String> {
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids(&first), ["p0", "p1", "p2"]);
    let cursor = first["cursor"]
        .as_str()
        .map_or_else(|| first["cursor"].to_string(), str::to_owned);

    let rest = a
        .get(&format!("/v1/changes?feed=normal&since={cursor}"))
        .await;

    assert_eq!(ids(&rest), ["p3", "p4"]);
}

/// Reads server-sent events until `count` changes have come; their record ids, and the last event's id.
async fn changes(mut stream: reqwest::Response, count: usize) -> (Vec<String>, String) {
    let (mut text, mut ids, mut last) = (String::new(), Vec::new(), String::new());
    while ids.len() < count {
        let chunk = tokio::time::timeout(crate::support::PATIENCE, stream.chunk()).await;
        let chunk = chunk
            .expect("an event")
            .expect("a whole reply")
            .expect("no end");
        text.push_str(&String::from_utf8_lossy(&chunk));
        while let Some(end) = text.find("\n\n") {
            let event: String = text.drain(..end + 2).collect();
            for line in event.lines() {
                if let Some(id) = line.strip_prefix("id:") {
                    last = id.trim().to_owned();
                }
                if let Some(data) = line.strip_prefix("data:")
                    && let Ok(change) = serde_json::from_str::<Json>(data)
                    && let Some(id) = change["id"].as_str()
                {
                    ids.push(id.to_owned());
                }
            }
        }
    }
    (ids, last)
}

#[tokio::test]
async fn changes_arrive_as_events_and_go_on_after_the_last_one_seen() {
    let a = Daemon::found("a").start().await;
    a.put("patient", "p0", json!({ "name": "x" })).await;
    let stream = a.stream("/v1/changes?since=0", &[]).await;
    a.put("patient", "p1", json!({ "name": "x" })).await;
    let (ids, last) = changes(stream, 2).await;
    assert_eq!(ids, ["p0", "p1"]);

    a.put("patient", "p2", json!({ "name": "x" })).await;
    let resumed = a.stream("/v1/changes", &[("Last-Event-ID", &last)]).await;

    assert_eq!(changes(resumed, 1).await.0, ["p2"]);
}

#[tokio::test]
async fn the_tcp_port_wants_the_token_and_a_local_host_name() {
    let a = Daemon::found("a").start().await;
    let api = a.get("/v1/status").await["network"]["api"]
        .as_str()
        .expect("the API's address")
        .to_owned();
    let token = std::fs::read_to_string(a.dir().join("api.token"))
        .unwrap()
        .trim()
        .to_owned();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let ask = |path: &str, token: Option<&str>, host: Option<&str>| {
        let mut request = http.get(format!("http://{api}{path}"));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(host) = host {
            request = request.header("Host", host);
        }
        async { request.send().await.unwrap().status().as_u16() }
    };

    assert_eq!(ask("/v1/status", Some(&token), None).await, 200);
    assert_eq!(ask("/v1/status", None, None).await, 401);
    assert_eq!(ask("/v1/status", Some("wrong"), None).await, 401);
    assert_eq!(
        ask("/v1/status", Some(&token), Some("evil.example")).await,
        403
    );
    assert_eq!(ask("/healthz", None, None).await, 200);
}
