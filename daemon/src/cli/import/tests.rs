//! Whole imports into a small stand-in for the daemon: batches that are all or nothing, idempotency
//! keys, entity tags, and a line that can be cut.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json as Body, Router};
use serde_json::{Map, Value as Json, json};

use super::*;
use crate::api::types::{BatchEdit, BatchOp, BatchRequest, IDEMPOTENCY_HEADER};
use crate::cli::client::Target;
use crate::config::SOCKET_FILE;

const SCHEMA: &str = "schema = \"s\"\nversion = 1\n[collections.stock.fields]\n\
    item = { type = \"text\", required = true }\non_hand = { type = \"counter\" }\n";

#[derive(Default)]
struct Daemon {
    /// Fields, and how often the record was written.
    records: BTreeMap<String, (Map<String, Json>, u64)>,
    /// Request by key.
    keys: BTreeMap<String, Json>,
    /// Batches after which every request fails.
    batches_left: Option<u64>,
    /// Ids that are refused as deleted.
    deleted: Vec<String>,
}

type Shared = Arc<Mutex<Daemon>>;

fn problem(status: StatusCode, code: &str, pointer: &str) -> Response {
    let body = json!({
        "type": "about:blank", "title": code, "status": status.as_u16(), "detail": code, "code": code,
        "errors": [{"pointer": pointer, "code": code, "message": code}], "retryable": false,
        "hint": "",
    });
    (status, Body(body)).into_response()
}

async fn record(State(daemon): State<Shared>, UrlPath(id): UrlPath<String>) -> Response {
    let daemon = daemon.lock().unwrap();
    let Some((fields, writes)) = daemon.records.get(&id) else {
        return problem(StatusCode::NOT_FOUND, "not_found", "");
    };
    Body(json!({
        "id": id, "collection": "stock", "space": "main", "fields": fields, "life": "live",
        "status": "local", "shared": 0, "reviews": [], "etag": writes.to_string(),
        "updated": "2026-01-01T00:00:00Z", "heads": [],
    }))
    .into_response()
}

async fn batch(
    State(daemon): State<Shared>,
    headers: HeaderMap,
    Body(request): Body<BatchRequest>,
) -> Response {
    let mut daemon = daemon.lock().unwrap();
    let key = headers[IDEMPOTENCY_HEADER].to_str().unwrap().to_owned();
    let asked = serde_json::to_value(&request).unwrap();
    if let Some(before) = daemon.keys.get(&key) {
        return if *before == asked {
            answer(true)
        } else {
            problem(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "",
            )
        };
    }
    match &mut daemon.batches_left {
        Some(0) => return problem(StatusCode::INSUFFICIENT_STORAGE, "disk_full", ""),
        Some(left) => *left -= 1,
        None => {}
    }
    let mut records = daemon.records.clone();
    for (index, edit) in request.edits.iter().enumerate() {
        if let Err((status, code)) = apply(&mut records, &daemon.deleted, edit) {
            return problem(status, code, &format!("/edits/{index}"));
        }
    }
    daemon.records = records;
    daemon.keys.insert(key, asked);
    answer(false)
}

fn answer(replayed: bool) -> Response {
    let dot = format!("{}:1", "00".repeat(16));
    let body =
        json!({"dot": dot, "time": "2026-01-01T00:00:00Z", "replayed": replayed, "records": []});
    Body(body).into_response()
}

fn apply(
    records: &mut BTreeMap<String, (Map<String, Json>, u64)>,
    deleted: &[String],
    edit: &BatchEdit,
) -> Result<(), (StatusCode, &'static str)> {
    let id = edit.id.clone().unwrap();
    let held = records.get(&id);
    let tag = held.map(|(_, writes)| writes.to_string());
    if deleted.contains(&id) {
        return Err((StatusCode::CONFLICT, "deleted"));
    }
    if edit.op == BatchOp::Create && held.is_some() {
        return Err((StatusCode::CONFLICT, "already_exists"));
    }
    if edit.if_match.is_some() && edit.if_match != tag {
        return Err((StatusCode::PRECONDITION_FAILED, "changed"));
    }
    let (fields, writes) = records.entry(id).or_default();
    for (name, value) in edit.fields.iter().flatten() {
        let sum = |add| fields.get(name).and_then(Json::as_i64).unwrap_or(0) + add;
        let value = value["$add"]
            .as_i64()
            .map_or_else(|| value.clone(), |add| sum(add).into());
        fields.insert(name.clone(), value);
    }
    *writes += 1;
    Ok(())
}

struct World {
    dir: tempfile::TempDir,
    client: Client,
    daemon: Shared,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let daemon = Shared::default();
        let schema = || async {
            Body(json!({"name": "s", "version": 1, "source": SCHEMA, "collections": []}))
        };
        let router = Router::new()
            .route("/v1/schema", get(schema))
            .route("/v1/collections/stock/records/{id}", get(record))
            .route("/v1/batch", post(batch))
            .with_state(daemon.clone());
        let listener = tokio::net::UnixListener::bind(dir.path().join(SOCKET_FILE)).unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let target = Target {
            dir: dir.path().to_owned(),
            api: None,
            token: None,
            space: None,
            person: None,
        };
        Self {
            client: Client::new(target).unwrap(),
            dir,
            daemon,
        }
    }

    async fn import(&self, file: &str, flags: impl Fn(&mut ImportArgs)) -> Result<Exit, Failure> {
        let path = self.dir.path().join("stock.csv");
        fs::write(&path, file).unwrap();
        let mut args = ImportArgs {
            collection: "stock".to_owned(),
            file: path,
            format: None,
            id: None,
            map: Vec::new(),
            dry_run: false,
            skip_bad: false,
            again: false,
        };
        flags(&mut args);
        import(&self.client, args, Output::new(false, true)).await
    }

    fn on_hand(&self, id: &str) -> Option<i64> {
        self.daemon
            .lock()
            .unwrap()
            .records
            .get(id)?
            .0
            .get("on_hand")?
            .as_i64()
    }

    fn writes(&self) -> u64 {
        self.daemon
            .lock()
            .unwrap()
            .records
            .values()
            .map(|(_, writes)| writes)
            .sum()
    }
}

fn rows(count: u64) -> String {
    let rows = (0..count).map(|n| format!("s{n},gloves,{}\n", n + 1));
    std::iter::once("id,item,on_hand\n".to_owned())
        .chain(rows)
        .collect()
}

#[tokio::test]
async fn an_import_that_was_cut_off_goes_on_where_it_stopped_and_adds_nothing_twice() {
    let world = World::new();
    world.daemon.lock().unwrap().batches_left = Some(2);

    let failure = world.import(&rows(450), |_| {}).await.unwrap_err();
    assert!(
        failure.to_string().contains("400 of 450 rows are in"),
        "{failure}"
    );
    world.daemon.lock().unwrap().batches_left = None;
    world.import(&rows(450), |_| {}).await.unwrap();

    assert_eq!(world.writes(), 450);
    assert_eq!(
        (world.on_hand("s0"), world.on_hand("s449")),
        (Some(1), Some(450))
    );
}

#[tokio::test]
async fn a_daemon_that_has_forgotten_the_keys_still_adds_nothing_twice() {
    let world = World::new();
    world.import(&rows(3), |_| {}).await.unwrap();
    world.daemon.lock().unwrap().keys.clear();

    world.import(&rows(3), |_| {}).await.unwrap();

    assert_eq!(
        (world.on_hand("s0"), world.on_hand("s2")),
        (Some(1), Some(3))
    );
}

#[tokio::test]
async fn a_counter_is_brought_to_the_files_value() {
    let world = World::new();
    world
        .import("id,item,on_hand\ns1,gloves,10\n", |_| {})
        .await
        .unwrap();

    world
        .import("id,item,on_hand\ns1,gloves,4\n", |_| {})
        .await
        .unwrap();

    assert_eq!(world.on_hand("s1"), Some(4));
}

#[tokio::test]
async fn one_bad_row_means_that_nothing_is_written() {
    let world = World::new();
    let file = "id,item,on_hand\ns1,gloves,1\ns2,gloves,many\n";

    let failure = world.import(file, |_| {}).await.unwrap_err();

    assert_eq!(failure.exit, Exit::Invalid);
    assert!(
        failure.to_string().contains("nothing was written"),
        "{failure}"
    );
    assert_eq!(world.writes(), 0);
}

#[tokio::test]
async fn bad_rows_are_skipped_when_asked_also_those_that_only_the_daemon_knows() {
    let world = World::new();
    world.daemon.lock().unwrap().deleted = vec!["s2".to_owned()];
    let file = "id,item,on_hand\ns1,gloves,1\ns2,gloves,2\ns3,gloves,many\ns4,gloves,4\n";

    let failure = world.import(file, |_| {}).await.unwrap_err();
    assert_eq!(failure.exit, Exit::Invalid);
    world
        .import(file, |args| args.skip_bad = true)
        .await
        .unwrap();

    let ids: Vec<String> = world
        .daemon
        .lock()
        .unwrap()
        .records
        .keys()
        .cloned()
        .collect();
    assert_eq!(ids, ["s1", "s4"]);
}

#[tokio::test]
async fn a_refusal_names_the_line_of_the_file() {
    let world = World::new();
    world.daemon.lock().unwrap().deleted = vec!["s2".to_owned()];

    let failure = world
        .import("id,item\ns1,gloves\n\ns2,gloves\n", |_| {})
        .await
        .unwrap_err();

    assert_eq!(failure.exit, Exit::Conflict);
    assert!(failure.to_string().contains("line 4: deleted"), "{failure}");
    assert_eq!(world.writes(), 0);
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let world = World::new();

    world
        .import(&rows(3), |args| args.dry_run = true)
        .await
        .unwrap();

    assert_eq!(world.writes(), 0);
}

#[tokio::test]
async fn a_file_without_a_required_column_updates_records_and_makes_none() {
    let world = World::new();
    world
        .import("id,item,on_hand\ns1,gloves,1\n", |_| {})
        .await
        .unwrap();

    let failure = world
        .import("id,on_hand\ns1,5\nnew,5\n", |_| {})
        .await
        .unwrap_err();
    assert_eq!(
        (failure.exit, world.on_hand("s1")),
        (Exit::Invalid, Some(1))
    );
    world.import("id,on_hand\ns1,5\n", |_| {}).await.unwrap();

    assert_eq!((world.on_hand("s1"), world.on_hand("new")), (Some(5), None));
}

#[tokio::test]
async fn an_import_is_written_anew_only_when_asked() {
    let world = World::new();
    let file = "id,item\ns1,gloves\n";
    world.import(file, |_| {}).await.unwrap();

    world.import(file, |_| {}).await.unwrap();
    assert_eq!(world.writes(), 1);
    world.import(file, |args| args.again = true).await.unwrap();

    assert_eq!(world.writes(), 2);
}

#[tokio::test]
async fn rows_without_ids_are_the_same_records_in_every_run() {
    let world = World::new();
    let file = "item\ngloves\nsyringes\n";

    world.import(file, |_| {}).await.unwrap();
    world.import(file, |args| args.again = true).await.unwrap();

    assert_eq!(world.daemon.lock().unwrap().records.len(), 2);
}

#[tokio::test]
async fn a_utf_16_file_is_refused_with_advice() {
    let world = World::new();
    let path = world.dir.path().join("wide.csv");
    fs::write(&path, [0xff, 0xfe, b'i', 0, b'd', 0]).unwrap();

    let failure = world
        .import("", |args| args.file = path.clone())
        .await
        .unwrap_err();

    assert!(failure.to_string().contains("UTF-8"), "{failure}");
}
