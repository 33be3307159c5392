//! Windows: whether disruptive work may start now, and when that changes.
//!
//! By the clock of the window's own time zone, from the data base of zones that is compiled in, so
//! that every surface and every machine says the same. Where clocks are set forward over a time
//! that a window begins or ends at, it is taken to be as much later; where they are set back over
//! it, the first of the two times counts.

use std::sync::LazyLock;

use jiff::civil::{Date, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp, ToSpan as _};

use crate::desired::{Day, Window};
use crate::words::Time;

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// What windows say of a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Disruptive work may start, at least until then; none if there are no windows.
    Open {
        /// When the first of the windows that are open closes.
        until: Option<Time>,
    },
    /// It may not before then.
    Closed {
        /// When the next window opens; none if none ever does.
        until: Option<Time>,
    },
}

/// Looks at all windows that count for a host; without any it is always open.
#[must_use]
pub fn opening(windows: &[Window], now: Time) -> Opening {
    if windows.is_empty() {
        return Opening::Open { until: None };
    }
    let spans: Vec<(Time, Time)> = windows.iter().flat_map(|window| spans(window, now)).collect();
    let open = spans.iter().filter(|(from, until)| *from <= now && now < *until);
    if let Some(until) = open.map(|(_, until)| *until).min() {
        return Opening::Open { until: Some(until) };
    }
    let next = spans.iter().map(|(from, _)| *from).filter(|from| *from > now).min();
    Opening::Closed { until: next }
}

/// The spans of a window from yesterday on until a week from now, each from its begin to its end.
fn spans(window: &Window, now: Time) -> Vec<(Time, Time)> {
    let Ok(zone) = ZONES.get(window.timezone.as_str()) else { return Vec::new() };
    let Some(today) = timestamp(now).map(|now| now.to_zoned(zone.clone()).date()) else {
        return Vec::new();
    };
    let days = (-1..=7).filter_map(|days: i64| today.checked_add(days.days()).ok());
    let begins = days.filter(|date| window.days.iter().any(|day| weekday(*day) == date.weekday()));
    begins.filter_map(|date| span(window, &zone, date)).collect()
}

fn span(window: &Window, zone: &TimeZone, date: Date) -> Option<(Time, Time)> {
    let (start, end) = (window.start.minutes(), window.end.minutes());
    let last = if end <= start { date.tomorrow().ok()? } else { date };
    Some((at(zone, date, start)?, at(zone, last, end)?))
}

/// So many minutes after midnight by the clock on the wall; 1440 is the next midnight.
fn at(zone: &TimeZone, date: Date, minutes: u16) -> Option<Time> {
    let midnight = date.at(0, 0, 0, 0);
    let wall = midnight.checked_add(SignedDuration::from_mins(minutes.into())).ok()?;
    let moment = zone.to_timestamp(wall).ok()?;
    u64::try_from(moment.as_millisecond()).ok().map(Time)
}

fn timestamp(at: Time) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(at.0).ok()?).ok()
}

fn weekday(day: Day) -> Weekday {
    match day {
        Day::Mon => Weekday::Monday,
        Day::Tue => Weekday::Tuesday,
        Day::Wed => Weekday::Wednesday,
        Day::Thu => Weekday::Thursday,
        Day::Fri => Weekday::Friday,
        Day::Sat => Weekday::Saturday,
        Day::Sun => Weekday::Sunday,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Time {
        let moment: Timestamp = text.parse().unwrap();
        Time(u64::try_from(moment.as_millisecond()).unwrap())
    }

    fn window(days: &str, start: &str, end: &str, zone: &str) -> Window {
        let days: Vec<&str> = days.split(' ').collect();
        let value = serde_json::json!({"days": days, "start": start, "end": end, "timezone": zone});
        serde_json::from_value(value).unwrap()
    }

    fn open(until: &str) -> Opening {
        Opening::Open { until: Some(time(until)) }
    }

    fn closed(until: &str) -> Opening {
        Opening::Closed { until: Some(time(until)) }
    }

    #[test]
    fn s42_a_window_is_open_by_the_clock_of_its_own_zone() {
        let night = [window("Mon Tue", "21:00", "05:00", "Europe/Berlin")];
        for (now, expected) in [
            // Monday, the 23rd of November 2026; Berlin is an hour ahead.
            ("2026-11-23T19:59:59Z", closed("2026-11-23T20:00:00Z")),
            ("2026-11-23T20:00:00Z", open("2026-11-24T04:00:00Z")),
            ("2026-11-24T03:59:59Z", open("2026-11-24T04:00:00Z")),
            ("2026-11-24T04:00:00Z", closed("2026-11-24T20:00:00Z")),
            // The one of Tuesday ends on Wednesday, and the next begins in five days.
            ("2026-11-25T03:00:00Z", open("2026-11-25T04:00:00Z")),
            ("2026-11-25T04:00:00Z", closed("2026-11-30T20:00:00Z")),
            // In summer Berlin is two hours ahead.
            ("2026-07-06T19:00:00Z", open("2026-07-07T03:00:00Z")),
        ] {
            assert_eq!(opening(&night, time(now)), expected, "{now}");
        }
    }

    #[test]
    fn a_whole_day_ends_at_midnight_and_a_window_of_one_day_a_week_comes_again() {
        let day = [window("Sun", "00:00", "24:00", "UTC")];
        assert_eq!(opening(&day, time("2026-11-29T23:59:59Z")), open("2026-11-30T00:00:00Z"));
        assert_eq!(opening(&day, time("2026-11-30T00:00:00Z")), closed("2026-12-06T00:00:00Z"));
    }

    #[test]
    fn clocks_that_are_set_move_a_window_and_do_not_lose_it() {
        // On the 29th of March 2026 Berlin's clocks go from 2:00 to 3:00, on the 25th of October back.
        let early = [window("Sun", "02:30", "03:30", "Europe/Berlin")];
        assert_eq!(opening(&early, time("2026-03-29T00:00:00Z")), closed("2026-03-29T01:30:00Z"));
        assert_eq!(opening(&early, time("2026-10-25T00:00:00Z")), closed("2026-10-25T00:30:00Z"));
        assert_eq!(opening(&early, time("2026-10-25T02:00:00Z")), open("2026-10-25T02:30:00Z"));
    }

    #[test]
    fn of_several_windows_one_is_enough_and_without_any_it_is_open() {
        let both =
            [window("Mon", "08:00", "12:00", "UTC"), window("Mon", "10:00", "14:00", "Asia/Tokyo")];
        assert_eq!(opening(&both, time("2026-11-23T02:00:00Z")), open("2026-11-23T05:00:00Z"));
        assert_eq!(opening(&both, time("2026-11-23T05:00:00Z")), closed("2026-11-23T08:00:00Z"));
        assert_eq!(opening(&[], Time(0)), Opening::Open { until: None });
    }
}
