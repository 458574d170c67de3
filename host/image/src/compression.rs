//! Compressed streams, told apart by their first bytes: media types in the wild are not to be trusted. Where the bytes say
//! nothing, the media type is believed.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use crate::ImageError;

/// The buffer before a decoder, in bytes: one read of a fast disk.
const BUFFER_BYTES: usize = 256 << 10;
/// The first block of a tar archive.
const HEAD_BYTES: u64 = 512;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The magic numbers of zstd's skippable frames (RFC 8878, 3.1.2), little-endian: the first byte is any of 0x50 to 0x5f.
const ZSTD_SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];
/// Formats that are recognised to be refused by name.
const REFUSED: [(&[u8], &str); 5] = [
    (b"BZh", "bzip2"),
    (&[0xfd, b'7', b'z', b'X', b'Z'], "xz"),
    (b"PK\x03\x04", "zip"),
    (&[0x04, 0x22, 0x4d, 0x18], "lz4"),
    (b"LZIP", "lzip"),
];
/// Where a tar archive has its magic number, and what it is.
const TAR_MAGIC: (usize, &[u8]) = (257, b"ustar");

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    fn of(head: &[u8]) -> Option<Compression> {
        let is_skippable = |head: &[u8]| head[0] & 0xf0 == 0x50 && head[1..4] == ZSTD_SKIPPABLE;
        if head.starts_with(&GZIP) {
            Some(Compression::Gzip)
        } else if head.starts_with(&ZSTD) || (head.len() >= 4 && is_skippable(head)) {
            Some(Compression::Zstd)
        } else if head.get(TAR_MAGIC.0..).is_some_and(|rest| rest.starts_with(TAR_MAGIC.1)) {
            Some(Compression::None)
        } else {
            None
        }
    }

    /// What a media type's suffix says: `+gzip` (OCI), `.gzip` (Docker).
    fn of_media_type(media_type: &str) -> Compression {
        match media_type.rsplit(['+', '.']).next() {
            Some("gzip") => Compression::Gzip,
            Some("zstd") => Compression::Zstd,
            _ => Compression::None,
        }
    }
}

/// The plain bytes of a stream that is gzip, zstd or plain itself. `media_type` may be empty.
pub(crate) fn decompress<'a>(
    what: &str,
    media_type: &str,
    mut reader: impl Read + 'a,
) -> Result<Box<dyn Read + 'a>, ImageError> {
    let head = head(&mut reader).map_err(|error| ImageError::broken(what, &error))?;
    if let Some((_, name)) = REFUSED.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Err(ImageError::UnsupportedMediaType {
            what: what.to_owned(),
            media_type: (*name).to_owned(),
        });
    }
    // Nothing at all, or nothing but zeros, is an archive without entries, whatever it is called.
    let is_blank = head.iter().all(|byte| *byte == 0);
    let said = if is_blank { Compression::None } else { Compression::of_media_type(media_type) };
    let compression = Compression::of(&head).unwrap_or(said);
    let reader = BufReader::with_capacity(BUFFER_BYTES, io::Cursor::new(head).chain(reader));
    Ok(match compression {
        Compression::None => Box::new(reader),
        Compression::Gzip => Box::new(Members { decoder: Some(GzDecoder::new(reader)) }),
        Compression::Zstd => Box::new(Frames {
            reader,
            decoder: Decoder::new().map_err(|error| ImageError::broken(what, &error))?,
            at_start: true,
            more: false,
        }),
    })
}

/// As much of a stream's beginning as it takes to tell; pipes give it in small pieces.
fn head(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    reader.take(HEAD_BYTES).read_to_end(&mut head)?;
    Ok(head)
}

/// The media type of a layer with these first bytes.
pub(crate) fn layer_media_type(mut file: impl Read) -> io::Result<&'static str> {
    Ok(match Compression::of(&head(&mut file)?) {
        Some(Compression::Gzip) => "application/vnd.oci.image.layer.v1.tar+gzip",
        Some(Compression::Zstd) => "application/vnd.oci.image.layer.v1.tar+zstd",
        Some(Compression::None) | None => "application/vnd.oci.image.layer.v1.tar",
    })
}

/// Whether a stream goes on at a place where it may end: zeros to its end are padding, as tape drives and some writers
/// leave it.
fn goes_on(reader: &mut impl BufRead) -> io::Result<bool> {
    let mut padded = false;
    loop {
        let head = reader.fill_buf()?;
        let zeros = head.iter().take_while(|byte| **byte == 0).count();
        match (head.is_empty(), zeros == head.len()) {
            (true, _) => return Ok(false),
            (false, true) => {
                padded = true;
                reader.consume(zeros);
            }
            (false, false) if padded || zeros > 0 => {
                let what = "something follows the zeros after its end";
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            (false, false) => return Ok(true),
        }
    }
}

/// A gzip stream: members one after the other (RFC 1952, 2.2).
struct Members<R: BufRead> {
    /// `None` at the end.
    decoder: Option<GzDecoder<R>>,
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(decoder) = &mut self.decoder {
            let count = decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let Some(decoder) = self.decoder.take() else { break };
            let mut reader = decoder.into_inner();
            self.decoder = goes_on(&mut reader)?.then(|| GzDecoder::new(reader));
        }
        Ok(0)
    }
}

/// A zstd stream: frames and skippable frames one after the other, in any order (RFC 8878, 3.1).
struct Frames<R> {
    reader: R,
    decoder: Decoder<'static>,
    /// Whether the last frame is complete: the stream may end here.
    at_start: bool,
    /// Whether the decoder has more to give of what it was given.
    more: bool,
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if self.at_start && !self.more && !goes_on(&mut self.reader)? {
                return Ok(0);
            }
            let head = self.reader.fill_buf()?;
            if head.is_empty() && !self.more {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "incomplete frame"));
            }
            let mut input = InBuffer::around(head);
            let mut output = OutBuffer::around(buffer);
            let hint = self.decoder.run(&mut input, &mut output)?;
            let (taken, given) = (input.pos(), output.pos());
            self.reader.consume(taken);
            self.at_start = hint == 0;
            self.more = hint != 0 && given == buffer.len();
            if given > 0 {
                return Ok(given);
            }
            if taken == 0 && hint != 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "incomplete frame"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(stream: &[u8], media_type: &str) -> Result<Vec<u8>, String> {
        let mut reader = decompress("it", media_type, stream).map_err(|error| error.to_string())?;
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    fn skippable(number: u8, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap().to_le_bytes();
        [&[0x50 + number, 0x2a, 0x4d, 0x18], &length[..], content].concat()
    }

    fn zstd(content: &[u8]) -> Vec<u8> {
        zstd::encode_all(content, 1).unwrap()
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::bufread::GzEncoder::new(content, flate2::Compression::fast());
        let mut bytes = Vec::new();
        encoder.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn frames_and_members_may_come_in_any_order_and_be_padded() {
        let large = vec![7; 3 * BUFFER_BYTES];
        for number in 0..16 {
            let lead = [skippable(number, b"head"), zstd(b"x")].concat();
            assert_eq!(plain(&lead, "").unwrap(), b"x", "skippable frame {number} first");
        }
        let zeros = vec![0; 2 * BUFFER_BYTES];
        for (kind, stream, expected) in [
            ("skippable alone", skippable(3, b"toc"), &b""[..]),
            (
                "between and behind",
                [zstd(b"a"), skippable(0, &large), zstd(b"b"), skippable(9, b"")].concat(),
                b"ab",
            ),
            ("an empty frame", [zstd(b""), zstd(b"a"), zstd(b"")].concat(), b"a"),
            ("large frames", [zstd(&large), zstd(b"")].concat(), &large),
            ("padded zstd", [zstd(b"a"), zeros.clone()].concat(), b"a"),
            ("members", [gzip(b"a"), gzip(b""), gzip(b"b")].concat(), b"ab"),
            ("large members", [gzip(&large), gzip(b"")].concat(), &large),
            ("padded gzip", [gzip(b"a"), gzip(b"b"), zeros.clone()].concat(), b"ab"),
            ("nothing", Vec::new(), b""),
        ] {
            assert_eq!(plain(&stream, "").unwrap(), expected, "{kind}");
        }
        assert_eq!(plain(&zeros[..1024], "application/x.tar+gzip").unwrap(), &zeros[..1024]);
    }

    #[test]
    fn streams_that_end_early_or_go_on_wrongly_are_refused() {
        let large: Vec<u8> =
            (0..600_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
        for (kind, stream) in [
            ("half a frame", zstd(&large)[..1000].to_vec()),
            ("half a member", gzip(&large)[..1000].to_vec()),
            ("half a skippable frame", skippable(0, b"head")[..10].to_vec()),
            ("no frame", [zstd(b"a"), b"rubbish".to_vec()].concat()),
            ("no member", [gzip(b"a"), b"rubbish".to_vec()].concat()),
            ("zeros between", [gzip(b"a"), vec![0; 8], gzip(b"b")].concat()),
        ] {
            assert!(plain(&stream, "").is_err(), "{kind}");
        }
    }

    #[test]
    fn the_media_type_is_believed_where_the_bytes_say_nothing() {
        let tar = [vec![b'x'; 257], b"ustar\0".to_vec(), vec![b'y'; 300]].concat();
        assert_eq!(plain(&tar, "application/vnd.oci.image.layer.v1.tar+gzip").unwrap(), tar, "bytes say tar");
        assert_eq!(plain(b"old tar", "application/vnd.oci.image.layer.v1.tar").unwrap(), b"old tar");
        for media_type in [
            "application/vnd.oci.image.layer.v1.tar+zstd",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        ] {
            assert!(plain(b"neither the one nor the other", media_type).is_err(), "{media_type}");
        }
        let error = plain(b"BZh91AY&SY", "").unwrap_err();
        assert_eq!(error, "unsupported media type \"bzip2\" of it");
    }
}
