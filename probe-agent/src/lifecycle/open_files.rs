//! How many files the agent may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit to the most that this process may have. Each captured interface holds two files,
/// and shells and systemd give 1024. No lower one is of use: the agent starts no program and does not
/// call `select`.
pub fn raise_limit() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(
            %error,
            "cannot raise the limit of open files, so hundreds of interfaces cannot be captured: start \
             the agent with a higher one (systemd: LimitNOFILE=)"
        );
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    #[test]
    fn the_limit_becomes_the_hard_one() {
        let hard = getrlimit(Resource::Nofile).maximum;
        let low = Rlimit {
            current: Some(256),
            maximum: hard,
        };
        setrlimit(Resource::Nofile, low).expect("a lower limit is allowed");
        super::raise_limit();
        assert_eq!(getrlimit(Resource::Nofile).current, hard);
    }
}
