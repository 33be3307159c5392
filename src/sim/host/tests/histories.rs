//! Random histories of one host: launches, questions and answers lost, repeated and late,
//! processes killed, power cut, restarts that fail.

use proptest::prelude::*;

use super::*;

/// What happens next. Numbers pick one of what there is at the time.
#[derive(Clone, Copy, Debug)]
enum Happens {
    /// The controller orders a new attempt for the slot.
    NewAttempt {
        may_disrupt: bool,
        version: u32,
    },
    /// The launch of an earlier attempt arrives again, as a task of its own.
    LaunchAgain(usize),
    /// A question that was asked reaches the controller, perhaps late or repeated.
    QuestionArrives(usize),
    /// A yes that was said reaches the host, perhaps late or repeated.
    YesArrives(usize),
    /// A unit that was started for an admitted run gets to the lock late, or a second time.
    UnitComesLate(usize),
    Passes(u64),
    ExecutorDies,
    PowerCut,
    PowerBack,
    RestartsFail(u32),
    TaskKilled(usize),
    Drift(usize),
}

fn happens() -> impl Strategy<Value = Happens> {
    use Happens as H;
    prop_oneof![
        3 => (any::<bool>(), 1..3_u32)
            .prop_map(|(disrupts, version)| H::NewAttempt { may_disrupt: disrupts, version }),
        2 => (0..8_usize).prop_map(H::LaunchAgain),
        6 => (0..8_usize).prop_map(H::QuestionArrives),
        6 => (0..8_usize).prop_map(H::YesArrives),
        6 => prop_oneof![0..50_u64, 0..5_000_u64, 0..70_000_u64].prop_map(H::Passes),
        2 => (0..8_usize).prop_map(H::UnitComesLate),
        2 => Just(H::ExecutorDies),
        1 => Just(H::PowerCut),
        2 => Just(H::PowerBack),
        1 => (1..3_u32).prop_map(H::RestartsFail),
        1 => (0..8_usize).prop_map(H::TaskKilled),
        1 => (0..5_usize).prop_map(H::Drift),
    ]
}

/// The host with the little of a controller that its safety depends on: one slot, turned to
/// *held by this run* at the first question of its attempt.
struct History {
    story: Story,
    orders: Vec<Change>,
    tasks: u64,
    taken_by: Option<Run>,
    questions: Vec<(Attempt, Run)>,
    yeses: Vec<(Attempt, Run)>,
}

impl History {
    fn new() -> Self {
        let mut story = Story::of(with_mesos("1.1.0"));
        for component in Component::ALL {
            story.host.install(component, &target(component, 0));
        }
        let (orders, questions, yeses) = (Vec::new(), Vec::new(), Vec::new());
        Self { story, orders, tasks: 0, taken_by: None, questions, yeses }
    }

    fn launch(&mut self, work: Work) {
        self.tasks += 1;
        self.story.launch(&format!("t{}", self.tasks), work);
    }

    fn order(&mut self, may_disrupt: bool, version: u32) {
        let attempt = Attempt(self.orders.len() as u64 + 1);
        let step = |component| StepOrder { component, target: target(component, version) };
        let steps = vec![step(EtcdProxy), step(DOCKER), step(Agent), step(CalicoNode)];
        let change = Change { attempt, may_disrupt, stability_seconds: 10, steps };
        self.orders.push(change.clone());
        self.taken_by = None;
        self.launch(Work::Change(change));
    }

    /// The controller's side: yes to the slot's attempt, to the run that has it or to the first.
    fn answer(&mut self, attempt: Attempt, run: Run) {
        let slot = self.orders.last().map(|order| order.attempt);
        if slot == Some(attempt) && self.taken_by.as_ref().is_none_or(|taken| *taken == run) {
            self.taken_by = Some(run.clone());
            self.yeses.push((attempt, run));
        }
    }

    fn happen(&mut self, what: Happens) {
        let now = self.story.now;
        match what {
            Happens::NewAttempt { may_disrupt, version } => self.order(may_disrupt, version),
            Happens::LaunchAgain(which) => {
                if let Some(change) = pick(&self.orders, which) {
                    self.launch(Work::Change(change));
                }
            }
            Happens::QuestionArrives(which) => {
                if let Some((attempt, run)) = pick(&self.questions, which) {
                    self.answer(attempt, run);
                }
            }
            Happens::YesArrives(which) => {
                if let Some((attempt, run)) = pick(&self.yeses, which) {
                    self.say_yes(attempt, run);
                }
            }
            Happens::UnitComesLate(which) => {
                if let Some((attempt, run)) = pick(&self.yeses, which)
                    && self.story.host.is_on()
                {
                    self.story.host.start_unit(now, attempt, run);
                    self.story.host.settle(now);
                }
            }
            Happens::Passes(ms) => {
                self.story.pass(ms);
            }
            Happens::ExecutorDies => self.story.host.kill_executor(),
            Happens::PowerCut => self.story.host.power_off(now),
            Happens::PowerBack => self.story.host.power_on(now),
            Happens::RestartsFail(times) => self.story.host.fail_next_restarts(times, "no"),
            Happens::TaskKilled(which) => {
                let task = TaskId(format!("t{}", which + 1));
                self.story.give(ToExecutor::Kill(task));
            }
            Happens::Drift(which) => self.story.host.drift(now, Component::ALL[which]),
        }
        self.story.look();
        self.collect_questions();
    }

    fn say_yes(&mut self, attempt: Attempt, run: Run) {
        let message = ToHost::Admitted { version: WIRE_VERSION, attempt, run };
        self.story.give(ToExecutor::Message(message.to_bytes().expect("it is JSON")));
    }

    fn collect_questions(&mut self) {
        for output in self.story.saw() {
            let HostOutput::Executor(FromExecutor::Message(bytes)) = output else { continue };
            if let Ok(FromHost::Ask { attempt, run, .. }) = FromHost::from_bytes(&bytes) {
                self.questions.push((attempt, run));
            }
        }
    }

    /// What holds at every instant.
    fn check(&self) -> Result<(), TestCaseError> {
        let host = &self.story.host;
        let holds = &host.witness().holds;
        for (index, hold) in holds.iter().enumerate() {
            let admitted = self.yeses.contains(&(hold.attempt, hold.run.clone()));
            prop_assert!(admitted, "disrupted without a yes: {hold:?}");
            let twice = holds[..index].iter().any(|other| other.attempt == hold.attempt);
            prop_assert!(!twice, "disrupted twice for one attempt: {holds:?}");
        }
        if host.disrupted() {
            let open = host.journal().filter(|journal| journal.is_open());
            let of = open.map(|journal| (journal.attempt(), &journal.run));
            let hold = holds.last().map(|hold| (hold.attempt, &hold.run));
            prop_assert_eq!(of, hold, "disrupted, and the journal does not say so");
        }
        prop_assert_eq!(host.witness().second_supervisors, 0);
        Ok(())
    }

    /// The faults stop: there is power, an executor, and what is asked is answered.
    fn end_well(&mut self) -> Result<(), TestCaseError> {
        self.happen(Happens::PowerBack);
        self.happen(Happens::RestartsFail(0));
        self.launch(Work::Observe { confirm_seconds: 60 });
        for _ in 0..400 {
            self.happen(Happens::Passes(1_000));
            self.check()?;
        }
        let journal = self.story.host.journal();
        prop_assert!(!journal.is_some_and(Journal::is_open), "stays open: {journal:?}");
        self.order(true, 3);
        for _ in 0..60 {
            self.happen(Happens::Passes(1_000));
            for (attempt, run) in std::mem::take(&mut self.questions) {
                self.answer(attempt, run);
            }
            if let Some((attempt, run)) = self.yeses.last().cloned() {
                self.say_yes(attempt, run);
            }
            self.check()?;
        }
        for component in [EtcdProxy, DOCKER, Agent, CalicoNode] {
            let expected = Some(target(component, 3).hash);
            prop_assert_eq!(self.story.host.in_force(component), expected);
        }
        Ok(())
    }
}

fn pick<T: Clone>(from: &[T], which: usize) -> Option<T> {
    from.iter().rev().nth(which.checked_rem(from.len())?).cloned()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_history_disrupts_unadmitted_or_twice_and_all_end_with_the_journal_closed(
        history in proptest::collection::vec(happens(), 1..60)
    ) {
        let mut one = History::new();
        for what in history {
            one.happen(what);
            one.check()?;
        }
        one.end_well()?;
    }

    #[test]
    fn the_same_history_gives_the_same_outputs(
        history in proptest::collection::vec(happens(), 1..40)
    ) {
        let mut pair = [History::new(), History::new()];
        for what in history {
            let [one, two] = &mut pair;
            one.happen(what);
            two.happen(what);
            prop_assert_eq!(&one.questions, &two.questions);
            prop_assert_eq!(one.story.host.next_deadline(), two.story.host.next_deadline());
            prop_assert_eq!(one.story.host.journal(), two.story.host.journal());
        }
    }
}
