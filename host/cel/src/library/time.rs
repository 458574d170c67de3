//! Parts of times and durations.

use jiff::Zoned;
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};

use crate::error::EvalError;
use crate::functions::{Answer, Declaration};
use crate::time::{Timestamp, clock};
use crate::value::Value;

macro_rules! parts {
    ($($function:literal $id:literal $part:expr;)*) => {
        &[$(
            Declaration::member($function, $id, "timestamp -> int", |_, arguments| part(arguments, $part)),
            Declaration::member($function, concat!($id, "_with_tz"), "timestamp, string -> int", |_, arguments| {
                part(arguments, $part)
            }),
        )*]
    };
}

pub(crate) const DECLARATIONS: &[Declaration] = parts! {
    "getFullYear" "timestamp_to_year" |time| i64::from(time.year());
    "getMonth" "timestamp_to_month" |time| i64::from(time.month()) - 1;
    "getDayOfYear" "timestamp_to_day_of_year" |time| i64::from(time.day_of_year()) - 1;
    "getDayOfMonth" "timestamp_to_day_of_month" |time| i64::from(time.day()) - 1;
    "getDate" "timestamp_to_day_of_month_1_based" |time| i64::from(time.day());
    "getDayOfWeek" "timestamp_to_day_of_week" |time| i64::from(time.weekday().to_sunday_zero_offset());
    "getHours" "timestamp_to_hours_tz" |time| i64::from(time.hour());
    "getMinutes" "timestamp_to_minutes_tz" |time| i64::from(time.minute());
    "getSeconds" "timestamp_to_seconds_tz" |time| i64::from(time.second());
    "getMilliseconds" "timestamp_to_milliseconds_tz" |time| i64::from(time.subsec_nanosecond() / 1_000_000);
};

/// Durations have fewer parts, and those are wholes.
pub(crate) const DURATIONS: &[Declaration] = &[
    Declaration::member("getHours", "duration_to_hours", "duration -> int", |_, arguments| span(arguments, HOUR)),
    Declaration::member("getMinutes", "duration_to_minutes", "duration -> int", |_, arguments| span(arguments, MINUTE)),
    Declaration::member("getSeconds", "duration_to_seconds", "duration -> int", |_, arguments| span(arguments, SECOND)),
    Declaration::member("getMilliseconds", "duration_to_milliseconds", "duration -> int", |_, arguments| {
        span(arguments, SECOND / 1_000)
    }),
];

const SECOND: i64 = crate::time::NANOS;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

fn span<'v>(arguments: &[Value<'v>], unit: i64) -> Answer<'v> {
    match &arguments[0] {
        Value::Duration(span) => Ok(Value::Int(span / unit)),
        _ => Err(EvalError::NO_OVERLOAD),
    }
}

fn part<'v>(arguments: &[Value<'v>], part: fn(&Zoned) -> i64) -> Answer<'v> {
    let Value::Timestamp(time) = &arguments[0] else { return Err(EvalError::NO_OVERLOAD) };
    let zone = arguments.get(1).map_or(Ok(TimeZone::UTC), |name| zone(name.text()?))?;
    Ok(Value::Int(part(&local(*time, zone)?)))
}

fn local(time: Timestamp, zone: TimeZone) -> Result<Zoned, EvalError> {
    Ok(time.instant().ok_or_else(|| EvalError::new("timestamp overflow"))?.to_zoned(zone))
}

/// A zone by its name of the database that is built in, or by its distance from UTC: `-08:00`.
fn zone(name: &str) -> Result<TimeZone, EvalError> {
    let unknown = || EvalError::new(format!("unknown time zone {name}"));
    if name.is_empty() || name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    if !name.contains(':') {
        return TimeZoneDatabase::bundled().get(name).map_err(|_| unknown());
    }
    let (sign, rest) = match name.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, name.strip_prefix('+').unwrap_or(name)),
    };
    let seconds = clock(rest).and_then(|seconds| i32::try_from(sign * seconds).ok());
    let offset = seconds.and_then(|seconds| Offset::from_seconds(seconds).ok());
    offset.map(TimeZone::fixed).ok_or_else(unknown)
}
