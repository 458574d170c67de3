//! What the policy says: the sentences of Kubernetes' own plugin, in what room the contract has.

use crate::controls::Violation;
use crate::standard::{Level, Modes, Standard};

/// Bytes of a refusal's sentence and of a note's value, and of a warning, that the contract has room for (`wit/policy.wit`). What
/// is longer would be cut by the host without a word.
const SENTENCE_BYTES_MAX: usize = 1_024;
const WARNING_BYTES_MAX: usize = 256;

/// Why a pod is refused.
pub(crate) fn refusal(standard: Standard, violations: &[Violation]) -> String {
    cut(&format!("violates PodSecurity \"{standard}\": {}", listed(violations)), SENTENCE_BYTES_MAX)
}

/// What is noted in the log.
pub(crate) fn note(standard: Standard, violations: &[Violation]) -> String {
    cut(&format!("{}{}", would(standard), listed(violations)), SENTENCE_BYTES_MAX)
}

/// What whoever makes a pod is warned of: one sentence, or as many as it takes to hold all violations.
pub(crate) fn warnings(standard: Standard, violations: &[Violation]) -> Vec<String> {
    let would = would(standard);
    let mut warnings: Vec<String> = Vec::new();
    for violation in violations {
        let violation = violation.to_string();
        match warnings.last_mut() {
            Some(last) if last.len() + ", ".len() + violation.len() <= WARNING_BYTES_MAX => {
                last.push_str(", ");
                last.push_str(&violation);
            }
            _ => warnings.push(cut(&format!("{would}{violation}"), WARNING_BYTES_MAX)),
        }
    }
    warnings
}

/// What is noted when the labels of a namespace mean nothing.
pub(crate) fn unread(wrong: &[String]) -> String {
    cut(&format!("Failed to parse policy: {}", together(wrong)), SENTENCE_BYTES_MAX)
}

/// Why a namespace is refused.
pub(crate) fn invalid(wrong: &[String]) -> String {
    cut(&together(wrong), SENTENCE_BYTES_MAX)
}

/// What whoever labels an exempt namespace is warned of; nothing when he asks for nothing.
pub(crate) fn ignored(namespace: &str, modes: Modes, is_named: impl Fn(&str) -> bool) -> Option<String> {
    let asked = modes.each().into_iter();
    let asked = asked.filter(|(mode, standard)| standard.level != Level::Privileged && is_named(mode));
    let asked: Vec<String> = asked.map(|(mode, standard)| format!("{mode}={standard}")).collect();
    (!asked.is_empty()).then(|| {
        let asked = asked.join(", ");
        let said = format!(
            "namespace \"{namespace}\" is exempt from Pod Security, and the policy ({asked}) will be ignored"
        );
        cut(&said, WARNING_BYTES_MAX)
    })
}

/// What whoever makes a namespace stricter is warned of: a policy is not told of the pods that are there.
pub(crate) fn unseen(namespace: &str, enforce: Standard) -> String {
    cut(
        &format!(
            "existing pods in namespace \"{namespace}\" were not checked against the new PodSecurity enforce level \
             \"{enforce}\": an admission policy cannot see them"
        ),
        WARNING_BYTES_MAX,
    )
}

fn would(standard: Standard) -> String {
    format!("would violate PodSecurity \"{standard}\": ")
}

fn listed(violations: &[Violation]) -> String {
    violations.iter().map(Violation::to_string).collect::<Vec<_>>().join(", ")
}

/// Errors, as Kubernetes puts several in one sentence.
fn together(wrong: &[String]) -> String {
    match wrong {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

/// A text that is too long ends in `…`.
fn cut(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(bytes_max - "…".len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_says_that_it_is_cut() {
        for (text, max, shown) in
            [("abcdef", 6, "abcdef"), ("abcdefg", 6, "abc…"), ("aäöü", 6, "aä…"), ("äöüß", 7, "äö…")]
        {
            assert_eq!(cut(text, max), shown);
        }
    }
}
