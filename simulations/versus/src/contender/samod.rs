//! samod: an Automerge repository on each device, one document a record, everything shared with everybody.
//!
//! Its repositories run tasks of their own, so they talk over channels on a runtime whose clock is virtual: it
//! goes on only when nothing is left to do. In its favour: storage is in memory, and the second device is
//! told the names of the documents.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use automerge::Automerge;
use futures::channel::mpsc::{SendError, UnboundedReceiver, UnboundedSender, unbounded};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use samod::{AcceptorHandle, BackoffConfig, DialError, Dialer, DocHandle, PeerId, Repo, Transport};
use serde_json::{Map, Value as Json};
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep, sleep_until};
use url::Url;

use super::Contender;
use super::automerge::{document, fields, put};
use crate::link::{Lane, Link, Traffic};
use crate::records::{Record, Update, id};

/// Silence with nothing under way, in virtual time, after which a meeting is over.
const SILENCE: Duration = Duration::from_secs(30);

pub(super) struct Pair {
    runtime: Runtime,
    repos: [Repo; 2],
    /// By name.
    handles: [BTreeMap<String, DocHandle>; 2],
}

impl Pair {
    pub(super) fn new() -> Self {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().start_paused(true).build();
        let runtime = runtime.expect("a runtime can be made");
        let repos = ["a", "b"].map(|name| {
            let name = PeerId::from(name);
            runtime.block_on(async { Repo::build_tokio().with_peer_id(name).load().await })
        });
        let handles = [BTreeMap::new(), BTreeMap::new()];
        Self {
            runtime,
            repos,
            handles,
        }
    }
}

impl Contender for Pair {
    fn load(&mut self, records: &[Record]) {
        self.runtime.block_on(async {
            for record in records {
                let saved = document(record).save();
                let content = Automerge::load(&saved).expect("what was saved can be loaded");
                let handle = self.repos[0].create(content).await;
                self.handles[0].insert(record.id.clone(), handle.expect("the repository runs"));
            }
        });
    }

    fn update(&mut self, updates: &[Update]) {
        self.runtime.block_on(async {
            for update in updates {
                self.handles[0][&id(update.record)].with_document(|doc| {
                    let mut change = doc.transaction();
                    put(&mut change, update.field, &update.value);
                    change.commit();
                });
            }
        });
    }

    fn sync(&mut self, link: Link) -> Traffic {
        let Self {
            runtime,
            repos: [a, b],
            handles: [on_a, on_b],
        } = self;
        runtime.block_on(async {
            let meeting = Arc::new(Meeting {
                link,
                start: Instant::now(),
                traffic: Mutex::default(),
                last_word: Mutex::new(Instant::now()),
            });
            let url = Url::parse("channel://b").expect("it is a URL");
            let acceptor = b.make_acceptor(url.clone()).expect("the repository runs");
            let line = Arc::new(Line {
                acceptor: acceptor.clone(),
                url,
                meeting: Arc::clone(&meeting),
            });
            let backoff = BackoffConfig {
                max_retries: Some(0),
                ..BackoffConfig::default()
            };
            let dialer = a.dial(backoff, line).expect("the repository runs");
            dialer.established().await.expect("the other end answers");
            if on_b.is_empty() {
                let asked = on_a.iter().map(|(name, handle)| {
                    let found = b.find(handle.document_id().clone());
                    async move {
                        (
                            name.clone(),
                            found.await.expect("the repository runs").expect("A has it"),
                        )
                    }
                });
                *on_b = futures::future::join_all(asked).await.into_iter().collect();
            }
            let traffic = meeting.end().await;
            dialer.close();
            acceptor.close();
            sleep(SILENCE).await;
            traffic
        })
    }

    fn record(&mut self, device: usize, id: &str) -> Option<Map<String, Json>> {
        let handle = self.handles[device].get(id)?;
        Some(handle.with_document(|doc| fields(doc)))
    }
}

/// One connection from its beginning to its end.
struct Meeting {
    link: Link,
    start: Instant,
    traffic: Mutex<Traffic>,
    /// When the last message arrived, of either end.
    last_word: Mutex<Instant>,
}

impl Meeting {
    fn traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn last_word(&self) -> MutexGuard<'_, Instant> {
        self.last_word
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nothing has been said or has arrived for a while.
    async fn end(&self) -> Traffic {
        loop {
            let before = self.traffic().messages;
            sleep(SILENCE).await;
            let traffic = *self.traffic();
            if traffic.messages == before && *self.last_word() + SILENCE <= Instant::now() {
                return traffic;
            }
        }
    }

    /// Carries the messages of end `from` over the link.
    async fn carry(
        self: Arc<Self>,
        from: usize,
        mut sent: UnboundedReceiver<Vec<u8>>,
        arrived: UnboundedSender<Vec<u8>>,
    ) {
        let mut lane = Lane::new(self.link, from);
        let (queue, mut queued) = unbounded::<(f64, Vec<u8>)>();
        let meeting = Arc::clone(&self);
        let deliver = async move {
            while let Some((at, message)) = queued.next().await {
                sleep_until(meeting.start + Duration::from_secs_f64(at)).await;
                *meeting.last_word() = Instant::now();
                let _closed = arrived.unbounded_send(message);
            }
        };
        let take = async move {
            while let Some(message) = sent.next().await {
                let at = lane.arrival(self.start.elapsed().as_secs_f64(), message.len());
                let mut traffic = self.traffic();
                traffic.count(from, message.len());
                // What comes back is thanks only.
                if from == 0 {
                    traffic.seconds = traffic.seconds.max(at);
                }
                drop(traffic);
                let _closed = queue.unbounded_send((at, message));
            }
        };
        futures::join!(deliver, take);
    }
}

/// Connects to the other repository over a link of a meeting.
struct Line {
    acceptor: AcceptorHandle,
    url: Url,
    meeting: Arc<Meeting>,
}

impl Dialer for Line {
    type Error = SendError;

    fn url(&self) -> Url {
        self.url.clone()
    }

    fn connect(&self) -> BoxFuture<'static, Result<Transport, DialError<SendError>>> {
        let (from_a, sent_a) = unbounded();
        let (from_b, sent_b) = unbounded();
        let (to_a, at_a) = unbounded();
        let (to_b, at_b) = unbounded();
        tokio::spawn(Arc::clone(&self.meeting).carry(0, sent_a, to_b));
        tokio::spawn(Arc::clone(&self.meeting).carry(1, sent_b, to_a));
        let acceptor = self.acceptor.clone();
        async move {
            let theirs = Transport::new(at_b.map(Ok::<_, SendError>), from_b);
            acceptor.accept(theirs).map_err(DialError::transient)?;
            Ok(Transport::new(at_a.map(Ok::<_, SendError>), from_a))
        }
        .boxed()
    }
}
