//! Devices whose disks may have been damaged: what they may have lost is excused, and what they fail to read. So that
//! this ends, they are looked through as soon as they run again.

use fieldmesh::engine::batch::{Held, Walk};
use fieldmesh::store::{Progress, Reader};

use super::World;
use crate::oracle;
use crate::sometimes::Sometimes;

impl World<'_> {
    /// Looks a device through whose disk may have been damaged. If all of it reads, it is judged like any other from
    /// here on; otherwise it is for the device to find out.
    pub(super) fn look_through(&mut self, number: usize) {
        let is_in_doubt = |seat: &super::Seat| seat.may_be_damaged && seat.device.is_some();
        if self.seats.get(&number).is_some_and(is_in_doubt) {
            let is_whole = self.is_whole(number);
            if let Some(seat) = self.seats.get_mut(&number) {
                seat.disk.note_damage();
                seat.may_be_damaged = !is_whole;
            }
        }
    }

    /// Devices that are still in doubt when the faults end: a store that is damaged is replaced.
    pub(super) fn mend_stores(&mut self) {
        for number in self.living() {
            self.look_through(number);
            let seat = &self.seats[&number];
            if seat.may_be_damaged && seat.device.is_some() {
                self.reach(Sometimes::StoreFoundDamaged);
                self.lose_store(number);
            }
        }
    }

    /// Whether everything that a device has stored reads back, and follows from its logs.
    fn is_whole(&mut self, number: usize) -> bool {
        let Some(seat) = self.seats.get_mut(&number) else {
            return false;
        };
        let Some(device) = &seat.device else {
            return false;
        };
        let reader = device.reader();
        let before = std::mem::replace(&mut seat.may_be_damaged, false);
        let is_whole = reads(&reader) && oracle::is_shown(self, number);
        if let Some(seat) = self.seats.get_mut(&number) {
            seat.may_be_damaged = before;
        }
        is_whole
    }
}

fn reads(reader: &Reader) -> bool {
    struct Quiet;
    impl Progress for Quiet {
        fn at(&mut self, _: &'static str, _: u64, _: u64) {}
    }
    let fetched = reader.fetch(&Walk::default(), &Held::new(), usize::MAX);
    let checkup = reader.check(&mut Quiet);
    fetched.is_ok_and(|fetched| fetched.damaged.is_empty())
        && reader.feed(0, usize::MAX).is_ok()
        && reader.reviews().is_ok()
        && checkup.is_ok_and(|checkup| checkup.problems == 0)
}

#[cfg(test)]
mod tests {
    use crate::family::Family;
    use crate::plan::{Plan, schema};

    use super::*;

    /// A device that is told to write by turns, and something that happens to it between them.
    fn after(fault: &str, until_ms: u64, judge: impl FnOnce(&World<'_>)) {
        let write = |at_ms: u64| {
            format!(
                r#"{{"op":{{"at_ms":{at_ms},"device":0,"write":{{"edits":[{{"collection":"patient","id":"p{at_ms}","ops":[{{"set":["name","Awa"]}}]}}]}}}}}}"#
            )
        };
        let lines = [
            r#"{"plan":1,"seed":1,"profile":"by hand","horizon_ms":100000,"settle_ms":600000}"#,
            r#"{"device":{"device":0}}"#,
            r#"{"device":{"device":1}}"#,
            &write(1_000),
            &write(3_000),
            fault,
        ];
        let plan = Plan::from_text(&(lines.join("\n") + "\n"), &schema().unwrap()).unwrap();
        let mut nobody = ();
        let family = Family::bundled().unwrap();
        let mut world = World::new(plan, family, super::super::EVENTS_MAX, &mut nobody);
        world.begin();
        world.run_until(until_ms);
        assert!(world.failure.is_none(), "{:?}", world.failure);
        judge(&world);
    }

    #[test]
    fn what_a_disk_that_lied_has_lost_is_excused_and_nothing_after_that() {
        let lie = r#"{"fault":{"at_ms":2000,"device":0,"ignored_sync":{"for_ms":5000}}}"#;
        after(lie, 7_100, |world| {
            assert!(world.seats[&0].may_be_damaged, "it is off");
        });
        after(lie, 30_000, |world| {
            let seat = &world.seats[&0];
            assert!(
                seat.device.is_some() && seat.has_lost,
                "it has lost a write"
            );
            assert!(!seat.is_troubled(), "what it has reads back");
        });
    }

    #[test]
    fn a_device_with_an_entry_that_does_not_read_back_stays_in_doubt() {
        let rot = r#"{"fault":{"at_ms":5000,"device":0,"rot_entry":{"place":0}}}"#;
        after(rot, 30_000, |world| {
            let seat = &world.seats[&0];
            assert!(seat.device.is_some() && seat.is_troubled());
        });
    }
}
