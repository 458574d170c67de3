//! Query parameters, read and complained about as the API server does.

use berth_api::status::Details;
use berth_api::{FieldValidation, Problems, Reason, Status};
use berth_pipeline::{Options, Propagation};

/// How long a field manager's name may be (`metav1.validation`).
const FIELD_MANAGER_CHARACTERS_MAX: usize = 128;

/// The type of a PATCH's options.
pub(crate) const PATCH_OPTIONS: &str = "PatchOptions";

/// The parameters of a request, decoded, in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

/// `resourceVersionMatch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VersionMatch {
    /// Not given.
    Unset,
    /// That very revision.
    Exact,
    /// That one or a later one.
    NotOlderThan,
}

impl Query {
    pub(crate) fn parse(query: Option<&str>) -> Self {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self { pairs: pairs.into_owned().collect() }
    }

    /// The first value of a parameter; empty when it is absent.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.pairs.iter().find(|(k, _)| k == key).map_or("", |(_, value)| value)
    }

    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// A boolean as Kubernetes converts it: there, and neither `0` nor `false`.
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.pairs.iter().find(|(k, _)| k == key).is_some_and(|(_, value)| {
            let value = value.to_ascii_lowercase();
            value != "0" && value != "false"
        })
    }

    /// A boolean that may be absent.
    pub(crate) fn optional_flag(&self, key: &str) -> Option<bool> {
        self.pairs.iter().any(|(k, _)| k == key).then(|| self.flag(key))
    }

    /// An integer; `None` when it is absent or empty.
    pub(crate) fn integer(&self, key: &str) -> Result<Option<i64>, Status> {
        match self.text(key) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
            }),
        }
    }

    /// How many objects a list, or a delete of a collection, is about at most.
    pub(crate) fn limit(&self) -> Result<Option<usize>, Status> {
        let limit = self.integer("limit")?.and_then(|limit| usize::try_from(limit).ok());
        Ok(limit.filter(|limit| *limit > 0))
    }

    pub(crate) fn version_match(&self) -> Result<VersionMatch, Problems> {
        match self.text("resourceVersionMatch") {
            "" => Ok(VersionMatch::Unset),
            "Exact" => Ok(VersionMatch::Exact),
            "NotOlderThan" => Ok(VersionMatch::NotOlderThan),
            other => {
                let mut problems = Problems::default();
                problems.not_supported("resourceVersionMatch", &other.into(), &["Exact", "NotOlderThan", ""]);
                Err(problems)
            }
        }
    }

    /// The options of a write; `kind` is the name of their type (`CreateOptions`, …).
    pub(crate) fn options(&self, kind: &str, user_agent: &str) -> Result<Options, Status> {
        let mut problems = Problems::default();
        if kind == PATCH_OPTIONS && self.optional_flag("force").is_some() {
            problems.forbidden("force", "may not be specified for non-apply patch");
        }
        self.options_with(kind, user_agent, problems)
    }

    /// The options of an apply: who applies must say who that is.
    pub(crate) fn apply_options(&self) -> Result<Options, Status> {
        let mut problems = Problems::default();
        if self.text("fieldManager").is_empty() {
            problems.required("fieldManager", "is required for apply patch");
        }
        let options = self.options_with(PATCH_OPTIONS, "", problems)?;
        Ok(Options { force: self.flag("force"), ..options })
    }

    fn options_with(&self, kind: &str, user_agent: &str, mut problems: Problems) -> Result<Options, Status> {
        let dry_run = self.dry_run(&mut problems);
        let field_manager = self.field_manager(user_agent, &mut problems);
        let word = self.text("fieldValidation");
        let field_validation = FieldValidation::parse(word);
        if field_validation.is_none() {
            let known = ["", "Ignore", "Strict", "Warn"];
            problems.not_supported("fieldValidation", &word.into(), &known);
        }
        let propagation = self.propagation(&mut problems);
        if !problems.is_empty() {
            return Err(invalid_options(kind, problems));
        }
        Ok(Options {
            dry_run,
            field_manager,
            force: false,
            field_validation: field_validation.unwrap_or_default(),
            label_selector: self.text("labelSelector").to_owned(),
            field_selector: self.text("fieldSelector").to_owned(),
            limit: self.limit()?,
            after: None,
            propagation,
            grace_period_seconds: self.integer("gracePeriodSeconds")?,
        })
    }

    fn dry_run(&self, problems: &mut Problems) -> bool {
        let words: Vec<&str> = self.all("dryRun").filter(|word| !word.is_empty()).collect();
        if words.iter().any(|word| *word != "All") {
            problems.not_supported("dryRun", &words.clone().into(), &["All"]);
        }
        !words.is_empty()
    }

    fn field_manager(&self, user_agent: &str, problems: &mut Problems) -> String {
        let given = self.text("fieldManager");
        if given.chars().count() > FIELD_MANAGER_CHARACTERS_MAX {
            let detail = format!("may not be more than {FIELD_MANAGER_CHARACTERS_MAX} bytes");
            problems.too_long("fieldManager", &detail);
        }
        if !given.is_empty() {
            return given.to_owned();
        }
        let program = user_agent.split('/').next().unwrap_or_default();
        program.chars().filter(|c| !c.is_control()).take(FIELD_MANAGER_CHARACTERS_MAX).collect()
    }

    fn propagation(&self, problems: &mut Problems) -> Option<Propagation> {
        match self.text("propagationPolicy") {
            "" => None,
            "Orphan" => Some(Propagation::Orphan),
            "Background" => Some(Propagation::Background),
            "Foreground" => Some(Propagation::Foreground),
            other => {
                let known = ["Foreground", "Background", "Orphan", "nil"];
                problems.not_supported("propagationPolicy", &other.into(), &known);
                None
            }
        }
    }
}

/// 422 for options: `ListOptions.meta.k8s.io "" is invalid: …`.
pub(crate) fn invalid_options(kind: &str, problems: Problems) -> Status {
    let message = format!("{kind}.meta.k8s.io \"\" is invalid: {}", problems.text());
    let details = Details {
        group: "meta.k8s.io".to_owned(),
        kind: kind.to_owned(),
        causes: problems.causes,
        ..Details::default()
    };
    Status { details: Some(Box::new(details)), ..Status::new(Reason::Invalid, message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_as_lenient_as_the_api_server() {
        let query = Query::parse(Some("a=1&b=false&c=0&d=&e=maybe&f=False"));
        let set: Vec<&str> =
            ["a", "b", "c", "d", "e", "f", "g"].into_iter().filter(|k| query.flag(k)).collect();
        assert_eq!(set, ["a", "d", "e"]);
    }

    #[test]
    fn integers() {
        let query = Query::parse(Some("a=5&b=x&c="));
        assert_eq!(query.integer("a"), Ok(Some(5)));
        assert_eq!(query.integer("c"), Ok(None));
        let error = query.integer("b").unwrap_err();
        assert_eq!(error.message, "strconv.ParseInt: parsing \"x\": invalid syntax");
    }

    #[test]
    fn options_of_a_write() {
        let query = Query::parse(Some("dryRun=All&labelSelector=a%3Db&propagationPolicy=Orphan"));
        let options = query.options("DeleteOptions", "kubectl/v1.37.1 (linux)").unwrap();
        assert!(options.dry_run);
        assert_eq!(options.field_manager, "kubectl");
        assert_eq!(options.label_selector, "a=b");
        assert_eq!(options.propagation, Some(Propagation::Orphan));
        let error = Query::parse(Some("dryRun=x")).options("DeleteOptions", "").unwrap_err();
        assert_eq!(
            error.message,
            "DeleteOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"x\"]: supported values: \"All\""
        );
    }
}
