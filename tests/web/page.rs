//! The page, as a browser shows it and as people use it.

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::browser::{Browser, ENTER, ESCAPE, TAB};
use crate::site::{CLUSTER, Site, TOKEN};

/// The rows of the matrix that are shown.
const ROWS: &str = "document.querySelectorAll('.matrix tbody tr').length";

/// Says whether this is still the document that was loaded.
const MARK: &str = "window.mark = 'same document'";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: it takes a browser, which only test-full brings"]
async fn long_it_loads_nothing_from_elsewhere_and_shows_an_edit_without_being_loaded_again() {
    let site = Site::start().await;
    let controller = site.run("one", false);
    controller.until_done().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/", controller.url)).await;
    browser.until("document.getElementById('live').textContent === 'live'").await;
    browser.says(MARK).await;
    assert!(browser.text("#head").await.contains("generation 1"));
    assert_eq!(browser.says("document.title").await, "100% · test · calico-dcos");

    site.declare(&CLUSTER.replace("calico/node:v1", "calico/node:v2")).await;
    let head = "document.getElementById('head').innerText";
    browser.until(&format!("{head}.includes('generation 2')")).await;
    browser.until(&format!("{head}.includes('Done') && document.title.startsWith('100%')")).await;
    browser
        .until("document.querySelector('.lately').innerText.includes('generation 2 done')")
        .await;
    assert_eq!(browser.says("window.mark").await, "same document");

    let requests = browser.requests().await;
    assert!(requests.iter().any(|url| url.ends_with("/api/v1/events")), "{requests:?}");
    let elsewhere = |url: &&String| !url.starts_with(&controller.url) && !url.starts_with("data:");
    assert_eq!(requests.iter().find(elsewhere), None);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: it takes a browser, which only test-full brings"]
async fn long_hosts_are_found_while_one_types_and_with_the_keyboard_alone() {
    let hosts = json!([
        {"count": 30, "name": "a{n}", "attributes": {"rack": "r1"}, "restartSeconds": {"median": 0.2}},
        {"count": 30, "name": "b{n}", "attributes": {"rack": "r2"}, "restartSeconds": {"median": 0.2}},
    ]);
    let cluster = CLUSTER.replace("maxConcurrentRestarts: 3", "maxConcurrentRestarts: 30");
    let site = Site::of(hosts, &cluster, |_, _| {}).await;
    let controller = site.run("one", false);
    controller.until_done().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/", controller.url)).await;
    browser.says(MARK).await;
    assert_eq!(browser.says(ROWS).await, 50);

    browser.press("/b2").await;
    browser.until(&format!("{ROWS} === 11")).await;
    assert_eq!(browser.says("location.search").await, "?search=b2");
    browser.press(ESCAPE).await;
    browser.until(&format!("{ROWS} === 50 && location.search === ''")).await;

    browser.choose("select[name=attribute]", "rack:r2").await;
    browser.until(&format!("{ROWS} === 30")).await;
    assert_eq!(browser.says("location.search").await, "?attribute=rack%3Ar2");
    browser.write("input[name=search]", "b30").await;
    browser.until(&format!("{ROWS} === 1")).await;
    assert_eq!(browser.says("window.mark").await, "same document");

    // What was found has an address; from there a host's page, and back, without a mouse.
    let address = browser.says("location.href").await;
    browser.open(address.as_str().unwrap()).await;
    assert_eq!(browser.says(ROWS).await, 1);
    browser.press(TAB).await;
    assert_eq!(browser.focused().await, "To the content");
    let mut reached = Vec::new();
    while reached.last().is_none_or(|name| name != "b30") {
        browser.press(TAB).await;
        reached.push(browser.focused().await);
        assert!(reached.len() < 40, "{reached:?}");
    }
    assert!(reached.iter().any(|name| name.starts_with("in-sync")), "{reached:?}");
    browser.press(ENTER).await;
    browser.until("document.title.startsWith('b30')").await;
    let page = browser.text("main").await;
    for words in ["calico/node:v1", "Debian", "rack:r2"] {
        assert!(page.contains(words), "{words}: {page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: it takes a browser, which only test-full brings"]
async fn long_who_has_the_token_pauses_and_others_are_told_why_not() {
    let site = Site::start().await;
    let controller = site.run("one", true);
    controller.until_done().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/", controller.url)).await;
    browser.click("button[data-what=pause]").await;
    assert!(browser.text("dialog").await.contains("Start nothing new in the whole cluster?"));
    let said = "document.querySelector('dialog output').textContent";
    let yes = "dialog button[value=yes]";
    browser.click(yes).await;
    browser.until(&format!("{said}.includes('--token-file')")).await;
    browser.write("dialog [name=token]", "another-token-of-some-length").await;
    browser.click(yes).await;
    browser.until(&format!("{said}.includes('--token-file')")).await;
    assert_eq!(controller.json("/api/v1/status").await["status"], "done");

    browser.write("dialog [name=token]", TOKEN).await;
    browser.write("dialog [name=who]", "alice").await;
    browser.write("dialog [name=why]", "disk swap").await;
    browser.click(yes).await;
    browser.until(&format!("{said}.startsWith('Nothing new starts for the cluster')")).await;
    browser.until("document.querySelector('button[data-what=resume]')").await;
    browser.until("document.querySelector('.lately').innerText.includes('disk swap')").await;
    let history = controller.json("/api/v1/history?last=1").await;
    assert_eq!(history["entries"][0]["who"], "alice, by token from 127.0.0.1");
    browser.until("!document.querySelector('dialog').open").await;
    browser.click("button[data-what=resume]").await;
    browser.press(ENTER).await;
    browser.until("document.querySelector('button[data-what=pause]')").await;
    drop(controller);

    // Without a token nothing is offered.
    let other = site.run("two", false);
    other.until_led().await;
    browser.open(&format!("{}/", other.url)).await;
    assert_eq!(browser.says("document.querySelectorAll('button.ask').length").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: it takes a browser, which only test-full brings"]
async fn long_names_with_markup_are_text() {
    const MARKUP: &str = "<img src=x onerror=\"window.mark='broken'\">";
    let hosts = json!([{
        "name": MARKUP, "attributes": {"rack": MARKUP}, "restartSeconds": {"median": 0.2},
    }]);
    let site = Site::of(hosts, CLUSTER, |_, _| {}).await;
    let controller = site.run("one", true);
    controller.until_done().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}/", controller.url)).await;
    browser.says(MARK).await;
    assert!(browser.text(".matrix tbody").await.contains(MARKUP));
    assert!(browser.text("select[name=attribute]").await.contains(MARKUP));
    // Also when it is put in its place anew.
    browser.write("input[name=search]", "img").await;
    browser.until("location.search === '?search=img'").await;
    assert_eq!(browser.says("document.images.length").await, 0);
    browser.click(".matrix tbody a").await;
    browser.until("document.title.includes('onerror')").await;
    assert!(browser.text("h2").await.contains(MARKUP));
    assert_eq!(
        browser.says("[document.images.length, window.mark]").await,
        json!([0, Value::Null])
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: ten thousand hosts"]
async fn long_ten_thousand_hosts_are_a_page_that_answers_at_once() {
    let hosts = json!([
        {"count": 10_000, "name": "a{n}", "attributes": {"rack": "r1"}, "restartSeconds": {"median": 5}},
    ]);
    let cluster = CLUSTER.replace("maxConcurrentRestarts: 3", "maxConcurrentRestarts: 100");
    let site = Site::of(hosts, &cluster, |_, _| {}).await;
    let controller = site.run("one", false);
    controller.until(|data| data["hosts"] == 10_000).await;
    // With all that it loads.
    let mut bytes = 0;
    for path in ["/", "/assets/style.css", "/assets/page.js"] {
        bytes += controller.get(path).await.bytes().await.unwrap().len();
    }
    assert!(bytes < 100_000, "{bytes}");
    // Of this build on this machine; `benches/page.rs` measures the page itself.
    let mut took = Vec::new();
    for _ in 0..20 {
        let asked = Instant::now();
        controller.get("/").await.text().await.unwrap();
        took.push(asked.elapsed());
    }
    took.sort();
    println!(
        "the first view of 10,000 hosts: {bytes} bytes, after {:?} (median of 20), {:?} at best",
        took[10], took[0]
    );
    let browser = Browser::start().await;
    browser.open(&format!("{}/", controller.url)).await;
    assert!(browser.text("#matrix .pages").await.starts_with("1 to 50 of 10,000 hosts"));
    assert_eq!(browser.says("document.querySelector('.map').dataset.each").await, "5");
    // A square of the map leads to its first host in the list: here the second one of the second row.
    let click = "((map, box) => { const pitch = box.width / map.dataset.columns; map.dispatchEvent(new \
                 MouseEvent('click', {bubbles: true, clientX: box.left + 1.5 * pitch, clientY: box.top + 1.5 * pitch})); \
                 return Number(map.dataset.columns); })";
    let map = "document.querySelector('.map')";
    let columns = browser.says(&format!("{click}({map}, {map}.getBoundingClientRect())")).await;
    let offset = (columns.as_u64().unwrap() + 1) * 5;
    browser.until(&format!("location.search === '?offset={offset}'")).await;
    assert_eq!(browser.text(".matrix tbody a").await, format!("a{}", offset + 1));
    browser.open(&format!("{}/", controller.url)).await;
    browser.press("/a9999").await;
    browser.until(&format!("{ROWS} === 1 && location.search === '?search=a9999'")).await;
}
