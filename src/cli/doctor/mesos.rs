//! What is wrong with Mesos, and what the predecessor has left there.

use super::{Finding, clocks};
use crate::mesos::features::Features;
use crate::mesos::operator::OperatorClient;
use crate::mesos::workload::FrameworkSeen;
use crate::store::in_one_line;
use crate::surface::text::count;

const AREA: &str = "mesos";

/// The name that every version of the predecessor has.
const PREDECESSOR: &str = "calico";

/// The name that we have unless somebody gives another one.
const OURS: &str = "calico-dcos";

/// Looks at the leading master.
pub(super) async fn look(operator: &OperatorClient) -> Vec<Finding> {
    let mut findings = vec![match operator.version().await {
        Ok(version) => match Features::of(&version) {
            Ok(_) => Finding::good(AREA, format!("a master of version {version} leads")),
            Err(error) => Finding::problem(AREA, in_one_line(&error)),
        },
        Err(error) if error.is_closed() => Finding::notice(AREA, in_one_line(&error)),
        Err(error) => return vec![Finding::problem(AREA, in_one_line(&error))],
    }];
    findings.push(match operator.agents().await {
        Ok(agents) if agents.is_empty() => Finding::notice(AREA, "no agent is registered"),
        Ok(agents) => Finding::good(AREA, format!("it lists {}", count(agents.len(), "agent"))),
        Err(error) => Finding::notice(AREA, in_one_line(&error))
            .advice("without the right to list agents they are learned from offers, more slowly"),
    });
    findings.extend(clocks::hosts(operator).await);
    match operator.frameworks().await {
        Ok(frameworks) => {
            findings.push(predecessor(&frameworks));
            findings.extend(twice(&frameworks));
        }
        Err(error) => findings.push(
            Finding::notice("predecessor", in_one_line(&error))
                .advice("whether its framework is there could not be seen"),
        ),
    }
    findings
}

fn predecessor(frameworks: &[FrameworkSeen]) -> Finding {
    let Some(old) = frameworks.iter().find(|one| one.name == PREDECESSOR) else {
        return Finding::good("predecessor", "its framework is not there");
    };
    Finding::problem(
        "predecessor",
        format!("its framework `{PREDECESSOR}` is there, with the ID {}", old.id),
    )
    .advice(
        "both would change the same hosts: end its app in Marathon, then its framework \
         by the master's /teardown; what it installed stays and is taken over",
    )
}

/// Two of us know nothing of each other's slots.
fn twice(frameworks: &[FrameworkSeen]) -> Option<Finding> {
    let ours = frameworks.iter().filter(|one| one.name == OURS);
    let ids: Vec<&str> = ours.map(|one| one.id.as_str()).collect();
    (ids.len() > 1).then(|| {
        let (count, ids) = (ids.len(), ids.join(", "));
        Finding::problem(AREA, format!("{count} frameworks `{OURS}` are there: {ids}")).advice(
            "each changes the same hosts within a budget of its own: all controllers of a cluster need one \
             etcd and one --etcd-prefix; end the others, and then their frameworks by the master's /teardown",
        )
    })
}
