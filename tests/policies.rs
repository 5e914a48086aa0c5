//! Every merge policy, its reviews and the history, between real daemons.

use reqwest::Method;
use serde_json::{Value as Json, json};

use crate::support::{Daemon, Membership, converged, stderr, stdout, until, until_true};

const SCHEMA: &str = r#"
schema = "depot"
version = 1
[collections.parcel]
label = "name"
[collections.parcel.fields]
name = { type = "text", required = true, merge = "review", provisional = "previous" }
blood = { type = "text", merge = "review", priority = "critical" }
weight = { type = "number", merge = "max" }
first_seen = { type = "date", merge = "min" }
stage = { type = "choice", of = ["packed", "sent", "received"], merge = "rank" }
stock = { type = "counter", min = 0 }
allowed = { type = "set", of = "text", merge = "remove-wins" }
notes = { type = "text", max = 20 }
"#;

const RECORD: &str = "/v1/collections/parcel/records/p";

async fn pair(other_schema: &str) -> (Daemon, Daemon) {
    let a = Daemon::with_schema("a", None, SCHEMA).start().await;
    let membership: Membership = a.membership.clone();
    let b = Daemon::with_schema("b", Some(&membership), other_schema)
        .peer(&a)
        .await
        .start()
        .await;
    (a, b)
}

/// Both devices write, neither having seen the other, and meet again.
async fn write_apart(a: &Daemon, b: &Daemon, first: Json, second: Json) -> Json {
    converged(&[a, b], "parcel").await;
    a.online(false).await;
    a.put("parcel", "p", first).await;
    b.put("parcel", "p", second).await;
    let heads = |record: &Json| record["heads"].as_array().map(Vec::len);
    a.online(true).await;
    until("both have both edits", || async {
        let shown = converged(&[a, b], "parcel").await;
        (heads(&shown[0]) == Some(2)).then(|| shown[0].clone())
    })
    .await
}

async fn refused(device: &Daemon, method: Method, path: &str, body: Json) -> (u16, String) {
    let (status, reply) = device.ask(method, path, Some(body)).await;
    let code = reply["errors"][0]["code"].as_str().unwrap_or_default();
    (status.as_u16(), code.to_owned())
}

#[tokio::test]
async fn each_policy_settles_concurrent_writes_in_its_own_way_on_every_device() {
    let (a, b) = pair(SCHEMA).await;
    let before = json!({
        "name": "Box", "weight": 1.0, "first_seen": "2026-05-05", "stage": "packed",
        "allowed": ["Ann", "Ben"], "stock": {"$add": 5},
    });
    a.put("parcel", "p", before).await;

    let merged = write_apart(
        &a,
        &b,
        json!({
            "name": "Red box", "weight": 9.5, "first_seen": "2026-06-06", "stage": "received",
            "allowed": {"$remove": "Ann"}, "stock": {"$add": -1},
        }),
        json!({
            "name": "Blue box", "weight": 2.0, "first_seen": "2026-04-04", "stage": "sent",
            "allowed": {"$insert": "Ann"}, "stock": {"$add": -2},
        }),
    )
    .await;

    assert_eq!(
        merged["fields"],
        json!({
            "name": "Box", "weight": 9.5, "first_seen": "2026-04-04", "stage": "received",
            "stock": 2, "allowed": ["Ben"],
        })
    );
    let review = &a.reviews().await[0];
    assert_eq!(
        (&review["provisional"], &review["shown"]),
        (&Json::Null, &json!("Box"))
    );
    assert_eq!(review["candidates"].as_array().map(Vec::len), Some(2));
    let why = stdout(&b.cli(&["get", "parcel", "p", "--why"]));
    for words in [
        "the greatest value of them wins",
        "the least value of them wins",
        "furthest along wins",
        "removes win",
        "the value from before them is shown",
    ] {
        assert!(why.contains(words), "{words:?} is not in\n{why}");
    }
    let id = review["id"].as_str().unwrap();
    let shown = stdout(&b.cli(&["review", "show", id]));
    assert!(shown.contains("Box from before is shown"), "{shown}");
}

#[tokio::test]
async fn a_rank_that_would_go_back_is_refused_and_nothing_is_written() {
    let a = Daemon::with_schema("a", None, SCHEMA).start().await;
    a.put("parcel", "p", json!({ "name": "Box", "stage": "sent" }))
        .await;

    for back in [json!({ "stage": "packed" }), json!({ "stage": null })] {
        let found = refused(&a, Method::PATCH, RECORD, back).await;
        assert_eq!(found, (422, "moves_back".to_owned()));
    }
    let said = a.cli(&["put", "parcel", "p", "stage=packed"]);
    assert_eq!(said.status.code(), Some(7));
    assert!(
        stderr(&said).contains("stage only moves forward: it is \"sent\""),
        "{}",
        stderr(&said)
    );

    a.put("parcel", "p", json!({ "stage": "received" })).await;
    assert_eq!(a.record("parcel", "p").await["fields"]["stage"], "received");
}

#[tokio::test]
async fn two_devices_that_hand_out_the_last_pack_open_a_review_that_a_count_closes() {
    let (a, b) = pair(SCHEMA).await;
    a.put(
        "parcel",
        "p",
        json!({ "name": "Gloves", "stock": {"$add": 1} }),
    )
    .await;
    let take = || json!({ "stock": {"$add": -1} });
    let merged = write_apart(&a, &b, take(), take()).await;
    assert_eq!(merged["fields"]["stock"], -1);

    let (left, right) = (a.reviews().await, b.reviews().await);
    assert_eq!(left, right);
    let review = &left[0];
    assert_eq!(
        (&review["about"], &review["field"]),
        (&json!("bounds"), &json!("stock"))
    );
    assert_eq!(review["problem"], "stock must be at least 0, found -1");
    // It may come nearer to its bounds and not go further away.
    assert_eq!(
        refused(&a, Method::PATCH, RECORD, take()).await,
        (422, "below_min".to_owned())
    );

    let id = review["id"].as_str().unwrap();
    let listed = stdout(&b.cli(&["review", "list"]));
    assert!(listed.contains("must be at least 0"), "{listed}");
    let wrong = b.cli(&["review", "resolve", id, "--value", "-4"]);
    assert_eq!(wrong.status.code(), Some(7), "{}", stderr(&wrong));
    let counted = b.cli(&["review", "resolve", id, "--value", "3"]);
    assert!(counted.status.success(), "{}", stderr(&counted));

    until_true("the review is closed on both", || async {
        a.reviews().await.is_empty() && b.reviews().await.is_empty()
    })
    .await;
    assert_eq!(a.record("parcel", "p").await["fields"]["stock"], 3);
}

#[tokio::test]
async fn a_value_from_a_device_with_another_schema_is_kept_shown_and_put_before_a_person() {
    let (a, b) = pair(&SCHEMA.replace(", max = 20", "")).await;
    let long = "a note that is longer than twenty characters";
    b.put("parcel", "p", json!({ "name": "Box", "notes": long }))
        .await;

    let review = until("the review is open", || async { a.reviews().await.pop() }).await;
    assert_eq!(a.record("parcel", "p").await["fields"]["notes"], long);
    assert_eq!(
        (&review["about"], &review["shown"]),
        (&json!("invalid"), &json!(long))
    );
    assert_eq!(
        review["problem"],
        "notes must be at most 20 characters long, found 44"
    );
    // Other fields of the record stay editable.
    a.put("parcel", "p", json!({ "weight": 2.0 })).await;
    let resolve = format!("/v1/reviews/{}/resolve", review["id"].as_str().unwrap());
    assert_eq!(
        refused(&a, Method::POST, &resolve, json!({ "candidate": 0 }))
            .await
            .0,
        422
    );

    let answer = json!({ "value": "short", "note": "said by phone" });
    a.good(Method::POST, &resolve, Some(answer)).await;

    assert!(a.reviews().await.is_empty());
    until_true("the other device has the answer", || async {
        b.record("parcel", "p").await["fields"]["notes"] == "short"
    })
    .await;
    let why = a.get(&format!("{RECORD}?why=true")).await;
    let notes = why["why"]
        .as_array()
        .unwrap()
        .iter()
        .find(|why| why["field"] == "notes");
    assert_eq!(
        notes.unwrap()["why"],
        "a person decided in a review: said by phone"
    );
}

#[tokio::test]
async fn reviews_of_critical_fields_are_listed_first_and_pages_keep_that_order() {
    let (a, b) = pair(SCHEMA).await;
    a.put("parcel", "p", json!({ "name": "Box", "blood": "A" }))
        .await;
    for n in 0..4 {
        a.put("parcel", &format!("q{n}"), json!({ "name": "Box" }))
            .await;
    }
    converged(&[&a, &b], "parcel").await;
    a.online(false).await;
    for (device, name) in [(&a, "Red"), (&b, "Blue")] {
        for n in 0..4 {
            device
                .put("parcel", &format!("q{n}"), json!({ "name": name }))
                .await;
        }
        device
            .put("parcel", "p", json!({ "name": name, "blood": name }))
            .await;
    }
    a.online(true).await;
    until_true("all reviews are open", || async {
        a.reviews().await.len() == 6
    })
    .await;

    let all = a.reviews().await;
    let mut paged = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = a.get(&format!("/v1/reviews?limit=2{cursor}")).await;
        assert_eq!(page["total"], 6);
        paged.extend(page["items"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }

    assert_eq!(paged, all);
    assert_eq!(
        (&all[0]["field"], &all[0]["priority"]),
        (&json!("blood"), &json!("critical"))
    );
    let ids: Vec<&str> = all[1..]
        .iter()
        .filter_map(|review| review["id"].as_str())
        .collect();
    assert!(ids.is_sorted());
    assert!(all[1..].iter().all(|review| review["priority"] == "normal"));
}

#[tokio::test]
async fn the_history_tells_every_edit_and_what_became_of_it_alike_on_every_device() {
    let (a, b) = pair(SCHEMA).await;
    let person = [("fieldmesh-person", "Achieng")];
    let path = format!("{RECORD}?upsert=true");
    let first = json!({ "name": "Box", "notes": "one" });
    a.ask_with(Method::PATCH, &path, Some(first), &person)
        .await
        .unwrap();
    write_apart(
        &a,
        &b,
        json!({ "notes": "two" }),
        json!({ "notes": "three", "weight": 1.5 }),
    )
    .await;
    write_apart(
        &a,
        &b,
        json!({ "stage": "sent" }),
        json!({ "stock": {"$add": 2} }),
    )
    .await;

    let told = a.get(&format!("{RECORD}/history")).await;
    assert_eq!(told, b.get(&format!("{RECORD}/history")).await);
    let items = told["items"].as_array().unwrap();
    assert_eq!((items.len(), &told["next"]), (5, &Json::Null));
    let find = |value: Json| {
        let mut ops = items.iter().flat_map(|item| {
            let ops = item["ops"].as_array().unwrap().iter();
            ops.map(move |op| (item, op))
        });
        ops.find(|(_, op)| op["value"] == value).unwrap()
    };
    let (one, two, three) = (find(json!("one")), find(json!("two")), find(json!("three")));
    assert_eq!(
        (&one.0["person"], &one.0["device_name"]),
        (&json!("Achieng"), &json!("a"))
    );
    assert_eq!(one.1["fate"], "superseded");
    let (lost, won) = match two.1["fate"] == "lost" {
        true => (two, three),
        false => (three, two),
    };
    assert_eq!(
        (&lost.1["by"], &won.1["fate"]),
        (&won.0["dot"], &json!("stands"))
    );
    assert_eq!(
        (&lost.0["conflicts"][0], &lost.0["concurrent"]),
        (&won.0["dot"], &json!(1))
    );
    let (sent, added) = (find(json!("sent")), find(json!(2)));
    assert_eq!(
        (&sent.0["parallel"][0], &added.1["fate"]),
        (&added.0["dot"], &json!("stands"))
    );
}

#[tokio::test]
async fn a_history_is_paged_by_cursor_and_asked_for_in_vain_with_an_error() {
    let a = Daemon::with_schema("a", None, SCHEMA).start().await;
    for n in 0..5 {
        a.put("parcel", "p", json!({ "name": format!("Box {n}") }))
            .await;
    }
    let told = a.get(&format!("{RECORD}/history")).await;
    let items = told["items"].as_array().unwrap();

    let page = a.get(&format!("{RECORD}/history?limit=3")).await;
    let next = page["next"].as_str().unwrap();
    let rest = a.get(&format!("{RECORD}/history?cursor={next}")).await;
    let paged: Vec<Json> = [&page, &rest]
        .iter()
        .flat_map(|page| page["items"].as_array().unwrap().clone())
        .collect();
    assert_eq!(&paged, items);
    assert_eq!(rest["next"], Json::Null);
    for (path, status) in [
        (format!("{RECORD}/history?cursor=nonsense"), 400),
        (format!("{RECORD}/history?limit=0"), 400),
        (
            "/v1/collections/parcel/records/none/history".to_owned(),
            404,
        ),
        ("/v1/collections/none/records/p/history".to_owned(), 404),
    ] {
        let (found, reply) = a.try_get(&path).await.unwrap();
        assert_eq!(found.as_u16(), status, "{path}: {reply}");
    }
}

#[tokio::test]
async fn the_history_is_read_at_a_terminal_line_by_line_or_as_json() {
    let a = Daemon::with_schema("a", None, SCHEMA).start().await;
    for fields in [
        json!({ "name": "Box", "allowed": ["Ann"] }),
        json!({ "name": "Crate", "stock": {"$add": 3} }),
    ] {
        a.put("parcel", "p", fields).await;
    }
    a.delete("parcel", "p").await;

    let text = stdout(&a.cli(&["history", "parcel", "p"]));
    for words in [
        "name = Box  superseded by change ",
        "name = Crate  stands",
        "allowed: Ann put in  stands",
        "stock +3  stands",
        "record deleted  stands",
    ] {
        assert!(text.contains(words), "{words:?} is not in\n{text}");
    }
    let lines = stdout(&a.cli(&["--json", "history", "parcel", "p", "--limit", "2"]));
    let kinds: Vec<Json> = lines
        .lines()
        .map(|line| serde_json::from_str::<Json>(line).unwrap()["ops"][0]["kind"].clone())
        .collect();
    assert_eq!(kinds, ["delete", "set"]);
    assert_eq!(a.cli(&["history", "parcel", "none"]).status.code(), Some(4));
}
