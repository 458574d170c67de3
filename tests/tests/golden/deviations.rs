//! The list of steps that Berth answers otherwise than kube-apiserver.
//!
//! A group begins with `== why`. Its lines name failing steps: `area/scenario` all of a scenario, `area/scenario: step`
//! one; `! area/scenario: step` takes one out of a scenario that is named as a whole, since it passes, and
//! `? area/scenario: step` is one that passes or fails by chance. Lines with `#` are for readers.

use std::collections::{BTreeMap, BTreeSet};

/// What is to be expected of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is answered as recorded.
    Passes,
    /// It is not.
    Fails,
    /// Sometimes.
    Either,
}

/// The list.
#[derive(Debug, Default)]
pub(crate) struct Deviations {
    /// By `area/scenario` or `area/scenario: step`.
    named: BTreeMap<String, Verdict>,
}

impl Deviations {
    /// Reads the list.
    ///
    /// # Errors
    /// A line that names nothing, names something twice or takes a step out of nothing, or a group without a reason.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut list = Self::default();
        let mut has_reason = false;
        for (at, line) in text.lines().enumerate() {
            let fault = |why: &str| Err(format!("line {}: {why}: {line}", at + 1));
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(reason) = line.strip_prefix("==") {
                has_reason = !reason.trim().is_empty();
                continue;
            }
            let (verdict, name) = match line.split_once(' ') {
                Some(("!", name)) => (Verdict::Passes, name),
                Some(("?", name)) => (Verdict::Either, name),
                _ => (Verdict::Fails, line),
            };
            let Some((scenario, _)) =
                name.split_once(": ").or(Some((name, ""))).filter(|(s, _)| s.contains('/'))
            else {
                return fault("no area/scenario");
            };
            if !has_reason {
                return fault("stands under no reason");
            }
            if verdict == Verdict::Passes && list.named.get(scenario) != Some(&Verdict::Fails) {
                return fault("its scenario is not named before");
            }
            if list.named.insert(name.to_owned(), verdict).is_some() {
                return fault("is named twice");
            }
        }
        Ok(list)
    }

    /// What is to be expected of `area/scenario: step`.
    pub(crate) fn verdict(&self, step: &str) -> Verdict {
        let scenario = step.split_once(": ").map_or(step, |(scenario, _)| scenario);
        let named = self.named.get(step).or_else(|| self.named.get(scenario));
        named.copied().unwrap_or(Verdict::Passes)
    }

    /// What the list names and the recordings do not have, one sentence each.
    pub(crate) fn unknown(&self, steps: &BTreeSet<String>) -> Vec<String> {
        let is_known = |name: &str| {
            steps.contains(name)
                || steps.iter().any(|step| step.split_once(": ").is_some_and(|(s, _)| s == name))
        };
        let unknown = self.named.keys().filter(|name| !is_known(name));
        unknown.map(|name| format!("is named and not recorded: {name}")).collect()
    }
}

#[test]
fn a_scenario_speaks_for_its_steps_unless_they_are_named() {
    let list = "# words\n== why\na/b\n! a/b: one\n? a/b: two: more\n\n== other\nc/d: one\n";
    let list = Deviations::parse(list).unwrap();
    for (step, verdict) in [
        ("a/b: any", Verdict::Fails),
        ("a/b: one", Verdict::Passes),
        ("a/b: two: more", Verdict::Either),
        ("c/d: one", Verdict::Fails),
        ("c/d: two", Verdict::Passes),
        ("e/f: one", Verdict::Passes),
    ] {
        assert_eq!(list.verdict(step), verdict, "{step}");
    }
    let recorded: BTreeSet<String> = ["a/b: one", "a/b: two: more"].map(str::to_owned).into();
    assert_eq!(list.unknown(&recorded), ["is named and not recorded: c/d: one"]);
}

#[test]
fn a_list_that_says_nothing_is_refused() {
    for (list, why) in [
        ("a/b", "line 1: stands under no reason: a/b"),
        ("== \na/b", "line 2: stands under no reason: a/b"),
        ("== why\nb: one", "line 2: no area/scenario: b: one"),
        ("== why\na/b\na/b", "line 3: is named twice: a/b"),
        ("== why\n! a/b: one", "line 2: its scenario is not named before: ! a/b: one"),
    ] {
        assert_eq!(Deviations::parse(list).unwrap_err(), why);
    }
}
