//! Whatever fails in between, each update arrives.

use proptest::prelude::*;

use super::*;

/// An agent as far as updates go: it stores what reaches it, and may lose its word.
#[derive(Debug, Default)]
struct Store {
    has: Vec<Blob>,
}

proptest! {
    /// However often the line breaks and words are lost, the agent gets each update, in the order
    /// in which they were made, and the process ends only then.
    #[test]
    fn everything_said_arrives_once_and_in_order(
        faults in prop::collection::vec((any::<bool>(), any::<bool>(), any::<bool>()), 1..40),
        count in 1..6_u128,
    ) {
        let mut session = running();
        let (mut agent, mut now, mut said) = (Store::default(), Uptime(0), 0);
        let mut heard: Vec<Effect> = Vec::new();
        let mut faults = faults.into_iter();
        for _ in 0..400 {
            let (cut, lose_call, lose_word) = faults.next().unwrap_or_default();
            if said < count {
                said += 1;
                let state = if said == count { TaskState::Finished } else { TaskState::Running };
                heard.extend(session.handle(now, report("t", state, said)));
            } else {
                heard.extend(session.handle(now, Input::Leave));
            }
            for effect in std::mem::take(&mut heard) {
                let arrived = match &effect {
                    Effect::Exit(ending) => {
                        prop_assert_eq!(ending, &Ending::Done);
                        let all = (1..=count).map(|n| Blob(Uuid::from_u128(n).as_bytes().to_vec()));
                        prop_assert_eq!(agent.has, all.collect::<Vec<_>>());
                        return Ok(());
                    }
                    Effect::Subscribe(request) if !cut => {
                        heard.extend(session.handle(now, Input::Heard(subscribed())));
                        match &request.call {
                            Call::Subscribe(call) => call.unacknowledged_updates.clone(),
                            _ => Vec::new(),
                        }
                    }
                    Effect::Call { request, .. } if !lose_call => match &request.call {
                        Call::Update(update) => vec![update.as_ref().clone()],
                        _ => Vec::new(),
                    },
                    Effect::Call { call, .. } => {
                        let failure = Failure::Broken;
                        heard.extend(session.handle(now, Input::Failed { call: *call, failure }));
                        Vec::new()
                    }
                    _ => Vec::new(),
                };
                for Update { status } in arrived {
                    let uuid = status.uuid.unwrap();
                    if !agent.has.contains(&uuid) {
                        agent.has.push(uuid.clone());
                    }
                    if !lose_word {
                        let word = Acknowledged { task_id: "t".into(), uuid };
                        let word = Input::Heard(Event::Acknowledged(word));
                        heard.extend(session.handle(now, word));
                    }
                }
            }
            if cut {
                heard.extend(session.handle(now, Input::Lost(Failure::Broken)));
            }
            if heard.is_empty()
                && let Some(wake) = session.next_wake()
            {
                now = wake.max(now);
                heard.extend(session.handle(now, Input::Tick));
            }
        }
        prop_assert!(false, "it does not end");
    }
}
