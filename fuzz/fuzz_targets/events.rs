//! One record as an event: what can be read can be written, and reads as the same.
#![no_main]

use calico_dcos::mesos::v1::scheduler::Event;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|record: &[u8]| {
    if let Ok(event) = serde_json::from_slice::<Event>(record) {
        let written = serde_json::to_vec(&event).expect("an event that was read can be written");
        assert_eq!(serde_json::from_slice::<Event>(&written).ok(), Some(event));
    }
});
