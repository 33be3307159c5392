//! The records of an event stream, as long as its master gives a sign of life.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::Response;
use tokio::time::{Instant, timeout_at};
use tokio_util::codec::Decoder;

use super::error::MesosError;
use super::recordio::RecordIo;

/// If a master does not say how often its heart beats; what all of them do.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Reads records from an answer that does not end by itself.
#[derive(Debug)]
pub(super) struct Records {
    answer: Response,
    decoder: RecordIo,
    buffer: BytesMut,
    patience: Duration,
    deadline: Instant,
}

impl Records {
    /// Until more is known, a record has to come within `patience`.
    pub(super) fn new(answer: Response, decoder: RecordIo, patience: Duration) -> Self {
        let deadline = Instant::now() + patience;
        Self { answer, decoder, buffer: BytesMut::new(), patience, deadline }
    }

    /// From now on so many heartbeats may be missed, of the interval that the master announces.
    pub(super) fn expect_heartbeats(&mut self, seconds: Option<f64>, missed: u32) {
        let interval = seconds
            .filter(|seconds| *seconds > 0.0)
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .unwrap_or(HEARTBEAT);
        // Far enough in the future to be never, and not so far that the clock overflows.
        self.patience = interval.saturating_mul(missed).min(Duration::from_hours(24));
        self.deadline = Instant::now() + self.patience;
    }

    /// The next record. Nothing is lost if the future is dropped before it is ready.
    pub(super) async fn next(&mut self) -> Result<Bytes, MesosError> {
        loop {
            if let Some(record) = self.decoder.decode(&mut self.buffer)? {
                self.deadline = Instant::now() + self.patience;
                return Ok(record);
            }
            match timeout_at(self.deadline, self.answer.chunk()).await {
                Ok(Ok(Some(chunk))) => self.buffer.extend_from_slice(&chunk),
                Ok(Ok(None)) => {
                    let last = self.decoder.decode_eof(&mut self.buffer)?;
                    return last.ok_or(MesosError::StreamEnded);
                }
                Ok(Err(source)) => {
                    return Err(MesosError::StreamBroken { source: source.without_url() });
                }
                Err(_) => {
                    return Err(MesosError::Silent { seconds: self.patience.as_secs_f64() });
                }
            }
        }
    }
}
