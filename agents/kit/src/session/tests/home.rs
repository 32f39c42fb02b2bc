use farewell_proto::participant::v1::home_answer::Answer as Told;
use farewell_proto::participant::v1::{HomeAnswer, HomeElsewhere, HomeHere, HomeQuestion};
use tokio::task::JoinHandle;

use super::*;
use crate::home::{Elsewhere, NotHere};

const EMIL: &str = "emil";

fn ask(session: &Session) -> JoinHandle<Result<(), NotHere>> {
    let session = session.clone();
    tokio::spawn(async move { session.at_home(EMIL).await })
}

/// The next message, which asks for a home.
async fn question(stream: &mut Stream) -> HomeQuestion {
    match stream.next().await {
        Some(Up::Home(question)) => question,
        other => panic!("expected a question, got {other:?}"),
    }
}

async fn tell(stream: &Stream, question_id: u64, answer: Option<Told>) {
    let answer = HomeAnswer {
        question_id,
        answer,
    };
    stream.say(Down::Home(answer)).await;
}

fn refused(word: &str) -> Option<Told> {
    Some(Told::Refused(word.to_owned()))
}

fn unknown(word: &str) -> Result<(), NotHere> {
    Err(NotHere::Unknown(word.to_owned()))
}

#[tokio::test]
async fn where_there_is_only_one_region_nobody_is_asked() {
    let mut coordinator = Coordinator::start().await;
    let (session, _shutdown) = session(&[&coordinator], forgetful());
    // Who has just started waits for the first welcome, as it can't know yet.
    let asking = ask(&session);
    let mut stream = coordinator.stream(WINDOW).await;
    assert_eq!(asking.await.unwrap(), Ok(()));
    assert!(stream.is_silent().await);
    coordinator.kill();
    drop(stream);
    opened(&session, 0).await;
    assert_eq!(session.at_home(EMIL).await, Ok(()), "it is known by now");
}

#[tokio::test]
async fn an_account_is_here_or_elsewhere_as_a_coordinator_says() {
    let mut coordinator = Coordinator::start().await;
    let (session, _shutdown) = session(&[&coordinator], forgetful());
    let mut stream = coordinator.stream_of(WINDOW, "cn").await;
    opened(&session, 1).await;
    let eu = HomeElsewhere {
        region: "eu".to_owned(),
        address: "https://eu.example:7400".to_owned(),
    };
    let elsewhere = NotHere::Elsewhere(Elsewhere {
        region: eu.region.clone(),
        address: eu.address.clone(),
    });
    for (said, expected) in [
        (Some(Told::Here(HomeHere::default())), Ok(())),
        (Some(Told::Elsewhere(eu)), Err(elsewhere)),
        (
            refused("IDENTITY_UNAVAILABLE"),
            unknown("IDENTITY_UNAVAILABLE"),
        ),
        (None, unknown("ANSWER_MALFORMED")),
    ] {
        let asking = ask(&session);
        let question = question(&mut stream).await;
        assert_eq!(question.account, format!("accounts/{EMIL}"));
        // Of what was not asked nothing is believed.
        tell(
            &stream,
            question.id + 1,
            Some(Told::Here(HomeHere::default())),
        )
        .await;
        tell(&stream, question.id, said).await;
        assert_eq!(asking.await.unwrap(), expected);
    }
}

#[tokio::test]
async fn whether_security_froze_an_account_is_asked_where_there_is_only_one_region_too() {
    let mut coordinator = Coordinator::start().await;
    let (session, _shutdown) = session(&[&coordinator], forgetful());
    let mut stream = coordinator.stream(WINDOW).await;
    opened(&session, 1).await;
    let here = |frozen_by_security| Some(Told::Here(HomeHere { frozen_by_security }));
    for (said, expected) in [
        (here(true), Ok(true)),
        (here(false), Ok(false)),
        (
            refused("IDENTITY_UNAVAILABLE"),
            Err(NotHere::Unknown("IDENTITY_UNAVAILABLE".to_owned())),
        ),
    ] {
        let asking = tokio::spawn({
            let session = session.clone();
            async move { session.is_frozen_out(EMIL).await }
        });
        let question = question(&mut stream).await;
        assert_eq!(question.account, format!("accounts/{EMIL}"));
        tell(&stream, question.id, said).await;
        assert_eq!(asking.await.unwrap(), expected);
    }
    coordinator.kill();
    drop(stream);
    opened(&session, 0).await;
    let nobody = NotHere::Unknown("NO_COORDINATOR".to_owned());
    assert_eq!(session.is_frozen_out(EMIL).await, Err(nobody));
}

#[tokio::test]
async fn who_gives_no_answer_is_no_here_and_another_coordinator_is_asked() {
    let (mut one, mut other) = (Coordinator::start().await, Coordinator::start().await);
    let (session, _shutdown) = session(&[&one, &other], forgetful());
    let mut first = one.stream_of(WINDOW, "cn").await;
    let mut second = other.stream_of(WINDOW, "cn").await;
    opened(&session, 2).await;

    let asking = ask(&session);
    let asked = question(&mut first).await;
    tell(&first, asked.id, refused("IDENTITY_UNAVAILABLE")).await;
    let asked = question(&mut second).await;
    tell(&second, asked.id, Some(Told::Here(HomeHere::default()))).await;
    assert_eq!(asking.await.unwrap(), Ok(()));

    // One that says nothing at all, and none.
    one.kill();
    drop(first);
    opened(&session, 1).await;
    let asking = ask(&session);
    question(&mut second).await;
    assert_eq!(asking.await.unwrap(), unknown("NO_ANSWER"));
    other.kill();
    drop(second);
    opened(&session, 0).await;
    assert_eq!(session.at_home(EMIL).await, unknown("NO_COORDINATOR"));
}

#[tokio::test]
async fn before_the_first_welcome_nobody_knows_how_many_regions_there_are() {
    let gone = Coordinator::start().await;
    let (session, _shutdown) = session(&[&gone], forgetful());
    gone.kill();
    assert_eq!(session.at_home(EMIL).await, unknown("NO_COORDINATOR"));
}
