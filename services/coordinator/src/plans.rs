//! Every plan that a deletion may still run under, by policy version.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use farewell_core::policy::Problem;
use farewell_core::{ParticipantId, Plan, Policy};
use farewell_ledger::Ledger;

/// Plans by version, and the version for new deletions.
#[derive(Debug)]
pub struct Plans {
    current: Arc<Plan>,
    all: RwLock<HashMap<u32, Arc<Plan>>>,
}

impl Plans {
    /// Adopts `policy` for new deletions and loads all older ones.
    pub async fn load(ledger: &dyn Ledger, policy: Policy) -> anyhow::Result<Self> {
        for caution in policy.cautions() {
            tracing::warn!(policy = policy.name, "{caution}");
        }
        let unusable = |what: &str, problems: Vec<Problem>| {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            anyhow::anyhow!("{what}: {}", problems.join("; "))
        };
        let problems = policy.problems();
        if !problems.is_empty() {
            return Err(unusable("the policy can't be used", problems));
        }
        let version = ledger.adopt(&policy).await?;
        let newest = policy.clone();
        let plan = |version, policy: Policy| {
            Plan::new(version, policy.with_days_of(&newest))
                .map(Arc::new)
                .map_err(|problems| unusable(&format!("policy version {version}"), problems))
        };
        let current = plan(version, policy)?;
        let mut all = HashMap::from([(version, Arc::clone(&current))]);
        for (version, policy) in ledger.policies().await? {
            all.insert(version, plan(version, policy)?);
        }
        Ok(Self {
            current,
            all: RwLock::new(all),
        })
    }

    /// The plan for new deletions.
    pub fn current(&self) -> &Arc<Plan> {
        &self.current
    }

    /// The plan of a version. `None` if another coordinator adopted it after this one loaded: [`Plans::reload`].
    pub fn get(&self, version: u32) -> Option<Arc<Plan>> {
        if version == self.current.version() {
            return Some(Arc::clone(&self.current));
        }
        self.all
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&version)
            .cloned()
    }

    /// Loads versions that other coordinators adopted.
    pub async fn reload(&self, ledger: &dyn Ledger) -> Result<(), farewell_ledger::Error> {
        for (version, policy) in ledger.policies().await? {
            if self.get(version).is_none()
                && let Ok(plan) = Plan::new(version, policy.with_days_of(self.current.policy()))
            {
                self.all
                    .write()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(version, Arc::new(plan));
            }
        }
        Ok(())
    }

    /// Whether any plan names this participant.
    pub fn know(&self, participant: &ParticipantId) -> bool {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        all.values()
            .any(|plan| plan.policy().participants().any(|name| name == participant))
    }
}
