//! What a person takes along is whole: an account that has something of everything, in every service and at the desk, and an archive
//! that has each of it, or says what is missing and why. Told with the real binary, by the command line.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use farewell_identity::{Case, Language};
use farewell_kit::export::why;
use farewell_kit::{Belonging, Participant as _, TransferBelongings, Transferred};
use farewell_proto::binding::v1::binding_service_client::BindingServiceClient;
use farewell_proto::binding::v1::{BindRequest, Binding, Role, Share, ShareBindingRequest};
use farewell_proto::deletion::v1::GetInventoryRequest;
use farewell_proto::deletion::v1::deletion_service_client::DeletionServiceClient;
use farewell_proto::participant::v1::DeviceClass;
use farewell_store::{NewOrder, Shop};
use farewell_tests::caller::fresh;
use farewell_tests::office::{NOT_FOUND, REFUSED, SECRET, Town};
use farewell_tests::secret::holds;
use farewell_tests::wait;
use serde_json::Value;

const ACCOUNT: &str = "a-1";
const OTHER: &str = "b-neighbour";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Items by participant and category.
type Counts = BTreeMap<String, BTreeMap<String, i64>>;

/// A deletion that was confirmed at the second try, told of, and taken back: codes, tries, notices and links.
async fn a_deletion_that_was_taken_back(town: &Town) -> Result<()> {
    let deletion = town.create(ACCOUNT, "phone")?;
    let send = ["deletion", "send-code", &deletion, "--factor", "sms-code"];
    wait::until("a code to be sent", async || {
        Ok(town.told("caller", &send, "").is_ok().then_some(()))
    })
    .await?;
    let code = wait::until("the code", async || {
        let letters = town.letters();
        let mut of_it = letters
            .iter()
            .filter(|it| it["deletion"] == deletion.as_str());
        Ok(of_it.find_map(|it| it["code"].as_str().map(str::to_owned)))
    })
    .await?;
    let verify = ["deletion", "verify", &deletion, "--factor", "sms-code"];
    let wrong = if code == "000000" { "111111" } else { "000000" };
    ensure!(!town.ask("caller", &verify, wrong)?.status.success());
    town.told("caller", &verify, &code)?;
    town.state(&deletion, "COOLING_OFF").await?;
    wait::until("the notice", async || {
        let held = inventory(town).await?;
        let identity = held.get("identity").context("identity")?;
        let told = ["notices", "revoke_links"]
            .iter()
            .all(|it| identity.contains_key(*it));
        Ok(told.then_some(()))
    })
    .await?;
    town.told("caller", &["deletion", "revoke", &deletion], "")?;
    town.state(&deletion, "REVOKED").await?;
    Ok(())
}

/// What the samples lack: something of every category that an inventory can name.
async fn fill(town: &Town) -> Result<()> {
    let identity = farewell_identity::open(&town.database("identity")).await?;
    let (phone, mail) = ("+86 138 0000 0000", "li.na@example.com");
    farewell_identity::sample(&identity, ACCOUNT, phone, mail, "a farewell to arms").await?;
    farewell_identity::set_language(&identity, ACCOUNT, Language::Chinese).await?;
    a_deletion_that_was_taken_back(town).await?;
    farewell_identity::set_guardian(&identity, "c-daughter", ACCOUNT).await?;
    farewell_identity::open_case(&identity, ACCOUNT, Case::Fraud, "F-1").await?;

    let shop = farewell_store::open(&town.database("store")).await?;
    farewell_store::sample(&shop, ACCOUNT).await?;
    let order = NewOrder {
        item: "Lamp, warm white",
        amount_cents: 9_900,
        recipient: "Li Na",
        address: "88 Garden Road, Hangzhou",
    };
    farewell_store::place_order(&shop, ACCOUNT, &order).await?;
    farewell_store::lend(&shop, ACCOUNT, 120_000).await?;
    farewell_store::join_campaign(&shop, ACCOUNT, "spring-lottery", SystemTime::now() + DAY)
        .await?;
    farewell_store::grant_entitlement(&shop, ACCOUNT, "student-discount", true).await?;
    farewell_store::credit_points(&shop, OTHER, 70).await?;
    let gift = TransferBelongings {
        account: OTHER.to_owned(),
        to_account: ACCOUNT.to_owned(),
        name: format!("requests/{}", fresh()),
        belongings: vec![Belonging::Points],
        case: format!("cases/{}", fresh()),
        dry_run: false,
    };
    let moved = Shop::new(shop.clone()).transfer_belongings(&gift).await?;
    ensure!(matches!(moved, Transferred::Done { .. }), "{moved:?}");

    let community = farewell_community::open(&town.database("community")).await?;
    farewell_community::sample(&community, ACCOUNT).await?;
    farewell_community::join(&community, ACCOUNT, "night-sky").await?;
    farewell_community::ban(&community, ACCOUNT, "shouting", SystemTime::now() + DAY).await?;

    let cloud = farewell_cloud::open(&town.database("cloud")).await?;
    farewell_cloud::sample(&cloud, &town.path("files"), ACCOUNT).await?;

    town.case(ACCOUNT, &["real-name"], &["identity-document"])?;
    let gift = ["transfer", "--to", ACCOUNT, "--move", "points"];
    town.case(OTHER, &gift, &["identity-document"])?;

    let mut phones = BindingServiceClient::new(town.channel(&town.phones, "caller").await?);
    let binding = Binding {
        device: "devices/p-1".to_owned(),
        account: format!("accounts/{ACCOUNT}"),
        model: "Phone 14".to_owned(),
        serial_number: "SN-0001".to_owned(),
        ..Binding::default()
    };
    phones.bind(bind(binding)).await?;
    let tablet = Binding {
        device: "devices/t-1".to_owned(),
        account: format!("accounts/{OTHER}"),
        model: "Kitchen tablet".to_owned(),
        class: DeviceClass::Home.into(),
        ..Binding::default()
    };
    let tablet = phones.bind(bind(tablet)).await?.into_inner();
    let tablet = tablet.binding.context("a binding")?;
    let share = ShareBindingRequest {
        request_id: fresh(),
        device: tablet.device,
        epoch: tablet.epoch,
        share: Some(Share {
            account: format!("accounts/{ACCOUNT}"),
            role: Role::Member.into(),
        }),
    };
    phones.share_binding(share).await?;
    Ok(())
}

fn bind(binding: Binding) -> BindRequest {
    BindRequest {
        request_id: fresh(),
        binding: Some(binding),
    }
}

/// What everybody can name, whether they hold it or not.
async fn nameable(town: &Town) -> Result<BTreeMap<String, Vec<String>>> {
    let named = [
        (
            "identity",
            farewell_identity::categories(
                &farewell_identity::open(&town.database("identity")).await?,
            )
            .await?,
        ),
        (
            "store",
            farewell_store::categories(&farewell_store::open(&town.database("store")).await?)
                .await?,
        ),
        (
            "community",
            farewell_community::categories(
                &farewell_community::open(&town.database("community")).await?,
            )
            .await?,
        ),
        (
            "cloud",
            farewell_cloud::categories(&farewell_cloud::open(&town.database("cloud")).await?)
                .await?,
        ),
        (
            "support",
            farewell_support::categories(&farewell_support::open(&town.database("support")).await?)
                .await?,
        ),
        ("phones", vec!["bindings".to_owned(), "shares".to_owned()]),
    ];
    Ok(named
        .map(|(name, categories)| (name.to_owned(), categories))
        .into())
}

/// What everybody says to hold, through the coordinator.
async fn inventory(town: &Town) -> Result<Counts> {
    let mut api = DeletionServiceClient::new(town.channel(&town.callers, "caller").await?);
    let request = GetInventoryRequest {
        account: format!("accounts/{ACCOUNT}"),
    };
    let holdings = api.get_inventory(request).await?.into_inner().holdings;
    let mut counts = Counts::new();
    for holding in holdings {
        ensure!(holding.answered, "{} gave no answer", holding.participant);
        let categories = holding.categories.into_iter();
        let held = categories
            .filter(|it| it.count > 0)
            .map(|it| (it.category, it.count));
        counts.insert(holding.participant, held.collect());
    }
    Ok(counts)
}

/// Every file of an archive.
fn unpacked(path: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut archive = zip::ZipArchive::new(File::open(path)?)?;
    let mut files = BTreeMap::new();
    for place in 0..archive.len() {
        let mut file = archive.by_index(place)?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        files.insert(file.name()?.into_owned(), content);
    }
    Ok(files)
}

fn export(town: &Town, out: &str) -> Result<BTreeMap<String, Vec<u8>>> {
    let path = town.path(out);
    let to = path.display().to_string();
    let line = [
        "account",
        "export",
        ACCOUNT,
        "--language",
        "zh",
        "--out",
        &to,
    ];
    town.told("caller", &line, "")?;
    unpacked(&path)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_inventory_counts_is_in_the_archive_or_is_said_to_be_left_out() -> Result<()> {
    let Some(town) = Town::open_whole("1h").await? else {
        return Ok(());
    };
    fill(&town).await?;
    // The custodian holds one of its own.
    export(&town, "first.zip")?;
    let before = inventory(&town).await?;
    for (participant, categories) in nameable(&town).await? {
        let held = before.get(&participant).context("an inventory")?;
        let idle: Vec<_> = categories
            .iter()
            .filter(|it| !held.contains_key(*it))
            .collect();
        ensure!(
            idle.is_empty(),
            "this story gives {participant} none of {idle:?}"
        );
    }

    let files = export(&town, "second.zip")?;
    let after = inventory(&town).await?;
    let manifest: Value = serde_json::from_slice(&files["manifest.json"])?;
    let told = manifest["participants"]
        .as_array()
        .context("participants")?;
    for (participant, held) in &before {
        let told = told
            .iter()
            .find(|it| it["participant"] == participant.as_str());
        let told = told.with_context(|| format!("nothing of {participant}"))?;
        for (category, count) in held {
            if let Some(why) = told["left_out"][category].as_str() {
                ensure!(why::ALL.contains(&why), "{participant}/{category}: {why}");
                // Bytes of documents are; that there are such documents isn't.
                if why != why::FROM_SUPPORT_DESK {
                    ensure!(told["categories"][category].is_null(), "{told}");
                    continue;
                }
            }
            // A letter may have been carried meanwhile.
            let later = after[participant].get(category).unwrap_or(&0);
            let items = told["categories"][category].as_i64();
            ensure!(
                items == Some(*count) || items == Some(*later),
                "{participant} holds {count} of {category}, and the archive has {items:?}: {told}"
            );
        }
    }

    // What a person reads says all of it, in their words.
    let page = std::str::from_utf8(&files["index.html"])?;
    let lines: Vec<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("<li>"))
        .collect();
    let mut expected = 0;
    for held in before.values() {
        expected += held.len();
    }
    ensure!(lines.len() >= expected, "{lines:?}");
    for line in &lines {
        let text = line.trim_end_matches("</li>");
        ensure!(
            !text.contains(|it: char| it.is_ascii_alphabetic()),
            "{text}"
        );
    }

    // The desk's people are nobody else's business, and what was shown to them is not in the file.
    let mut cells = BTreeSet::new();
    for (name, content) in &files {
        ensure!(!holds(content, SECRET), "{name}");
        if name.starts_with("support/") {
            let text = std::str::from_utf8(content)?;
            cells.extend(text.split([',', '"', '\r', '\n']));
        }
    }
    ensure!(
        cells.contains("application/pdf") && cells.contains("EVIDENCE_ADDED"),
        "{cells:?}"
    );
    for person in ["ana", "bo", "chi"] {
        ensure!(!cells.contains(person), "{person}");
    }
    let everything: Vec<u8> = files.into_values().flatten().collect();
    for other in [OTHER, "c-daughter"] {
        ensure!(!holds(&everything, other), "{other}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_frozen_account_the_desk_gives_a_copy_out_and_nobody_else_does() -> Result<()> {
    let Some(town) = Town::open_whole("1h").await? else {
        return Ok(());
    };
    let cloud = farewell_cloud::open(&town.database("cloud")).await?;
    farewell_cloud::sample(&cloud, &town.path("files"), ACCOUNT).await?;
    let identity = farewell_identity::open(&town.database("identity")).await?;
    farewell_identity::register(&identity, ACCOUNT, "lina_in_the_hills").await?;
    let frozen = town.told("caller", &["account", "freeze", ACCOUNT], "")?;
    let frozen = frozen["name"].as_str().context("a name")?;
    wait::until("everybody to have it", async || {
        let seen = town.told("caller", &["account", "change", frozen], "")?;
        Ok((seen["state"] == "DONE").then_some(()))
    })
    .await?;

    let out = town.path("mine.zip").display().to_string();
    let request = fresh();
    let alone = [
        "account",
        "export",
        ACCOUNT,
        "--out",
        &out,
        "--request-id",
        &request,
    ];
    let on = |case: &str| -> Vec<String> {
        let words = [&alone[..], &["--case", case]].concat();
        words.into_iter().map(str::to_owned).collect()
    };
    let refuses = |case: &str, code: i32, word: &str| {
        let words = on(case);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        town.refuses("caller", (&words, ""), code, word)
    };
    town.refuses("caller", (&alone, ""), REFUSED, "ACCOUNT_FROZEN")?;
    let papers = ["identity-document"];
    let case = town.case(ACCOUNT, &["export"], &papers)?;
    refuses(&case, REFUSED, "CASE_NOT_APPROVED")?;
    town.desk_of("bo", &["approve", &case])?;
    refuses(&case, REFUSED, "CASE_NOT_APPROVED")?;
    town.desk_of("chi", &["approve", &case])?;
    let other = town.approved(ACCOUNT, &["real-name"], &papers)?;
    refuses(&other, REFUSED, "CASE_NOT_FOR_THIS")?;
    let neighbour = town.approved(OTHER, &["export"], &papers)?;
    refuses(&neighbour, NOT_FOUND, "CASE_NOT_FOUND")?;

    let words = on(&case);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let given = town.told("caller", &words, "")?;
    assert_eq!(given["state"], "READY");
    let files = unpacked(&town.path("mine.zip"))?;
    ensure!(
        files.contains_key("cloud/contacts.vcf"),
        "{:?}",
        files.keys()
    );
    // A repeat is the same one, and another is not approved by it.
    std::fs::remove_file(town.path("mine.zip"))?;
    let again = town.told("caller", &words, "")?;
    assert_eq!(again["name"], given["name"]);
    assert_eq!(again["sha256"], given["sha256"]);
    std::fs::remove_file(town.path("mine.zip"))?;
    let second = fresh();
    let words = [
        "account",
        "export",
        ACCOUNT,
        "--out",
        &out,
        "--case",
        &case,
        "--request-id",
        &second,
    ];
    town.refuses("caller", (&words, ""), REFUSED, "CASE_USED")?;
    let shown = town.desk_of("bo", &["get", &case])?;
    assert_eq!(shown["used_for"], format!("requests/{request}"));
    Ok(())
}
