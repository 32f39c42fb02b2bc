//! Reads that both databases understand to the letter.

/// A [`crate::columns::ReceiptRow`] for each receipt of a deletion.
pub(crate) const RECEIPTS: &str = "
SELECT deletion, round, leg, fingerprint, evidence, settled_at
FROM receipt WHERE deletion = $1 ORDER BY round, leg";

/// A [`crate::columns::HistoryRow`] for each entry of a deletion after a revision.
pub(crate) const HISTORY: &str = "
SELECT revision, at, state, note, decision
FROM history WHERE deletion = $1 AND revision > $2 ORDER BY revision LIMIT $3";

/// A [`crate::columns::ReplayRow`] for each that is kept of a deletion.
pub(crate) const REPLAYS: &str = "SELECT * FROM replay WHERE deletion = $1";

/// A [`crate::columns::AddendumRow`] for each of a deletion.
pub(crate) const ADDENDA: &str = "SELECT * FROM addendum WHERE deletion = $1";

/// What a request was, and the deletion it was about.
pub(crate) const SEEN: &str = "SELECT digest, deletion FROM request WHERE id = $1";

/// An account, as text.
pub(crate) const ACCOUNT: &str = "SELECT doc FROM account WHERE account = $1";

/// Accounts after one, as text.
pub(crate) const ACCOUNTS: &str =
    "SELECT doc FROM account WHERE account > $1 ORDER BY account LIMIT $2";

/// Policies by version, as text.
pub(crate) const POLICIES: &str = "SELECT version, doc FROM policy ORDER BY version";

/// Deletions in each state.
pub(crate) const STATES: &str =
    "SELECT state, count(*) FROM deletion GROUP BY state ORDER BY state";

/// When the oldest began that has not come to its end. What is purged has, whatever law keeps of it for years.
pub(crate) const OLDEST: &str =
    "SELECT min(requested_at) FROM deletion WHERE attention_at IS NOT NULL AND state <> 5";

/// A [`crate::columns::CoordinatorRow`] for each.
pub(crate) const COORDINATORS: &str = "
SELECT c.holder, c.lease_until, (SELECT count(*) FROM slot s WHERE s.holder = c.holder) AS slots
FROM coordinator c ORDER BY c.holder";

/// How much nobody was told yet.
pub(crate) const OUTBOX: &str = "SELECT count(*) FROM outbox";

/// A [`crate::columns::ReceiverRow`] for each: who is behind, and how far.
pub(crate) const RECEIVERS: &str = "
SELECT receiver, sum(CASE WHEN refused IS NULL THEN 1 ELSE 0 END) AS waiting,
       min(CASE WHEN refused IS NULL THEN at END) AS oldest, count(refused) AS refused
FROM event GROUP BY receiver ORDER BY receiver";
