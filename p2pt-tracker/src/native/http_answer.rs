//! What an HTTP answer means that is none of those hoped for: a refusal of a WebSocket or of a tunnel, or a redirect.

use std::time::Duration;

use crate::error::HttpRefusal;

/// So much of a refusal's body is shown: it is HTML mostly, and says what matters first.
const MAX_BODY_CHARS: usize = 160;
/// So much of a target is shown that is no announce URL.
pub(crate) const MAX_TARGET_CHARS: usize = 256;

/// Reads a refusal: its status, when to come back, and the beginning of its body as far as that came with the head.
pub(crate) fn refusal<'a>(status: u16, header: impl Fn(&str) -> Option<&'a [u8]>, body: &[u8]) -> HttpRefusal {
    let text = |name| header(name).and_then(|value| std::str::from_utf8(value).ok());
    let retry_after = text("retry-after").and_then(|value| retry_after(value, text("date")));
    let body = shown(&String::from_utf8_lossy(body), MAX_BODY_CHARS);
    HttpRefusal { status, body: (!body.is_empty()).then_some(body), retry_after }
}

/// The beginning of a text on one line, without control characters, which terminals would obey.
pub(crate) fn shown(text: &str, max_chars: usize) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let mut shown = String::new();
    for word in words {
        if !shown.is_empty() {
            shown.push(' ');
        }
        shown.push_str(word);
        if let Some((end, _)) = shown.char_indices().nth(max_chars) {
            shown.truncate(end);
            shown.push('…');
            break;
        }
    }
    shown
}

/// The time that a `Retry-After` names, in seconds or as a date (RFC 9110, 10.2.3). A date is counted from that of the
/// answer, so that it does not matter whose clock is wrong.
fn retry_after(value: &str, date: Option<&str>) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // What no number can hold is long.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let (then, now) = (seconds_of(value)?, seconds_of(date?.trim())?);
    Some(Duration::from_secs(then.saturating_sub(now)))
}

/// The seconds since 1970 that an HTTP date names, in the one form that may be sent, such as
/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn seconds_of(date: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, date) = date.split_once(", ")?;
    let mut parts = date.strip_suffix(" GMT")?.split([' ', ':']);
    let mut next = || parts.next();
    let (day, month, year) = (next()?.parse::<u64>().ok()?, next()?, next()?.parse::<u64>().ok()?);
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let mut number = || next()?.parse::<u64>().ok();
    seconds_since_1970([year, month, day, number()?, number()?, number()?])
}

/// The seconds from 1970 to a year, month, day, hour, minute and second in UTC.
pub(crate) fn seconds_since_1970([year, month, day, hour, minute, second]: [u64; 6]) -> Option<u64> {
    let is_date = (1970..10_000).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !is_date || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Years that begin in March end with the leap day.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day;
    // The 1st of March of the year 0 is 719,469 days before the 1st of January 1970, counted as here.
    Some((days - 719_469) * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_are_seconds_since_1970() {
        for (date, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Tue, 29 Feb 2000 23:59:59 GMT", Some(951_868_799)),
            ("Wed, 01 Mar 2000 00:00:00 GMT", Some(951_868_800)),
            ("Mon, 01 Mar 2100 00:00:00 GMT", Some(4_107_542_400)),
            ("Fri, 31 Dec 2027 12:00:00 GMT", Some(1_830_254_400)),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("Sun Nov  6 08:49:37 1994", None),
            ("Sun, 06 Nov 1994 24:49:37 GMT", None),
            ("Sun, 06 Nov 1969 08:49:37 GMT", None),
            ("", None),
        ] {
            assert_eq!(seconds_of(date), seconds, "{date}");
        }
    }

    #[test]
    fn a_time_to_come_back_is_seconds_or_a_date() {
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        for (value, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:51:37 GMT", Some(120)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("-5", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(value, date), seconds.map(Duration::from_secs), "{value}");
        }
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:51:37 GMT", None), None, "no clock but the tracker's is asked");
    }

    #[test]
    fn a_body_is_shown_on_a_line_and_not_whole() {
        let read = refusal(503, |_| None, b"<h1>\x1b[31mClosed</h1>\r\n\xff\tfor  now\0");
        assert_eq!(read.body.as_deref(), Some("<h1> [31mClosed</h1> \u{fffd} for now"));
        assert_eq!(read.to_string(), "HTTP status 503 (<h1> [31mClosed</h1> \u{fffd} for now)");
        assert_eq!(refusal(503, |_| None, b" \r\n").to_string(), "HTTP status 503");
        let long = refusal(500, |_| None, "ü".repeat(1000).as_bytes()).body.unwrap();
        assert_eq!(long.chars().count(), MAX_BODY_CHARS + 1);
    }

    proptest! {
        #[test]
        fn never_panics(value in "\\PC*", date in "[A-Z][a-z]{2}, [0-9]{1,3} (Jan|Feb|Dec) [0-9]{1,6} [0-9:]{0,10} GMT") {
            let _ = retry_after(&value, Some(&date));
            let _ = retry_after(&date, Some(&date));
            prop_assert!(shown(&value, 10).chars().count() <= 11);
        }
    }
}
