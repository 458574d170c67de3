//! What the server alone sends: logs and watches. Whatever the client says is ignored, as the API server does.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::protocol::frame::coding::Data;

use super::{Outbox, Socket};

/// How bytes become messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As they are.
    Binary,
    /// As text, in base64.
    Base64,
}

impl Encoding {
    /// The protocols of a stream of bytes.
    pub(crate) const PROTOCOLS: [(&'static str, Encoding); 3] = [
        ("", Encoding::Binary),
        ("binary.k8s.io", Encoding::Binary),
        ("base64.binary.k8s.io", Encoding::Base64),
    ];

    fn message(self, chunk: Bytes) -> (Data, Bytes) {
        match self {
            Self::Binary => (Data::Binary, chunk),
            Self::Base64 => (Data::Text, STANDARD.encode(chunk).into()),
        }
    }
}

/// Sends a stream of bytes, a message for each chunk. It begins with an empty one: the connection stands.
pub(crate) async fn log<E>(socket: Socket, encoding: Encoding, chunks: impl Stream<Item = Result<Bytes, E>>) {
    let send = async |outbox: &mut Outbox| -> Result<(), Error> {
        let mut chunks = std::pin::pin!(chunks);
        outbox.send(encoding.message(Bytes::new()).0, Bytes::new()).await?;
        while let Some(Ok(chunk)) = chunks.next().await {
            let (kind, payload) = encoding.message(chunk);
            outbox.send(kind, payload).await?;
        }
        Ok(())
    };
    run(socket, send).await;
}

/// Sends lines, a message of text for each.
pub(crate) async fn events(socket: Socket, chunks: impl Stream<Item = Bytes>) {
    let send = async |outbox: &mut Outbox| -> Result<(), Error> {
        let mut chunks = std::pin::pin!(chunks);
        while let Some(chunk) = chunks.next().await {
            for line in lines(chunk) {
                outbox.send(Data::Text, line).await?;
            }
        }
        Ok(())
    };
    run(socket, send).await;
}

async fn run(socket: Socket, send: impl AsyncFnOnce(&mut Outbox) -> Result<(), Error>) {
    let (mut outbox, mut source) = Outbox::of(socket);
    let sent = tokio::select! {
        sent = send(&mut outbox) => sent.is_ok(),
        () = async { while let Some(Ok(_)) = source.next().await {} } => false,
    };
    if sent {
        outbox.close(source).await;
    }
}

/// The lines of a chunk, each with its end; a chunk holds whole ones.
fn lines(chunk: Bytes) -> impl Iterator<Item = Bytes> {
    let mut rest = BytesMut::from(chunk);
    std::iter::from_fn(move || {
        let end = rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
        (end > 0).then(|| rest.split_to(end).freeze())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_cut_into_its_lines() {
        let of = |text: &'static str| lines(Bytes::from_static(text.as_bytes())).collect::<Vec<_>>();
        assert_eq!(of("a\nbc\n"), ["a\n", "bc\n"]);
        assert_eq!(of("a\n\nb"), ["a\n", "\n", "b"]);
        assert_eq!(of(""), Vec::<Bytes>::new());
    }
}
