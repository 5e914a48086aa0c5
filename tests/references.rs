//! References, rules, roles and answers, between real daemons.

use reqwest::Method;
use serde_json::{Value as Json, json};

use crate::support::{Daemon, converged, stderr, stdout, until};

const SCHEMA: &str = r#"
schema = "field"
version = 1
[roles]
supervisor = { review = ["*"] }
chw = { review = ["visit"] }
[collections.place]
delete = "edit-wins"
[collections.place.fields]
name = { type = "text" }
[collections.visit.fields]
asks = { type = "ref", to = "place" }
goes = { type = "ref", to = "place", on_delete = "cascade" }
loose = { type = "ref", to = "place", on_delete = "detach" }
seen = { type = "text", merge = "review" }
[collections.stock.fields]
shelf = { type = "ref", to = "place", on_delete = "review" }
on_hand = { type = "counter" }
[collections.room.fields]
place = { type = "ref", to = "clinic", on_delete = "restrict" }
[collections.clinic.fields]
name = { type = "text" }
[[review]]
in = "stock"
when = "on_hand < 0"
reason = "Stock went negative"
name = "negative"
"#;

/// Two devices of one organisation, the first a supervisor, the second a health worker.
async fn pair() -> (Daemon, Daemon) {
    let a = with_role(Daemon::with_schema("a", None, SCHEMA), "supervisor")
        .start()
        .await;
    let b = Daemon::with_schema("b", Some(&a.membership), SCHEMA);
    let b = with_role(b, "chw").peer(&a).await.start().await;
    (a, b)
}

fn with_role(device: Daemon, role: &str) -> Daemon {
    let path = device.dir().join("config.toml");
    let config = std::fs::read_to_string(&path).expect("init writes it");
    std::fs::write(&path, format!("{config}role = \"{role}\"\n")).expect("it is written");
    device
}

/// Waits until both show the same of the record, and that is as wanted.
async fn agreed(
    a: &Daemon,
    b: &Daemon,
    name: &str,
    id: &str,
    wanted: impl Fn(&Json) -> bool,
) -> Json {
    until(&format!("{name}/{id} is as wanted"), || async {
        let shown = converged(&[a, b], name).await;
        shown
            .into_iter()
            .find(|record| record["id"] == id && wanted(record))
    })
    .await
}

async fn resolve(device: &Daemon, id: &str, answer: Json) -> (u16, Json) {
    let path = format!("/v1/reviews/{id}/resolve");
    let (status, reply) = device.ask(Method::POST, &path, Some(answer)).await;
    (status.as_u16(), reply)
}

fn review_of(record: &Json) -> String {
    record["reviews"][0].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn each_mode_of_deletion_is_judged_alike_on_both_devices() {
    let (a, b) = pair().await;
    a.put("place", "p", json!({ "name": "Kibos" })).await;
    a.put("clinic", "c", json!({ "name": "Ahero" })).await;
    converged(&[&a, &b], "place").await;
    agreed(&a, &b, "clinic", "c", |_| true).await;
    a.online(false).await;
    a.delete("place", "p").await;
    a.delete("clinic", "c").await;
    b.put("visit", "asks", json!({ "asks": "p" })).await;
    b.put("visit", "goes", json!({ "goes": "p" })).await;
    b.put("visit", "loose", json!({ "loose": "p" })).await;
    b.put("room", "r", json!({ "place": "c" })).await;
    a.online(true).await;

    let asks = agreed(&a, &b, "visit", "asks", |record| {
        record["reviews"] != json!([])
    })
    .await;
    let goes = agreed(&a, &b, "visit", "goes", |record| {
        record["life"] == "deleted"
    })
    .await;
    let loose = agreed(&a, &b, "visit", "loose", |record| {
        record["fields"] == json!({})
    })
    .await;
    let clinic = agreed(&a, &b, "clinic", "c", |record| {
        record["life"] == "contested"
    })
    .await;

    assert_eq!(
        (&asks["life"], &loose["life"]),
        (&json!("live"), &json!("live"))
    );
    assert_eq!(goes["fields"]["goes"], "p");
    let shown = b.get(&format!("/v1/reviews/{}", review_of(&asks))).await;
    assert_eq!(
        (&shown["about"], &shown["problem"]),
        (
            &json!("reference"),
            &json!("it refers to place/p, which is deleted")
        )
    );
    let why = stdout(&b.cli(&["get", "visit", "goes", "--why"]));
    assert!(
        why.contains("place/p is deleted, and this record with it"),
        "{why}"
    );
    let (status, reply) = resolve(
        &a,
        &review_of(&clinic),
        json!({ "accept": true, "note": "closed" }),
    )
    .await;
    assert_eq!(status, 200, "{reply}");
    agreed(&a, &b, "clinic", "c", |record| record["life"] == "deleted").await;
    a.good(
        Method::POST,
        "/v1/collections/place/records/p/restore",
        None,
    )
    .await;
    agreed(&a, &b, "visit", "goes", |record| record["life"] == "live").await;
    agreed(&a, &b, "visit", "loose", |record| {
        record["fields"]["loose"] == "p"
    })
    .await;
    agreed(&a, &b, "visit", "asks", |record| {
        record["reviews"] == json!([])
    })
    .await;
}

#[tokio::test]
async fn a_record_waits_for_its_parent_and_a_held_one_is_not_deleted() {
    let (a, b) = pair().await;
    a.put("room", "r", json!({ "place": "c" })).await;
    let waits = agreed(&a, &b, "room", "r", |_| true).await;
    assert_eq!(waits["waiting"], json!(["clinic/c"]));
    let shown = stdout(&b.cli(&["get", "room", "r"]));
    assert!(shown.contains("waiting for clinic/c"), "{shown}");

    b.put("clinic", "c", json!({ "name": "Ahero" })).await;

    agreed(&a, &b, "room", "r", |record| {
        record.get("waiting").is_none()
    })
    .await;
    let path = "/v1/collections/clinic/records/c";
    let (status, reply) = b.ask(Method::DELETE, path, None).await;
    assert_eq!(
        (status.as_u16(), &reply["code"]),
        (409, &json!("referenced"))
    );
    assert!(
        reply["detail"].as_str().unwrap().contains("room/r"),
        "{reply}"
    );
}

#[tokio::test]
async fn a_rule_opens_a_review_that_only_the_right_role_accepts() {
    let (a, b) = pair().await;
    b.put("stock", "s", json!({ "on_hand": { "$add": -2 } }))
        .await;
    let open = agreed(&a, &b, "stock", "s", |record| {
        record["reviews"] != json!([])
    })
    .await;
    let id = review_of(&open);

    let listed = b.reviews().await[0].clone();
    let refused = resolve(&b, &id, json!({ "accept": true })).await;

    assert_eq!(
        (&listed["about"], &listed["rule"]),
        (&json!("rule"), &json!("negative"))
    );
    assert_eq!(
        (&listed["problem"], &listed["may_resolve"]),
        (&json!("Stock went negative"), &json!(false))
    );
    assert_eq!(
        (refused.0, &refused.1["code"]),
        (403, &json!("not_allowed"))
    );
    assert!(
        refused.1["detail"].as_str().unwrap().contains("supervisor"),
        "{}",
        refused.1
    );
    let said = a.cli(&[
        "review",
        "resolve",
        &id,
        "--accept",
        "--note",
        "lent to Ahero",
    ]);
    assert!(said.status.success(), "{}", stderr(&said));
    agreed(&a, &b, "stock", "s", |record| {
        record["reviews"] == json!([])
    })
    .await;
    let answered = b.get(&format!("/v1/reviews/{id}")).await;
    assert_eq!(
        (&answered["answers"][0]["note"], &answered["about"]),
        (&json!("lent to Ahero"), &json!("rule"))
    );
    let told = stdout(&b.cli(&["history", "stock", "s"]));
    assert!(told.contains("accepted as it is"), "{told}");
    b.put("stock", "s", json!({ "on_hand": { "$add": -1 } }))
        .await;
    let again = agreed(&a, &b, "stock", "s", |record| {
        record["reviews"] != json!([])
    })
    .await;
    assert_ne!(review_of(&again), id);
}

#[tokio::test]
async fn an_answered_review_says_who_decided_and_can_be_revisited() {
    let (a, b) = pair().await;
    a.put("visit", "v", json!({ "seen": "fever" })).await;
    agreed(&a, &b, "visit", "v", |_| true).await;
    a.online(false).await;
    a.put("visit", "v", json!({ "seen": "malaria" })).await;
    b.put("visit", "v", json!({ "seen": "typhoid" })).await;
    a.online(true).await;
    let open = agreed(&a, &b, "visit", "v", |record| {
        record["reviews"] != json!([])
    })
    .await;
    let id = review_of(&open);
    a.online(false).await;
    assert_eq!(
        resolve(&b, &id, json!({ "value": "flu", "note": "test" }))
            .await
            .0,
        200
    );
    assert_eq!(resolve(&a, &id, json!({ "value": "cold" })).await.0, 200);
    a.online(true).await;
    let both = until("both answers are known", || async {
        converged(&[&a, &b], "visit").await;
        let review = a.get(&format!("/v1/reviews/{id}")).await;
        (review["answers"].as_array().map(Vec::len) == Some(2)).then_some(review)
    })
    .await;
    assert_eq!(both["candidates"].as_array().map(Vec::len), Some(2));

    let (status, reply) = resolve(&b, &id, json!({ "candidate": 0 })).await;
    let (again, record) = resolve(&b, &id, json!({ "candidate": 0, "revisit": true })).await;

    assert_eq!((status, &reply["code"]), (409, &json!("review_resolved")));
    let detail = reply["detail"].as_str().unwrap();
    assert!(
        detail.contains("decided on") && detail.contains("revisit"),
        "{detail}"
    );
    assert_eq!(
        (again, &record["fields"]["seen"]),
        (200, &both["candidates"][0]["value"])
    );
    agreed(&a, &b, "visit", "v", |shown| {
        shown["fields"] == record["fields"]
    })
    .await;
    let shown = a.cli(&["review", "show", &id]);
    let (answers, advice) = (stdout(&shown), stderr(&shown));
    assert!(answers.contains("decided: "), "{answers}");
    assert!(advice.contains("--revisit --pick N"), "{advice}");
}
