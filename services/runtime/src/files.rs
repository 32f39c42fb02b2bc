//! Open files of a process: each connection is one.

/// Takes as many as whoever started the process allows, where it was given fewer to begin with.
///
/// Systems begin with 1,024 for the sake of programs that still call `select`, which counts no further; ours don't.
pub fn as_many_as_allowed() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        let most = Rlimit {
            current: maximum,
            maximum,
        };
        if let Err(error) = setrlimit(Resource::Nofile, most) {
            tracing::debug!(%error, "no more files can be had");
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    #[test]
    fn a_process_takes_the_files_that_it_is_allowed() {
        let allowed = getrlimit(Resource::Nofile);
        // Other tests open files meanwhile: one fewer shows it.
        let fewer = Rlimit {
            current: Some(allowed.maximum.map_or(1 << 20, |most| most - 1)),
            ..allowed
        };
        setrlimit(Resource::Nofile, fewer).unwrap();
        super::as_many_as_allowed();
        assert_eq!(getrlimit(Resource::Nofile).current, allowed.maximum);
    }
}
