//! What a status is called: for people, and in the bodies that SDKs read.

/// The type of error that SDKs know it by.
pub(super) fn kind(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 | 414 | 431 => "request_too_large",
        429 => "rate_limit_error",
        502 | 508 => "api_error",
        503 => "overloaded_error",
        504 => "timeout_error",
        _ => "invalid_request_error",
    }
}

/// The phrase behind it.
pub(super) fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        408 => "Request Timeout",
        413 => "Content Too Large",
        414 => "URI Too Long",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        508 => "Loop Detected",
        _ => "Error",
    }
}
