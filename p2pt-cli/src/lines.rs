//! Reading lines that may be of any length, or never end, without holding more than one line's limit.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// What some programs, on Windows above all, write before any text: U+FEFF in UTF-8. It is no part of the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One line of input, without its line feed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Whole(Vec<u8>),
    /// It was longer than the limit, and was skipped.
    TooLong,
}

#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: R,
    max_bytes: usize,
    line: Vec<u8>,
    too_long: bool,
    /// No line has been taken yet.
    at_start: bool,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    pub(crate) fn new(reader: R, max_bytes: usize) -> Self {
        Self { reader, max_bytes, line: Vec::new(), too_long: false, at_start: true }
    }

    /// The next line, or `None` at the end. The last line needs no line feed; a byte-order mark before the first is
    /// passed over. Cancel-safe.
    ///
    /// # Errors
    /// What the reader fails with.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let read = self.reader.fill_buf().await?;
            if read.is_empty() {
                let at_start = self.at_start;
                let last = (self.too_long || !self.line.is_empty()).then(|| self.take());
                // A mark alone is no line.
                return Ok(last.filter(|line| !(at_start && *line == Line::Whole(Vec::new()))));
            }
            let end = read.iter().position(|&byte| byte == b'\n');
            let part = &read[..end.unwrap_or(read.len())];
            // A mark that may be there is not counted: whether it is one shows when the line is whole.
            let room = if self.at_start { BYTE_ORDER_MARK.len() } else { 0 };
            self.too_long |= self.line.len() + part.len() > self.max_bytes + room;
            if self.too_long {
                self.line = Vec::new();
            } else {
                self.line.extend_from_slice(part);
            }
            let consumed = part.len() + usize::from(end.is_some());
            self.reader.consume(consumed);
            if end.is_some() {
                return Ok(Some(self.take()));
            }
        }
    }

    fn take(&mut self) -> Line {
        let mut line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.at_start) && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        let too_long = std::mem::take(&mut self.too_long) || line.len() > self.max_bytes;
        if too_long { Line::TooLong } else { Line::Whole(line) }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::BufReader;

    use super::*;

    async fn all(input: &[u8], max_bytes: usize, buffer_bytes: usize) -> Vec<Line> {
        let mut lines = Lines::new(BufReader::with_capacity(buffer_bytes, input), max_bytes);
        let mut found = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            found.push(line);
        }
        found
    }

    fn whole(text: &str) -> Line {
        Line::Whole(text.into())
    }

    #[tokio::test]
    async fn lines_are_cut_alike_however_they_arrive() {
        for buffer_bytes in [1, 2, 3, 5, 64] {
            let found = all(b"one\n\ntwo\r\nlast", 16, buffer_bytes).await;
            assert_eq!(found, [whole("one"), whole(""), whole("two\r"), whole("last")]);
        }
    }

    #[tokio::test]
    async fn a_line_at_the_limit_passes_and_a_longer_one_is_skipped_whole() {
        for buffer_bytes in [1, 2, 3, 5, 64] {
            let found = all(b"1234\n12345\n123456789\n1\n12345", 4, buffer_bytes).await;
            assert_eq!(found, [whole("1234"), Line::TooLong, Line::TooLong, whole("1"), Line::TooLong]);
        }
    }

    #[tokio::test]
    async fn a_mark_at_the_start_is_passed_over_and_nowhere_else() {
        for buffer_bytes in [1, 2, 3, 5, 64] {
            assert_eq!(
                all(b"\xef\xbb\xbf1234\n\xef\xbb\xbf5", 4, buffer_bytes).await,
                [whole("1234"), whole("\u{feff}5")]
            );
            assert_eq!(all(b"\xef\xbb\xbf12345\n1", 4, buffer_bytes).await, [Line::TooLong, whole("1")]);
            assert_eq!(all(b"12345\n\xef\xbb\xbf1", 4, buffer_bytes).await, [Line::TooLong, whole("\u{feff}1")]);
            assert_eq!(all(b"\xef\xbb\xbf\n\n", 4, buffer_bytes).await, [whole(""), whole("")]);
            assert_eq!(all(b"\xef\xbb\xbf", 4, buffer_bytes).await, []);
            assert_eq!(all(b"\xef\xbb", 4, buffer_bytes).await, [Line::Whole(b"\xef\xbb".to_vec())]);
        }
    }

    #[tokio::test]
    async fn no_input_has_no_lines() {
        assert!(all(b"", 4, 8).await.is_empty());
        assert_eq!(all(b"\n", 4, 8).await, [whole("")]);
    }
}
