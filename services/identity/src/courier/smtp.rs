//! Mail, handed to a relay by SMTP: with TLS from the first byte (`smtps://`), or from STARTTLS on (`?tls=required`), and in plain
//! text on loopback only. A relay that offers no STARTTLS, shows a certificate of another name or another authority, or refuses the
//! password gets no letter.

use std::error::Error as _;
use std::fmt;
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use async_trait::async_trait;
use farewell_kit::Fault;
use farewell_runtime::host::is_loopback;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::response::{Category, Code, Detail, Severity};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use reqwest::Url;

use super::{CARRY_LIMIT, Content, Courier, Letter};
use crate::notice::words;

pub(super) struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Smtp {
    /// `ca`: the authorities of the relay, in place of the system's.
    ///
    /// Errors: a sender, a URL or a file that can't be used. Their text holds no password.
    pub fn new(url: &str, from: &str, ca: Option<&Path>) -> anyhow::Result<Self> {
        farewell_runtime::tls::install_provider();
        let from = from.parse().context("the sender")?;
        let mut transport =
            AsyncSmtpTransport::<Tokio1Executor>::from_url(url).context("the relay's URL")?;
        let security = Security::of(&Url::parse(url).context("the relay's URL")?)?;
        if let Some(ca) = ca {
            transport = transport.tls(security.held_to(ca)?);
        }
        Ok(Self {
            transport: transport.timeout(Some(CARRY_LIMIT)).build(),
            from,
        })
    }
}

/// See [`super::Route::problems`].
pub(super) fn problems(url: &str, from: &str, ca: bool) -> Vec<(&'static str, &'static str)> {
    let mut problems = Vec::new();
    if from.parse::<Mailbox>().is_err() {
        let wrong = "must be a mail address, such as Farewell <no-reply@example.com>";
        problems.push(("from", wrong));
    }
    farewell_runtime::tls::install_provider();
    let sound = AsyncSmtpTransport::<Tokio1Executor>::from_url(url).is_ok();
    let security = Url::parse(url).ok().filter(|_| sound);
    match security.and_then(|url| Security::of(&url).ok()) {
        None => {
            let wrong = "must be smtps://…, smtp://…?tls=required, or smtp://localhost";
            problems.push(("url", wrong));
        }
        Some(Security::Plain) if ca => {
            problems.push(("ca", "says nothing where there is no TLS"));
        }
        Some(_) => {}
    }
    problems
}

/// How a relay is spoken to.
enum Security {
    Plain,
    StartTls(String),
    Tls(String),
}

impl Security {
    fn of(url: &Url) -> anyhow::Result<Self> {
        let host = url.host_str().unwrap_or_default().to_owned();
        let tls = url.query_pairs().find(|(key, _)| key == "tls");
        match (url.scheme(), tls.as_ref().map(|(_, value)| &**value)) {
            ("smtps", _) => Ok(Self::Tls(host)),
            (_, Some("required")) => Ok(Self::StartTls(host)),
            (_, None) => {
                ensure!(
                    is_loopback(&host),
                    "mail leaves the machine by smtps://, or by smtp:// with ?tls=required"
                );
                Ok(Self::Plain)
            }
            // Whoever is between could take STARTTLS out of the relay's offer.
            (_, Some(_)) => bail!("tls must be `required`: nothing falls back to plain text"),
        }
    }

    fn held_to(self, ca: &Path) -> anyhow::Result<Tls> {
        let (host, wrapped) = match self {
            Self::Plain => bail!("ca: without TLS nobody shows a certificate"),
            Self::StartTls(host) => (host, false),
            Self::Tls(host) => (host, true),
        };
        let pem = std::fs::read(ca).with_context(|| format!("reading {}", ca.display()))?;
        let ca = Certificate::from_pem(&pem).context("ca: no certificate of an authority")?;
        let tls = TlsParameters::builder(host)
            .certificate_store(CertificateStore::None)
            .add_root_certificate(ca)
            .build()
            .context("ca: no certificate of an authority")?;
        Ok(if wrapped {
            Tls::Wrapper(tls)
        } else {
            Tls::Required(tls)
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
            .map_err(|_| Fault::new("a letter", "the address can't be read").lasting())?;
        let (subject, text) = written(letter);
        let message = Message::builder()
            // A letter that is carried twice is one message to whoever reads it.
            .message_id(Some(format!("<{}@farewell.invalid>", letter.id)))
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(subject)
            .header(ContentType::TEXT_PLAIN)
            .body(text)
            .map_err(|_| Fault::new("a letter", "it can't be written").lasting())?;
        let sent = self.transport.send(message).await;
        sent.map(drop).map_err(|error| fault(&error))
    }
}

/// A relay repeats addresses in what it answers: only its codes go on.
fn fault(error: &lettre::transport::smtp::Error) -> Fault {
    let status = error.status();
    let said = match status {
        Some(code) => code.to_string(),
        None if error.is_tls() => "no TLS that it can be trusted by".to_owned(),
        None if error.is_client() => "it offers no TLS, or no way to log in".to_owned(),
        None => "no answer".to_owned(),
    };
    let text = error.source().map(ToString::to_string);
    let detail = text.as_deref().and_then(Enhanced::of);
    let fault = match detail {
        Some(detail) => Fault::new("the mail relay", format!("{said} {detail}")),
        None => Fault::new("the mail relay", said),
    };
    if status.is_some_and(|code| is_the_addresss(code, detail)) {
        fault.lasting()
    } else {
        fault
    }
}

/// Whether it is the address that is refused for good. 4xx passes by itself (RFC 5321, 4.2.1), greylisting for instance. What a relay
/// has against us, such as a log-in, a sender that it doesn't relay for or a rule of its own, is ours to mend, whatever number it says
/// so with: 550 5.7.1 is as usual for that as 550 5.1.1 is for an address that isn't there.
fn is_the_addresss(code: Code, detail: Option<Enhanced>) -> bool {
    let mail_system = code.category == Category::MailSystem;
    code.severity == Severity::PermanentNegativeCompletion
        && match detail {
            // RFC 3463, 3.2 and 3.3. Two of them are about the sender.
            Some(Enhanced {
                class: 5,
                subject: 1,
                detail,
            }) => !matches!(detail, 7 | 8),
            Some(Enhanced {
                class: 5,
                subject: 2,
                ..
            }) => true,
            // System, network, protocol, content, policy.
            Some(Enhanced {
                class: 5,
                subject: 3..=7,
                ..
            }) => false,
            // It says nothing more than its number (RFC 5321, 4.2.3): a mailbox that isn't there, is elsewhere, is full, has no such name.
            Some(_) | None => {
                mail_system
                    && matches!(
                        code.detail,
                        Detail::Zero | Detail::One | Detail::Two | Detail::Three
                    )
            }
        }
}

/// A status code as RFC 3463 has it, with which an answer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Enhanced {
    class: u16,
    subject: u16,
    detail: u16,
}

impl Enhanced {
    fn of(text: &str) -> Option<Self> {
        let mut parts = text.split_whitespace().next()?.split('.').map(|part| {
            let short = (1..=3).contains(&part.len()) && part.bytes().all(|it| it.is_ascii_digit());
            part.parse().ok().filter(|_| short)
        });
        let (class, subject, detail) = (parts.next()??, parts.next()??, parts.next()??);
        let whole = parts.next().is_none();
        whole.then_some(Self {
            class,
            subject,
            detail,
        })
    }
}

impl fmt::Display for Enhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// Subject and text.
fn written(letter: &Letter) -> (String, String) {
    let (subject, text) = match &letter.content {
        Content::Code {
            code,
            valid,
            language,
        } => words::code(&letter.deletion, code, *valid, *language),
        Content::Notice(written) => (written.subject.clone(), written.text.clone()),
    };
    (subject, format!("{text}\n"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::TcpListener;

    use super::*;
    use crate::courier::Way;
    use crate::language::Language;

    /// A relay that takes one letter, or says no to its recipient, and gives back what it read.
    async fn relay(listener: TcpListener, recipient: &str) -> String {
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
                language: Language::English,
            },
        }
    }

    #[tokio::test]
    async fn the_relay_gets_the_code() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let read = tokio::spawn(relay(listener, "250 fine\r\n"));
        let smtp = Smtp::new(&url, "Farewell <no-reply@example.com>", None).unwrap();
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
        let smtp = Smtp::new(&url, "no-reply@example.com", None).unwrap();
        let fault = smtp.carry(&letter()).await.unwrap_err();
        let shown = format!("{fault} {fault:?}");
        assert!(shown.contains("550") && !shown.contains("li@"), "{shown}");
    }

    #[tokio::test]
    async fn an_address_is_given_up_for_its_own_faults_and_not_for_ours() {
        for (said, shown, is_the_addresss) in [
            ("550 5.1.1 <li@example.com> is unknown", "550 5.1.1", true),
            ("550 5.1.10 null MX", "550 5.1.10", true),
            ("553 5.1.3 no such syntax", "553 5.1.3", true),
            ("552 5.2.2 full", "552 5.2.2", true),
            ("554 5.2.1 disabled", "554 5.2.1", true),
            ("550 <li@example.com> is unknown", "550", true),
            ("551 elsewhere", "551", true),
            ("552 full", "552", true),
            ("553 no such name", "553", true),
            ("550 5.0.0 no", "550 5.0.0", true),
            // Not a status code, but a host, or a version.
            ("550 10.0.0.1 says no", "550", true),
            ("550 5.7 no", "550", true),
            (
                "550 5.7.1 <li@example.com>: relaying denied",
                "550 5.7.1",
                false,
            ),
            ("554 5.7.1 spam", "554 5.7.1", false),
            ("530 5.7.0 log in first", "530 5.7.0", false),
            ("550 5.7.26 no DMARC", "550 5.7.26", false),
            ("553 5.1.8 who are you", "553 5.1.8", false),
            ("501 5.1.7 an odd sender", "501 5.1.7", false),
            ("550 5.3.4 too big", "550 5.3.4", false),
            ("550 5.4.1 no route", "550 5.4.1", false),
            ("555 5.5.4 an option", "555 5.5.4", false),
            ("550 5.6.0 content", "550 5.6.0", false),
            ("554 no", "554", false),
            ("503 not now", "503", false),
            ("450 4.2.1 greylisted", "450 4.2.1", false),
            ("451 4.7.1 later", "451 4.7.1", false),
            // The number is what counts: for now.
            ("450 5.1.1 odd", "450 5.1.1", false),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("smtp://{}", listener.local_addr().unwrap());
            let answer = format!("{said}\r\n");
            tokio::spawn(async move { relay(listener, &answer).await });
            let smtp = Smtp::new(&url, "no-reply@example.com", None).unwrap();
            let fault = smtp.carry(&letter()).await.unwrap_err();
            assert_eq!(fault.is_lasting(), is_the_addresss, "{said}");
            let cause = fault.source().unwrap().to_string();
            assert_eq!(cause, shown, "{said}");
        }
    }

    #[tokio::test]
    async fn mail_leaves_the_machine_with_tls_only() {
        let opened = |url: &str| Smtp::new(url, "a@example.com", None).map(drop);
        for fine in [
            "smtps://farewell:hush@mail.example.com",
            "smtp://mail.example.com:587?tls=required",
            "smtp://localhost:2525",
            "smtp://127.0.0.1:2525",
            "smtp://[::1]:2525",
        ] {
            opened(fine).unwrap();
        }
        for plain in [
            "smtp://farewell:hush@mail.example.com",
            "smtp://farewell:hush@192.0.2.1:25",
            "smtp://farewell:hush@mail.example.com?tls=opportunistic",
            "smtp://farewell:hush@localhost?tls=opportunistic",
            "http://farewell:hush@mail.example.com",
            "mail.example.com",
        ] {
            let refused = format!("{:#}", opened(plain).unwrap_err());
            assert!(!refused.contains("hush"), "{refused}");
        }
        let nowhere = Some(Path::new("/nonexistent/ca.pem"));
        let secured = "smtps://mail.example.com";
        let missing = Smtp::new(secured, "a@example.com", nowhere).err().unwrap();
        assert!(format!("{missing:#}").contains("/nonexistent/ca.pem"));
        assert!(Smtp::new("smtp://localhost", "a@example.com", nowhere).is_err());
    }
}
