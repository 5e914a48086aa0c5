//! What supervisors have to do with reviews: each for themselves, day by day, and all together.
//!
//! A review that two supervisors see is work for each of them until one has answered, and one review of the fleet.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::Serialize;

use crate::time::DAY_MS;

/// How many reviews, in some span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReviewCount {
    /// Seen for the first time.
    pub opened: u64,
    /// Answered.
    pub answered: u64,
    /// Open at the end.
    pub left: u64,
}

/// What one supervisor had to do with reviews.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Supervision {
    /// Their device.
    pub device: usize,
    /// Day by day, from the day on which counting began.
    pub days: Vec<ReviewCount>,
}

/// One supervisor.
#[derive(Clone, Debug)]
struct Desk {
    days: Vec<ReviewCount>,
    /// What they have ever seen.
    seen: BTreeSet<String>,
    /// What their device listed last and they have not answered.
    open: BTreeSet<String>,
}

/// All supervisors.
#[derive(Clone, Debug)]
pub(super) struct Reviews {
    from_ms: u64,
    desks: BTreeMap<usize, Desk>,
    /// What anybody had seen before counting began, has seen since, and has answered.
    known: BTreeSet<String>,
    opened: BTreeSet<String>,
    answered: BTreeSet<String>,
}

impl Reviews {
    /// Of these devices, some perhaps more than once, over the days of `counted`.
    pub(super) fn new(supervisors: impl Iterator<Item = usize>, counted: Range<u64>) -> Self {
        let days = counted.end.div_ceil(DAY_MS) - counted.start / DAY_MS;
        let desk = Desk {
            days: vec![ReviewCount::default(); days as usize],
            seen: BTreeSet::new(),
            open: BTreeSet::new(),
        };
        Self {
            from_ms: counted.start,
            desks: supervisors.map(|device| (device, desk.clone())).collect(),
            known: BTreeSet::new(),
            opened: BTreeSet::new(),
            answered: BTreeSet::new(),
        }
    }

    /// A device lists reviews; `t_ms` is `None` before counting begins.
    pub(super) fn on_listed<'a>(
        &mut self,
        device: usize,
        t_ms: Option<u64>,
        ids: impl Iterator<Item = &'a str>,
    ) {
        let place = t_ms.map(|t_ms| self.day(t_ms));
        let Some(desk) = self.desks.get_mut(&device) else {
            return;
        };
        desk.open = ids.map(str::to_owned).collect();
        let mut opened = 0;
        for id in &desk.open {
            opened += u64::from(desk.seen.insert(id.clone()));
            match t_ms {
                None => self.known.insert(id.clone()),
                Some(_) if self.known.contains(id) => false,
                Some(_) => self.opened.insert(id.clone()),
            };
        }
        if let Some(day) = place.and_then(|place| desk.days.get_mut(place)) {
            day.opened += opened;
            day.left = desk.open.len() as u64;
        }
    }

    pub(super) fn on_answered(&mut self, device: usize, t_ms: u64, id: &str) {
        let place = self.day(t_ms);
        let Some(desk) = self.desks.get_mut(&device) else {
            return;
        };
        desk.open.remove(id);
        self.answered.insert(id.to_owned());
        if let Some(day) = desk.days.get_mut(place) {
            day.answered += 1;
            day.left = desk.open.len() as u64;
        }
    }

    /// Which of the counted days it is. What is counted at the end of a day belongs to that day.
    fn day(&self, t_ms: u64) -> usize {
        let day = t_ms.saturating_sub(1).max(self.from_ms) / DAY_MS;
        (day - self.from_ms / DAY_MS) as usize
    }

    pub(super) fn by_supervisor(&self) -> Vec<Supervision> {
        let supervision = |(device, desk): (&usize, &Desk)| Supervision {
            device: *device,
            days: desk.days.clone(),
        };
        self.desks.iter().map(supervision).collect()
    }

    /// Each review once, whoever saw it. Open is what some supervisor's device still lists and nobody has answered.
    pub(super) fn of_all(&self) -> ReviewCount {
        let open: BTreeSet<&String> = self.desks.values().flat_map(|desk| &desk.open).collect();
        let left = open.iter().filter(|id| !self.answered.contains(**id));
        ReviewCount {
            opened: self.opened.len() as u64,
            answered: self.answered.len() as u64,
            left: left.count() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::HOUR_MS;

    #[test]
    fn a_review_of_two_supervisors_is_one_review() {
        let mut reviews = Reviews::new([1, 2, 1].into_iter(), 0..DAY_MS);
        for device in [1, 2, 7] {
            reviews.on_listed(device, Some(HOUR_MS), ["a", "b"].into_iter());
        }
        assert_eq!((reviews.of_all().opened, reviews.of_all().left), (2, 2));

        // The other has not heard of the answer.
        reviews.on_answered(1, 2 * HOUR_MS, "a");

        let all = ReviewCount {
            opened: 2,
            answered: 1,
            left: 1,
        };
        assert_eq!(reviews.of_all(), all);
        let left: Vec<u64> = reviews
            .by_supervisor()
            .iter()
            .map(|it| it.days[0].left)
            .collect();
        assert_eq!(left, [1, 2]);
    }

    #[test]
    fn days_are_counted_from_the_one_on_which_all_go_apart() {
        // Together for six days, and one day of work.
        let apart_ms = 6 * DAY_MS;
        let mut reviews = Reviews::new([1].into_iter(), apart_ms..7 * DAY_MS);
        reviews.on_listed(1, None, ["old"].into_iter());
        reviews.on_listed(1, Some(apart_ms + HOUR_MS), ["old", "new"].into_iter());
        reviews.on_answered(1, apart_ms + 2 * HOUR_MS, "old");
        reviews.on_listed(1, Some(7 * DAY_MS), ["new"].into_iter());

        let day = ReviewCount {
            opened: 1,
            answered: 1,
            left: 1,
        };
        assert_eq!(reviews.by_supervisor()[0].days, [day]);
        assert_eq!(reviews.of_all(), day);
    }
}
