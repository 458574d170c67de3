//! Content digests: `sha256:<64 hex digits>`.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::ImageError;
use crate::error::plain;

/// A sha256 content digest, as the OCI image specification writes it (`sha256:<64 lower-case hex digits>`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    /// Refuses content that has another digest.
    pub(crate) fn check(self, what: &str, bytes: &[u8]) -> Result<(), ImageError> {
        match Digest::of(bytes) {
            actual if actual == self => Ok(()),
            actual => Err(ImageError::WrongDigest { what: what.to_owned(), expected: self, actual }),
        }
    }

    /// The 64 hex digits without the algorithm: the name of a file in the store.
    pub fn hex(&self) -> String {
        let mut hex = String::with_capacity(64);
        for byte in self.0 {
            for nibble in [byte >> 4, byte & 15] {
                hex.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
        hex
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = ImageError;

    /// Parses `sha256:<hex>`; any other algorithm is refused by name.
    fn from_str(text: &str) -> Result<Digest, ImageError> {
        let invalid = || ImageError::InvalidDigest { text: plain(text) };
        let hex = text.strip_prefix("sha256:").ok_or_else(invalid)?;
        if hex.len() != 64 || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(invalid());
        }
        let mut bytes = [0_u8; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).map_err(|_| invalid())?;
        }
        Ok(Digest(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Passes bytes through (reading or writing) and digests them on the way.
pub(crate) struct Digesting<T> {
    inner: T,
    hasher: Sha256,
    size_bytes: u64,
}

impl<T> Digesting<T> {
    pub(crate) fn new(inner: T) -> Digesting<T> {
        Digesting { inner, hasher: Sha256::new(), size_bytes: 0 }
    }

    pub(crate) fn finish(self) -> (T, Digest, u64) {
        (self.inner, Digest(self.hasher.finalize().into()), self.size_bytes)
    }
}

impl<T: Read> Read for Digesting<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.size_bytes += count as u64;
        Ok(count)
    }
}

impl<T: Write> Write for Digesting<T> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.size_bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_it_prints_and_refuses_the_rest() {
        let digest = Digest::of(b"");
        assert_eq!(
            digest.to_string(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        let upper = digest.to_string().to_uppercase();
        for bad in
            ["", "sha256:", "sha256:abc", "sha512:00", "md5:d41d8cd98f00b204e9800998ecf8427e", upper.as_str()]
        {
            assert!(bad.parse::<Digest>().is_err(), "{bad:?}");
        }
    }
}
