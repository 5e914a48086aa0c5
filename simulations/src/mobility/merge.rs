//! Brings contacts from anywhere into the form that the list promises.

use std::collections::BTreeMap;

use super::{Contact, LinkClass};

/// The classes from the best to the worst: local links before those that cost money and wait.
const PREFERENCE: [LinkClass; 4] = [
    LinkClass::Wifi,
    LinkClass::Ble,
    LinkClass::Cell2g,
    LinkClass::Satellite,
];

/// The contacts sorted, cut to the horizon and without overlaps of one pair.
pub(super) fn merged(contacts: Vec<Contact>, horizon_ms: u64) -> Vec<Contact> {
    let mut pairs: BTreeMap<(usize, usize), Vec<Contact>> = BTreeMap::new();
    for contact in contacts {
        let end_ms = contact.end_ms.min(horizon_ms);
        if contact.at_ms >= end_ms || contact.a == contact.b {
            continue;
        }
        let (a, b) = (contact.a.min(contact.b), contact.a.max(contact.b));
        let contact = Contact {
            end_ms,
            a,
            b,
            ..contact
        };
        pairs.entry((a, b)).or_default().push(contact);
    }
    let mut merged: Vec<Contact> = pairs.into_values().flat_map(of_pair).collect();
    merged.sort_unstable();
    merged
}

/// Sweeps over the starts and ends of one pair's contacts and keeps the best class in reach.
fn of_pair(contacts: Vec<Contact>) -> Vec<Contact> {
    // At one moment ends come before starts, but nothing depends on it: the class is looked at between moments.
    let mut edges: Vec<(u64, usize, bool)> = Vec::with_capacity(contacts.len() * 2);
    for contact in &contacts {
        let rank = rank(contact.class);
        edges.push((contact.at_ms, rank, true));
        edges.push((contact.end_ms, rank, false));
    }
    edges.sort_unstable();
    let mut out: Vec<Contact> = Vec::new();
    let mut in_reach = [0_usize; PREFERENCE.len()];
    for (at, edge) in edges.iter().enumerate() {
        let &(from, rank, begins) = edge;
        match begins {
            true => in_reach[rank] += 1,
            false => in_reach[rank] -= 1,
        }
        let until = edges.get(at + 1).map_or(from, |next| next.0);
        let best = in_reach.iter().position(|count| *count > 0);
        let (Some(best), true) = (best, until > from) else {
            continue;
        };
        let class = PREFERENCE[best];
        match out.last_mut() {
            Some(last) if last.end_ms == from && last.class == class => last.end_ms = until,
            _ => out.push(Contact {
                at_ms: from,
                end_ms: until,
                class,
                ..contacts[0]
            }),
        }
    }
    out
}

fn rank(class: LinkClass) -> usize {
    match class {
        LinkClass::Wifi => 0,
        LinkClass::Ble => 1,
        LinkClass::Cell2g => 2,
        LinkClass::Satellite => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(at_ms: u64, end_ms: u64, a: usize, b: usize, class: LinkClass) -> Contact {
        Contact {
            at_ms,
            end_ms,
            a,
            b,
            class,
        }
    }

    #[test]
    fn overlaps_and_neighbours_of_one_class_become_one_contact() {
        let list = vec![
            contact(50, 80, 1, 0, LinkClass::Wifi),
            contact(10, 30, 0, 1, LinkClass::Wifi),
            contact(20, 50, 0, 1, LinkClass::Wifi),
            contact(5, 15, 0, 2, LinkClass::Wifi),
        ];

        assert_eq!(
            merged(list, 1000),
            [
                contact(5, 15, 0, 2, LinkClass::Wifi),
                contact(10, 80, 0, 1, LinkClass::Wifi),
            ]
        );
    }

    #[test]
    fn the_better_class_cuts_the_worse_one_in_two() {
        let list = vec![
            contact(0, 100, 0, 1, LinkClass::Cell2g),
            contact(40, 60, 0, 1, LinkClass::Wifi),
        ];

        assert_eq!(
            merged(list, 1000),
            [
                contact(0, 40, 0, 1, LinkClass::Cell2g),
                contact(40, 60, 0, 1, LinkClass::Wifi),
                contact(60, 100, 0, 1, LinkClass::Cell2g),
            ]
        );
    }

    #[test]
    fn nothing_is_left_of_empty_contacts_or_beyond_the_horizon() {
        let list = vec![
            contact(5, 5, 0, 1, LinkClass::Ble),
            contact(0, 9, 1, 1, LinkClass::Ble),
            contact(100, 200, 0, 1, LinkClass::Ble),
            contact(40, 200, 0, 1, LinkClass::Ble),
        ];

        assert_eq!(merged(list, 50), [contact(40, 50, 0, 1, LinkClass::Ble)]);
    }
}
