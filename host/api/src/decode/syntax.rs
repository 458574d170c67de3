//! Go's words for broken JSON.
//!
//! Only asked when a body was refused: it finds the same place as Go's scanner does and says the same about it.

use super::DEPTH_MAX;

/// What the scanner is in the middle of.
#[derive(Clone, Copy, PartialEq)]
enum Expect {
    Value,
    /// Directly behind `[`.
    ValueOrEnd,
    Key,
    /// Directly behind `{`.
    KeyOrEnd,
    Colon,
    /// Behind an element or member.
    CommaOrEnd,
}

/// The first syntax error, e.g. `invalid character '}' looking for beginning of object key string`.
pub(super) fn error(text: &[u8]) -> Option<String> {
    Scanner { text, at: 0, open: Vec::new() }.run().err()
}

struct Scanner<'t> {
    text: &'t [u8],
    at: usize,
    /// The brackets that are open.
    open: Vec<u8>,
}

const END: &str = "unexpected end of JSON input";

impl Scanner<'_> {
    fn run(mut self) -> Result<(), String> {
        let mut expect = Expect::Value;
        loop {
            let Some(byte) = self.next_token() else { return Err(END.to_owned()) };
            expect = match (expect, byte) {
                (Expect::Value | Expect::ValueOrEnd, b'{' | b'[') => self.open(byte)?,
                (Expect::ValueOrEnd, b']') | (Expect::KeyOrEnd, b'}') => self.close(),
                (Expect::Value | Expect::ValueOrEnd, _) => self.scalar(byte)?,
                (Expect::Key | Expect::KeyOrEnd, b'"') => {
                    self.string()?;
                    Expect::Colon
                }
                (Expect::Key | Expect::KeyOrEnd, _) => {
                    return Err(invalid(byte, "looking for beginning of object key string"));
                }
                (Expect::Colon, b':') => {
                    self.at += 1;
                    Expect::Value
                }
                (Expect::Colon, _) => return Err(invalid(byte, "after object key")),
                (Expect::CommaOrEnd, _) => self.after_value(byte)?,
            };
            if expect == Expect::CommaOrEnd && self.open.is_empty() {
                return match self.next_token() {
                    None => Ok(()),
                    Some(byte) => Err(invalid(byte, "after top-level value")),
                };
            }
        }
    }

    fn next_token(&mut self) -> Option<u8> {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn open(&mut self, bracket: u8) -> Result<Expect, String> {
        if self.open.len() >= DEPTH_MAX {
            return Err(invalid(bracket, "exceeded max depth"));
        }
        self.open.push(bracket);
        self.at += 1;
        Ok(if bracket == b'{' { Expect::KeyOrEnd } else { Expect::ValueOrEnd })
    }

    fn close(&mut self) -> Expect {
        self.open.pop();
        self.at += 1;
        Expect::CommaOrEnd
    }

    fn after_value(&mut self, byte: u8) -> Result<Expect, String> {
        match (self.open.last(), byte) {
            (Some(b'{'), b',') => {
                self.at += 1;
                Ok(Expect::Key)
            }
            (_, b',') => {
                self.at += 1;
                Ok(Expect::Value)
            }
            (Some(b'{'), b'}') | (Some(b'['), b']') => Ok(self.close()),
            (Some(b'{'), _) => Err(invalid(byte, "after object key:value pair")),
            _ => Err(invalid(byte, "after array element")),
        }
    }

    fn scalar(&mut self, byte: u8) -> Result<Expect, String> {
        match byte {
            b'"' => self.string()?,
            b't' => self.word("true")?,
            b'f' => self.word("false")?,
            b'n' => self.word("null")?,
            b'-' | b'0'..=b'9' => self.number()?,
            _ => return Err(invalid(byte, "looking for beginning of value")),
        }
        Ok(Expect::CommaOrEnd)
    }

    fn byte(&self) -> Result<u8, String> {
        self.text.get(self.at).copied().ok_or_else(|| END.to_owned())
    }

    fn string(&mut self) -> Result<(), String> {
        self.at += 1;
        loop {
            match self.byte()? {
                b'"' => break,
                b'\\' => self.escape()?,
                byte if byte < 0x20 => return Err(invalid(byte, "in string literal")),
                _ => {}
            }
            self.at += 1;
        }
        self.at += 1;
        Ok(())
    }

    fn escape(&mut self) -> Result<(), String> {
        self.at += 1;
        match self.byte()? {
            b'u' => {
                for _ in 0..4 {
                    self.at += 1;
                    let byte = self.byte()?;
                    if !byte.is_ascii_hexdigit() {
                        return Err(invalid(byte, "in \\u hexadecimal character escape"));
                    }
                }
                Ok(())
            }
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(()),
            byte => Err(invalid(byte, "in string escape code")),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), String> {
        for expected in word.bytes() {
            let byte = self.byte()?;
            if byte != expected {
                return Err(invalid(
                    byte,
                    &format!("in literal {word} (expecting '{}')", char::from(expected)),
                ));
            }
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), String> {
        if self.byte()? == b'-' {
            self.at += 1;
        }
        if self.byte()? == b'0' {
            self.at += 1;
        } else {
            self.digits("in numeric literal")?;
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits("after decimal point in numeric literal")?;
        }
        if matches!(self.text.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.byte()?, b'+' | b'-') {
                self.at += 1;
            }
            self.digits("in exponent of numeric literal")?;
        }
        Ok(())
    }

    fn digits(&mut self, context: &str) -> Result<(), String> {
        let byte = self.byte()?;
        if !byte.is_ascii_digit() {
            return Err(invalid(byte, context));
        }
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        Ok(())
    }
}

fn invalid(byte: u8, context: &str) -> String {
    let quoted = match byte {
        b'\'' => r"'\''".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        0x20..=0x7e => format!("'{}'", char::from(byte)),
        // Go takes the byte as a code point of its own.
        0xa1..=0xac | 0xae..=0xff => format!("'{}'", char::from(byte)),
        0x80..=0xff => format!("'\\u{byte:04x}'"),
        _ => format!("'\\x{byte:02x}'"),
    };
    format!("invalid character {quoted} {context}")
}

#[cfg(test)]
mod tests {
    use super::error;

    #[test]
    fn worded_as_go_does() {
        for (text, expected) in [
            ("", "unexpected end of JSON input"),
            (" ", "unexpected end of JSON input"),
            (r#"{"a":"#, "unexpected end of JSON input"),
            (r#"{"a":1,}"#, "invalid character '}' looking for beginning of object key string"),
            (r#"{"a":1} x"#, "invalid character 'x' after top-level value"),
            ("\u{1f}", r"invalid character '\x1f' looking for beginning of value"),
            ("[1 2]", "invalid character '2' after array element"),
            (r#"{"a" 1}"#, "invalid character '1' after object key"),
            (r#"{"a":1 "b"}"#, "invalid character '\"' after object key:value pair"),
            ("[tru]", "invalid character ']' in literal true (expecting 'e')"),
            ("[-]", "invalid character ']' in numeric literal"),
            ("[1.]", "invalid character ']' after decimal point in numeric literal"),
            ("[1e]", "invalid character ']' in exponent of numeric literal"),
            ("[\"\\q\"]", "invalid character 'q' in string escape code"),
            ("[\"\n\"]", r"invalid character '\n' in string literal"),
        ] {
            assert_eq!(error(text.as_bytes()).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(error(br#" {"a":[1,-2.5e+3,"x\u00e4",true,null,{}],"b":[]} "#), None);
        let deep = "[".repeat(20_000);
        assert_eq!(error(deep.as_bytes()).as_deref(), Some("invalid character '[' exceeded max depth"));
    }
}
