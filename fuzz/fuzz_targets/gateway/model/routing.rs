//! Which provider a target leads to, and what becomes of it there.

/// Where the providers of this configuration are.
pub const HOSTS: [&str; 2] = ["127.0.0.1:1", "127.0.0.1:2"];
pub const PREFIXES: [&str; 2] = ["/base", ""];

/// Provider and endpoint of a plain target.
pub fn endpoint(target: &str) -> Option<(usize, &str)> {
    let (provider, endpoint) = match target.strip_prefix("/p/")?.split_once('/')? {
        ("a", endpoint) => (0, endpoint),
        ("b", endpoint) => (1, endpoint),
        _ => return None,
    };
    let endpoint = endpoint.strip_prefix("v1/").unwrap_or(endpoint);
    let (path, query) = endpoint.split_once('?').unwrap_or((endpoint, ""));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '=' | '&');
    let segment = |s: &str| !s.is_empty() && s.chars().all(plain);
    let clear = path.split('/').all(segment) && query.chars().all(plain);
    (clear && path != "v1" && endpoint.len() < 8000).then_some((provider, endpoint))
}
