//! A believable account in every service's database, for the demo, for tests and for trying things out.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::builder::NonEmptyStringValueParser;
use serde_json::json;

use crate::failure::Usage;
use crate::output::{Output, Rows};

/// `farewell sample`: writes into the databases themselves, as the services' own users would have over the years.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The account's id
    #[arg(long, value_parser = NonEmptyStringValueParser::new())]
    pub account: String,
    #[command(flatten)]
    pub places: Places,
    #[command(flatten)]
    pub owner: Owner,
}

/// Whose databases. One that isn't named is left alone.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Places {
    /// Identity's database: sqlite:PATH or postgres://…
    #[arg(long, value_name = "URL")]
    pub identity: Option<String>,
    /// The cloud's database
    #[arg(long, value_name = "URL", requires = "files")]
    pub cloud: Option<String>,
    /// The cloud's folder of photos
    #[arg(long, value_name = "DIR")]
    pub files: Option<PathBuf>,
    /// The store's database
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// The community's database
    #[arg(long, value_name = "URL")]
    pub community: Option<String>,
}

/// How the account's owner is reached. Nobody's: the numbers are reserved for examples.
#[derive(Clone, Debug, clap::Args)]
pub struct Owner {
    /// Where text messages go
    #[arg(long, default_value = "+86 138 0000 0000")]
    pub phone: String,
    /// Where mail goes
    #[arg(long, default_value = "li.na@example.com")]
    pub mail: String,
    /// The account's password
    #[arg(long, default_value = "a farewell to examples")]
    pub password: String,
}

impl Default for Owner {
    fn default() -> Self {
        Self {
            phone: "+86 138 0000 0000".to_owned(),
            mail: "li.na@example.com".to_owned(),
            password: "a farewell to examples".to_owned(),
        }
    }
}

/// Fills the databases and says which.
///
/// Errors: no database; one that can't be opened; an account that is sealed or erased.
pub async fn run(args: Args, output: Output) -> anyhow::Result<()> {
    let filled = fill(&args.places, &args.account, &args.owner).await?;
    if filled.is_empty() {
        let what = "name a database to fill: --identity, --cloud with --files, --store or --community, as their settings do";
        return Err(Usage(what.to_owned()).into());
    }
    let mut rows = Rows::new("", &["filled"]);
    for service in &filled {
        rows.push([(*service).to_owned()]);
    }
    output.write(&json!({"filled": filled}), &[rows])
}

/// Fills the databases that `places` names. Repeating it changes nothing.
///
/// Errors: a database that can't be opened; an account that is sealed or erased.
pub async fn fill(
    places: &Places,
    account: &str,
    owner: &Owner,
) -> anyhow::Result<Vec<&'static str>> {
    let mut filled = Vec::new();
    if let Some(url) = &places.identity {
        let store = farewell_identity::open(url).await.context("identity")?;
        let Owner {
            phone,
            mail,
            password,
        } = owner;
        farewell_identity::sample(&store, account, phone, mail, password)
            .await
            .context("identity")?;
        store.pool().close().await;
        filled.push("identity");
    }
    if let (Some(url), Some(files)) = (&places.cloud, &places.files) {
        let store = farewell_cloud::open(url).await.context("cloud")?;
        std::fs::create_dir_all(files).with_context(|| format!("making {}", files.display()))?;
        farewell_cloud::sample(&store, files, account)
            .await
            .context("cloud")?;
        store.pool().close().await;
        filled.push("cloud");
    }
    if let Some(url) = &places.store {
        let store = farewell_store::open(url).await.context("store")?;
        farewell_store::sample(&store, account)
            .await
            .context("store")?;
        store.pool().close().await;
        filled.push("store");
    }
    if let Some(url) = &places.community {
        let store = farewell_community::open(url).await.context("community")?;
        farewell_community::sample(&store, account)
            .await
            .context("community")?;
        store.pool().close().await;
        filled.push("community");
    }
    Ok(filled)
}
