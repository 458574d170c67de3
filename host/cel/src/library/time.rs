//! Parts of times and durations.

use jiff::tz::TimeZoneDatabase;

use crate::error::EvalError;
use crate::functions::{Answer, Declaration};
use crate::time::{Civil, Timestamp, clock};
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
    "getFullYear" "timestamp_to_year" |civil, _| civil.year;
    "getMonth" "timestamp_to_month" |civil, _| civil.month - 1;
    "getDayOfYear" "timestamp_to_day_of_year" |civil, _| civil.day_of_year();
    "getDayOfMonth" "timestamp_to_day_of_month" |civil, _| civil.day - 1;
    "getDate" "timestamp_to_day_of_month_1_based" |civil, _| civil.day;
    "getDayOfWeek" "timestamp_to_day_of_week" |civil, _| civil.weekday();
    "getHours" "timestamp_to_hours_tz" |civil, _| civil.hour();
    "getMinutes" "timestamp_to_minutes_tz" |civil, _| civil.minute();
    "getSeconds" "timestamp_to_seconds_tz" |civil, _| civil.second();
    "getMilliseconds" "timestamp_to_milliseconds_tz" |_, time| i64::from(time.nanos) / 1_000_000;
};

/// Durations have fewer parts, and those are wholes.
pub(crate) const DURATIONS: &[Declaration] = &[
    Declaration::member("getHours", "duration_to_hours", "duration -> int", |_, arguments| {
        span(arguments, HOUR)
    }),
    Declaration::member("getMinutes", "duration_to_minutes", "duration -> int", |_, arguments| {
        span(arguments, MINUTE)
    }),
    Declaration::member("getSeconds", "duration_to_seconds", "duration -> int", |_, arguments| {
        span(arguments, SECOND)
    }),
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

fn part<'v>(arguments: &[Value<'v>], part: fn(&Civil, Timestamp) -> i64) -> Answer<'v> {
    let Value::Timestamp(time) = &arguments[0] else { return Err(EvalError::NO_OVERLOAD) };
    let offset = arguments.get(1).map_or(Ok(0), |name| offset(name.text()?, *time))?;
    Ok(Value::Int(part(&time.civil(offset), *time)))
}

/// The seconds that a zone is east of UTC then: a zone of the database that is built in, or itself a distance: `-08:00`.
fn offset(name: &str, time: Timestamp) -> Result<i32, EvalError> {
    let unknown = || EvalError::new(format!("unknown time zone {name}"));
    if name.is_empty() || name == "UTC" {
        return Ok(0);
    }
    if !name.contains(':') {
        let zone = TimeZoneDatabase::bundled().get(name).map_err(|_| unknown())?;
        // The last hours of the year 9999 are beyond what the database reckons with.
        let seconds = time.seconds.clamp(jiff::Timestamp::MIN.as_second(), jiff::Timestamp::MAX.as_second());
        let instant = jiff::Timestamp::from_second(seconds).map_err(|_| unknown())?;
        return Ok(zone.to_offset(instant).seconds());
    }
    let (sign, rest) = match name.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, name.strip_prefix('+').unwrap_or(name)),
    };
    clock(rest).and_then(|seconds| i32::try_from(sign * seconds).ok()).ok_or_else(unknown)
}
