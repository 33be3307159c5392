//! What is wrong with Mesos, and what the predecessor has left there.

use super::Finding;
use crate::clock;
use crate::mesos::features::Features;
use crate::mesos::operator::OperatorClient;
use crate::store::in_one_line;
use crate::surface::text::count;
use crate::words::Time;

const AREA: &str = "mesos";

/// The name that every version of the predecessor has.
const PREDECESSOR: &str = "calico";

/// A difference of clocks, in seconds, from which on somebody should know. Windows and ages are
/// off by so much; leases and slots do not depend on it.
const SKEW_SECONDS: u64 = 10;

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
    if let Ok(Some(there)) = operator.date().await {
        findings.push(skew(there, clock::now()));
    }
    findings.push(match operator.frameworks().await {
        Ok(frameworks) => {
            let old = frameworks.iter().find(|one| one.name == PREDECESSOR);
            match old {
                Some(old) => Finding::problem(
                    "predecessor",
                    format!("its framework `{PREDECESSOR}` is there, with the ID {}", old.id),
                )
                .advice(
                    "both would change the same hosts: end its app in Marathon, then its framework \
                     by the master's /teardown; what it installed stays and is taken over",
                ),
                None => Finding::good("predecessor", "its framework is not there"),
            }
        }
        Err(error) => Finding::notice("predecessor", in_one_line(&error))
            .advice("whether its framework is there could not be seen"),
    });
    findings
}

/// The master tells its time to the second.
fn skew(there: Time, here: Time) -> Finding {
    let seconds = there.since(here).max(here.since(there)) / 1000;
    if seconds < SKEW_SECONDS {
        return Finding::good(AREA, "its clock and the one here agree");
    }
    Finding::notice(AREA, format!("its clock and the one here are {seconds} s apart"))
        .advice("set both by NTP: windows and ages go by the clocks of the controllers")
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn clocks_that_differ_by_more_than_a_little_are_told_whoever_is_ahead() {
        for (there, here, level) in [
            (60_000, 60_000, Level::Good),
            (60_000, 69_900, Level::Good),
            (60_000, 70_000, Level::Notice),
            (70_000, 60_000, Level::Notice),
        ] {
            assert_eq!(skew(Time(there), Time(here)).level, level, "{there} {here}");
        }
    }
}
