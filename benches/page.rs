//! The first page of a cluster: from what is known of etcd to its bytes. The limit for ten thousand hosts is 50 ms and 100 kB.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "the documents are written here")]

mod world;

use std::hint::black_box;

use calico_dcos::store::Space;
use calico_dcos::surface::state::State;
use calico_dcos::web::first_page;
use calico_dcos::words::Time;
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};

use crate::world::in_sync;

/// A cluster in sync, and an image that all of its hosts are to change to.
fn edited(count: u64) -> State {
    let mut state = State::of(&in_sync(count).etcd().list(Space::All), Time(1_000_000));
    for document in state.documents.values_mut() {
        document.text = document.text.replace("v2.6.12", "v2.6.13");
    }
    state
}

fn page(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("page/first");
    for count in [1_000_u64, 10_000] {
        let state = edited(count);
        let bytes = first_page(state.clone(), state.at).expect("there are documents").len();
        println!("the first page of {count} hosts: {bytes} bytes");
        group.bench_function(BenchmarkId::from_parameter(count), |bench| {
            bench.iter_batched(
                || state.clone(),
                |state| black_box(first_page(state, Time(1_000_000))),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(page_benches, page);
criterion_main!(page_benches);
