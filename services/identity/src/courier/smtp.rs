//! Mail.

use anyhow::Context as _;
use async_trait::async_trait;
use farewell_kit::Fault;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};

use super::{CARRY_LIMIT, Content, Courier, Letter};

pub(super) struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Smtp {
    pub fn new(url: &str, from: &str) -> anyhow::Result<Self> {
        farewell_runtime::tls::install_provider();
        let from = from.parse().context("the sender")?;
        let transport =
            AsyncSmtpTransport::<Tokio1Executor>::from_url(url).context("the relay's URL")?;
        Ok(Self {
            transport: transport.timeout(Some(CARRY_LIMIT)).build(),
            from,
        })
    }
}

#[async_trait]
impl Courier for Smtp {
    async fn carry(&self, letter: &Letter) -> Result<(), Fault> {
        // An address that can't be read is not repeated in the error.
        let to = letter
            .to
            .parse()
            .map_err(|_| Fault::new("a letter", "the address can't be read"))?;
        let (subject, text) = words(letter);
        let message = Message::builder()
            // A letter that is carried twice is one message to whoever reads it.
            .message_id(Some(format!("<{}@farewell.invalid>", letter.id)))
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(subject)
            .header(ContentType::TEXT_PLAIN)
            .body(text)
            .map_err(|_| Fault::new("a letter", "it can't be written"))?;
        // A relay repeats addresses in what it answers: only its code goes on.
        self.transport
            .send(message)
            .await
            .map(drop)
            .map_err(|error| {
                let said = error
                    .status()
                    .map_or_else(|| "no answer".to_owned(), |code| code.to_string());
                Fault::new("the mail relay", said)
            })
    }
}

/// Subject and text.
fn words(letter: &Letter) -> (String, String) {
    match &letter.content {
        Content::Code { code, valid } => {
            let minutes = valid.as_secs().div_ceil(60);
            let (subject, confirms) = if letter.is_for_deletion() {
                (
                    "Your code to delete your account",
                    "It confirms that your account is to be deleted.",
                )
            } else {
                (
                    "Your code to change your account",
                    "It confirms that a freeze of your account ends, or that your real name is cleared.",
                )
            };
            (
                subject.to_owned(),
                format!(
                    "Your code is {code}. It can be used for {minutes} minutes.\n\n\
                     {confirms} If you did not ask for that, tell nobody the code and change your password.\n",
                ),
            )
        }
        Content::Notice(written) => (written.subject.clone(), format!("{}\n", written.text)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::TcpListener;

    use super::*;
    use crate::courier::Way;

    /// A relay that takes one letter, or says no to its recipient, and gives back what it read.
    async fn relay(listener: TcpListener, recipient: &'static str) -> String {
        let (socket, _) = listener.accept().await.unwrap();
        let mut socket = BufReader::new(socket);
        socket.write_all(b"220 relay\r\n").await.unwrap();
        let (mut read, mut data) = (String::new(), false);
        let mut line = String::new();
        while socket.read_line(&mut line).await.unwrap_or(0) > 0 {
            read.push_str(&line);
            let answer = match line.get(..4) {
                Some("DATA") => {
                    data = true;
                    "354 go on\r\n"
                }
                _ if data && line == ".\r\n" => {
                    data = false;
                    "250 taken\r\n"
                }
                _ if data => "",
                Some("RCPT") => recipient,
                Some("QUIT") => break,
                _ => "250 fine\r\n",
            };
            socket.write_all(answer.as_bytes()).await.unwrap();
            line.clear();
        }
        read
    }

    fn letter() -> Letter {
        Letter {
            id: "l1".to_owned(),
            to: "li@example.com".to_owned(),
            way: Way::Email,
            deletion: "deletions/d1".to_owned(),
            content: Content::Code {
                code: "012345".to_owned(),
                valid: Duration::from_secs(600),
            },
        }
    }

    #[tokio::test]
    async fn the_relay_gets_the_code() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let read = tokio::spawn(relay(listener, "250 fine\r\n"));
        let smtp = Smtp::new(&url, "Farewell <no-reply@example.com>").unwrap();
        smtp.carry(&letter()).await.unwrap();
        drop(smtp);
        let read = read.await.unwrap();
        assert!(
            read.contains("li@example.com") && read.contains("Your code is 012345."),
            "{read}"
        );
    }

    #[tokio::test]
    async fn an_error_does_not_repeat_the_address() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        tokio::spawn(relay(listener, "550 <li@example.com> is unknown\r\n"));
        let smtp = Smtp::new(&url, "no-reply@example.com").unwrap();
        let fault = smtp.carry(&letter()).await.unwrap_err();
        let shown = format!("{fault} {fault:?}");
        assert!(shown.contains("550") && !shown.contains("li@"), "{shown}");
    }
}
