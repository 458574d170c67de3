//! Answers that are one document and are sent in parts while they are written.

use berth_client::{Body, BoxError};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};

/// Marks such an answer, unlike a watch, whose events are documents of their own.
#[derive(Clone, Copy, Debug)]
struct InParts;

/// What a document goes through, part by part.
pub(crate) trait Filter: Send + 'static {
    /// What becomes of the next part; there may be nothing of it yet.
    fn part(&mut self, bytes: &[u8]) -> Vec<u8>;

    /// What comes after the last one.
    fn end(&mut self) -> Vec<u8>;
}

/// A body of the parts that `next` gives until there is none.
pub(crate) fn body(mut next: impl FnMut() -> Option<Vec<u8>> + Send + 'static) -> Body {
    let parts = stream::iter(std::iter::from_fn(move || next().map(Bytes::from)));
    StreamBody::new(parts.map(|part| Ok::<_, BoxError>(Frame::data(part)))).boxed_unsync()
}

/// Marks an answer as one document in parts.
pub(crate) fn mark(mut response: Response<Body>) -> Response<Body> {
    response.extensions_mut().insert(InParts);
    response
}

/// Whether an answer is one document in parts.
pub(crate) fn are_in(response: &Response<Body>) -> bool {
    response.extensions().get::<InParts>().is_some()
}

/// The body as it comes out of the filter.
pub(crate) fn through(body: Body, filter: impl Filter) -> Body {
    let parts = stream::unfold(Some((body, filter)), |state| async move {
        let (mut body, mut filter) = state?;
        loop {
            let bytes = match body.frame().await {
                Some(Ok(frame)) => frame.data_ref().map(|part| filter.part(part)).unwrap_or_default(),
                Some(Err(error)) => return Some((Err(error), None)),
                None => return Some((Ok(Frame::data(Bytes::from(filter.end()))), None)),
            };
            if !bytes.is_empty() {
                return Some((Ok(Frame::data(Bytes::from(bytes))), Some((body, filter))));
            }
        }
    });
    StreamBody::new(parts.boxed()).boxed_unsync()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Leaves out every other byte, and counts them at the end.
    #[derive(Default)]
    struct Every(usize);

    impl Filter for Every {
        fn part(&mut self, bytes: &[u8]) -> Vec<u8> {
            let first = self.0;
            self.0 += bytes.len();
            let kept = bytes.iter().enumerate().filter(|(at, _)| (first + at).is_multiple_of(2));
            kept.map(|(_, byte)| *byte).collect()
        }

        fn end(&mut self) -> Vec<u8> {
            self.0.to_string().into()
        }
    }

    #[tokio::test]
    async fn a_filter_sees_every_part_and_the_end() {
        let mut parts = ["a", "b", "cd", "ef"].into_iter().map(Vec::from);
        let filtered = through(body(move || parts.next()), Every::default());
        assert_eq!(filtered.collect().await.unwrap().to_bytes(), "ace6");
    }
}
