//! Compressed streams, told apart by their first bytes: media types in the wild are not to be trusted.

use std::io::{self, BufRead, BufReader, Read};

use crate::ImageError;

/// The buffer before a decoder, in bytes: one read of a fast disk.
const BUFFER_BYTES: usize = 256 << 10;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Formats that are recognised to be refused by name.
const REFUSED: [(&[u8], &str); 3] =
    [(b"BZh", "bzip2"), (&[0xfd, b'7', b'z', b'X', b'Z'], "xz"), (b"PK\x03\x04", "zip")];

/// The plain bytes of a stream that is gzip, zstd or plain itself.
pub(crate) fn decompress<'a>(what: &str, reader: impl Read + 'a) -> Result<Box<dyn Read + 'a>, ImageError> {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, reader);
    let head = reader.fill_buf().map_err(|error| ImageError::broken("", &error))?;
    if let Some((_, name)) = REFUSED.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Err(ImageError::UnsupportedMediaType {
            what: what.to_owned(),
            media_type: (*name).to_owned(),
        });
    }
    if head.starts_with(&GZIP) {
        return Ok(Box::new(flate2::bufread::MultiGzDecoder::new(reader)));
    }
    if head.starts_with(&ZSTD) {
        let decoder = zstd::stream::read::Decoder::with_buffer(reader);
        return Ok(Box::new(decoder.map_err(|error| ImageError::broken("", &error))?));
    }
    Ok(Box::new(reader))
}

/// The media type of a layer with these first bytes.
pub(crate) fn layer_media_type(mut file: impl Read) -> io::Result<&'static str> {
    let mut head = [0; 4];
    let mut length = 0;
    while length < head.len() {
        match file.read(&mut head[length..])? {
            0 => break,
            count => length += count,
        }
    }
    Ok(match () {
        () if head[..2] == GZIP => "application/vnd.oci.image.layer.v1.tar+gzip",
        () if head == ZSTD => "application/vnd.oci.image.layer.v1.tar+zstd",
        () => "application/vnd.oci.image.layer.v1.tar",
    })
}
