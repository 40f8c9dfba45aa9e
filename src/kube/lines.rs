//! The lines of a watch, out of pieces that end anywhere. **Invariant:** only whole lines come out; what a
//! server leaves half-said when it ends is dropped, and is said again by the next watch.

use bytes::{Bytes, BytesMut};

use super::api::Body;
use super::client::Error;

/// An object of Kubernetes is below 2 MiB; a line longer than this is none.
const LONGEST: usize = 8 << 20;

/// See the file.
pub struct Lines {
    body: Box<dyn Body>,
    /// What came after the last end of a line.
    rest: BytesMut,
}

impl Lines {
    pub(super) fn new(body: Box<dyn Body>) -> Lines {
        Lines { body, rest: BytesMut::new() }
    }

    /// All whole lines that have come, at least one; `None`: the server has ended the watch in good order.
    ///
    /// # Errors
    /// If the connection breaks, or a line has no end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let Some(chunk) = self.body.chunk().await.map_err(Error::Unreachable)? else { return Ok(None) };
            let before = self.rest.len();
            self.rest.extend_from_slice(&chunk);
            if let Some(end) = chunk.iter().rposition(|byte| *byte == b'\n') {
                return Ok(Some(self.rest.split_to(before + end + 1).freeze()));
            }
            if self.rest.len() > LONGEST {
                return Err(Error::Garbled(format!("a line of a watch is longer than {LONGEST} bytes")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use azure::TransportError;
    use azure::transport::BoxFuture;

    use super::*;

    struct Pieces(VecDeque<Option<Bytes>>);

    impl Body for Pieces {
        fn chunk(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, TransportError>> {
            let next = self.0.pop_front();
            Box::pin(async move {
                next.map_or(Ok(None), |piece| piece.map(Some).ok_or(TransportError::lost("cut")))
            })
        }
    }

    async fn check(pieces: &[&str], wanted: &[&str]) {
        // An empty piece stands for a connection that breaks.
        let piece = |text: &&str| (!text.is_empty()).then(|| Bytes::copy_from_slice(text.as_bytes()));
        let mut lines = Lines::new(Box::new(Pieces(pieces.iter().map(piece).collect())));
        let mut found = Vec::new();
        loop {
            match lines.next().await {
                Ok(Some(some)) => found.push(String::from_utf8(some.to_vec()).unwrap()),
                Ok(None) => break,
                Err(error) => break found.push(error.to_string()),
            }
        }
        assert_eq!(found, wanted, "{pieces:?}");
    }

    #[tokio::test]
    async fn only_whole_lines_come_out() {
        check(&[], &[]).await;
        check(&["a\n"], &["a\n"]).await;
        check(&["a", "b\nc", "\n"], &["ab\n", "c\n"]).await;
        check(&["a\nb\nc"], &["a\nb\n"]).await;
        check(&["a\nb", ""], &["a\n", "the Kubernetes API cannot be reached: cut"]).await;
        let long = "x".repeat(LONGEST + 1);
        check(
            &["a\n", &long, "\n"],
            &[
                "a\n",
                "the Kubernetes API cannot be understood: a line of a watch is longer than 8388608 bytes",
            ],
        )
        .await;
    }
}
