//! HTTP/1.1 on the wire, for both sides of the proxy: where a head ends and what it may be, how long the body after it
//! is, chunks read and written. Everything is read strictly, because what two readers read in two ways is how requests
//! are smuggled: lines end with CR and LF, a field is one line, a body has one length.
//!
//! It refuses to read and write sockets: bytes come in as slices, and what is left over stays with the caller. Parsing
//! the lines themselves is left to `httparse`.
//!
//! # Layout
//! - [`head`]: heads, their limits, and their headers without a copy of each value
//! - [`request`]: the head of a request, as a stranger sends it
//! - [`framing`]: `Content-Length`, `Transfer-Encoding` and `Connection`, judged strictly for requests and a little less
//!   so for responses
//! - [`chunks`]: the chunked encoding, both ways

pub mod chunks;
pub mod framing;
pub mod head;
pub mod request;

pub use chunks::{Chunk, ChunkDecoder, ChunkError, ChunkHead};
pub use framing::{BodyLength, FramingError, FramingFields, Side};
pub use head::{HeadError, Keep, ResponseHead};
pub use request::{HeadSearch, RequestError, RequestHead};
