//! Content in chunks.

use super::announced;

/// Chunks of every shape: extensions, upper case, leading zeros, trailers.
pub(crate) const ALL_SHAPES: &str = "5\r\nhello\r\nA;name=\"v;x\"\r\n0123456789\r\n01\r\n!\r\n000\r\n\
                                     X-Sum: 1\r\nx-other:two\r\n\r\n";
pub(crate) const ALL_SHAPES_CONTENT: &str = "hello0123456789!";
pub(crate) const ALL_SHAPES_TRAILERS: [&str; 2] = ["X-Sum: 1", "x-other:two"];

/// The head of a response whose chunks follow.
pub(crate) const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A chunk.
pub(crate) fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

/// A POST with these chunks, or part of them.
pub(crate) fn post(chunks: &str) -> String {
    announced("/p/anthropic/messages", "Transfer-Encoding: chunked") + chunks
}
