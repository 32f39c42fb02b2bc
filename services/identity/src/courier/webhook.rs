//! A gateway, for instance of a company that sends text messages: JSON by POST.

use anyhow::Context as _;
use async_trait::async_trait;
use farewell_kit::Fault;
use reqwest::{Client, Url};

use super::{CARRY_LIMIT, Courier, Letter, json};

pub(super) struct Webhook {
    client: Client,
    url: Url,
    token: Option<String>,
}

impl Webhook {
    pub fn new(url: &str, token: Option<String>) -> anyhow::Result<Self> {
        farewell_runtime::tls::install_provider();
        let url = url.parse().context("the gateway's URL")?;
        let client = Client::builder()
            .timeout(CARRY_LIMIT)
            .build()
            .context("a client for the gateway")?;
        Ok(Self { client, url, token })
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
        let answer = request
            .send()
            .await
            .and_then(reqwest::Response::error_for_status);
        answer
            .map(drop)
            .map_err(|error| Fault::new("the gateway", error.without_url()))
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
