//! What is wrong with etcd.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Certificate, Client, Identity, StatusCode};

use super::super::Connection;
use super::{Finding, clocks};
use crate::mesos::operator::date;
use crate::store::{EtcdStore, StoreError, in_one_line};
use crate::surface::text::count;

const AREA: &str = "etcd";

/// How long its HTTP may take to answer.
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
    findings.extend(over_http(connection).await);
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

/// Whether the API is there that Docker and Calico before 3.0 need, and what time it is there. Both
/// are asked of each address over plain HTTP or TLS, as what is said over gRPC has neither.
async fn over_http(connection: &Connection) -> Vec<Finding> {
    let client = match client(connection) {
        Ok(client) => client,
        Err(why) => return vec![Finding::notice(AREA, format!("its HTTP was not asked: {why}"))],
    };
    let mut findings = Vec::new();
    for endpoint in connection.etcd_endpoints.iter().map(|url| url.trim().trim_end_matches('/')) {
        let Ok(answer) = client.get(format!("{endpoint}/v2/members")).send().await else {
            continue;
        };
        if findings.is_empty() {
            findings.push(old_api(answer.status()));
        }
        let whose = || format!("etcd at {}", endpoint.rsplit('/').next().unwrap_or_default());
        findings.extend(date(answer.headers()).map(|there| clocks::told(&whose(), there)));
    }
    findings
}

/// Where it is off, there is no such page. Who may not look at it is told so where it is on.
fn old_api(status: StatusCode) -> Finding {
    if status != StatusCode::NOT_FOUND {
        return Finding::good(AREA, "its v2 API is on, for Docker and Calico before 3.0");
    }
    Finding::notice(AREA, "its v2 API is off").advice(
        "nothing is wrong unless Docker's cluster store or Calico before 3.0 is to use this \
         etcd: for them start it with --enable-v2 (etcd 3.4 and 3.5; 3.6 has none)",
    )
}

/// With the certificates that we are given; what etcd wants of Docker and Calico is not known here.
fn client(connection: &Connection) -> Result<Client, Box<dyn Error>> {
    let read = |path: &Option<PathBuf>| path.as_ref().map(std::fs::read).transpose();
    let authorities = match read(&connection.etcd_ca)? {
        Some(pem) => Certificate::from_pem_bundle(&pem)?,
        None => Vec::new(),
    };
    let mut client = Client::builder().no_proxy().timeout(PATIENCE).tls_certs_only(authorities);
    if let (Some(mut own), Some(key)) = (read(&connection.etcd_cert)?, read(&connection.etcd_key)?)
    {
        own.push(b'\n');
        own.extend(key);
        client = client.identity(Identity::from_pem(&own)?);
    }
    Ok(client.build()?)
}
