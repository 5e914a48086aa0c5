//! Server-sent events, read piece by piece as they arrive. Pure; knows nothing of what they mean.

/// Longest event, in bytes. A longer one ends the stream before it fills the memory.
const EVENT_BYTES_MAX: usize = 8 << 20;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// What kind of event it is; `message` if the server does not say.
    pub(crate) kind: String,
    /// Where to go on after it.
    pub(crate) id: Option<String>,
    /// Its content.
    pub(crate) data: String,
}

/// An event was longer than a reader keeps.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {EVENT_BYTES_MAX} bytes")]
pub(crate) struct TooLong;

/// Cuts a stream of bytes into events.
#[derive(Debug, Default)]
pub(crate) struct EventReader {
    line: Vec<u8>,
    bytes: usize,
    event: Event,
    has_data: bool,
}

impl EventReader {
    /// Takes the next bytes and gives the events that they complete.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for &byte in bytes {
            if byte != b'\n' {
                self.bytes += 1;
                if self.bytes > EVENT_BYTES_MAX {
                    return Err(TooLong);
                }
                self.line.push(byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let text = String::from_utf8_lossy(&line);
            events.extend(self.end_line(text.strip_suffix('\r').unwrap_or(&text)));
        }
        Ok(events)
    }

    fn end_line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            self.bytes = 0;
            let event = std::mem::take(&mut self.event);
            return std::mem::take(&mut self.has_data).then_some(event);
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut self.event.kind),
            "id" => self.event.id = Some(value.to_owned()),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            // A heartbeat is a comment: it must not add up to a long event.
            "" => self.bytes = self.event.data.len(),
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": hello\n\nid: 7\nevent: change\ndata: {\"a\":\"ü\"}\n\n:beat\ndata: x\r\ndata:y\r\n\r\nid: 9\n\n";

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        let whole = EventReader::default().read(STREAM.as_bytes()).unwrap();
        assert_eq!(whole.len(), 2);
        assert_eq!(
            (whole[0].kind.as_str(), whole[0].id.as_deref()),
            ("change", Some("7"))
        );
        assert_eq!(
            (whole[0].data.as_str(), whole[1].data.as_str()),
            ("{\"a\":\"ü\"}", "x\ny")
        );

        for size in 1..7 {
            let mut reader = EventReader::default();
            let pieces = STREAM.as_bytes().chunks(size);
            let events: Vec<Event> = pieces
                .flat_map(|piece| reader.read(piece).unwrap())
                .collect();
            assert_eq!(events, whole);
        }
    }

    #[test]
    fn an_endless_event_is_refused_and_endless_heartbeats_are_not() {
        let long = vec![b'x'; EVENT_BYTES_MAX + 1];
        assert_eq!(EventReader::default().read(&long), Err(TooLong));

        let mut reader = EventReader::default();
        let beats = ":".repeat(1000) + "\n";
        for _ in 0..(EVENT_BYTES_MAX / 1000 + 2) {
            assert_eq!(reader.read(beats.as_bytes()), Ok(Vec::new()));
        }
    }
}
