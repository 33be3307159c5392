//! Real etcd: reads, listings, transactions, and the check that not everybody can write.
//!
//! Nothing is retried here: whoever asked knows whether asking again is right.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{
    Client, CompareOp, ConnectOptions, GetOptions, KeyValue, KvClient, LeaseClient, PutOptions,
    ResponseHeader, TxnOp, WatchClient,
};

use super::error::{Names, StoreError};
use super::keys::{Key, Space};
use super::options::EtcdOptions;
use super::txn::{Compare, Entry, LeaseId, Op, Outcome, Refused, Snapshot, Txn};
use crate::words::Revision;

/// Keys to a page of a listing.
const PAGE: i64 = 1000;

/// The largest answer that is taken: a page of values of the largest size that we write. The
/// default of the client, 4 MiB, is less than a thousand hosts' facts.
const LARGEST_ANSWER: usize = 256 << 20;

/// A compaction in the middle of a listing starts it anew, so many times.
const LIST_TRIES: u32 = 5;

/// A connection to etcd, for the keys under one prefix. Cheap to clone.
#[derive(Clone)]
pub struct EtcdStore {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    options: EtcdOptions,
    names: Names,
    root: String,
    cluster_id: u64,
}

impl fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EtcdStore").field(&self.inner.options).finish()
    }
}

impl EtcdStore {
    /// Connects, and reads one key, so that a wrong address or password shows here.
    pub async fn connect(options: &EtcdOptions) -> Result<Self, StoreError> {
        let names = options.names();
        let for_client = options.for_client().await?;
        let client = open(options, for_client, &names).await?;
        let root = options.root();
        let mut kv = client.kv_client();
        let first = kv.get(format!("{root}{}", Key::Leader.path()), None);
        let first = within(options.timeout, &names, first).await?;
        let cluster_id = first.header().map_or(0, ResponseHeader::cluster_id);
        let options = options.clone();
        let inner = Inner { client, options, names, root, cluster_id };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// etcd's name of the cluster, as it was at the first answer.
    #[must_use]
    pub fn cluster_id(&self) -> u64 {
        self.inner.cluster_id
    }

    /// Refuses a prefix that anybody can write without credentials, unless `allow_open`.
    ///
    /// It tries, as a client with neither user nor certificate, a write whose condition never
    /// holds: etcd looks at the permission first. A status call would say only that
    /// authentication is on, does not know certificates, and is absent from etcd 3.4.
    pub async fn check_openness(&self, allow_open: bool) -> Result<(), StoreError> {
        if allow_open {
            return Ok(());
        }
        let anonymous = self.inner.options.anonymous();
        match self.try_write_as(&anonymous).await {
            Ok(()) => Err(StoreError::Open { prefix: self.inner.names.prefix.clone() }),
            Err(StoreError::Denied { .. }) => Ok(()),
            // With our certificate etcd has just answered; without one it hangs up.
            Err(StoreError::Unreachable { .. }) if self.inner.options.cert_file.is_some() => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn try_write_as(&self, options: &EtcdOptions) -> Result<(), StoreError> {
        let (timeout, names) = (options.timeout, &self.inner.names);
        let for_client = options.for_client().await?;
        let client = open(options, for_client, names).await?;
        let key = self.path(&Key::DesiredCluster);
        let never = etcd_client::Compare::version(key.clone(), CompareOp::Less, 0);
        let write = TxnOp::put(key, "", None);
        let txn = etcd_client::Txn::new().when([never]).and_then([write]);
        within(timeout, names, client.kv_client().txn(txn)).await.map(drop)
    }

    /// Reads one key.
    pub async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        self.get_at(key).await.map(|(entry, _)| entry)
    }

    /// Reads one key, and the revision that it was read at.
    pub(super) async fn get_at(&self, key: &Key) -> Result<(Option<Entry>, Revision), StoreError> {
        let mut kv = self.kv();
        let answer = self.answer(kv.get(self.path(key), None)).await?;
        let revision = revision_of(answer.header());
        Ok((answer.kvs().first().map(|found| entry(key.clone(), found)), revision))
    }

    /// Lists a part of the key space at one revision. Keys that are not ours are left out.
    pub async fn list(&self, space: Space) -> Result<Snapshot, StoreError> {
        for _ in 1..LIST_TRIES {
            match self.list_once(space, None).await {
                Err(StoreError::Compacted) => {}
                done => return done,
            }
        }
        self.list_once(space, None).await
    }

    /// Lists a part of the key space as it was at a revision, which must not be a future one.
    /// [`StoreError::Compacted`] if etcd does not know any more.
    pub async fn list_at(&self, space: Space, at: Revision) -> Result<Snapshot, StoreError> {
        self.list_once(space, Some(at)).await
    }

    async fn list_once(&self, space: Space, at: Option<Revision>) -> Result<Snapshot, StoreError> {
        let mut from = format!("{}{}", self.inner.root, space.path()).into_bytes();
        let end = after_prefix(&from);
        let mut first: Option<(Revision, u64)> = None;
        let mut entries = Vec::new();
        loop {
            let mut page = GetOptions::new().with_range(end.clone()).with_limit(PAGE);
            if let Some(revision) = at.or(first.map(|(revision, _)| revision)) {
                page = page.with_revision(signed(revision));
            }
            let mut kv = self.kv();
            let answer = self.answer(kv.get(from, Some(page))).await?;
            let header = answer.header();
            let (revision, cluster_id) = *first.get_or_insert_with(|| {
                let revision = at.unwrap_or_else(|| revision_of(header));
                (revision, header.map_or(0, ResponseHeader::cluster_id))
            });
            entries.extend(answer.kvs().iter().filter_map(|found| self.entry_of(found)));
            match answer.kvs().last() {
                Some(last) if answer.more() => from = [last.key(), b"\0"].concat(),
                _ => {
                    entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
                    return Ok(Snapshot { revision, cluster_id, entries });
                }
            }
        }
    }

    /// Does all of the transaction or nothing. After [`StoreError::Unreachable`] either may have
    /// happened.
    pub async fn txn(&self, txn: &Txn) -> Result<Outcome, StoreError> {
        self.txn_with(txn, None).await
    }

    /// The same, where puts with `lease: true` end with this lease.
    pub async fn txn_with(&self, txn: &Txn, lease: Option<LeaseId>) -> Result<Outcome, StoreError> {
        txn.check()?;
        let compares: Vec<_> = txn.compares.iter().map(|compare| self.compare(compare)).collect();
        let ops = txn.ops.iter().map(|op| self.op(op, lease)).collect::<Result<Vec<_>, _>>()?;
        let request = etcd_client::Txn::new().when(compares).and_then(ops);
        let mut kv = self.kv();
        let answer = self.answer(kv.txn(request)).await?;
        Ok(if answer.succeeded() {
            Outcome::Committed(revision_of(answer.header()))
        } else {
            Outcome::Conflict
        })
    }

    fn compare(&self, compare: &Compare) -> etcd_client::Compare {
        match compare {
            Compare::ModRevision(key, at) => {
                etcd_client::Compare::mod_revision(self.path(key), CompareOp::Equal, signed(*at))
            }
            Compare::CreateRevision(key, at) => {
                etcd_client::Compare::create_revision(self.path(key), CompareOp::Equal, signed(*at))
            }
        }
    }

    fn op(&self, op: &Op, lease: Option<LeaseId>) -> Result<TxnOp, Refused> {
        Ok(match op {
            Op::Put { key, value, lease: false } => {
                TxnOp::put(self.path(key), value.as_str(), None)
            }
            Op::Put { key, value, lease: true } => {
                let LeaseId(lease) = lease.ok_or(Refused::NoLease)?;
                let options = PutOptions::new().with_lease(lease);
                TxnOp::put(self.path(key), value.as_str(), Some(options))
            }
            Op::Delete(key) => TxnOp::delete(self.path(key), None),
        })
    }

    /// The whole path of a key in etcd.
    pub(super) fn path(&self, key: &Key) -> String {
        format!("{}{}", self.inner.root, key.path())
    }

    /// What all our paths begin with.
    pub(super) fn root(&self) -> &str {
        &self.inner.root
    }

    pub(super) fn client(&self) -> &Client {
        &self.inner.client
    }

    pub(super) fn options(&self) -> &EtcdOptions {
        &self.inner.options
    }

    pub(super) fn timeout(&self) -> Duration {
        self.inner.options.timeout
    }

    pub(super) fn names(&self) -> &Names {
        &self.inner.names
    }

    fn kv(&self) -> KvClient {
        self.inner.client.kv_client().max_decoding_message_size(LARGEST_ANSWER)
    }

    pub(super) fn watch_client(&self) -> WatchClient {
        self.inner.client.watch_client().max_decoding_message_size(LARGEST_ANSWER)
    }

    pub(super) fn lease_client(&self) -> LeaseClient {
        self.inner.client.lease_client()
    }

    /// Waits for an answer as long as the options say.
    pub(super) fn answer<'a, T: 'a>(
        &'a self,
        call: impl Future<Output = Result<T, etcd_client::Error>> + 'a,
    ) -> impl Future<Output = Result<T, StoreError>> + 'a {
        within(self.timeout(), &self.inner.names, call)
    }

    /// The key of a path in etcd, if it is one of ours.
    pub(super) fn key_of(&self, path: &[u8]) -> Option<Key> {
        let ours = std::str::from_utf8(path)
            .ok()
            .and_then(|path| path.strip_prefix(self.inner.root.as_str()))
            .and_then(Key::parse);
        if ours.is_none() {
            // Most likely somebody mistyped the name of a document.
            tracing::warn!(path = %String::from_utf8_lossy(path), "a key that is not ours");
        }
        ours
    }

    /// What etcd sent, if its key is one of ours.
    pub(super) fn entry_of(&self, found: &KeyValue) -> Option<Entry> {
        self.key_of(found.key()).map(|key| entry(key, found))
    }
}

/// Opens a connection; with a user, logs in.
pub(super) async fn open(
    options: &EtcdOptions,
    for_client: ConnectOptions,
    names: &Names,
) -> Result<Client, StoreError> {
    let client = Client::connect(&options.endpoints, Some(for_client));
    within(options.timeout, names, client).await
}

/// Boxed, because the client's futures take up to 25 KB of every future that waits for them.
pub(super) fn within<'a, T: 'a>(
    timeout: Duration,
    names: &'a Names,
    call: impl Future<Output = Result<T, etcd_client::Error>> + 'a,
) -> impl Future<Output = Result<T, StoreError>> + 'a {
    let call = tokio::time::timeout(timeout, Box::pin(call));
    async move {
        match call.await {
            Ok(answer) => answer.map_err(|error| names.sort(error)),
            Err(_) => Err(names.silent()),
        }
    }
}

fn entry(key: Key, found: &KeyValue) -> Entry {
    Entry {
        key,
        value: String::from_utf8_lossy(found.value()).into_owned(),
        mod_revision: revision(found.mod_revision()),
        create_revision: revision(found.create_revision()),
    }
}

fn revision_of(header: Option<&ResponseHeader>) -> Revision {
    revision(header.map_or(0, ResponseHeader::revision))
}

/// etcd counts in signed numbers, from 1.
pub(super) fn revision(number: i64) -> Revision {
    Revision(u64::try_from(number).unwrap_or(0))
}

pub(super) fn signed(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

/// The first path after all that begin with this one. Ours end with a slash.
pub(super) fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}
