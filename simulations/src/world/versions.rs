//! Versions of the schema in a fleet: devices publish, install, adopt and go back (F27).
//!
//! A switch is one transaction; the views that follow are derived in the device's idle time, a few at each
//! [`REFRESH_MS`], so that sessions and writes meet half-derived stores.

use std::sync::Arc;

use crdt_schema::schema::{PUBLISHED, Schema, publication_id, publication_ops};
use fieldmesh::engine::batch::{LocalEdit, WriteMode};
use fieldmesh::store::{StoreError, UseSchemaError};

use super::World;
use super::event::Event;
use super::power::REPLACE_MS;
use crate::alike::KILL_NOTICE_MS;
use crate::ledger::Asked;
use crate::oracle::Oracle;
use crate::sometimes::Sometimes;
use crate::time::DAY_MS;
use crate::trace::{Measured, Told};

/// How many views are derived anew at once, and how long until the next few.
const VIEWS_PER_STEP: usize = 4;
const REFRESH_MS: u64 = 700;

impl World<'_> {
    /// The schema in use on a device; the oldest if it is off.
    pub(super) fn schema_of(&self, number: usize) -> Arc<Schema> {
        match self.device(number) {
            Some(device) => device.reader().schema(),
            None => Arc::clone(self.family.first()),
        }
    }

    /// Publishes a version, as its device may do before or after using it.
    pub(super) fn publish(&mut self, number: usize, version: u32) {
        let Some(schema) = self.family.get(version).cloned() else {
            return;
        };
        let edit = LocalEdit {
            collection: PUBLISHED.to_owned(),
            id: publication_id(&schema.name, schema.version),
            mode: WriteMode::Upsert,
            if_match: None,
            ops: publication_ops(&schema.source),
        };
        let asked = Asked {
            device: number,
            edits: vec![edit],
            key: None,
            review: None,
            version: self.schema_of(number).version,
        };
        self.ask(number, asked);
    }

    /// A person chooses a version. One that the device does not know is refused, and nothing changes.
    pub(super) fn use_schema(&mut self, number: usize, version: u32) {
        let before = self.schema_of(number).version;
        let Some(seat) = self.seats.get_mut(&number) else {
            return;
        };
        let is_troubled = seat.is_troubled();
        let Some(device) = &mut seat.device else {
            return;
        };
        let is_known = device.reader().schemas().versions.contains_key(&version);
        match device.use_schema(version) {
            Ok(()) if version < before => self.reach(Sometimes::SchemaWentBack),
            Ok(()) => {}
            // After there is room again, a store says once more that it is full where the write before was not
            // its last.
            Err(UseSchemaError::Store(StoreError::DiskFull(_))) => self.note_missed(),
            Err(error) if is_known && !is_troubled => {
                let detail = format!("device {number} knows version {version}: {error}");
                return self.break_oracle(Oracle::Versions, detail);
            }
            Err(_) => self.note_missed(),
        }
        self.follow_schema(number);
    }

    /// Another file is put beside the store, as an update of the program does, and the device starts again.
    pub(super) fn install(&mut self, number: usize, version: u32) {
        self.power_off(number, None, KILL_NOTICE_MS);
        if let Some(seat) = self.seats.get_mut(&number) {
            seat.own_version = version;
        }
        self.boot_after(number, REPLACE_MS);
    }

    /// What a device does about versions when it starts: it publishes those that others may need.
    pub(super) fn start_versions(&mut self, number: usize) {
        self.follow_schema(number);
        let Some(device) = self.device(number) else {
            return;
        };
        let state = device.reader().schemas();
        let unpublished = state.unpublished();
        let active = state.active.version;
        if active != 1 && unpublished.contains(&active) {
            for version in unpublished {
                self.publish(number, version);
            }
        }
    }

    /// Tells the engine of a switch, and has views derived anew if they must be.
    pub(super) fn follow_schema(&mut self, number: usize) {
        let Some(seat) = self.seats.get_mut(&number) else {
            return;
        };
        let Some(device) = &mut seat.device else {
            return;
        };
        let needs_refresh = device.needs_refresh() && !seat.is_refreshing;
        let news = device.schema_news();
        if needs_refresh {
            seat.is_refreshing = true;
            let (device, life) = (number, seat.life);
            let refresh = Event::Refresh { device, life };
            self.queue.after(REFRESH_MS, refresh);
        }
        if let Some(news) = news {
            self.reach(Sometimes::SchemaAdopted);
            self.feed(number, news);
        }
    }

    pub(super) fn refresh(&mut self, number: usize) {
        let Some(seat) = self.seats.get_mut(&number) else {
            return;
        };
        let is_troubled = seat.is_troubled();
        seat.is_refreshing = false;
        let Some(device) = &mut seat.device else {
            return;
        };
        match device.refresh(VIEWS_PER_STEP) {
            Ok(_) | Err(StoreError::DiskFull(_)) => {}
            Err(error) if !is_troubled => {
                let detail = format!("device {number} cannot derive its views anew: {error}");
                return self.break_oracle(Oracle::Versions, detail);
            }
            Err(_) => {}
        }
        seat.record_witness();
        self.follow_schema(number);
    }

    /// Carries out what is due by `end_ms`, day by day for those who count by days.
    pub(super) fn run_days(&mut self, end_ms: u64) {
        if !self.observer.wants_measures() {
            return self.run_until(end_ms);
        }
        let mut day_end_ms = DAY_MS;
        while day_end_ms < end_ms && self.failure.is_none() {
            self.run_until(day_end_ms);
            self.measure_all_reviews();
            day_end_ms += DAY_MS;
        }
        self.run_until(end_ms);
        self.measure_all_reviews();
        let t_ms = self.queue.now_ms();
        self.observer.measure(&Measured::Horizon { t_ms });
    }

    fn measure_all_reviews(&mut self) {
        for number in self.living() {
            self.measure_reviews(number);
        }
    }

    /// What a device lists as open.
    pub(super) fn measure_reviews(&mut self, number: usize) {
        if !self.observer.wants_measures() {
            return;
        }
        let device = self.device(number);
        if let Some(Ok(open)) = device.map(|device| device.reader().reviews()) {
            let t_ms = self.queue.now_ms();
            self.observer.measure(&Measured::Reviews {
                t_ms,
                device: number,
                open: &open,
            });
        }
    }

    pub(super) fn measure_answer(&mut self, device: usize, review: &str) {
        let t_ms = self.queue.now_ms();
        self.observer.measure(&Measured::Answered {
            t_ms,
            device,
            review,
        });
    }

    pub(super) fn measure_told(&mut self, what: Told) {
        let t_ms = self.queue.now_ms();
        self.observer.measure(&Measured::Told { t_ms, what });
    }

    /// Shows those who count what the fleet has come to.
    pub(super) fn measure_settled(&mut self) {
        let mut living = self.living().into_iter();
        let reader = living.find_map(|number| Some(self.device(number)?.reader()));
        if let Some(reader) = reader {
            self.observer
                .measure(&Measured::Settled { reader: &reader });
        }
    }
}
