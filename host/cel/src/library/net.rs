//! IP addresses and ranges of them.

use std::net::IpAddr;

use crate::error::EvalError;
use crate::foreign::Foreign;
use crate::functions::{Answer, Declaration, Tools};
use crate::value::Value;

macro_rules! tests {
    ($($function:literal $id:literal $test:expr;)*) => {
        &[$(Declaration::member($function, $id, "ip -> bool", |_, arguments| {
            Ok(Value::Bool($test(&address(&arguments[0])?)))
        })),*]
    };
}

pub(crate) const DECLARATIONS: &[Declaration] = &[
    Declaration::global("ip", "string_to_ip", "string -> ip", |_, arguments| {
        Ok(Foreign::Ip(parse(arguments[0].text()?).map_err(EvalError::new)?).into())
    }),
    Declaration::member("family", "ip_family", "ip -> int", |_, arguments| {
        Ok(Value::Int(if address(&arguments[0])?.is_ipv4() { 4 } else { 6 }))
    }),
    Declaration::global("ip.isCanonical", "ip_is_canonical", "string -> bool", |_, arguments| {
        let text = arguments[0].text()?;
        Ok(Value::Bool(parse(text).map_err(EvalError::new)?.to_string() == text))
    }),
    Declaration::global("isIP", "is_ip", "string -> bool", |_, arguments| {
        Ok(Value::Bool(parse(arguments[0].text()?).is_ok()))
    }),
    Declaration::global("string", "ip_to_string", "ip -> string", show),
    Declaration::global("cidr", "string_to_cidr", "string -> cidr", |_, arguments| {
        let fault =
            |why| EvalError::new(format!("network address parse error during conversion from string: {why}"));
        let (address, bits) = parse_range(arguments[0].text()?).map_err(fault)?;
        Ok(Foreign::Cidr(address, bits).into())
    }),
    Declaration::global("isCIDR", "is_cidr", "string -> bool", |_, arguments| {
        Ok(Value::Bool(parse_range(arguments[0].text()?).is_ok()))
    }),
    Declaration::member("containsIP", "cidr_contains_ip_string", "cidr, string -> bool", contains_ip),
    Declaration::member("containsIP", "cidr_contains_ip_ip", "cidr, ip -> bool", contains_ip),
    Declaration::member("containsCIDR", "cidr_contains_cidr_string", "cidr, string -> bool", contains_range),
    Declaration::member("containsCIDR", "cidr_contains_cidr", "cidr, cidr -> bool", contains_range),
    Declaration::member("ip", "cidr_ip", "cidr -> ip", |_, arguments| {
        Ok(Foreign::Ip(range(&arguments[0])?.0).into())
    }),
    Declaration::member("prefixLength", "cidr_prefix_length", "cidr -> int", |_, arguments| {
        Ok(Value::Int(i64::from(range(&arguments[0])?.1)))
    }),
    Declaration::member("masked", "cidr_masked", "cidr -> cidr", |_, arguments| {
        let (address, bits) = range(&arguments[0])?;
        Ok(Foreign::Cidr(masked(address, bits), bits).into())
    }),
    Declaration::global("string", "cidr_to_string", "cidr -> string", show),
];

/// What kind of address it is.
pub(crate) const KINDS: &[Declaration] = tests! {
    "isUnspecified" "ip_is_unspecified" IpAddr::is_unspecified;
    "isLoopback" "ip_is_loopback" IpAddr::is_loopback;
    "isLinkLocalMulticast" "ip_is_link_local_multicast" is_link_local_multicast;
    "isLinkLocalUnicast" "ip_is_link_local_unicast" is_link_local_unicast;
    "isGlobalUnicast" "ip_is_global_unicast" |address: &IpAddr| {
        let is_broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
        let is_special = address.is_unspecified() || address.is_loopback() || address.is_multicast();
        !is_broadcast && !is_special && !is_link_local_unicast(address)
    };
};

fn is_link_local_unicast(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn is_link_local_multicast(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.octets()[..3] == [224, 0, 0],
        IpAddr::V6(address) => address.segments()[0] & 0xff0f == 0xff02,
    }
}

fn parse(text: &str) -> Result<IpAddr, String> {
    if text.contains('%') && text.contains(':') {
        return Err(format!("IP address {text:?} with zone value is not allowed"));
    }
    let address: IpAddr = text.parse().map_err(|_| {
        let why = format!("ParseAddr({text:?}): unable to parse IP");
        format!("IP Address {text:?} parse error during conversion from string: {why}")
    })?;
    unmapped(address, text)
}

fn unmapped(address: IpAddr, text: &str) -> Result<IpAddr, String> {
    match address {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed"))
        }
        _ => Ok(address),
    }
}

fn parse_range(text: &str) -> Result<(IpAddr, u8), String> {
    let wrong = |why: &str| {
        format!(
            "network address parse error during conversion from string: netip.ParsePrefix({text:?}): {why}"
        )
    };
    let (address, bits) = text.rsplit_once('/').ok_or_else(|| wrong("no '/'"))?;
    let address: IpAddr =
        address.parse().map_err(|_| wrong(&format!("ParseAddr({address:?}): unable to parse IP")))?;
    let is_plain = bits == "0" || (!bits.starts_with('0') && bits.bytes().all(|c| c.is_ascii_digit()));
    let bits: u8 = bits
        .parse()
        .ok()
        .filter(|_| is_plain)
        .ok_or_else(|| wrong(&format!("bad bits after slash: {bits:?}")))?;
    if bits > width(address) {
        return Err(wrong("prefix length out of range"));
    }
    unmapped(address, text).map(|address| (address, bits))
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4((u32::from(v4) & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6((u128::from(v6) & mask).into())
        }
    }
}

fn address(value: &Value<'_>) -> Result<IpAddr, EvalError> {
    if let Foreign::Ip(address) = value.foreign()? { Ok(*address) } else { Err(EvalError::NO_OVERLOAD) }
}

fn range(value: &Value<'_>) -> Result<(IpAddr, u8), EvalError> {
    if let Foreign::Cidr(address, bits) = value.foreign()? {
        Ok((*address, *bits))
    } else {
        Err(EvalError::NO_OVERLOAD)
    }
}

fn is_within(address: IpAddr, (network, bits): (IpAddr, u8)) -> bool {
    address.is_ipv4() == network.is_ipv4() && masked(address, bits) == masked(network, bits)
}

fn contains_ip<'v>(_: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let other = match &arguments[1] {
        Value::String(text) => parse(text).map_err(EvalError::new)?,
        value => address(value)?,
    };
    Ok(Value::Bool(is_within(other, range(&arguments[0])?)))
}

fn contains_range<'v>(_: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    let other = match &arguments[1] {
        Value::String(text) => parse_range(text).map_err(EvalError::new)?,
        value => range(value)?,
    };
    let mine = range(&arguments[0])?;
    Ok(Value::Bool(mine.1 <= other.1 && is_within(other.0, mine)))
}

fn show<'v>(_: &mut Tools, arguments: &[Value<'v>]) -> Answer<'v> {
    match arguments[0].foreign()? {
        Foreign::Ip(address) => Ok(Value::from(address.to_string())),
        Foreign::Cidr(address, bits) => Ok(Value::from(format!("{address}/{bits}"))),
        _ => Err(EvalError::NO_OVERLOAD),
    }
}
