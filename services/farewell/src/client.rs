//! Dialling a coordinator from the command line.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use farewell_proto::account::v1::account_service_client::AccountServiceClient;
use farewell_proto::deletion::v1::deletion_service_client::DeletionServiceClient;
use farewell_proto::identifier::v1::identifier_service_client::IdentifierServiceClient;
use farewell_proto::operator::v1::operator_service_client::OperatorServiceClient;
use farewell_proto::support::v1::support_service_client::SupportServiceClient;
use farewell_runtime::client::endpoint;
use farewell_runtime::config::Human;
use farewell_runtime::server::{MESSAGE_BYTES_MAX, Security};
use farewell_runtime::tls::Credentials;
use tonic::transport::Channel;

use crate::failure::Usage;
use crate::language::{self, Language};

/// Where callers dial by default.
const CALLERS: &str = "127.0.0.1:7400";
/// Where operators dial by default.
const OPERATORS: &str = "127.0.0.1:7402";
/// Where the support desk dials by default.
const DESK: &str = "127.0.0.1:7420";

/// How the coordinator is reached.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// host:port of the coordinator [default: 127.0.0.1:7400 for deletions, 127.0.0.1:7402 for operators, 127.0.0.1:7420 for the support desk]
    #[arg(long, env = "FAREWELL_ENDPOINT", global = true)]
    pub endpoint: Option<String>,
    /// Folder with ca.pem, NAME.pem and NAME.key
    #[arg(long, env = "FAREWELL_TLS_DIR", global = true, value_name = "DIR")]
    pub tls_dir: Option<PathBuf>,
    /// Which certificate of the folder to show [default: caller for deletions, operator for operators, desk for the support desk]
    #[arg(long, env = "FAREWELL_TLS_NAME", global = true, value_name = "NAME")]
    pub tls_name: Option<String>,
    /// Plain text, to this machine only
    #[arg(long, global = true, conflicts_with = "tls_dir")]
    pub plain: bool,
    /// How long to wait for an answer
    #[arg(long, global = true, default_value = "30s", value_name = "DURATION")]
    pub timeout: Human,
    /// Language of sentences, for instance zh-CN [default: that of LC_ALL, LC_MESSAGES or LANG]
    #[arg(long, global = true, value_name = "LANGUAGE", value_parser = language::parse)]
    pub language: Option<Language>,
}

/// A client of the callers' API.
pub type Deletions = DeletionServiceClient<Channel>;
/// A client of the callers' API for accounts.
pub type Accounts = AccountServiceClient<Channel>;
/// A client of the operators' API.
pub type Identifiers = IdentifierServiceClient<Channel>;
type Operators = OperatorServiceClient<Channel>;
/// A client of the support desk's API.
pub type Desk = SupportServiceClient<Channel>;

impl Connection {
    /// As a caller.
    ///
    /// Errors: no certificate, or nobody there.
    pub async fn deletions(&self) -> anyhow::Result<Deletions> {
        let security = self.security("caller")?;
        deletions(self.endpoint.as_deref().unwrap_or(CALLERS), &security).await
    }

    /// As a caller, for what is asked of an account besides deleting it.
    ///
    /// Errors: no certificate, or nobody there.
    pub async fn accounts(&self) -> anyhow::Result<Accounts> {
        let security = self.security("caller")?;
        let address = self.endpoint.as_deref().unwrap_or(CALLERS);
        Ok(AccountServiceClient::new(dial(address, &security).await?)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// As a caller, for what may be given to a new account.
    ///
    /// Errors: no certificate, or nobody there.
    pub async fn identifiers(&self) -> anyhow::Result<Identifiers> {
        let security = self.security("caller")?;
        let address = self.endpoint.as_deref().unwrap_or(CALLERS);
        Ok(IdentifierServiceClient::new(
            dial(address, &security).await?,
        ))
    }

    /// As an operator.
    ///
    /// Errors: no certificate, or nobody there.
    pub async fn operators(&self) -> anyhow::Result<Operators> {
        let security = self.security("operator")?;
        operators(self.endpoint.as_deref().unwrap_or(OPERATORS), &security).await
    }

    /// As somebody of the support desk.
    ///
    /// Errors: no certificate, or nobody there.
    pub async fn desk(&self) -> anyhow::Result<Desk> {
        let security = self.security("desk")?;
        desk(self.endpoint.as_deref().unwrap_or(DESK), &security).await
    }

    /// A request with the deadline and the language that were asked for.
    pub fn request<T>(&self, message: T) -> tonic::Request<T> {
        let request = farewell_runtime::client::request(message, self.timeout.get());
        self.in_language(request)
    }

    /// A request without a deadline, for what goes on for weeks, or for as long as a slow line takes.
    pub fn endless<T>(&self, message: T) -> tonic::Request<T> {
        self.in_language(tonic::Request::new(message))
    }

    fn in_language<T>(&self, mut request: tonic::Request<T>) -> tonic::Request<T> {
        if let Some(language) = self.language.clone().or_else(Language::of_environment) {
            language.ask(&mut request);
        }
        request
    }

    /// How long an answer is waited for.
    pub fn patience(&self) -> Duration {
        self.timeout.get()
    }

    fn security(&self, name: &str) -> anyhow::Result<Security> {
        match (&self.tls_dir, self.plain) {
            (Some(dir), _) => {
                let name = self.tls_name.as_deref().unwrap_or(name);
                let credentials = Credentials::from_dir(dir, name)
                    .map_err(|error| Usage(format!("{:#}", anyhow::Error::new(error))))?;
                Ok(Security::Mutual(credentials))
            }
            (None, true) => Ok(Security::PlainLoopback),
            (None, false) => Err(Usage(
                "say who you are with --tls-dir DIR, or --plain to a coordinator on this machine"
                    .to_owned(),
            )
            .into()),
        }
    }
}

/// Dials the callers' API.
///
/// Errors: nobody there.
pub async fn deletions(address: &str, security: &Security) -> anyhow::Result<Deletions> {
    Ok(DeletionServiceClient::new(dial(address, security).await?)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX))
}

/// Dials the operators' API.
///
/// Errors: nobody there.
pub async fn operators(address: &str, security: &Security) -> anyhow::Result<Operators> {
    Ok(OperatorServiceClient::new(dial(address, security).await?)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX))
}

/// Dials the support desk's API.
///
/// Errors: nobody there.
pub async fn desk(address: &str, security: &Security) -> anyhow::Result<Desk> {
    Ok(SupportServiceClient::new(dial(address, security).await?)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX))
}

/// Dials anything of ours.
///
/// Errors: nobody there.
pub async fn dial(address: &str, security: &Security) -> anyhow::Result<Channel> {
    endpoint(address, security)
        .map_err(|error| Usage(error.to_string()))?
        .connect()
        .await
        .with_context(|| format!("cannot connect to {address}"))
}
