//! `RecordIO`, the framing of Mesos' event streams: the length in decimal digits, a newline, exactly
//! that many bytes, and again (`docs/recordio.md` of Mesos). Where one chunk of the HTTP body ends
//! says nothing about records, and a record may hold anything, newlines too; so this counts bytes.

use bytes::{Buf, Bytes, BytesMut};
use tokio_util::codec::Decoder;

/// The largest record that is taken by default, in bytes. A real master puts the offers of a whole
/// cluster into one event: 0.7 to 1 KiB for each agent in the recordings, and more with many
/// attributes, port ranges and reservations. At 6 KiB each this is enough for ten thousand agents;
/// more than that is no master. Memory is taken as the bytes arrive, not as they are announced.
pub const MAX_RECORD: usize = 64 * 1024 * 1024;

/// How much room is made ahead for a record that has begun.
const AHEAD: usize = 64 * 1024;

/// The longest length, in digits: that of the largest 64-bit number.
const MAX_DIGITS: usize = 20;

/// Why a stream cannot be read on. It is then of no use: where the next record starts is unknown.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// What should be a length is not one.
    #[error("the event stream is damaged: `{found}` stands where the length of a record should")]
    BadLength {
        /// The first bytes of what was found, printable.
        found: String,
    },
    /// A record is larger than allowed.
    #[error("a record of {length} bytes in the event stream is larger than the {limit} allowed")]
    Oversized {
        /// Bytes announced.
        length: u64,
        /// Bytes allowed.
        limit: usize,
    },
    /// The stream ended in the middle of a record.
    #[error("the event stream ended in the middle of a record")]
    Truncated,
    /// Only for [`Decoder`], whose users may read from anything.
    #[error("reading the event stream failed")]
    Io(#[from] std::io::Error),
}

/// An incremental decoder: give it bytes in any portions, take records out.
#[derive(Clone, Debug)]
pub struct RecordIo {
    limit: usize,
    /// The length of the record that has begun; `None` while its length is being read.
    length: Option<usize>,
}

impl Default for RecordIo {
    fn default() -> Self {
        Self::with_limit(MAX_RECORD)
    }
}

impl RecordIo {
    /// A decoder that takes records of up to `limit` bytes.
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        Self { limit, length: None }
    }

    /// Takes the length and its newline off the front, once they are there.
    fn length(&self, buffer: &mut BytesMut) -> Result<Option<usize>, RecordError> {
        let digits = buffer.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let bad = || RecordError::BadLength { found: excerpt(buffer) };
        match buffer.get(digits) {
            _ if digits > MAX_DIGITS => return Err(bad()),
            None => return Ok(None),
            Some(b'\n') => {}
            Some(_) => return Err(bad()),
        }
        let text = std::str::from_utf8(&buffer[..digits]).map_err(|_| bad())?;
        let length: u64 = text.parse().map_err(|_| bad())?;
        let oversized = || RecordError::Oversized { length, limit: self.limit };
        let length = usize::try_from(length).map_err(|_| oversized())?;
        if length > self.limit {
            return Err(oversized());
        }
        buffer.advance(digits + 1);
        Ok(Some(length))
    }
}

fn excerpt(buffer: &[u8]) -> String {
    buffer[..buffer.len().min(MAX_DIGITS)].escape_ascii().to_string()
}

impl Decoder for RecordIo {
    type Item = Bytes;
    type Error = RecordError;

    /// The next record, or `None` if more bytes are needed. Records of no bytes are passed over.
    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, RecordError> {
        loop {
            let length = match self.length {
                Some(length) => length,
                None => match self.length(buffer)? {
                    None => return Ok(None),
                    Some(0) => continue,
                    Some(length) => *self.length.insert(length),
                },
            };
            if buffer.len() < length {
                buffer.reserve((length - buffer.len()).min(AHEAD));
                return Ok(None);
            }
            self.length = None;
            return Ok(Some(buffer.split_to(length).freeze()));
        }
    }

    /// As [`Self::decode`]; what is left over is a record cut short.
    fn decode_eof(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, RecordError> {
        match self.decode(buffer)? {
            Some(record) => Ok(Some(record)),
            None if buffer.is_empty() && self.length.is_none() => Ok(None),
            None => Err(RecordError::Truncated),
        }
    }
}

/// Frames one record; for whoever writes such a stream.
#[must_use]
pub fn frame(record: &[u8]) -> Bytes {
    let mut framed = record.len().to_string().into_bytes();
    framed.push(b'\n');
    framed.extend_from_slice(record);
    framed.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mesos::recording;

    /// Feeds the chunks one by one, then the end of the stream.
    fn read<'a>(
        mut decoder: RecordIo,
        chunks: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Vec<Bytes>, (Vec<Bytes>, RecordError)> {
        let (mut buffer, mut records) = (BytesMut::new(), Vec::new());
        for chunk in chunks {
            buffer.extend_from_slice(chunk);
            loop {
                match decoder.decode(&mut buffer) {
                    Ok(Some(record)) => records.push(record),
                    Ok(None) => break,
                    Err(error) => return Err((records, error)),
                }
            }
        }
        match decoder.decode_eof(&mut buffer) {
            Ok(None) => Ok(records),
            Ok(Some(_)) => panic!("a record was left after the loop had taken all"),
            Err(error) => Err((records, error)),
        }
    }

    fn recorded() -> Vec<u8> {
        recording::streams(&recording::read("01_subscribe")).remove(0).bytes
    }

    #[test]
    fn point_10_a_recorded_stream_is_read_the_same_wherever_it_is_split() {
        let stream = recorded();
        let whole = read(RecordIo::default(), [&stream[..]]).unwrap();
        assert_eq!(whole.len(), 5, "SUBSCRIBED, HEARTBEAT, OFFERS and two more heartbeats");
        for at in 0..=stream.len() {
            let (head, tail) = stream.split_at(at);
            assert_eq!(read(RecordIo::default(), [head, tail]).unwrap(), whole, "split at {at}");
        }
        assert_eq!(read(RecordIo::default(), stream.chunks(1)).unwrap(), whole);
    }

    #[test]
    fn an_end_inside_a_record_is_told_from_an_end_between_records() {
        let stream = recorded();
        let ends: Vec<_> = read(RecordIo::default(), [&stream[..]])
            .unwrap()
            .iter()
            .scan(0, |at, record| {
                *at += record.len() + record.len().to_string().len() + 1;
                Some(*at)
            })
            .collect();
        for at in 1..stream.len() {
            match read(RecordIo::default(), [&stream[..at]]) {
                Ok(_) => assert!(ends.contains(&at), "the cut at {at} went unnoticed"),
                Err((_, RecordError::Truncated)) => assert!(!ends.contains(&at)),
                Err((_, other)) => panic!("cut at {at}: {other}"),
            }
        }
    }

    #[test]
    fn records_of_no_bytes_are_passed_over() {
        assert_eq!(read(RecordIo::default(), [&b"0\n0\n2\nab0\n"[..]]).unwrap(), ["ab"]);
    }

    #[test]
    fn point_10_a_record_may_be_as_large_as_the_limit_and_no_larger() {
        assert_eq!(read(RecordIo::with_limit(3), [&b"3\nabc"[..]]).unwrap(), ["abc"]);
        for length in ["4", "18446744073709551615"] {
            let stream = format!("1\nx{length}\n");
            let (records, error) = read(RecordIo::with_limit(3), [stream.as_bytes()]).unwrap_err();
            assert_eq!(records, ["x"], "what came before is not lost");
            assert!(matches!(error, RecordError::Oversized { limit: 3, .. }), "{error}");
        }
    }

    #[test]
    fn what_is_not_a_length_is_refused_at_its_first_wrong_byte() {
        for stream in [
            "<html>",
            "\n",
            "-1\n",
            "+1\n",
            " 1\n",
            "1 \n",
            "1\r\n",
            "0x1\n",
            "18446744073709551616\n",
            "000000000000000000001\n",
            "999999999999999999999",
        ] {
            let (_, error) = read(RecordIo::default(), [stream.as_bytes()]).unwrap_err();
            assert!(matches!(error, RecordError::BadLength { .. }), "{stream:?}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_records_survive_any_chunking(
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..8),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let stream: Vec<u8> = records.iter().flat_map(|record| frame(record)).collect();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let chunks = cuts.windows(2).map(|span| &stream[span[0]..span[1]]);
            prop_assert_eq!(read(RecordIo::default(), chunks).unwrap(), records);
        }

        #[test]
        fn point_10_no_bytes_make_it_panic(chunks in prop::collection::vec(any::<Vec<u8>>(), 0..4)) {
            let chunks = chunks.iter().map(Vec::as_slice);
            let _ = read(RecordIo::with_limit(64), chunks);
        }
    }
}
