//! Times as ZooKeeper's tools print them, in UTC.

/// A moment, broken down.
struct Civil {
    year: i64,
    month: usize,
    day: i64,
    weekday: usize,
    second_of_day: i64,
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/// As `java.util.Date.toString`: `Sat Nov 21 05:56:16 UTC 2026`.
pub(super) fn long_date(ms: i64) -> String {
    let Civil { year, month, day, weekday, second_of_day } = civil(ms);
    let (hour, minute, second) = clock(second_of_day);
    let (weekday, month) = (WEEKDAYS[weekday], MONTHS[month - 1]);
    format!("{weekday} {month} {day:02} {hour:02}:{minute:02}:{second:02} UTC {year}")
}

/// As `java.text.DateFormat` has a short date and a long time: `11/21/26, 5:56:17 AM UTC`.
pub(super) fn short_date(ms: i64) -> String {
    let Civil { year, month, day, second_of_day, .. } = civil(ms);
    let (hour, minute, second) = clock(second_of_day);
    let half = if hour < 12 { "AM" } else { "PM" };
    let hour = if hour % 12 == 0 { 12 } else { hour % 12 };
    format!("{month}/{day}/{:02}, {hour}:{minute:02}:{second:02} {half} UTC", year.rem_euclid(100))
}

fn clock(second_of_day: i64) -> (i64, i64, i64) {
    (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60)
}

/// Counts days in years that begin in March, so that the leap day is a year's last.
fn civil(ms: i64) -> Civil {
    let seconds = ms.div_euclid(1000);
    let days = seconds.div_euclid(86_400);
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    Civil {
        year: year_of_era + era * 400 + i64::from(month <= 2),
        month: usize::try_from(month).unwrap_or(1),
        day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
        weekday: usize::try_from((days + 4).rem_euclid(7)).unwrap_or(0),
        second_of_day: seconds.rem_euclid(86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_java() {
        assert_eq!(long_date(0), "Thu Jan 01 00:00:00 UTC 1970");
        assert_eq!(long_date(1_709_164_800_000), "Thu Feb 29 00:00:00 UTC 2024");
        assert_eq!(long_date(-1), "Wed Dec 31 23:59:59 UTC 1969");
        assert_eq!(short_date(1_709_209_805_000), "2/29/24, 12:30:05 PM UTC");
        assert_eq!(short_date(0), "1/1/70, 12:00:00 AM UTC");
    }
}
