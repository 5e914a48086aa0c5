//! What happens in the demo, chapter by chapter.

use std::fs;

use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::fleet::Fleet;
use super::machine::{self, Machine};
use super::{Report, show};
use crate::cli::failure::{Exit, Failure};

/// Real places, so that the demo works on real data. GeoNames, CC BY 4.0; see `data/README.md`.
const PLACES: &str = include_str!("../../../data/places-kenya.csv");
/// How many places the file has.
const PLACE_COUNT: u64 = 113;

const CLINIC: usize = 0;
const AMINA: usize = 1;
const OTIENO: usize = 2;

/// Visits that a phone is syncing when it is killed, and how many go into one change set.
const VISITS: u64 = 8_000;
const VISITS_A_BATCH: usize = 100;
/// How often the demo tries to hit a sync in its middle.
const ATTEMPTS: usize = 4;

pub(super) async fn tell(fleet: &mut Fleet, report: &mut Report) -> Result<(), Failure> {
    meet(fleet, report).await?;
    part_and_edit(fleet, report).await?;
    merge(fleet, report).await?;
    decide(fleet, report).await?;
    kill_in_mid_sync(fleet, report).await?;
    kill_while_writing(fleet, report).await
}

async fn meet(fleet: &mut Fleet, report: &mut Report) -> Result<(), Failure> {
    report.chapter("1. Three devices: a clinic's hub and the phones of Amina and Otieno");
    for at in [CLINIC, AMINA, OTIENO] {
        fleet.start(at).await?;
    }
    let file = fleet.path("places-kenya.csv");
    fs::write(&file, PLACES).map_err(|error| Failure::io(file.display(), &error))?;
    let started = Instant::now();
    machine::import(&fleet.machines[CLINIC].dir, "place", &file, "geoname_id")?;
    for machine in &fleet.machines {
        machine.wait_for_count("place", PLACE_COUNT).await?;
    }
    let seconds = started.elapsed().as_secs_f64();
    report.check(
        true,
        format!(
            "{PLACE_COUNT} real places imported at the clinic are on all three ({seconds:.1} s)"
        ),
    );
    let p1 = json!({ "name": "Achieng Odhiambo", "phone": "0700 000 001", "diagnosis": "fever",
                     "village": "178040", "visits": {"$add": 1} });
    fleet.machines[CLINIC].patch("patient", "p1", p1).await?;
    fleet.machines[CLINIC]
        .patch("patient", "p2", json!({ "name": "Baraka Mwangi" }))
        .await?;
    for machine in &fleet.machines {
        machine.wait_for_count("patient", 2).await?;
    }
    let clinic = &fleet.machines[CLINIC];
    clinic
        .wait_until("both phones have its patients", || async {
            Ok(clinic.get("patient", "p1", false).await?["shared"] == 2)
        })
        .await?;
    report.check(
        true,
        "two patients registered at the clinic are on both phones, and the clinic knows it",
    );
    Ok(())
}

async fn part_and_edit(fleet: &Fleet, report: &mut Report) -> Result<(), Failure> {
    report.chapter("2. Both phones go where there is no network, and everybody goes on working");
    let [clinic, amina, otieno] = devices(fleet);
    for phone in [amina, otieno] {
        phone.set_online(false).await?;
    }
    clinic
        .patch("patient", "p1", json!({ "visits": {"$add": 1} }))
        .await?;
    amina
        .patch(
            "patient",
            "p1",
            json!({ "visits": {"$add": 2}, "phone": "0711 111 111", "diagnosis": "malaria" }),
        )
        .await?;
    otieno
        .patch(
            "patient",
            "p1",
            json!({ "visits": {"$add": 3}, "phone": "0722 222 222", "diagnosis": "typhoid" }),
        )
        .await?;
    amina.delete("patient", "p2", "registered twice").await?;
    otieno
        .patch("patient", "p2", json!({ "notes": "came with a cough" }))
        .await?;
    report.say("    Patient p1, as each device sees it:");
    let fields = ["visits", "phone", "diagnosis"];
    report.say(&side_by_side(fleet, "p1", &fields).await?);
    let local = amina.get("patient", "p1", false).await?;
    report.check(
        local["status"] == "local",
        "offline edits are saved at once, and shown as being on one device only",
    );
    Ok(())
}

async fn merge(fleet: &Fleet, report: &mut Report) -> Result<(), Failure> {
    report.chapter("3. They come back: the devices merge, and each can say why");
    let [clinic, amina, otieno] = devices(fleet);
    let started = Instant::now();
    for phone in [amina, otieno] {
        phone.set_online(true).await?;
    }
    for machine in [clinic, amina, otieno] {
        machine
            .wait_until("the visits of all three are summed", || async {
                Ok(machine.get("patient", "p1", false).await?["fields"]["visits"] == 7)
            })
            .await?;
        machine
            .wait_until("both reviews are open", || async {
                Ok(machine.reviews().await?.len() == 2)
            })
            .await?;
    }
    let seconds = started.elapsed().as_secs_f64();
    let fields = ["visits", "phone", "diagnosis"];
    report.say(&side_by_side(fleet, "p1", &fields).await?);
    report.say(&show::why(
        &otieno.get("patient", "p1", true).await?,
        &fields,
    ));
    report.say("\n    Patient p2, deleted by Amina while Otieno wrote to it:");
    report.say(&side_by_side(fleet, "p2", &["name", "notes"]).await?);
    report.say(&show::why(
        &clinic.get("patient", "p2", true).await?,
        &["!deleted"],
    ));
    let p1 = everywhere(fleet, "p1").await?;
    report.check(
        same(&p1, "fields"),
        format!("all three show the same patient ({seconds:.1} s after the phones came back)"),
    );
    report.check(
        p1[0]["fields"]["visits"] == 7,
        "the counter is the sum of everybody's visits: 1 + 1 + 2 + 3 = 7",
    );
    report.check(
        p1[0]["fields"]["phone"] == "0722 222 222",
        "the phone number is the one written last",
    );
    report.check(
        same(&p1, "reviews"),
        "the diagnosis waits for a person, under one name on every device",
    );
    let p2 = everywhere(fleet, "p2").await?;
    let contested = p2.iter().all(|record| record["life"] == "contested");
    report.check(
        contested,
        "the delete that raced an edit lost nothing: it waits for a person as well",
    );
    Ok(())
}

async fn decide(fleet: &Fleet, report: &mut Report) -> Result<(), Failure> {
    report.chapter("4. People decide, each on one device; all three learn of it");
    let [clinic, amina, otieno] = devices(fleet);
    let diagnosis = review_of(amina, "p1").await?;
    amina
        .resolve(
            &diagnosis,
            json!({ "value": "malaria", "note": "blood test positive" }),
        )
        .await?;
    let deletion = review_of(clinic, "p2").await?;
    clinic
        .resolve(
            &deletion,
            json!({ "keep": true, "note": "two people, not one" }),
        )
        .await?;
    for machine in [clinic, amina, otieno] {
        machine
            .wait_until("no review is open", || async {
                Ok(machine.reviews().await?.is_empty())
            })
            .await?;
    }
    report.say(&side_by_side(fleet, "p1", &["visits", "diagnosis"]).await?);
    report.say(&show::why(
        &otieno.get("patient", "p1", true).await?,
        &["diagnosis"],
    ));
    let p1 = everywhere(fleet, "p1").await?;
    let p2 = everywhere(fleet, "p2").await?;
    report.check(
        p1.iter()
            .all(|record| record["fields"]["diagnosis"] == "malaria"),
        "the diagnosis decided on Amina's phone holds on all three",
    );
    report.check(
        p2.iter().all(|record| record["life"] == "live"),
        "the patient kept at the clinic is alive on all three",
    );
    Ok(())
}

async fn kill_in_mid_sync(fleet: &mut Fleet, report: &mut Report) -> Result<(), Failure> {
    report.chapter("5. Otieno's phone dies in the middle of a sync (SIGKILL)");
    let (mut all, mut had) = (0, 0);
    // A fast machine may be done before the kill reaches it; then there is more to sync.
    for _ in 0..ATTEMPTS {
        fleet.machines[OTIENO].set_online(false).await?;
        let before = all;
        all += VISITS;
        register(&fleet.machines[CLINIC], before, all).await?;
        fleet.machines[OTIENO].set_online(true).await?;
        had = before;
        while had == before {
            had = fleet.machines[OTIENO].count("visit").await?;
        }
        fleet.machines[OTIENO].kill();
        if had < all {
            break;
        }
        fleet.start(OTIENO).await?;
    }
    report.say(&format!(
        "    killed when it had shown {had} of {all} visits"
    ));
    report.check(had < all, "the kill hit the sync in its middle");
    if had < all {
        fleet.start(OTIENO).await?;
    }
    let found = fleet.machines[OTIENO].count("visit").await?;
    let kept = format!("after the restart it still has all of them ({found})");
    report.check(found >= had, kept);
    fleet.machines[OTIENO].wait_for_count("visit", all).await?;
    report.check(
        true,
        format!("it took up where it was: {all} of {all} visits"),
    );
    Ok(())
}

/// Writes the visits numbered `from` to `to` at a device, a few dozen in each change set.
async fn register(machine: &Machine, from: u64, to: u64) -> Result<(), Failure> {
    for first in (from..to).step_by(VISITS_A_BATCH) {
        let last = (first + VISITS_A_BATCH as u64).min(to);
        machine.batch((first..last).map(visit).collect()).await?;
    }
    Ok(())
}

async fn kill_while_writing(fleet: &mut Fleet, report: &mut Report) -> Result<(), Failure> {
    report.chapter("6. Amina's phone dies while she is writing (SIGKILL), twice");
    let mut saved: u64 = 0;
    for _ in 0..2 {
        let mut this_life = 0;
        while this_life < 40 {
            let written = fleet.machines[AMINA].patch(
                "patient",
                "p3",
                json!({ "name": "Chebet", "visits": {"$add": 1} }),
            );
            written.await?;
            this_life += 1;
        }
        saved += this_life;
        fleet.machines[AMINA].kill();
        fleet.start(AMINA).await?;
    }
    let shown = fleet.machines[AMINA].get("patient", "p3", false).await?;
    report.check(
        shown["fields"]["visits"] == saved,
        format!("every one of the {saved} writes that she was told is saved is there"),
    );
    for machine in &fleet.machines {
        machine
            .wait_until("it shows them too", || async {
                Ok(machine
                    .get("patient", "p3", false)
                    .await
                    .is_ok_and(|r| r["fields"]["visits"] == saved))
            })
            .await?;
    }
    let amina = &fleet.machines[AMINA];
    amina
        .wait_until("the clinic has them", || async {
            Ok(amina.get("patient", "p3", false).await?["status"] == "synced")
        })
        .await?;
    report.check(
        true,
        "the other two have them as well; on her phone they now read \"synced\": the hub has them",
    );
    Ok(())
}

fn devices(fleet: &Fleet) -> [&Machine; 3] {
    [
        &fleet.machines[CLINIC],
        &fleet.machines[AMINA],
        &fleet.machines[OTIENO],
    ]
}

fn visit(number: u64) -> Json {
    let temperature = 36.0 + (number % 40) as f64 / 10.0;
    json!({ "op": "upsert", "collection": "visit", "id": format!("v{number:05}"),
            "fields": { "patient": "p1", "at": "2026-03-02T08:00:00Z", "temp_c": temperature } })
}

async fn review_of(machine: &Machine, record: &str) -> Result<String, Failure> {
    let reviews = machine.reviews().await?;
    let found = reviews.iter().find(|review| review["record_id"] == record);
    found
        .and_then(|review| review["id"].as_str().map(str::to_owned))
        .ok_or_else(|| {
            Failure::new(
                Exit::Failed,
                format!("no review of {record} on {}", machine.name),
            )
        })
}

async fn everywhere(fleet: &Fleet, id: &str) -> Result<Vec<Json>, Failure> {
    let mut records = Vec::new();
    for machine in &fleet.machines {
        records.push(machine.get("patient", id, false).await?);
    }
    Ok(records)
}

async fn side_by_side(fleet: &Fleet, id: &str, fields: &[&str]) -> Result<String, Failure> {
    let names: Vec<&str> = fleet.machines.iter().map(|machine| machine.name).collect();
    Ok(show::side_by_side(
        &names,
        &everywhere(fleet, id).await?,
        fields,
    ))
}

fn same(records: &[Json], part: &str) -> bool {
    records
        .iter()
        .all(|record| record[part] == records[0][part])
}
