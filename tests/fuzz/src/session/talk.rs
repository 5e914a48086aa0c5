//! A peer that the script plays: it can say anything at any time, as a member or not.

use arbitrary::{Result, Unstructured};
use crdt_schema::ident::{LogId, SpaceName};
use fieldmesh::engine::batch::{Run, SchemaTag, SessionId};
use fieldmesh::engine::input::Input;
use fieldmesh::wire::chain::organisation_tag;
use fieldmesh::wire::message::{
    FrameEncoder, FrontRow, Hello, Message, PROTOCOL_VERSION, RangeRow, SpaceRoot,
};
use fieldmesh::wire::part::{Part, encode_whole};

use super::author::Author;
use super::device::{Device, NUMBER, SECRET, device_id};
use crate::seeds::ORGANISATION;

/// What the peer makes its tags with when it tells.
const SALT: [u8; 8] = [5; 8];

/// A peer, with the two logs that it writes.
pub(super) struct Peer {
    number: u8,
    session: Option<SessionId>,
    encoder: FrameEncoder,
    authors: [Author; 2],
    /// Everything that it has said, to say it again.
    said: Vec<Vec<u8>>,
}

impl Peer {
    pub(super) fn new(number: u8) -> Self {
        Self {
            number,
            session: None,
            encoder: FrameEncoder::new(),
            authors: [Author::new(number, 11), Author::new(number, 12)],
            said: Vec::new(),
        }
    }

    /// The newest session; 0, which none has, before the first.
    pub(super) fn session(&self) -> SessionId {
        self.session.unwrap_or_default()
    }

    /// Opens a session and says nothing.
    pub(super) fn arrive(&mut self, device: &mut Device) {
        self.encoder = FrameEncoder::new();
        self.session = Some(device.open(device_id(self.number)));
    }

    /// Opens a session and gets to where entries flow, showing nothing.
    pub(super) fn join(&mut self, device: &mut Device) {
        self.arrive(device);
        for message in [Message::Hello(self.hello()), Message::FrontEnd] {
            self.say(device, &message);
        }
    }

    pub(super) fn leave(&mut self, device: &mut Device) {
        if let Some(session) = self.session.take() {
            device.handle(Input::SessionClosed { session });
        }
    }

    pub(super) fn say_runs(&mut self, device: &mut Device, runs: Vec<Run>) {
        self.say(device, &Message::Data(runs));
    }

    fn say(&mut self, device: &mut Device, message: &Message) {
        let frame = self.encoder.encode(message);
        self.say_bytes(device, frame);
    }

    /// Sends a frame on the newest session, ended or not.
    pub(super) fn say_bytes(&mut self, device: &mut Device, bytes: Vec<u8>) {
        self.said.push(bytes.clone());
        let session = self.session();
        device.handle(Input::Frame { session, bytes });
    }

    /// Sends again what it has said before, or what it was told.
    pub(super) fn replay(&mut self, device: &mut Device, which: u8) {
        let heard = device.said(self.session());
        let mut known = self.said.iter().chain(heard);
        let count = self.said.len() + heard.len();
        let frame = known.nth(usize::from(which) % count.max(1)).cloned();
        if let Some(frame) = frame {
            self.say_bytes(device, frame);
        }
    }

    fn hello(&self) -> Hello {
        Hello {
            version: PROTOCOL_VERSION,
            organisation_tag: organisation_tag(&ORGANISATION),
            proof: SECRET.proof(&ORGANISATION, &device_id(self.number), &device_id(NUMBER)),
            hub: false,
            schema_version: 1,
            dictionary: [0; 8],
            spaces: Vec::new(),
            checkpoints: Vec::new(),
            accord: None,
        }
    }

    /// The frame of any message.
    pub(super) fn frame_of_something(&mut self, drawn: &mut Unstructured<'_>) -> Result<Vec<u8>> {
        let message = self.something(drawn)?;
        Ok(self.encoder.encode(&message))
    }

    fn something(&mut self, drawn: &mut Unstructured<'_>) -> Result<Message> {
        let log = self.some_log(drawn)?;
        Ok(match drawn.int_in_range(0..=26)? {
            0 => Message::Hello(self.some_hello(drawn)?),
            1 => Message::Name("somebody else".to_owned()),
            2 => Message::Schema(SchemaTag {
                name: (*drawn.choose(&["golden", "", "\u{202e}"])?).to_owned(),
                version: drawn.arbitrary()?,
                digest: drawn.arbitrary()?,
            }),
            3 => Message::Front {
                space: self.some_space(drawn)?,
                rows: self.some_rows(drawn)?,
            },
            4 => Message::FrontEnd,
            5 => Message::Ack(vec![(log, seq(drawn)?)]),
            6 => Message::Want,
            7 => Message::Mark(drawn.arbitrary()?),
            8 => Message::Hold,
            9 => Message::Ask {
                log,
                from: seq(drawn)?,
            },
            10 => Message::Given { log, run: None },
            11 => Message::Given {
                log,
                run: Some(self.some_run(drawn)?),
            },
            12 => Message::Probe {
                log,
                seqs: ascending(drawn)?,
            },
            13 => {
                let seqs = ascending(drawn)?.into_iter();
                let rows = seqs
                    .map(|seq| Ok((seq, drawn.arbitrary()?)))
                    .collect::<Result<_>>()?;
                Message::Tags { log, rows }
            }
            15 => Message::Tell {
                salt: SALT,
                base: drawn.arbitrary()?,
            },
            16 | 17 => {
                let space = self.some_space(drawn)?;
                Message::Range {
                    space: SECRET.space_tag(&ORGANISATION, &space),
                    ends: drawn.arbitrary()?,
                    rows: self.some_range_rows(drawn)?,
                }
            }
            18 | 19 => {
                let indexes = ascending(drawn)?.into_iter();
                let differs = indexes
                    .map(|index| Ok((index, seq(drawn)?)))
                    .collect::<Result<_>>()?;
                Message::Answer {
                    more: drawn.arbitrary()?,
                    differs,
                    rows: self.some_range_rows(drawn)?,
                }
            }
            14 => Message::Bye {
                code: "protocol".to_owned(),
                text: "so there".to_owned(),
            },
            20 | 21 => self.some_part(drawn)?,
            22 => {
                let (whole, bytes) = encode_whole(&self.some_run(drawn)?);
                let bytes = drawn.int_in_range(0..=bytes.len() + 1)?;
                Message::Have { whole, bytes }
            }
            _ => {
                let count = drawn.int_in_range(0..=3)?;
                Message::Data(
                    (0..count)
                        .map(|_| self.some_run(drawn))
                        .collect::<Result<_>>()?,
                )
            }
        })
    }

    fn some_hello(&self, drawn: &mut Unstructured<'_>) -> Result<Hello> {
        let mut hello = self.hello();
        match drawn.int_in_range(0..=6)? {
            0 => hello.version = drawn.arbitrary()?,
            1 => hello.organisation_tag = drawn.arbitrary()?,
            2 => hello.proof = drawn.arbitrary()?,
            3 => {
                let tag = SECRET.space_tag(&ORGANISATION, &SpaceName::default());
                let (root, count) = (drawn.arbitrary()?, drawn.arbitrary()?);
                hello.spaces = vec![SpaceRoot { tag, root, count }];
            }
            4 => hello.checkpoints = vec![drawn.arbitrary()?],
            5 => hello.accord = drawn.arbitrary()?,
            _ => {}
        }
        Ok(hello)
    }

    fn some_log(&self, drawn: &mut Unstructured<'_>) -> Result<LogId> {
        Ok(match drawn.int_in_range(0..=2)? {
            0 => LogId(drawn.arbitrary()?),
            index => self.authors[index - 1].log(),
        })
    }

    fn some_space(&self, drawn: &mut Unstructured<'_>) -> Result<SpaceName> {
        let name = drawn.choose(&["main", "clinic/elsewhere"])?;
        Ok(SpaceName::new(name).expect("a good name"))
    }

    fn some_rows(&self, drawn: &mut Unstructured<'_>) -> Result<Vec<FrontRow>> {
        let mut rows: Vec<FrontRow> = self.authors.iter().map(Author::front_row).collect();
        if drawn.arbitrary()? {
            let (log, chain_tag) = (self.some_log(drawn)?, drawn.arbitrary()?);
            rows.push(FrontRow {
                log,
                seq: seq(drawn)?,
                chain_tag,
            });
        }
        rows.retain(|row| row.seq > 0);
        if drawn.ratio(7, 8)? {
            rows.sort_by_key(|row| row.log);
            rows.dedup_by_key(|row| row.log);
        }
        Ok(rows)
    }

    /// A piece of a run, mostly as an honest peer cuts it.
    fn some_part(&mut self, drawn: &mut Unstructured<'_>) -> Result<Message> {
        let (mut whole, mut bytes) = encode_whole(&self.some_run(drawn)?);
        let total = bytes.len();
        match drawn.int_in_range(0..=7)? {
            0 => whole.digest = drawn.arbitrary()?,
            1 => whole.last = seq(drawn)?,
            2 => bytes[total / 2] ^= 1,
            _ => {}
        }
        let middle = drawn.int_in_range(0..=total - 1)?;
        let (offset, end) = *drawn.choose(&[(0, middle), (middle, total), (0, total)])?;
        Ok(Message::Part(Part {
            whole,
            total,
            offset,
            bytes: bytes[offset..end].to_vec(),
        }))
    }

    /// The same rows as a telling has them, with true tags or not.
    fn some_range_rows(&self, drawn: &mut Unstructured<'_>) -> Result<Vec<RangeRow>> {
        let rows = self.some_rows(drawn)?.into_iter();
        let lies: bool = drawn.arbitrary()?;
        let range_row = |row: FrontRow| {
            let truth = self.authors.iter().find(|author| author.log() == row.log);
            RangeRow {
                log: row.log,
                seq: row.seq,
                tag: truth
                    .filter(|_| !lies)
                    .map_or([1; 4], |author| author.row_tag(&SALT)),
            }
        };
        Ok(rows.map(range_row).collect())
    }

    fn some_run(&mut self, drawn: &mut Unstructured<'_>) -> Result<Run> {
        let author = drawn.choose_index(self.authors.len())?;
        self.authors[author].some_run(drawn)
    }
}

fn seq(drawn: &mut Unstructured<'_>) -> Result<u64> {
    Ok(match drawn.int_in_range(0..=3)? {
        0 => drawn.arbitrary()?,
        1 => drawn.int_in_range((1 << 40) - 1..=(1 << 40) + 1)?,
        _ => drawn.int_in_range(0..=6)?,
    })
}

fn ascending(drawn: &mut Unstructured<'_>) -> Result<Vec<u64>> {
    let count = drawn.int_in_range(0..=4)?;
    let mut seqs = (0..count).map(|_| seq(drawn)).collect::<Result<Vec<_>>>()?;
    if drawn.ratio(7, 8)? {
        seqs.sort_unstable();
        seqs.dedup();
    }
    Ok(seqs)
}
