//! How something goes on over time, as a text says it.
//!
//! ```text
//! 250m                          always the same
//! sine 100m 900m 10m            from 100m up to 900m and back in 10 minutes, again and again
//! 0s=100m; 5m=2; 10m=100m       points, with a straight line from each to the next
//! 0s=1; 1m=1; 1m=5; repeat      two points of one time are a jump; after the last point it begins anew
//! ```
//!
//! Points may as well stand on lines of their own, with a comma between time and value, under a first line that begins with
//! `seconds` or `time`: a CSV file. Times are durations (`90s`, `1h30m`, `250ms`) or numbers of seconds, values quantities.

use berth_api::Quantity;

/// Something that goes on over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    form: Form,
}

#[derive(Clone, Debug, PartialEq)]
enum Form {
    Constant(f64),
    Sine {
        low: f64,
        high: f64,
        period_ms: f64,
    },
    Points {
        /// At least one; times in milliseconds, none before the one before.
        points: Vec<(f64, f64)>,
        /// It begins anew after this time.
        period_ms: Option<f64>,
    },
}

impl Course {
    /// Reads a text.
    ///
    /// # Errors
    /// A clause that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let form = match text.strip_prefix("sine ") {
            Some(rest) => sine(rest)?,
            None if text.contains(['=', ',', ';', '\n']) => points(text)?,
            None => Form::Constant(value(text)?),
        };
        Ok(Self { form })
    }

    /// How it is so many milliseconds after its begin. Before that it is as in the first moment.
    pub fn at(&self, ms: i64) -> f64 {
        let ms = ms.max(0) as f64;
        match &self.form {
            Form::Constant(value) => *value,
            Form::Sine { low, high, period_ms } => {
                let turn = std::f64::consts::TAU * (ms / period_ms).fract();
                low + (high - low) * (1.0 - turn.cos()) / 2.0
            }
            Form::Points { points, period_ms } => on_line(points, period_ms.map_or(ms, |period| ms % period)),
        }
    }
}

fn on_line(points: &[(f64, f64)], ms: f64) -> f64 {
    let next = points.partition_point(|(at, _)| *at <= ms);
    let (last, after) = (next.checked_sub(1).and_then(|at| points.get(at)), points.get(next));
    match (last, after) {
        (Some((from, a)), Some((to, b))) => a + (b - a) * (ms - from) / (to - from),
        (Some((_, value)), None) | (None, Some((_, value))) => *value,
        (None, None) => 0.0,
    }
}

fn sine(text: &str) -> Result<Form, String> {
    let [low, high, period] = text.split_whitespace().collect::<Vec<_>>()[..] else {
        return Err("a sine has the lowest value, the highest one and the time of a whole turn".to_owned());
    };
    let period_ms = duration_ms(period)?;
    if period_ms <= 0.0 {
        return Err(format!("{period:?} is no time for a whole turn"));
    }
    Ok(Form::Sine { low: value(low)?, high: value(high)?, period_ms })
}

fn points(text: &str) -> Result<Form, String> {
    let mut records: Vec<&str> =
        text.split([';', '\n']).map(str::trim).filter(|record| !record.is_empty()).collect();
    let is_head = |record: &&str| ["seconds", "time"].iter().any(|word| record.starts_with(word));
    if records.first().is_some_and(is_head) {
        records.remove(0);
    }
    let repeats = records.pop_if(|last| *last == "repeat").is_some();
    let mut points: Vec<(f64, f64)> = Vec::with_capacity(records.len());
    for record in records {
        let (at, amount) = record
            .split_once(['=', ','])
            .ok_or_else(|| format!("{record:?} is no point: write time=value"))?;
        let at = duration_ms(at.trim())?;
        if points.last().is_some_and(|(before, _)| at < *before) {
            return Err(format!("{record:?} is earlier than the point before it"));
        }
        points.push((at, value(amount.trim())?));
    }
    let Some((end, _)) = points.last() else { return Err("there is no point in it".to_owned()) };
    if repeats && *end <= 0.0 {
        return Err("what is repeated must take some time".to_owned());
    }
    let period_ms = repeats.then_some(*end);
    Ok(Form::Points { points, period_ms })
}

fn value(text: &str) -> Result<f64, String> {
    let quantity = Quantity::parse(text).map_err(|_| format!("{text:?} is no quantity"))?;
    if quantity.is_negative() {
        return Err(format!("{text:?} is less than nothing"));
    }
    Ok(quantity.milli_value() as f64 / 1000.0)
}

/// A number of seconds, or numbers with units.
fn duration_ms(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text:?} is no time: write a number of seconds, or a duration such as 1h30m");
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    if !text.is_empty() && text.chars().all(is_number) {
        return text.parse::<f64>().map(|seconds| seconds * 1000.0).map_err(|_| wrong());
    }
    let (mut rest, mut sum) = (text, 0.0);
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c| !is_number(c)).ok_or_else(wrong)?);
        let (unit, tail) = tail.split_at(tail.find(is_number).unwrap_or(tail.len()));
        let ms = match unit {
            "ms" => 1.0,
            "s" => 1e3,
            "m" => 60e3,
            "h" => 3600e3,
            "d" => 86_400e3,
            _ => return Err(wrong()),
        };
        sum += number.parse::<f64>().map_err(|_| wrong())? * ms;
        rest = tail;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(sum) }
}

#[cfg(test)]
mod tests {
    use super::Course;

    #[test]
    fn courses_go_on_as_their_texts_say() {
        let cases: [(&str, &[(i64, f64)]); 8] = [
            ("250m", &[(-5, 0.25), (0, 0.25), (1 << 40, 0.25)]),
            (" 64Mi ", &[(0, 67_108_864.0)]),
            ("sine 1 3 10m", &[(0, 1.0), (150_000, 2.0), (300_000, 3.0), (600_000, 1.0), (900_000, 3.0)]),
            (
                "0s=100m; 5m=2; 10m=100m",
                &[(-1, 0.1), (0, 0.1), (150_000, 1.05), (300_000, 2.0), (600_000, 0.1), (9_000_000, 0.1)],
            ),
            (
                "0=1; 1m=1; 1m=5; 2m=5; repeat",
                &[(59_999, 1.0), (60_000, 5.0), (119_999, 5.0), (120_000, 1.0), (180_000, 5.0)],
            ),
            ("seconds,cpu\n10,1\n\n20.5,2\n", &[(0, 1.0), (10_000, 1.0), (15_250, 1.5), (20_500, 2.0)]),
            ("time,x\r\n0,4\r\n1m30s,8\r\nrepeat\r\n", &[(45_000, 6.0), (90_000, 4.0)]),
            ("1h1m1s1ms=7", &[(0, 7.0)]),
        ];
        for (text, wanted) in cases {
            let course = Course::parse(text).unwrap();
            for (ms, value) in wanted {
                assert!((course.at(*ms) - value).abs() < 1e-9, "{text:?} at {ms}: {}", course.at(*ms));
            }
        }
    }

    #[test]
    fn wrong_texts_are_told_apart() {
        for (text, why) in [
            ("", "\"\" is no quantity"),
            ("much", "\"much\" is no quantity"),
            ("-1", "\"-1\" is less than nothing"),
            ("sine 1 2", "a sine has the lowest value, the highest one and the time of a whole turn"),
            ("sine 1 2 0s", "\"0s\" is no time for a whole turn"),
            ("0=1; now", "\"now\" is no point: write time=value"),
            ("0=1; 5=2; 4=3", "\"4=3\" is earlier than the point before it"),
            ("0=1; repeat", "what is repeated must take some time"),
            (";", "there is no point in it"),
            ("5x=1", "\"5x\" is no time: write a number of seconds, or a duration such as 1h30m"),
            ("=1", "\"\" is no time: write a number of seconds, or a duration such as 1h30m"),
            ("1.2.3=1", "\"1.2.3\" is no time: write a number of seconds, or a duration such as 1h30m"),
        ] {
            assert_eq!(Course::parse(text).unwrap_err(), why, "{text:?}");
        }
    }
}
