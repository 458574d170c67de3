//! Things that live as long as a body or a connection does: seats, slots, what a connection is counted by.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use berth_client::{Body, BoxError};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Holds something until the body was sent, or nobody wants it any more.
pub(crate) fn with_body(body: Body, held: impl Send + 'static) -> Body {
    HeldBody { body, _held: Box::new(held) }.boxed_unsync()
}

struct HeldBody {
    body: Body,
    _held: Box<dyn Send>,
}

impl http_body::Body for HeldBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What a connection holds, also when a session has taken it over. A request finds it among its extensions.
#[derive(Clone, Default)]
pub(crate) struct Bag(Arc<Mutex<Vec<Box<dyn Send>>>>);

impl Bag {
    /// Holds something until the connection is closed.
    pub(crate) fn put(&self, held: impl Send + 'static) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(held));
    }
}

/// A stream with its bag.
pub(crate) struct HeldStream<S> {
    stream: S,
    _bag: Bag,
}

impl<S> HeldStream<S> {
    pub(crate) fn new(stream: S, bag: Bag) -> Self {
        Self { stream, _bag: bag }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HeldStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeldStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
