//! A gateway, for instance of a company that sends text messages: JSON by POST, by TLS or to this machine, and never anywhere else than
//! to the address in the settings.

use anyhow::{Context as _, ensure};
use async_trait::async_trait;
use farewell_kit::Fault;
use farewell_runtime::host::is_loopback;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};

use super::{CARRY_LIMIT, Courier, Letter, json};

pub(super) struct Webhook {
    client: Client,
    url: Url,
    token: Option<String>,
}

impl Webhook {
    /// Errors: a URL that can't be used. Their text doesn't hold it.
    pub fn new(url: &str, token: Option<String>) -> anyhow::Result<Self> {
        farewell_runtime::tls::install_provider();
        let url = url.parse().context("the gateway's URL")?;
        ensure!(
            is_safe(&url),
            "a letter leaves the machine by https://; http:// is for loopback"
        );
        let client = Client::builder()
            .timeout(CARRY_LIMIT)
            // A redirect would turn the letter into a question without one, or take it to somebody else.
            .redirect(Policy::none())
            .build()
            .context("a client for the gateway")?;
        Ok(Self { client, url, token })
    }
}

/// See [`super::Route::problems`].
pub(super) fn problems(url: &str) -> Vec<(&'static str, &'static str)> {
    let wrong = "must be https://…, or http://… on this machine";
    match url.parse() {
        Ok(url) if is_safe(&url) => Vec::new(),
        Ok(_) | Err(_) => vec![("url", wrong)],
    }
}

fn is_safe(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    match url.scheme() {
        "https" => !host.is_empty(),
        "http" => is_loopback(host),
        _ => false,
    }
}

#[async_trait]
impl Courier for Webhook {
    async fn carry(&self, letter: &Letter) -> Result<(), Fault> {
        // The draft of an IETF standard, and what gateways take: the same key is the same letter.
        let mut request = self
            .client
            .post(self.url.clone())
            .header("idempotency-key", &letter.id)
            .json(&json(letter));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        // The URL may hold a key, and a body may repeat the letter: neither goes into the error.
        let answer = request.send().await;
        let status = answer
            .map_err(|error| Fault::new("the gateway", error.without_url()))?
            .status();
        match status {
            _ if status.is_success() => Ok(()),
            // The one number that speaks of whom the letter is for. Any other, a 404 as well, may be a URL or a token that is ours to mend.
            StatusCode::GONE => {
                Err(Fault::new("the gateway", status.as_str().to_owned()).lasting())
            }
            _ => Err(Fault::new("the gateway", status.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::courier::{Content, Way};
    use crate::language::Language;

    /// Answers one request and gives back what it read.
    async fn gateway(listener: TcpListener, answer: &'static str) -> String {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"}") {
            let mut chunk = [0; 4096];
            let bytes = socket.read(&mut chunk).await.unwrap();
            read.extend_from_slice(&chunk[..bytes]);
        }
        let head = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        String::from_utf8(read).unwrap()
    }

    fn letter() -> Letter {
        Letter {
            id: "l1".to_owned(),
            to: "+8613800000000".to_owned(),
            way: Way::Sms,
            deletion: "deletions/d1".to_owned(),
            content: Content::Code {
                code: "012345".to_owned(),
                valid: Duration::from_secs(600),
                language: Language::English,
            },
        }
    }

    #[tokio::test]
    async fn the_gateway_gets_the_code_and_the_token() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/sms", listener.local_addr().unwrap());
        let read = tokio::spawn(gateway(listener, "202 Accepted"));
        Webhook::new(&url, Some("t0ken".to_owned()))
            .unwrap()
            .carry(&letter())
            .await
            .unwrap();
        let read = read.await.unwrap();
        assert!(
            read.starts_with("POST /sms")
                && read.contains("Bearer t0ken")
                && read.contains("\"012345\""),
            "{read}"
        );
    }

    #[tokio::test]
    async fn only_what_is_taken_is_carried_and_only_who_is_gone_is_gone_for_good() {
        for (answer, carried, for_good) in [
            ("200 OK", true, false),
            ("204 No Content", true, false),
            (
                "302 Found\r\nlocation: http://127.0.0.1:9/login",
                false,
                false,
            ),
            (
                "307 Temporary Redirect\r\nlocation: http://127.0.0.1:9/",
                false,
                false,
            ),
            ("400 Bad Request", false, false),
            ("401 Unauthorized", false, false),
            ("404 Not Found", false, false),
            ("410 Gone", false, true),
            ("429 Too Many Requests", false, false),
            ("500 Internal Server Error", false, false),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/", listener.local_addr().unwrap());
            tokio::spawn(gateway(listener, answer));
            let said = Webhook::new(&url, None).unwrap().carry(&letter()).await;
            assert_eq!(said.is_ok(), carried, "{answer}");
            let gone = said.is_err_and(|fault| fault.is_lasting());
            assert_eq!(gone, for_good, "{answer}");
        }
    }

    #[test]
    fn letters_leave_the_machine_with_tls_only() {
        let opened = |url: &str| Webhook::new(url, None).map(drop);
        for fine in [
            "https://sms.example.com/send?key=s3cret",
            "http://localhost:8080/sms",
            "http://127.0.0.1:8080/sms",
            "http://[::1]:8080/sms",
        ] {
            opened(fine).unwrap();
        }
        for plain in [
            "http://sms.example.com/send?key=s3cret",
            "http://192.0.2.1/?key=s3cret",
            "http://localhost.example.com/?key=s3cret",
            "ftp://127.0.0.1/?key=s3cret",
            "s3cret",
        ] {
            let refused = format!("{:#}", opened(plain).unwrap_err());
            assert!(!refused.contains("s3cret"), "{refused}");
        }
    }

    #[tokio::test]
    async fn a_gateway_that_says_no_is_trouble_without_secrets() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/sms?key=s3cret", listener.local_addr().unwrap());
        tokio::spawn(gateway(listener, "503 Service Unavailable"));
        let fault = Webhook::new(&url, None)
            .unwrap()
            .carry(&letter())
            .await
            .unwrap_err();
        let shown = format!("{fault} {fault:?}");
        assert!(
            shown.contains("503") && !shown.contains("s3cret") && !shown.contains("012345"),
            "{shown}"
        );
    }
}
