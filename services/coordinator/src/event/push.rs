//! Posts tokens to a receiver (RFC 8935).

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use farewell_core::Time;
use farewell_ledger::{Answer as Said, Error, Heard};
use farewell_runtime::shutdown::Shutdown;
use farewell_runtime::tls;
use futures_util::StreamExt as _;
use futures_util::stream;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Certificate, Client, Response, StatusCode, Url, redirect};
use serde::Deserialize;
use tokio::time::sleep;

use super::kind::Kind;
use super::token::{self, Token};
use super::{Delivery, Receiver};
use crate::center::Center;
use crate::lane::chain;

/// Events read at a time: of each account the next.
const BATCH_EVENTS: u32 = 256;
/// Tokens on their way to one receiver at a time; of one account never more than one.
const AT_ONCE_MAX: usize = 8;
/// How long a receiver may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// The longest answer that is read: a word and a sentence.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// The word for a token that no repeat makes better. All others (a key or an audience that isn't known yet, a bearer token that
/// has run out) somebody mends, and then they are taken.
const FOR_GOOD: &str = "invalid_request";

/// Tells one receiver.
pub struct Push {
    center: Arc<Center>,
    receiver: Receiver,
    client: Client,
    url: Url,
    token: Option<String>,
}

/// What RFC 8935 answers with 400.
#[derive(Deserialize)]
struct Refusal {
    err: String,
}

/// What became of a token.
enum Answer {
    Taken,
    Refused(String),
    /// The receiver is there and would not take this one: its word. It is told again.
    NotYet(String),
    /// There was no answer to believe, and it is told again. What was wrong, without the URL.
    Trouble(String),
}

impl Push {
    /// Errors: a URL or authority that can't be used.
    pub fn new(center: Arc<Center>, receiver: Receiver) -> anyhow::Result<Self> {
        tls::install_provider();
        let Delivery::Push {
            url,
            token,
            authority,
        } = receiver.delivery.clone()
        else {
            anyhow::bail!("{} is not pushed to", receiver.name);
        };
        let mut client = Client::builder()
            .timeout(ANSWER_MAX)
            // A token goes where the settings say, and nowhere else.
            .redirect(redirect::Policy::none());
        if let Some(pem) = &authority {
            let authority = Certificate::from_pem(pem).context("the receiver's authority")?;
            client = client.tls_certs_only([authority]);
        }
        Ok(Self {
            client: client.build().context("a client for the receiver")?,
            url: url.parse().context("the receiver's URL")?,
            token,
            center,
            receiver,
        })
    }

    /// Runs until the shutdown: what accounts of our slots wait for, longest due first.
    pub async fn run(self, shutdown: Shutdown) {
        let mut failed = 0_u32;
        while !shutdown.is_triggered() {
            let told = tokio::select! {
                told = self.tell() => told,
                () = shutdown.wait() => return,
            };
            let wait = match told {
                Ok(Told::Some) => {
                    failed = 0;
                    continue;
                }
                Ok(Told::Nothing) => {
                    failed = 0;
                    self.center.pace.poll
                }
                Ok(Told::Away(trouble)) => {
                    failed = failed.saturating_add(1);
                    tracing::warn!(
                        receiver = self.receiver.name,
                        trouble,
                        failed,
                        "events wait"
                    );
                    self.center.pace.retry.after(failed, rand::random())
                }
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "can't read events");
                    self.center.pace.poll
                }
            };
            tokio::select! {
                () = sleep(wait) => {}
                () = shutdown.wait() => {}
            }
        }
    }

    async fn tell(&self) -> Result<Told, Error> {
        let (center, name) = (&*self.center, self.receiver.name.as_str());
        let slots = center.board().slots();
        let waiting = center
            .ledger
            .events(name, Some(&slots), &Kind::codes(), BATCH_EVENTS)
            .await?;
        let tokens = super::tokens(center, &self.receiver, &waiting);
        let post = |token: Token| async {
            let answer = self.post(&token).await;
            (token, answer)
        };
        let mut answers = stream::iter(tokens.into_iter().map(post)).buffer_unordered(AT_ONCE_MAX);
        let mut round = Round::default();
        // One that answers nobody is away: the others of the batch would only wait for it in vain.
        while !round.is_in_vain()
            && let Some((token, answer)) = answers.next().await
        {
            let said = round.hear(answer, || self.again(token.tries));
            if let Said::Refused(word) = &said {
                tracing::warn!(
                    receiver = name,
                    token = token.jti,
                    word,
                    "an event is refused"
                );
            }
            round.heard.push(token.heard(said));
        }
        drop(answers);
        if !round.heard.is_empty() {
            center.ledger.heard(name, &round.heard).await?;
        }
        if round.put_off > 0 {
            let (tokens, word) = (round.put_off, round.word.as_str());
            tracing::warn!(receiver = name, tokens, word, "events are not taken yet");
        }
        Ok(round.told())
    }

    /// When a token is told again that was told so often before.
    fn again(&self, tries: u32) -> Time {
        let center = &*self.center;
        let wait = center
            .pace
            .retry
            .after(tries.saturating_add(1), rand::random());
        center.clock.now() + wait
    }

    async fn post(&self, token: &Token) -> Answer {
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/secevent+jwt")
            .header(ACCEPT, "application/json")
            .body(token.jwt.clone());
        if let Some(bearer) = &self.token {
            request = request.bearer_auth(bearer);
        }
        let answer = match request.send().await {
            Ok(answer) => answer,
            // The URL may hold a key.
            Err(error) => return Answer::Trouble(chain(&error.without_url())),
        };
        match answer.status() {
            StatusCode::ACCEPTED => Answer::Taken,
            StatusCode::BAD_REQUEST => match refusal(answer).await {
                Some(refusal) if refusal.err == FOR_GOOD => Answer::Refused(refusal.err),
                Some(refusal) => Answer::NotYet(token::refusal(&refusal.err)),
                None => Answer::Trouble("400 without a word".to_owned()),
            },
            status => Answer::Trouble(status.as_str().to_owned()),
        }
    }
}

/// What a refusal says, if it is one and not too long.
async fn refusal(mut answer: Response) -> Option<Refusal> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.ok()? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&body).ok()
}

/// How a round of telling went.
enum Told {
    /// Something was taken or refused for good, so that there may be more right now.
    Some,
    Nothing,
    /// The receiver gave no answer to anything; what was wrong.
    Away(String),
}

#[derive(Default)]
struct Round {
    heard: Vec<Heard>,
    /// Whether anything is behind the receiver now.
    progress: bool,
    /// Tokens that it would not take yet, and its last word for why.
    put_off: usize,
    word: String,
    /// Posts that found nobody there.
    away: usize,
    trouble: String,
}

impl Round {
    fn hear(&mut self, answer: Answer, again: impl FnOnce() -> Time) -> Said {
        match answer {
            Answer::Taken => {
                self.progress = true;
                Said::Taken
            }
            Answer::Refused(word) => {
                self.progress = true;
                Said::Refused(word)
            }
            Answer::NotYet(word) => {
                self.put_off += 1;
                self.word = word;
                Said::Later(again())
            }
            Answer::Trouble(trouble) => {
                self.away += 1;
                self.trouble = trouble;
                Said::Later(again())
            }
        }
    }

    fn is_there(&self) -> bool {
        self.progress || self.put_off > 0
    }

    fn is_in_vain(&self) -> bool {
        self.away >= AT_ONCE_MAX && !self.is_there()
    }

    fn told(self) -> Told {
        if self.progress {
            Told::Some
        } else if self.away > 0 && !self.is_there() {
            Told::Away(self.trouble)
        } else {
            Told::Nothing
        }
    }
}
