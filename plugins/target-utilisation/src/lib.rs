//! Built-in policy: as many replicas as bring metrics to their targets, as Kubernetes' horizontal controller counts them.

mod formula;

use berth_sdk::autoscaler::{Autoscaler, Manifest, Question, Recommendation};

/// The policy.
#[derive(Debug)]
pub struct TargetUtilisation;

impl Autoscaler for TargetUtilisation {
    fn describe(config: &[u8]) -> Result<(Self, Manifest), String> {
        if !config.is_empty() {
            return Err("target-utilisation takes no configuration".to_owned());
        }
        Ok((Self, Manifest::new("target-utilisation", env!("CARGO_PKG_VERSION"))))
    }

    fn recommend(&self, question: &Question) -> Recommendation {
        formula::recommend(question)
    }
}

berth_sdk::export!(TargetUtilisation as autoscaler);

#[cfg(test)]
mod tests;
