//! Where an account lives is told as identity knows it, and never guessed.

use anyhow::{Context as _, Result, bail};
use farewell_coordinator::{Cell, Region};
use farewell_proto::participant::v1::connect_request::Message as Up;
use farewell_proto::participant::v1::connect_response::Message as Down;
use farewell_proto::participant::v1::home_answer::Answer as Told;
use farewell_proto::participant::v1::{
    DescribeAccountReply, EligibilityReply, HomeElsewhere, HomeHere, HomeQuestion, Reply, reply,
};
use farewell_runtime::server::Security;
use farewell_tests::coordinator::{Coordinator, config};
use farewell_tests::policy;
use farewell_tests::scripted::Scripted;

/// Asks where an account is at home.
async fn home(stream: &mut Scripted, account: &str) -> Result<Told> {
    let question = HomeQuestion {
        id: 7,
        account: account.to_owned(),
    };
    stream.say(Up::Home(question)).await;
    loop {
        match stream.hear().await? {
            Some(Down::Home(answer)) if answer.question_id == 7 => {
                return answer.answer.context("an answer");
            }
            Some(Down::Query(_)) => {}
            other => bail!("expected a home: {other:?}"),
        }
    }
}

fn unsaid(word: &str) -> Told {
    Told::Refused(word.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_an_account_lives_is_told_as_identity_knows_it_and_never_guessed() -> Result<()> {
    const ADDRESS: &str = "https://eu.example:7400";
    let (here, plain) = (Told::Here(HomeHere::default()), Security::PlainLoopback);
    let plan = || policy::straight(&[&["cloud"], &["identity"]]);
    // In one region a freeze by security is asked for alone, and nobody freezes where there is no identity.
    let away = || unsaid("IDENTITY_UNAVAILABLE");
    let without = policy::straight(&[&["cloud"]]);
    for (plan, expected) in [(without, here.clone()), (plan(), away())] {
        let only = Coordinator::start(plan, "memory:").await?;
        let (mut cloud, welcome) = Scripted::welcome(&only.participants, &plain, "cloud").await?;
        assert_eq!(welcome.region, "");
        assert_eq!(home(&mut cloud, "accounts/emil").await?, expected);
        only.stop().await?;
    }

    let mut config = config(plan(), "memory:", &plain);
    let eu = Cell {
        address: ADDRESS.to_owned(),
        forward: None,
    };
    config.region = Region {
        name: "cn".to_owned(),
        cells: [("eu".to_owned(), eu)].into(),
    };
    let several = Coordinator::start_with(config).await?;
    let (mut cloud, welcome) = Scripted::welcome(&several.participants, &plain, "cloud").await?;
    assert_eq!(welcome.region, "cn");
    for nobody in ["", "emil", "accounts/", "accounts/e mil"] {
        let answer = home(&mut cloud, nobody).await?;
        assert_eq!(answer, unsaid("QUESTION_MALFORMED"), "{nobody}");
    }
    assert_eq!(home(&mut cloud, "accounts/emil").await?, away());

    let mut identity = Scripted::join(&several.participants, "identity", 1).await?;
    let elsewhere = |region: &str, address: &str| {
        Told::Elsewhere(HomeElsewhere {
            region: region.to_owned(),
            address: address.to_owned(),
        })
    };
    let described = |known, home_region: &str| {
        Some(reply::Answer::DescribeAccount(DescribeAccountReply {
            known,
            home_region: home_region.to_owned(),
            ..Default::default()
        }))
    };
    for (said, expected) in [
        (described(true, ""), here.clone()),
        (described(false, ""), here.clone()),
        (
            Some(reply::Answer::DescribeAccount(DescribeAccountReply {
                known: true,
                frozen_by_security: true,
                ..Default::default()
            })),
            Told::Here(HomeHere {
                frozen_by_security: true,
            }),
        ),
        (described(false, "cn"), here.clone()),
        (described(false, "eu"), elsewhere("eu", ADDRESS)),
        // A region that the settings don't name is another one all the same.
        (described(false, "mars"), elsewhere("mars", "")),
        (
            Some(reply::Answer::Unanswerable("DATABASE_AWAY".to_owned())),
            away(),
        ),
        (
            Some(reply::Answer::Eligibility(EligibilityReply::default())),
            away(),
        ),
        (None, away()),
    ] {
        let answering = async {
            let query = identity.query().await?;
            assert_eq!(query.account, "accounts/emil");
            if let Some(answer) = said {
                let query_id = query.id;
                let answer = Some(answer);
                identity.reply(Reply { query_id, answer }).await;
            }
            anyhow::Ok(())
        };
        let (told, answered) = tokio::join!(home(&mut cloud, "accounts/emil"), answering);
        answered?;
        assert_eq!(told?, expected);
    }
    several.stop().await
}
