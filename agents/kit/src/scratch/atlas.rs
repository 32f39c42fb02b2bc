//! Two accounts that are not at home here, and one that security has frozen.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;

use crate::home::{Elsewhere, Homes, NotHere};

/// An account that lives in Europe.
pub const EUROPEAN: &str = "zz-european";
/// An account of which nobody can say where it lives.
pub const HIDDEN: &str = "zz-hidden";
/// An account that security has frozen.
pub const FROZEN_OUT: &str = "zz-frozen-out";

/// Knows these, that everybody else is at home and frozen by nobody, and how often it was asked about homes.
#[derive(Debug, Default)]
pub struct Atlas {
    asked: AtomicUsize,
}

impl Atlas {
    /// How often.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Homes for Atlas {
    async fn at_home(&self, account: &str) -> Result<(), NotHere> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match account {
            EUROPEAN => Err(NotHere::Elsewhere(Elsewhere {
                region: "eu".to_owned(),
                address: "https://eu.example:7400".to_owned(),
            })),
            HIDDEN => Err(NotHere::Unknown("IDENTITY_UNAVAILABLE".to_owned())),
            _ => Ok(()),
        }
    }

    async fn is_frozen_out(&self, account: &str) -> Result<bool, NotHere> {
        Ok(account == FROZEN_OUT)
    }
}
