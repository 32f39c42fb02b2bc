//! Keeps one connection: opens it, subscribes, hears what comes, and tries again.

use std::time::Duration;

use farewell_runtime::backoff;
use farewell_runtime::shutdown::Shutdown;
use rand::Rng as _;
use tokio::sync::{mpsc, watch};

use super::dialect::{self, Events, Granted, Heard, Sender, Trouble};
use super::profile::{Profile, QOS_MIN, Standing};
use super::protocol::Version;
use super::{Client, Incoming, Options};

/// First and longest pause between two attempts to connect.
const RECONNECT_BASE: Duration = Duration::from_millis(200);
const RECONNECT_CAP: Duration = Duration::from_secs(30);
/// The pause where only a person can help: the broker or a setting has to change.
const UNFIT_PAUSE: Duration = Duration::from_secs(60);

pub(super) struct Pump {
    options: Options,
    version: Version,
    events: Events,
    incoming: mpsc::Sender<Incoming>,
    sender: watch::Sender<Sender>,
    standing: watch::Sender<Option<Standing>>,
    /// What the broker offered when that was last logged.
    known: Option<Profile>,
    connections: u64,
    /// Attempts that failed since a connection last stood.
    failures: u32,
    /// Whether the session was given up for this connection.
    clean: bool,
}

/// What to do after an event.
enum Next {
    Go,
    /// Try again, after a pause that grows.
    Retry,
    /// Try again, after a long pause.
    RetryLate,
}

impl Pump {
    pub fn new(options: Options, incoming: mpsc::Sender<Incoming>) -> (Self, Client) {
        let version = options.endpoint.protocol.first();
        let (sender, events) = dialect::open(version, &options);
        let (sender, sender_seen) = watch::channel(sender);
        let (standing, standing_seen) = watch::channel(None);
        let client = Client {
            sender: sender_seen,
            standing: standing_seen,
        };
        let pump = Self {
            options,
            version,
            events,
            incoming,
            sender,
            standing,
            known: None,
            connections: 0,
            failures: 0,
            clean: false,
        };
        (pump, client)
    }

    /// Ends by the token: a client's own `disconnect` doesn't end it while the broker is away.
    pub async fn run(mut self, shutdown: Shutdown) {
        loop {
            let event = tokio::select! {
                () = shutdown.wait() => break,
                () = self.incoming.closed() => break,
                event = self.events.poll() => event,
            };
            let next = match event {
                Ok(None) => Next::Go,
                Ok(Some(heard)) => self.heard(heard),
                Err(trouble) => self.lost(trouble),
            };
            let pause = match next {
                Next::Go => continue,
                Next::RetryLate => UNFIT_PAUSE,
                Next::Retry => {
                    self.failures += 1;
                    let random = rand::rng().random();
                    backoff::jittered(self.failures - 1, RECONNECT_BASE, RECONNECT_CAP, random)
                }
            };
            tokio::select! {
                () = shutdown.wait() => break,
                () = self.incoming.closed() => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    fn heard(&mut self, heard: Heard) -> Next {
        match heard {
            Heard::Accepted {
                profile,
                session_present,
            } => self.accepted(profile, session_present),
            // On this connection nothing would ever come. A cluster that has just lost a node refuses for a while only.
            Heard::Subscribed(Granted::Refused) => {
                self.open(self.version, self.clean);
                self.standing.send_replace(None);
                self.say(Incoming::Refused);
                Next::Retry
            }
            Heard::Subscribed(Granted::Qos(qos)) if qos < QOS_MIN => self.unfit(),
            Heard::Subscribed(Granted::Qos(qos)) => {
                self.subscribed(qos);
                Next::Go
            }
            Heard::Message { topic, payload } => {
                self.say(Incoming::Message { topic, payload });
                Next::Go
            }
        }
    }

    /// Subscribes on every connection: a broker that lost its store says nothing about lost subscriptions.
    fn accepted(&mut self, profile: Profile, session_present: bool) -> Next {
        if !profile.is_enough() {
            return self.unfit();
        }
        self.connections += 1;
        self.standing.send_replace(Some(Standing {
            profile,
            session_present,
            number: self.connections,
        }));
        if self.options.filters.is_empty() {
            self.stands();
        } else if !self.sender.borrow().subscribe(&self.options.filters) {
            tracing::warn!(
                "the MQTT queue is full, the subscription waits for the next connection"
            );
        }
        Next::Go
    }

    fn subscribed(&mut self, qos: u8) {
        self.standing.send_modify(|standing| {
            if let Some(standing) = standing {
                // With MQTT 5 the broker has said more than it was asked for here.
                standing.profile.maximum_qos.get_or_insert(qos);
            }
        });
        self.stands();
    }

    fn stands(&mut self) {
        self.failures = 0;
        let profile = self.standing.borrow().map(|standing| standing.profile);
        if let Some(profile) = profile.filter(|profile| self.known != Some(*profile)) {
            tracing::info!(broker = ?self.options.endpoint, %profile, "the broker's profile");
            self.known = Some(profile);
        }
        self.say(Incoming::Connected);
    }

    /// QoS 1 is the one thing that nothing can stand in for.
    fn unfit(&mut self) -> Next {
        tracing::error!(
            word = "BROKER_WITHOUT_QOS_1",
            broker = ?self.options.endpoint,
            "the broker offers no QoS 1, and orders need it; it is asked again later"
        );
        self.open(self.version, false);
        self.gone();
        Next::RetryLate
    }

    fn lost(&mut self, trouble: Trouble) -> Next {
        let stood = self.standing.borrow().is_some();
        match trouble {
            Trouble::Version | Trouble::Unanswered => return self.unanswered(trouble),
            Trouble::LogIn => {
                self.say(Incoming::Refused);
                return Next::Retry;
            }
            Trouble::Untrusted => {
                if self.failures == 0 {
                    tracing::error!(
                        word = "BROKER_NOT_TRUSTED",
                        broker = ?self.options.endpoint,
                        "whoever answers shows no certificate for this host by the authority of broker.ca; nothing was \
                         said to it, and it is tried again"
                    );
                }
            }
            Trouble::TooLarge => {
                tracing::warn!(
                    word = "MESSAGE_TOO_LARGE",
                    broker = ?self.options.endpoint,
                    "somebody sent more than the broker should let pass; the session is given up, or it would come again"
                );
                self.open(self.version, true);
            }
            // The next connection is as any first one: with the session kept, and with what is tried first.
            Trouble::Lost if stood && (self.clean || self.version != self.first()) => {
                self.open(self.first(), false);
            }
            Trouble::Lost => {}
        }
        self.gone();
        Next::Retry
    }

    fn unanswered(&mut self, trouble: Trouble) -> Next {
        let version = self.version;
        match self.options.endpoint.protocol.instead_of(version) {
            Some(other) => {
                tracing::debug!(
                    broker = ?self.options.endpoint,
                    "no answer in MQTT {version}, MQTT {other} is tried"
                );
                self.open(other, self.clean);
                // Both were tried in vain.
                if version != self.first() {
                    self.gone();
                }
                Next::Retry
            }
            None if trouble == Trouble::Version => {
                tracing::error!(
                    word = "BROKER_PROTOCOL",
                    broker = ?self.options.endpoint,
                    "the broker doesn't speak MQTT {version}: set broker.protocol to what it speaks, or to auto"
                );
                self.gone();
                Next::RetryLate
            }
            None => {
                if self.failures == 0 {
                    tracing::warn!(
                        word = "BROKER_UNANSWERED",
                        broker = ?self.options.endpoint,
                        "the broker ended the connection without an answer; should it not speak MQTT {version}, set \
                         broker.protocol to what it speaks, or to auto"
                    );
                }
                self.gone();
                Next::Retry
            }
        }
    }

    fn first(&self) -> Version {
        self.options.endpoint.protocol.first()
    }

    /// A new client. What was under way is told that the broker did not take it.
    fn open(&mut self, version: Version, clean: bool) {
        let options = Options {
            session_life: self.options.session_life.filter(|_| !clean),
            ..self.options.clone()
        };
        let (sender, events) = dialect::open(version, &options);
        self.events = events;
        self.sender.send_replace(sender);
        self.version = version;
        self.clean = clean;
    }

    fn gone(&self) {
        self.standing.send_replace(None);
        self.say(Incoming::Lost);
    }

    fn say(&self, incoming: Incoming) {
        // Waiting here would stop the acknowledgements that whoever reads may be waiting for.
        let _ = self.incoming.try_send(incoming);
    }
}
