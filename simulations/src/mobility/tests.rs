//! Each shape of mobility, and what holds of all lists.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::time::{DAY_MS, HOUR_MS};

const DRAW: Draw = Draw::new(3);

fn mobility(toml: &str) -> Mobility {
    toml::from_str(toml).expect("a good description")
}

fn market() -> Mobility {
    mobility(
        "kind = \"market\"\nevery_days = 7\nfirst_day = 2\nfrom_h = 8\nto_h = 14\nspread_min = 45\nclass = \"wifi\"",
    )
}

fn hub() -> Mobility {
    mobility(
        "kind = \"hub\"\nhub = 0\nfrom_h = 18\nto_h = 22\nonline_min = 20\ndays_per_cent = 70\nclass = \"cell2g\"",
    )
}

fn shuttle() -> Mobility {
    mobility(
        "kind = \"shuttle\"\nclinic = [0]\nvillages = [[1, 2, 3], [4, 5]]\nevery_h = 24\nway_min = 90\nstay_min = 120\nclass = \"ble\"",
    )
}

fn depot() -> Mobility {
    mobility("kind = \"depot\"\ndepot = 0\nfrom_h = 8\nto_h = 16\nstay_min = 30\nclass = \"wifi\"")
}

fn waypoint() -> Mobility {
    mobility(
        "kind = \"waypoint\"\narea_m = 2000\nrange_m = 150\nspeed_min_mm_s = 500\nspeed_max_mm_s = 1500\npause_max_min = 20\nclass = \"ble\"",
    )
}

/// Whether the list is as the module promises.
fn assert_good(list: &[Contact], devices: usize, horizon_ms: u64) {
    assert!(list.is_sorted());
    let mut ends: BTreeMap<(usize, usize), u64> = BTreeMap::new();
    for contact in list {
        assert!(contact.a < contact.b && contact.b < devices, "{contact:?}");
        assert!(contact.at_ms < contact.end_ms && contact.end_ms <= horizon_ms);
        let end = ends.entry((contact.a, contact.b)).or_default();
        assert!(contact.at_ms >= *end, "{contact:?} overlaps");
        *end = contact.end_ms;
    }
}

fn pairs(list: &[Contact]) -> BTreeSet<(usize, usize)> {
    list.iter().map(|contact| (contact.a, contact.b)).collect()
}

#[test]
fn every_shape_keeps_the_promises_of_the_list_and_repeats_itself() {
    let all = Mobility::All {
        of: vec![shuttle(), hub(), market(), depot(), waypoint()],
    };
    for shape in [shuttle(), hub(), market(), depot(), waypoint(), all] {
        shape.check(6).expect("it makes sense");
        let list = contacts(&shape, 6, &DRAW, 21 * DAY_MS);

        assert!(!list.is_empty(), "{shape:?}");
        assert_good(&list, 6, 21 * DAY_MS);
        assert_eq!(list, contacts(&shape, 6, &DRAW, 21 * DAY_MS));
        assert_ne!(
            list,
            contacts(&shape, 6, &Draw::new(4), 21 * DAY_MS),
            "{shape:?}"
        );
        assert_eq!(contacts(&shape, 6, &DRAW, 0), []);
    }
}

#[test]
fn a_market_day_brings_all_together_on_that_day_only() {
    let list = contacts(&market(), 9, &DRAW, 14 * DAY_MS);

    for day in 0..14 {
        let of_day: Vec<Contact> = list
            .iter()
            .filter(|contact| contact.at_ms / DAY_MS == day)
            .copied()
            .collect();
        let met = pairs(&of_day).len();
        assert_eq!(met, if day % 7 == 2 { 9 * 8 / 2 } else { 0 }, "day {day}");
    }
    let noon = 2 * DAY_MS + 11 * HOUR_MS;
    let at_noon = list.iter().filter(|c| c.at_ms <= noon && noon < c.end_ms);
    assert_eq!(at_noon.count(), 36, "all are there at once");
}

#[test]
fn a_shuttle_carries_news_between_villages_that_never_meet_at_home() {
    let list = contacts(&shuttle(), 6, &DRAW, 14 * DAY_MS);

    let met = pairs(&list);
    assert!(
        met.contains(&(1, 2)) && met.contains(&(4, 5)),
        "villages meet at home"
    );
    for traveller in 1..6 {
        assert!(met.contains(&(0, traveller)), "all travel in turn");
    }
    let visits = list.iter().filter(|c| c.a == 0 && c.b == 1);
    assert!(visits.clone().count() >= 4, "each third day");
    assert!(
        visits
            .clone()
            .all(|visit| visit.end_ms - visit.at_ms == 2 * HOUR_MS)
    );
    for visit in visits {
        let elsewhere = |c: &&Contact| (c.a, c.b) == (1, 2) && c.at_ms < visit.end_ms;
        assert!(
            list.iter()
                .filter(elsewhere)
                .all(|home| home.end_ms <= visit.at_ms - 90 * 60_000),
            "nobody is in two places"
        );
    }
}

#[test]
fn a_depot_sees_each_device_once_a_week_while_it_is_open() {
    let list = contacts(&depot(), 5, &DRAW, 28 * DAY_MS);

    for device in 1..5 {
        let visits: Vec<&Contact> = list.iter().filter(|c| (c.a, c.b) == (0, device)).collect();
        assert_eq!(visits.len(), 4);
        for visit in visits {
            let hour = |ms: u64| ms % DAY_MS / HOUR_MS;
            assert!(hour(visit.at_ms) >= 8 && hour(visit.end_ms - 1) < 16);
            assert_eq!(visit.end_ms - visit.at_ms, HOUR_MS / 2);
        }
    }
}

#[test]
fn a_hub_is_reached_in_the_evening_on_most_days_and_only_it() {
    let list = contacts(&hub(), 4, &DRAW, 50 * DAY_MS);

    assert!(list.iter().all(|contact| contact.a == 0));
    assert!(
        list.iter()
            .all(|c| (18..22).contains(&(c.at_ms % DAY_MS / HOUR_MS)))
    );
    assert!(
        (70..=130).contains(&list.len()),
        "{} of 150 days",
        list.len()
    );
}

#[test]
fn walkers_meet_when_they_are_near_and_a_wide_range_keeps_all_in_touch() {
    let few = contacts(&waypoint(), 5, &DRAW, 2 * DAY_MS);
    let Mobility::Waypoint(narrow) = waypoint() else {
        panic!("a waypoint");
    };
    let wide = Mobility::Waypoint(Waypoint {
        range_m: 3000,
        ..narrow
    });

    let always = contacts(&wide, 5, &DRAW, 2 * DAY_MS);

    assert!(few.len() > 10 && few.iter().all(|c| c.end_ms - c.at_ms < 12 * HOUR_MS));
    assert_eq!(always.len(), 10);
    assert!(
        always
            .iter()
            .all(|c| c.at_ms == 0 && c.end_ms == 2 * DAY_MS)
    );
}

#[test]
fn parts_that_are_equal_draw_differently_and_others_are_not_disturbed() {
    let one = contacts(&hub(), 3, &DRAW, 5 * DAY_MS);
    let two = Mobility::All {
        of: vec![hub(), hub()],
    };
    let both = contacts(&two, 3, &DRAW, 5 * DAY_MS);

    assert!(both.len() > one.len());
}

#[test]
fn a_recording_is_read_and_written_back() {
    let text = "at_s,end_s,a,b,class\n0,60,1,0,wifi\n30,90,0,2,satellite\n";
    let plan = format!("kind = \"recorded\"\ncsv = {text:?}\n");

    let shape = mobility(&plan);
    let list = contacts(&shape, 3, &DRAW, DAY_MS);

    assert_eq!(list.len(), 2);
    assert_eq!((list[0].a, list[0].b, list[0].end_ms), (0, 1, 60_000));
    let written = toml::to_string(&shape).expect("it is written");
    assert_eq!(mobility(&written), shape);
    assert!(
        shape
            .check(2)
            .is_err_and(|error| error.to_string().contains("no device 2"))
    );
}

#[test]
fn a_damaged_recording_is_refused_by_line_and_column() {
    let cases = [
        ("", 1, 1),
        ("at_s,end_s,a,c,class\n", 1, 4),
        ("at_s,end_s,a,b,class\n1,2,0,1\n", 2, 4),
        ("at_s,end_s,a,b,class\n1,2,0,1,wifi,\n", 2, 5),
        ("at_s,end_s,a,b,class\n1,2,0,1,wifi\n\n", 3, 1),
        ("at_s,end_s,a,b,class\n-1,2,0,1,wifi\n", 2, 1),
        ("at_s,end_s,a,b,class\n1, 2,0,1,wifi\n", 2, 2),
        ("at_s,end_s,a,b,class\n2,2,0,1,wifi\n", 2, 2),
        (
            "at_s,end_s,a,b,class\n1,99999999999999999999,0,1,wifi\n",
            2,
            2,
        ),
        ("at_s,end_s,a,b,class\n1,2,x,1,wifi\n", 2, 3),
        ("at_s,end_s,a,b,class\n1,2,1,1,wifi\n", 2, 4),
        ("at_s,end_s,a,b,class\n1,2,0,1,Wifi\n", 2, 5),
    ];
    for (text, line, column) in cases {
        let error = Recording::parse(text).expect_err(text);
        assert_eq!(
            (error.line, error.column),
            (line, column),
            "{text:?}: {error}"
        );
    }
}

#[test]
fn what_makes_no_sense_is_refused_and_gives_no_contacts() {
    let bad = [
        "kind = \"shuttle\"\nclinic = [9]\nvillages = [[1]]\nevery_h = 24\nway_min = 1\nstay_min = 1\nclass = \"ble\"",
        "kind = \"shuttle\"\nclinic = [0]\nvillages = [[1]]\nevery_h = 1\nway_min = 60\nstay_min = 1\nclass = \"ble\"",
        "kind = \"shuttle\"\nclinic = [0]\nvillages = [[1]]\nevery_h = 0\nway_min = 0\nstay_min = 0\nclass = \"ble\"",
        "kind = \"depot\"\ndepot = 0\nfrom_h = 16\nto_h = 8\nstay_min = 30\nclass = \"wifi\"",
        "kind = \"market\"\nevery_days = 0\nfirst_day = 0\nfrom_h = 8\nto_h = 9\nspread_min = 5\nclass = \"wifi\"",
        "kind = \"market\"\nevery_days = 1\nfirst_day = 0\nfrom_h = 8\nto_h = 9\nspread_min = 31\nclass = \"wifi\"",
        "kind = \"hub\"\nhub = 0\nfrom_h = 0\nto_h = 25\nonline_min = 1\ndays_per_cent = 1\nclass = \"wifi\"",
        "kind = \"waypoint\"\narea_m = 0\nrange_m = 1\nspeed_min_mm_s = 1\nspeed_max_mm_s = 1\npause_max_min = 0\nclass = \"ble\"",
        "kind = \"waypoint\"\narea_m = 5\nrange_m = 1\nspeed_min_mm_s = 0\nspeed_max_mm_s = 1\npause_max_min = 0\nclass = \"ble\"",
    ];
    for text in bad {
        let shape = mobility(text);
        assert!(shape.check(3).is_err(), "{text}");
        assert_eq!(contacts(&shape, 3, &DRAW, DAY_MS), [], "{text}");
    }
    let unknown = "kind = \"hub\"\nhub = 0\nfrom_h = 0\nto_h = 2\nonline_min = 1\ndays_per_cent = 1\nclass = \"wifi\"\nspeed = 2";
    assert!(toml::from_str::<Mobility>(unknown).is_err());
}

#[test]
fn walkers_who_arrive_at_once_rest_until_somebody_looks() {
    // Across a metre in ten milliseconds: three thousand million walks in a year, and one look a day.
    let shape = mobility(
        "kind = \"waypoint\"\narea_m = 1\nrange_m = 2\nspeed_min_mm_s = 100000\nspeed_max_mm_s = 100000\npause_max_min = 0\nstep_s = 86400\nclass = \"ble\"",
    );
    let year_ms = 366 * DAY_MS;

    let list = contacts(&shape, 2, &DRAW, year_ms);

    let always = Contact {
        at_ms: 0,
        end_ms: year_ms,
        a: 0,
        b: 1,
        class: LinkClass::Ble,
    };
    assert_eq!(list, [always]);
}

#[test]
fn no_more_contacts_are_gathered_than_fit_and_the_part_that_has_too_many_is_named() {
    let market = mobility(
        "kind = \"market\"\nevery_days = 1\nfirst_day = 0\nfrom_h = 8\nto_h = 9\nspread_min = 0\nclass = \"wifi\"",
    );
    // Four people are six pairs a day: 18 in three days, and as many once more.
    let of = [market.clone(), market];

    let fits = contacts_within(&of, 4, &DRAW, 3 * DAY_MS, 36);
    assert_eq!(fits.map(|list| list.len()), Ok(18));
    let wrong = MobilityError::TooMany { contacts_max: 35 };
    assert_eq!(
        contacts_within(&of, 4, &DRAW, 3 * DAY_MS, 35),
        Err((1, wrong))
    );
    let first = contacts_within(&of, 4, &DRAW, 3 * DAY_MS, 17);
    assert_eq!(first.err().map(|(part, _)| part), Some(0));
}
