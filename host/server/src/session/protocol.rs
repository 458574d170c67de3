//! How a session's channels become messages.
//!
//! A message's first byte is the channel, the rest its data. With base64 the channel is a digit and all is text. Version 4
//! ends with a `Status` on the error channel where version 1 has a text for failures alone; version 5 adds `[255, n]`: the
//! sender closes channel n.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use berth_api::Status;
use berth_client::{ExitStatus, NodeError, TerminalSize};
use berth_json::{Value, json};
use bytes::{BufMut, Bytes, BytesMut};
use tokio_tungstenite::tungstenite::protocol::frame::coding::Data;

const STDIN: u8 = 0;
pub(super) const STDOUT: u8 = 1;
pub(super) const STDERR: u8 = 2;
pub(super) const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// A terminal's size as JSON is at most this long; more is none.
const SIZE_BYTES_MAX: usize = 256;

/// One of the protocols of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Protocol {
    version: Version,
    base64: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    V1,
    V4,
    V5,
}

/// What a client's message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Input {
    Stdin(Bytes),
    StdinEnds,
    Resize(TerminalSize),
    /// Nothing that this server knows or listens to.
    Nothing,
}

impl Protocol {
    /// The protocols that the API server has, by name; version 1 has an old and an empty one.
    pub(super) const ALL: [(&'static str, Protocol); 6] = [
        ("v5.channel.k8s.io", Protocol::new(Version::V5, false)),
        ("v4.channel.k8s.io", Protocol::new(Version::V4, false)),
        ("v4.base64.channel.k8s.io", Protocol::new(Version::V4, true)),
        ("channel.k8s.io", Protocol::new(Version::V1, false)),
        ("base64.channel.k8s.io", Protocol::new(Version::V1, true)),
        ("", Protocol::new(Version::V1, false)),
    ];

    const fn new(version: Version, base64: bool) -> Protocol {
        Protocol { version, base64 }
    }

    /// Reads a client's message. Text counts as much as binary, as in Kubernetes: the Python client sends what is typed as
    /// text.
    pub(super) fn read(self, message: &Bytes) -> Input {
        let Some(&first) = message.first() else { return Input::Nothing };
        let channel = if self.base64 { first.wrapping_sub(b'0') } else { first };
        if self.version == Version::V5 && channel == CLOSE {
            return if message[1..] == [STDIN] { Input::StdinEnds } else { Input::Nothing };
        }
        let data = match self.base64 {
            false => message.slice(1..),
            true => match STANDARD.decode(&message[1..]) {
                Ok(data) => data.into(),
                Err(_) => return Input::Nothing,
            },
        };
        match channel {
            STDIN if !data.is_empty() => Input::Stdin(data),
            RESIZE => terminal_size(&data).map_or(Input::Nothing, Input::Resize),
            _ => Input::Nothing,
        }
    }

    /// The message that carries `data` on a channel.
    pub(super) fn write(self, channel: u8, data: &[u8]) -> (Data, Bytes) {
        if self.base64 {
            let mut text = char::from(b'0' + channel).to_string();
            STANDARD.encode_string(data, &mut text);
            return (Data::Text, text.into());
        }
        let mut framed = BytesMut::with_capacity(data.len() + 1);
        framed.put_u8(channel);
        framed.put_slice(data);
        (Data::Binary, framed.freeze())
    }

    /// What is sent on the error channel at the end, if anything is.
    pub(super) fn verdict(self, ended: Result<ExitStatus, NodeError>) -> Option<Vec<u8>> {
        let verdict = verdict(ended);
        match self.version {
            Version::V4 | Version::V5 => Some(verdict.to_string().into_bytes()),
            Version::V1 if verdict["status"] == "Success" => None,
            Version::V1 => Some(verdict["message"].as_str().unwrap_or_default().as_bytes().to_vec()),
        }
    }
}

fn terminal_size(data: &[u8]) -> Option<TerminalSize> {
    let data = Some(data).filter(|data| data.len() <= SIZE_BYTES_MAX)?;
    let size: Value = serde_json::from_slice(data).ok()?;
    let number = |key: &str| size[key].as_u64().and_then(|number| u16::try_from(number).ok());
    Some(TerminalSize { width: number("Width")?, height: number("Height")? })
}

/// The `Status` that ends a session.
fn verdict(ended: Result<ExitStatus, NodeError>) -> Value {
    match ended.map(ExitStatus::code) {
        Ok(0) => json!({ "metadata": {}, "status": "Success" }),
        Ok(code) => json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with exit code {code}"),
            "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
        }),
        Err(error) => Status::to_value(&crate::pods::status_of(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protocol(name: &str) -> Protocol {
        Protocol::ALL.iter().find(|(known, _)| *known == name).unwrap().1
    }

    #[test]
    fn a_session_ends_with_what_its_version_says() {
        let said = |name: &str, ended: Result<ExitStatus, NodeError>| {
            protocol(name).verdict(ended).map(|bytes| String::from_utf8(bytes).unwrap())
        };
        let broken = || Err(NodeError::Internal("no such file".to_owned()));
        for name in ["v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io"] {
            let status = |ended| serde_json::from_str::<Value>(&said(name, ended).unwrap()).unwrap();
            assert_eq!(status(Ok(ExitStatus::Code(0)))["status"], "Success");
            let failed = status(Ok(ExitStatus::Signal(9)));
            assert_eq!(failed["reason"], "NonZeroExitCode");
            assert_eq!(failed["details"]["causes"][0]["message"], "137");
            assert_eq!(
                (&status(broken())["code"], &status(broken())["message"]),
                (&json!(500), &json!("no such file"))
            );
        }
        for name in ["", "channel.k8s.io", "base64.channel.k8s.io"] {
            assert_eq!(said(name, Ok(ExitStatus::Code(0))), None);
            assert_eq!(said(name, Ok(ExitStatus::Code(3))).unwrap(), "command terminated with exit code 3");
            assert_eq!(said(name, broken()).unwrap(), "no such file");
        }
    }

    #[test]
    fn messages_in_both_forms() {
        let read = |name: &str, message: &'static [u8]| protocol(name).read(&Bytes::from_static(message));
        let hello = || Input::Stdin(Bytes::from_static(b"hello"));
        assert_eq!(read("channel.k8s.io", b"\0hello"), hello());
        assert_eq!(read("base64.channel.k8s.io", b"0aGVsbG8="), hello());
        let size = Input::Resize(TerminalSize { width: 80, height: 24 });
        assert_eq!(read("v4.channel.k8s.io", b"\x04{\"Width\":80,\"Height\":24}"), size);
        assert_eq!(read("v4.base64.channel.k8s.io", b"4eyJXaWR0aCI6ODAsIkhlaWdodCI6MjR9"), size);
        assert_eq!(read("v5.channel.k8s.io", &[255, 0]), Input::StdinEnds);
        let nothing: [(&str, &[u8]); 7] = [
            ("v5.channel.k8s.io", b""),
            ("v5.channel.k8s.io", b"\0"),
            ("v5.channel.k8s.io", &[255, 1]),
            ("v4.channel.k8s.io", &[255, 0]),
            ("v4.channel.k8s.io", b"\x01x"),
            ("v4.channel.k8s.io", b"\x04{\"Width\":-1,\"Height\":24}"),
            ("base64.channel.k8s.io", b"0?"),
        ];
        for (name, message) in nothing {
            assert_eq!(read(name, message), Input::Nothing, "{name} {message:?}");
        }
        assert_eq!(protocol("").write(STDOUT, b"hi"), (Data::Binary, Bytes::from_static(b"\x01hi")));
        let text = (Data::Text, Bytes::from_static(b"1aGk="));
        assert_eq!(protocol("base64.channel.k8s.io").write(STDOUT, b"hi"), text);
    }
}
