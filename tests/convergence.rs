//! Devices that have never met end with the same records.

use serde_json::json;

use crate::support::{Daemon, converged, until, until_true};

async fn pair() -> (Daemon, Daemon) {
    let a = Daemon::found("a").start().await;
    let b = Daemon::beside("b", &a).await;
    (a, b)
}

#[tokio::test]
async fn two_daemons_that_never_met_end_with_the_same_records() {
    let mut a = Daemon::found("a").start().await;
    let b = Daemon::join("b", &a.membership).start().await;
    for n in 0..50 {
        a.put(
            "patient",
            &format!("a{n}"),
            json!({ "name": format!("A {n}") }),
        )
        .await;
        b.put(
            "patient",
            &format!("b{n}"),
            json!({ "name": format!("B {n}"), "visits": {"$add": n} }),
        )
        .await;
    }
    assert_eq!(
        (a.count("patient").await, b.count("patient").await),
        (50, 50)
    );

    a.kill();
    let mut a = a.peer(&b).await;
    a.restart().await;

    let shown = converged(&[&a, &b], "patient").await;
    assert_eq!(shown.len(), 100);
}

#[tokio::test]
async fn concurrent_edits_merge_by_the_policy_of_each_field() {
    let (a, b) = pair().await;
    a.put(
        "patient",
        "p",
        json!({ "name": "Amina", "visits": {"$add": 1}, "allergies": ["dust"] }),
    )
    .await;
    converged(&[&a, &b], "patient").await;
    a.online(false).await;
    a.put("patient", "p", json!({ "visits": {"$add": 2}, "phone": "1", "name": "Aminah", "allergies": {"$remove": "dust"} })).await;
    b.put("patient", "p", json!({ "visits": {"$add": 4}, "phone": "2", "name": "Aamina", "allergies": {"$insert": ["dust", "nuts"]} })).await;

    a.online(true).await;

    let shown = until("both edits are merged", || async {
        let shown = converged(&[&a, &b], "patient").await;
        (shown[0]["fields"]["visits"] == 7).then_some(shown)
    })
    .await;
    let record = &shown[0];
    assert_eq!(record["fields"]["phone"], "2");
    assert_eq!(record["fields"]["name"], "Aamina");
    assert_eq!(record["fields"]["allergies"], json!(["dust", "nuts"]));
    assert_eq!(record["reviews"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_review_resolved_on_one_device_is_resolved_on_all_and_stays_so() {
    let (a, b) = pair().await;
    let c = Daemon::join("c", &a.membership)
        .peer(&a)
        .await
        .peer(&b)
        .await
        .start()
        .await;
    a.put("patient", "p", json!({ "name": "Amina" })).await;
    converged(&[&a, &b, &c], "patient").await;
    for device in [&a, &b] {
        device.online(false).await;
    }
    a.put("patient", "p", json!({ "name": "Aminah" })).await;
    b.put("patient", "p", json!({ "name": "Aamina" })).await;
    for device in [&a, &b] {
        device.online(true).await;
    }
    let review = until("the review is open on the third device", || async {
        c.reviews()
            .await
            .first()
            .and_then(|review| review["id"].as_str().map(str::to_owned))
    })
    .await;

    let answer = json!({ "value": "Amina Hassan", "note": "birth card" });
    c.good(
        reqwest::Method::POST,
        &format!("/v1/reviews/{review}/resolve"),
        Some(answer),
    )
    .await;

    for device in [&a, &b, &c] {
        until_true("no review is open", || async {
            device.reviews().await.is_empty()
        })
        .await;
    }
    // More syncs, with nothing new and with something new, do not open it again.
    a.online(false).await;
    b.put("patient", "p", json!({ "notes": "later" })).await;
    a.online(true).await;
    until_true("the note has arrived", || async {
        a.record("patient", "p").await["fields"]["notes"] == "later"
    })
    .await;
    for device in [&a, &b, &c] {
        let record = device.record("patient", "p").await;
        assert_eq!(record["fields"]["name"], "Amina Hassan");
        assert!(device.reviews().await.is_empty());
    }
    let (status, gone) = a
        .ask(
            reqwest::Method::POST,
            &format!("/v1/reviews/{review}/resolve"),
            Some(json!({ "candidate": 0 })),
        )
        .await;
    assert_eq!(
        (status.as_u16(), gone["code"].as_str()),
        (409, Some("review_resolved"))
    );
}

#[tokio::test]
async fn counters_are_exact_when_clients_retry_and_peers_deliver_twice() {
    let a = Daemon::found("a").start().await;
    let b = Daemon::beside("b", &a).await;
    // Both dial both, and a third one relays, so that entries arrive more than once.
    let c = Daemon::join("c", &a.membership)
        .peer(&a)
        .await
        .peer(&b)
        .await
        .start()
        .await;
    let mut sum = 0;
    for n in 0..30i64 {
        let key = format!("visit-{n}");
        for device in [&a, &b, &c] {
            for _ in 0..2 {
                let (status, reply) = device
                    .ask_with(
                        reqwest::Method::PATCH,
                        "/v1/collections/patient/records/p?upsert=true",
                        Some(json!({ "name": "Amina", "visits": {"$add": n} })),
                        &[("Idempotency-Key", &key)],
                    )
                    .await
                    .expect("the daemon answers");
                assert!(status.is_success(), "{status} {reply}");
            }
            sum += n;
        }
        if n % 10 == 0 {
            b.online(false).await;
            b.online(true).await;
        }
    }

    until_true("all three show the sum", || async {
        let mut all = true;
        for device in [&a, &b, &c] {
            all &= device.record("patient", "p").await["fields"]["visits"] == sum;
        }
        all
    })
    .await;
}

#[tokio::test]
async fn the_status_of_a_record_says_who_holds_it() {
    let a = Daemon::found("a").start().await;
    a.put("patient", "p", json!({ "name": "Amina" })).await;
    assert_eq!(a.record("patient", "p").await["status"], "local");

    let b = Daemon::beside("b", &a).await;
    until_true("b holds it", || async {
        a.record("patient", "p").await["status"] == "shared"
    })
    .await;
    assert_eq!(a.record("patient", "p").await["shared"], 1);

    let hub = Daemon::join("hub", &a.membership)
        .peer(&b)
        .await
        .arg(&["--hub"])
        .start()
        .await;
    until_true("the hub has told b", || async {
        b.record("patient", "p").await["status"] == "synced"
    })
    .await;
    // The hub knows a only through b, and counts what b holds.
    assert_eq!(hub.record("patient", "p").await["status"], "shared");
}

#[tokio::test(flavor = "multi_thread")]
async fn spaces_other_than_main_are_exchanged_as_well() {
    let (a, b) = pair().await;
    let path = "/v1/collections/patient/records/p?upsert=true&space=clinic/kisumu";
    a.good(
        reqwest::Method::PATCH,
        path,
        Some(json!({ "name": "Amina" })),
    )
    .await;

    let path = "/v1/collections/patient/records/p?space=clinic/kisumu";
    until_true("b has the record of the new space", || async {
        b.try_get(path)
            .await
            .is_ok_and(|(status, _)| status.is_success())
    })
    .await;
    assert_eq!(
        b.try_get("/v1/collections/patient/records/p")
            .await
            .unwrap()
            .0
            .as_u16(),
        404
    );
}

#[tokio::test]
async fn deletes_that_race_edits_wait_for_a_person_and_lose_nothing() {
    let (a, b) = pair().await;
    a.put("patient", "p", json!({ "name": "Amina" })).await;
    converged(&[&a, &b], "patient").await;
    a.online(false).await;
    a.delete("patient", "p").await;
    b.put("patient", "p", json!({ "notes": "seen today" }))
        .await;
    assert_eq!(a.record("patient", "p").await["life"], "deleted");

    a.online(true).await;

    let review = until("both show the conflict", || async {
        let (left, right) = (a.reviews().await, b.reviews().await);
        let same = left.len() == 1 && right.len() == 1 && left[0]["id"] == right[0]["id"];
        same.then(|| left[0]["id"].as_str().expect("an id").to_owned())
    })
    .await;
    for device in [&a, &b] {
        let record = device.record("patient", "p").await;
        assert_eq!(
            (record["life"].as_str(), record["fields"]["notes"].as_str()),
            (Some("contested"), Some("seen today"))
        );
    }
    b.good(
        reqwest::Method::POST,
        &format!("/v1/reviews/{review}/resolve"),
        Some(json!({ "keep": false })),
    )
    .await;
    until_true("both show it deleted", || async {
        a.record("patient", "p").await["life"] == "deleted"
            && b.record("patient", "p").await["life"] == "deleted"
    })
    .await;
}

/// How many large records the phone lacks: several times what may be under way to it.
const BULK: u64 = 3_000;

const VISITS: &str = r#"
schema = "visits"
version = 1
[collections.patient.fields]
name = { type = "text" }
notes = { type = "text" }
"#;

/// A device that is joined to another one, under the schema above.
async fn beside(name: &str, other: &Daemon) -> Daemon {
    let daemon = Daemon::with_schema(name, Some(&other.membership), VISITS);
    daemon.peer(other).await.start().await
}

#[tokio::test]
async fn what_a_person_writes_reaches_a_phone_that_is_being_filled() {
    let hub = Daemon::with_schema("hub", None, VISITS).start().await;
    let notes = "what was found on the visit, ".repeat(70);
    for first in (0..BULK).step_by(100) {
        let edits: Vec<_> = (first..(first + 100).min(BULK))
            .map(|n| json!({ "op": "create", "collection": "patient", "id": format!("p{n}"), "fields": { "notes": format!("{n} {notes}") } }))
            .collect();
        let body = json!({ "edits": edits });
        hub.good(reqwest::Method::POST, "/v1/batch", Some(body))
            .await;
    }
    let tablet = beside("tablet", &hub).await;
    until_true("the tablet is full", || async {
        tablet.count("patient").await == BULK
    })
    .await;
    drop(hub);
    let phone = beside("phone", &tablet).await;
    until_true("the phone is being filled", || async {
        phone.count("patient").await > 0
    })
    .await;

    // While the phone takes nothing, what is under way to it is as much as there may be.
    phone.signal("STOP");
    tablet
        .put("patient", "visit", json!({ "name": "Achieng" }))
        .await;
    phone.signal("CONT");

    let path = "/v1/collections/patient/records/visit";
    until_true("the phone shows the visit", || async {
        phone.try_get(path).await.is_ok_and(|(code, _)| code == 200)
    })
    .await;
    let held = phone.count("patient").await;
    assert!(
        held <= BULK,
        "the visit came after all of the {BULK} records"
    );
    until_true("the phone is full", || async {
        phone.count("patient").await == BULK + 1
    })
    .await;
}
