//! A believable account for the demo and the tests.

use std::time::{Duration, SystemTime};

use farewell_kit::store::Store;
use farewell_kit::{CodeChannel, seal};

use crate::credential::Hasher;
use crate::{account, contact, credential, grant, login, realname};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Gives the account a name, the phone number (changed long ago), mail address and password, two sessions, two revoked grants and a real-name
/// record: much to erase, and nothing that stands in the way. Repeating it changes nothing.
///
/// Errors: the account is sealed or erased; the database is away.
pub async fn sample(
    store: &Store,
    account: &str,
    phone: &str,
    mail: &str,
    password: &str,
) -> anyhow::Result<()> {
    sample_with(store, &Hasher::default(), account, phone, mail, password).await
}

pub(crate) async fn sample_with(
    store: &Store,
    hasher: &Hasher,
    account: &str,
    phone: &str,
    mail: &str,
    password: &str,
) -> anyhow::Result<()> {
    let mark = seal::mark(account);
    let now = SystemTime::now();
    let hash = hasher.hash(password).await?;
    let mut tx = store.pool().begin().await?;
    seal::admit(&mut tx, account).await?;
    account::insert(&mut tx, account, "lina_in_the_hills", now - DAY * 1_500).await?;
    credential::insert(&mut tx, account, &hash, now - DAY * 400).await?;
    contact::put(&mut tx, account, CodeChannel::Sms, phone).await?;
    contact::put(&mut tx, account, CodeChannel::Email, mail).await?;
    contact::changed(&mut tx, account, CodeChannel::Sms, now - DAY * 700).await?;
    for (number, agent) in ["Phone 14", "Browser on a laptop"].into_iter().enumerate() {
        login::insert(
            &mut tx,
            &format!("{mark}-{number}"),
            account,
            agent,
            now - DAY * 3,
        )
        .await?;
    }
    for app in ["Runner's Diary", "Recipe Box"] {
        grant::insert_revoked(&mut tx, account, app, now - DAY * 90).await?;
    }
    realname::put(&mut tx, account, "Li Na", "330106199001010000").await?;
    Ok(tx.commit().await?)
}
