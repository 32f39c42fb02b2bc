//! Letters through a mail relay of another house: with TLS and a log-in, and none without; links that confirm a deletion; and what
//! relays do besides taking letters.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use farewell_core::Policy;
use farewell_core::policy::{Channel as Door, Factor as Asked, Notices};
use farewell_identity::courier::{self, Route};
use farewell_identity::pepper::Pepper;
use farewell_identity::{Language, Rules, notice};
use farewell_kit::store::Store;
use farewell_kit::{CodeChannel, session};
use farewell_proto::deletion::v1::{
    Channel, ConfirmLinkRequest, ConfirmLinkResponse, CreateDeletionRequest, Deletion, Factor,
    State,
};
use farewell_proto::operator::v1::LetterOverview;
use farewell_runtime::certs::{self, DevCa};
use farewell_runtime::peer::Role;
use farewell_runtime::server::Security;
use farewell_runtime::shutdown::Shutdown;
use farewell_tests::caller::{Caller, Operator, fresh, request};
use farewell_tests::coordinator::{Coordinator, config};
use farewell_tests::ledger::Place;
use farewell_tests::process::{Process, free_port, needed};
use farewell_tests::refusal::{bad_field, refused};
use farewell_tests::{policy, wait};
use serde_json::Value;
use tempfile::TempDir;
use tonic::{Code, Status};

const ACCOUNT: &str = "a-4711";
const PHONE: &str = "+86 138 0000 0000";
const MAIL: &str = "li.na@example.com";
/// How the relay treats these: `tests/foreign/mail.py`.
const GREY: &str = "grey@example.com";
const DENIED: &str = "denied@example.com";
const MUTE: &str = "mute@example.com";
const GONE: &str = "gone@example.com";
const PASSWORD: &str = "a farewell by mail";
const PAGE: &str = "https://account.example.com/farewell";
const PATIENCE: Duration = Duration::from_secs(60);

/// How a relay is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    StartTls,
    Tls,
    Plain,
}

/// A relay on a port of its own, which can go away and come back.
struct Relay {
    python: String,
    folder: TempDir,
    port: u16,
    way: Way,
    process: Option<Process>,
}

impl Relay {
    /// With a certificate of this authority.
    async fn start(way: Way, ca: &DevCa) -> Result<Option<Self>> {
        let Some(python) = needed("FAREWELL_TEST_PYTHON") else {
            return Ok(None);
        };
        let folder = TempDir::new()?;
        let own = ca.issue(Role::Coordinator, "relay", &[])?;
        certs::write(folder.path(), "relay", &own)?;
        std::fs::write(folder.path().join("ca.pem"), ca.pem())?;
        let mut relay = Self {
            python,
            folder,
            port: free_port()?,
            way,
            process: None,
        };
        relay.open().await?;
        Ok(Some(relay))
    }

    async fn open(&mut self) -> Result<()> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("foreign/mail.py");
        let file = |name: &str| self.folder.path().join(name);
        let mut command = Command::new(&self.python);
        command
            .arg(script)
            .arg(self.port.to_string())
            .arg(file("told"));
        match self.way {
            Way::Plain => {
                command.args(["--security", "none"]);
            }
            Way::StartTls | Way::Tls => {
                let word = if self.way == Way::Tls {
                    "tls"
                } else {
                    "starttls"
                };
                command.args([
                    "--security",
                    word,
                    "--user",
                    "farewell",
                    "--password",
                    "hush",
                ]);
                command.arg("--cert").arg(file("relay.pem"));
                command.arg("--key").arg(file("relay.key"));
            }
        }
        self.process = Some(Process::start(&mut command, &file("log"))?);
        let port = self.port;
        wait::until("the relay", async || {
            Ok(TcpStream::connect(("127.0.0.1", port)).ok().map(drop))
        })
        .await
        .with_context(|| std::fs::read_to_string(file("log")).unwrap_or_default())
    }

    fn leave(&mut self) -> Result<()> {
        self.process.take().map_or(Ok(()), Process::kill)
    }

    /// With the authority that a courier holds it to.
    fn route(&self, way: Way, password: &str, ca: &Path) -> Route {
        self.route_by("localhost", way, password, ca)
    }

    fn route_by(&self, host: &str, way: Way, password: &str, ca: &Path) -> Route {
        let at = format!("farewell:{password}@{host}:{}", self.port);
        let url = match way {
            Way::StartTls => format!("smtp://{at}?tls=required"),
            Way::Tls => format!("smtps://{at}"),
            Way::Plain => format!("smtp://localhost:{}", self.port),
        };
        Route::Smtp {
            url,
            from: "Farewell <no-reply@example.com>".to_owned(),
            ca: (way != Way::Plain).then(|| ca.to_owned()),
        }
    }

    fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// What it took, oldest first.
    fn taken(&self) -> Vec<Value> {
        let mut told = self.told();
        told.retain(|line| line["to"].is_string());
        told
    }

    fn told(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("told")).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }
}

/// A coordinator, and identity as it runs, which mails through a relay.
struct Town {
    coordinator: Coordinator,
    caller: Caller,
    operator: Operator,
    identity: Store,
    database: String,
    shutdown: Shutdown,
    _ledger: Place,
    folder: TempDir,
}

impl Town {
    async fn start(policy: Policy, route: Route) -> Result<Self> {
        let folder = TempDir::new()?;
        let ledger = Place::sqlite()?;
        let mut config = config(policy, &ledger.url, &Security::PlainLoopback);
        config.pace.query = Duration::from_secs(5);
        let coordinator = Coordinator::start_with(config).await?;
        let database = format!("sqlite:{}", folder.path().join("identity.db").display());
        let identity = farewell_identity::open(&database).await?;
        farewell_identity::sample(&identity, ACCOUNT, PHONE, MAIL, PASSWORD).await?;
        let mut town = Self {
            caller: coordinator.caller()?,
            operator: coordinator.operator()?,
            coordinator,
            identity,
            database,
            shutdown: Shutdown::new(),
            _ledger: ledger,
            folder,
        };
        town.run(route);
        town.present().await?;
        Ok(town)
    }

    fn run(&mut self, email: Route) {
        let mut rules = Rules::default();
        // Who asks again is in no hurry, the story is.
        rules.codes.resend_wait = Duration::from_millis(1);
        rules.codes.sends_per_day_max = 100;
        rules.codes.destination_per_day_max = 100;
        let running = farewell_identity::Config {
            database: self.database.clone(),
            session: session::Config {
                participant: "identity".to_owned(),
                coordinators: vec![format!("http://{}", self.coordinator.participants)],
                security: Security::PlainLoopback,
                window_commands: 8,
            },
            courier: courier::Config {
                sms: Route::File {
                    path: self.folder.path().join("messages"),
                },
                email,
                push: None,
            },
            pepper: Pepper::new(*b"sixteen bytes or more").expect("a pepper"),
            rules,
            notices: notice::Config {
                links: Some(PAGE.to_owned()),
                language: Language::English,
            },
        };
        self.shutdown = Shutdown::new();
        let ending = self.shutdown.clone();
        self.shutdown.spawn(async move {
            if let Err(error) = farewell_identity::run(running, ending).await {
                panic!("{error:#}");
            }
        });
    }

    async fn present(&self) -> Result<()> {
        wait::until("identity", async || {
            let overview = self.operator.overview().await?;
            Ok((overview.participants[0].sessions > 0).then_some(()))
        })
        .await
    }

    /// Identity ends and comes back, with another route.
    async fn turn_to(&mut self, email: Route) -> Result<()> {
        self.shutdown.trigger();
        ensure!(self.shutdown.drain(Duration::from_secs(30)).await);
        wait::until("identity to leave", async || {
            let overview = self.operator.overview().await?;
            Ok((overview.participants[0].sessions == 0).then_some(()))
        })
        .await?;
        self.run(email);
        self.present().await
    }

    async fn letters(&self) -> Result<LetterOverview> {
        // Who was just restarted may be there before it answers.
        wait::until("identity's letters", async || {
            Ok(self.operator.overview().await?.letters)
        })
        .await
    }

    async fn ask(&self) -> Result<String> {
        let asked = CreateDeletionRequest {
            channel: Channel::Web.into(),
            ..request(ACCOUNT)
        };
        let asked = self.caller.ask(asked).await;
        Ok(asked.map_err(|status| anyhow!("{status:?}"))?.name)
    }

    async fn send(&self, name: &str, factor: Factor) -> Result<()> {
        let sent = self.caller.send_code(name, factor).await;
        sent.map(drop).map_err(|status| anyhow!("{status:?}"))
    }

    async fn confirm(&self, request_id: &str, token: &str) -> Result<Deletion, Status> {
        let request = ConfirmLinkRequest {
            request_id: request_id.to_owned(),
            token: token.to_owned(),
        };
        let answer = self.caller.api.clone().confirm_link(request).await?;
        let ConfirmLinkResponse { deletion } = answer.into_inner();
        deletion.ok_or_else(|| Status::internal("no deletion in the answer"))
    }

    async fn stop(self) -> Result<()> {
        self.shutdown.trigger();
        ensure!(self.shutdown.drain(Duration::from_secs(30)).await);
        self.coordinator.stop().await
    }
}

/// The web asks for a password, and for a code or a link by mail.
fn on_the_web() -> Policy {
    let mut policy = policy::verified(&[&["identity"]]);
    let factors = vec![Asked::Password, Asked::EmailCode, Asked::EmailLink];
    policy.channels.insert(Door::Web, factors);
    policy
}

/// The tokens of links that the relay took for a deletion, oldest first.
fn tokens(relay: &Relay, deletion: &str) -> Vec<String> {
    let id = deletion.trim_start_matches("deletions/");
    let begin = format!("{PAGE}#confirm={id}.");
    let token = |letter: Value| {
        let text = letter["text"].as_str()?.to_owned();
        let (_, secret) = text.split_once(&begin)?;
        let secret: String = secret.chars().take_while(char::is_ascii_hexdigit).collect();
        Some(format!("{id}.{secret}"))
    };
    relay.taken().into_iter().filter_map(token).collect()
}

async fn arrived(relay: &Relay, deletion: &str, count: usize) -> Result<String> {
    wait::until_within(PATIENCE, "a link by mail", async || {
        let tokens = tokens(relay, deletion);
        Ok((tokens.len() >= count)
            .then(|| tokens.last().cloned())
            .flatten())
    })
    .await
}

fn outstanding(deletion: &Deletion) -> Vec<Factor> {
    let open = deletion.factors.iter().filter(|it| !it.verified);
    open.map(|it| it.factor()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_by_mail_and_a_password_delete_an_account_and_nothing_less_does() -> Result<()> {
    let ca = DevCa::create()?;
    let Some(relay) = Relay::start(Way::StartTls, &ca).await? else {
        return Ok(());
    };
    let route = relay.route(Way::StartTls, "hush", &relay.authority());
    let town = Town::start(on_the_web(), route).await?;
    let english = town.ask().await?;
    let asked = town.caller.get(&english).await?;
    let link = asked
        .factors
        .iter()
        .find(|it| it.factor() == Factor::EmailLink);
    let instead: Vec<_> = link.context("the link")?.alternatives().collect();
    assert_eq!(instead, [Factor::EmailCode]);

    // A newer link makes the older one void, and only the token itself is one.
    town.send(&english, Factor::EmailLink).await?;
    let first = arrived(&relay, &english, 1).await?;
    town.send(&english, Factor::EmailLink).await?;
    let second = arrived(&relay, &english, 2).await?;
    let no = Code::FailedPrecondition;
    let old = town.confirm(&fresh(), &first).await;
    refused("an older link", old, no, "WRONG_PROOF");
    let guessed = format!("{}{}", &second[..second.len() - 8], "00000000");
    let wrong = refused(
        "a guess",
        town.confirm(&fresh(), &guessed).await,
        no,
        "WRONG_PROOF",
    );
    ensure!(!format!("{wrong:?}").contains(&guessed[40..]));
    // One of a deletion that nobody knows is answered as one that is over.
    let (_, secret) = second.split_once('.').context("a secret")?;
    let unknown = format!("01900000-0000-7000-8000-000000000001.{secret}");
    let nobodys = town.confirm(&fresh(), &unknown).await;
    refused("nobody's", nobodys, no, "PROOF_EXPIRED");
    assert_eq!(outstanding(&town.caller.get(&english).await?).len(), 3);

    // It is used once; the same request has the same answer, and tells what the page needs and no more.
    let once = fresh();
    for _ in 0..2 {
        let told = town.confirm(&once, &second).await?;
        assert_eq!(told.state(), State::AwaitingVerification);
        assert_eq!(outstanding(&told), [Factor::EmailCode, Factor::Password]);
        assert_eq!(
            (told.name.as_str(), told.account.as_str()),
            (english.as_str(), "")
        );
    }
    let again = town.confirm(&fresh(), &second).await;
    refused("a second use", again, no, "PROOF_EXPIRED");
    let sealed = town
        .caller
        .verify(&english, Factor::Password, PASSWORD)
        .await?;
    assert_eq!(
        sealed.state(),
        State::CoolingOff,
        "a link is enough in place of a code"
    );
    assert_eq!(
        town.confirm(&once, &second).await?.state(),
        State::CoolingOff
    );
    town.caller.revoke(&english).await?;

    // A code is enough in place of a link, and the letter is in the owner's language.
    let chinese = wait::until("the next deletion", async || Ok(town.ask().await.ok())).await?;
    wait::until("the language", async || {
        let said = farewell_identity::set_language(&town.identity, ACCOUNT, Language::Chinese);
        Ok(said.await.ok())
    })
    .await?;
    town.send(&chinese, Factor::EmailLink).await?;
    let third = arrived(&relay, &chinese, 1).await?;
    let letter = relay.taken().pop().context("a letter")?;
    assert_eq!(letter["subject"], "请确认注销您的账号");
    town.send(&chinese, Factor::EmailCode).await?;
    let code = wait::until_within(PATIENCE, "a code by mail", async || {
        let letter = relay.taken().pop();
        let text = letter.and_then(|it| it["text"].as_str().map(str::to_owned));
        let code = text.and_then(|it| Some(it.split_once("验证码是 ")?.1.get(..6)?.to_owned()));
        Ok(code)
    })
    .await?;
    town.caller
        .verify(&chinese, Factor::EmailCode, &code)
        .await?;
    let sealed = town
        .caller
        .verify(&chinese, Factor::Password, PASSWORD)
        .await?;
    assert_eq!(sealed.state(), State::CoolingOff);
    // The link of a factor that nobody waits for any more confirms nothing.
    let late = town.confirm(&fresh(), &third).await;
    refused("a late link", late, no, "ILLEGAL_STATE");

    let taken = relay.taken();
    ensure!(
        taken
            .iter()
            .all(|it| it["tls"] == true && it["user"] == "farewell"),
        "{taken:#?}"
    );
    ensure!(
        taken
            .iter()
            .all(|it| it["to"] == MAIL && it["sender"] == "no-reply@example.com")
    );
    println!(
        "{} letters by STARTTLS with a log-in, {} of them links",
        taken.len(),
        3
    );

    for (request, field) in [
        (("x", third.as_str()), "request_id"),
        (("", third.as_str()), "request_id"),
        ((once.as_str(), ""), "token"),
        ((once.as_str(), "."), "token"),
        ((once.as_str(), secret), "token"),
        ((once.as_str(), "not-an-id.00"), "token"),
        (
            (once.as_str(), &format!("{third}{}", "0".repeat(256))),
            "token",
        ),
    ] {
        let (id, token) = request;
        let answer = town.confirm(id, token).await;
        bad_field(token, answer, "INVALID_FIELD", field);
    }
    let reused = town.confirm(&once, &third).await;
    refused(
        "the id of another",
        reused,
        Code::AlreadyExists,
        "REQUEST_ID_REUSED",
    );
    town.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_letter_goes_to_a_relay_that_cannot_be_trusted_and_none_falls_back_to_plain_text()
-> Result<()> {
    let (ca, another) = (DevCa::create()?, DevCa::create()?);
    let Some(relay) = Relay::start(Way::StartTls, &ca).await? else {
        return Ok(());
    };
    let wrapped = Relay::start(Way::Tls, &ca).await?.context("TLS")?;
    let bare = Relay::start(Way::Plain, &ca).await?.context("plain")?;
    let strange = Relay::start(Way::StartTls, &another).await?;
    let strange = strange.context("another authority's")?;
    let folder = TempDir::new()?;
    let authority = folder.path().join("ca.pem");
    std::fs::write(&authority, ca.pem())?;

    let mut town =
        Town::start(on_the_web(), relay.route(Way::StartTls, "hush", &authority)).await?;
    let name = town.ask().await?;
    // One after the other: each is asked to carry a code, and says that it can't.
    for (what, route) in [
        (
            "another authority",
            strange.route(Way::StartTls, "hush", &authority),
        ),
        (
            "another name",
            wrapped.route_by("127.0.0.2", Way::Tls, "hush", &authority),
        ),
        ("no STARTTLS", bare.route(Way::StartTls, "hush", &authority)),
        ("no TLS at all", bare.route(Way::Tls, "hush", &authority)),
        (
            "a wrong password",
            relay.route(Way::StartTls, "wrong", &authority),
        ),
    ] {
        town.turn_to(route).await?;
        assert_eq!(town.letters().await?.last_failure_time, None, "{what}");
        town.send(&name, Factor::EmailCode).await?;
        wait::until_within(PATIENCE, what, async || {
            Ok(town.letters().await?.last_failure_time.map(drop))
        })
        .await?;
    }
    for relay in [&relay, &wrapped, &bare, &strange] {
        assert_eq!(
            relay.told(),
            Vec::<Value>::new(),
            "nothing was said in plain text, or to a stranger"
        );
    }
    // The same letters go where they are to go.
    for (relay, way) in [
        (&relay, Way::StartTls),
        (&wrapped, Way::Tls),
        (&bare, Way::Plain),
    ] {
        town.turn_to(relay.route(way, "hush", &authority)).await?;
        town.send(&name, Factor::EmailLink).await?;
        arrived(relay, &name, 1).await?;
        let letter = relay.taken().pop().context("a letter")?;
        assert_eq!(letter["tls"], way != Way::Plain, "{way:?}");
    }
    town.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_relay_refuses_for_now_arrives_later_and_what_it_took_silently_is_one_message()
-> Result<()> {
    let ca = DevCa::create()?;
    let Some(mut relay) = Relay::start(Way::Tls, &ca).await? else {
        return Ok(());
    };
    let mut policy = policy::verified(&[&["identity"]]);
    policy.notices = Notices {
        send: true,
        reminders: Vec::new(),
    };
    let route = relay.route(Way::Tls, "hush", &relay.authority());
    let town = Town::start(policy, route).await?;
    // Each was bound lately, so that all of them hear of it.
    for address in [GREY, DENIED, MUTE, GONE] {
        farewell_identity::set_contact(&town.identity, ACCOUNT, CodeChannel::Email, address)
            .await?;
    }
    let name = town.caller.delete(ACCOUNT).await?;
    town.send(&name, Factor::SmsCode).await?;
    let messages = town.folder.path().join("messages");
    let code = wait::until("the code", async || {
        let text = std::fs::read_to_string(&messages).unwrap_or_default();
        let mut lines = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        Ok(lines
            .next_back()
            .and_then(|it| it["code"].as_str().map(str::to_owned)))
    })
    .await?;
    // Away at first, and back.
    relay.leave()?;
    let shown = town.caller.verify(&name, Factor::SmsCode, &code).await?;
    ensure!(shown.state() == State::AwaitingVerification || shown.state() == State::CoolingOff);
    wait::until_within(PATIENCE, "letters that can't be carried", async || {
        Ok((town.letters().await?.failing >= 4).then_some(()))
    })
    .await?;
    relay.open().await?;
    let to = |address: &str| -> Vec<Value> {
        let mut taken = relay.taken();
        taken.retain(|it| it["to"] == address);
        taken
    };
    wait::until_within(PATIENCE * 2, "everybody to hear of it", async || {
        let once = [GREY, DENIED, MAIL].iter().all(|it| !to(it).is_empty());
        let all = once && to(MUTE).len() >= 2;
        let left = town.letters().await?.waiting;
        Ok((all && left == 1).then_some(()))
    })
    .await?;
    // What it refuses because of us is as little the address's fault as what it refuses for now.
    for address in [GREY, DENIED] {
        let refused = relay.told();
        let refused = refused.iter().filter(|it| it["refused"] == address);
        assert_eq!((refused.count(), to(address).len()), (2, 1), "{address}");
    }
    assert_eq!(to(MAIL).len(), 1);
    let silent = to(MUTE);
    ensure!(
        silent.len() == 2 && silent[0]["id"] == silent[1]["id"],
        "{silent:#?}"
    );
    ensure!(to(GONE).is_empty());
    let letters = town.letters().await?;
    println!("one address is gone for good, and its letter is looked after: {letters:?}");
    assert_eq!(
        (letters.waiting, letters.failing, letters.given_up),
        (1, 1, 0)
    );
    ensure!(letters.last_failure_time.is_some());
    town.stop().await
}
