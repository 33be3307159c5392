//! The status again whenever something changes.

use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

use super::super::format::{RED, fitted, print, redraws, steer};
use super::super::{Connection, Exit, Failure};
use super::page;
use crate::clock;
use crate::store::StoreEvent;
use crate::surface::known::Known;
use crate::surface::status::RolloutStatus;
use crate::surface::view::View;

/// Changes within this time are shown as one.
const CALM: Duration = Duration::from_millis(250);

/// On a terminal, ages go on while nothing changes.
const TICK: Duration = Duration::from_secs(1);

/// To the upper left corner, and clear what is below.
const HOME: &str = "\x1b[H\x1b[J";

/// Shows the status until it is over or nobody looks any more.
pub(super) async fn watch(connection: &Connection, until_done: bool) -> Result<Exit, Failure> {
    let store = connection.connect().await?;
    let mut events = store.watch();
    let mut screen = Screen::new(redraws());
    let mut known = Known::default();
    loop {
        let tick = if screen.terminal { TICK } else { Duration::MAX };
        match timeout(tick, events.recv()).await {
            Ok(Some(event)) => known.fold(event, clock::now()),
            Ok(None) => return Err(Failure::environment("the watch of etcd has ended")),
            Err(_) => {}
        }
        drain(&mut events, &mut known).await;
        match screen.show(&known)? {
            Some(over @ (RolloutStatus::Done | RolloutStatus::Halted)) if until_done => {
                return Ok(over.exit());
            }
            _ => {}
        }
    }
}

/// Takes what comes in quick succession.
async fn drain(events: &mut Receiver<StoreEvent>, known: &mut Known) {
    let _ = timeout(CALM, async {
        while let Some(event) = events.recv().await {
            known.fold(event, clock::now());
        }
    })
    .await;
}

/// Where it is shown.
struct Screen {
    terminal: bool,
    /// The last line, where there is no terminal.
    last: String,
}

impl Screen {
    fn new(terminal: bool) -> Self {
        Self { terminal, last: String::new() }
    }

    /// Shows what is known; nothing before the first listing.
    fn show(&mut self, known: &Known) -> Result<Option<RolloutStatus>, Failure> {
        let Some(state) = known.state() else {
            return match known.lost() {
                Some(why) => self.put(&format!("{why}\n"), why.to_owned()).map(|()| None),
                None => Ok(None),
            };
        };
        let (text, line, standing) = match View::new(state.clone(), Vec::new(), clock::now()) {
            Ok(view) => {
                let plan = view.plan();
                let standing = RolloutStatus::of(&view, &plan);
                (page::text(&view, &plan), page::summary(&view, &plan), Some(standing))
            }
            // Somebody may write some.
            Err(error) => (format!("{error}\n"), error.to_string(), None),
        };
        match known.lost() {
            None => self.put(&text, line)?,
            Some(why) => {
                let note = format!("{RED}etcd is lost, this may be old:{RED:#} {why}\n");
                self.put(&format!("{text}\n{note}"), format!("{line} · etcd is lost: {why}"))?;
            }
        }
        Ok(standing)
    }

    fn put(&mut self, page: &str, line: String) -> Result<(), Failure> {
        if self.terminal {
            steer(HOME);
            return print(&fitted(page));
        }
        if self.last != line {
            print(&format!("{line}\n"))?;
            self.last = line;
        }
        Ok(())
    }
}
