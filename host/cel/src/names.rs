//! Names of fields as expressions write them.

use berth_json::Text;

/// The words that CEL keeps for itself.
pub(crate) const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];
/// Words that are tokens of their own.
const KEYWORDS: [&str; 4] = ["true", "false", "null", "in"];
/// What stands for characters that a name cannot have.
const ESCAPES: [(&str, &str); 4] = [("__", "underscores"), (".", "dot"), ("-", "dash"), ("/", "slash")];

/// The name that an expression uses for a JSON key, as Kubernetes escapes it: `__namespace__`, `a__dash__b`. `None`
/// when there is no such name.
pub fn escape(key: &str) -> Option<Text> {
    if key.is_empty() || key.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if RESERVED.contains(&key) || KEYWORDS.contains(&key) {
        return Some(Text::new("__") + key + "__");
    }
    let mut name = Text::default();
    let mut rest = key;
    while let Some(first) = rest.chars().next() {
        if let Some((from, to)) = ESCAPES.iter().find(|(from, _)| rest.starts_with(from)) {
            name.push_str("__");
            name.push_str(to);
            name.push_str("__");
            rest = &rest[from.len()..];
        } else if first == '_' || first.is_ascii_alphanumeric() {
            name.push(first);
            rest = &rest[1..];
        } else {
            return None;
        }
    }
    Some(name)
}
