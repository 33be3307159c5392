//! What is wrong with etcd.

use std::time::Duration;

use super::super::Connection;
use super::Finding;
use crate::store::{EtcdStore, StoreError, in_one_line};
use crate::surface::text::count;

const AREA: &str = "etcd";

/// How long the old API may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Looks at etcd, and returns the way to it if there is one.
pub(super) async fn look(connection: &Connection) -> (Vec<Finding>, Option<EtcdStore>) {
    let store = match EtcdStore::connect(&connection.options()).await {
        Ok(store) => store,
        Err(error) => return (vec![Finding::problem(AREA, in_one_line(&error))], None),
    };
    let prefix = &connection.etcd_prefix;
    let mut findings = vec![match store.version().await {
        Ok(version) => Finding::good(AREA, format!("etcd {version} lets us in, below {prefix}")),
        Err(error) => Finding::notice(AREA, in_one_line(&error)),
    }];
    findings.push(match store.check_openness(false).await {
        Ok(()) => Finding::good(AREA, format!("without credentials nobody writes below {prefix}")),
        Err(open @ StoreError::Open { .. }) => Finding::problem(AREA, in_one_line(&open)),
        Err(error) => Finding::notice(AREA, in_one_line(&error)),
    });
    findings.extend(members(&store).await);
    findings.extend(old_api(&connection.etcd_endpoints).await);
    (findings, Some(store))
}

async fn members(store: &EtcdStore) -> Vec<Finding> {
    let members = match store.members().await {
        Ok(members) => members,
        Err(error) => return vec![Finding::notice(AREA, in_one_line(&error))],
    };
    let ill: Vec<Finding> = members
        .iter()
        .filter_map(|member| Some((&member.name, member.unwell.as_ref()?)))
        .map(|(name, unwell)| {
            Finding::problem(AREA, format!("the member {name} {unwell}"))
                .advice("until it is well no host with a member of etcd is disrupted")
        })
        .collect();
    if !ill.is_empty() {
        return ill;
    }
    let mut findings =
        vec![Finding::good(AREA, format!("{}, all well", count(members.len(), "member")))];
    if members.len() == 1 {
        findings.push(
            Finding::notice(AREA, "with one member etcd stops when its machine does")
                .advice("three members survive the loss of one"),
        );
    }
    findings
}

/// Whether the API is there that Docker and Calico before 3.0 need. Over plain HTTP only: what
/// certificates etcd wants of *them* is not known here.
async fn old_api(endpoints: &[String]) -> Option<Finding> {
    let endpoint = endpoints.iter().map(|url| url.trim()).find(|url| url.starts_with("http://"))?;
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).tls_certs_only([]).build();
    let answer = client.ok()?.get(format!("{}/v2/members", endpoint.trim_end_matches('/')));
    let status = answer.send().await.ok()?.status();
    Some(if status.is_success() {
        Finding::good(AREA, "its v2 API is on, for Docker and Calico before 3.0")
    } else {
        Finding::notice(AREA, "its v2 API is off").advice(
            "nothing is wrong unless Docker's cluster store or Calico before 3.0 is to use this \
             etcd: for them start it with --enable-v2 (etcd 3.4 and 3.5; 3.6 has none)",
        )
    })
}
