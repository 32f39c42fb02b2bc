//! Posts tokens to a receiver (RFC 8935).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use farewell_core::AccountId;
use farewell_ledger::{Error, Heard};
use farewell_runtime::shutdown::Shutdown;
use farewell_runtime::tls;
use futures_util::StreamExt as _;
use futures_util::stream;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Certificate, Client, StatusCode, Url, redirect};
use serde::Deserialize;
use tokio::time::sleep;

use super::token::{self, Token};
use super::{Delivery, Receiver};
use crate::center::Center;
use crate::lane::chain;

/// Events read at a time.
const BATCH_EVENTS: u32 = 256;
/// Tokens on their way to one receiver at a time; of one account never more than one.
const AT_ONCE_MAX: usize = 8;
/// How long a receiver may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// The longest answer that is read: a word and a sentence.
const ANSWER_BYTES_MAX: u64 = 16 * 1024;
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
    /// It is told again. What was wrong, without the URL.
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

    /// Runs until the shutdown: what waits for our slots, oldest first.
    pub async fn run(self, shutdown: Shutdown) {
        let mut failed = 0_u32;
        while !shutdown.is_triggered() {
            let told = tokio::select! {
                told = self.tell() => told,
                () = shutdown.wait() => return,
            };
            let wait = match told {
                Ok(Told {
                    more: true,
                    trouble: None,
                    ..
                }) => {
                    failed = 0;
                    continue;
                }
                Ok(Told { trouble: None, .. }) => {
                    failed = 0;
                    self.center.pace.poll
                }
                Ok(Told {
                    trouble: Some(trouble),
                    some,
                    ..
                }) => {
                    // One token that is not taken makes the others wait no longer than they must.
                    failed = if some { 1 } else { failed.saturating_add(1) };
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
            .events(name, Some(&slots), BATCH_EVENTS)
            .await?;
        let tokens = super::tokens(center, &self.receiver, &waiting).await?;
        let mut accounts = BTreeMap::<AccountId, Vec<Token>>::new();
        for token in tokens {
            accounts
                .entry(token.account.clone())
                .or_default()
                .push(token);
        }
        let mut answers = stream::iter(accounts.into_values().map(|tokens| self.account(tokens)))
            .buffer_unordered(AT_ONCE_MAX);
        let (mut heard, mut trouble) = (Vec::new(), None);
        while let Some((of_one, trouble_of_one)) = answers.next().await {
            heard.extend(of_one);
            trouble = trouble.or(trouble_of_one);
        }
        drop(answers);
        if !heard.is_empty() {
            center.ledger.heard(name, &heard).await?;
        }
        Ok(Told {
            more: waiting.len() >= BATCH_EVENTS as usize && !heard.is_empty(),
            some: !heard.is_empty(),
            trouble,
        })
    }

    /// In order: what follows waits until the receiver has what came before.
    async fn account(&self, tokens: Vec<Token>) -> (Vec<Heard>, Option<String>) {
        let mut heard = Vec::new();
        for token in tokens {
            match self.post(&token).await {
                Answer::Taken => heard.push(token.heard(None)),
                Answer::Refused(word) => {
                    tracing::warn!(
                        receiver = self.receiver.name,
                        token = token.jti,
                        word,
                        "an event is refused"
                    );
                    heard.push(token.heard(Some(word)));
                }
                Answer::Trouble(trouble) => return (heard, Some(trouble)),
            }
        }
        (heard, None)
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
            StatusCode::BAD_REQUEST
                if answer
                    .content_length()
                    .is_none_or(|n| n <= ANSWER_BYTES_MAX) =>
            {
                match answer.json::<Refusal>().await {
                    Ok(refusal) if refusal.err == FOR_GOOD => Answer::Refused(refusal.err),
                    Ok(refusal) => Answer::Trouble(token::refusal(&refusal.err)),
                    Err(_) => Answer::Trouble("400 without a word".to_owned()),
                }
            }
            status => Answer::Trouble(status.as_str().to_owned()),
        }
    }
}

struct Told {
    /// There may be more right now.
    more: bool,
    /// Some were taken.
    some: bool,
    trouble: Option<String>,
}
