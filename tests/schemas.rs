//! Schemas in a running fleet: two versions side by side, publishing, adopting, going back.

use std::fs;

use reqwest::{Method, StatusCode};
use serde_json::{Value as Json, json};

use crate::support::{Daemon, converged, stderr, stdout, until_true};

const ONE: &str = r#"
schema = "clinic"
version = 1
[collections.patient.fields]
name = { type = "text", required = true }
notes = { type = "text" }
visits = { type = "counter" }
"#;

/// Version 2 has one field more.
fn two() -> String {
    version(2, "phone = { type = \"text\" }\n")
}

fn version(version: u32, more: &str) -> String {
    let text = ONE.replace("version = 1", &format!("version = {version}"));
    [text.as_str(), more].concat()
}

fn found(name: &str, schema: &str) -> Daemon {
    Daemon::with_schema(name, None, schema)
}

async fn join(name: &str, other: &Daemon, schema: &str) -> Daemon {
    Daemon::with_schema(name, Some(&other.membership), schema)
        .peer(other)
        .await
}

/// Has a device adopt nothing by itself.
fn stay(device: &Daemon) {
    let path = device.dir().join("config.toml");
    let text = fs::read_to_string(&path).expect("a configuration");
    let text = text.replace("schema_follow = true", "schema_follow = false");
    fs::write(&path, text).expect("it is written");
}

fn write_file(device: &Daemon, name: &str, text: &str) -> String {
    let path = device.dir().join(name);
    fs::write(&path, text).expect("the file is written");
    path.display().to_string()
}

async fn in_use(device: &Daemon) -> u64 {
    device.get("/v1/schema").await["version"]
        .as_u64()
        .expect("a version")
}

async fn field(device: &Daemon, id: &str, name: &str) -> Json {
    device.record("patient", id).await["fields"][name].clone()
}

#[tokio::test]
async fn two_versions_share_a_mesh_and_each_reads_in_its_own_shape() {
    let a = found("a", ONE);
    stay(&a);
    let a = a.start().await;
    let b = join("b", &a, &two()).await.start().await;
    a.put(
        "patient",
        "p1",
        json!({"name": "Achieng", "visits": {"$add": 1}}),
    )
    .await;
    until_true("b has p1", || async { b.count("patient").await == 1 }).await;

    b.put(
        "patient",
        "p1",
        json!({"phone": "0700", "visits": {"$add": 2}}),
    )
    .await;
    until_true("a has both visits", || async {
        field(&a, "p1", "visits").await == 3
    })
    .await;
    a.put("patient", "p1", json!({"notes": "seen"})).await;
    until_true("b has the note", || async {
        field(&b, "p1", "notes").await == "seen"
    })
    .await;

    assert_eq!((in_use(&a).await, in_use(&b).await), (1, 2));
    assert_eq!(field(&a, "p1", "phone").await, Json::Null);
    assert_eq!(field(&b, "p1", "phone").await, "0700");
    let schema = a.get("/v1/schema").await;
    assert_eq!(
        (&schema["newest"], &schema["follow"]),
        (&json!(2), &json!(false))
    );
    let peers = a.get("/v1/peers").await;
    assert_eq!(peers["items"][0]["schema"]["version"], 2);
    assert_eq!(peers["items"][0]["schema_note"], Json::Null);
    let said = stdout(&a.cli(&["schema", "status"]));
    assert!(
        said.contains("version 2 is the newest: not followed here"),
        "{said}"
    );
}

/// What a visit was in version 1, and what became of it.
const VISIT_ONE: &str = r#"
schema = "clinic"
version = 1
[collections.visit]
label = "who"
[collections.visit.fields]
who  = { type = "text", required = true, min = 1 }
temp = { type = "number" }
tel  = { type = "text" }
fax  = { type = "text" }
"#;

const VISIT_TWO: &str = r#"
schema = "clinic"
version = 2
[collections.visit]
label = "family"
[collections.visit.fields]
given  = { type = "text" }
family = { type = "text", until = "2020-01-31" }
temp_c = { type = "number" }
phone  = { type = "text" }
state  = { type = "choice", of = ["open", "closed"] }
[[migrations]]
to = 2
steps = [
  { split = "visit.who", into = ["given", "family"], with = "first_space" },
  { convert = "visit.temp", as = "temp_c", with = "f_to_c" },
  { rename = "visit.tel", as = "phone" },
  { add = "visit.state", default = "open" },
  { remove = "visit.fax", was = { type = "text" } },
]
"#;

#[tokio::test]
async fn values_are_carried_between_the_versions_of_two_devices_both_ways() {
    let a = found("a", VISIT_ONE);
    stay(&a);
    let a = a.start().await;
    let b = join("b", &a, VISIT_TWO).await.start().await;
    let first = json!({"who": "Achieng Odhiambo", "temp": 98.6, "tel": "0700", "fax": "12"});
    a.put("visit", "v1", first).await;
    until_true("b has the visit", || async { b.count("visit").await == 1 }).await;

    let on_b = b.record("visit", "v1").await;
    assert_eq!(
        on_b["fields"],
        json!({"given": "Achieng", "family": "Odhiambo", "temp_c": 37.0, "phone": "0700", "state": "open"})
    );
    assert_eq!(on_b["legacy"], json!({"fax": "12"}));
    b.put(
        "visit",
        "v1",
        json!({"given": "Akinyi", "temp_c": 40.0, "state": "closed"}),
    )
    .await;
    until_true("a has the new name", || async {
        a.record("visit", "v1").await["fields"]["who"] == "Akinyi Odhiambo"
    })
    .await;

    let on_a = a.record("visit", "v1").await;
    assert_eq!(
        on_a["fields"],
        json!({"who": "Akinyi Odhiambo", "temp": 104.0, "tel": "0700", "fax": "12"})
    );
    assert_eq!(on_a["partial"], json!(["state (since version 2)"]));
    let why = stdout(&a.cli(&["get", "visit", "v1", "--why"]));
    assert!(why.contains("state (since version 2)"), "{why}");

    // Version 1 says no last day, but version 2 does, and everybody can see who still writes the field.
    b.put("visit", "v1", json!({"family": "Otieno"})).await;
    let ended = b.get("/v1/schema/devices").await["retired"].clone();
    let family = ended
        .as_array()
        .and_then(|fields| fields.iter().find(|f| f["field"] == "family"));
    let family = family.expect("the field with a last day");
    assert_eq!(
        (&family["until"], &family["devices"]),
        (&json!("2020-01-31"), &json!(1))
    );
    until_true("both have read the last name", || async {
        a.record("visit", "v1").await["fields"]["who"] == "Akinyi Otieno"
    })
    .await;
}

#[tokio::test]
async fn a_published_version_is_adopted_without_a_restart_and_can_be_left_again() {
    let a = found("a", ONE).start().await;
    let b = join("b", &a, ONE).await.start().await;
    a.put("patient", "p1", json!({"name": "Achieng"})).await;
    converged(&[&a, &b], "patient").await;

    let file = write_file(&b, "two.toml", &two());
    let said = b.cli(&["schema", "publish", &file]);
    assert!(said.status.success(), "{}", stderr(&said));
    assert_eq!(stdout(&said).trim(), "published clinic version 2");
    until_true("a is on version 2", || async { in_use(&a).await == 2 }).await;
    a.put("patient", "p1", json!({"phone": "0700"})).await;
    converged(&[&a, &b], "patient").await;
    let again: Json = b
        .good(Method::POST, "/v1/schema", Some(json!({"source": two()})))
        .await;
    assert_eq!(again["already"], true);

    let said = a.cli(&["schema", "use", "1"]);
    assert!(said.status.success(), "{}", stderr(&said));
    assert!(stdout(&said).contains("chosen here"), "{}", stdout(&said));
    assert_eq!(field(&a, "p1", "phone").await, Json::Null);
    let (status, problem) = a
        .ask(
            Method::PATCH,
            "/v1/collections/patient/records/p1",
            Some(json!({"phone": "1"})),
        )
        .await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    until_true("b sees that a is back on version 1", || async {
        b.get("/v1/peers").await["items"][0]["schema"]["version"] == 1
    })
    .await;
    a.put("patient", "p1", json!({"notes": "written under version 1"}))
        .await;
    until_true("b knows what a writes under", || async {
        let devices = b.get("/v1/schema/devices").await;
        let of_a = &devices["items"][1];
        of_a["name"] == "a" && of_a["wrote"] == 1 && of_a["uses"] == 1
    })
    .await;

    let back = a.cli(&["--json", "schema", "use", "2"]);
    assert!(back.status.success(), "{}", stderr(&back));
    assert_eq!(field(&a, "p1", "phone").await, "0700");
    assert!(a.log().contains("another version of the schema is in use"));
}

#[tokio::test]
async fn a_write_repeated_after_a_switch_of_the_schema_is_answered_as_it_was() {
    let a = found("a", ONE).start().await;
    a.good(Method::POST, "/v1/schema", Some(json!({"source": two()})))
        .await;
    until_true("a is on version 2", || async { in_use(&a).await == 2 }).await;
    // Version 1 can read none of these: it has no `phone`.
    let records = "/v1/collections/patient/records";
    let one = format!("{records}/p1?upsert=true");
    let body = json!({"name": "Achieng", "phone": "0700", "visits": {"$add": 1}});
    let edit = json!({"op": "create", "collection": "patient", "fields": body});
    let writes = [
        (Method::PATCH, one.as_str(), body.clone()),
        (Method::POST, records, body.clone()),
        (Method::POST, "/v1/batch", json!({"edits": [edit]})),
    ];
    let ask = async |at: usize, key: &str| {
        let (method, path, body) = writes[at].clone();
        let headers = [("Idempotency-Key", key)];
        let asked = a.ask_with(method, path, Some(body), &headers);
        asked.await.expect("an answer")
    };
    let mut first = Vec::new();
    for (at, key) in ["k0", "k1", "k2"].into_iter().enumerate() {
        let (status, reply) = ask(at, key).await;
        assert!(status.is_success(), "{reply}");
        first.push(reply);
    }

    let said = a.cli(&["schema", "use", "1"]);
    assert!(said.status.success(), "{}", stderr(&said));

    for (at, key) in ["k0", "k1", "k2"].into_iter().enumerate() {
        let (status, again) = ask(at, key).await;
        assert!(status.is_success(), "{again}");
        for part in ["id", "dot"] {
            assert_eq!(again[part], first[at][part], "{again}");
        }
        let (status, refused) = ask(at, "another key").await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
        assert_eq!(refused["code"], "invalid", "nothing was written with it");
    }
    assert_eq!(a.count("patient").await, 3);
    assert_eq!(field(&a, "p1", "visits").await, 1);
}

#[tokio::test]
async fn what_cannot_be_published_is_refused_with_its_reasons() {
    let a = found("a", ONE).start().await;
    let retyped = version(2, "").replace(
        "notes = { type = \"text\" }",
        "notes = { type = \"integer\" }",
    );
    let required = version(2, "").replace(
        "notes = { type = \"text\" }",
        "notes = { type = \"text\", required = true }",
    );
    let ask = async |source: &str| {
        let body = json!({ "source": source });
        let (status, problem) = a.ask(Method::POST, "/v1/schema", Some(body)).await;
        (
            status.as_u16(),
            problem["code"].clone(),
            problem["errors"].clone(),
        )
    };

    let (status, code, errors) = ask(&retyped).await;
    assert_eq!((status, code), (422, json!("schema_refused")));
    assert_eq!(errors[0]["pointer"], "/patient/notes");
    assert_eq!(ask("version = [").await.1, "schema_refused");
    assert_eq!(ask(&required).await.1, "schema_warnings");
    let other = ONE.replace("notes", "remarks");
    assert_eq!(ask(&other).await.1, "schema_version_taken");
    let (status, problem) = a
        .ask(
            Method::PUT,
            "/v1/schema/active",
            Some(json!({"version": 5})),
        )
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{problem}");
    assert_eq!(in_use(&a).await, 1);

    let file = write_file(&a, "required.toml", &required);
    let said = a.cli(&["schema", "publish", &file]);
    assert!(stderr(&said).contains("required now"), "{}", stderr(&said));
    let said = a.cli(&["schema", "publish", &file, "--force-warnings"]);
    assert!(said.status.success(), "{}", stderr(&said));
    assert_eq!(in_use(&a).await, 2);
}

#[tokio::test]
async fn a_kill_in_the_middle_of_a_refresh_leaves_everything_readable_and_it_ends_after_the_restart()
 {
    let mut a = found("a", ONE).start().await;
    for batch in 0..4 {
        let edit = |n: usize| {
            let id = format!("p{:04}", batch * 500 + n);
            json!({"op": "create", "collection": "patient", "id": id, "fields": {"name": id}})
        };
        let edits: Vec<Json> = (0..500).map(edit).collect();
        a.good(Method::POST, "/v1/batch", Some(json!({ "edits": edits })))
            .await;
    }

    a.good(Method::POST, "/v1/schema", Some(json!({"source": two()})))
        .await;
    a.kill();
    a.restart().await;

    assert_eq!(in_use(&a).await, 2);
    assert_eq!(a.shown("patient").await.len(), 2000);
    until_true("every record is shown under version 2", || async {
        a.get("/v1/schema").await["refresh"].is_null()
    })
    .await;
    assert_eq!(a.count("patient").await, 2000);
    assert!(a.log().contains("every record is shown under the schema"));
}

#[tokio::test]
async fn a_newer_file_is_published_at_the_start_and_an_incompatible_one_refused() {
    let mut a = found("a", ONE).start().await;
    let b = join("b", &a, ONE).await.start().await;
    a.put("patient", "p1", json!({"name": "Achieng"})).await;
    let address = a.address().await;

    a.terminate();
    let retyped = version(2, "").replace(
        "notes = { type = \"text\" }",
        "notes = { type = \"integer\" }",
    );
    write_file(&a, "schema.toml", &retyped);
    a.spawn();
    assert_ne!(a.wait(), Some(0));
    assert!(a.log().contains("cannot be used"), "{}", a.log());

    write_file(&a, "schema.toml", &two());
    let mut a = a.arg(&["--listen", &address]);
    a.restart().await;
    assert_eq!(in_use(&a).await, 2);
    until_true("b is on version 2", || async { in_use(&b).await == 2 }).await;
    let versions = b.get("/v1/schema").await["versions"].clone();
    let published = |version: usize| versions[version]["published"]["name"] == "a";
    assert!(published(0) && published(1), "{versions}");
    let text = b
        .stream("/v1/schema/2", &[])
        .await
        .text()
        .await
        .expect("a text");
    assert_eq!(text, two());
}
