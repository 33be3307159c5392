//! The decoder of records: the first byte says how large chunks are, the rest is a stream.
#![no_main]

use bytes::BytesMut;
use calico_dcos::mesos::recordio::RecordIo;
use libfuzzer_sys::fuzz_target;
use tokio_util::codec::Decoder;

fuzz_target!(|bytes: &[u8]| {
    let Some((size, stream)) = bytes.split_first() else { return };
    let (mut decoder, mut buffer) = (RecordIo::with_limit(1 << 16), BytesMut::new());
    for chunk in stream.chunks(usize::from(*size).max(1)) {
        buffer.extend_from_slice(chunk);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
});
