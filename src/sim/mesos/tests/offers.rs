//! Who is offered what, and when.

use super::*;

/// Seconds until the next offer.
fn seconds_to_offer(bench: &mut Bench, limit: u64) -> Option<u64> {
    (1..=limit).find(|_| {
        bench.run(1_000);
        !bench.offers().is_empty()
    })
}

/// Recorded (03): 3 s → 3.7 s, default → 5.5 s, 0 → the next allocation, REVIVE → at once.
#[test]
fn a_refusal_lasts_until_the_allocation_after_it() {
    for (refusal, expected) in [(Some(3.0), 4), (None, 6), (Some(0.0), 1), (Some(-5.0), 6)] {
        let mut bench = Bench::new(ours(), &["slave_public"]);
        let offer_ids = bench.offers().into_iter().map(|offer| offer.id).collect();
        let filters = refusal.map(|refuse_seconds| Filters { refuse_seconds });
        bench.call(Call::Decline(Decline { offer_ids, filters }));
        assert_eq!(seconds_to_offer(&mut bench, 10), Some(expected), "{refusal:?}");
    }
}

#[test]
fn revive_clears_filters_and_offers_at_once() {
    let mut bench = Bench::new(plain(), &["*", "*"]);
    let offers = bench.offers();
    assert_eq!(offers.len(), 2, "one OFFERS for all agents");
    bench.decline(&offers, 600.0);
    assert_eq!(seconds_to_offer(&mut bench, 30), None);
    bench.call(Call::Revive(Roles::default()));
    assert_eq!(bench.offers().len(), 2);
}

#[test]
fn suppress_holds_until_revive_and_takes_nothing_back() {
    let mut bench = Bench::new(plain(), &["*"]);
    let offers = bench.offers();
    bench.call(Call::Suppress(Roles::default()));
    assert_eq!(bench.events(), [], "no RESCIND");
    bench.decline(&offers, 0.0);
    assert_eq!(seconds_to_offer(&mut bench, 10), None);
    let wrong = Roles { roles: vec!["nope".to_owned()] };
    assert!(bench.call(Call::Revive(wrong)).is_accepted());
    assert_eq!(bench.offers(), [], "a role that is not ours drops the call");
    bench.call(Call::Revive(Roles { roles: vec!["*".to_owned()] }));
    assert_eq!(bench.offers().len(), 1);
}

/// What reports call quiet: the answer to an offer that crossed with SUPPRESS is no call too many.
#[test]
fn an_answer_to_an_offer_made_before_suppress_is_owed_and_every_other_call_is_counted() {
    let mut bench = Bench::new(ours(), &["*"]);
    let mut offers = bench.offers();
    let calls = |bench: &Bench| bench.mesos.traffic().since_suppress;
    bench.call(Call::Suppress(Roles::default()));
    bench.decline(&offers, 0.0);
    assert_eq!(calls(&bench), Some(0));
    offers[0].id = OfferId("of-another-master-O0".to_owned());
    bench.decline(&offers, 0.0);
    assert_eq!(calls(&bench), Some(1));
}

#[test]
fn point_33_a_resubscription_says_anew_what_is_suppressed() {
    let mut bench = Bench::new(ours(), &["*"]);
    let offers = bench.offers();
    bench.decline(&offers, 0.0);
    bench.subscribe(2, bench.again(), &["*", "slave_public"]);
    assert_eq!(seconds_to_offer(&mut bench, 3), None);
    bench.subscribe(3, bench.again(), &[]);
    assert_eq!(seconds_to_offer(&mut bench, 3), None, "nothing has changed on the agent");
    bench.call(Call::Revive(Roles::default()));
    assert_eq!(bench.offers().len(), 1);
}

/// Recorded (e60): a filter survives a fail-over and an agent's restart, not a disconnect.
#[test]
fn what_a_filter_survives() {
    let start = || {
        let mut bench = Bench::new(plain(), &["*"]);
        let offers = bench.offers();
        bench.decline(&offers, 3600.0);
        bench
    };
    let again = |bench: &Bench| FrameworkInfo { id: Some(bench.id.clone()), ..plain() };

    let mut bench = start();
    bench.subscribe(2, again(&bench), &[]);
    assert_eq!(seconds_to_offer(&mut bench, 6), None, "fail-over");

    let mut bench = start();
    bench.mesos.disconnect(bench.now, bench.conn);
    bench.subscribe(2, again(&bench), &[]);
    assert_eq!(bench.offers().len(), 1, "disconnect");

    let mut bench = start();
    bench.signal(0, HostSignal::AgentStopped);
    bench.signal(0, HostSignal::AgentStarted);
    assert_eq!(seconds_to_offer(&mut bench, 9), None, "restart of the agent");

    let mut bench = start();
    bench.signal(0, HostSignal::AgentStopped);
    bench.run(80_000);
    bench.signal(0, HostSignal::AgentStarted);
    assert!(seconds_to_offer(&mut bench, 9).is_some(), "unreachable, then back");
}

#[test]
fn a_filter_hides_only_parts_of_what_was_refused() {
    let mut bench = Bench::new(ours(), &["slave_public"]);
    let offer = bench.launch("t");
    bench.run(2_000);
    let rest = bench.offers();
    bench.decline(&rest, 3600.0);
    assert_eq!(seconds_to_offer(&mut bench, 3), None);
    bench.report_all("t", &[TaskPhase::Starting, TaskPhase::Finished]);
    assert_eq!(seconds_to_offer(&mut bench, 3), Some(1), "more than was refused");
    assert!(cpus(&offer) > 3.9);
}

#[test]
fn point_35_reserved_resources_are_for_their_role() {
    let mut bench = Bench::new(ours(), &["*", "slave_public"]);
    let offers = bench.offers();
    let roles: Vec<_> = offers
        .iter()
        .map(|offer| {
            let resource = &offer.resources[0];
            let role = |info: &Option<AllocationInfo>| info.as_ref().unwrap().role.clone().unwrap();
            assert_eq!(role(&offer.allocation_info), role(&resource.allocation_info));
            (offer.hostname.as_str(), role(&offer.allocation_info), resource.role.clone().unwrap())
        })
        .collect();
    let text = str::to_owned;
    let expected =
        [("a1", text("*"), text("*")), ("a2", text("slave_public"), text("slave_public"))];
    assert_eq!(roles, expected);

    // What is declined for one role is offered for the next one.
    bench.decline(&offers[..1], 3600.0);
    bench.run(1_000);
    let next = bench.offers().swap_remove(0);
    assert_eq!(next.allocation_info.unwrap().role.as_deref(), Some("slave_public"));

    let mut bench = Bench::new(plain(), &["*", "slave_public"]);
    let offers = bench.offers();
    assert_eq!(offers.len(), 1, "without the role, nothing of a public agent");
    assert_eq!(offers[0].allocation_info, None, "without MULTI_ROLE, no role is told");
}

#[test]
fn a_refined_framework_sees_reservations_as_a_stack() {
    let mut info = ours();
    info.capabilities.push(CapabilityType::ReservationRefinement.into());
    let mut bench = Bench::new(info, &["slave_public"]);
    let resource = bench.offers().swap_remove(0).resources.swap_remove(0);
    assert_eq!((resource.role.as_deref(), resource.reserved_for()), (None, Some("slave_public")));
}

#[test]
fn point_25_agents_with_gpus_are_hidden_from_those_who_do_not_ask() {
    let mut gpu = host(9, "*");
    gpu.resources.push(Resource::scalar("gpus", 1.0));
    for (capable, offers) in [(false, 0), (true, 1)] {
        let mut bench = Bench::new(plain(), &[]);
        bench.mesos.add_agent(bench.now, gpu.clone());
        bench.run(2_000);
        assert_eq!(bench.offers().len(), 0);
        let mut info = plain();
        if capable {
            info.capabilities.push(CapabilityType::GpuResources.into());
        }
        bench.subscribe(2, info, &[]);
        assert_eq!(bench.offers().len(), offers);
    }
}

#[test]
fn two_frameworks_take_turns() {
    let mut bench = Bench::new(plain(), &["*"]);
    let (first, stream) = (bench.id.clone(), bench.stream.clone());
    let offers = bench.offers();
    bench.subscribe(2, plain(), &[]);
    assert_eq!(bench.offers(), [], "the first one holds it");
    let offer_ids = vec![offers[0].id.clone()];
    let decline = Call::Decline(Decline { offer_ids, filters: None });
    bench.mesos.call_as(bench.now, &first, &stream, decline);
    bench.run(1_000);
    assert_eq!(bench.offers().len(), 1);
}

#[test]
fn an_offer_that_nobody_answers_is_taken_back_and_made_again() {
    let mut timed = config();
    timed.timings.offer = Some(120_000);
    let mut bench = Bench::with(timed, plain(), &["*"]);
    let first = bench.offers().remove(0).id;
    bench.run(110_000);
    assert_eq!(bench.events(), []);
    bench.run(20_000);
    let events = bench.events();
    let [Event::Rescind(taken), Event::Offers(again)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((taken, again.len()), (&first, 1));
    // What was answered in time is not taken back.
    bench.decline(&again.clone(), 3_600.0);
    bench.run(300_000);
    assert_eq!(bench.events(), []);
}

#[test]
fn an_agent_without_a_free_port_is_never_offered_by_a_master_of_dcos() {
    for (allocatable, offers) in [(Allocatable::Either, 1), (Allocatable::All, 0)] {
        let mut bench = Bench::with(MesosConfig { allocatable, ..config() }, plain(), &[]);
        let mut agent = host(9, "*");
        agent.resources.retain(|resource| resource.name != "ports");
        bench.mesos.add_agent(bench.now, agent);
        bench.run(10_000);
        assert_eq!(bench.offers().len(), offers, "{allocatable:?}");
    }
}
