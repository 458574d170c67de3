//! Netlink messages: encoding, sending, reading answers. No policy here.
//!
//! The kernel handles a request inside `sendmsg`, so acknowledgements wait in the socket when the call returns; only dumps
//! come in parts.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, setsockopt, socket,
    sockopt,
};

/// A datagram of a dump is at most this long (the kernel's `NLMSG_GOODSIZE` grown to the reader's buffer, 32 KiB).
const RECEIVE_BYTES: usize = 64 << 10;
/// Acknowledgements of the largest batch sent here (a few thousand map elements) must fit the socket.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// How often a dump is asked for that changes keep interrupting: each takes well under a millisecond.
const DUMP_ATTEMPTS: usize = 50;
const HEADER_BYTES: usize = 16;
const NLA_F_NESTED: u16 = 1 << 15;
const NLA_TYPE_MASK: u16 = 0x3fff;

/// Attributes being encoded; numbers are in host order unless the name says `be` (netfilter wants big-endian).
#[derive(Default)]
pub(crate) struct Attrs(Vec<u8>);

impl Attrs {
    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Attrs {
        let length = u16::try_from(4 + value.len()).expect("attributes made here are short");
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub(crate) fn str(&mut self, kind: u16, value: &str) -> &mut Attrs {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes)
    }

    pub(crate) fn u32(&mut self, kind: u16, value: u32) -> &mut Attrs {
        self.bytes(kind, &value.to_ne_bytes())
    }

    pub(crate) fn be32(&mut self, kind: u16, value: u32) -> &mut Attrs {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Attrs)) -> &mut Attrs {
        self.nest_after(kind, &[], fill)
    }

    /// A nest whose attributes follow a fixed header (a veth peer's `ifinfomsg`).
    pub(crate) fn nest_after(
        &mut self,
        kind: u16,
        header: &[u8],
        fill: impl FnOnce(&mut Attrs),
    ) -> &mut Attrs {
        let mut inner = Attrs(header.to_vec());
        fill(&mut inner);
        self.bytes(kind | NLA_F_NESTED, &inner.0)
    }
}

pub(crate) struct Message(Vec<u8>);

impl Message {
    /// `fixed` is the family's header (`ifinfomsg`, `nfgenmsg`, …).
    pub(crate) fn new(kind: u16, flags: i32, fixed: &[u8], fill: impl FnOnce(&mut Attrs)) -> Message {
        let flags = u16::try_from(flags).expect("netlink flags are 16 bits");
        let mut attrs = Attrs(Vec::with_capacity(256));
        attrs.0.extend([0; 4]);
        attrs.0.extend(kind.to_ne_bytes());
        attrs.0.extend((flags | libc::NLM_F_REQUEST as u16).to_ne_bytes());
        attrs.0.extend([0; 8]);
        attrs.0.extend(fixed);
        fill(&mut attrs);
        let length = u32::try_from(attrs.0.len()).expect("messages made here are short");
        attrs.0[..4].copy_from_slice(&length.to_ne_bytes());
        Message(attrs.0)
    }
}

/// An answer: its type, its flags and what follows the netlink header.
pub(crate) struct Reply {
    pub(crate) kind: u16,
    flags: u16,
    pub(crate) body: Vec<u8>,
}

/// The attributes in `bytes`, in order; stops at the first malformed one.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & NLA_TYPE_MASK;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// A native-order number of an answer.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// A string attribute without its terminator.
pub(crate) fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned()
}

/// A netlink socket; it speaks to the network namespace it was opened in, whichever thread uses it later.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

impl Socket {
    /// A socket for links, addresses and routes.
    pub(crate) fn route() -> io::Result<Socket> {
        Socket::open(SockProtocol::NetlinkRoute)
    }

    /// A socket for nf_tables.
    pub(crate) fn netfilter() -> io::Result<Socket> {
        Socket::open(SockProtocol::NetlinkNetFilter)
    }

    fn open(protocol: SockProtocol) -> io::Result<Socket> {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        setsockopt(&fd, sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES)?;
        Ok(Socket(fd))
    }

    /// Sends one request and waits for its acknowledgement.
    pub(crate) fn request(&self, message: Message) -> io::Result<()> {
        self.batch(vec![message])
    }

    /// Sends requests in one datagram; the first refusal is the error. Each message is acknowledged.
    pub(crate) fn batch(&self, messages: Vec<Message>) -> io::Result<()> {
        let mut datagram = Vec::new();
        for Message(mut bytes) in messages {
            let flags = u16::from_ne_bytes([bytes[6], bytes[7]]) | libc::NLM_F_ACK as u16;
            bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
            datagram.extend(bytes);
        }
        self.send(&datagram)?;
        let mut refusal = Ok(());
        self.receive_waiting(|reply| {
            if let (Ok(()), Err(error)) = (&refusal, acknowledgement(&reply)) {
                refusal = Err(error);
            }
        })?;
        refusal
    }

    /// Asks for one object: its answer, or `None` when there is no such object.
    pub(crate) fn get(&self, message: Message) -> io::Result<Option<Reply>> {
        self.send(&message.0)?;
        let (mut found, mut refusal) = (None, Ok(()));
        self.receive_waiting(|reply| match acknowledgement(&reply) {
            Err(error) => refusal = Err(error),
            Ok(()) if reply.kind != libc::NLMSG_ERROR as u16 => found = Some(reply),
            Ok(()) => {}
        })?;
        match refusal {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT)) => Ok(None),
            Err(error) => Err(error),
            Ok(()) => Ok(found),
        }
    }

    /// Asks for all objects of a kind (the message carries `NLM_F_DUMP`). A list that changed while the kernel wrote it may
    /// lack entries, so it is asked for again.
    pub(crate) fn dump(&self, message: Message) -> io::Result<Vec<Reply>> {
        for _ in 0..DUMP_ATTEMPTS {
            self.send(&message.0)?;
            if let Some(replies) = self.receive_dump()? {
                return Ok(replies);
            }
        }
        Err(io::Error::other(format!("the kernel's list changed {DUMP_ATTEMPTS} times while it was read")))
    }

    /// One dump; `None` when it was interrupted by a change.
    fn receive_dump(&self) -> io::Result<Option<Vec<Reply>>> {
        let (mut replies, mut whole) = (Vec::new(), true);
        loop {
            let datagram = self.receive(MsgFlags::empty())?;
            for reply in split(&datagram) {
                whole &= reply.flags & libc::NLM_F_DUMP_INTR as u16 == 0;
                if reply.kind == libc::NLMSG_DONE as u16 {
                    return Ok(whole.then_some(replies));
                }
                acknowledgement(&reply)?;
                replies.push(reply);
            }
        }
    }

    fn send(&self, datagram: &[u8]) -> io::Result<()> {
        sendto(self.0.as_raw_fd(), datagram, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
        Ok(())
    }

    fn receive(&self, flags: MsgFlags) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; RECEIVE_BYTES];
        let length = recv(self.0.as_raw_fd(), &mut buffer, flags)?;
        buffer.truncate(length);
        Ok(buffer)
    }

    /// Reads what waits in the socket.
    fn receive_waiting(&self, mut each: impl FnMut(Reply)) -> io::Result<()> {
        loop {
            match self.receive(MsgFlags::MSG_DONTWAIT) {
                Ok(datagram) => split(&datagram).for_each(&mut each),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// The messages of one datagram.
fn split(mut datagram: &[u8]) -> impl Iterator<Item = Reply> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(datagram, 0)?).ok()?;
        let kind = u16::from_ne_bytes(datagram.get(4..6)?.try_into().ok()?);
        let flags = u16::from_ne_bytes(datagram.get(6..8)?.try_into().ok()?);
        let body = datagram.get(HEADER_BYTES..length)?.to_vec();
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Reply { kind, flags, body })
    })
}

/// The refusal an `NLMSG_ERROR` carries; anything else is none.
fn acknowledgement(reply: &Reply) -> io::Result<()> {
    if reply.kind != libc::NLMSG_ERROR as u16 {
        return Ok(());
    }
    match u32_at(&reply.body, 0).map(u32::cast_signed) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code)),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_survive_a_round_trip() {
        let mut attrs = Attrs::default();
        attrs.str(3, "eth0").nest(18, |info| {
            info.u32(1, 7).be32(2, 7);
        });
        let read: Vec<_> = attributes(&attrs.0).collect();
        assert_eq!(read[0], (3, &b"eth0\0"[..]));
        assert_eq!(text(read[0].1), "eth0");
        let nested: Vec<_> = attributes(read[1].1).collect();
        assert_eq!((read[1].0, nested[0].1, nested[1].1), (18, &7_u32.to_ne_bytes()[..], &[0, 0, 0, 7][..]));
    }

    #[test]
    fn malformed_attributes_end_the_list() {
        for bytes in [&[][..], &[0, 0, 0, 0], &[3, 0, 1, 0], &[40, 0, 1, 0, 9], &[1]] {
            assert_eq!(attributes(bytes).count(), 0, "{bytes:?}");
        }
    }
}
