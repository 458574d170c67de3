//! One line of the text.

/// What a line says.
#[derive(Debug, PartialEq)]
pub(super) enum Line<'l> {
    /// Nothing that counts: a comment, a help text, an empty line.
    Nothing,
    /// OpenMetrics' last line.
    End,
    /// The type of a metric: its name, and the word for it.
    Type(&'l str, &'l str),
    /// A series and its value.
    Sample(Sample<'l>),
}

/// A series and its value.
#[derive(Debug, PartialEq)]
pub(super) struct Sample<'l> {
    pub(super) name: &'l str,
    /// As they stand there, without the braces.
    pub(super) labels: &'l str,
    pub(super) value: f64,
}

/// Reads a line without its end.
///
/// # Errors
/// A clause that says what is wrong with it.
pub(super) fn read(text: &str) -> Result<Line<'_>, &'static str> {
    let text = text.trim_matches([' ', '\t', '\r']);
    match text.strip_prefix('#') {
        _ if text.is_empty() => Ok(Line::Nothing),
        Some(comment) => Ok(read_comment(comment)),
        None => read_sample(text).map(Line::Sample),
    }
}

fn read_comment(comment: &str) -> Line<'_> {
    let mut words = comment.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some("EOF"), None, None) => Line::End,
        (Some("TYPE"), Some(name), Some(word)) => Line::Type(name, word),
        _ => Line::Nothing,
    }
}

fn read_sample(text: &str) -> Result<Sample<'_>, &'static str> {
    let end = text.find(|c: char| !is_of_name(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("it does not begin with the name of a metric");
    }
    let rest = rest.trim_start_matches([' ', '\t']);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inner) => inner.split_at(labels_end(inner)?),
        None => ("", rest),
    };
    let mut words = rest.trim_start_matches('}').split_whitespace();
    let value = words.next().and_then(number).ok_or("it has no value")?;
    match words.next() {
        // When it was so, or OpenMetrics' example of what was counted.
        Some(word) if !word.starts_with('#') && number(word).is_none() => {
            Err("behind the value stands neither a time nor an exemplar")
        }
        _ => Ok(Sample { name, labels, value }),
    }
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | ':')
}

fn number(word: &str) -> Option<f64> {
    word.parse().ok()
}

/// Where the closing brace stands.
fn labels_end(text: &str) -> Result<usize, &'static str> {
    let skip = |at: usize, what: fn(char) -> bool| {
        text[at..].find(|c| !what(c)).map_or(text.len(), |length| at + length)
    };
    let is_blank = |c: char| matches!(c, ' ' | '\t');
    let mut at = 0;
    loop {
        at = skip(at, is_blank);
        if text[at..].starts_with('}') {
            return Ok(at);
        }
        let end = skip(at, is_of_name);
        if end == at {
            return Err("a label has no name");
        }
        at = skip(end, is_blank);
        let value = text[at..].strip_prefix('=').ok_or("a label has no value")?;
        let quoted =
            value.trim_start_matches([' ', '\t']).strip_prefix('"').ok_or("a label's value has no quotes")?;
        at = text.len() - quoted.len() + quote(quoted).ok_or("a label's value does not end")? + 1;
        at = skip(at, is_blank);
        match text[at..].chars().next() {
            Some(',') => at += 1,
            Some('}') => {}
            _ => return Err("the labels do not end"),
        }
    }
}

/// Where the next quotation mark stands that no backslash is before.
fn quote(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_prometheus_reads_them() {
        let sample = |name, labels, value| Ok(Line::Sample(Sample { name, labels, value }));
        for (text, wanted) in [
            ("", Ok(Line::Nothing)),
            (" \t\r", Ok(Line::Nothing)),
            ("#", Ok(Line::Nothing)),
            ("# HELP a TYPE a counter", Ok(Line::Nothing)),
            ("# TYPE a counter", Ok(Line::Type("a", "counter"))),
            ("#TYPE a counter", Ok(Line::Type("a", "counter"))),
            ("# EOF", Ok(Line::End)),
            ("up 1", sample("up", "", 1.0)),
            ("up\t1.5e3 1395066363000\r", sample("up", "", 1500.0)),
            ("a:b_c{} -2", sample("a:b_c", "", -2.0)),
            ("a{x=\"1\",y=\"}\\\"\\\\\"} 3", sample("a", "x=\"1\",y=\"}\\\"\\\\\"", 3.0)),
            ("a { x = \"é\" , } +Inf", sample("a", " x = \"é\" , ", f64::INFINITY)),
            ("a_bucket{le=\"1\"} 7 # {trace=\"x\"} 0.5 1", sample("a_bucket", "le=\"1\"", 7.0)),
            ("a 7 1.5 # {} 1", sample("a", "", 7.0)),
            ("1a 1", Err("it does not begin with the name of a metric")),
            ("{a=\"b\"} 1", Err("it does not begin with the name of a metric")),
            ("<html>", Err("it does not begin with the name of a metric")),
            ("a", Err("it has no value")),
            ("a x", Err("it has no value")),
            ("a{} ", Err("it has no value")),
            ("a 1 x", Err("behind the value stands neither a time nor an exemplar")),
            ("a{b} 1", Err("a label has no value")),
            ("a{b=c} 1", Err("a label's value has no quotes")),
            ("a{b=\"c} 1", Err("a label's value does not end")),
            ("a{b=\"c\\\"} 1", Err("a label's value does not end")),
            ("a{b=\"c\"", Err("the labels do not end")),
            ("a{b=\"c\" d=\"e\"} 1", Err("the labels do not end")),
            ("a{", Err("a label has no name")),
            ("a{,} 1", Err("a label has no name")),
        ] {
            assert_eq!(read(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn no_line_makes_it_panic_or_read_beyond_its_end() {
        let line = "a{x=\"1\\\"é\", y=\"}\"} 3 4 # {t=\"x\"} 5";
        let ends: Vec<usize> = line.char_indices().map(|(at, _)| at).collect();
        for (&from, other) in ends.iter().flat_map(|from| "{}\"\\,=#é 7\t".chars().map(move |c| (from, c))) {
            for &to in ends.iter().filter(|to| **to >= from) {
                let text = format!("{}{other}{}", &line[..from], &line[to..]);
                if let Ok(Line::Sample(sample)) = read(&text) {
                    assert!(
                        text.trim_start().starts_with(sample.name) && text.contains(sample.labels),
                        "{text:?}: {sample:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_is_said_to_be_none() {
        let Ok(Line::Sample(sample)) = read("a NaN") else { panic!("it is a sample") };
        assert!(sample.value.is_nan());
    }
}
