//! A participant that does what it is asked, and remembers it; its manners can be changed while it runs.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use farewell_proto::participant::v1::connect_response::Message as Down;
use farewell_proto::participant::v1::query::Question;
use farewell_proto::participant::v1::reply::Answer;
use farewell_proto::participant::v1::{
    CheckProofReply, Command, EligibilityBlocker, EligibilityReply, ExportPartReply, HeldCategory,
    InventoryReply, Query, Reply, SendCodeReply, Verb,
};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::scripted::{Scripted, honest, report};

/// Commands that it takes at a time.
const WINDOW_COMMANDS: u32 = 1_024;

/// How it behaves, and what it has heard.
#[derive(Debug, Default)]
pub struct Manners {
    /// What it names when it is asked.
    pub blockers: Vec<EligibilityBlocker>,
    /// It hears questions and says nothing.
    pub mute: bool,
    /// It says that it can't answer.
    pub unable: bool,
    /// `accounts/{account}` of the one about which it says that.
    pub unable_about: Option<String>,
    /// It answers every question with this instead.
    pub beside_the_point: Option<Answer>,
    /// What becomes of the next codes, in order.
    pub codes: VecDeque<SendCodeReply>,
    /// Whether the next proofs hold, in order.
    pub proofs: VecDeque<CheckProofReply>,
    /// How long a command takes.
    pub slow: Duration,
    /// It hears commands of this verb and does nothing about them; they come again when their lease is over.
    pub held_back: Option<Verb>,
    /// Commands heard, in order, repeats included.
    pub heard: Vec<Command>,
    /// Questions heard.
    pub asked: Vec<Query>,
}

/// A participant on a stream of its own. It leaves when it is dropped.
pub struct Honest {
    manners: Arc<Mutex<Manners>>,
    task: JoinHandle<()>,
}

impl Honest {
    /// Connects and serves.
    pub async fn join(address: &str, name: &str) -> Result<Self> {
        Self::join_with(address, name, Manners::default()).await
    }

    /// Connects and serves, with these manners.
    pub async fn join_with(address: &str, name: &str, manners: Manners) -> Result<Self> {
        let stream = Scripted::join(address, name, WINDOW_COMMANDS).await?;
        let manners = Arc::new(Mutex::new(manners));
        let task = tokio::spawn(serve(stream, Arc::clone(&manners)));
        Ok(Self { manners, task })
    }

    /// Each of these.
    pub async fn join_all(address: &str, names: &[&str]) -> Result<Vec<Self>> {
        let mut all = Vec::with_capacity(names.len());
        for name in names {
            all.push(Self::join(address, name).await?);
        }
        Ok(all)
    }

    /// Its manners, to look at or to change.
    pub fn manners(&self) -> MutexGuard<'_, Manners> {
        self.manners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it was told to do for this account, once each, in order.
    pub fn verbs(&self, account: &str) -> Vec<Verb> {
        let account = format!("accounts/{account}");
        let manners = self.manners();
        let mut verbs: Vec<_> = manners
            .heard
            .iter()
            .filter(|command| command.account == account)
            .map(Command::verb)
            .collect();
        verbs.dedup();
        verbs
    }
}

impl Drop for Honest {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: Scripted, manners: Arc<Mutex<Manners>>) {
    while let Ok(Some(message)) = stream.next().await {
        match message {
            Down::Commands(frame) => {
                let (slow, held_back) = {
                    let mut manners = manners.lock().unwrap_or_else(PoisonError::into_inner);
                    manners.heard.extend(frame.commands.iter().cloned());
                    (manners.slow, manners.held_back)
                };
                sleep(slow).await;
                let reports = frame
                    .commands
                    .iter()
                    .filter(|command| Some(command.verb()) != held_back)
                    .map(|command| report(command, honest(command)));
                stream.report(reports.collect()).await;
            }
            Down::Query(query) => {
                let reply = reply(
                    &query,
                    &mut manners.lock().unwrap_or_else(PoisonError::into_inner),
                );
                if let Some(reply) = reply {
                    stream.reply(reply).await;
                }
            }
            Down::Welcome(_)
            | Down::Refusals(_)
            | Down::Time(_)
            | Down::ReturnsKept(_)
            | Down::ExportPart(_)
            | Down::Home(_) => {}
        }
    }
}

fn reply(query: &Query, manners: &mut Manners) -> Option<Reply> {
    manners.asked.push(query.clone());
    if manners.mute {
        return None;
    }
    let of_this = manners.unable_about.as_ref() == Some(&query.account);
    let answer = if manners.unable || of_this {
        Answer::Unanswerable("DATABASE_AWAY".to_owned())
    } else if let Some(other) = &manners.beside_the_point {
        other.clone()
    } else {
        match query.question.as_ref()? {
            Question::Eligibility(_) => Answer::Eligibility(EligibilityReply {
                blockers: manners.blockers.clone(),
            }),
            Question::Inventory(_) => Answer::Inventory(InventoryReply {
                categories: vec![HeldCategory {
                    category: "photos".to_owned(),
                    count: 3,
                    size_bytes: 4_096,
                }],
                devices: Vec::new(),
            }),
            Question::SendCode(_) => Answer::SendCode(manners.codes.pop_front()?),
            Question::CheckProof(_) => Answer::CheckProof(manners.proofs.pop_front()?),
            // It holds nothing that anybody would take along.
            Question::ExportPart(_) => Answer::ExportPart(ExportPartReply::default()),
            Question::CheckIdentifier(_)
            | Question::ReleaseIdentifier(_)
            | Question::Quarantine(_)
            | Question::DescribeDevice(_)
            | Question::DescribeAccount(_)
            | Question::SetStanding(_)
            | Question::ClearRealName(_)
            | Question::TransferBelongings(_)
            | Question::StopPersonalization(_)
            | Question::StartExport(_)
            | Question::GetExport(_)
            | Question::CancelExport(_)
            | Question::ReadExport(_)
            | Question::UnbindDevice(_)
            | Question::DeviceUnbinding(_)
            | Question::CheckCase(_)
            | Question::Notify(_)
            | Question::Letters(_)
            | Question::Desk(_)
            | Question::Possession(_) => Answer::Unanswerable("UNSUPPORTED".to_owned()),
        }
    };
    Some(Reply {
        query_id: query.id,
        answer: Some(answer),
    })
}
