//! The master's maintenance schedule: read, edited, and written as a whole, since Mesos knows no
//! other way and has no compare-and-set for it. Windows that are not ours are written as they were
//! read, byte for byte, whatever is in them.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::agents::away;
use super::error::MesosError;
use super::operator::{OperatorClient, PATH};
use super::v1::{Nanoseconds, Unavailability};
use crate::clock;
use crate::plan::notice::{Found, ScheduleEdit, Window};
use crate::words::{HostName, Time};

const UPDATE: &str = "UPDATE_MAINTENANCE_SCHEDULE";

/// A schedule that was asked for longer ago is not what the next one is made from.
const FRESH: Duration = Duration::from_secs(2);
/// So often, if somebody else edits it at the same time.
const TRIES: usize = 3;

/// A schedule (`maintenance.proto`), its windows not looked into.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Schedule {
    #[serde(default)]
    windows: Vec<Box<RawValue>>,
}

/// A machine as Mesos names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct MachineId {
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    ip: String,
}

/// A window as it is read and as ours are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Read {
    #[serde(default)]
    machine_ids: Vec<MachineId>,
    unavailability: Unavailability,
}

impl Read {
    fn of(window: &RawValue) -> Option<Self> {
        // What we cannot read is not ours.
        serde_json::from_str(window.get()).ok()
    }

    fn ours(window: &Window) -> Self {
        let ns = |ms: u64| Nanoseconds {
            nanoseconds: i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000_000),
        };
        let machine = MachineId { hostname: window.hostname.clone(), ip: window.ip.to_string() };
        let Time(start) = window.from;
        let unavailability = Unavailability {
            start: ns(start),
            duration: Some(ns(window.until.since(window.from))),
        };
        Self { machine_ids: vec![machine], unavailability }
    }

    /// Host names are compared as Mesos does (`type_utils.hpp`).
    fn is_of(&self, machine: &MachineId) -> bool {
        self.machine_ids.iter().any(|id| id.is(machine))
    }

    fn is(&self, other: &Self) -> bool {
        let machines = self.machine_ids.iter().zip(&other.machine_ids);
        self.unavailability == other.unavailability
            && self.machine_ids.len() == other.machine_ids.len()
            && machines.into_iter().all(|(one, other)| one.is(other))
    }
}

impl MachineId {
    fn is(&self, other: &Self) -> bool {
        self.hostname.eq_ignore_ascii_case(&other.hostname) && self.ip == other.ip
    }
}

impl Schedule {
    /// What it says of a machine that a window of ours is of.
    #[must_use]
    pub fn find(&self, window: &Window) -> Found {
        let ours = Read::ours(window);
        let mut windows = self.windows.iter().filter_map(|raw| Read::of(raw));
        let Some(found) = windows.find(|read| read.is_of(&ours.machine_ids[0])) else {
            return Found::Nothing;
        };
        if found.is(&ours) {
            Found::Ours { new: false }
        } else {
            Found::Theirs(away(found.unavailability))
        }
    }

    /// The schedule after an edit; none if that changes nothing. A machine that somebody else has
    /// announced is left to them: Mesos takes each machine once.
    ///
    /// # Errors
    ///
    /// A window of ours cannot be written as JSON, which does not happen.
    pub fn edited(&self, edit: &ScheduleEdit) -> serde_json::Result<Option<Self>> {
        let removed: Vec<Read> = edit.remove.iter().map(|(_, window)| Read::ours(window)).collect();
        let goes = |raw: &RawValue| {
            let read = Read::of(raw);
            read.is_some_and(|read| removed.iter().any(|removed| removed.is(&read)))
        };
        let mut windows: Vec<_> = self.windows.iter().filter(|raw| !goes(raw)).cloned().collect();
        let mut changed = windows.len() != self.windows.len();
        for (_, window) in &edit.add {
            if self.find(window) == Found::Nothing {
                windows.push(serde_json::value::to_raw_value(&Read::ours(window))?);
                changed = true;
            }
        }
        Ok(changed.then_some(Self { windows }))
    }

    /// What it says after an edit, which was made to the schedule before.
    #[must_use]
    pub fn after(&self, before: &Self, edit: &ScheduleEdit) -> Vec<(HostName, Found)> {
        let all = edit.add.iter().chain(&edit.remove);
        let found = all.map(|(host, window)| {
            let found = match self.find(window) {
                Found::Ours { .. } => Found::Ours { new: before.find(window) == Found::Nothing },
                other => other,
            };
            (host.clone(), found)
        });
        found.collect()
    }

    /// Whether it is the same to the byte.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let texts = self.windows.iter().map(|raw| raw.get());
        texts.eq(other.windows.iter().map(|raw| raw.get()))
    }
}

/// The answer to `GET_MAINTENANCE_SCHEDULE`.
#[derive(Debug, Deserialize)]
pub struct Told {
    get_maintenance_schedule: Holder,
}

impl Told {
    /// The schedule.
    #[must_use]
    pub fn schedule(self) -> Schedule {
        self.get_maintenance_schedule.schedule
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    schedule: Schedule,
}

/// `UPDATE_MAINTENANCE_SCHEDULE`.
#[derive(Debug, Serialize)]
pub struct Update {
    #[serde(rename = "type")]
    kind: &'static str,
    update_maintenance_schedule: Holder,
}

impl Update {
    /// With this schedule.
    #[must_use]
    pub fn new(schedule: Schedule) -> Self {
        let update_maintenance_schedule = Holder { schedule };
        Self { kind: UPDATE, update_maintenance_schedule }
    }
}

impl OperatorClient {
    /// Edits the maintenance schedule, and says what it holds of each host of the edit afterwards.
    ///
    /// Who writes it between our reading and our writing loses what they wrote: Mesos has no
    /// compare-and-set for it. So little time goes by between the two, and what was read too long
    /// ago (this process may have been stopped) is read again, as it is after a refusal.
    ///
    /// # Errors
    ///
    /// What came of the last try. The schedule may have been written all the same.
    pub async fn edit_schedule(
        &self,
        edit: &ScheduleEdit,
    ) -> Result<Vec<(HostName, Found)>, MesosError> {
        let mut refused: Option<(Schedule, MesosError)> = None;
        for _ in 0..TRIES {
            let asked = clock::monotonic();
            let before = self.schedule().await?;
            if let Some((_, error)) = refused.take_if(|(schedule, _)| schedule.is(&before)) {
                return Err(error);
            }
            let Some(body) = written(&before, edit)? else {
                return Ok(before.after(&before, edit));
            };
            if clock::monotonic().saturating_sub(asked) > FRESH {
                continue;
            }
            match self.tell(UPDATE, &body).await {
                Ok(()) => return Ok(self.schedule().await?.after(&before, edit)),
                // It may have been for what somebody else has changed meanwhile.
                Err(error @ MesosError::Rejected { .. }) => refused = Some((before, error)),
                Err(error) => return Err(error),
            }
        }
        Err(match refused {
            Some((_, error)) => error,
            None => MesosError::SlowSchedule { seconds: FRESH.as_secs_f64() },
        })
    }

    async fn schedule(&self) -> Result<Schedule, MesosError> {
        let ask = Bytes::from_static(br#"{"type":"GET_MAINTENANCE_SCHEDULE"}"#);
        Ok(self.read::<Told>(PATH, Some(&ask)).await?.schedule())
    }
}

/// The call that carries an edit out; none if there is nothing to be done.
fn written(schedule: &Schedule, edit: &ScheduleEdit) -> Result<Option<Bytes>, MesosError> {
    let body = schedule
        .edited(edit)
        .and_then(|edited| edited.map(|new| serde_json::to_vec(&Update::new(new))).transpose());
    let call = UPDATE.to_owned();
    Ok(body.map_err(|source| MesosError::Unwritable { call, source })?.map(Bytes::from))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

    use super::*;
    use crate::mesos::Options;
    use crate::mesos::testing::{plain, serve, typed};

    fn window(host: &str) -> Window {
        let (from, until) = (Time(1_000), Time(4_600_000));
        Window { hostname: host.to_owned(), ip: [10, 0, 0, 1].into(), from, until }
    }

    fn ours(host: &str) -> (HostName, Window) {
        (host.into(), window(host))
    }

    const A1: &str = r#"{"machine_ids":[{"hostname":"a1","ip":"10.0.0.1"}],"unavailability":{"start":{"nanoseconds":1000000000},"duration":{"nanoseconds":4599000000000}}}"#;

    fn schedule(windows: &[&str]) -> Schedule {
        let text = format!(r#"{{"windows":[{}]}}"#, windows.join(","));
        serde_json::from_str(&text).unwrap()
    }

    fn written(schedule: &Schedule) -> String {
        serde_json::to_string(schedule).unwrap()
    }

    /// Windows of others, with everything that one can think of.
    const THEIRS: [&str; 4] = [
        r#"{ "unavailability" : {"start":{"nanoseconds":1795366297598000128}}, "machine_ids":[{"hostname":"b1","ip":"10.0.0.2"},{"ip":"10.0.0.3"}]}"#,
        r#"{"machine_ids":[{"hostname":"\u00e9","ip":"10.0.0.4","rack":7}],"unavailability":{"start":{"nanoseconds":1.0e3},"why":"disk"}}"#,
        r#"{"new":[1e400, -0.0]}"#,
        "7",
    ];

    #[test]
    fn what_others_have_announced_is_kept_byte_for_byte() {
        let before = schedule(&THEIRS);
        let add = ScheduleEdit { add: vec![ours("a1")], remove: vec![ours("a9")] };
        let with = before.edited(&add).unwrap().unwrap();
        assert_eq!(written(&with), format!(r#"{{"windows":[{},{A1}]}}"#, THEIRS.join(",")));
        let remove = ScheduleEdit { add: vec![], remove: vec![ours("a1")] };
        let without = with.edited(&remove).unwrap().unwrap();
        assert!(without.is(&before));
        assert!(before.edited(&remove).unwrap().is_none());
        assert!(with.edited(&add).unwrap().is_none(), "it is there already");
    }

    #[test]
    fn what_is_said_of_a_machine_is_ours_to_the_nanosecond_or_theirs() {
        let of = |machines: &str, start: i64| {
            format!(
                r#"{{"machine_ids":[{machines}],"unavailability":{{"start":{{"nanoseconds":{start}}},"duration":{{"nanoseconds":4599000000000}}}}}}"#
            )
        };
        let (a1, a2) =
            (r#"{"hostname":"A1","ip":"10.0.0.1"}"#, r#"{"hostname":"a2","ip":"10.0.0.2"}"#);
        for (text, expected) in [
            (A1.to_owned(), "Ours { new: false }"),
            (of(a1, 1_000_000_000), "Ours { new: false }"),
            (of(a1, 1_000_000_001), "Theirs"),
            (of(&format!("{a1},{a2}"), 1_000_000_000), "Theirs"),
            (of(a2, 1_000_000_000), "Nothing"),
            (of(r#"{"hostname":"a1"}"#, 1_000_000_000), "Nothing"),
            (of(r#"{"ip":"10.0.0.1"}"#, 1_000_000_000), "Nothing"),
        ] {
            let schedule = schedule(&[&text]);
            let found = schedule.find(&window("a1"));
            assert!(format!("{found:?}").starts_with(expected), "{text}: {found:?}");
            // One of theirs is neither taken away nor joined by one of ours.
            let edit = ScheduleEdit { add: vec![ours("a1")], remove: vec![] };
            let adds = schedule.edited(&edit).unwrap().is_some();
            assert_eq!(adds, expected == "Nothing", "{text}");
            let edit = ScheduleEdit { add: vec![], remove: vec![ours("a1")] };
            let removes = schedule.edited(&edit).unwrap().is_some();
            assert_eq!(removes, expected.starts_with("Ours"), "{text}");
        }
    }

    #[test]
    fn the_answer_says_whether_it_was_there_before() {
        let edit = ScheduleEdit { add: vec![ours("a1")], remove: vec![ours("a2")] };
        let (empty, with) = (schedule(&[]), schedule(&[A1]));
        let hosts = |found: Vec<(HostName, Found)>| {
            found.into_iter().map(|(host, found)| format!("{host} {found:?}")).collect::<Vec<_>>()
        };
        assert_eq!(hosts(with.after(&empty, &edit)), ["a1 Ours { new: true }", "a2 Nothing"]);
        assert_eq!(hosts(with.after(&with, &edit)), ["a1 Ours { new: false }", "a2 Nothing"]);
        assert_eq!(hosts(empty.after(&empty, &edit)), ["a1 Nothing", "a2 Nothing"]);
    }

    /// A master that refuses the first update, and whose schedule is another one by then, or not.
    async fn refused_once(first: &'static str, then: &'static str) -> (String, usize) {
        let (reads, refused) = (AtomicU8::new(0), AtomicBool::new(false));
        let (master, mut received) = serve(move |got| {
            let call = got.json();
            if call["type"] == UPDATE {
                let first = !refused.swap(true, Ordering::Relaxed);
                return if first { plain(400, "not so") } else { plain(200, "") };
            }
            let windows = match reads.fetch_add(1, Ordering::Relaxed) {
                0 => first.to_owned(),
                1 => then.to_owned(),
                _ => [then, A1].map(str::to_owned).join(","),
            };
            let told = format!(
                r#"{{"type":"GET_MAINTENANCE_SCHEDULE","get_maintenance_schedule":{{"schedule":{{"windows":[{windows}]}}}}}}"#
            );
            typed(200, "application/json", &told)
        })
        .await;
        let options = Options::new(format!("http://{master}").parse().unwrap());
        let client = OperatorClient::new(&options).unwrap();
        let edit = ScheduleEdit { add: vec![ours("a1")], remove: vec![] };
        let answer = client.edit_schedule(&edit).await;
        let mut updates = Vec::new();
        while let Ok(got) = received.try_recv() {
            updates.extend((got.json()["type"] == UPDATE).then_some(got.body));
        }
        let last = updates.last().map(|body| String::from_utf8(body.to_vec()).unwrap());
        if answer.is_ok() {
            let windows = [then, A1].join(",");
            assert!(
                last.unwrap().ends_with(&format!(r#"{{"schedule":{{"windows":[{windows}]}}}}}}"#))
            );
        }
        (format!("{answer:?}"), updates.len())
    }

    #[tokio::test]
    async fn a_schedule_that_changed_between_is_read_again_and_a_refusal_is_told_else() {
        let (answer, updates) = refused_once(THEIRS[0], THEIRS[1]).await;
        assert!(answer.starts_with("Ok") && answer.contains("new: true"), "{answer}");
        assert_eq!(updates, 2);
        let (answer, updates) = refused_once(THEIRS[0], THEIRS[0]).await;
        assert!(answer.contains("not so"), "{answer}");
        assert_eq!(updates, 1);
    }
}
