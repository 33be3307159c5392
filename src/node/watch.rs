//! When to look at the machine again: at once after something has changed, and from time to time.
//!
//! Signs come from the kernel (files), from systemd (units) and from Docker (containers). A sign
//! says only that it is time to look: what is so is what a look finds. While a source is not to
//! be had the machine is looked at often, and the source is asked for again.

mod files;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::host::{Host, HostError};
use super::steps;
use files::Files;

/// What belongs together comes within this time, and is looked at once.
const BURST: Duration = Duration::from_millis(200);
/// Between two looks while a source of signs is missing.
const WITHOUT_SIGNS: Duration = Duration::from_secs(5);
/// Between two looks otherwise: what gives no sign (DNS, etcd behind the proxy, what the agent
/// answers) is seen within this time.
const WITH_SIGNS: Duration = Duration::from_secs(30);
/// Until a source that broke is asked for again.
const AGAIN: Duration = Duration::from_secs(10);

/// How a source says what it knows.
#[derive(Clone, Debug)]
pub struct Sign {
    changed: Arc<Notify>,
    up: Arc<AtomicBool>,
}

impl Sign {
    fn new(changed: &Arc<Notify>) -> Self {
        Self { changed: Arc::clone(changed), up: Arc::default() }
    }

    /// From now on nothing is missed; what was before has to be looked at.
    pub fn up(&self) {
        self.up.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Something has changed.
    pub fn changed(&self) {
        self.changed.notify_one();
    }

    fn lost(&self) {
        self.up.store(false, Ordering::Relaxed);
        self.changed.notify_one();
    }

    fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }
}

/// When to look.
#[derive(Debug)]
pub struct Changes {
    changed: Arc<Notify>,
    sources: Vec<Sign>,
    files: Option<Arc<Files>>,
    due: Instant,
    /// Ended with this.
    _tasks: JoinSet<()>,
}

impl Changes {
    /// Starts all sources. The first look is due at once.
    pub fn start(host: &Host) -> Self {
        let changed = Arc::default();
        let mut tasks = JoinSet::new();
        let (units, containers, disk) =
            (Sign::new(&changed), Sign::new(&changed), Sign::new(&changed));
        tasks.spawn(keep_up("systemd", units.clone(), {
            let (host, sign) = (host.clone(), units.clone());
            move || {
                let (host, sign) = (host.clone(), sign.clone());
                async move { Ok(host.services.watch(&steps::units(), &sign).await?) }
            }
        }));
        tasks.spawn(keep_up("Docker", containers.clone(), {
            let (host, sign) = (host.clone(), containers.clone());
            move || {
                let (host, sign) = (host.clone(), sign.clone());
                async move { Ok(host.docker.watch(&steps::containers(), &sign).await?) }
            }
        }));
        let files = Files::new().map(Arc::new);
        let files = match files {
            Ok(files) => Some(files),
            Err(error) => {
                tracing::warn!(%error, "no signs come from files");
                None
            }
        };
        if let Some(files) = files.clone() {
            let sign = disk.clone();
            sign.up();
            tasks.spawn(async move {
                let error = files.watch(&sign).await;
                tracing::warn!(%error, "no signs come from files any more");
                sign.lost();
            });
        }
        let sources = vec![units, containers, disk];
        Self { changed, sources, files, due: Instant::now(), _tasks: tasks }
    }

    /// What watches files; a look tells it which ones, before it looks.
    pub fn files(&self) -> FileSigns {
        FileSigns(self.files.clone())
    }

    /// Waits until it is time to look. Nothing is lost if it is not waited for to the end.
    pub async fn next(&mut self) {
        loop {
            tokio::select! {
                () = self.changed.notified() => {
                    self.due = self.due.min(Instant::now() + BURST);
                }
                () = sleep_until(self.due) => {
                    let missing = self.sources.iter().any(|source| !source.is_up());
                    let rest = if missing { WITHOUT_SIGNS } else { WITH_SIGNS };
                    self.due = Instant::now() + rest;
                    return;
                }
            }
        }
    }
}

/// See [`Changes::files`].
#[derive(Clone, Debug)]
pub struct FileSigns(Option<Arc<Files>>);

impl FileSigns {
    /// From now on these are watched, those from before too.
    pub fn watch(&self, host: &Host) -> Result<(), HostError> {
        if let Some(files) = &self.0 {
            files.add(&host.root, &steps::files(host));
        }
        Ok(())
    }
}

/// Asks for a source again and again. It ends only by breaking.
async fn keep_up<F>(name: &str, sign: Sign, source: impl Fn() -> F)
where
    F: Future<Output = Result<Infallible, HostError>>,
{
    let mut told = false;
    loop {
        let Err(error) = source().await;
        let was_up = sign.is_up();
        // A host may have no Docker at all: that is said once.
        if was_up || !told {
            let error = error.sentence();
            tracing::info!(error, "no signs come from {name}; this host is looked at every 5 s");
            told = true;
        }
        if was_up {
            sign.lost();
        }
        tokio::time::sleep(AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::steps::fakes::Fake;

    fn changes() -> Changes {
        let changed = Arc::default();
        let sources = vec![Sign::new(&changed), Sign::new(&changed)];
        let due = Instant::now();
        Changes { changed, sources, files: None, due, _tasks: JoinSet::new() }
    }

    /// Before a look that no sign has brought on.
    const IN_TIME: Duration = Duration::from_secs(25);

    /// Milliseconds until the next look.
    async fn wait(changes: &mut Changes) -> u128 {
        let before = Instant::now();
        changes.next().await;
        before.elapsed().as_millis()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_one_look_and_silence_one_at_intervals() {
        let mut changes = changes();
        let sources = changes.sources.clone();
        assert_eq!(wait(&mut changes).await, 0);
        assert_eq!(wait(&mut changes).await, 5_000);
        sources[0].up();
        assert_eq!(wait(&mut changes).await, 200);
        // One source is still missing.
        assert_eq!(wait(&mut changes).await, 5_000);
        sources[1].up();
        assert_eq!(wait(&mut changes).await, 200);
        assert_eq!(wait(&mut changes).await, 30_000);
        let signs = tokio::spawn({
            let sign = sources[0].clone();
            async move {
                for _ in 0..100 {
                    sign.changed();
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        });
        assert_eq!(wait(&mut changes).await, 200);
        signs.await.unwrap();
        assert_eq!(wait(&mut changes).await, 30_000);
        sources[0].lost();
        assert_eq!(wait(&mut changes).await, 200);
        assert_eq!(wait(&mut changes).await, 5_000);
    }

    #[tokio::test]
    async fn files_units_and_containers_each_give_signs() {
        let fake = Fake::new();
        fake.put("/etc/docker/daemon.json", "{}");
        let mut changes = Changes::start(&fake.host);
        changes.files().watch(&fake.host).unwrap();
        while !changes.sources.iter().all(Sign::is_up) {
            changes.next().await;
        }
        // What was before is looked at; from then on only what happens brings a look on in time.
        changes.changed.notify_one();
        changes.next().await;
        let happens: [&dyn Fn(); 2] =
            [&|| fake.put("/etc/docker/daemon.json", "{\"debug\": true}"), &|| {
                drop(fake.host.services.stop("docker.service"));
            }];
        for event in happens {
            event();
            let look = tokio::time::timeout(IN_TIME, changes.next());
            look.await.expect("a sign");
        }
        fake.machine().containers.insert("calico-node".to_owned(), serde_json::json!({}));
        fake.host.docker.remove("calico-node").await.unwrap();
        tokio::time::timeout(IN_TIME, changes.next()).await.expect("a sign");
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_that_is_broken_off_loses_nothing() {
        let mut changes = changes();
        wait(&mut changes).await;
        let sign = changes.sources[0].clone();
        sign.changed();
        // Something else is done in between, again and again.
        for _ in 0..10 {
            let a_while = tokio::time::timeout(Duration::from_millis(15), changes.next()).await;
            a_while.unwrap_err();
        }
        assert_eq!(wait(&mut changes).await, 50);
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_breaks_is_taken_up_again() {
        let mut changes = changes();
        wait(&mut changes).await;
        let sign = changes.sources[0].clone();
        changes.sources[1].up();
        let broken = sign.clone();
        let source = move || {
            let sign = broken.clone();
            async move {
                sign.up();
                tokio::time::sleep(Duration::from_millis(61_050)).await;
                Err(HostError::Found("gone".to_owned()))
            }
        };
        tokio::spawn(keep_up("a test", sign, source));
        let mut waits = Vec::new();
        for _ in 0..7 {
            waits.push(wait(&mut changes).await);
        }
        // Up at once; lost after 61.05 s; up again ten seconds later.
        assert_eq!(waits, [200, 30_000, 30_000, 1_050, 5_000, 5_000, 30_000]);
    }
}
