//! `fieldmesh watch`: changes as they arrive, from here or from peers. Goes on after a lost connection
//! where it stopped; the daemon gives each change at least once.

use std::time::Duration;

use super::client::Client;
use super::events::{Event, EventReader};
use super::failure::{Exit, Failure};
use super::output::{Output, plain};
use super::show;
use crate::api::types::Change;

/// Pauses before connecting again; the last is repeated.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(15),
];
/// How long the daemon may be silent: three of its heartbeats.
const SILENCE_MAX: Duration = Duration::from_secs(45);

#[derive(clap::Args, Debug)]
pub(crate) struct WatchArgs {
    /// Only this collection
    collection: Option<String>,
    /// Where to start: a cursor, `now`, or 0 for everything
    #[arg(long, value_name = "CURSOR", default_value = "now")]
    since: String,
    /// Give each record as it is with its change (needs --json)
    #[arg(long)]
    records: bool,
}

pub(crate) async fn watch(client: &Client, args: &WatchArgs, out: Output) -> Result<Exit, Failure> {
    let mut watch = Watch {
        client,
        args,
        out,
        last: None,
        lost: 0,
        connected: false,
    };
    tokio::select! {
        ended = watch.run() => ended.map(|()| Exit::Done),
        _ = tokio::signal::ctrl_c() => Ok(Exit::Done),
    }
}

struct Watch<'a> {
    client: &'a Client,
    args: &'a WatchArgs,
    out: Output,
    /// The cursor of the last change that was printed.
    last: Option<String>,
    /// How often in a row the connection was lost.
    lost: usize,
    connected: bool,
}

impl Watch<'_> {
    async fn run(&mut self) -> Result<(), Failure> {
        loop {
            let failure = match self.follow().await {
                Ok(()) => Failure::new(Exit::Unreachable, "the daemon closed the stream"),
                Err(failure) => failure,
            };
            // Only what worked once and was lost is worth waiting for.
            let passing = failure.exit == Exit::Unreachable
                || failure.has_code("stopping")
                || failure.has_code("busy");
            if !passing || !self.connected {
                return Err(failure);
            }
            let pause = PAUSES[self.lost.min(PAUSES.len() - 1)];
            self.lost += 1;
            self.out.talk(&format!("{}; trying again", failure.message));
            tokio::time::sleep(pause).await;
        }
    }

    /// Prints changes until the connection ends.
    async fn follow(&mut self) -> Result<(), Failure> {
        let mut call = self.client.read(&["changes"])?;
        if let Some(collection) = &self.args.collection {
            call = call.query("collection", collection);
        }
        if self.args.records {
            call = call.query("include", "record");
        }
        call = match &self.last {
            Some(last) => call.header("last-event-id", last)?,
            None => call.query("since", &self.args.since),
        };
        let mut response = call.stream().await?;
        self.connected = true;
        let mut reader = EventReader::default();
        loop {
            let chunk = tokio::time::timeout(SILENCE_MAX, response.chunk()).await;
            let chunk = chunk.map_err(|_| lost("the daemon is silent"))?;
            let Some(bytes) = chunk.map_err(|_| lost("the connection was lost"))? else {
                return Ok(());
            };
            let events = reader
                .read(&bytes)
                .map_err(|e| Failure::new(Exit::Failed, e))?;
            events.into_iter().try_for_each(|event| self.show(event))?;
        }
    }

    fn show(&mut self, event: Event) -> Result<(), Failure> {
        self.lost = 0;
        if event.kind == "change" {
            let change: Change = serde_json::from_str(&event.data)
                .map_err(|e| Failure::new(Exit::Failed, format!("a change cannot be read: {e}")))?;
            if self.out.json {
                self.out.json(&change)?;
            } else {
                self.out.line(&line(&change))?;
            }
        }
        self.last = event.id.or_else(|| self.last.take());
        Ok(())
    }
}

fn lost(message: &str) -> Failure {
    Failure::new(Exit::Unreachable, message)
}

fn line(change: &Change) -> String {
    format!(
        "{collection}/{id}  {kinds} {fields}  {origin}",
        collection = plain(&change.collection),
        id = plain(&change.id),
        kinds = plain(&change.kinds.join("+")),
        fields = plain(&change.fields.join(",")),
        origin = show::origin(&change.origin),
    )
}
