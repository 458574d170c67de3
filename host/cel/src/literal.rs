//! What a literal means.

/// What the token of a string or of bytes stands for: `"a\n"`, `r'\d'`, `b'\xff'`.
pub(crate) fn unquote(token: &str) -> Result<Vec<u8>, &'static str> {
    let unprefixed = token.strip_prefix(['b', 'B']);
    let rest = unprefixed.unwrap_or(token);
    let unraw = rest.strip_prefix(['r', 'R']);
    let quoted = unraw.unwrap_or(rest);
    let width = if quoted.starts_with("\"\"\"") || quoted.starts_with("'''") { 3 } else { 1 };
    let body = quoted.get(width..quoted.len().saturating_sub(width)).ok_or("unable to unescape string")?;
    if unraw.is_some() {
        return Ok(body.as_bytes().to_vec());
    }
    unescape(&body.replace("\r\n", "\n"), unprefixed.is_some())
}

fn unescape(body: &str, is_bytes: bool) -> Result<Vec<u8>, &'static str> {
    const WRONG: &str = "unable to unescape string";
    let mut value = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = rest.find('\\') {
        value.extend_from_slice(&rest.as_bytes()[..at]);
        let escape = rest[at + 1..].chars().next().ok_or(WRONG)?;
        let after = &rest[at + 1 + escape.len_utf8()..];
        let digits = match escape {
            'x' | 'X' => 2,
            'u' if !is_bytes => 4,
            'U' if !is_bytes => 8,
            '0'..='3' => 2,
            _ => 0,
        };
        let code = after.get(..digits).ok_or(WRONG)?;
        rest = &after[digits..];
        let number = match escape {
            'x' | 'X' | 'u' | 'U' => u32::from_str_radix(code, 16).map_err(|_| WRONG)?,
            '0'..='3' => {
                u32::from_str_radix(code, 8).map_err(|_| WRONG)? + 64 * escape.to_digit(8).ok_or(WRONG)?
            }
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'v' => 11,
            '\\' | '\'' | '"' | '`' | '?' => u32::from(escape),
            _ => return Err(WRONG),
        };
        match u8::try_from(number) {
            Ok(byte) if is_bytes => value.push(byte),
            _ => {
                let c = char::from_u32(number).ok_or(WRONG)?;
                value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }
    value.extend_from_slice(rest.as_bytes());
    Ok(value)
}

/// A whole number with a sign: `12`, `-0xff`.
pub(crate) fn int(text: &str, is_negative: bool) -> Option<i64> {
    let magnitude = magnitude(text)?;
    if is_negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// A whole number without a sign: `12u`.
pub(crate) fn uint(text: &str) -> Option<u64> {
    magnitude(text.trim_end_matches(['u', 'U']))
}

fn magnitude(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}
