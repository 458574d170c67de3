//! An admission policy: images must name a tag other than `latest`.
//!
//! The component's code is for the sandbox only; what it decides can be tested anywhere.

/// Why an object is refused.
pub fn complaint(object: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(object);
    let latest = text.contains(":latest\"");
    latest.then(|| "an image must name a tag other than latest".to_owned())
}

#[cfg(target_arch = "wasm32")]
#[allow(missing_docs, unreachable_pub)]
mod component {
    wit_bindgen::generate!({ path: "../../../wit", world: "admission" });
    use exports::berth::policy::reviewing::{Ctx, Guest, Manifest, Request, Rule, Verdict};

    struct Policy;

    impl Guest for Policy {
        fn describe(config: Vec<u8>) -> Result<Manifest, String> {
            if !config.is_empty() {
                return Err("it takes no configuration".to_owned());
            }
            let rule = Rule {
                groups: vec![String::new()],
                resources: vec!["pods".to_owned()],
                operations: 1 | 2,
                namespaces: vec![],
                selector: String::new(),
                namespace_selector: String::new(),
            };
            Ok(Manifest {
                name: "no-latest".to_owned(),
                version: "1".to_owned(),
                mutates: 0,
                rules: vec![rule],
            })
        }

        fn review(_c: Ctx, r: Request) -> Verdict {
            let complaint = super::complaint(&r.object);
            Verdict {
                allowed: complaint.is_none(),
                code: 0,
                message: complaint.unwrap_or_default(),
                patch: Vec::new(),
                warnings: Vec::new(),
                audit: Vec::new(),
            }
        }
    }

    export!(Policy);
}
