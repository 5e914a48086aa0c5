//! The loop itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{self, Instant, MissedTickBehavior};

use super::clock::Clock;
use super::handle::{Command, NetReport, Write};
use super::writer::Writer;
use crate::engine::Engine;
use crate::engine::batch::{Arrival, CommitOutcome, CommitReport, Rejection, RequestId, SchemaTag};
use crate::engine::effect::Effect;
use crate::engine::fleet::Fleet;
use crate::engine::input::{Input, LocalWrite};
use crate::net::{Net, NetCommand, NetEvent};
use crate::store::Reader;

/// How many local writes may wait for the store; further clients wait in the command channel.
const WRITES_MAX: usize = 1024;

/// How many finished reads for peers may wait for the loop.
const READS_MAX: usize = 64;

/// How long a shutdown waits for sessions to say goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// What the loop joins.
pub(super) struct Parts {
    pub(super) engine: Engine,
    pub(super) clock: Clock,
    pub(super) writer: Writer,
    pub(super) reports: mpsc::Receiver<CommitReport>,
    pub(super) reader: Reader,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) net: Net,
    pub(super) fleet: watch::Sender<Arc<Fleet>>,
    pub(super) net_status: watch::Sender<Arc<NetReport>>,
    pub(super) arrivals: watch::Sender<Arrival>,
}

type Waiting = oneshot::Sender<Result<CommitOutcome, Rejection>>;

/// The loop's state.
pub(super) struct Runtime {
    parts: Parts,
    waiting: BTreeMap<RequestId, Waiting>,
    next_request: RequestId,
    read_sender: mpsc::Sender<Input>,
    reads: mpsc::Receiver<Input>,
    /// The schema that the engine knows is in use.
    told_schema: SchemaTag,
    broken: Option<String>,
}

/// One thing that the loop has waited for.
enum Turn {
    Input(Input),
    Command(Command),
    Net(NetEvent),
    Alive,
    Stop,
    Broken(&'static str),
}

impl Runtime {
    pub(super) fn new(parts: Parts) -> Self {
        let (read_sender, reads) = mpsc::channel(READS_MAX);
        let told_schema = parts.reader.schemas().tag();
        Self {
            told_schema,
            parts,
            waiting: BTreeMap::new(),
            next_request: 1,
            read_sender,
            reads,
            broken: None,
        }
    }

    /// Runs until `stopped` resolves or something breaks.
    pub(super) async fn run(mut self, mut stopped: oneshot::Receiver<()>) -> Result<(), String> {
        let mut alive = time::interval(watchdog_period());
        alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.broken.is_none() {
            match self.next(&mut stopped, &mut alive).await {
                Turn::Input(input) => {
                    let may_switch = matches!(input, Input::Committed(_));
                    self.feed(input).await;
                    if may_switch {
                        self.tell_schema().await;
                    }
                }
                Turn::Command(command) => self.command(command).await,
                Turn::Net(event) => self.net(event).await,
                // Only this loop pings the watchdog, so a loop that hangs is restarted.
                Turn::Alive => notify(&[sd_notify::NotifyState::Watchdog]),
                Turn::Stop => break,
                Turn::Broken(what) => self.broken = Some(what.to_owned()),
            }
        }
        self.finish().await
    }

    async fn next(
        &mut self,
        stopped: &mut oneshot::Receiver<()>,
        alive: &mut time::Interval,
    ) -> Turn {
        let deadline = self.parts.engine.poll_timeout();
        let wake = deadline.map(|at| Instant::from_std(self.parts.clock.instant(at)));
        let room = self.waiting.len() < WRITES_MAX;
        tokio::select! {
            biased;
            _ = stopped => Turn::Stop,
            _ = alive.tick() => Turn::Alive,
            () = sleep_until(wake) => Turn::Input(Input::Timeout),
            report = self.parts.reports.recv() => match report {
                Some(report) => Turn::Input(Input::Committed(report)),
                None => Turn::Broken("the store's writer thread has ended"),
            },
            Some(read) = self.reads.recv() => Turn::Input(read),
            Some(command) = self.parts.commands.recv(), if room => Turn::Command(command),
            event = self.parts.net.events.recv() => match event {
                Some(event) => Turn::Net(event),
                None => Turn::Broken("the network task has ended"),
            },
        }
    }

    async fn command(&mut self, command: Command) {
        match command {
            Command::Write(write, reply) => self.write(write, reply).await,
            Command::Network(online, done) => {
                self.feed(Input::Network { online }).await;
                self.tell_net(NetCommand::Online(online)).await;
                // The asker may have gone; the network is switched all the same.
                let _ = done.send(());
            }
            Command::UseSchema(version, reply) => {
                if !self.parts.writer.use_schema(version, reply) {
                    self.broken = Some("the store's writer thread has ended".to_owned());
                }
            }
        }
    }

    /// Tells the engine which schema is in use, if a transaction has switched it.
    async fn tell_schema(&mut self) {
        let schemas = self.parts.reader.schemas();
        let tag = schemas.tag();
        if self.told_schema != tag {
            self.told_schema = tag;
            self.feed(Input::Schema(schemas.in_use())).await;
        }
    }

    async fn write(&mut self, write: Write, reply: Waiting) {
        let request = self.next_request;
        self.next_request += 1;
        self.waiting.insert(request, reply);
        let Write {
            space,
            person,
            schema_version,
            edits,
            idempotency,
            answering,
        } = write;
        self.feed(Input::Local(LocalWrite {
            request,
            space,
            person,
            schema_version,
            edits,
            idempotency,
            answering,
        }))
        .await;
    }

    async fn net(&mut self, event: NetEvent) {
        match event {
            NetEvent::Opened { session, device } => {
                self.feed(Input::SessionOpened { session, device }).await;
            }
            NetEvent::Frame { session, bytes } => self.feed(Input::Frame { session, bytes }).await,
            NetEvent::BadFrame { session, bytes } => {
                self.feed(Input::BadFrame { session, bytes }).await;
            }
            NetEvent::Closed { session } => self.feed(Input::SessionClosed { session }).await,
            NetEvent::Listening(address) => tracing::info!(%address, "listening"),
            NetEvent::Status(report) => {
                self.parts.net_status.send_replace(Arc::new(report));
            }
        }
    }

    /// Gives the engine one input and carries out every effect of it.
    async fn feed(&mut self, input: Input) {
        self.parts.engine.handle(self.parts.clock.now(), input);
        while let Some(effect) = self.parts.engine.poll_effect() {
            self.carry_out(effect).await;
        }
        if let Some(fleet) = self.parts.engine.fleet() {
            self.parts.fleet.send_replace(fleet);
        }
    }

    async fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Commit(batch) => {
                if !self.parts.writer.send(batch) {
                    self.broken = Some("the store's writer thread has ended".to_owned());
                }
            }
            Effect::Reply { request, result } => answer(&mut self.waiting, request, result),
            Effect::Publish { arrival } => {
                self.parts.arrivals.send_replace(arrival);
            }
            Effect::Send { session, frame } => {
                self.tell_net(NetCommand::Send { session, frame }).await
            }
            Effect::Fetch {
                session,
                walk,
                known,
                bytes_max,
            } => {
                let reader = self.parts.reader.clone();
                let done = self.read_sender.clone();
                tokio::task::spawn_blocking(move || {
                    let result = reader
                        .fetch(&walk, &known, bytes_max)
                        .map_err(|e| e.to_string());
                    // The loop has ended if nobody takes the result.
                    let _ = done.blocking_send(Input::Fetched { session, result });
                });
            }
            Effect::Look {
                session,
                for_peer,
                look,
            } => {
                let reader = self.parts.reader.clone();
                let done = self.read_sender.clone();
                tokio::task::spawn_blocking(move || {
                    let result = reader.look(&look).map_err(|e| e.to_string());
                    // The loop has ended if nobody takes the result.
                    let _ = done.blocking_send(Input::Looked {
                        session,
                        for_peer,
                        result,
                    });
                });
            }
            Effect::Close { session, reason } => {
                tracing::info!(session, %reason, "session closed by this device");
                let refuse = reason.is_refusal();
                self.tell_net(NetCommand::Close { session, refuse }).await;
            }
        }
    }

    async fn tell_net(&mut self, command: NetCommand) {
        if self.parts.net.commands.send(command).await.is_err() {
            self.broken = Some("the network task has ended".to_owned());
        }
    }

    /// Says goodbye to peers while the store writes what it has, and answers every write of it: a client that
    /// is told to try again would write what is durable a second time. Commands that were not taken are not
    /// carried out.
    async fn finish(mut self) -> Result<(), String> {
        notify(&[sd_notify::NotifyState::Stopping]);
        self.feed(Input::Network { online: false }).await;
        self.tell_net(NetCommand::Shutdown).await;
        let Parts {
            writer,
            mut reports,
            mut net,
            ..
        } = self.parts;
        let goodbye = async {
            let ended = async { while net.events.recv().await.is_some() {} };
            if time::timeout(GOODBYE, ended).await.is_err() {
                tracing::warn!("the network did not end in time");
            }
        };
        let finishing = tokio::task::spawn_blocking(move || writer.finish());
        let mut waiting = self.waiting;
        let answers = async {
            while let Some(report) = reports.recv().await {
                for (request, result) in report.local {
                    answer(&mut waiting, request, result);
                }
            }
        };
        tokio::join!(goodbye, answers);
        if finishing.await.is_err() {
            return Err("the store's writer thread did not end".to_owned());
        }
        match self.broken {
            None => Ok(()),
            Some(why) => Err(why),
        }
    }
}

/// Tells whoever waits for the request what came of it.
fn answer(
    waiting: &mut BTreeMap<RequestId, Waiting>,
    request: RequestId,
    result: Result<CommitOutcome, Rejection>,
) {
    if let Some(reply) = waiting.remove(&request) {
        // A client that has gone away does not undo its write.
        let _ = reply.send(result);
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Half the service manager's watchdog time, or an hour where there is none.
fn watchdog_period() -> Duration {
    sd_notify::watchdog_enabled().map_or(Duration::from_secs(3600), |period| period / 2)
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot reach the service manager");
    }
}

#[cfg(test)]
mod tests {
    use crdt_schema::ident::{OrganisationId, SpaceName};
    use crdt_schema::op::Op;
    use crdt_schema::schema::Schema;
    use futures::future::{join, join_all};

    use crate::config::Config;
    use crate::engine::batch::{LocalEdit, WriteMode};
    use crate::node::handle::Write;

    const SCHEMA: &str = r#"
schema = "test"
version = 1
[collections.item.fields]
stock = { type = "counter" }
"#;

    fn config(dir: &std::path::Path) -> Config {
        Config {
            dir: dir.to_owned(),
            name: "a".to_owned(),
            organisation: OrganisationId([1; 16]),
            join_secret: [1; 32],
            schema: Schema::parse(SCHEMA).unwrap(),
            schema_follow: false,
            listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
            peers: Vec::new(),
            mdns: false,
            hub: false,
            api_tcp: None,
            api_token: String::new(),
            metered: false,
            role: None,
        }
    }

    fn one_more(id: String) -> Write {
        let op = Op::Add {
            key: "stock".to_owned(),
            delta: 1,
        };
        Write {
            space: SpaceName::default(),
            person: String::new(),
            schema_version: 1,
            edits: vec![LocalEdit {
                collection: "item".to_owned(),
                id,
                mode: WriteMode::Upsert,
                if_match: None,
                ops: vec![op],
            }],
            idempotency: None,
            answering: None,
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_write_that_the_loop_has_taken_before_the_stop_is_answered_with_its_outcome() {
        let dir = tempfile::tempdir().unwrap();
        let node = crate::node::start(&config(dir.path())).await.unwrap();
        let handle = node.handle;

        // Commands are taken in turn, so every write is under way once the switch has been answered.
        let writes = join_all((0..50).map(|n| handle.write(one_more(format!("i{n}")))));
        let stop = async {
            handle.set_online(true).await.unwrap();
            drop(node.stop);
        };
        let (outcomes, ()) = join(writes, stop).await;

        assert_eq!(node.task.await.unwrap(), Ok(()));
        for outcome in outcomes {
            outcome.expect("the write is durable, and its client is told so");
        }
    }
}
