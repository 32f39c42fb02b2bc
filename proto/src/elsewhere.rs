//! What is said where an account's home is another region: the same words at every port.

use std::collections::HashMap;
use std::fmt;

/// `ErrorInfo.reason` for the account that a request is about.
pub const ACCOUNT_ELSEWHERE: &str = "ACCOUNT_ELSEWHERE";
/// `ErrorInfo.reason` for the account that would get something.
pub const TO_ACCOUNT_ELSEWHERE: &str = "TO_ACCOUNT_ELSEWHERE";

/// Another region, as whoever asked in the wrong one is told. `Display` is the sentence of [`ACCOUNT_ELSEWHERE`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// Its name, for instance `eu`.
    pub region: String,
    /// Where its coordinators' callers go, `https://HOST:PORT`; empty if nobody here knows.
    pub address: String,
}

impl Elsewhere {
    /// `ErrorInfo.metadata`.
    pub fn metadata(&self) -> HashMap<String, String> {
        let told = [("region", &self.region), ("address", &self.address)];
        told.into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .collect()
    }

    /// The sentence of [`TO_ACCOUNT_ELSEWHERE`].
    pub fn nothing_moves(&self) -> String {
        format!(
            "the other account's home is the region {}: nothing moves between regions",
            self.region
        )
    }
}

impl fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { region, address } = self;
        write!(
            f,
            "the account's home is the region {region}: the request belongs there"
        )?;
        if address.is_empty() {
            return Ok(());
        }
        write!(f, ", at {address}")
    }
}
