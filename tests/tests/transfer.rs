//! Before an account is deleted, the support desk moves what it has to another one: told with the real binary, on SQLite and on
//! PostgreSQL, through kills in the middle of a move, repeats, closed accounts and cases of something else.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use farewell_kit::seal;
use farewell_kit::store::Store;
use farewell_proto::account::v1 as api;
use farewell_proto::account::v1::account_service_client::AccountServiceClient;
use farewell_proto::deletion::v1::State;
use farewell_proto::deletion::v1::{CheckEligibilityRequest, GetInventoryRequest};
use farewell_proto::support::v1 as desk;
use farewell_proto::support::v1::Belonging;
use farewell_proto::support::v1::support_service_client::SupportServiceClient;
use farewell_runtime::client::endpoint;
use farewell_store::NewOrder;
use farewell_tests::caller::{Caller, fresh};
use farewell_tests::process::needed;
use farewell_tests::refusal::{bad_field, refused};
use farewell_tests::{office, wait};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tonic::transport::Channel;
use tonic::{Code, Status};

/// Who goes, and who gets what was theirs.
const ANN: &str = "a-ann";
const BEN: &str = "a-ben";
const CID: &str = "a-cid";
const ALL: [Belonging; 5] = [
    Belonging::Points,
    Belonging::Coupons,
    Belonging::StoreCredit,
    Belonging::Orders,
    Belonging::Memberships,
];

/// How long a slow machine may count what [`Obstacle::Slow`] has it count.
const COUNTED: Duration = Duration::from_secs(120);

/// The desk's office, and those who ask it over the wire.
struct Town {
    office: office::Town,
    accounts: AccountServiceClient<Channel>,
    caller: Caller,
    desk: [SupportServiceClient<Channel>; 3],
    shop: Store,
    /// The store's PostgreSQL, if it has one.
    postgres: Option<String>,
}

impl Town {
    /// With the store on PostgreSQL, if there is a server. `None` if the story is to be skipped.
    async fn open(server: Option<&str>, cooling_off: &str) -> Result<Option<Self>> {
        let postgres = match server {
            Some(server) => Some(own_database(server).await?),
            None => None,
        };
        let policy = "FAREWELL_COORDINATOR__POLICY__CHANNELS";
        let mut settings = vec![
            (policy, "{phone = []}".to_owned()),
            ("FAREWELL_COORDINATOR__PACE__QUERY", "3s".to_owned()),
            (
                "FAREWELL_COORDINATOR__LIMITS__ACCOUNT_PER_MINUTE",
                "6000".to_owned(),
            ),
        ];
        let database = "FAREWELL_SERVICE__STORE__DATABASE";
        settings.extend(postgres.clone().map(|url| (database, url)));
        let Some(office) = office::Town::open_with_settings(cooling_off, settings).await? else {
            return Ok(None);
        };
        let channel =
            |to: &str, who: &str| anyhow::Ok(endpoint(to, &office.security(who)?)?.connect_lazy());
        let person = |who: &str| anyhow::Ok(SupportServiceClient::new(channel(&office.desk, who)?));
        let url = postgres.clone().unwrap_or_else(|| office.database("store"));
        let town = Self {
            accounts: AccountServiceClient::new(channel(&office.callers, "caller")?),
            caller: Caller::new(&office.callers, &office.security("caller")?)?,
            desk: [person("ana")?, person("bo")?, person("chi")?],
            shop: farewell_store::open(&url).await?,
            postgres,
            office,
        };
        let identity = farewell_identity::open(&town.office.database("identity")).await?;
        for account in [ANN, BEN, CID] {
            farewell_identity::register(&identity, account, account).await?;
        }
        Ok(Some(town))
    }

    /// A case that ana opened for this, with an identity document, approved by as many others.
    async fn case(&self, to: &str, belongings: &[Belonging], approvals: usize) -> Result<String> {
        let opened = desk::OpenCaseRequest {
            request_id: fresh(),
            account: format!("accounts/{ANN}"),
            kind: desk::CaseKind::Transfer.into(),
            to_account: format!("accounts/{to}"),
            belongings: numbers(belongings),
            ..Default::default()
        };
        self.approved(opened, approvals).await
    }

    async fn approved(&self, opened: desk::OpenCaseRequest, approvals: usize) -> Result<String> {
        let [ana, others @ ..] = &self.desk;
        let case = ana.clone().open_case(opened).await?.into_inner().case;
        let name = case.context("a case")?.name;
        let scan = b"%PDF-1.7\nnobody in particular\n";
        let header = desk::EvidenceHeader {
            request_id: fresh(),
            case: name.clone(),
            kind: desk::EvidenceKind::IdentityDocument.into(),
            media_type: "application/pdf".to_owned(),
            size_bytes: i64::try_from(scan.len())?,
        };
        use desk::add_evidence_request::Part;
        let parts = [Part::Header(header), Part::Chunk(scan.as_slice().into())];
        let parts = parts.map(|part| desk::AddEvidenceRequest { part: Some(part) });
        ana.clone().add_evidence(tokio_stream::iter(parts)).await?;
        for person in &others[..approvals] {
            let approve = desk::ApproveCaseRequest {
                request_id: fresh(),
                name: name.clone(),
            };
            person.clone().approve_case(approve).await?;
        }
        Ok(name)
    }

    /// What it says, as soon as everybody is there to be asked.
    async fn transfer(
        &self,
        request: &api::TransferBelongingsRequest,
    ) -> Result<api::Transfer, Status> {
        let answer = wait::until("an answer", async || {
            let mut accounts = self.accounts.clone();
            let answer = accounts.transfer_belongings(request.clone()).await;
            let passes = |status: &Status| {
                matches!(
                    status.code(),
                    Code::Unavailable
                        | Code::DeadlineExceeded
                        | Code::Unknown
                        | Code::Internal
                        | Code::Cancelled
                )
            };
            Ok((!answer.as_ref().is_err_and(passes)).then_some(answer))
        });
        let answer = answer
            .await
            .map_err(|error| Status::aborted(error.to_string()))?;
        let transfer = answer?.into_inner().transfer;
        transfer.ok_or_else(|| Status::aborted("an answer without a transfer"))
    }

    async fn number(&self, query: &'static str) -> Result<i64> {
        let (number,): (i64,) = sqlx::query_as(query).fetch_one(self.shop.pool()).await?;
        Ok(number)
    }

    /// What is in the way of deleting Ann's account.
    async fn blockers(&self) -> Result<Vec<String>> {
        wait::until("everybody to be asked", async || {
            let request = CheckEligibilityRequest {
                account: format!("accounts/{ANN}"),
            };
            let checked = self.caller.api.clone().check_eligibility(request).await;
            let Ok(checked) = checked else {
                return Ok(None);
            };
            let codes = checked.into_inner().blockers.into_iter();
            let mut codes: Vec<_> = codes.map(|blocker| blocker.code).collect();
            codes.sort();
            let whole = !codes.iter().any(|it| it == "PARTICIPANT_UNREACHABLE");
            Ok(whole.then_some(codes))
        })
        .await
    }

    /// What the store holds of an account, as its inventory says.
    async fn held(&self, account: &str) -> Result<Vec<(String, i64)>> {
        let request = GetInventoryRequest {
            account: format!("accounts/{account}"),
        };
        wait::until("the store's inventory", async || {
            let mut deletions = self.caller.api.clone();
            let Ok(answer) = deletions.get_inventory(request.clone()).await else {
                return Ok(None);
            };
            let mut holdings = answer.into_inner().holdings.into_iter();
            let store = holdings.find(|it| it.participant == "store" && it.answered);
            let held = store.map(|it| it.categories.into_iter());
            Ok(held.map(|held| held.map(|it| (it.category, it.count)).collect()))
        })
        .await
    }

    /// Ends one of the two in the middle of a move, when the store has changed everything and entered nothing in its book yet.
    async fn kill_in_the_middle(
        &mut self,
        request: &api::TransferBelongingsRequest,
        who: Victim,
    ) -> Result<()> {
        let obstacle = Obstacle::put(self, who).await?;
        let asked = tokio::spawn({
            let (mut accounts, request) = (self.accounts.clone(), request.clone());
            async move { accounts.transfer_belongings(request).await }
        });
        obstacle.met(self).await?;
        if let Victim::Coordinator = who {
            // The move stands still while who asked for it goes down, however fast the machine is.
            self.office.signal("store", "STOP")?;
            obstacle.met(self).await?;
        }
        self.office.kill(who.name())?;
        if let Victim::Coordinator = who {
            self.office.signal("store", "CONT")?;
        }
        obstacle.remove(self).await?;
        let answer = asked.await?;
        ensure!(answer.is_err(), "it was answered: {answer:?}");
        self.office.restart(who.name())
    }
}

#[derive(Clone, Copy, Debug)]
enum Victim {
    Store,
    Coordinator,
}

impl Victim {
    const fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Coordinator => "coordinator",
        }
    }
}

/// What holds a move up just before its book is written.
enum Obstacle {
    /// A statement that takes its time, on every new line.
    Slow,
    /// A lock on the book.
    Locked(Box<PgConnection>),
}

impl Obstacle {
    async fn put(town: &Town, victim: Victim) -> Result<Self> {
        let Some(url) = &town.postgres else {
            let rows = match victim {
                // It never ends: its process does.
                Victim::Store => u64::from(u32::MAX),
                // Long enough to be seen, and then stopped, on any machine; and it ends.
                Victim::Coordinator => 20_000_000,
            };
            let slow = format!(
                "CREATE TRIGGER slow BEFORE INSERT ON book WHEN new.amount < 0 BEGIN SELECT COUNT(*) FROM \
                     (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) SELECT i FROM n); END"
            );
            sqlx::raw_sql(AssertSqlSafe(slow))
                .execute(town.shop.pool())
                .await?;
            return Ok(Self::Slow);
        };
        let mut connection = PgConnection::connect(url).await?;
        connection
            .execute("BEGIN; LOCK TABLE farewell_store.book IN EXCLUSIVE MODE")
            .await?;
        Ok(Self::Locked(Box::new(connection)))
    }

    /// Waits until somebody stands before it.
    async fn met(&self, town: &Town) -> Result<()> {
        let mut busy = 0;
        wait::until("a move to stand still", async || {
            let there = match (self, &town.postgres) {
                (Self::Locked(_), Some(url)) => {
                    let mut connection = PgConnection::connect(url).await?;
                    let (waiting,): (i64,) =
                        sqlx::query_as("SELECT COUNT(*) FROM pg_locks WHERE NOT granted AND relation = 'farewell_store.book'::regclass")
                            .fetch_one(&mut connection)
                            .await?;
                    waiting > 0
                }
                // Nobody else writes: whoever holds the file for so many looks is in the middle.
                _ => {
                    let mut connection = town.shop.pool().acquire().await?;
                    sqlx::raw_sql("PRAGMA busy_timeout = 0")
                        .execute(&mut *connection)
                        .await?;
                    let begun = sqlx::raw_sql("BEGIN IMMEDIATE; ROLLBACK")
                        .execute(&mut *connection)
                        .await;
                    sqlx::raw_sql("PRAGMA busy_timeout = 5000")
                        .execute(&mut *connection)
                        .await?;
                    busy = if begun.is_err() { busy + 1 } else { 0 };
                    busy >= 8
                }
            };
            Ok(there.then_some(()))
        })
        .await
    }

    async fn remove(self, town: &Town) -> Result<()> {
        match self {
            Self::Slow => {
                // Where the store still runs, it counts to the end.
                wait::until_within(COUNTED, "the file to be free", async || {
                    let dropped = sqlx::raw_sql("DROP TRIGGER slow").execute(town.shop.pool());
                    Ok(dropped.await.is_ok().then_some(()))
                })
                .await
            }
            Self::Locked(mut connection) => {
                connection.execute("ROLLBACK").await?;
                Ok(())
            }
        }
    }
}

/// A database of one's own on the PostgreSQL of the tests.
async fn own_database(server: &str) -> Result<String> {
    let name = format!("transfer_{}", fresh().replace('-', ""));
    let mut connection = PgConnection::connect(server).await?;
    connection
        .execute(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .await?;
    let (host, _) = server.rsplit_once('/').context("a database")?;
    Ok(format!("{host}/{name}"))
}

fn numbers(belongings: &[Belonging]) -> Vec<i32> {
    belongings.iter().map(|it| (*it).into()).collect()
}

fn asked(case: &str, to: &str, belongings: &[Belonging]) -> api::TransferBelongingsRequest {
    api::TransferBelongingsRequest {
        request_id: fresh(),
        account: format!("accounts/{ANN}"),
        to_account: format!("accounts/{to}"),
        belongings: numbers(belongings),
        case: case.to_owned(),
        validate_only: false,
    }
}

/// What would move.
fn look(to: &str, belongings: &[Belonging]) -> api::TransferBelongingsRequest {
    api::TransferBelongingsRequest {
        validate_only: true,
        ..asked("", to, belongings)
    }
}

fn amounts(transfer: &api::Transfer) -> Vec<(i64, i64)> {
    let belongings = transfer.belongings.iter();
    belongings.map(|it| (it.moved, it.left)).collect()
}

/// Something of each kind, one order of which is under way. Gives that one.
async fn fill(store: &Store) -> Result<String> {
    farewell_store::credit_points(store, ANN, 120).await?;
    farewell_store::credit_points(store, BEN, 5).await?;
    for worth in [100, 200] {
        farewell_store::grant_coupon(store, ANN, worth).await?;
    }
    farewell_store::top_up(store, ANN, 700).await?;
    farewell_store::subscribe(store, ANN, "films").await?;
    let lamp = NewOrder {
        item: "lamp",
        amount_cents: 990,
        recipient: "Wang Wei",
        address: "1 Lake Street",
    };
    let order = farewell_store::place_order(store, ANN, &lamp).await?;
    Ok(order)
}

const AMOUNTS: [(i64, i64); 5] = [(120, 0), (2, 0), (700, 0), (1, 0), (1, 0)];

/// The story, up to where nothing is in the way of a deletion. Gives the first request and its answer.
async fn moved_through_kills(
    town: &mut Town,
) -> Result<(api::TransferBelongingsRequest, api::Transfer)> {
    let order = fill(&town.shop).await?;
    let blockers = [
        "ACTIVE_SUBSCRIPTION",
        "COUPONS_LEFT",
        "POINTS_LEFT",
        "UNFINISHED_ORDER",
        "WALLET_BALANCE",
    ];
    assert_eq!(town.blockers().await?, blockers);
    let early = town.transfer(&look(BEN, &ALL)).await;
    refused(
        "under way",
        early,
        Code::FailedPrecondition,
        "ORDER_IN_TRANSIT",
    );
    farewell_store::complete_order(&town.shop, ANN, &order, SystemTime::now()).await?;
    let found = town.transfer(&look(BEN, &ALL)).await?;
    assert_eq!(amounts(&found), AMOUNTS);
    assert_eq!(found.transfer_time, None);
    assert_eq!(town.number("SELECT COUNT(*) FROM book").await?, 0);

    // While the case is open, a deletion would lose what is to move.
    let case = town.case(BEN, &ALL, 2).await?;
    assert!(town.blockers().await?.contains(&"TRANSFER_OPEN".to_owned()));
    let request = asked(&case, BEN, &ALL);
    town.kill_in_the_middle(&request, Victim::Store).await?;
    assert_eq!(
        town.number("SELECT COUNT(*) FROM book").await?,
        0,
        "nothing, and not half"
    );
    let first = town.transfer(&request).await?;
    assert_eq!(amounts(&first), AMOUNTS);
    assert_eq!(town.transfer(&request).await?, first, "the same again");
    let lines = "SELECT COUNT(*) FROM book";
    assert_eq!(town.number(lines).await?, 10);

    // And once more while the coordinator goes down: whether the store ended it or not, it is done once.
    farewell_store::credit_points(&town.shop, ANN, 30).await?;
    let points = [Belonging::Points];
    let second = asked(&town.case(BEN, &points, 2).await?, BEN, &points);
    town.kill_in_the_middle(&second, Victim::Coordinator)
        .await?;
    // Its case is used. Nobody knows whether it is done, and so nobody deletes the account before it is.
    assert!(town.blockers().await?.contains(&"TRANSFER_OPEN".to_owned()));
    let moved = town.transfer(&second).await?;
    assert_eq!(amounts(&moved), [(30, 0)]);
    assert_eq!(town.number(lines).await?, 12);
    let sum = "SELECT CAST(SUM(amount) AS BIGINT) FROM book";
    assert_eq!(town.number(sum).await?, 0);
    let there = "SELECT points FROM points WHERE account = 'a-ben'";
    assert_eq!(town.number(there).await?, 155);

    let held = |all: Vec<(String, i64)>| {
        let named = all.into_iter().filter(|(it, _)| !it.contains("transfers"));
        named.collect::<Vec<_>>()
    };
    // What she liked is about her, and goes with her account.
    assert_eq!(held(town.held(ANN).await?), [("interests".to_owned(), 1)]);
    let categories = ["orders", "wallets", "coupons", "points", "subscriptions"];
    let expected = categories.map(|it| (it.to_owned(), if it == "coupons" { 2 } else { 1 }));
    assert_eq!(held(town.held(BEN).await?), expected);

    // The case says what it was used for, and is good for nothing else.
    let mut ana = town.desk[0].clone();
    let shown = ana.get_case(desk::GetCaseRequest { name: case.clone() });
    let shown = shown.await?.into_inner().case.context("a case")?;
    let used_for = format!("requests/{}", request.request_id);
    assert_eq!(shown.used_for, used_for);
    let log = shown.log.iter().filter(|line| line.subject == used_for);
    let log: Vec<_> = log.map(|line| line.what.as_str()).collect();
    assert_eq!(log, ["USED", "DONE"]);
    farewell_store::credit_points(&town.shop, ANN, 1).await?;
    let again = town.transfer(&asked(&case, BEN, &points)).await;
    refused("a used case", again, Code::FailedPrecondition, "CASE_USED");
    let mut other = request.clone();
    other.belongings = numbers(&points);
    let reused = town.transfer(&other).await;
    refused(
        "another body",
        reused,
        Code::AlreadyExists,
        "REQUEST_ID_REUSED",
    );
    farewell_store::forfeit_points(&town.shop, ANN).await?;
    assert_eq!(town.blockers().await?, [""; 0], "nothing is in the way");
    Ok((request, first))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_has_moves_to_another_through_kills_and_the_deletion_is_taken() -> Result<()> {
    let Some(server) = needed("FAREWELL_TEST_POSTGRES") else {
        return Ok(());
    };
    let Some(mut town) = Town::open(Some(&server), "300ms").await? else {
        return Ok(());
    };
    let (request, moved) = moved_through_kills(&mut town).await?;
    let name = town.caller.delete(ANN).await?;
    town.caller.until(&name, State::Purged).await?;
    assert_eq!(
        farewell_store::left_over(&town.shop, ANN).await?.categories,
        []
    );
    let again = town.transfer(&request).await?;
    assert_eq!(again, moved, "whatever became of the accounts");
    // What was moved is Ben's, and nothing of it names Ann.
    let named = "SELECT (SELECT COUNT(*) FROM book WHERE counter_account <> '') \
        + (SELECT COUNT(*) FROM placed_order WHERE recipient <> '')";
    assert_eq!(town.number(named).await?, 0);
    let held = town.held(BEN).await?;
    assert!(held.contains(&("orders".to_owned(), 1)), "{held:?}");
    // To whom nobody moves anything any more.
    farewell_store::credit_points(&town.shop, BEN, 1).await?;
    let back = api::TransferBelongingsRequest {
        account: format!("accounts/{BEN}"),
        ..look(ANN, &[Belonging::Points])
    };
    let gone = town.transfer(&back).await;
    refused("purged", gone, Code::NotFound, "TO_ACCOUNT_NOT_FOUND");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_moves_without_its_own_case_between_accounts_that_are_open() -> Result<()> {
    let Some(mut town) = Town::open(None, "1h").await? else {
        return Ok(());
    };
    moved_through_kills(&mut town).await?;
    farewell_store::credit_points(&town.shop, ANN, 40).await?;
    let before = "SELECT points FROM points WHERE account = 'a-ann'";
    let (points, coins) = ([Belonging::Points], [Belonging::StoreCredit]);

    bad_input(&town).await?;
    // Cases of nothing, of too few people, of something else.
    let unknown = format!("cases/{}", fresh());
    let once = town.case(BEN, &points, 1).await?;
    let other = town.case(CID, &points, 2).await?;
    let less = town.case(BEN, &coins, 2).await?;
    let name = desk::OpenCaseRequest {
        request_id: fresh(),
        account: format!("accounts/{ANN}"),
        kind: desk::CaseKind::RealName.into(),
        ..Default::default()
    };
    let name = town.approved(name, 2).await?;
    for (what, case, code, word) in [
        ("none", &unknown, Code::NotFound, "CASE_NOT_FOUND"),
        (
            "one approval",
            &once,
            Code::FailedPrecondition,
            "CASE_NOT_APPROVED",
        ),
        (
            "to another",
            &other,
            Code::FailedPrecondition,
            "CASE_NOT_FOR_THIS",
        ),
        (
            "other things",
            &less,
            Code::FailedPrecondition,
            "CASE_NOT_FOR_THIS",
        ),
        (
            "another wish",
            &name,
            Code::FailedPrecondition,
            "CASE_NOT_FOR_THIS",
        ),
    ] {
        let answer = town.transfer(&asked(case, BEN, &points)).await;
        refused(what, answer, code, word);
    }
    // A refusal of the store uses up no approval.
    let nothing = town.transfer(&asked(&less, BEN, &coins)).await;
    refused(
        "no money",
        nothing,
        Code::FailedPrecondition,
        "NOTHING_TO_TRANSFER",
    );

    // Accounts that nobody knows, are frozen, or are being deleted.
    let nobody = town.transfer(&look("a-nobody", &points)).await;
    refused("nobody", nobody, Code::NotFound, "TO_ACCOUNT_NOT_FOUND");
    let from_nobody = api::TransferBelongingsRequest {
        account: "accounts/a-nobody".to_owned(),
        ..look(BEN, &points)
    };
    let nobodys = town.transfer(&from_nobody).await;
    refused("nobody's", nobodys, Code::NotFound, "ACCOUNT_NOT_FOUND");
    let freeze = api::FreezeAccountRequest {
        request_id: fresh(),
        account: format!("accounts/{CID}"),
    };
    town.accounts.clone().freeze_account(freeze).await?;
    let frozen = town.transfer(&asked(&other, CID, &points)).await;
    refused(
        "frozen",
        frozen,
        Code::FailedPrecondition,
        "TO_ACCOUNT_FROZEN",
    );
    let sealed = town.caller.delete(BEN).await?;
    // Ben has what is forfeitable, and agreed to lose nothing.
    town.caller
        .until_true(&sealed, "blocked", |it| Ok(!it.conditions.is_empty()))
        .await?;
    let waits = town.transfer(&look(BEN, &points)).await?;
    assert_eq!(amounts(&waits), [(41, 0)], "nothing is sealed yet");
    assert_eq!(town.number(before).await?, 41);
    town.caller.revoke(&sealed).await?;

    // As a person of the desk would, at a terminal.
    let second = town.desk[2].clone();
    let approve = desk::ApproveCaseRequest {
        request_id: fresh(),
        name: once.clone(),
    };
    second.clone().approve_case(approve).await?;
    for case in [&other, &less, &name] {
        let withdraw = desk::WithdrawCaseRequest {
            request_id: fresh(),
            name: case.clone(),
        };
        second.clone().withdraw_case(withdraw).await?;
    }
    let words = ["account", "transfer", ANN, "--to", BEN, "--move", "points"];
    let cli = |more: &[&str]| town.office.told("caller", &[&words, more].concat(), "");
    let found = cli(&["--validate-only"])?;
    assert_eq!(found["belongings"][0]["moved"], 41);
    let moved = cli(&["--case", &once])?;
    assert_eq!(moved["belongings"][0]["belonging"], "POINTS");
    assert_ne!(moved["transfer_time"], "");
    let name = town.caller.delete(ANN).await?;
    town.caller.until(&name, State::CoolingOff).await?;
    let late = town.transfer(&look(BEN, &points)).await;
    refused("sealed", late, Code::FailedPrecondition, "ACCOUNT_SEALED");
    let to_ann = api::TransferBelongingsRequest {
        account: format!("accounts/{BEN}"),
        ..look(ANN, &points)
    };
    let late = town.transfer(&to_ann).await;
    refused(
        "to a sealed one",
        late,
        Code::FailedPrecondition,
        "TO_ACCOUNT_SEALED",
    );
    assert!(matches!(
        farewell_store::credit_points(&town.shop, ANN, 1).await,
        Err(seal::Error::Sealed)
    ));
    Ok(())
}

/// Every field, wrong: nothing is asked of anybody.
async fn bad_input(town: &Town) -> Result<()> {
    let case = format!("cases/{}", fresh());
    let sound = asked(&case, BEN, &[Belonging::Points]);
    type Spoil = fn(&mut api::TransferBelongingsRequest);
    let spoilt: [(&str, Spoil); 15] = [
        ("request_id", |it| it.request_id.clear()),
        ("request_id", |it| {
            it.request_id = "00000000-0000-0000-0000-000000000000".to_owned();
        }),
        ("account", |it| it.account.clear()),
        ("account", |it| it.account = ANN.to_owned()),
        ("to_account", |it| it.to_account.clear()),
        ("to_account", |it| it.to_account = "accounts/b c".to_owned()),
        ("to_account", |it| it.to_account = format!("accounts/{ANN}")),
        ("belongings", |it| it.belongings.clear()),
        ("belongings[0]", |it| it.belongings = vec![0]),
        ("belongings[1]", |it| it.belongings = vec![1, 99]),
        ("belongings[2]", |it| it.belongings = vec![1, 2, 1]),
        ("case", |it| it.case.clear()),
        ("case", |it| it.case = "deletions/1".to_owned()),
        ("case", |it| {
            it.case = "cases/00000000-0000-0000-0000-000000000000".to_owned();
        }),
        ("case", |it| it.validate_only = true),
    ];
    for (field, spoil) in spoilt {
        let mut request = sound.clone();
        spoil(&mut request);
        let answer = town.transfer(&request).await;
        bad_field(field, answer, "INVALID_FIELD", field);
    }
    Ok(())
}
