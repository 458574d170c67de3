//! Prometheus' text format (0.0.4, and what OpenMetrics has in common with it): what a pod says of itself, as figures to scale
//! by.
//!
//! A metric's figure is the sum over its series. A gauge's is its value. A counter's is its rate per second between two
//! readings, under its own name and under that without `_total`; so are the `_sum`, `_count` and `_bucket` of histograms and
//! summaries. Quantiles have no sum that means anything and are left out, as are NaN and infinities.
//!
//! The text may be anybody's: it is read as it comes, line by line, and never kept. What is kept is bounded.

mod line;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use line::{Line, Sample};

/// How long a text may be, in bytes: what an application with thousands of series says.
pub const EXPOSITION_BYTES_MAX: usize = 4 << 20;
/// How long a line may be: a series with dozens of labels.
const LINE_BYTES_MAX: usize = 16 << 10;
/// How many series there may be. Those of counters are kept until the next reading, 40 bytes each.
const SERIES_MAX: usize = 10_000;
/// How many metrics there may be: their figures go to the server every 15 seconds.
const METRICS_MAX: usize = 1_000;
/// How long a name may be.
const NAME_BYTES_MAX: usize = 256;

/// Why a text was not taken. One sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpositionError {
    /// It is none of the format.
    #[error("line {line} of its metrics cannot be read: {why}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It is more than is taken.
    #[error("its metrics are too much to be read: there are more than {max} {what}")]
    TooMuch {
        /// How much is taken.
        max: usize,
        /// Of what.
        what: &'static str,
    },
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Counter,
    Histogram,
    Summary,
    /// All else: it has a value.
    Gauge,
}

/// What counts for the figure of a metric.
enum Meaning {
    Value,
    Count,
    Nothing,
}

/// Reads a text in parts.
#[derive(Debug, Default)]
pub struct Reader {
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    bytes: usize,
    line: usize,
    series: usize,
    types: BTreeMap<Box<str>, Type>,
    found: Exposition,
    is_over: bool,
}

/// What one text said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exposition {
    gauges: BTreeMap<Box<str>, f64>,
    /// By metric and by the hash of the series' labels.
    counters: BTreeMap<Box<str>, BTreeMap<u64, f64>>,
}

impl Reader {
    /// Takes the next part.
    ///
    /// # Errors
    /// When it cannot be read or is too much; the rest need not be asked for.
    pub fn push(&mut self, part: &[u8]) -> Result<(), ExpositionError> {
        self.bytes = self.bytes.saturating_add(part.len());
        if self.bytes > EXPOSITION_BYTES_MAX {
            return Err(too_much(EXPOSITION_BYTES_MAX, "bytes"));
        }
        let mut rest = part;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let mut whole = std::mem::take(&mut self.partial);
            if whole.is_empty() {
                self.take_line(&rest[..end])?;
            } else {
                whole.extend_from_slice(&rest[..end]);
                self.take_line(&whole)?;
            }
            rest = &rest[end + 1..];
        }
        self.partial.extend_from_slice(rest);
        if self.partial.len() > LINE_BYTES_MAX {
            Err(too_much(LINE_BYTES_MAX, "bytes in a line"))
        } else {
            Ok(())
        }
    }

    /// All that was said.
    ///
    /// # Errors
    /// When the last line cannot be read.
    pub fn finish(mut self) -> Result<Exposition, ExpositionError> {
        let last = std::mem::take(&mut self.partial);
        if !last.is_empty() {
            self.take_line(&last)?;
        }
        Ok(self.found)
    }

    fn take_line(&mut self, bytes: &[u8]) -> Result<(), ExpositionError> {
        self.line += 1;
        if bytes.len() > LINE_BYTES_MAX {
            return Err(too_much(LINE_BYTES_MAX, "bytes in a line"));
        }
        if self.is_over {
            return Ok(());
        }
        let wrong = |why| ExpositionError::Syntax { line: self.line, why };
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("it is no UTF-8"))?;
        match line::read(text).map_err(wrong)? {
            Line::Nothing => Ok(()),
            Line::End => {
                self.is_over = true;
                Ok(())
            }
            Line::Type(name, word) => self.take_type(name, word),
            Line::Sample(sample) => self.take_sample(&sample),
        }
    }

    fn take_type(&mut self, name: &str, word: &str) -> Result<(), ExpositionError> {
        check_name(name)?;
        let known = match word {
            "counter" => Type::Counter,
            "histogram" => Type::Histogram,
            "summary" => Type::Summary,
            "untyped" | "unknown" if name.ends_with("_total") => Type::Counter,
            _ => Type::Gauge,
        };
        if self.types.len() >= METRICS_MAX && !self.types.contains_key(name) {
            return Err(too_much(METRICS_MAX, "metrics"));
        }
        self.types.insert(name.into(), known);
        Ok(())
    }

    fn take_sample(&mut self, sample: &Sample<'_>) -> Result<(), ExpositionError> {
        check_name(sample.name)?;
        self.series += 1;
        if self.series > SERIES_MAX {
            return Err(too_much(SERIES_MAX, "series"));
        }
        if !sample.value.is_finite() {
            return Ok(());
        }
        let found = &mut self.found;
        match meaning(&self.types, sample) {
            Meaning::Nothing => return Ok(()),
            Meaning::Value => *found.gauges.entry(sample.name.into()).or_default() += sample.value,
            Meaning::Count => {
                let mut hasher = DefaultHasher::new();
                sample.labels.hash(&mut hasher);
                let series = found.counters.entry(sample.name.into()).or_default();
                series.insert(hasher.finish(), sample.value);
            }
        }
        let metrics = found.gauges.len() + found.counters.len();
        if metrics > METRICS_MAX { Err(too_much(METRICS_MAX, "metrics")) } else { Ok(()) }
    }
}

/// What a sample counts for, by the type of its metric: that of its own name, or of what its name is made of.
fn meaning(types: &BTreeMap<Box<str>, Type>, sample: &Sample<'_>) -> Meaning {
    if let Some(known) = types.get(sample.name) {
        return match known {
            Type::Counter => Meaning::Count,
            Type::Summary | Type::Histogram => Meaning::Nothing,
            Type::Gauge => Meaning::Value,
        };
    }
    let (family, part) = sample.name.rsplit_once('_').unwrap_or((sample.name, ""));
    match (types.get(family), part) {
        (Some(Type::Counter), "total")
        | (Some(Type::Histogram), "bucket" | "sum" | "count")
        | (Some(Type::Summary), "sum" | "count") => Meaning::Count,
        // When a counter was made, in OpenMetrics.
        (Some(Type::Counter | Type::Histogram | Type::Summary), "created") => Meaning::Nothing,
        (None, "total") => Meaning::Count,
        _ => Meaning::Value,
    }
}

impl Exposition {
    /// The figures of all metrics in thousandths: of counters those that an `earlier` reading, so many microseconds before,
    /// had too. A counter that went back was started anew, and has counted from nothing since.
    pub fn values(&self, earlier: Option<(&Self, i64)>) -> BTreeMap<String, i64> {
        let gauges =
            self.gauges.iter().filter_map(|(name, sum)| Some((name.to_string(), thousandths(*sum)?)));
        let mut values: BTreeMap<String, i64> = gauges.collect();
        let Some((earlier, micros)) = earlier.filter(|(_, micros)| *micros > 0) else { return values };
        for (name, series) in &self.counters {
            let Some(before) = earlier.counters.get(name) else { continue };
            let counted = series.iter().filter_map(|(labels, now)| {
                let then = before.get(labels)?;
                Some(if now < then { *now } else { now - then })
            });
            let Some(sum) = counted.reduce(|a, b| a + b) else { continue };
            let Some(rate) = thousandths(sum * 1e6 / micros as f64) else { continue };
            values.entry(name.to_string()).or_insert(rate);
            if let Some(short) = name.strip_suffix("_total") {
                values.entry(short.to_owned()).or_insert(rate);
            }
        }
        values
    }
}

/// A figure in thousandths; `None` when it is too large for that.
fn thousandths(figure: f64) -> Option<i64> {
    /// Below this, a float's thousandths are a number of 64 bits.
    const FIGURE_MAX: f64 = 9e15;
    (figure.abs() < FIGURE_MAX).then(|| (figure * 1000.0).round() as i64)
}

fn check_name(name: &str) -> Result<(), ExpositionError> {
    if name.len() > NAME_BYTES_MAX { Err(too_much(NAME_BYTES_MAX, "bytes in a name")) } else { Ok(()) }
}

fn too_much(max: usize, what: &'static str) -> ExpositionError {
    ExpositionError::TooMuch { max, what }
}

#[cfg(test)]
mod tests;
