//! What a series will be in a few steps, from its last days.

/// Steps of a season.
const DAY: usize = 24 * 60;
/// Steps over which a value of another day is averaged, so that its noise does not count.
const SMOOTH: usize = 5;
/// Steps from which a trend is taken.
const TREND: usize = 5;
/// Steps over which errors are looked at.
const ERRORS: usize = DAY;
/// Steps without which there is no forecast.
const STEPS_MIN: usize = 15;
/// By how much another day may say that it becomes more or less.
const SEASON: (f64, f64) = (0.8, 1.25);

/// At most how much will be needed within `lead` steps from the last one, with a margin for what such forecasts have lately
/// failed to foresee. `None` when too little is known.
pub(crate) fn expected(series: &[f64], lead: usize) -> Option<f64> {
    let series = filled(series)?;
    let last = series.len() - 1;
    if series.len() < STEPS_MIN {
        return None;
    }
    let forecast = at(&series, last, lead);
    Some(forecast + margin(&series, lead) * scale(forecast))
}

/// Gaps are what was before them; what is before the first value is left out.
fn filled(series: &[f64]) -> Option<Vec<f64>> {
    let first = series.iter().position(|value| value.is_finite())?;
    let mut before = 0.0;
    let fill = |value: &f64| {
        if value.is_finite() {
            before = *value;
        }
        before
    };
    Some(series[first..].iter().map(fill).collect())
}

/// The highest forecast of the `lead` steps after the step `now`.
fn at(series: &[f64], now: usize, lead: usize) -> f64 {
    let level = series[now];
    let slope = slope(series, now);
    (1..=lead)
        .map(|ahead| {
            let season = season(series, now, ahead);
            let trend = 1.0 + (slope * ahead as f64 / level.max(f64::MIN_POSITIVE)).clamp(0.0, 0.5);
            level * season.unwrap_or(1.0).max(trend)
        })
        .fold(level, f64::max)
}

/// By which factor other days went on from here.
fn season(series: &[f64], now: usize, ahead: usize) -> Option<f64> {
    let days = (1..=7).filter(|day| now + 1 >= day * DAY + SMOOTH);
    let factors: Vec<f64> = days
        .filter_map(|day| {
            let then = now - day * DAY;
            let (from, to) = (smooth(series, then), smooth(series, then + ahead));
            (from > 0.0).then(|| (to / from).clamp(SEASON.0, SEASON.1))
        })
        .collect();
    (!factors.is_empty()).then(|| factors.iter().sum::<f64>() / factors.len() as f64)
}

/// The mean around a step.
fn smooth(series: &[f64], at: usize) -> f64 {
    let from = at.saturating_sub(SMOOTH / 2);
    let part = &series[from..(at + SMOOTH / 2 + 1).min(series.len())];
    part.iter().sum::<f64>() / part.len().max(1) as f64
}

/// The slope of the line through the last steps.
fn slope(series: &[f64], now: usize) -> f64 {
    let part = &series[(now + 1).saturating_sub(TREND)..=now];
    let n = part.len() as f64;
    if part.len() < 2 {
        return 0.0;
    }
    let (mean_x, mean_y) = ((n - 1.0) / 2.0, part.iter().sum::<f64>() / n);
    let (mut over, mut under) = (0.0, 0.0);
    for (x, y) in part.iter().enumerate() {
        over += (x as f64 - mean_x) * (y - mean_y);
        under += (x as f64 - mean_x).powi(2);
    }
    over / under
}

/// In what errors are counted: few requests are noisier than many.
fn scale(level: f64) -> f64 {
    level.max(0.01).powf(POWER)
}

const POWER: f64 = 0.75;
const QUANTILE: f64 = 0.995;

/// By how much forecasts of the last day fell short of what came.
fn margin(series: &[f64], lead: usize) -> f64 {
    let last = series.len() - 1;
    let from = last.saturating_sub(ERRORS).max(TREND);
    let mut errors: Vec<f64> = (from..last.saturating_sub(lead))
        .map(|then| {
            let forecast = at(series, then, lead);
            let came = series[then + 1..=then + lead].iter().copied().fold(0.0, f64::max);
            ((came - forecast) / scale(forecast)).max(0.0)
        })
        .collect();
    if errors.is_empty() {
        return 0.0;
    }
    let index = ((errors.len() - 1) as f64 * QUANTILE) as usize;
    let (_, error, _) = errors.select_nth_unstable_by(index, f64::total_cmp);
    *error
}
