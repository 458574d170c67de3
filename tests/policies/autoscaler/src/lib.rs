//! An autoscaling policy: as many replicas as keep the last sample of one metric at 100 per replica.
//!
//! The component's code is for the sandbox only; what it decides can be tested anywhere.

/// How many replicas serve a load.
pub fn replicas(load: f64) -> u32 {
    if load.is_finite() { (load / 100.0).ceil().max(1.0) as u32 } else { 1 }
}

#[cfg(target_arch = "wasm32")]
#[allow(missing_docs, unreachable_pub)]
mod component {
    wit_bindgen::generate!({ path: "../../../wit", world: "autoscaler" });
    use exports::berth::policy::scaling::{Ctx, Guest, Manifest, Question, Recommendation};

    struct Policy;

    impl Guest for Policy {
        fn describe(config: Vec<u8>) -> Result<Manifest, String> {
            if !config.is_empty() {
                return Err("it takes no configuration".to_owned());
            }
            let name = "by-load".to_owned();
            Ok(Manifest { name, version: "1".to_owned(), window_s: 60, step_s: 15 })
        }

        fn recommend(_c: Ctx, q: Question) -> Recommendation {
            let last = q.metrics.first().and_then(|metric| metric.history.last()).copied();
            let replicas = super::replicas(last.unwrap_or(f64::NAN));
            Recommendation { able: 1, replicas, metric: 1, reason: "by load".to_owned() }
        }
    }

    export!(Policy);
}
