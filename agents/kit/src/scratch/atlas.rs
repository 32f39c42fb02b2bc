//! Two accounts that are not at home here.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;

use crate::home::{Elsewhere, Homes, NotHere};

/// An account that lives in Europe.
pub const EUROPEAN: &str = "zz-european";
/// An account of which nobody can say where it lives.
pub const HIDDEN: &str = "zz-hidden";

/// Knows these two, that everybody else is at home, and how often it was asked.
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
}
