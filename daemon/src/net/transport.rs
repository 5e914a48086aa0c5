//! TCP, Noise and Yamux, with the two limits that libp2p leaves out: how long a connection may take
//! to come up, and how long it may take to close.
//!
//! Knows nothing of protocols above the multiplexer.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::core::muxing::{StreamMuxer, StreamMuxerBox, StreamMuxerEvent};
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::{PeerId, Transport, noise, tcp, yamux};
use tokio::time::Sleep;

/// How long a connection may take from the first packet to the multiplexer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a connection may take to send its last bytes. Without a limit, a connection whose peer
/// went out of reach in the middle of a transfer keeps its place for a quarter of an hour.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Most streams at once on a connection: one to sync, and a few for ping and identify. Each can
/// make us hold a window of unread bytes.
const STREAMS_MAX: usize = 16;

/// The transport of a device.
pub(super) fn build(key: &Keypair) -> Result<Boxed<(PeerId, StreamMuxerBox)>, noise::Error> {
    let mut multiplexer = yamux::Config::default();
    multiplexer.set_max_num_streams(STREAMS_MAX);
    Ok(tcp::tokio::Transport::new(tcp::Config::new())
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(key)?)
        .multiplex(multiplexer)
        .timeout(CONNECT_TIMEOUT)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(ClosesInTime::new(muxer))))
        .boxed())
}

/// A multiplexer that gives up closing after `CLOSE_TIMEOUT`.
struct ClosesInTime<M> {
    muxer: Pin<Box<M>>,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<M> ClosesInTime<M> {
    fn new(muxer: M) -> Self {
        Self {
            muxer: Box::pin(muxer),
            deadline: None,
        }
    }
}

impl<M: StreamMuxer> StreamMuxer for ClosesInTime<M> {
    type Substream = M::Substream;
    type Error = M::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        self.muxer.as_mut().poll_inbound(cx)
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        self.muxer.as_mut().poll_outbound(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if let Poll::Ready(closed) = self.muxer.as_mut().poll_close(cx) {
            return Poll::Ready(closed);
        }
        let start = || Box::pin(tokio::time::sleep(CLOSE_TIMEOUT));
        let deadline = self.deadline.get_or_insert_with(start);
        deadline.as_mut().poll(cx).map(Ok)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        self.muxer.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::poll_fn;

    use futures::io::Cursor;

    use super::*;

    /// A connection to a peer that is out of reach: nothing ever comes to an end.
    struct Stuck;

    impl StreamMuxer for Stuck {
        type Substream = Cursor<Vec<u8>>;
        type Error = Infallible;

        fn poll_inbound(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Result<Cursor<Vec<u8>>, Infallible>> {
            Poll::Pending
        }

        fn poll_outbound(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Result<Cursor<Vec<u8>>, Infallible>> {
            Poll::Pending
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Pending
        }

        fn poll(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Result<StreamMuxerEvent, Infallible>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn a_connection_to_a_peer_out_of_reach_closes_in_time() {
        let mut muxer = ClosesInTime::new(Stuck);
        let closing = poll_fn(|cx| Pin::new(&mut muxer).poll_close(cx));

        let closed = tokio::time::timeout(3 * CLOSE_TIMEOUT, closing).await;

        assert_eq!(closed, Ok(Ok(())));
    }
}
