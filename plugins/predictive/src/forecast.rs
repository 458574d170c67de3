//! What a series will be in a few steps, from its last days.

/// Steps of a season.
const DAY: usize = 24 * 60;
/// Days that are looked at.
const DAYS: usize = 7;
/// Steps on each side over which a value of another day is averaged, so that its noise does not count.
const SMOOTH: usize = 2;
/// Steps from which a trend is taken.
const TREND: usize = 5;
/// By which part of the level a trend may go on: a jump is not the beginning of another.
const TREND_MAX: f64 = 0.5;
/// Steps over which errors are looked at.
const ERRORS: usize = DAY;
/// Which part of the errors the margin covers.
const COVERED: f64 = 0.98;
/// The spread of errors grows with the level to this power: a little faster than that of independent requests.
const SPREAD: f64 = 0.6;
/// The smallest level that errors are related to.
const LEVEL_MIN: f64 = 0.01;
/// Steps without which there is no forecast.
const STEPS_MIN: usize = 15;
/// By which factors other days may say that it becomes less or more.
const SEASON: (f64, f64) = (0.8, 1.25);
/// Steps for which what would be needed again is kept.
const KEPT: usize = 30;

/// What is expected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Expected {
    /// At most, within the lead.
    pub(crate) soon: f64,
    /// At most, while it is not worth while to go down in between.
    pub(crate) later: f64,
}

/// How much will be needed within `lead` steps from the last one, with a margin for what such forecasts have lately failed to
/// foresee. `None` when too little is known.
pub(crate) fn expected(series: &[f64], lead: usize) -> Option<Expected> {
    let series = Series::new(series)?;
    let last = series.values.len() - 1;
    if last < STEPS_MIN {
        return None;
    }
    let forecast = series.forecast(last, lead);
    let soon = forecast + series.margin(lead) * spread(forecast);
    let seasons = (1..=KEPT).filter_map(|ahead| series.season(last, ahead));
    Some(Expected { soon, later: soon * seasons.fold(1.0, f64::max) })
}

struct Series {
    values: Vec<f64>,
    smooth: Vec<f64>,
}

impl Series {
    /// Gaps are what was before them; what is before the first value is left out.
    fn new(series: &[f64]) -> Option<Self> {
        let first = series.iter().position(|value| value.is_finite())?;
        let mut before = 0.0;
        let fill = |value: &f64| {
            if value.is_finite() {
                before = *value;
            }
            before
        };
        let values: Vec<f64> = series[first..].iter().map(fill).collect();
        let around = |at: usize| {
            let part = &values[at.saturating_sub(SMOOTH)..(at + SMOOTH + 1).min(values.len())];
            part.iter().sum::<f64>() / part.len() as f64
        };
        let smooth = (0..values.len()).map(around).collect();
        Some(Self { values, smooth })
    }

    /// The highest forecast of the `lead` steps after the step `now`.
    fn forecast(&self, now: usize, lead: usize) -> f64 {
        let level = self.values[now];
        let slope = self.slope(now);
        let ahead = (1..=lead).map(|ahead| {
            let trend = level + (slope * ahead as f64).clamp(0.0, TREND_MAX * level);
            trend.max(level * self.season(now, ahead).unwrap_or(1.0))
        });
        ahead.fold(level, f64::max)
    }

    /// By which factor other days went on from here.
    fn season(&self, now: usize, ahead: usize) -> Option<f64> {
        let then = (1..=DAYS).map_while(|day| now.checked_sub(day * DAY));
        let factors = then.filter_map(|then| {
            let (from, to) = (self.smooth[then], self.smooth[then + ahead]);
            (from > 0.0).then(|| (to / from).clamp(SEASON.0, SEASON.1))
        });
        let (sum, count) = factors.fold((0.0, 0.0), |(sum, count), factor| (sum + factor, count + 1.0));
        (count > 0.0).then(|| sum / count)
    }

    /// The slope of the line through the last steps.
    fn slope(&self, now: usize) -> f64 {
        let part = &self.values[(now + 1).saturating_sub(TREND)..=now];
        let count = part.len() as f64;
        let (middle, mean) = ((count - 1.0) / 2.0, part.iter().sum::<f64>() / count);
        let (mut over, mut under) = (0.0, 0.0);
        for (at, value) in part.iter().enumerate() {
            over += (at as f64 - middle) * (value - mean);
            under += (at as f64 - middle).powi(2);
        }
        if under > 0.0 { over / under } else { 0.0 }
    }

    /// By how much forecasts of the last day fell short of what came, in spreads.
    fn margin(&self, lead: usize) -> f64 {
        let end = (self.values.len() - 1).saturating_sub(lead);
        let short = |then: usize| {
            let forecast = self.forecast(then, lead);
            let came = self.values[then + 1..=then + lead].iter().copied().fold(0.0, f64::max);
            ((came - forecast) / spread(forecast)).max(0.0)
        };
        let mut errors: Vec<f64> = (end.saturating_sub(ERRORS)..end).map(short).collect();
        let covered = (errors.len().saturating_sub(1) as f64 * COVERED) as usize;
        if errors.is_empty() {
            return 0.0;
        }
        *errors.select_nth_unstable_by(covered, f64::total_cmp).1
    }
}

/// In what errors are counted.
fn spread(level: f64) -> f64 {
    level.max(LEVEL_MIN).powf(SPREAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_expected_to_go_on() {
        let flat = expected(&[4.0; 60], 2).unwrap();
        assert_eq!(flat, Expected { soon: 4.0, later: 4.0 });
        let rising: Vec<f64> = (0..60).map(|step| 10.0 + f64::from(step)).collect();
        let soon = expected(&rising, 3).unwrap().soon;
        assert!((soon - 72.0).abs() < 0.01, "{soon}");
        let falling: Vec<f64> = rising.iter().rev().copied().collect();
        assert_eq!(expected(&falling, 3).unwrap().soon, 10.0, "nobody counts on less");
    }

    #[test]
    fn other_days_say_what_comes() {
        // Every day at noon it doubles within ten minutes.
        let of_day = |minute: usize| match minute {
            0..720 => 10.0,
            720..730 => 10.0 + (minute - 719) as f64,
            _ => 20.0,
        };
        let days: Vec<f64> = (0..3 * DAY + 719).map(|minute| of_day(minute % DAY)).collect();
        let before = expected(&days, 2).unwrap();
        assert!(before.soon > 10.5 && before.soon < 14.0, "{before:?}");
        assert!(before.later > before.soon, "{before:?}");
        let first_day = expected(&days[..719], 2).unwrap();
        assert_eq!(first_day.soon, 10.0, "nobody knows yet");
    }

    #[test]
    fn what_was_not_foreseen_is_added() {
        let mut noise = 7_u64;
        let noisy: Vec<f64> = (0..DAY)
            .map(|_| {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                100.0 + (noise >> 33) as f64 / f64::from(u32::MAX >> 1) * 20.0
            })
            .collect();
        let Expected { soon, .. } = expected(&noisy, 2).unwrap();
        let last = noisy[DAY - 1];
        assert!(soon > last + 5.0 && soon < last + 25.0, "{soon} after {last}");
    }

    #[test]
    fn too_little_is_said_and_gaps_are_bridged() {
        assert_eq!(expected(&[], 2), None);
        assert_eq!(expected(&[f64::NAN; 100], 2), None);
        assert_eq!(expected(&[1.0; STEPS_MIN], 2), None);
        let mut gaps = vec![3.0; 100];
        gaps[..20].fill(f64::NAN);
        gaps[60..90].fill(f64::NAN);
        assert_eq!(expected(&gaps, 5).unwrap().soon, 3.0);
        assert_eq!(expected(&[0.0; 100], 5).unwrap().soon, 0.0);
    }
}
