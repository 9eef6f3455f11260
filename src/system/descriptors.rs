//! How many descriptors the process may have, and how many connections that is good for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For standard streams, configuration, certificates, name resolution.
const OF_THE_PROCESS: u64 = 32;
/// For a worker's ring, listeners, mailbox, watches.
const OF_A_WORKER: u64 = 16;

/// Raises the soft limit to the hard one: a gateway has a use for all that it may have.
pub(crate) fn raise() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Where it is refused the limit stays what it is, and `connections` follows from that.
    let _ = setrlimit(Resource::Nofile, raised);
}

/// Client connections that there are descriptors for: a request needs a second one, towards the provider. The
/// kernel may give most of them to one of the `workers`, so each may have as many.
#[must_use]
pub(crate) fn connections(workers: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| share(limit, workers))
}

fn share(descriptors: u64, workers: usize) -> usize {
    let workers = u64::try_from(workers).unwrap_or(u64::MAX).max(1);
    let left = descriptors
        .saturating_sub(OF_THE_PROCESS)
        .saturating_sub(OF_A_WORKER.saturating_mul(workers));
    usize::try_from(left / 2).unwrap_or(usize::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn half_of_what_the_process_leaves() {
        for (descriptors, workers, connections) in [
            (1024, 1, 488),
            (1024, 2, 480),
            (1_048_576, 64, 523_760),
            (10, 2, 1),
            (1024, 0, 488),
        ] {
            assert_eq!(
                share(descriptors, workers),
                connections,
                "{descriptors}/{workers}"
            );
        }
    }
}
