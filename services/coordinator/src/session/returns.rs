//! Devices that were away and have ended after all. Each is judged by what the ledger holds: whose deletion it is and how
//! long ago it ended makes no difference, and nothing on the board is touched.
//!
//! Beside the session's reading, so that no report waits for it. What can't be made durable now gets no answer, and the
//! agent tells it again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use farewell_core::addendum::{self, Addendum, DeviceReturn, Verdict};
use farewell_core::receipt::Kept;
use farewell_core::{CommandName, Deletion, DeletionId, ParticipantId, Plan, Reason};
use farewell_proto::participant::v1::connect_response::Message as Down;
use farewell_proto::participant::v1::{self as wire, ConnectResponse};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Status;

use crate::board::Frame;
use crate::center::Center;
use crate::error;
use crate::wire::device;

/// Returns in one frame: each may be of a deletion of its own, which is read.
const RETURNS_MAX: usize = 256;
/// Frames of one session that are judged at a time. One more gets no answer.
const FRAMES_MAX: usize = 4;
/// How long a frame may take. Agents wait 10 s for the answer.
const JUDGE_MAX: Duration = Duration::from_secs(8);

/// Frames of one session that are being judged. They end with it: nobody would hear the answers.
#[derive(Default)]
pub(super) struct Returns {
    judging: JoinSet<()>,
}

impl Returns {
    /// Begins to judge a frame. Errors: its size.
    pub(super) fn take(
        &mut self,
        center: &Arc<Center>,
        participant: &ParticipantId,
        words: &mpsc::Sender<Frame>,
        frame: wire::DeviceReturns,
    ) -> Result<(), Status> {
        if !(1..=RETURNS_MAX).contains(&frame.returns.len()) {
            return Err(error::invalid("returns.returns", "must be 1 to 256"));
        }
        while self.judging.try_join_next().is_some() {}
        if self.judging.len() >= FRAMES_MAX {
            tracing::debug!(%participant, returns = frame.returns.len(), "too many returns at a time");
            return Ok(());
        }
        let (center, participant) = (Arc::clone(center), participant.clone());
        let words = words.clone();
        self.judging
            .spawn(async move { answer(&center, &participant, &words, frame).await });
        Ok(())
    }
}

async fn answer(
    center: &Center,
    participant: &ParticipantId,
    words: &mpsc::Sender<Frame>,
    frame: wire::DeviceReturns,
) {
    let (returns_id, told) = (frame.id, frame.returns.len());
    let kept = match timeout(JUDGE_MAX, keep(center, participant, frame.returns)).await {
        Ok(Ok(kept)) => kept,
        Ok(Err(error)) => {
            tracing::warn!(%participant, %error, returns = told, "returns of devices are not kept yet");
            return;
        }
        Err(_) => {
            tracing::warn!(%participant, returns = told, "returns of devices took too long");
            return;
        }
    };
    let refused = kept.iter().filter(|kept| !kept.refused.is_empty()).count();
    tracing::info!(%participant, kept = kept.len() - refused, refused, returns = told, "devices returned");
    let answer = wire::DeviceReturnsKept { returns_id, kept };
    let frame = ConnectResponse {
        message: Some(Down::ReturnsKept(answer)),
    };
    // Full: the agent tells it again.
    let _ = words.try_send(Ok(frame));
}

/// Judges returns and makes the good ones durable. Answers with what is kept or refused for good.
async fn keep(
    center: &Center,
    participant: &ParticipantId,
    returns: Vec<wire::DeviceReturn>,
) -> Result<Vec<wire::DeviceReturnKept>, farewell_ledger::Error> {
    let read: Vec<_> = returns.iter().map(device::returned).collect();
    let ids: BTreeSet<DeletionId> = read
        .iter()
        .flatten()
        .map(|(name, _)| name.deletion)
        .collect();
    let files = files(center, ids).await?;
    let mut addenda: Vec<Addendum> = Vec::with_capacity(returns.len());
    let mut kept = Vec::with_capacity(returns.len());
    for (told, read) in returns.into_iter().zip(read) {
        let verdict = read.and_then(|(name, read)| judge(participant, &name, &files, &read));
        let refused = match verdict {
            Ok(Some(Verdict::Keep(addendum))) => {
                addenda.push(addendum);
                ""
            }
            Ok(Some(Verdict::Early) | None) => continue,
            Err(reason) => {
                center.count_refusal(participant.as_str(), reason);
                reason.word()
            }
        };
        kept.push(wire::DeviceReturnKept {
            command: told.command,
            device: told.device,
            binding_epoch: told.binding_epoch,
            refused: refused.to_owned(),
        });
    }
    if !addenda.is_empty() {
        center.ledger.amend(addenda).await?;
    }
    Ok(kept)
}

/// What the ledger holds of one deletion.
struct File {
    deletion: Deletion,
    /// None: another coordinator adopted it, and it isn't here yet.
    plan: Option<Arc<Plan>>,
    receipts: Vec<Kept>,
}

async fn files(
    center: &Center,
    ids: BTreeSet<DeletionId>,
) -> Result<HashMap<DeletionId, File>, farewell_ledger::Error> {
    let ids: Vec<DeletionId> = ids.into_iter().collect();
    let stored = center.ledger.get(&ids).await?;
    let unknown = |version| center.plans.get(version).is_none();
    if stored
        .iter()
        .any(|owed| unknown(owed.deletion.policy_version))
    {
        center.plans.reload(&*center.ledger).await?;
    }
    let mut files = HashMap::with_capacity(stored.len());
    for owed in stored {
        let deletion = owed.deletion;
        let file = File {
            // Read after the deletion: what is done has its receipt among these.
            receipts: center.ledger.receipts(deletion.id).await?,
            plan: center.plans.get(deletion.policy_version),
            deletion,
        };
        files.insert(file.deletion.id, file);
    }
    Ok(files)
}

/// `None`: this coordinator can't say.
fn judge(
    participant: &ParticipantId,
    name: &CommandName,
    files: &HashMap<DeletionId, File>,
    told: &DeviceReturn,
) -> Result<Option<Verdict>, Reason> {
    let file = files.get(&name.deletion).ok_or(Reason::UnknownCommand)?;
    let Some(plan) = &file.plan else {
        return Ok(None);
    };
    addendum::judge(
        participant,
        name,
        &file.deletion,
        plan,
        &file.receipts,
        told,
    )
    .map(Some)
}
