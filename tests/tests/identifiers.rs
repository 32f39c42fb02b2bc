//! Whether a name, a number or an address may be given to a new account: asked by whoever registers people.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow, ensure};
use farewell_coordinator::{Config, Limits};
use farewell_core::policy::retention::Quarantine;
use farewell_core::retry::Backoff;
use farewell_identity::pepper::Pepper;
use farewell_identity::{Rules, courier, notice};
use farewell_kit::store::Store;
use farewell_kit::{CodeChannel, session};
use farewell_proto::deletion::v1::{GetCertificateRequest, ReplayPurgedRequest, State};
use farewell_proto::identifier::v1::identifier_service_client::IdentifierServiceClient;
use farewell_proto::identifier::v1::{
    CheckIdentifierRequest, CheckIdentifierResponse, IdentifierKind, IdentifierStanding,
    ReleaseIdentifierRequest, ReleaseIdentifierResponse,
};
use farewell_proto::operator::v1::operator_service_client::OperatorServiceClient;
use farewell_proto::operator::v1::{
    GetQuarantineRequest, GetQuarantineResponse, HoldDeletionRequest, HoldReason,
    ReleaseDeletionRequest, ReleaseReason,
};
use farewell_runtime::certs::DevCa;
use farewell_runtime::client::endpoint;
use farewell_runtime::peer::Role;
use farewell_runtime::server::Security;
use farewell_runtime::shutdown::Shutdown;
use farewell_tests::caller::{Caller, fresh};
use farewell_tests::coordinator::{Coordinator, config};
use farewell_tests::receiver::{self, Python, loopback};
use farewell_tests::refusal::{bad_field, refused};
use farewell_tests::{policy, wait};
use prost_types::Timestamp;
use reqwest::{Certificate, Client};
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::transport::Channel;
use tonic::{Code, Status};

const PHONE: &str = "+86 138 0000 0000";
const NAME: &str = "lina_in_the_hills";
const MAIL: &str = "li.na@example.com";

const PEPPER: &str = "sixteen bytes or more";

/// Whether a text holds the number, as the person writes it or as it is kept. Asked for whole: a few digits stand in
/// a hash or an identifier by chance.
fn tells_number(text: &str) -> bool {
    ["138 0000 0000", "13800000000"]
        .iter()
        .any(|it| text.contains(it))
}

/// Identity, in this process, and a coordinator whose policy holds names and numbers back; between them certificates.
struct Town {
    coordinator: Coordinator,
    api: IdentifierServiceClient<Channel>,
    operators: OperatorServiceClient<Channel>,
    caller: Caller,
    ca: DevCa,
    identity: Store,
    shutdown: Shutdown,
    folder: TempDir,
}

impl Town {
    async fn start() -> Result<Self> {
        Self::start_with(|_, _| ()).await
    }

    /// With what is special about its coordinator, whose certificate is given.
    async fn start_with(special: impl FnOnce(&mut Config, &Security)) -> Result<Self> {
        let mut plan = policy::whole(&[&["identity"]]);
        plan.quarantine = Some(Quarantine {
            legal_basis: "a reason".to_owned(),
            custodian: "identity".parse()?,
            user_name: Some("180 days".parse()?),
            phone: Some("30 days".parse()?),
            email: None,
        });
        let ca = DevCa::create()?;
        let own = Security::Mutual(ca.issue(Role::Coordinator, "coordinator", &[])?);
        let mut config = config(plan, "memory:", &own);
        special(&mut config, &own);
        let coordinator = Coordinator::start_with(config).await?;
        let registration = Security::Mutual(ca.issue(Role::Caller, "registration", &[])?);
        let ops = Security::Mutual(ca.issue(Role::Operator, "ops", &[])?);
        let dial = |address: &str, security: &Security| {
            let address = format!("https://{address}");
            anyhow::Ok(endpoint(&address, security)?.connect_lazy())
        };
        let folder = TempDir::new()?;
        let mut town = Self {
            api: IdentifierServiceClient::new(dial(&coordinator.callers, &registration)?),
            operators: OperatorServiceClient::new(dial(&coordinator.operators, &ops)?),
            caller: Caller::new(&coordinator.callers, &registration)?,
            coordinator,
            ca,
            identity: farewell_identity::open(&database(&folder)).await?,
            shutdown: Shutdown::new(),
            folder,
        };
        town.run(PEPPER).await?;
        Ok(town)
    }

    fn config(&self, pepper: &str) -> Result<farewell_identity::Config> {
        let letters = self.folder.path().join("letters");
        Ok(farewell_identity::Config {
            database: database(&self.folder),
            session: session::Config {
                participant: "identity".to_owned(),
                coordinators: vec![format!("https://{}", self.coordinator.participants)],
                security: Security::Mutual(self.ca.issue(Role::Participant, "identity", &[])?),
                window_commands: 8,
            },
            courier: courier::Config::file(letters),
            pepper: Pepper::parse(pepper)?,
            rules: Rules::default(),
            notices: notice::Config::default(),
        })
    }

    /// Ends identity, and lets go of its database.
    async fn end(&mut self) -> Result<()> {
        self.shutdown.trigger();
        ensure!(self.shutdown.drain(Duration::from_secs(30)).await);
        self.identity.pool().close().await;
        Ok(())
    }

    /// Identity as it runs, with these peppers.
    async fn run(&mut self, pepper: &str) -> Result<()> {
        self.end().await?;
        self.identity = farewell_identity::open(&database(&self.folder)).await?;
        self.shutdown = Shutdown::new();
        let (config, ending) = (self.config(pepper)?, self.shutdown.clone());
        self.shutdown.spawn(async move {
            if let Err(error) = farewell_identity::run(config, ending).await {
                panic!("{error:#}");
            }
        });
        wait::until("identity", async || {
            let held = self.held().await.ok();
            Ok(held.filter(|held| held.keys.len() == pepper.split(',').count()))
        })
        .await
        .map(drop)
    }

    async fn held(&self) -> Result<GetQuarantineResponse, Status> {
        self.page(0, "").await
    }

    async fn page(&self, page_size: i32, token: &str) -> Result<GetQuarantineResponse, Status> {
        let request = GetQuarantineRequest {
            page_size,
            page_token: token.to_owned(),
        };
        let answer = self.operators.clone().get_quarantine(request).await?;
        Ok(answer.into_inner())
    }

    /// What needs each version: identifiers that are held back.
    async fn needs(&self) -> Result<Vec<(u32, bool, i64)>> {
        let held = self.held().await.map_err(|it| anyhow!("{it:?}"))?;
        let keys = held.keys.iter();
        Ok(keys
            .map(|it| (it.version, it.newest, it.identifiers))
            .collect())
    }

    /// Identity's database, without a log while nobody has it open.
    fn files(&self) -> [PathBuf; 2] {
        ["identity.db", "backup.db"].map(|name| self.folder.path().join(name))
    }

    /// The classes of what identity really holds back for the deletion.
    async fn classes(&self, deletion: &str) -> Result<Vec<String>> {
        let id = deletion.trim_start_matches("deletions/");
        let kept = farewell_identity::kept(&self.identity, id).await?;
        Ok(kept.into_iter().map(|kept| kept.class).collect())
    }

    async fn stop(self) -> Result<()> {
        self.shutdown.trigger();
        ensure!(self.shutdown.drain(Duration::from_secs(20)).await);
        self.coordinator.stop().await
    }

    async fn check(
        &self,
        kind: IdentifierKind,
        value: &str,
    ) -> Result<CheckIdentifierResponse, Status> {
        let request = CheckIdentifierRequest {
            kind: kind.into(),
            value: value.to_owned(),
        };
        let answer = self.api.clone().check_identifier(request).await?;
        Ok(answer.into_inner())
    }

    async fn standing(&self, kind: IdentifierKind, value: &str) -> Result<IdentifierStanding> {
        let answer = self.check(kind, value).await;
        Ok(answer.map_err(|status| anyhow!("{status:?}"))?.standing())
    }

    async fn release(
        &self,
        request: ReleaseIdentifierRequest,
    ) -> Result<ReleaseIdentifierResponse, Status> {
        let answer = self.api.clone().release_identifier(request).await?;
        Ok(answer.into_inner())
    }

    /// Does again at identity what was done since.
    async fn replay(&self, since: SystemTime) -> Result<()> {
        let ops = Security::Mutual(self.ca.issue(Role::Operator, "ops", &[])?);
        let mut operator = Caller::new(&self.coordinator.callers, &ops)?.api;
        let request = ReplayPurgedRequest {
            participant: "identity".to_owned(),
            since_time: Some(since.into()),
            page_token: String::new(),
        };
        let mut replay = operator.replay_purged(request).await?.into_inner();
        while replay.message().await?.is_some() {}
        Ok(())
    }

    /// Purges an account whose number and name are held back, and keeps a copy of identity's database of right then. Gives
    /// the deletion's name and the time of the copy.
    async fn purge_and_back_up(&mut self) -> Result<(String, SystemTime)> {
        farewell_identity::sample(&self.identity, "a-1", PHONE, MAIL, "a long password").await?;
        let deletion = self.purge("a-1").await?;
        self.end().await?;
        let [live, backup] = self.files();
        fs::copy(&live, &backup)?;
        let since = SystemTime::now();
        self.run(PEPPER).await?;
        Ok((deletion, since))
    }

    /// Identity comes back from that copy, where the number is held back until its day.
    async fn restore(&mut self) -> Result<()> {
        self.end().await?;
        let [live, backup] = self.files();
        fs::copy(&backup, &live)?;
        self.run(PEPPER).await?;
        let number = self.standing(IdentifierKind::Phone, PHONE).await?;
        assert_eq!(number, IdentifierStanding::Quarantined);
        Ok(())
    }

    /// Gives the deletion's name.
    async fn purge(&self, account: &str) -> Result<String> {
        let name = self.caller.delete(account).await?;
        self.caller.until(&name, State::Purged).await?;
        Ok(name)
    }
}

fn database(folder: &TempDir) -> String {
    format!("sqlite:{}", folder.path().join("identity.db").display())
}

fn releasing(value: &str) -> ReleaseIdentifierRequest {
    ReleaseIdentifierRequest {
        kind: IdentifierKind::Phone.into(),
        value: value.to_owned(),
        verify_time: Some(Timestamp::from(SystemTime::now())),
        request_id: fresh(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_somebody_else_has_now_is_free_and_a_name_is_not() -> Result<()> {
    use IdentifierKind::{Email, Phone, UserName};
    use IdentifierStanding::{Free, InUse, Quarantined};

    let town = Town::start().await?;
    for (kind, value) in [(UserName, NAME), (Phone, PHONE), (Email, MAIL)] {
        assert_eq!(town.standing(kind, value).await?, Free, "{value}");
    }
    farewell_identity::sample(&town.identity, "a-1", PHONE, MAIL, "a long password").await?;
    for (kind, value) in [
        (UserName, "LINA_in_the_hills"),
        (Phone, PHONE),
        (Email, MAIL),
    ] {
        assert_eq!(town.standing(kind, value).await?, InUse, "{value}");
    }
    let taken = town.release(releasing(PHONE)).await;
    refused(
        "a number in use",
        taken,
        Code::AlreadyExists,
        "IDENTIFIER_IN_USE",
    );

    // Only a purge holds anything back, and only what the policy names.
    let caller = &town.caller;
    let revoked = caller.delete("a-1").await?;
    caller.revoke(&revoked).await?;
    wait::until("the seal to be lifted", async || {
        let seen = caller.get(&revoked).await;
        Ok(seen.is_ok_and(|it| it.close_time.is_some()).then_some(()))
    })
    .await?;
    assert_eq!(town.standing(Phone, PHONE).await?, InUse);
    town.purge("a-1").await?;
    assert_eq!(town.standing(UserName, NAME).await?, Quarantined);
    assert_eq!(town.standing(Phone, "+86(138)00000000").await?, Quarantined);
    assert_eq!(town.standing(Email, MAIL).await?, Free);
    let held = town.check(Phone, PHONE).await?;
    assert!(held.until_time.is_some_and(|at| at.seconds > 0));

    // The operator gave the number to somebody else, who has shown that they have it.
    let request = releasing(PHONE);
    for _ in 0..2 {
        let free = town.release(request.clone()).await?;
        assert_eq!(free.standing(), Free);
    }
    assert_eq!(town.standing(Phone, PHONE).await?, Free);
    assert_eq!(town.standing(UserName, NAME).await?, Quarantined);
    farewell_identity::register(&town.identity, "a-2", "another_name").await?;
    farewell_identity::set_contact(&town.identity, "a-2", CodeChannel::Sms, PHONE).await?;
    assert_eq!(town.standing(Phone, PHONE).await?, InUse);
    town.stop().await
}

/// The audience of who fetches.
const BOARD: &str = "https://board.example.com";

/// Fetches once, and gives what is new with the tokens' names.
async fn fetch(client: &Client, url: &str, ack: &[String]) -> Result<Vec<(String, String)>> {
    let body = json!({"returnImmediately": true, "ack": ack});
    let answer: Value = client.post(url).json(&body).send().await?.json().await?;
    let sets = answer["sets"].as_object().context("sets")?.iter();
    sets.map(|(jti, token)| Ok((jti.clone(), token.as_str().context("a token")?.to_owned())))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_keeps_numbers_hears_that_one_was_given_back_at_once_and_not_a_month_later()
-> Result<()> {
    use IdentifierKind::Phone;
    use IdentifierStanding::{Free, Quarantined};

    let Some(mut python) = Python::new()? else {
        return Ok(());
    };
    python.listen("ads", "503")?;
    let town = Town::start_with(|config, own| {
        let receivers = vec![python.receiver("ads"), receiver::fetching("board", BOARD)];
        config.events = Some(receiver::events(receivers, Some(loopback(own.clone()))));
        // The first answer is none.
        config.pace.retry = Backoff {
            base: Duration::from_millis(200),
            cap: Duration::from_secs(1),
        };
    })
    .await?;
    let shown = town.ca.issue(Role::Receiver, "board", &[])?;
    let pem = format!("{}{}", shown.cert_pem, shown.key_pem);
    let board = Client::builder()
        .tls_certs_only([Certificate::from_pem(shown.ca_pem.as_bytes())?])
        .identity(reqwest::Identity::from_pem(pem.as_bytes())?)
        .build()?;
    let url = format!("https://{}/events/board", town.coordinator.events);
    farewell_identity::sample(&town.identity, "a-1", PHONE, MAIL, "a long password").await?;
    let deletion = town.purge("a-1").await?;
    let told = |events: &[&str]| {
        let events = events.iter().map(|event| (*event).to_owned()).collect();
        BTreeMap::from([("a-1".to_owned(), events)])
    };
    let ended = told(&["disabled", "purged"]);
    wait::until("the purge to be told", async || {
        Ok((python.taken()? == ended).then_some(()))
    })
    .await?;
    assert_eq!(town.standing(Phone, PHONE).await?, Quarantined);

    // Asked twice, as by one who got no answer the first time, and it is told once.
    let request = releasing(PHONE);
    for _ in 0..2 {
        assert_eq!(town.release(request.clone()).await?.standing(), Free);
    }
    let free = told(&["disabled", "purged", "recycled phone"]);
    wait::until("the number to be told as free", async || {
        Ok((python.taken()? == free).then_some(()))
    })
    .await?;
    let (mut fetched, mut ack) = (Vec::new(), Vec::new());
    wait::until("who fetches to have it", async || {
        let new = fetch(&board, &url, &ack).await?;
        ack = new.iter().map(|(jti, _)| jti.clone()).collect();
        for (_, token) in new {
            fetched.push(receiver::told(&python.check(&token, BOARD)?)?);
        }
        Ok((fetched.len() == 3).then_some(()))
    })
    .await?;
    let events: Vec<&str> = fetched.iter().map(|(_, event)| event.as_str()).collect();
    assert_eq!(events, ["disabled", "purged", "recycled phone"]);
    for line in python.seen()? {
        assert!(
            !tells_number(&line.to_string()),
            "no number is told: {line}"
        );
    }

    // There is evidence of it beside the certificate; the name is held back as before.
    let request = GetCertificateRequest { name: deletion };
    let certificate = town.caller.api.clone().get_certificate(request).await;
    let addenda = certificate
        .map_err(|it| anyhow!("{it:?}"))?
        .into_inner()
        .addenda;
    let addenda: Vec<Value> = addenda
        .iter()
        .map(|text| Ok(serde_json::from_str(text)?))
        .collect::<Result<_>>()?;
    assert_eq!(addenda.len(), 1, "{addenda:?}");
    assert_eq!(addenda[0]["expired"]["quarantined_phone"], 1);
    let kept = addenda[0]["retained"].as_array().context("what is kept")?;
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0]["class"], "quarantined_user_name");
    tokio::time::sleep(wait::SILENCE).await;
    assert_eq!(python.taken()?, free);
    town.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_was_given_back_stays_free_where_identity_comes_back_from_a_backup()
-> Result<()> {
    use IdentifierKind::{Phone, UserName};
    use IdentifierStanding::{Free, Quarantined};

    let mut town = Town::start().await?;
    let (deletion, since) = town.purge_and_back_up().await?;
    assert_eq!(town.release(releasing(PHONE)).await?.standing(), Free);
    let name_alone = async |town: &Town| {
        let classes = town.classes(&deletion).await?;
        Ok((classes == ["quarantined_user_name"]).then_some(()))
    };
    wait::until("the number's hash to go", async || name_alone(&town).await).await?;

    town.restore().await?;
    town.replay(since).await?;
    assert_eq!(town.standing(Phone, PHONE).await?, Free);
    assert_eq!(town.standing(UserName, NAME).await?, Quarantined);
    assert!(name_alone(&town).await?.is_some());
    town.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_was_given_back_under_a_hold_is_free_whenever_identity_is_restored()
-> Result<()> {
    use IdentifierKind::{Phone, UserName};
    use IdentifierStanding::{Free, Quarantined};

    let mut town = Town::start().await?;
    let (deletion, since) = town.purge_and_back_up().await?;
    let hold = HoldDeletionRequest {
        request_id: fresh(),
        name: deletion.clone(),
        reason: HoldReason::LegalClaim.into(),
        reference: "LEGAL-12".to_owned(),
    };
    let mut operators = town.operators.clone();
    operators.hold_deletion(hold).await?;
    assert_eq!(town.release(releasing(PHONE)).await?.standing(), Free);
    assert_eq!(town.standing(Phone, PHONE).await?, Free);
    let both = ["quarantined_phone", "quarantined_user_name"];
    assert_eq!(town.classes(&deletion).await?, both, "held, and free");

    // From a backup that says its day: a replay says that it is free, and keeps what the hold keeps.
    town.restore().await?;
    town.replay(since).await?;
    assert_eq!(town.standing(Phone, PHONE).await?, Free);
    assert_eq!(town.standing(UserName, NAME).await?, Quarantined);
    assert_eq!(town.classes(&deletion).await?, both);

    // And once more, with nobody who replays: the end that comes with the release says it.
    town.restore().await?;
    let release = ReleaseDeletionRequest {
        request_id: fresh(),
        name: deletion.clone(),
        reason: ReleaseReason::ClaimEnded.into(),
        reference: "LEGAL-12".to_owned(),
    };
    operators.release_deletion(release).await?;
    wait::until("the number's hash to go", async || {
        let classes = town.classes(&deletion).await?;
        Ok((classes == ["quarantined_user_name"]).then_some(()))
    })
    .await?;
    assert_eq!(town.standing(Phone, PHONE).await?, Free);
    assert_eq!(town.standing(UserName, NAME).await?, Quarantined);
    town.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_refused_by_its_field_and_changes_nothing() -> Result<()> {
    let town = Town::start().await?;
    farewell_identity::sample(&town.identity, "a-1", PHONE, MAIL, "a long password").await?;
    town.purge("a-1").await?;
    let long = "x".repeat(255);
    for (kind, value, field) in [
        (IdentifierKind::Unspecified, NAME, "kind"),
        (IdentifierKind::UserName, "", "value"),
        (IdentifierKind::UserName, long.as_str(), "value"),
        (IdentifierKind::Email, "nobody", "value"),
    ] {
        let answer = town.check(kind, value).await;
        bad_field(value, answer, "INVALID_FIELD", field);
    }
    // A number without its country code would be another one than that which is held back.
    for national in ["138 0000 0000", "0086 138 0000 0000", "not a number", "110"] {
        let answer = town.check(IdentifierKind::Phone, national).await;
        bad_field(national, answer, "NOT_E164", "value");
        let answer = town.release(releasing(national)).await;
        bad_field(national, answer, "NOT_E164", "value");
    }
    for token in [
        "x",
        "1",
        "1 x",
        " ",
        "x 01900000-0000-7000-8000-000000000001",
    ] {
        let answer = town.page(0, token).await;
        bad_field(token, answer, "PAGE_TOKEN_MISMATCH", "page_token");
    }
    for size in [-1, 501] {
        bad_field(
            "a page",
            town.page(size, "").await,
            "INVALID_FIELD",
            "page_size",
        );
    }
    let age = |seconds: u64| {
        let at = SystemTime::now() - Duration::from_secs(seconds);
        Some(Timestamp::from(at))
    };
    let ahead = SystemTime::now() + Duration::from_secs(120);
    let good = releasing(PHONE);
    for (bad, field) in [
        (
            ReleaseIdentifierRequest {
                kind: IdentifierKind::UserName.into(),
                ..good.clone()
            },
            "kind",
        ),
        (
            ReleaseIdentifierRequest {
                kind: IdentifierKind::Email.into(),
                ..good.clone()
            },
            "kind",
        ),
        (
            ReleaseIdentifierRequest {
                kind: 0,
                ..good.clone()
            },
            "kind",
        ),
        (
            ReleaseIdentifierRequest {
                kind: 99,
                ..good.clone()
            },
            "kind",
        ),
        (
            ReleaseIdentifierRequest {
                value: String::new(),
                ..good.clone()
            },
            "value",
        ),
        (
            ReleaseIdentifierRequest {
                verify_time: None,
                ..good.clone()
            },
            "verify_time",
        ),
        (
            ReleaseIdentifierRequest {
                verify_time: age(16 * 60),
                ..good.clone()
            },
            "verify_time",
        ),
        (
            ReleaseIdentifierRequest {
                verify_time: Some(ahead.into()),
                ..good.clone()
            },
            "verify_time",
        ),
        (
            ReleaseIdentifierRequest {
                request_id: "x".to_owned(),
                ..good.clone()
            },
            "request_id",
        ),
    ] {
        let answer = town.release(bad).await;
        bad_field(field, answer, "INVALID_FIELD", field);
    }
    let phone = town.standing(IdentifierKind::Phone, PHONE).await?;
    assert_eq!(phone, IdentifierStanding::Quarantined);
    let held = town.held().await.map_err(|it| anyhow!("{it:?}"))?;
    assert_eq!(held.releases, [], "nothing of it is on record");
    town.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peppers_change_over_while_names_are_held_back_and_every_release_is_on_record() -> Result<()>
{
    use IdentifierKind::{Phone, UserName};
    use IdentifierStanding::{Free, Quarantined};

    const OTHER: &str = "+86 139 1111 1111";
    const NEWER: &str = "another one of sixteen bytes";
    let mut town = Town::start().await?;
    farewell_identity::sample(&town.identity, "a-1", PHONE, MAIL, "a long password").await?;
    town.purge("a-1").await?;
    assert_eq!(town.needs().await?, [(1, true, 2)]);

    // A new one is for what is new; what is there is found by the old one, in every way of writing it.
    let both = format!("1:{PEPPER},2:{NEWER}");
    town.run(&both).await?;
    for (kind, value) in [
        (UserName, NAME),
        (UserName, "\u{ff2c}INA_IN_THE_HILLS\u{200b}"),
        (Phone, PHONE),
        (Phone, "\u{ff0b}86 138-0000-0000"),
    ] {
        assert_eq!(town.standing(kind, value).await?, Quarantined, "{value}");
    }
    farewell_identity::sample(&town.identity, "a-2", OTHER, MAIL, "a long password").await?;
    town.purge("a-2").await?;
    assert_eq!(town.needs().await?, [(1, false, 2), (2, true, 2)]);

    // The old one can't be taken away while something needs it, nor another put in its place.
    for (wrong, said) in [
        (
            format!("2:{NEWER}"),
            "version 1 is still needed, by 2 identifiers",
        ),
        (format!("1:{NEWER},2:{NEWER}"), "version 1 was another one"),
    ] {
        let refused = farewell_identity::run(town.config(&wrong)?, Shutdown::new()).await;
        let refused = format!("{:#}", refused.expect_err("it does not start"));
        ensure!(refused.contains(said), "{refused}");
        ensure!(
            !refused.contains(NEWER) && !refused.contains(PEPPER),
            "{refused}"
        );
    }

    // Released under any version, by whom it was asked, and once.
    let request = releasing(PHONE);
    for _ in 0..2 {
        assert_eq!(town.release(request.clone()).await?.standing(), Free);
    }
    let another = ReleaseIdentifierRequest {
        request_id: request.request_id.clone(),
        ..releasing(OTHER)
    };
    let reused = town.release(another).await;
    refused(
        "another number",
        reused,
        Code::AlreadyExists,
        "REQUEST_ID_REUSED",
    );
    assert_eq!(town.standing(Phone, OTHER).await?, Quarantined);
    assert_eq!(town.release(releasing(OTHER)).await?.standing(), Free);
    assert_eq!(
        town.release(releasing("+86 137 2222 2222"))
            .await?
            .standing(),
        Free
    );
    let first = town.page(2, "").await.map_err(|it| anyhow!("{it:?}"))?;
    let rest = town
        .page(2, &first.next_page_token)
        .await
        .map_err(|it| anyhow!("{it:?}"))?;
    let releases: Vec<_> = first.releases.iter().chain(&rest.releases).collect();
    let held: Vec<bool> = releases.iter().map(|it| it.held).collect();
    assert_eq!(held, [false, true, true], "newest first");
    let told = format!("{releases:?}");
    println!("{told}");
    for release in &releases {
        assert_eq!(
            (release.caller.as_str(), release.version),
            ("caller/registration", 2)
        );
        ensure!(release.hash.len() == 64 && release.time.is_some());
    }
    assert_eq!(releases[2].request_id, request.request_id);
    ensure!(!tells_number(&told), "no number is kept");

    // Names are never released. When their time is over, nothing needs the old pepper.
    assert_eq!(town.needs().await?, [(1, false, 1), (2, true, 1)]);
    let ended = "DELETE FROM quarantine WHERE version = 1";
    sqlx::query(ended).execute(town.identity.pool()).await?;
    town.run(&format!("2:{NEWER}")).await?;
    assert_eq!(
        town.standing(UserName, NAME).await?,
        Quarantined,
        "the newer one holds it"
    );
    town.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_asks_about_every_number_there_is() -> Result<()> {
    let town = Town::start_with(|config, _| {
        config.limits = Limits {
            identifiers_per_minute: 20,
            ..Limits::default()
        };
    })
    .await?;
    let mut taken = 0;
    let told = loop {
        let number = format!("+86 138 0000 {taken:04}");
        match town.check(IdentifierKind::Phone, &number).await {
            Ok(_) => taken += 1,
            Err(status) => break Err::<(), _>(status),
        }
        ensure!(taken < 1_000, "a block of numbers was read");
    };
    let (fast, word) = (Code::ResourceExhausted, "CALLER_TOO_FAST");
    let told = refused("the next number", told, fast, word);
    println!("{taken} numbers, and then {:?}", told.retry_after);
    refused(
        "a release",
        town.release(releasing(PHONE)).await,
        fast,
        word,
    );
    town.stop().await
}
