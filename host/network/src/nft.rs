//! nf_tables messages and expressions: the part of `linux/netfilter/nf_tables.h` that Berth's rules need.

use std::io;

use crate::netlink::{Attrs, Message, Reply, Socket, attributes, text};

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

pub(crate) const NEWTABLE: u16 = 0;
pub(crate) const DELTABLE: u16 = 2;
pub(crate) const NEWCHAIN: u16 = 3;
pub(crate) const GETCHAIN: u16 = 4;
pub(crate) const DELCHAIN: u16 = 5;
pub(crate) const NEWRULE: u16 = 6;
pub(crate) const GETRULE: u16 = 7;
pub(crate) const DELRULE: u16 = 8;
pub(crate) const NEWSET: u16 = 9;
pub(crate) const NEWSETELEM: u16 = 12;
pub(crate) const GETSETELEM: u16 = 13;
pub(crate) const DELSETELEM: u16 = 14;

/// A table: its family (`NFPROTO_*`) and its name.
#[derive(Clone, Copy)]
pub(crate) struct Table<'a> {
    family: u8,
    pub(crate) name: &'a str,
}

impl<'a> Table<'a> {
    /// A table for IPv4 packets.
    pub(crate) fn ip(name: &'a str) -> Table<'a> {
        Table { family: 2, name }
    }

    /// A table for frames that come in by one link.
    pub(crate) fn netdev(name: &'a str) -> Table<'a> {
        Table { family: 5, name }
    }
}

/// `NF_INET_*`: where a chain hooks in.
#[derive(Clone, Copy)]
pub(crate) enum Hook {
    Prerouting = 0,
    Output = 3,
    Postrouting = 4,
}

/// A register of 4 bytes; `Reg(n)` is `NFT_REG32_n`.
#[derive(Clone, Copy)]
pub(crate) struct Reg(pub(crate) u32);

impl Reg {
    fn number(self) -> u32 {
        8 + self.0
    }
}

/// What a `cmp` asks.
#[derive(Clone, Copy)]
pub(crate) enum Is {
    Equal = 0,
    NotEqual = 1,
}

/// A message about a table or something in it, for a batch.
pub(crate) fn message(table: Table<'_>, kind: u16, flags: i32, fill: impl FnOnce(&mut Attrs)) -> Message {
    Message::new(SUBSYSTEM << 8 | kind, flags, &[table.family, 0, 0, 0], |attrs| {
        fill(attrs.str(1, table.name))
    })
}

/// Messages that make a table anew, empty, whether or not there is one.
pub(crate) fn new_table(table: Table<'_>) -> Vec<Message> {
    // Creating first makes deleting work where there is none.
    [(NEWTABLE, libc::NLM_F_CREATE), (DELTABLE, 0), (NEWTABLE, libc::NLM_F_CREATE)]
        .map(|(kind, flags)| message(table, kind, flags, |_| {}))
        .into()
}

/// Deletes a table; none is fine.
pub(crate) fn delete_table(socket: &Socket, table: Table<'_>) -> io::Result<()> {
    match commit(socket, vec![message(table, DELTABLE, 0, |_| {})]) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Carries the messages out as one transaction: all of them, or none.
pub(crate) fn commit(socket: &Socket, messages: Vec<Message>) -> io::Result<()> {
    let marker = |kind| Message::new(kind, 0, &[0, 0, 0, SUBSYSTEM as u8], |_| {});
    let batch = [marker(BATCH_BEGIN)].into_iter().chain(messages).chain([marker(BATCH_END)]).collect();
    socket.batch(batch)
}

/// The objects of a kind in a table.
pub(crate) fn dump(
    socket: &Socket,
    table: Table<'_>,
    kind: u16,
    fill: impl FnOnce(&mut Attrs),
) -> io::Result<Vec<Reply>> {
    socket.dump(message(table, kind, libc::NLM_F_DUMP, fill))
}

/// The chains of all tables of family `ip`.
pub(crate) fn all_chains(socket: &Socket) -> io::Result<Vec<Reply>> {
    let fixed = [Table::ip("").family, 0, 0, 0];
    socket.dump(Message::new(SUBSYSTEM << 8 | GETCHAIN, libc::NLM_F_DUMP, &fixed, |_| {}))
}

/// The attributes of a dumped object.
pub(crate) fn body(reply: &Reply) -> impl Iterator<Item = (u16, &[u8])> {
    attributes(reply.body.get(4..).unwrap_or_default())
}

/// A base chain.
pub(crate) fn chain(table: Table<'_>, name: &str, kind: &str, hook: Hook, priority: i32) -> Message {
    message(table, NEWCHAIN, libc::NLM_F_CREATE, |attrs| {
        attrs
            .str(3, name)
            .nest(4, |h| {
                h.be32(1, hook as u32).be32(2, priority.cast_unsigned());
            })
            .str(7, kind);
    })
}

/// A chain for the frames that come in by a link, of its name. What no rule accepts is dropped.
pub(crate) fn link_chain(table: Table<'_>, link: &str, priority: i32) -> Message {
    message(table, NEWCHAIN, libc::NLM_F_CREATE, |attrs| {
        attrs
            .str(3, link)
            .nest(4, |h| {
                // Ingress.
                h.be32(1, 0).be32(2, priority.cast_unsigned()).str(3, link);
            })
            .be32(5, 0)
            .str(7, "filter");
    })
}

/// Deletes a chain with its rules.
pub(crate) fn delete_chain(table: Table<'_>, name: &str) -> Message {
    message(table, DELCHAIN, 0, |attrs| _ = attrs.str(3, name))
}

/// A rule at a chain's end.
pub(crate) fn rule(table: Table<'_>, chain: &str, expressions: &[Expression]) -> Message {
    message(table, NEWRULE, libc::NLM_F_CREATE | libc::NLM_F_APPEND, |attrs| {
        attrs.str(2, chain).nest(4, |list| push(list, expressions));
    })
}

/// A rule at a chain's beginning, with a comment to know it again.
pub(crate) fn first_rule(
    table: Table<'_>,
    chain: &str,
    comment: &[u8],
    expressions: &[Expression],
) -> Message {
    message(table, NEWRULE, libc::NLM_F_CREATE, |attrs| {
        attrs.str(2, chain).nest(4, |list| push(list, expressions)).bytes(7, comment);
    })
}

fn push(list: &mut Attrs, expressions: &[Expression]) {
    for expression in expressions {
        list.nest(1, |element| {
            element.str(1, expression.name()).nest(2, |data| expression.encode(data));
        });
    }
}

/// The step of a rule.
#[derive(Clone)]
pub(crate) enum Expression {
    /// Loads the IP source address.
    SourceAddress(Reg),
    /// Loads the IP destination address.
    DestinationAddress(Reg),
    /// Loads a frame's source address and its type, 8 bytes.
    FrameSender(Reg),
    /// Loads the sender's addresses of ARP, 10 bytes.
    ArpSender(Reg),
    /// Loads the transport destination port.
    DestinationPort(Reg),
    /// Loads the transport protocol's number.
    TransportProtocol(Reg),
    /// Loads the incoming link's name (16 bytes).
    IncomingLink(Reg),
    /// Loads the outgoing link's name (16 bytes).
    OutgoingLink(Reg),
    /// Loads conntrack's status bits (4 bytes, host order).
    ConntrackStatus(Reg),
    /// Loads the type (`RTN_*`, host order) of the destination address.
    DestinationType(Reg),
    /// Ands 4 bytes with a mask.
    And(Reg, [u8; 4]),
    /// Goes on only if the register (compared over the value's length) is, or is not, the value.
    Compare(Reg, Is, Vec<u8>),
    /// Looks the key that starts at the first register up in a map, into the second.
    Lookup(&'static str, Reg, Reg),
    /// Rewrites the destination to the address and the port in the registers.
    DestinationNat(Reg, Reg),
    /// Rewrites the source to the outgoing link's address.
    Masquerade,
    /// `NF_ACCEPT` (1) or `NF_DROP` (0).
    Verdict(u32),
}

impl Expression {
    fn name(&self) -> &'static str {
        match self {
            Expression::SourceAddress(_)
            | Expression::FrameSender(_)
            | Expression::ArpSender(_)
            | Expression::DestinationAddress(_)
            | Expression::DestinationPort(_) => "payload",
            Expression::TransportProtocol(_) | Expression::IncomingLink(_) | Expression::OutgoingLink(_) => {
                "meta"
            }
            Expression::ConntrackStatus(_) => "ct",
            Expression::DestinationType(_) => "fib",
            Expression::And(..) => "bitwise",
            Expression::Compare(..) => "cmp",
            Expression::Lookup(..) => "lookup",
            Expression::DestinationNat(..) => "nat",
            Expression::Masquerade => "masq",
            Expression::Verdict(_) => "immediate",
        }
    }

    fn encode(&self, data: &mut Attrs) {
        match self {
            Expression::SourceAddress(to) => payload(data, *to, NETWORK_HEADER, 12, 4),
            Expression::DestinationAddress(to) => payload(data, *to, NETWORK_HEADER, 16, 4),
            Expression::FrameSender(to) => payload(data, *to, LINK_HEADER, 6, 8),
            Expression::ArpSender(to) => payload(data, *to, NETWORK_HEADER, 8, 10),
            Expression::DestinationPort(to) => payload(data, *to, TRANSPORT_HEADER, 2, 2),
            Expression::IncomingLink(to) => meta(data, *to, 6),
            Expression::OutgoingLink(to) => meta(data, *to, 7),
            Expression::TransportProtocol(to) => meta(data, *to, 16),
            Expression::ConntrackStatus(to) => _ = data.be32(1, to.number()).be32(2, 2),
            // Result: address type; flags: look at the destination.
            Expression::DestinationType(to) => _ = data.be32(1, to.number()).be32(2, 3).be32(3, 2),
            Expression::And(at, mask) => {
                data.be32(1, at.number()).be32(2, at.number()).be32(3, 4);
                data.nest(4, |m| _ = m.bytes(1, mask)).nest(5, |x| _ = x.bytes(1, &[0; 4]));
            }
            Expression::Compare(at, is, value) => {
                data.be32(1, at.number()).be32(2, *is as u32).nest(3, |v| _ = v.bytes(1, value));
            }
            Expression::Lookup(map, key, to) => {
                _ = data.str(1, map).be32(2, key.number()).be32(3, to.number())
            }
            Expression::DestinationNat(address, port) => {
                data.be32(1, 1)
                    .be32(2, libc::AF_INET as u32)
                    .be32(3, address.number())
                    .be32(5, port.number());
            }
            Expression::Masquerade => {}
            Expression::Verdict(code) => {
                // Register 0 is the verdict.
                data.be32(1, 0).nest(2, |d| _ = d.nest(2, |v| _ = v.be32(1, *code)));
            }
        }
    }
}

const LINK_HEADER: u32 = 0;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;

fn payload(data: &mut Attrs, to: Reg, base: u32, offset: u32, length: u32) {
    data.be32(1, to.number()).be32(2, base).be32(3, offset).be32(4, length);
}

fn meta(data: &mut Attrs, to: Reg, key: u32) {
    data.be32(1, to.number()).be32(2, key);
}

/// A link's name as `meta` loads it.
pub(crate) fn link_name(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes
}

/// A map element: key and value.
pub(crate) fn elements(
    kind: u16,
    table: Table<'_>,
    set: &str,
    elements: &[(Vec<u8>, Option<Vec<u8>>)],
) -> Message {
    message(table, kind, libc::NLM_F_CREATE, |attrs| {
        attrs.str(2, set).nest(3, |list| {
            for (key, value) in elements {
                list.nest(1, |element| {
                    element.nest(1, |k| _ = k.bytes(1, key));
                    if let Some(value) = value {
                        element.nest(2, |v| _ = v.bytes(1, value));
                    }
                });
            }
        });
    })
}

/// The elements of a dumped map.
pub(crate) fn read_elements(replies: &[Reply]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let value =
        |wrapped: &[u8]| attributes(wrapped).find(|(kind, _)| *kind == 1).map(|(_, bytes)| bytes.to_vec());
    let mut found = Vec::new();
    for (_, list) in replies.iter().flat_map(body).filter(|(kind, _)| *kind == 3) {
        for (_, element) in attributes(list) {
            let part =
                |wanted| attributes(element).find(|(kind, _)| *kind == wanted).and_then(|(_, w)| value(w));
            if let (Some(key), Some(data)) = (part(1), part(2)) {
                found.push((key, data));
            }
        }
    }
    found
}

/// The names and policy that a dumped chain has: table, chain, and whether it drops by default.
pub(crate) fn read_chain(reply: &Reply) -> (String, String, bool) {
    let (mut table, mut name, mut drops) = (String::new(), String::new(), false);
    for (kind, value) in body(reply) {
        match kind {
            1 => table = text(value),
            3 => name = text(value),
            5 => drops = value == [0; 4],
            _ => {}
        }
    }
    (table, name, drops)
}
