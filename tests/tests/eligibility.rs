//! What stands in the way of a deletion, as real services hold it and people read it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use farewell_cloud::Cloud;
use farewell_core::Policy;
use farewell_core::blocker::{self, CATALOGUE, Class, Owner};
use farewell_core::order::DevicePolicy;
use farewell_core::policy::Channel as Door;
use farewell_identity::credential::Hasher;
use farewell_identity::{Case, Identity, Rules, code::Pepper, courier};
use farewell_kit::devices::Terms;
use farewell_kit::devices::schema::SCHEMA;
use farewell_kit::standing;
use farewell_kit::store::Store;
use farewell_kit::vault::{KEY_BYTES, Vault};
use farewell_kit::{
    CodeChannel, Custodian as _, RECENT_CHANGE_MAX, SetStanding, Standing, StartExport, service,
    session,
};
use farewell_proto::account::v1::UnbindDeviceRequest;
use farewell_proto::account::v1::account_service_client::AccountServiceClient;
use farewell_proto::binding::v1::binding_service_client::BindingServiceClient;
use farewell_proto::binding::v1::{
    BindRequest, Binding, ReportLostRequest, Role, Share, ShareBindingRequest,
};
use farewell_proto::deletion::v1::{
    Blocker, BlockerClass, Channel as Desk, CheckEligibilityRequest, CheckEligibilityResponse,
    Consent, GetDeletionRequest, Overrider, State, WatchDeletionRequest,
};
use farewell_proto::operator::v1::{RetryLegRequest, RetryReason};
use farewell_runtime::client::endpoint;
use farewell_runtime::server::Security;
use farewell_runtime::shutdown::Shutdown;
use farewell_store::{NewOrder, SupportCase};
use farewell_tests::caller::{Caller, conditions, fresh, request};
use farewell_tests::coordinator::Coordinator;
use farewell_tests::policy;
use farewell_tests::process::needed;
use farewell_tests::refusal::{bad_field, refused};
use farewell_tests::wait;
use prost_types::Timestamp;
use tempfile::TempDir;
use tonic::Code;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;

const ACCOUNT: &str = "a-4711";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// One participant of each kind that names blockers.
const STAGES: &[&[&str]] = &[
    &["smarthome"],
    &["cloud", "community"],
    &["store"],
    &["identity"],
];
const PASSWORD: &str = "a farewell to examples";

/// The services themselves, in this process, with their databases to look into.
struct Town {
    identity: Store,
    store: Store,
    community: Store,
    cloud: Cloud,
    homes: BindingServiceClient<Channel>,
    hubs: Store,
    community_session: Shutdown,
    shutdown: Shutdown,
    _folder: TempDir,
}

impl Town {
    /// With a sample account: much to erase, and nothing in the way.
    async fn start(coordinator: &Coordinator) -> Result<Self> {
        Self::start_patient(coordinator, Duration::from_millis(500)).await
    }

    /// The same, where devices are waited for as long.
    async fn start_patient(coordinator: &Coordinator, horizon: Duration) -> Result<Self> {
        let folder = TempDir::new()?;
        let shutdown = Shutdown::new();
        let url = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
        let session = |participant: &str| session::Config {
            participant: participant.to_owned(),
            coordinators: vec![format!("http://{}", coordinator.participants)],
            security: Security::PlainLoopback,
            window_commands: 8,
        };
        let identity = farewell_identity::open(&url("identity.db")).await?;
        let letters = courier::Config::file(folder.path().join("letters"));
        let couriers = courier::Couriers::open(&letters)?;
        let pepper = Pepper::new(*b"sixteen bytes or more")?;
        let taking_part = Identity::new(identity.clone(), couriers, pepper, Rules::default());
        shutdown.spawn(service::run(
            identity.clone(),
            Arc::new(taking_part),
            session("identity"),
            shutdown.clone(),
        ));
        let store = farewell_store::open(&url("store.db")).await?;
        let shop = farewell_store::Shop::new(store.clone());
        shutdown.spawn(service::run(
            store.clone(),
            Arc::new(shop),
            session("store"),
            shutdown.clone(),
        ));
        let community = farewell_community::open(&url("community.db")).await?;
        let members = farewell_community::Community::new(community.clone());
        let community_session = shutdown.child();
        shutdown.spawn(service::run(
            community.clone(),
            Arc::new(members),
            session("community"),
            community_session.clone(),
        ));
        let vault = Vault::new([(1, [7; KEY_BYTES])])?;
        let cloud = farewell_cloud::open(&url("cloud.db")).await?;
        let keeper = Cloud::new(cloud.clone(), folder.path().join("files"), vault);
        shutdown.spawn(farewell_cloud::serve(
            cloud,
            keeper.clone(),
            session("cloud"),
            shutdown.clone(),
        ));
        let listen = ([127, 0, 0, 1], 0).into();
        let homes = farewell_smarthome::Config {
            database: url("smarthome.db"),
            devices_listen: listen,
            security: Security::PlainLoopback,
            session: session("smarthome"),
            terms: Terms {
                horizon,
                ..Terms::default()
            },
            broker: farewell_smarthome::Broker::Embedded { listen },
        };
        let homes = farewell_smarthome::start(homes, shutdown.clone()).await?;
        let address = format!("http://{}", homes.devices_addr);
        let homes = endpoint(&address, &Security::PlainLoopback)?.connect_lazy();

        let (phone, mail) = ("+86 138 0000 0000", "li.na@example.com");
        farewell_identity::sample(&identity, ACCOUNT, phone, mail, PASSWORD).await?;
        farewell_store::sample(&store, ACCOUNT).await?;
        farewell_community::sample(&community, ACCOUNT).await?;
        Ok(Self {
            identity,
            store,
            community,
            cloud: keeper,
            homes: BindingServiceClient::new(homes),
            hubs: Store::open(&url("smarthome.db"), "", SCHEMA).await?,
            community_session,
            shutdown,
            _folder: folder,
        })
    }

    async fn stop(self) -> Result<()> {
        self.shutdown.trigger();
        ensure!(self.shutdown.drain(Duration::from_secs(20)).await);
        Ok(())
    }

    /// Has every hub bound long ago, and in touch just now or never.
    async fn seen(&self, just_now: bool) -> Result<()> {
        sqlx::query("UPDATE bindings SET bound_at = 1")
            .execute(self.hubs.pool())
            .await?;
        sqlx::query("UPDATE devices SET seen_at = $1")
            .bind(if just_now { i64::MAX } else { 0 })
            .execute(self.hubs.pool())
            .await?;
        Ok(())
    }

    /// A hub with which another account lives, reported lost.
    async fn bind_a_lost_hub(&self) -> Result<u64> {
        let mut homes = self.homes.clone();
        let bound = homes.bind(BindRequest {
            request_id: fresh(),
            binding: Some(Binding {
                device: "devices/hub-1".to_owned(),
                account: format!("accounts/{ACCOUNT}"),
                model: "Hub 3".to_owned(),
                ..Binding::default()
            }),
        });
        let epoch = bound
            .await?
            .into_inner()
            .binding
            .context("a binding")?
            .epoch;
        self.share(epoch, Role::Member).await?;
        self.report(epoch, true).await?;
        Ok(epoch)
    }

    async fn share(&self, epoch: u64, role: Role) -> Result<()> {
        let mut homes = self.homes.clone();
        let share = homes.share_binding(ShareBindingRequest {
            request_id: fresh(),
            device: "devices/hub-1".to_owned(),
            epoch,
            share: Some(Share {
                account: "accounts/somebody".to_owned(),
                role: role.into(),
            }),
        });
        share.await?;
        Ok(())
    }

    async fn report(&self, epoch: u64, lost: bool) -> Result<()> {
        let mut homes = self.homes.clone();
        let report = homes.report_lost(ReportLostRequest {
            request_id: fresh(),
            device: "devices/hub-1".to_owned(),
            epoch,
            lost,
        });
        report.await?;
        Ok(())
    }
}

/// What is asked in a language, and in which the answer is.
async fn check(caller: &Caller, wish: &str) -> Result<(CheckEligibilityResponse, String)> {
    let request = in_language(
        CheckEligibilityRequest {
            account: format!("accounts/{ACCOUNT}"),
        },
        wish,
    )?;
    let answer = caller.api.clone().check_eligibility(request).await?;
    let language = language(answer.metadata());
    Ok((answer.into_inner(), language))
}

fn in_language<T>(message: T, wish: &str) -> Result<tonic::Request<T>> {
    let mut request = tonic::Request::new(message);
    request
        .metadata_mut()
        .insert("accept-language", wish.parse()?);
    Ok(request)
}

fn language(metadata: &MetadataMap) -> String {
    let tag = metadata.get("content-language");
    tag.and_then(|tag| tag.to_str().ok())
        .unwrap_or_default()
        .to_owned()
}

fn is_chinese(text: &str) -> bool {
    text.chars()
        .any(|it| ('\u{4e00}'..='\u{9fff}').contains(&it))
}

fn codes(answer: &CheckEligibilityResponse) -> BTreeSet<&str> {
    answer.blockers.iter().map(|it| it.code.as_str()).collect()
}

async fn stand(store: &Store, generation: u64, to: Standing) -> Result<()> {
    let request = SetStanding {
        account: ACCOUNT.to_owned(),
        generation,
        standing: to,
        recent_change: RECENT_CHANGE_MAX,
    };
    standing::keep(store, &request).await?;
    Ok(())
}

/// Waits until the answer has these codes and no others.
async fn until_only(
    caller: &Caller,
    expected: &BTreeSet<&str>,
) -> Result<CheckEligibilityResponse> {
    let mut last = CheckEligibilityResponse::default();
    let found = wait::until("the blockers", async || {
        last = check(caller, "en").await?.0;
        Ok((codes(&last) == *expected).then(|| last.clone()))
    });
    let found = found.await;
    found.with_context(|| format!("wanted {expected:?}, last seen {:?}", codes(&last)))
}

#[test]
fn every_code_of_every_service_stands_in_the_catalogue_under_its_owner_and_no_code_is_idle() {
    let services: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("identity", &farewell_identity::BLOCKERS[..]),
        ("store", &farewell_store::BLOCKERS[..]),
        ("community", &farewell_community::BLOCKERS[..]),
        ("support", &farewell_support::BLOCKERS[..]),
        ("cloud", &farewell_cloud::BLOCKERS[..]),
        ("product lines", &farewell_kit::devices::BLOCKERS[..]),
        (
            "coordinator",
            &["PARTICIPANT_UNREACHABLE", "DELETION_ALREADY_RUNNING"][..],
        ),
    ]);
    let mut reviewed = BTreeMap::<&str, BTreeSet<&str>>::new();
    for known in CATALOGUE {
        let owner = match known.owner {
            Owner::Service(service) => service,
            Owner::ProductLines => "product lines",
            Owner::Coordinator => "coordinator",
        };
        reviewed.entry(owner).or_default().insert(known.code);
    }
    for (owner, codes) in &services {
        let own: BTreeSet<&str> = codes.iter().copied().collect();
        assert_eq!(own.len(), codes.len(), "{owner} has a code twice");
        assert_eq!(reviewed.get(owner), Some(&own), "{owner}");
    }
    assert_eq!(reviewed.len(), services.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_told_at_once_in_the_callers_language_and_goes_with_its_remedy() -> Result<()>
{
    let coordinator = Coordinator::start(policy::whole(STAGES), "memory:").await?;
    let caller = coordinator.caller()?;
    let (silent, tag) = check(&caller, "zh-Hans-CN, en;q=0.5").await?;
    assert_eq!((codes(&silent).len(), silent.blockers.len()), (1, 5));
    for blocker in &silent.blockers {
        assert_eq!(blocker.code, "PARTICIPANT_UNREACHABLE");
        assert!(is_chinese(&blocker.message), "{blocker:?}");
    }
    assert_eq!((silent.eligible, tag.as_str()), (false, "zh"));

    let town = Town::start(&coordinator).await?;
    let free = until_only(&caller, &BTreeSet::new()).await?;
    assert!(free.eligible);

    // Everything that can be in the way of an account that exists.
    let (identity, store) = (&town.identity, &town.store);
    let hasher = Hasher::default();
    farewell_identity::change_password(identity, &hasher, ACCOUNT, "another").await?;
    farewell_identity::set_contact(identity, ACCOUNT, CodeChannel::Sms, "+86 139 0000 0000")
        .await?;
    farewell_identity::set_risk_lock(identity, ACCOUNT, true).await?;
    farewell_identity::grant(identity, ACCOUNT, "Recipe Box").await?;
    farewell_identity::open_case(identity, ACCOUNT, Case::LegalHold, "court 7").await?;
    farewell_identity::open_case(identity, ACCOUNT, Case::Fraud, "f-7").await?;
    farewell_identity::set_guardian(identity, "a-child", ACCOUNT).await?;
    farewell_identity::set_guardian(identity, ACCOUNT, "a-parent").await?;
    let lamp = NewOrder {
        item: "lamp",
        amount_cents: 990,
        recipient: "Wang Wei",
        address: "1 Lake Street",
    };
    let order = farewell_store::place_order(store, ACCOUNT, &lamp).await?;
    farewell_store::open_dispute(store, ACCOUNT, &order).await?;
    farewell_store::top_up(store, ACCOUNT, 500).await?;
    let credit = farewell_store::lend(store, ACCOUNT, 1_000).await?;
    farewell_store::grant_coupon(store, ACCOUNT, 100).await?;
    farewell_store::credit_points(store, ACCOUNT, 10).await?;
    farewell_store::subscribe(store, ACCOUNT, "films").await?;
    let spring = SystemTime::now() + DAY;
    farewell_store::join_campaign(store, ACCOUNT, "spring", spring).await?;
    let open = |case| farewell_store::open_support_case(store, ACCOUNT, case, "It smells.");
    let (claim, ticket) = (
        open(SupportCase::Insurance).await?,
        open(SupportCase::Ticket).await?,
    );
    let tomorrow = SystemTime::now() + DAY;
    farewell_community::ban(&town.community, ACCOUNT, "spam", tomorrow).await?;
    let hub = town.bind_a_lost_hub().await?;
    // Who is frozen out shares nothing any more.
    farewell_identity::set_frozen(identity, ACCOUNT, true).await?;
    // Nobody of this name ever answers.
    let copy = StartExport {
        account: ACCOUNT.to_owned(),
        export: format!("exports/{}", fresh()),
        participants: vec!["wearables".to_owned()],
        language: "en".to_owned(),
        though_frozen: false,
    };
    let exports = town.cloud.exports();
    let started = exports.start(&copy).await?;
    ensure!(started.is_ok(), "{started:?}");

    town.seen(false).await?;

    // Last, as nothing else can be changed then.
    stand(identity, 1, Standing::Memorialized).await?;

    let mut left: BTreeSet<&str> = CATALOGUE.iter().map(|known| known.code).collect();
    left.remove("PARTICIPANT_UNREACHABLE");
    left.remove("UNKNOWN_ACCOUNT");
    left.remove("DELETION_ALREADY_RUNNING");
    // Its people open cases, and each has a certificate: its own tests do.
    left.retain(|code| !farewell_support::BLOCKERS.contains(code));
    let (english, tag) = check(&caller, "fr, en;q=0.9").await?;
    assert_eq!((codes(&english), tag.as_str()), (left.clone(), "en"));
    let (chinese, tag) = check(&caller, "zh").await?;
    assert_eq!((codes(&chinese), tag.as_str()), (left.clone(), "zh"));
    assert!(!english.eligible && !chinese.eligible);
    for (one, other) in english.blockers.iter().zip(&chinese.blockers) {
        reviewed(one)?;
        assert!(!is_chinese(&one.message) && !is_chinese(&one.remedy));
        assert!(is_chinese(&other.message) && is_chinese(&other.remedy));
        let wordless = |blocker: &Blocker| Blocker {
            message: String::new(),
            remedy: String::new(),
            ..blocker.clone()
        };
        assert_eq!(wordless(one), wordless(other));
        for private in [
            ACCOUNT, "Wang", "Lake", "smells", "court", "spam", "a-child", "+86",
        ] {
            assert!(!one.message.contains(private) && !one.remedy.contains(private));
        }
    }
    let wallet = english
        .blockers
        .iter()
        .find(|it| it.code == "WALLET_BALANCE");
    assert_eq!(
        wallet.context("a wallet")?.forfeit_consent,
        "forfeit-wallet-balance"
    );
    let ends = english.blockers.iter().filter(|it| it.until_time.is_some());
    let ends: BTreeSet<_> = ends.map(|it| it.code.as_str()).collect();
    let expected = [
        "RECENT_PASSWORD_CHANGE",
        "RECENT_CONTACT_CHANGE",
        "CAMPAIGN_ACTIVE",
        "COMMUNITY_BANNED",
        "EXPORT_RUNNING",
    ];
    assert_eq!(ends, BTreeSet::from(expected));

    // Each goes, and takes no other with it.
    let mut gone = async |code: &'static str| {
        assert!(left.remove(code), "{code}");
        until_only(&caller, &left).await
    };
    for (code, table) in [
        (
            "RECENT_PASSWORD_CHANGE",
            "UPDATE credential SET changed_at = 1",
        ),
        (
            "RECENT_CONTACT_CHANGE",
            "UPDATE contact_change SET changed_at = 1",
        ),
    ] {
        // Only time removes these.
        sqlx::query(table).execute(identity.pool()).await?;
        gone(code).await?;
    }
    farewell_identity::set_risk_lock(identity, ACCOUNT, false).await?;
    gone("RISK_CONTROL_LOCK").await?;
    farewell_identity::set_frozen(identity, ACCOUNT, false).await?;
    gone("ACCOUNT_FROZEN").await?;
    stand(identity, 2, Standing::Active).await?;
    gone("ACCOUNT_MEMORIALIZED").await?;
    farewell_identity::revoke_grants(identity, ACCOUNT).await?;
    gone("THIRD_PARTY_GRANTS").await?;
    farewell_identity::close_case(identity, ACCOUNT, Case::LegalHold, "court 7").await?;
    gone("LEGAL_HOLD").await?;
    farewell_identity::close_case(identity, ACCOUNT, Case::Fraud, "f-7").await?;
    gone("FRAUD_CASE").await?;
    farewell_identity::set_guardian(identity, "a-child", "a-parent").await?;
    gone("GUARDIAN_OF_CHILD_ACCOUNT").await?;
    farewell_identity::agree_to_deletion(identity, "a-parent", ACCOUNT).await?;
    gone("CHILD_NEEDS_GUARDIAN").await?;
    farewell_store::complete_order(store, ACCOUNT, &order, SystemTime::now()).await?;
    gone("UNFINISHED_ORDER").await?;
    farewell_store::close_dispute(store, ACCOUNT, &order).await?;
    gone("OPEN_DISPUTE").await?;
    farewell_store::pay_out(store, ACCOUNT).await?;
    gone("WALLET_BALANCE").await?;
    farewell_store::pay_back(store, ACCOUNT, &credit, 1_000).await?;
    gone("DEBT_OR_CREDIT").await?;
    farewell_store::cancel_subscriptions(store, ACCOUNT).await?;
    gone("ACTIVE_SUBSCRIPTION").await?;
    farewell_store::leave_campaigns(store, ACCOUNT).await?;
    gone("CAMPAIGN_ACTIVE").await?;
    farewell_store::close_support_case(store, ACCOUNT, &claim).await?;
    gone("SAFETY_OR_INSURANCE_CASE").await?;
    farewell_store::close_support_case(store, ACCOUNT, &ticket).await?;
    gone("SUPPORT_TICKET_OPEN").await?;
    let cancelled = exports.cancel(ACCOUNT, &copy.export).await?;
    ensure!(cancelled.is_ok(), "{cancelled:?}");
    gone("EXPORT_RUNNING").await?;
    farewell_store::forfeit_coupons(store, ACCOUNT).await?;
    let forfeitable = gone("COUPONS_LEFT").await?;
    assert!(!forfeitable.eligible, "points are left");
    farewell_store::forfeit_points(store, ACCOUNT).await?;
    let advice = gone("POINTS_LEFT").await?;
    assert!(advice.eligible, "what is left is only told: {advice:?}");
    farewell_community::lift_ban(&town.community, ACCOUNT).await?;
    gone("COMMUNITY_BANNED").await?;
    town.seen(true).await?;
    gone("DEVICE_BOUND_UNREACHABLE").await?;
    town.report(hub, false).await?;
    gone("DEVICE_IN_LOST_MODE").await?;
    town.share(hub, Role::Admin).await?;
    let bound = gone("SOLE_ADMIN_OF_SHARED_HOME").await?;
    assert_eq!(codes(&bound), BTreeSet::from(["DEVICES_BOUND"]));
    town.stop().await?;
    coordinator.stop().await
}

/// Whether a blocker is told as the catalogue has it.
fn reviewed(told: &Blocker) -> Result<()> {
    let known = blocker::known(&told.code).context("a known code")?;
    let class = match known.class {
        Class::Hard => BlockerClass::Hard,
        Class::Fixable => BlockerClass::Fixable,
        Class::Forfeitable => BlockerClass::Forfeitable,
        Class::Advisory => BlockerClass::Advisory,
    };
    let overrider = match known.overridable_by {
        blocker::Overrider::Nobody => Overrider::Nobody,
        blocker::Overrider::Support => Overrider::Support,
        blocker::Overrider::SupportWithSecondPerson => Overrider::SupportWithSecondPerson,
        blocker::Overrider::Legal => Overrider::Legal,
    };
    assert_eq!((told.class(), told.overridable_by()), (class, overrider));
    let owner = match known.owner {
        Owner::Service(service) => service,
        Owner::ProductLines => "smarthome",
        Owner::Coordinator => "",
    };
    assert_eq!(told.participant, owner);
    let forfeitable = class == BlockerClass::Forfeitable;
    assert_eq!(!told.forfeit_consent.is_empty(), forfeitable, "{told:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ban_leaves_the_unbinding_of_a_device_to_the_desk() -> Result<()> {
    let devices = DevicePolicy {
        self_service_closed_by: vec!["COMMUNITY_BANNED".to_owned()],
        ..DevicePolicy::default()
    };
    let banning = Policy {
        devices,
        ..policy::whole(STAGES)
    };
    let coordinator = Coordinator::start(banning, "memory:").await?;
    let caller = coordinator.caller()?;
    let town = Town::start(&coordinator).await?;
    until_only(&caller, &BTreeSet::new()).await?;
    let epoch = town.bind_a_lost_hub().await?;
    town.report(epoch, false).await?;
    let tomorrow = SystemTime::now() + DAY;
    farewell_community::ban(&town.community, ACCOUNT, "spam", tomorrow).await?;

    let callers = endpoint(&coordinator.callers, &Security::PlainLoopback)?;
    let accounts = AccountServiceClient::new(callers.connect_lazy());
    let unbind = async |channel: i32, case: &str| {
        let request = UnbindDeviceRequest {
            request_id: fresh(),
            account: format!("accounts/{ACCOUNT}"),
            line: "lines/smarthome".to_owned(),
            device: "devices/hub-1".to_owned(),
            epoch,
            wipe: false,
            channel,
            case: case.to_owned(),
        };
        accounts.clone().unbind_device(request).await
    };
    // What a caller says of itself opens no door.
    let case = format!("cases/{}", fresh());
    for (what, channel, case, field) in [
        ("an unknown channel", 99, "", "channel"),
        ("a shop's word", Desk::ServiceCentre.into(), "", "channel"),
        ("relatives", Desk::Legacy.into(), &case, "channel"),
        ("the desk without a case", Desk::Support.into(), "", "case"),
        ("no case's name", Desk::Support.into(), "cases/1", "case"),
        ("a case of nobody's", Desk::Phone.into(), &case, "case"),
    ] {
        let answer = unbind(channel, case).await;
        bad_field(what, answer, "INVALID_FIELD", field);
    }
    // Nobody of the desk is here to say that it stands.
    let unsaid = unbind(Desk::Support.into(), &case).await;
    refused("a case", unsaid, Code::Unavailable, "DESK_UNAVAILABLE");
    for door in [Desk::Unspecified, Desk::Phone, Desk::Web] {
        let closed = unbind(door.into(), "").await;
        let what = door.as_str_name();
        let refusal = refused(
            what,
            closed,
            Code::FailedPrecondition,
            "SELF_SERVICE_CLOSED",
        );
        assert_eq!(refusal.metadata["blocker"], "COMMUNITY_BANNED");
    }
    let (checked, _) = check(&caller, "en").await?;
    assert!(
        checked.eligible,
        "a ban is no reason to keep anybody's data: {checked:?}"
    );

    // Who should say it and gives no answer has not said that it is open.
    town.community_session.trigger();
    let away = wait::until("the community to be away", async || {
        let answer = unbind(Desk::Phone.into(), "").await;
        let away = answer
            .as_ref()
            .is_err_and(|status| status.code() == Code::Unavailable);
        Ok(away.then_some(answer))
    });
    refused(
        "silence",
        away.await?,
        Code::Unavailable,
        "PARTICIPANT_UNREACHABLE",
    );
    town.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn advice_and_what_was_given_up_stop_nothing_and_what_comes_late_holds_until_it_goes()
-> Result<()> {
    let slow = Policy {
        cooling_off: Duration::from_secs(4),
        channels: BTreeMap::from([(Door::Phone, vec![])]),
        ..policy::whole(STAGES)
    };
    let coordinator = Coordinator::start(slow, "memory:").await?;
    let caller = coordinator.caller()?;
    let town = Town::start(&coordinator).await?;
    until_only(&caller, &BTreeSet::new()).await?;
    town.bind_a_lost_hub().await?;
    let tomorrow = SystemTime::now() + DAY;
    farewell_community::ban(&town.community, ACCOUNT, "spam", tomorrow).await?;
    farewell_store::grant_coupon(&town.store, ACCOUNT, 100).await?;
    let advice = [
        "COMMUNITY_BANNED",
        "DEVICES_BOUND",
        "DEVICE_IN_LOST_MODE",
        "SOLE_ADMIN_OF_SHARED_HOME",
    ];
    let mut told = BTreeSet::from(advice);
    told.insert("COUPONS_LEFT");
    let checked = until_only(&caller, &told).await?;
    let coupons = checked.blockers.iter().find(|it| it.code == "COUPONS_LEFT");
    let consent = &coupons.context("coupons")?.forfeit_consent;

    // Without the consent the coupon stops it, and nothing else does.
    let careless = caller.delete(ACCOUNT).await?;
    let stopped = caller
        .until_true(&careless, "blocked", |it| Ok(!it.conditions.is_empty()))
        .await?;
    assert_eq!(stopped.state(), State::AwaitingVerification);
    assert_eq!(conditions(&stopped), [("COUPONS_LEFT", "store")]);
    let (running, _) = check(&caller, "zh").await?;
    let last = running.blockers.last().context("a blocker")?;
    assert_eq!(
        (last.code.as_str(), last.participant.as_str()),
        ("DELETION_ALREADY_RUNNING", "")
    );
    caller.revoke(&careless).await?;
    until_only(&caller, &told).await?;

    let mut asked = request(ACCOUNT);
    asked.consents.push(Consent {
        text: consent.clone(),
        version: 1,
        time: Some(Timestamp {
            seconds: 1_780_000_000,
            nanos: 0,
        }),
    });
    let name = caller.ask(asked).await?.name;
    caller.until(&name, State::CoolingOff).await?;
    let text = "How do I go back?";
    let ticket =
        farewell_store::open_support_case(&town.store, ACCOUNT, SupportCase::Ticket, text).await?;
    let held = caller
        .until_true(&name, "held", |it| Ok(!it.conditions.is_empty()))
        .await?;
    assert_eq!(held.state(), State::CoolingOff);
    assert_eq!(conditions(&held), [("SUPPORT_TICKET_OPEN", "store")]);
    assert_eq!(
        held.conditions[0].message,
        "A question to support is still open."
    );

    // Whoever reads Chinese reads that in Chinese, however it is looked at.
    let get = in_language(GetDeletionRequest { name: name.clone() }, "zh-CN")?;
    let got = caller.api.clone().get_deletion(get).await?;
    assert_eq!(language(got.metadata()), "zh");
    let got = got.into_inner().deletion.context("a deletion")?;
    assert_eq!(got.conditions[0].message, "有 1 个客服工单尚未处理完毕。");
    let watch = in_language(WatchDeletionRequest { name: name.clone() }, "zh-CN")?;
    let watch = caller.api.clone().watch_deletion(watch).await?;
    assert_eq!(language(watch.metadata()), "zh");
    let seen = watch.into_inner().message().await?.context("a message")?;
    assert_eq!(seen.deletions[0].conditions, got.conditions);

    farewell_store::close_support_case(&town.store, ACCOUNT, &ticket).await?;
    let purged = caller.until(&name, State::Purged).await?;
    assert!(conditions(&purged).is_empty());
    town.stop().await?;
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_that_comes_past_the_point_of_no_return_keeps_what_is_left() -> Result<()> {
    let policy = Policy {
        cooling_off: Duration::ZERO,
        ..policy::whole(&[&["smarthome"], &["identity"]])
    };
    let coordinator = Coordinator::start(policy, "memory:").await?;
    let (caller, operator) = (coordinator.caller()?, coordinator.operator()?);
    let town = Town::start_patient(&coordinator, Duration::from_secs(4)).await?;
    until_only(&caller, &BTreeSet::new()).await?;
    // The hub keeps the first stage busy for its horizon.
    town.bind_a_lost_hub().await?;
    let name = caller.delete(ACCOUNT).await?;
    caller
        .until_true(&name, "erasing", |it| Ok(it.erase_time.is_some()))
        .await?;
    let identity = &town.identity;
    farewell_identity::open_case(identity, ACCOUNT, Case::LegalHold, "court 7").await?;
    let refused = caller
        .until_true(&name, "refused", |it| Ok(!it.conditions.is_empty()))
        .await?;
    assert_eq!(conditions(&refused), [("LEG_REFUSED", "identity")]);
    let held = farewell_identity::left_over(identity, ACCOUNT).await?;
    assert!(held.categories.iter().any(|it| it.category == "accounts"));

    farewell_identity::close_case(identity, ACCOUNT, Case::LegalHold, "court 7").await?;
    let retry = RetryLegRequest {
        request_id: fresh(),
        name: name.clone(),
        participant: "identity".to_owned(),
        reason: RetryReason::CauseCleared.into(),
        reference: String::new(),
    };
    operator.api.clone().retry_leg(retry).await?;
    caller.until(&name, State::Purged).await?;
    let held = farewell_identity::left_over(identity, ACCOUNT).await?;
    assert!(held.categories.is_empty(), "{held:?}");
    town.stop().await?;
    coordinator.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_asks_in_the_language_of_the_shell_or_as_it_is_told() -> Result<()> {
    let Some(program) = needed("FAREWELL_BIN") else {
        return Ok(());
    };
    let coordinator = Coordinator::start(policy::whole(&[&["store"]]), "memory:").await?;
    let ask = async |locale: &str, flags: &[&str]| -> Result<String> {
        let mut command = Command::new(&program);
        command
            .args(["deletion", "eligibility", ACCOUNT, "--plain", "-o", "json"])
            .args(["--endpoint", &coordinator.callers])
            .args(flags)
            .env_remove("LC_ALL")
            .env_remove("LC_MESSAGES")
            .env("LANG", locale);
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        Ok(String::from_utf8(output.stdout)? + &String::from_utf8(output.stderr)?)
    };
    assert!(is_chinese(&ask("zh_CN.UTF-8", &[]).await?));
    assert!(!is_chinese(&ask("de_DE.UTF-8", &[]).await?));
    assert!(!is_chinese(
        &ask("zh_CN.UTF-8", &["--language", "en"]).await?
    ));
    let chinese = ask("C", &["--language", "fr, zh;q=0.5"]).await?;
    assert!(
        is_chinese(&chinese) && chinese.contains("\"class\":\"HARD\""),
        "{chinese}"
    );
    let refused = ask("C", &["--language", "汉语"]).await?;
    assert!(refused.contains("not a language"), "{refused}");
    coordinator.stop().await
}
