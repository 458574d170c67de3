//! The recordings, and what their program says about a replay.

use berth_tests::repository;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The recorded steps, in their order.
pub(crate) struct Recordings {
    directory: PathBuf,
    steps: Vec<Step>,
}

struct Step {
    area: String,
    /// `area/scenario: step`
    name: String,
    /// What the report of a failure begins with, after its first word.
    heading: String,
}

impl Recordings {
    /// Reads them; `None` where they are not.
    pub(crate) fn find() -> Option<Self> {
        let beside = || repository().parent().unwrap().join("shared/kubernetes-golden");
        let directory = std::env::var_os("BERTH_GOLDEN").map_or_else(beside, PathBuf::from);
        if !directory.join("replay.py").is_file() {
            return None;
        }
        let mut files: Vec<PathBuf> = std::fs::read_dir(directory.join("scenarios"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        let texts = files.iter().map(|file| std::fs::read_to_string(file).unwrap());
        let steps = texts.flat_map(|text| text.lines().filter_map(Step::read).collect::<Vec<_>>()).collect();
        Some(Self { directory, steps })
    }

    /// The program that replays them.
    pub(crate) fn program(&self) -> PathBuf {
        self.directory.join("replay.py")
    }

    /// The names of all steps that are compared.
    pub(crate) fn steps(&self) -> BTreeSet<String> {
        self.steps.iter().map(|step| step.name.clone()).collect()
    }

    /// `decoding`, `defaulting`, …
    pub(crate) fn areas(&self) -> BTreeSet<String> {
        self.steps.iter().map(|step| step.area.clone()).collect()
    }

    /// How many steps of an area are compared.
    pub(crate) fn count(&self, area: &str) -> usize {
        self.steps.iter().filter(|step| step.area == area).count()
    }

    /// The steps that failed by the program's report, each with the lines about it.
    pub(crate) fn failed(&self, report: &str) -> BTreeMap<String, String> {
        let by_heading: BTreeMap<&str, &str> =
            self.steps.iter().map(|step| (&*step.heading, &*step.name)).collect();
        let mut failed = BTreeMap::new();
        let mut about: Option<&mut String> = None;
        for line in report.lines() {
            let heading = line.strip_prefix("FAIL ").or_else(|| line.strip_prefix("fail "));
            if let Some(name) = heading.and_then(|heading| by_heading.get(heading)) {
                about = Some(failed.entry((*name).to_owned()).or_default());
            } else if let (true, Some(lines)) = (line.starts_with("     "), &mut about) {
                lines.push_str(line);
                lines.push('\n');
            }
        }
        failed
    }
}

impl Step {
    /// Reads a line of a scenario file; `None` for a step that is done and not compared.
    fn read(line: &str) -> Option<Self> {
        let step: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| step[key].as_str().unwrap().to_owned();
        if step.get("ensure").is_some_and(|ensure| *ensure != false) {
            return None;
        }
        let name = format!("{}/{}: {}", text("area"), text("scenario"), text("step"));
        let heading = format!("{name}: {} {}", text("method"), text("path"));
        Some(Self { area: text("area"), name, heading })
    }
}
