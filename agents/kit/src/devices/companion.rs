//! Which phone may carry the words of a wearable.

use sqlx::AnyConnection;

use crate::participant::Fault;

/// Whether `phone` may speak for `device`: it is the companion of the current binding or, if there is none any more, of
/// the last one that had an order. A former owner's phone hears nothing of a device that was bound anew.
pub(super) async fn is_companion(
    tx: &mut AnyConnection,
    phone: &str,
    device: &str,
) -> Result<bool, Fault> {
    let current: Option<(String,)> = sqlx::query_as("SELECT via FROM bindings WHERE device = $1")
        .bind(device)
        .fetch_optional(&mut *tx)
        .await?;
    if let Some((via,)) = current {
        return Ok(via == phone);
    }
    let last: Option<(String,)> = sqlx::query_as(
        "SELECT via FROM orders WHERE device = $1 ORDER BY epoch DESC, queued_at DESC LIMIT 1",
    )
    .bind(device)
    .fetch_optional(&mut *tx)
    .await?;
    Ok(last.is_some_and(|(via,)| via == phone))
}
