//! An answer that is decoded where it lies: its texts are borrowed from the bytes that came. For what is only passed on,
//! where a copy of every text would be half the work. Next: `model/objects.rs`, the documents read this way.

use crate::error::GhostError;
use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Deserialize;
use std::marker::PhantomData;

/// A document that borrows from the answer it came in.
pub trait Shape {
    type As<'a>: Deserialize<'a>;
}

/// A success that holds one `S`.
pub struct Answer<S> {
    status: StatusCode,
    body: Bytes,
    shape: PhantomData<fn() -> S>,
}

impl<S: Shape> Answer<S> {
    pub(crate) fn new(response: Response<Bytes>) -> Self {
        Self { status: response.status(), body: response.into_body(), shape: PhantomData }
    }

    /// The document. An error means that Ghost's answer makes no sense.
    pub fn read(&self) -> Result<S::As<'_>, GhostError> {
        // Looked through once as a whole, which is several times as fast as each text by itself.
        let text = std::str::from_utf8(&self.body)
            .map_err(|error| GhostError::undecodable(self.status, &self.body, &error.to_string()))?;
        serde_json::from_str(text).map_err(|error| {
            // The category and the place, not the text: it may hold secrets.
            let problem = format!("{:?} error at byte {} of the answer", error.classify(), error.column());
            GhostError::undecodable(self.status, &self.body, &problem)
        })
    }
}

impl<S> std::fmt::Debug for Answer<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("status", &self.status).field("bytes", &self.body.len()).finish()
    }
}
