//! What the person is told of a deletion, by a gateway that fails, delays and repeats; what they do with it; and a deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow, ensure};
use farewell_core::Policy;
use farewell_core::policy::{
    Channel as Door, Deadline, Extension, Factor as Shown, Length, Notices, RecentContact,
};
use farewell_identity::courier::{self, Route};
use farewell_identity::credential::Hasher;
use farewell_identity::{Language, Rules, code::Pepper, notice};
use farewell_kit::sqlx::{self, AssertSqlSafe};
use farewell_kit::store::{Store, micros};
use farewell_kit::{CodeChannel, session};
use farewell_proto::deletion::v1::{
    CheckEligibilityRequest, ConditionKind, Deletion, ExtensionReason, Factor, Leg,
    RevokeDeletionRequest, State,
};
use farewell_proto::operator::v1::ExtendDeadlineRequest;
use farewell_runtime::server::Security;
use farewell_runtime::shutdown::Shutdown;
use farewell_tests::caller::{Caller, Operator, fresh};
use farewell_tests::coordinator::{Coordinator, config};
use farewell_tests::ledger::Place;
use farewell_tests::refusal::refused;
use farewell_tests::{policy, wait};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tonic::Code;

const ACCOUNT: &str = "a-4711";
const PHONE: &str = "+86 138 0000 0000";
const OLD_MAIL: &str = "li.na@example.com";
const NEW_MAIL: &str = "somebody.else@example.com";
const PASSWORD: &str = "a farewell to letters";
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// The gateway's mood towards a device that is not there any more.
const GONE: usize = 9;

/// A gateway that has its moods: of four requests it refuses one, takes one without saying so, and is slow with one. It knows
/// a repeat by its key, and who is gone.
#[derive(Clone, Default)]
struct Gateway(Arc<Mutex<Moods>>);

#[derive(Default)]
struct Moods {
    requests: usize,
    repeats: usize,
    taken: BTreeMap<String, Value>,
    away: bool,
    gone: BTreeSet<String>,
    asked_for_gone: usize,
}

impl Gateway {
    async fn open() -> Result<(Self, String)> {
        let gateway = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/letters", listener.local_addr()?);
        let serving = gateway.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let serving = serving.clone();
                tokio::spawn(async move { serving.serve(socket).await });
            }
        });
        Ok((gateway, url))
    }

    async fn serve(&self, socket: TcpStream) -> Result<()> {
        let mut socket = BufReader::new(socket);
        let (mut key, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            socket.read_line(&mut line).await?;
            let line = line.trim();
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(": ") {
                match name.to_lowercase().as_str() {
                    "idempotency-key" => key = value.to_owned(),
                    "content-length" => length = value.parse()?,
                    _ => {}
                }
            }
        }
        let mut body = vec![0; length];
        socket.read_exact(&mut body).await?;
        let letter: Value = serde_json::from_slice(&body)?;
        ensure!(letter["id"] == key.as_str(), "the key is the letter's");
        let mood = {
            let mut moods = self.0.lock().map_err(|_| anyhow!("moods"))?;
            let gone = letter["to"]
                .as_str()
                .is_some_and(|to| moods.gone.contains(to));
            if gone {
                moods.asked_for_gone += 1;
                GONE
            } else {
                moods.requests += 1;
                let mood = if moods.away { 1 } else { moods.requests % 4 };
                if mood != 1 && moods.taken.insert(key, letter).is_some() {
                    moods.repeats += 1;
                }
                mood
            }
        };
        let answer = match mood {
            GONE => "410 Gone",
            1 => "503 Service Unavailable",
            2 => return Ok(()),
            3 => {
                tokio::time::sleep(Duration::from_millis(300)).await;
                "202 Accepted"
            }
            _ => "202 Accepted",
        };
        let head = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        Ok(socket.write_all(head.as_bytes()).await?)
    }

    fn moods<T>(&self, look: impl FnOnce(&mut Moods) -> T) -> T {
        look(&mut self.0.lock().expect("moods"))
    }

    /// Letters of a kind by receiver. One that came twice under two keys would be two.
    fn of(&self, kind: &str) -> Vec<(String, Value)> {
        let all = self.moods(|moods| moods.taken.values().cloned().collect::<Vec<_>>());
        let of = all.into_iter().filter(|letter| letter["kind"] == kind);
        of.map(|letter| (letter["to"].as_str().unwrap_or_default().to_owned(), letter))
            .collect()
    }

    async fn until(&self, kind: &str, receivers: &[&str]) -> Result<BTreeMap<String, Value>> {
        let expected: BTreeSet<_> = receivers.iter().copied().collect();
        wait::until(&format!("{kind} to everybody"), async || {
            let letters = self.of(kind);
            let found: BTreeSet<_> = letters.iter().map(|(to, _)| to.as_str()).collect();
            Ok((found == expected).then_some(()))
        })
        .await?;
        let letters = self.of(kind);
        ensure!(letters.len() == receivers.len(), "{kind} came twice");
        Ok(letters.into_iter().collect())
    }
}

/// A coordinator, identity as it runs, and two gateways: for people's addresses, and for devices that are signed in.
struct Town {
    coordinator: Coordinator,
    caller: Caller,
    operator: Operator,
    ledger: Place,
    identity: Store,
    gateway: Gateway,
    pushes: Gateway,
    shutdown: Shutdown,
    _folder: TempDir,
}

impl Town {
    async fn start(policy: Policy) -> Result<Self> {
        let folder = TempDir::new()?;
        let ledger = Place::sqlite()?;
        let coordinator = Coordinator::start_with(terms(policy, &ledger)).await?;
        let (gateway, url) = Gateway::open().await?;
        let (pushes, push_url) = Gateway::open().await?;
        let database = format!("sqlite:{}", folder.path().join("identity.db").display());
        let identity = farewell_identity::open(&database).await?;
        farewell_identity::sample(&identity, ACCOUNT, PHONE, OLD_MAIL, PASSWORD).await?;
        let route = Route::Webhook { url, token: None };
        let running = farewell_identity::Config {
            database,
            session: session::Config {
                participant: "identity".to_owned(),
                coordinators: vec![format!("http://{}", coordinator.participants)],
                security: Security::PlainLoopback,
                window_commands: 8,
            },
            courier: courier::Config {
                sms: route.clone(),
                email: route.clone(),
                push: Some(Route::Webhook {
                    url: push_url,
                    token: None,
                }),
            },
            pepper: Pepper::new(*b"sixteen bytes or more")?,
            rules: Rules::default(),
            notices: notice::Config {
                links: Some("https://account.example.com/stay".to_owned()),
                language: Language::English,
            },
        };
        let shutdown = Shutdown::new();
        let ending = shutdown.clone();
        shutdown.spawn(async move {
            if let Err(error) = farewell_identity::run(running, ending).await {
                panic!("{error:#}");
            }
        });
        Ok(Self {
            caller: coordinator.caller()?,
            operator: coordinator.operator()?,
            coordinator,
            ledger,
            identity,
            gateway,
            pushes,
            shutdown,
            _folder: folder,
        })
    }

    /// Asks for a deletion and shows the code that was really sent.
    async fn verified(&self) -> Result<Deletion> {
        wait::until("identity", async || {
            let overview = self.operator.overview().await?;
            Ok((overview.participants[0].sessions > 0).then_some(()))
        })
        .await?;
        let name = self.caller.delete(ACCOUNT).await?;
        self.caller.send_code(&name, Factor::SmsCode).await?;
        let code = wait::until("the code", async || {
            Ok(self.gateway.moods(|moods| {
                let mut letters = moods.taken.values();
                let code = letters.find(|it| it["deletion"] == name.as_str() && it["to"] == PHONE);
                code.and_then(|it| it["code"].as_str().map(str::to_owned))
            }))
        })
        .await?;
        Ok(self.caller.verify(&name, Factor::SmsCode, &code).await?)
    }

    /// The sessions of whoever is signed in.
    async fn devices(&self) -> Result<Vec<String>> {
        let live = "SELECT id FROM login WHERE account = $1 AND ended_at = 0 ORDER BY id";
        let rows: Vec<(String,)> = sqlx::query_as(live)
            .bind(ACCOUNT)
            .fetch_all(self.identity.pool())
            .await?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    async fn notes(&self, name: &str) -> Result<Vec<String>> {
        let ledger = farewell_ledger::connect(&self.ledger.url).await?;
        let id = name.trim_start_matches("deletions/").parse();
        let id = id.map_err(|_| anyhow!("{name}"))?;
        let history = ledger.history(id, 0, 1_000).await?;
        Ok(history.into_iter().map(|entry| entry.note).collect())
    }

    /// The same ledger and the same participants, under another policy.
    async fn under(self, policy: Policy) -> Result<Self> {
        let mut terms = terms(policy, &self.ledger);
        terms.participants.address = self.coordinator.participants.parse()?;
        self.coordinator.stop().await?;
        let coordinator = Coordinator::start_with(terms).await?;
        Ok(Self {
            caller: coordinator.caller()?,
            operator: coordinator.operator()?,
            coordinator,
            ..self
        })
    }

    /// Somebody else's address since so long ago.
    async fn changed(&self, ago: Duration) -> Result<()> {
        let mail = CodeChannel::Email;
        farewell_identity::set_contact(&self.identity, ACCOUNT, mail, NEW_MAIL).await?;
        for table in ["contact_change", "contact_earlier"] {
            let age = format!("UPDATE {table} SET changed_at = $1 WHERE channel = 'EMAIL'");
            let aged = sqlx::query(AssertSqlSafe(age))
                .bind(micros(SystemTime::now() - ago))
                .execute(self.identity.pool())
                .await?;
            ensure!(aged.rows_affected() == 1, "{table}");
        }
        Ok(())
    }

    /// The codes of what is in the way as the policy of today says.
    async fn in_the_way(&self) -> Result<Vec<String>> {
        wait::until("identity to be asked", async || {
            let request = CheckEligibilityRequest {
                account: format!("accounts/{ACCOUNT}"),
            };
            let answer = self.caller.api.clone().check_eligibility(request).await?;
            let codes = answer.into_inner().blockers.into_iter().map(|it| it.code);
            let codes: Vec<_> = codes.collect();
            let silent = codes.iter().any(|code| code == "PARTICIPANT_UNREACHABLE");
            Ok((!silent).then_some(codes))
        })
        .await
    }

    async fn stop(self) -> Result<()> {
        self.shutdown.trigger();
        ensure!(self.shutdown.drain(Duration::from_secs(20)).await);
        self.coordinator.stop().await
    }
}

fn terms(policy: Policy, ledger: &Place) -> farewell_coordinator::Config {
    let mut terms = config(policy, &ledger.url, &Security::PlainLoopback);
    terms.pace.query = Duration::from_secs(5);
    terms
}

fn telling() -> Policy {
    Policy {
        notices: Notices {
            send: true,
            reminders: vec![Duration::from_secs(3)],
        },
        ..policy::verified(&[&["identity"]])
    }
}

fn token(letter: &Value) -> Result<String> {
    let link = letter["link"].as_str().context("a link")?;
    ensure!(
        letter["text"]
            .as_str()
            .is_some_and(|text| text.contains(link))
    );
    let (page, token) = link.split_once("&token=").context("a token")?;
    ensure!(page.starts_with("https://account.example.com/stay#deletion="));
    Ok(token.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_of_it_takes_it_back_by_the_link_without_a_log_in() -> Result<()> {
    let town = Town::start(telling()).await?;
    let deletion = town.verified().await?;
    assert_eq!(deletion.state(), State::CoolingOff);
    let sealed = town.gateway.until("SEALED", &[PHONE, OLD_MAIL]).await?;
    let (by_phone, by_mail) = (token(&sealed[PHONE])?, token(&sealed[OLD_MAIL])?);
    assert_ne!(by_phone, by_mail);
    assert!(
        sealed[PHONE]["text"]
            .as_str()
            .is_some_and(|text| !text.contains(ACCOUNT))
    );

    // Bad input changes nothing.
    let name = deletion.name.as_str();
    let wrong = town.caller.revoke_by(name, &"0".repeat(64)).await;
    refused(
        "a wrong token",
        wrong,
        Code::FailedPrecondition,
        "WRONG_PROOF",
    );
    let long = town.caller.revoke_by(name, &"0".repeat(257)).await;
    refused("no token", long, Code::InvalidArgument, "INVALID_FIELD");
    let odd = RevokeDeletionRequest {
        request_id: "odd".to_owned(),
        name: name.to_owned(),
        link_token: by_phone.clone(),
        case: String::new(),
    };
    let odd = town.caller.api.clone().revoke_deletion(odd).await;
    refused("no request id", odd, Code::InvalidArgument, "INVALID_FIELD");
    assert_eq!(town.caller.get(name).await?.state(), State::CoolingOff);

    let revoked = town.caller.revoke_by(name, &by_mail).await?;
    assert_eq!(revoked.state(), State::Revoked);
    // Another click, and somebody else's: the same answer.
    for token in [&by_mail, &by_phone] {
        let again = town.caller.revoke_by(name, token).await?;
        assert_eq!(again.state(), State::Revoked);
    }
    let again = town.caller.revoke(name).await;
    refused("a log-in", again, Code::FailedPrecondition, "ALREADY_ENDED");
    assert!(
        town.notes(name)
            .await?
            .contains(&"REVOKED_BY_LINK".to_owned())
    );
    town.gateway.until("REVOKED", &[PHONE, OLD_MAIL]).await?;
    wait::until("nobody to look after it", async || {
        let ledger = farewell_ledger::connect(&town.ledger.url).await?;
        let id = name
            .trim_start_matches("deletions/")
            .parse()
            .map_err(|_| anyhow!("id"))?;
        let stored = ledger.get(&[id]).await?.pop().context("stored")?.deletion;
        Ok((stored.closed_at.is_some() && stored.attention_at.is_none()).then_some(()))
    })
    .await?;

    // That the gateway had its moods shows, and that nothing is left of it.
    let letters = wait::until("no letter to wait", async || {
        let letters = town.operator.overview().await?.letters.context("letters")?;
        Ok((letters.waiting == 0).then_some(letters))
    })
    .await?;
    assert_eq!((letters.failing, letters.given_up), (0, 0));
    assert!(letters.last_failure_time.is_some());
    let (requests, repeats) = town.gateway.moods(|moods| (moods.requests, moods.repeats));
    assert!(repeats > 0, "of {requests} requests none was a repeat");
    town.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_in_the_way_of_what_was_waited_for_is_told_too() -> Result<()> {
    let policy = Policy {
        cooling_off: Duration::from_secs(1),
        notices: Notices {
            send: true,
            reminders: Vec::new(),
        },
        ..telling()
    };
    let town = Town::start(policy).await?;
    farewell_identity::set_risk_lock(&town.identity, ACCOUNT, true).await?;
    let deletion = town.verified().await?;
    let letters = async |kind: &str, count: usize| {
        wait::until(&format!("{count} letters {kind}"), async || {
            let letters = town.gateway.of(kind);
            let texts = letters.iter().map(|(_, it)| it["text"].to_string());
            Ok((letters.len() == count).then(|| texts.collect::<Vec<_>>()))
        })
        .await
    };
    let holds = |letters: &[String], sentence: &str, count: usize| {
        let told = letters.iter().filter(|it| it.contains(sentence)).count();
        assert_eq!(told, count, "{sentence}: {letters:#?}");
    };
    // To the number and to the address.
    let (lock, frozen) = ("because of unusual use", "The account is frozen.");
    holds(&letters("WAITING", 2).await?, lock, 2);

    // Both at once, so that it never begins.
    farewell_identity::set_frozen(&town.identity, ACCOUNT, true).await?;
    farewell_identity::set_risk_lock(&town.identity, ACCOUNT, false).await?;
    holds(&letters("WAITING", 4).await?, frozen, 2);
    // What went and came back they know.
    farewell_identity::set_risk_lock(&town.identity, ACCOUNT, true).await?;
    wait::until("both to be in the way", async || {
        let deletion = town.caller.get(&deletion.name).await?;
        let blocked = deletion.conditions.iter();
        let blocked = blocked.filter(|it| it.kind() == ConditionKind::Blocked);
        Ok((blocked.count() == 2).then_some(()))
    })
    .await?;
    farewell_identity::set_frozen(&town.identity, ACCOUNT, false).await?;
    farewell_identity::set_risk_lock(&town.identity, ACCOUNT, false).await?;
    town.gateway.until("ERASING", &[PHONE, OLD_MAIL]).await?;
    letters("WAITING", 4).await?;
    assert_eq!(town.gateway.of("BLOCKED").len(), 0);
    town.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reminder_comes_before_the_end_and_the_last_word_before_the_contact_is_gone() -> Result<()>
{
    // Time enough for a gateway of moods to take a letter, and for that letter to be seen before the next.
    let policy = Policy {
        cooling_off: Duration::from_secs(36),
        notices: Notices {
            send: true,
            reminders: vec![Duration::from_secs(15)],
        },
        ..telling()
    };
    let town = Town::start(policy).await?;
    let deletion = town.verified().await?;
    town.gateway.until("SEALED", &[PHONE, OLD_MAIL]).await?;
    assert_eq!(town.gateway.of("REMINDER").len(), 0);
    town.gateway.until("REMINDER", &[PHONE, OLD_MAIL]).await?;
    // The gateway goes away: nobody's address is erased while nobody has the last word.
    town.gateway.moods(|moods| moods.away = true);
    wait::until("identity to wait for its letters", async || {
        let deletion = town.caller.get(&deletion.name).await?;
        let waits = |leg: &Leg| leg.progress.starts_with("WAITING_FOR_LAST_LETTERS");
        Ok(deletion.legs.iter().any(waits).then_some(()))
    })
    .await?;
    assert_eq!(town.gateway.of("ERASING").len(), 0);
    town.gateway.moods(|moods| moods.away = false);
    town.gateway.until("ERASING", &[PHONE, OLD_MAIL]).await?;
    assert_eq!(town.gateway.of("REMINDER").len(), 2, "to each, and once");
    wait::until("PURGED", async || {
        let state = town.caller.get(&deletion.name).await?.state();
        Ok((state == State::Purged).then_some(()))
    })
    .await?;
    let left = farewell_identity::left_over(&town.identity, ACCOUNT).await?;
    assert_eq!(left.categories, []);
    town.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_address_asks_for_a_password_and_more_time_and_the_old_one_hears_of_it()
-> Result<()> {
    let policy = Policy {
        recent_contact: Some(RecentContact {
            factors: vec![Shown::Password],
            cooling_off: 3 * HOUR,
        }),
        ..telling()
    };
    let town = Town::start(policy).await?;
    let mail = CodeChannel::Email;
    farewell_identity::set_contact(&town.identity, ACCOUNT, mail, NEW_MAIL).await?;
    let deletion = town.verified().await?;
    assert_eq!(deletion.state(), State::AwaitingVerification);
    assert!(deletion.raise_time.is_some());
    let outstanding: Vec<_> = deletion.factors.iter().filter(|it| !it.verified).collect();
    assert_eq!(outstanding.len(), 1);
    assert_eq!(outstanding[0].factor(), Factor::Password);
    let told = town
        .gateway
        .until("WAITING", &[PHONE, OLD_MAIL, NEW_MAIL])
        .await?;
    assert!(token(&told[OLD_MAIL]).is_ok());

    let name = deletion.name.as_str();
    let cooling = town.caller.verify(name, Factor::Password, PASSWORD).await?;
    assert_eq!(cooling.state(), State::CoolingOff);
    let end = cooling.cooling_off_end_time.context("an end")?.seconds;
    let begin = cooling.create_time.context("a begin")?.seconds;
    assert!(end - begin >= 3 * 3_600, "{}", end - begin);
    town.gateway
        .until("SEALED", &[PHONE, OLD_MAIL, NEW_MAIL])
        .await?;
    // Whoever has the old address is not powerless.
    let revoked = town
        .caller
        .revoke_by(name, &token(&told[OLD_MAIL])?)
        .await?;
    assert_eq!(revoked.state(), State::Revoked);
    town.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_signed_in_hears_of_a_changed_contacts_deletion_and_takes_it_back()
-> Result<()> {
    let policy = Policy {
        recent_contact: Some(RecentContact {
            factors: vec![Shown::Password],
            cooling_off: 3 * HOUR,
        }),
        ..telling()
    };
    let town = Town::start(policy).await?;
    let live = town.devices().await?;
    let devices: Vec<_> = live.iter().map(String::as_str).collect();
    assert_eq!(devices.len(), 2);
    // A third, whose push token is dead by now, and a gateway that is away at first.
    let hasher = Hasher::default();
    let lost = farewell_identity::log_in(&town.identity, &hasher, ACCOUNT, PASSWORD, "lost");
    let lost = lost.await?;
    town.pushes.moods(|moods| {
        moods.gone.insert(lost.clone());
        moods.away = true;
    });

    // Whoever changed the address asks for the deletion as well: the owner's devices are what is left to the owner.
    let mail = CodeChannel::Email;
    farewell_identity::set_contact(&town.identity, ACCOUNT, mail, NEW_MAIL).await?;
    let deletion = town.verified().await?;
    assert_eq!(deletion.state(), State::AwaitingVerification);
    let failing = wait::until("pushes that fail", async || {
        // Who is busy with a gateway may be late with its own answer.
        let letters = town.operator.overview().await?.letters;
        Ok(letters.filter(|it| it.failing == 2 && it.waiting == 2))
    })
    .await?;
    assert_eq!(failing.given_up, 0, "and who is gone is not waited for");
    assert_eq!(town.pushes.of("WAITING").len(), 0);
    town.pushes.moods(|moods| moods.away = false);
    let told = town.pushes.until("WAITING", &devices).await?;
    let everybody = [PHONE, OLD_MAIL, NEW_MAIL];
    let letters = town.gateway.until("WAITING", &everybody).await?;

    // Sealing signs everybody out, and the devices that it signed out hear of that as well.
    let name = deletion.name.as_str();
    let sealed = town.caller.verify(name, Factor::Password, PASSWORD).await?;
    assert_eq!(sealed.state(), State::CoolingOff);
    wait::until("everybody to be signed out", async || {
        Ok(town.devices().await?.is_empty().then_some(()))
    })
    .await?;
    let again = town.pushes.until("SEALED", &devices).await?;

    // Each has a link of its own, the same in every letter of the deletion, and says nothing of who is meant.
    let mut tokens = BTreeSet::new();
    for device in &devices {
        let (first, second) = (&told[*device], &again[*device]);
        assert_eq!(token(first)?, token(second)?);
        assert_ne!(first["id"], second["id"]);
        assert_eq!(
            (&first["channel"], &first["deletion"]),
            (&"push".into(), &name.into())
        );
        assert!(!first["text"].to_string().contains(ACCOUNT));
        tokens.insert(token(first)?);
    }
    for letter in letters.values() {
        tokens.insert(token(letter)?);
    }
    assert_eq!(tokens.len(), devices.len() + everybody.len());

    let by_push = token(&told[devices[1]])?;
    let revoked = town.caller.revoke_by(name, &by_push).await?;
    assert_eq!(revoked.state(), State::Revoked);
    let end = town.pushes.until("REVOKED", &devices).await?;
    assert!(end.values().all(|letter| letter["link"].is_null()));
    for device in &devices {
        wait::until("to be signed in as before", async || {
            let signed_in = farewell_identity::is_logged_in(&town.identity, device).await?;
            Ok(signed_in.then_some(()))
        })
        .await?;
    }
    let letters = wait::until("no letter to wait", async || {
        let letters = town.operator.overview().await?.letters;
        Ok(letters.filter(|it| it.waiting == 0))
    })
    .await?;
    assert_eq!((letters.failing, letters.given_up), (0, 0));
    let (repeats, asked_for_gone) = town
        .pushes
        .moods(|moods| (moods.repeats, moods.asked_for_gone));
    assert!(repeats > 0, "none of the pushes was repeated");
    assert_eq!(asked_for_gone, 3, "once for each notice");
    town.stop().await
}

#[test]
fn an_earlier_address_is_kept_for_as_long_as_any_policy_may_ask_for() {
    assert_eq!(
        farewell_core::policy::RECENT_CHANGE_MAX,
        farewell_kit::RECENT_CHANGE_MAX
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_recent_each_region_says_and_a_deletion_keeps_what_held_when_it_began() -> Result<()>
{
    let law = |region: &str, days: u32| Policy {
        name: region.to_owned(),
        region: Some(region.to_owned()),
        recent_change: DAY * days,
        recent_contact: Some(RecentContact {
            factors: vec![Shown::Password],
            cooling_off: 3 * HOUR,
        }),
        ..telling()
    };
    // An address that was changed ten days ago is an old story where a week is recent,
    let brief = Town::start(law("brief", 7)).await?;
    brief.changed(10 * DAY).await?;
    let deletion = brief.verified().await?;
    assert_eq!(deletion.state(), State::CoolingOff);
    assert_eq!(deletion.raise_time, None);
    brief.gateway.until("SEALED", &[PHONE, NEW_MAIL]).await?;
    brief.stop().await?;

    // and not where two weeks are: more is asked for, and the old address hears of it.
    let long = Town::start(law("long", 14)).await?;
    long.changed(10 * DAY).await?;
    assert_eq!(long.in_the_way().await?, ["RECENT_CONTACT_CHANGE"]);
    let deletion = long.verified().await?;
    assert_eq!(deletion.state(), State::AwaitingVerification);
    assert!(deletion.raise_time.is_some());
    let everybody = [PHONE, OLD_MAIL, NEW_MAIL];
    long.gateway.until("WAITING", &everybody).await?;

    // A policy of tomorrow changes what is asked of tomorrow's deletions, and nothing about this one.
    let long = long.under(law("long", 7)).await?;
    assert_eq!(long.in_the_way().await?, ["DELETION_ALREADY_RUNNING"]);
    let name = deletion.name.as_str();
    let cooling = wait::until("the password to be looked at", async || {
        let shown = long.caller.verify(name, Factor::Password, PASSWORD).await;
        Ok(shown.ok())
    })
    .await?;
    assert_eq!(cooling.state(), State::CoolingOff);
    let end = cooling.cooling_off_end_time.context("an end")?.seconds;
    let begin = cooling.create_time.context("a begin")?.seconds;
    assert!(end - begin >= 3 * 3_600, "{}", end - begin);
    long.gateway.until("SEALED", &everybody).await?;
    long.stop().await
}

fn extend(name: &str, reason: ExtensionReason) -> ExtendDeadlineRequest {
    ExtendDeadlineRequest {
        request_id: fresh(),
        name: name.to_owned(),
        reason: reason.into(),
        reference: String::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_is_extended_once_with_a_reason_that_the_person_is_told() -> Result<()> {
    let policy = Policy {
        extension: Some(Extension {
            deadline: Deadline::Within(Length(72 * HOUR)),
        }),
        ..telling()
    };
    let town = Town::start(policy).await?;
    let deletion = town.verified().await?;
    let name = deletion.name.as_str();
    let mut api = town.operator.api.clone();
    let none = api
        .extend_deadline(extend(name, ExtensionReason::Unspecified))
        .await;
    refused("no reason", none, Code::InvalidArgument, "INVALID_FIELD");
    let odd = ExtendDeadlineRequest {
        reason: 99,
        ..extend(name, ExtensionReason::Complexity)
    };
    let odd = api.extend_deadline(odd).await;
    refused(
        "an unknown reason",
        odd,
        Code::InvalidArgument,
        "INVALID_FIELD",
    );
    let odd = api
        .extend_deadline(extend("deletions/x", ExtensionReason::Complexity))
        .await;
    refused("no name", odd, Code::InvalidArgument, "INVALID_FIELD");
    let odd = ExtendDeadlineRequest {
        request_id: String::new(),
        ..extend(name, ExtensionReason::Complexity)
    };
    let odd = api.extend_deadline(odd).await;
    refused("no request id", odd, Code::InvalidArgument, "INVALID_FIELD");
    assert_eq!(town.caller.get(name).await?.deadline, deletion.deadline);

    let asked = extend(name, ExtensionReason::Complexity);
    for _ in 0..2 {
        let answer = api.extend_deadline(asked.clone()).await?.into_inner();
        let extended = answer.deletion.context("the deletion")?;
        let more = extended.deadline.context("a deadline")?.seconds;
        assert_eq!(
            more - deletion.deadline.context("a deadline")?.seconds,
            48 * 3_600
        );
        let why = extended.deadline_extension.context("why")?;
        assert_eq!(why.reason(), ExtensionReason::Complexity);
        assert_eq!(why.earlier_deadline, deletion.deadline);
    }
    let again = api
        .extend_deadline(extend(name, ExtensionReason::NumberOfRequests))
        .await;
    refused(
        "again",
        again,
        Code::FailedPrecondition,
        "DEADLINE_ALREADY_EXTENDED",
    );
    let other = ExtendDeadlineRequest {
        name: asked.name.clone(),
        request_id: asked.request_id,
        ..extend(name, ExtensionReason::NumberOfRequests)
    };
    let other = api.extend_deadline(other).await;
    refused(
        "the id again",
        other,
        Code::AlreadyExists,
        "REQUEST_ID_REUSED",
    );
    let told = town.gateway.until("EXTENDED", &[PHONE, OLD_MAIL]).await?;
    let text = told[PHONE]["text"].as_str().unwrap_or_default();
    assert!(text.contains("What has to be erased is complex"), "{text}");
    assert!(
        town.notes(name)
            .await?
            .contains(&"DEADLINE_EXTENDED".to_owned())
    );
    town.stop().await?;

    let town = Town::start(telling()).await?;
    let deletion = town.verified().await?;
    let mut api = town.operator.api.clone();
    let none = api
        .extend_deadline(extend(&deletion.name, ExtensionReason::Complexity))
        .await;
    refused(
        "no law",
        none,
        Code::FailedPrecondition,
        "DEADLINE_NOT_EXTENDABLE",
    );
    town.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_late_is_on_record_with_who_owes_it_and_counted_and_told() -> Result<()> {
    let policy = Policy {
        seal: false,
        eligibility: false,
        cooling_off: Duration::ZERO,
        deadline: Deadline::Within(Length(Duration::from_secs(12))),
        deadline_warning: Duration::from_secs(8),
        channels: BTreeMap::from([(Door::Phone, vec![Shown::SmsCode])]),
        // Nobody is there as the first of them.
        ..Policy {
            stages: policy::straight(&[&["cloud"], &["identity"]]).stages,
            ..telling()
        }
    };
    let town = Town::start(policy).await?;
    wait::until("identity", async || {
        let overview = town.operator.overview().await?;
        Ok((overview.participants[1].sessions > 0).then_some(()))
    })
    .await?;
    let name = town.caller.delete(ACCOUNT).await?;
    town.caller.send_code(&name, Factor::SmsCode).await?;
    let code = wait::until("the code", async || {
        Ok(town.gateway.moods(|moods| {
            let mut letters = moods.taken.values();
            letters.find_map(|it| it["code"].as_str().map(str::to_owned))
        }))
    })
    .await?;
    let erasing = town.caller.verify(&name, Factor::SmsCode, &code).await?;
    assert_eq!(erasing.state(), State::Erasing);
    town.gateway.until("ERASING", &[PHONE, OLD_MAIL]).await?;
    let late = wait::until_within(
        Duration::from_secs(60),
        "the deadline to pass",
        async || {
            let deletion = town.caller.get(&name).await?;
            Ok((!deletion.overdue_reasons.is_empty()).then_some(deletion))
        },
    )
    .await?;
    assert_eq!(late.overdue_reasons, ["LEG_OWED:cloud"]);
    let overview = town.operator.overview().await?;
    assert_eq!((overview.overdue, overview.overdue_soon), (1, 0));
    let told = town.gateway.until("OVERDUE", &[PHONE, OLD_MAIL]).await?;
    let text = told[PHONE]["text"].as_str().unwrap_or_default();
    let owed = "One of our services has not confirmed yet that everything is erased.";
    assert!(text.contains(owed), "{text}");
    assert!(!text.contains("leg") && !text.contains("LEG"), "{text}");
    town.stop().await
}
