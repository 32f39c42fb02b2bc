//! Two regions side by side, each a whole cell of processes: China's on SQLite, Europe's on PostgreSQL; of a third only the address is
//! known. What arrives in the wrong one is told where to go, or passed on, and leaves nothing there; so at the coordinator, at the support
//! desk and at a product line.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow, ensure};
use farewell_identity::move_away;
use farewell_proto::account::v1::{
    AccountState, FreezeAccountRequest, GetAccountRequest, TransferBelongingsRequest,
    UnbindDeviceRequest,
};
use farewell_proto::binding::v1::binding_service_client::BindingServiceClient;
use farewell_proto::binding::v1::{
    BindRequest, Binding, ListBindingsRequest, Role as ShareRole, Share, ShareBindingRequest,
    TransferBindingRequest, UnshareBindingRequest,
};
use farewell_proto::deletion::v1::deletion_service_client::DeletionServiceClient;
use farewell_proto::deletion::v1::{
    Channel as By, CheckEligibilityRequest, ConfirmLinkRequest, CreateDeletionRequest, Deletion,
    Factor, GetCertificateRequest, ListDeletionsRequest, State, WatchDeletionRequest,
};
use farewell_proto::identifier::v1::identifier_service_client::IdentifierServiceClient;
use farewell_proto::identifier::v1::{CheckIdentifierRequest, IdentifierKind};
use farewell_proto::operator::v1::{
    HoldDeletionRequest, HoldReason, ReleaseDeletionRequest, ReleaseReason,
};
use farewell_proto::participant::v1::DeviceClass;
use farewell_proto::support::v1::support_service_client::SupportServiceClient;
use farewell_proto::support::v1::{Belonging, Case, CaseKind, ListCasesRequest, OpenCaseRequest};
use farewell_runtime::certs::DevCa;
use farewell_runtime::client::endpoint;
use farewell_runtime::peer::Role;
use farewell_runtime::server::Security;
use farewell_tests::caller::{Caller, fresh, request};
use farewell_tests::cell::{Cell, Told, address};
use farewell_tests::cluster::Cluster;
use farewell_tests::process::needed;
use farewell_tests::refusal::{Refusal, bad_field, refused};
use farewell_tests::wait;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

const PHONE: &str = "+86 138 0000 0000";
const MAIL: &str = "li.na@example.com";
const PASSWORD: &str = "a long password";
/// Where the third region's callers go.
const US: &str = "https://us.farewell.example:7400";
/// Easy to find wherever they should not be. Emil and Edda live in Europe, Lina in China; Una in the third region.
const EMIL: &str = "zz-emil-of-the-rhine";
const EDDA: &str = "zz-edda-of-the-elbe";
const LINA: &str = "zz-lina-of-the-yangtze";
const UNA: &str = "zz-una-of-the-hudson";
/// Registered in China, and moved to Europe later.
const NORA: &str = "zz-nora-on-the-move";
/// Both live in Europe and confirm by a link in a mail; somebody guesses at the other one's.
const GRETA: &str = "zz-greta-of-the-main";
const GUIDO: &str = "zz-guido-of-the-isar";
/// Lives in China, as both regions know.
const MILO: &str = "zz-milo-of-the-huangpu";
/// Nobody knows them by any name.
const NOBODY: &str = "zz-nobody-at-all";
/// Each region thinks that the other one is this account's home.
const LOOP: &str = "zz-nobodys-child";

struct World {
    ca: DevCa,
    cn: Cell,
    eu: Cell,
    europe: Cluster,
}

impl World {
    /// `None` if the story is to be skipped.
    async fn start() -> Result<Option<Self>> {
        let (Some(program), Some(postgres)) =
            (needed("FAREWELL_BIN"), needed("FAREWELL_TEST_PG_BIN"))
        else {
            return Ok(None);
        };
        let ca = DevCa::create()?;
        let europe = Cluster::start(&postgres)?;
        let (at_cn, at_eu) = (address()?, address()?);
        let other = |name: &str, address: &str| {
            format!(
                "regions.{name} = {{ address = \"https://{address}\", forward = true }}\n\
                 regions.us = {{ address = \"{US}\" }}"
            )
        };
        let mut cn = Cell::new(
            &program,
            &ca,
            &Told {
                region: "cn",
                policy: "cn",
                database: "",
                callers: &at_cn,
                others: &other("eu", &at_eu),
            },
        )?;
        let mut eu = Cell::new(
            &program,
            &ca,
            &Told {
                region: "eu",
                policy: "eu",
                database: &europe.url(),
                callers: &at_eu,
                others: &other("cn", &at_cn),
            },
        )?;
        let china = cn.identity("").await?;
        let there = eu.identity(&europe.url()).await?;
        for account in [EMIL, EDDA, GRETA, GUIDO] {
            farewell_identity::sample(&there, account, PHONE, MAIL, PASSWORD).await?;
            move_away(&china, account, "eu").await?;
        }
        move_away(&there, MILO, "cn").await?;
        for account in [LINA, NORA, MILO] {
            farewell_identity::sample(&china, account, PHONE, MAIL, PASSWORD).await?;
        }
        for store in [&china, &there] {
            move_away(store, UNA, "us").await?;
        }
        move_away(&china, LOOP, "eu").await?;
        move_away(&there, LOOP, "cn").await?;
        china.pool().close().await;
        there.pool().close().await;
        tokio::try_join!(cn.start(), eu.start())?;
        Ok(Some(Self { ca, cn, eu, europe }))
    }

    fn words(&self) -> String {
        format!("{}\n{}", self.cn.words(), self.eu.words())
    }

    fn show(&self, role: Role, name: &str) -> Result<Security> {
        Ok(Security::Mutual(self.ca.issue(role, name, &[])?))
    }
}

fn on_the_web(account: &str) -> CreateDeletionRequest {
    CreateDeletionRequest {
        channel: By::Web.into(),
        ..request(account)
    }
}

/// How long the law of a deletion gives, in days.
fn days_given(deletion: &Deletion) -> Result<u64> {
    let at = |time: Option<prost_types::Timestamp>| {
        anyhow::Ok(SystemTime::try_from(time.context("a time")?)?)
    };
    let given = at(deletion.deadline)?.duration_since(at(deletion.create_time)?)?;
    Ok(given.as_secs() / (24 * 60 * 60))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_the_wrong_region_is_passed_on_and_leaves_nothing_there() -> Result<()> {
    let Some(mut world) = World::start().await? else {
        return Ok(());
    };
    whole_way(&world).await.with_context(|| world.words())?;
    moved(&world).await.with_context(|| world.words())?;
    linked(&world).await.with_context(|| world.words())?;
    guessed(&world).await.with_context(|| world.words())?;
    told(&world).await?;
    pretended(&world).await?;
    wrong(&world).await?;
    let kept = killed(&mut world).await?;
    away(&mut world, kept).await?;
    for account in [EMIL, EDDA, GRETA, GUIDO] {
        world.cn.knows_nothing_of(account)?;
    }
    Ok(())
}

/// From China's coordinator: create, verify, watch and read; in Europe, under its law.
async fn whole_way(world: &World) -> Result<()> {
    let (cn, eu) = (world.cn.caller()?, world.eu.caller()?);
    let asked = on_the_web(EMIL);
    let deletion = cn.ask(asked.clone()).await?;
    ensure!(deletion.state() == State::AwaitingVerification);
    ensure!(
        days_given(&deletion)? > 26,
        "a month: {:?}",
        deletion.deadline
    );
    let again = eu.ask(asked.clone()).await?;
    assert_eq!(
        again.name, deletion.name,
        "the same request, wherever it arrives"
    );
    let other = CreateDeletionRequest {
        channel: By::Phone.into(),
        ..asked
    };
    let reused = cn.ask(other).await;
    refused(
        "another body",
        reused,
        Code::AlreadyExists,
        "REQUEST_ID_REUSED",
    );
    let name = &deletion.name;
    let wrong = cn.verify(name, Factor::Password, "not this one").await;
    ensure!(wrong.is_err(), "{wrong:?}");
    cn.verify(name, Factor::Password, PASSWORD).await?;
    let watching = WatchDeletionRequest { name: name.clone() };
    let mut watched = cn.api.clone().watch_deletion(watching).await?.into_inner();
    let mut seen = Vec::new();
    while seen.last() != Some(&State::Purged) {
        let next = watched.message().await?.context("the purge")?;
        seen.extend(next.deletions.iter().map(Deletion::state));
    }
    let purged = cn.until(name, State::Purged).await?;
    assert_eq!(eu.get(name).await?.name, purged.name);
    let asked = GetCertificateRequest { name: name.clone() };
    let certificate = cn.api.clone().get_certificate(asked).await?.into_inner();
    let document: serde_json::Value = serde_json::from_slice(&certificate.document)?;
    assert_eq!(document["region"], "eu");
    assert_eq!(document["policy"], "story-eu");
    held(world, name).await?;
    // At home nothing has changed, and the law is another: midnight may have passed.
    let here = cn.ask(on_the_web(LINA)).await?.name;
    let left = cn.get(&here).await?.working_days_left;
    ensure!(matches!(left, Some(14..=15)), "15 working days: {left:?}");
    let listed = |caller: Caller, account: &'static str| async move {
        let asked = ListDeletionsRequest {
            account: format!("accounts/{account}"),
            ..Default::default()
        };
        caller.page(asked).await
    };
    assert_eq!(
        listed(cn.clone(), EMIL).await?.0.len(),
        1,
        "asked of its home"
    );
    assert_eq!(cn.list(&[]).await?.len(), 1, "China's own");
    assert_eq!(eu.list(&[]).await?.len(), 1, "Europe's own");
    world.cn.knows_nothing_of(EMIL)?;
    let found = world.cn.knows_nothing_of(LINA);
    ensure!(found.is_err(), "the search finds nothing at all");
    Ok(())
}

/// What is said beside the certificate names the region, too: here of a legal hold on what law keeps.
async fn held(world: &World, name: &str) -> Result<()> {
    let operator = world.eu.operator()?;
    let hold = HoldDeletionRequest {
        request_id: fresh(),
        name: name.to_owned(),
        reason: HoldReason::CourtOrder.into(),
        reference: String::new(),
    };
    operator.api.clone().hold_deletion(hold).await?;
    let release = ReleaseDeletionRequest {
        request_id: fresh(),
        name: name.to_owned(),
        reason: ReleaseReason::OrderEnded.into(),
        reference: String::new(),
    };
    operator.api.clone().release_deletion(release).await?;
    let asked = GetCertificateRequest {
        name: name.to_owned(),
    };
    let cn = world.cn.caller()?;
    let certificate = cn.api.clone().get_certificate(asked).await?.into_inner();
    assert_eq!(certificate.addenda.len(), 2);
    for addendum in &certificate.addenda {
        let addendum: serde_json::Value = serde_json::from_str(addendum)?;
        assert_eq!(
            (&addendum["region"], &addendum["deletion"]),
            (&"eu".into(), &name.into())
        );
    }
    Ok(())
}

/// Somebody moves: the deletion begins where the account is by then.
async fn moved(world: &World) -> Result<()> {
    let (cn, eu) = (world.cn.caller()?, world.eu.caller()?);
    let mut accounts = world.cn.accounts()?;
    let look = || GetAccountRequest {
        name: format!("accounts/{NORA}"),
    };
    let state = |answer: farewell_proto::account::v1::GetAccountResponse| {
        answer.account.map(|account| account.state())
    };
    let before = accounts.get_account(look()).await?.into_inner();
    assert_eq!(state(before), Some(AccountState::Active));
    let china = world.cn.identity("").await?;
    let there = world.eu.identity(&world.europe.url()).await?;
    farewell_identity::sample(&there, NORA, PHONE, MAIL, PASSWORD).await?;
    move_away(&china, NORA, "eu").await?;
    let frozen = FreezeAccountRequest {
        request_id: fresh(),
        account: format!("accounts/{NORA}"),
    };
    accounts.freeze_account(frozen).await?;
    let after = world.eu.accounts()?.get_account(look()).await?.into_inner();
    assert_eq!(
        state(after),
        Some(AccountState::Frozen),
        "frozen where it is"
    );
    let name = cn.ask(on_the_web(NORA)).await?.name;
    assert_eq!(eu.get(&name).await?.account, format!("accounts/{NORA}"));
    // Where an account is that is being deleted, it stays.
    let name = cn.ask(on_the_web(LINA)).await;
    refused(
        "a second one",
        name,
        Code::AlreadyExists,
        "ACCOUNT_HAS_LIVE_DELETION",
    );
    Ok(())
}

/// Opens a link, from the page of a cell.
async fn open(cell: &Cell, request_id: &str, token: &str) -> Result<Deletion, Status> {
    let opened = ConfirmLinkRequest {
        request_id: request_id.to_owned(),
        token: token.to_owned(),
    };
    let caller = cell
        .caller()
        .map_err(|error| Status::aborted(error.to_string()))?;
    let answer = caller.api.clone().confirm_link(opened).await?.into_inner();
    Ok(answer.deletion.unwrap_or_default())
}

/// A deletion in Europe that waits for a link, asked for in China. Gives its name and the link's token.
async fn mailed(world: &World, account: &str) -> Result<(String, String)> {
    let cn = world.cn.caller()?;
    let name = cn.ask(request(account)).await?.name;
    cn.send_code(&name, Factor::EmailLink).await?;
    let token = wait::until("a link", async || Ok(world.eu.links(&name)?.pop())).await?;
    ensure!(world.cn.links(&name)?.is_empty(), "mailed from its home");
    Ok((name, token))
}

/// A link of this deletion that nobody was sent.
fn guess(token: &str) -> String {
    let (id, secret) = token.split_once('.').unwrap_or((token, ""));
    let other = if secret.starts_with('0') { "1" } else { "0" };
    format!("{id}.{other}{}", secret.get(1..).unwrap_or_default())
}

/// A mailed link that leads to the wrong region confirms where the deletion is, once, and nothing of it stays where it arrived.
async fn linked(world: &World) -> Result<()> {
    let (name, token) = mailed(world, GRETA).await?;
    let no = Code::FailedPrecondition;
    // A guess says the same wherever it is made, and so does a link of a deletion that nobody knows.
    let wrong = guess(&token);
    let (_, secret) = token.split_once('.').context("a secret")?;
    let unknown = format!("01900000-0000-7000-8000-000000000003.{secret}");
    for (what, link, reason) in [
        ("a guess", &wrong, "WRONG_PROOF"),
        ("nobody's", &unknown, "PROOF_EXPIRED"),
    ] {
        let there = refused(what, open(&world.cn, &fresh(), link).await, no, reason);
        let at_home = refused(what, open(&world.eu, &fresh(), link).await, no, reason);
        assert_eq!(there, at_home, "{what}");
        let said = format!("{there:?}");
        ensure!(
            !said.contains(GRETA) && !said.contains(&secret[8..]),
            "{said}"
        );
    }
    let waiting = world.eu.caller()?.get(&name).await?;
    assert_eq!(waiting.state(), State::AwaitingVerification);

    // Two times in the wrong one, and once at home: it is one request.
    let once = fresh();
    for cell in [&world.cn, &world.cn, &world.eu] {
        let told = open(cell, &once, &token).await?;
        assert_ne!(told.state(), State::AwaitingVerification, "it is confirmed");
        assert_eq!((&told.name, told.account.as_str()), (&name, ""));
    }
    world.cn.caller()?.until(&name, State::Purged).await?;

    // What is over, and what nobody knows, is answered alike: with where else it may be, as nothing is passed on to there.
    let unknown = open(&world.cn, &fresh(), &unknown).await;
    let unknown = refused("nobody's", unknown, no, "PROOF_EXPIRED");
    let over = open(&world.cn, &fresh(), &token).await;
    assert_eq!(refused("over", over, no, "PROOF_EXPIRED"), unknown);
    assert_eq!(unknown.metadata["address-us"], US);
    world.cn.knows_nothing_of(&secret[8..])?;
    ensure!(
        world.eu.knows_nothing_of(&secret[8..]).is_err(),
        "the search finds nothing at all"
    );
    Ok(())
}

/// Guesses count where the deletion is, through whichever region they come.
async fn guessed(world: &World) -> Result<()> {
    const TRIES_MAX: usize = 5;
    let (name, token) = mailed(world, GUIDO).await?;
    let cells = [&world.cn, &world.eu].into_iter().cycle();
    for cell in cells.take(TRIES_MAX) {
        let answer = open(cell, &fresh(), &guess(&token)).await;
        refused("a guess", answer, Code::FailedPrecondition, "WRONG_PROOF");
    }
    for link in [&guess(&token), &token] {
        for cell in [&world.cn, &world.eu] {
            let answer = open(cell, &fresh(), link).await;
            refused(
                "one more",
                answer,
                Code::ResourceExhausted,
                "TOO_MANY_TRIES",
            );
        }
    }
    let waiting = world.cn.caller()?.get(&name).await?;
    assert_eq!(waiting.state(), State::AwaitingVerification);
    Ok(())
}

/// Where nothing is passed on, a machine can read where to go.
async fn told(world: &World) -> Result<()> {
    let (cn, account) = (world.cn.caller()?, format!("accounts/{UNA}"));
    let created = cn.ask(on_the_web(UNA)).await.map(drop);
    let asked = CheckEligibilityRequest {
        account: account.clone(),
    };
    let eligible = cn.api.clone().check_eligibility(asked).await.map(drop);
    let mut accounts = world.cn.accounts()?;
    let asked = UnbindDeviceRequest {
        request_id: fresh(),
        account: account.clone(),
        ..Default::default()
    };
    let unbound = accounts.unbind_device(asked).await.map(drop);
    let looked = accounts.get_account(GetAccountRequest { name: account });
    let looked = looked.await.map(drop);
    for (what, answer) in [
        ("create", created),
        ("eligibility", eligible),
        ("unbind", unbound),
        ("look", looked),
    ] {
        let refusal = refused(what, answer, Code::FailedPrecondition, "ACCOUNT_ELSEWHERE");
        assert_eq!(refusal.metadata["region"], "us", "{what}");
        assert_eq!(refusal.metadata["address"], US, "{what}");
    }
    let looped = cn.ask(on_the_web(LOOP)).await;
    let refusal = refused("a loop", looped, Code::FailedPrecondition, "FORWARD_LOOP");
    assert_eq!(refusal.metadata["region"], "cn");
    Ok(())
}

/// Only a cell that is known says for whom it asks, and only for those who could ask themselves.
async fn pretended(world: &World) -> Result<()> {
    let speaking = |role, name: &'static str, caller: &'static str| async move {
        let channel = endpoint(&world.eu.callers, &world.show(role, name)?)?.connect_lazy();
        let mut request = Request::new(request("nobody-yet"));
        if !caller.is_empty() {
            request
                .metadata_mut()
                .insert("farewell-caller", caller.parse()?);
        }
        let mut api = DeletionServiceClient::new(channel);
        anyhow::Ok(api.create_deletion(request).await)
    };
    for (what, role, name, caller, reason) in [
        (
            "a caller as another",
            Role::Caller,
            "app",
            "operator/ops",
            "NOT_A_CELL",
        ),
        (
            "a caller as itself",
            Role::Caller,
            "app",
            "caller/app",
            "NOT_A_CELL",
        ),
        (
            "an operator",
            Role::Operator,
            "ops",
            "caller/app",
            "NOT_A_CELL",
        ),
        (
            "an unknown region",
            Role::Cell,
            "mars",
            "caller/app",
            "NOT_A_CELL",
        ),
        (
            "the region itself",
            Role::Cell,
            "eu",
            "caller/app",
            "NOT_A_CELL",
        ),
        (
            "a region for a device",
            Role::Cell,
            "cn",
            "device/d-1",
            "NOT_A_CELL",
        ),
        (
            "a region for a region",
            Role::Cell,
            "cn",
            "cell/cn",
            "NOT_A_CELL",
        ),
        (
            "a region for nonsense",
            Role::Cell,
            "cn",
            "caller",
            "NOT_A_CELL",
        ),
        ("a region for nobody", Role::Cell, "cn", "", "NOT_A_CALLER"),
    ] {
        let answer = speaking(role, name, caller).await?;
        refused(what, answer, Code::PermissionDenied, reason);
    }
    speaking(Role::Cell, "cn", "caller/app").await??;

    // A region passes on what is about somebody of the other one, and nothing else.
    let channel = endpoint(&world.eu.callers, &world.show(Role::Cell, "cn")?)?.connect_lazy();
    fn passed_on<T>(message: T) -> Result<Request<T>> {
        let mut request = Request::new(message);
        let caller = "caller/app".parse()?;
        request.metadata_mut().insert("farewell-caller", caller);
        Ok(request)
    }
    let mut identifiers = IdentifierServiceClient::new(channel.clone());
    let asked = passed_on(CheckIdentifierRequest {
        kind: IdentifierKind::UserName.into(),
        value: "lina".to_owned(),
    })?;
    let answer = identifiers.check_identifier(asked).await;
    refused(
        "an identifier",
        answer,
        Code::PermissionDenied,
        "NOT_A_CELL",
    );
    let asked = passed_on(ListDeletionsRequest::default())?;
    let answer = DeletionServiceClient::new(channel)
        .list_deletions(asked)
        .await;
    refused("everybody", answer, Code::PermissionDenied, "NOT_A_CALLER");
    Ok(())
}

/// What is wrong is wrong wherever it arrives, and changes nothing.
async fn wrong(world: &World) -> Result<()> {
    let cn = world.cn.caller()?;
    let bad = |change: fn(&mut CreateDeletionRequest)| {
        let mut asked = request(EDDA);
        change(&mut asked);
        cn.ask(asked)
    };
    let answer = bad(|it| it.request_id = "no id".to_owned()).await;
    bad_field("an id", answer, "INVALID_FIELD", "request_id");
    let answer = bad(|it| it.channel = 0).await;
    bad_field("a channel", answer, "INVALID_FIELD", "channel");
    let answer = bad(|it| it.account = "accounts/a b".to_owned()).await;
    bad_field("an account", answer, "INVALID_FIELD", "account");
    let answer = bad(|it| it.account = String::new()).await;
    bad_field("no account", answer, "INVALID_FIELD", "account");
    let unknown = "deletions/01900000-0000-7000-8000-000000000001";
    let missing = (Code::NotFound, "DELETION_NOT_FOUND");
    for answer in [cn.get(unknown).await, cn.revoke(unknown).await] {
        let refusal = refused("an unknown one", answer, missing.0, missing.1);
        // It may be in the one region that nobody here can ask.
        let elsewhere = [("address-us".to_owned(), US.to_owned())];
        assert_eq!(refusal.metadata, elsewhere.into());
    }
    let stranger = cn.ask(on_the_web("nobody-knows-me")).await?;
    let known = cn.get(&stranger.name).await?;
    assert_eq!(
        known.state(),
        State::AwaitingVerification,
        "no answer says who is unknown"
    );
    Ok(())
}

/// The coordinator that passes on is killed while it does; the request is sent again.
async fn killed(world: &mut World) -> Result<CreateDeletionRequest> {
    let asked = on_the_web(EDDA);
    let caller = world.cn.caller()?;
    let (mut first, sent) = (None, asked.clone());
    let asking = tokio::spawn(async move { caller.ask(sent).await });
    tokio::time::sleep(Duration::from_millis(3)).await;
    world.cn.kill_coordinator()?;
    if let Ok(answer) = asking.await? {
        first = Some(answer.name);
    }
    world.cn.start_coordinator().await?;
    let caller = world.cn.caller()?;
    let again = caller.ask(asked.clone()).await?;
    if let Some(first) = first {
        assert_eq!(again.name, first);
    }
    let home = world.eu.caller()?.ask(asked.clone()).await?;
    assert_eq!(home.name, again.name);
    // A new process finds what it never saw.
    assert_eq!(caller.get(&again.name).await?.name, again.name);
    Ok(asked)
}

/// Europe is away: nobody says that there is nothing, and China goes on.
async fn away(world: &mut World, asked: CreateDeletionRequest) -> Result<()> {
    let (caller, operator) = (world.cn.caller()?, world.cn.operator()?);
    let earlier = caller.ask(asked.clone()).await?;
    wait::until("Europe to be seen", async || {
        let seen = seen(&operator.overview().await?) == [("eu", Some(true)), ("us", None)];
        Ok(seen.then_some(()))
    })
    .await?;
    world.eu.kill_coordinator()?;
    let answer = caller.ask(asked.clone()).await;
    let refusal = refused("create", answer, Code::Unavailable, "CELL_UNREACHABLE");
    assert_eq!(refusal.metadata["region"], "eu");
    let unknown = "deletions/01900000-0000-7000-8000-000000000002";
    let answer = caller.get(unknown).await;
    refused("who knows", answer, Code::Unavailable, "CELL_UNREACHABLE");
    assert_eq!(
        seen(&operator.overview().await?),
        [("eu", Some(false)), ("us", None)]
    );
    let own = caller.list(&[]).await?;
    let lina = own.iter().find(|it| it.account.ends_with(LINA));
    let lina = &lina.context("China's own")?.name;
    caller.verify(lina, Factor::Password, PASSWORD).await?;
    caller.until(lina, State::Purged).await?;
    world.eu.start_coordinator().await?;
    wait::until("Europe to be reached again", async || {
        match caller.ask(asked.clone()).await {
            Ok(again) => {
                ensure!(again.name == earlier.name, "another deletion");
                Ok(Some(()))
            }
            Err(status) if status.code() == Code::Unavailable => Ok(None),
            Err(status) => Err(anyhow!("{status:?}")),
        }
    })
    .await
}

/// A device that somebody binds.
fn bind(device: &str, account: &str) -> BindRequest {
    BindRequest {
        request_id: fresh(),
        binding: Some(Binding {
            device: format!("devices/{device}"),
            account: format!("accounts/{account}"),
            model: "P1".to_owned(),
            serial_number: "SN-1".to_owned(),
            class: DeviceClass::Home.into(),
            ..Default::default()
        }),
    }
}

fn case(account: &str, to_account: Option<&str>) -> OpenCaseRequest {
    let lost = OpenCaseRequest {
        request_id: fresh(),
        account: format!("accounts/{account}"),
        kind: CaseKind::LostAccess.into(),
        ..Default::default()
    };
    match to_account {
        None => lost,
        Some(to) => OpenCaseRequest {
            kind: CaseKind::Transfer.into(),
            to_account: format!("accounts/{to}"),
            belongings: vec![Belonging::Points.into()],
            ..lost
        },
    }
}

impl World {
    fn line(&self, cell: &Cell) -> Result<BindingServiceClient<Channel>> {
        let shown = self.show(Role::Caller, "settings")?;
        let channel = endpoint(&cell.phones, &shown)?.connect_lazy();
        Ok(BindingServiceClient::new(channel))
    }

    fn desk(&self, cell: &Cell) -> Result<SupportServiceClient<Channel>> {
        let shown = self.show(Role::Desk, "ana")?;
        let channel = endpoint(&cell.desk, &shown)?.connect_lazy();
        Ok(SupportServiceClient::new(channel))
    }

    /// Whatever the desk and the phones' agent of a cell are asked about an account, as answers.
    async fn ask_everywhere(
        &self,
        cell: &Cell,
        account: &str,
    ) -> Result<Vec<(&'static str, Result<(), Status>)>> {
        let (mut line, mut desk) = (self.line(cell)?, self.desk(cell)?);
        let account_name = format!("accounts/{account}");
        let bindings = ListBindingsRequest {
            account: account_name.clone(),
            ..Default::default()
        };
        let cases = ListCasesRequest {
            account: account_name,
            ..Default::default()
        };
        Ok(vec![
            ("bind", line.bind(bind("p-1", account)).await.map(drop)),
            ("bindings", line.list_bindings(bindings).await.map(drop)),
            ("open", desk.open_case(case(account, None)).await.map(drop)),
            ("cases", desk.list_cases(cases).await.map(drop)),
        ])
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_desk_and_the_product_lines_store_nothing_of_another_regions_accounts() -> Result<()> {
    let Some(mut world) = World::start().await? else {
        return Ok(());
    };
    told_beside(&world).await.with_context(|| world.words())?;
    let asked = at_home(&world).await.with_context(|| world.words())?;
    got_by_nobody_elsewhere(&world, &asked)
        .await
        .with_context(|| world.words())?;
    unsaid(&mut world, asked)
        .await
        .with_context(|| world.words())?;
    for account in [EMIL, EDDA, UNA, NOBODY] {
        world.cn.knows_nothing_of(account)?;
    }
    for account in [MILO, UNA] {
        world.europe.knows_nothing_of(account)?;
        world.eu.knows_nothing_of(account)?;
    }
    ensure!(
        world.cn.knows_nothing_of(LINA).is_err() && world.europe.knows_nothing_of(EMIL).is_err(),
        "the search finds nothing at all"
    );
    Ok(())
}

/// Wherever coordinators would pass a request on, their cell's desk and lines tell where to go.
async fn told_beside(world: &World) -> Result<()> {
    let at = |cell: &Cell| format!("https://{}", cell.callers);
    for (cell, account, region, address) in [
        (&world.cn, EMIL, "eu", at(&world.eu)),
        (&world.eu, MILO, "cn", at(&world.cn)),
        (&world.cn, UNA, "us", US.to_owned()),
        (&world.eu, UNA, "us", US.to_owned()),
    ] {
        for (what, answer) in world.ask_everywhere(cell, account).await? {
            let no = Code::FailedPrecondition;
            let refusal = refused(what, answer, no, "ACCOUNT_ELSEWHERE");
            assert_eq!(refusal.metadata["region"], region, "{what}");
            assert_eq!(refusal.metadata["address"], address, "{what}");
            ensure!(!refusal.message.contains(account), "{refusal:?}");
        }
    }
    Ok(())
}

/// What Lina asked for in China, and what it came to.
struct Asked {
    bind: BindRequest,
    bound: Binding,
    open: OpenCaseRequest,
    opened: Case,
}

/// At home, and where nobody knows them, everybody is served.
async fn at_home(world: &World) -> Result<Asked> {
    for (cell, account) in [(&world.eu, EMIL), (&world.cn, MILO), (&world.eu, NOBODY)] {
        for (what, answer) in world.ask_everywhere(cell, account).await? {
            answer.with_context(|| what)?;
        }
        // The device goes from hand to hand.
        let bound = ListBindingsRequest {
            account: format!("accounts/{account}"),
            ..Default::default()
        };
        let mut line = world.line(cell)?;
        let bound = line.list_bindings(bound).await?.into_inner().bindings;
        assert_eq!(bound.len(), 1);
        if account == EMIL {
            let give = TransferBindingRequest {
                request_id: fresh(),
                device: "devices/p-1".to_owned(),
                epoch: bound[0].epoch,
                account: format!("accounts/{NOBODY}"),
            };
            line.transfer_binding(give).await?;
        }
    }
    let (bind, open) = (bind("p-2", LINA), case(LINA, None));
    let bound = world.line(&world.cn)?.bind(bind.clone()).await?;
    let opened = world.desk(&world.cn)?.open_case(open.clone()).await?;
    Ok(Asked {
        bind,
        bound: bound.into_inner().binding.context("a binding")?,
        open,
        opened: opened.into_inner().case.context("a case")?,
    })
}

/// Nothing goes to another region: no device, no use of one, and nothing that the store has.
async fn got_by_nobody_elsewhere(world: &World, asked: &Asked) -> Result<()> {
    let mut line = world.line(&world.cn)?;
    let (device, epoch) = (asked.bound.device.clone(), asked.bound.epoch);
    let account = format!("accounts/{EMIL}");
    let give = TransferBindingRequest {
        request_id: fresh(),
        device: device.clone(),
        epoch,
        account: account.clone(),
    };
    let given = line.transfer_binding(give).await.map(drop);
    let share = ShareBindingRequest {
        request_id: fresh(),
        device: device.clone(),
        epoch,
        share: Some(Share {
            account: account.clone(),
            role: ShareRole::Member.into(),
        }),
    };
    let shared = line.share_binding(share).await.map(drop);
    // To lose something one may live anywhere.
    let end = UnshareBindingRequest {
        request_id: fresh(),
        device,
        epoch,
        account: account.clone(),
    };
    line.unshare_binding(end).await?;
    let mut desk = world.desk(&world.cn)?;
    let opened = desk.open_case(case(LINA, Some(EMIL))).await.map(drop);
    let moved = async |cell: &Cell, from: &str| {
        let look = TransferBelongingsRequest {
            request_id: fresh(),
            account: format!("accounts/{from}"),
            to_account: account.clone(),
            belongings: vec![Belonging::Points.into()],
            validate_only: true,
            ..Default::default()
        };
        let moved = cell.accounts()?.transfer_belongings(look).await;
        anyhow::Ok(moved.map(drop))
    };
    let (moved, passed_on) = (moved(&world.cn, LINA).await?, moved(&world.eu, MILO).await?);
    for (what, answer, reason) in [
        ("give", given, "ACCOUNT_ELSEWHERE"),
        ("share", shared, "ACCOUNT_ELSEWHERE"),
        ("open", opened, "TO_ACCOUNT_ELSEWHERE"),
        ("move", moved, "TO_ACCOUNT_ELSEWHERE"),
        ("move, passed on", passed_on, "TO_ACCOUNT_ELSEWHERE"),
    ] {
        let refusal = refused(what, answer, Code::FailedPrecondition, reason);
        assert_eq!(refusal.metadata["region"], "eu", "{what}");
        let address = format!("https://{}", world.eu.callers);
        assert_eq!(refusal.metadata["address"], address, "{what}");
    }
    Ok(())
}

/// While nobody can say where an account lives nothing of it is taken, and what was answered is answered again.
async fn unsaid(world: &mut World, asked: Asked) -> Result<()> {
    world.cn.kill_participant("identity")?;
    nobody_says(world, &asked, "IDENTITY_UNAVAILABLE").await?;
    world.cn.kill_coordinator()?;
    nobody_says(world, &asked, "NO_COORDINATOR").await?;
    // Nor does a process know that has never been welcome.
    for name in ["support", "phones"] {
        world.cn.kill_participant(name)?;
        world.cn.start_participant(name)?;
    }
    nobody_says(world, &asked, "NO_COORDINATOR").await?;
    world.cn.knows_nothing_of(NOBODY)?;

    world.cn.start_participant("identity")?;
    world.cn.start_coordinator().await?;
    for (what, answer) in world.ask_everywhere(&world.cn, LINA).await? {
        if what == "bind" {
            // Milo has it.
            refused(what, answer, Code::FailedPrecondition, "DEVICE_BOUND");
        } else {
            answer.with_context(|| what)?;
        }
    }
    Ok(())
}

async fn nobody_says(world: &World, asked: &Asked, cause: &str) -> Result<()> {
    let answers = wait::until("the ports to be open", async || {
        let answers = world.ask_everywhere(&world.cn, NOBODY).await?;
        // A port that nobody listens on has no reasons.
        let told = |status: &Status| !Refusal::of(status).reason.is_empty();
        let open = answers.iter().all(|(_, it)| it.as_ref().is_err_and(told));
        Ok(open.then_some(answers))
    });
    for (what, answer) in answers.await? {
        let refusal = refused(what, answer, Code::Unavailable, "HOME_UNKNOWN");
        assert_eq!(refusal.metadata["cause"], cause, "{what}");
    }
    let bound = world.line(&world.cn)?.bind(asked.bind.clone()).await?;
    assert_eq!(bound.into_inner().binding.as_ref(), Some(&asked.bound));
    let opened = world.desk(&world.cn)?.open_case(asked.open.clone()).await?;
    let opened = opened.into_inner().case.context("a case")?;
    assert_eq!(opened.name, asked.opened.name);
    Ok(())
}

fn seen(overview: &farewell_proto::operator::v1::GetOverviewResponse) -> Vec<(&str, Option<bool>)> {
    let cells = overview.cells.iter();
    cells
        .map(|cell| (cell.region.as_str(), cell.answers))
        .collect()
}
