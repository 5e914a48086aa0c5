//! Whole records as JSON over HTTP: the server numbers its changes, and the client asks for those after the
//! last that it has. What most field software does.
//!
//! In its favour: one answer holds everything, however much it is; nothing is written to disk, signed or
//! merged; a number that grows takes the place of a clock, so that no change is missed or sent twice.
//! It goes one way only: a second table of the client's own changes would be asked for in the same manner.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::Contender;
use crate::link::{Link, Side, Traffic, talk};
use crate::records::{Record, Update};

pub(super) struct Pair {
    server: Server,
    client: Client,
}

struct Server {
    records: Vec<Record>,
    /// Record → the number of its last change.
    changed: Vec<u64>,
    changes: u64,
    zstd_level: Option<i32>,
}

#[derive(Default)]
struct Client {
    records: BTreeMap<String, Map<String, Json>>,
    cursor: u64,
    compressed: bool,
}

impl Pair {
    /// `zstd_level`: how answers are compressed, if they are.
    pub(super) fn new(zstd_level: Option<i32>) -> Self {
        let server = Server {
            records: Vec::new(),
            changed: Vec::new(),
            changes: 0,
            zstd_level,
        };
        Self {
            server,
            client: Client {
                compressed: zstd_level.is_some(),
                ..Client::default()
            },
        }
    }
}

impl Contender for Pair {
    fn load(&mut self, records: &[Record]) {
        for record in records {
            self.server.changes += 1;
            self.server.changed.push(self.server.changes);
            self.server.records.push(record.clone());
        }
    }

    fn update(&mut self, updates: &[Update]) {
        for update in updates {
            self.server.changes += 1;
            self.server.changed[update.record] = self.server.changes;
            let fields = &mut self.server.records[update.record].fields;
            fields.insert(update.field.to_owned(), update.value.clone());
        }
    }

    fn sync(&mut self, link: Link) -> Traffic {
        talk(link, &mut self.server, &mut self.client)
    }

    fn record(&mut self, device: usize, id: &str) -> Option<Map<String, Json>> {
        if device == 1 {
            return self.client.records.get(id).cloned();
        }
        let by_id = |record: &Record| record.id.as_str().cmp(id);
        let number = self.server.records.binary_search_by(by_id).ok()?;
        Some(self.server.records[number].fields.clone())
    }
}

impl Side for Server {
    fn open(&mut self, _: f64) -> Vec<Vec<u8>> {
        Vec::new()
    }

    fn receive(&mut self, _: f64, request: Vec<u8>) -> Vec<Vec<u8>> {
        let request = String::from_utf8(request).expect("requests are text");
        let cursor = request
            .split(['=', ' '])
            .nth(2)
            .and_then(|cursor| cursor.parse().ok());
        let cursor: u64 = cursor.expect("requests say from where");
        let news = self
            .records
            .iter()
            .zip(&self.changed)
            .filter(|(_, changed)| **changed > cursor);
        let news: Vec<Vec<u8>> = news.map(|(record, _)| record.to_json()).collect();
        let mut body = format!("{{\"next\":{},\"records\":[", self.changes).into_bytes();
        body.extend(news.join(&b','));
        body.extend(b"]}");
        let encoding = match self.zstd_level {
            Some(level) => {
                body = zstd::encode_all(body.as_slice(), level).expect("memory can be compressed");
                "content-encoding: zstd\r\n"
            }
            None => "",
        };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{encoding}content-length: {length}\r\n\r\n"
        );
        vec![[head.into_bytes(), body].concat()]
    }

    fn taken(&self) -> u64 {
        0
    }
}

impl Side for Client {
    fn open(&mut self, _: f64) -> Vec<Vec<u8>> {
        let encoding = if self.compressed {
            "accept-encoding: zstd\r\n"
        } else {
            ""
        };
        let since = self.cursor;
        let request = format!(
            "GET /records?since={since} HTTP/1.1\r\nhost: clinic.example\r\n\
             authorization: Bearer 0123456789abcdef0123456789abcdef\r\n{encoding}\r\n"
        );
        vec![request.into_bytes()]
    }

    fn taken(&self) -> u64 {
        self.cursor
    }

    fn receive(&mut self, _: f64, answer: Vec<u8>) -> Vec<Vec<u8>> {
        let start = answer
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .expect("answers have a head")
            + 4;
        let body = match self.compressed {
            true => zstd::decode_all(&answer[start..]).expect("answers are good"),
            false => answer[start..].to_vec(),
        };
        let mut body: Json = serde_json::from_slice(&body).expect("answers are JSON");
        self.cursor = body["next"].as_u64().expect("answers say how far they go");
        let Json::Array(records) = body["records"].take() else {
            panic!("answers hold records");
        };
        for record in records {
            let Json::Object(mut fields) = record else {
                panic!("records are objects")
            };
            let Some(Json::String(id)) = fields.remove("id") else {
                panic!("records have names")
            };
            self.records.insert(id, fields);
        }
        Vec::new()
    }
}
