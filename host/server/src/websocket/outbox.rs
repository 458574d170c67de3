//! Sending on a WebSocket, with a bound on what waits for a client that does not read.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::Socket;

/// A longer message is sent in frames of this size, each when the one before has left.
const FRAME_BYTES_MAX: usize = 32 << 10;
/// What waits to be written at most: a frame, and answers to pings. When there is no room for another answer, only the
/// latest ping is answered, as RFC 6455 allows (5.5.3).
pub(super) const WAITING_BYTES_MAX: usize = 2 * FRAME_BYTES_MAX;

/// How long a client may take to answer the closing of a connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The client's messages.
pub(crate) type Source = SplitStream<Socket>;

/// The way to the client.
pub(crate) struct Outbox(SplitSink<Socket, Message>);

impl Outbox {
    /// Splits a connection. Reading from it is what notices its end, and answers pings.
    pub(crate) fn of(socket: Socket) -> (Outbox, Source) {
        let (sink, source) = socket.split();
        (Outbox(sink), source)
    }

    /// Sends one message, as the client takes it.
    ///
    /// # Errors
    /// When the client is gone.
    pub(crate) async fn send(&mut self, kind: Data, mut payload: Bytes) -> Result<(), Error> {
        let mut kind = kind;
        loop {
            let rest = payload.split_off(payload.len().min(FRAME_BYTES_MAX));
            let is_last = rest.is_empty();
            self.put(Message::Frame(Frame::message(payload, OpCode::Data(kind), is_last))).await?;
            if is_last {
                return Ok(());
            }
            (kind, payload) = (Data::Continue, rest);
        }
    }

    /// Says that the connection is alive, with an answer that nobody asked for: no client has to do anything about it. If
    /// there is no client any more, its machine says so, and the next attempt to send fails.
    ///
    /// # Errors
    /// When the client is gone.
    pub(crate) async fn send_pong(&mut self) -> Result<(), Error> {
        self.put(Message::Pong(Bytes::new())).await
    }

    /// Closes the connection, when the client has heard everything.
    pub(crate) async fn close(mut self, mut source: Source) {
        let closed = async {
            let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
            self.put(Message::Close(Some(frame))).await?;
            // A connection that ends with input unread is reset, and what was sent last may be lost on its way.
            while let Some(Ok(_)) = source.next().await {}
            match self.0.reunite(source) {
                Ok(mut socket) => socket.get_mut().shutdown().await.map_err(Error::from),
                Err(_) => Ok(()),
            }
        };
        // Whoever does not listen any more does not miss it.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, closed).await;
    }

    /// What waits goes first, so that there is room.
    async fn put(&mut self, message: Message) -> Result<(), Error> {
        self.0.flush().await?;
        self.0.send(message).await
    }
}
