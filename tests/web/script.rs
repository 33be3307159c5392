//! The page's script where things do not go well: streams that end, proxies that answer in the controller's place, people
//! who think better of it.

use serde_json::json;

use crate::between::Between;
use crate::browser::{Browser, ENTER, ESCAPE};
use crate::site::{CLUSTER, Controller, Site, TOKEN};

const HEAD: &str = "document.getElementById('head').innerText";
const LIVE: &str = "document.getElementById('live').textContent";
const SAID: &str = "document.querySelector('dialog output').textContent";
const OPEN: &str = "document.querySelector('dialog').open";
const ICON: &str = "document.getElementById('icon').getAttribute('href')";

/// Writes down all that is said of the connection, and that this is still the document that was loaded.
const RECORD: &str = "(window.said = [], new MutationObserver(() => window.said.push(live.textContent))\
                      .observe(live, {childList: true, characterData: true, subtree: true}))";

/// A page of a cluster in sync that is loaded through a proxy, and live.
async fn page() -> (Site, Controller, Between, Browser) {
    let site = Site::start().await;
    let controller = site.run("one", true);
    controller.until_done().await;
    let between = Between::start(&controller.url).await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/", between.url)).await;
    browser.until(&format!("{LIVE} === 'live'")).await;
    browser.says(RECORD).await;
    (site, controller, between, browser)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: it takes a browser, which only test-full brings"]
async fn long_a_lost_stream_is_said_and_taken_up_again_with_what_happened_meanwhile() {
    let (site, controller, between, browser) = page().await;
    let done = browser.says(ICON).await;
    // A browser comes again by itself when a stream ends, and not when something else is answered: then the page does.
    between.refuse(&["/"]);
    browser.until(&format!("{LIVE} === 'not connected; tries again'")).await;
    let edited = CLUSTER.replace("rollout: {", "rollout: {start: approved, ");
    site.declare(&edited.replace("calico/node:v1", "calico/node:v2")).await;
    controller.until(|data| data["status"] == "waitingForApproval").await;
    between.until_refused().await;
    browser.until(&format!("events.readyState === EventSource.CLOSED && {LIVE} !== 'live'")).await;
    assert!(browser.text("#head").await.contains("generation 1"), "it was not loaded again");
    assert_eq!(browser.says(ICON).await, done);
    between.refuse(&[]);
    browser.until(&format!("{HEAD}.includes('generation 2') && {LIVE} === 'live'")).await;
    // The signs on the page and in the tab go with it.
    let badge = "document.querySelector('#head .badge.wait')";
    assert!(browser.says(&format!("{badge} !== null")).await == true, "the badge");
    assert_ne!(browser.says(ICON).await, done);
    assert_eq!(browser.says("document.title").await, "0% · test · calico-dcos");

    browser.says("(window.said = [])").await;
    between.refuse(&[]);
    let again =
        "window.said.includes('not connected; tries again') && window.said.at(-1) === 'live'";
    browser.until(again).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: it takes a browser, which only test-full brings"]
async fn long_ages_go_on_where_nothing_is_told() {
    let (_site, _controller, between, browser) = page().await;
    between.refuse(&["/api/v1/events"]);
    browser.until(&format!("{LIVE} === 'not connected; tries again'")).await;
    // Twice, as what the stream told at last may still be on its way.
    let age = "document.querySelector('.lately time').textContent";
    for _ in 0..2 {
        let before = browser.says(age).await;
        browser.until(&format!("{age} !== '{}'", before.as_str().unwrap())).await;
    }
    // What is fetched through a proxy that has lost the controller is no page.
    between.refuse(&["/"]);
    browser.until("window.said.includes('not up to date: 502')").await;
    assert!(browser.text("#head").await.contains("generation 1"), "what was there is kept");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: it takes a browser, which only test-full brings"]
async fn long_a_dialog_is_left_without_anything_done_and_says_what_a_proxy_answers() {
    let (_site, controller, between, browser) = page().await;
    let (pause, yes) = ("button[data-what=pause]", "dialog button[value=yes]");
    browser.write("input[name=search]", "a1").await;
    browser.until("location.search === '?search=a1'").await;
    for leaves in ["Escape", "Cancel"] {
        browser.click(pause).await;
        assert_eq!(browser.says(OPEN).await, true);
        // A slash is a letter here, and no way to the search.
        browser.click("dialog [name=why]").await;
        browser.press("a/b").await;
        assert_eq!(browser.says("document.querySelector('[name=why]').value").await, "a/b");
        match leaves {
            "Escape" => browser.press(ESCAPE).await,
            _ => browser.click("dialog button[type=button]").await,
        }
        browser.until(&format!("!{OPEN}")).await;
        assert_eq!(browser.says("document.querySelector('[name=search]').value").await, "a1");
        browser.says("(document.querySelector('[name=why]').value = '', 0)").await;
    }
    assert_eq!(controller.json("/api/v1/status").await["status"], "done");

    browser.click(pause).await;
    browser.write("dialog [name=token]", TOKEN).await;
    browser.click(yes).await;
    browser.until(&format!("{SAID}.startsWith('Nothing new starts for the cluster')")).await;
    browser.until(&format!("!{OPEN}")).await;
    controller.done("resume", json!({})).await;
    browser.until("document.querySelector('button[data-what=pause]')").await;

    between.refuse(&["/api/v1/pause"]);
    browser.click(pause).await;
    browser.write("dialog [name=token]", "any").await;
    browser.press(ENTER).await;
    browser.until(&format!("{SAID} === 'The answer was 502 Bad Gateway'")).await;
    assert_eq!(browser.says(OPEN).await, true, "it can be tried again");
    drop(between);
    browser.own("Network.enable", json!({})).await;
    let away =
        json!({"offline": true, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1});
    browser.own("Network.emulateNetworkConditions", away).await;
    browser.click(yes).await;
    browser.until(&format!("{SAID}.startsWith('It could not be sent: ')")).await;
    assert_eq!(controller.json("/api/v1/status").await["status"], "done");
}
