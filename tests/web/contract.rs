//! The API answers as its own document says.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::README;
use crate::site::{Controller, Site, TOKEN};

/// Whether an answer is what the document says of it, by a checker that was not written here.
struct Described(Value);

impl Described {
    async fn by(controller: &Controller) -> Self {
        let document = controller.json("/api/v1/openapi.json").await;
        assert_eq!(document["openapi"], "3.1.0");
        Self(document)
    }

    fn check(&self, schema: &Value, answer: &Value, what: &str) {
        let mut schema = schema.clone();
        schema["components"] = self.0["components"].clone();
        let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
        compiler.set_default_draft(boon::Draft::V2020_12);
        compiler.add_resource("http://api.example/schema", schema).unwrap();
        let index = compiler.compile("http://api.example/schema", &mut schemas).unwrap();
        if let Err(wrong) = schemas.validate(answer, index) {
            panic!("{what}: {wrong:#}\n{answer:#}");
        }
    }

    fn of(&self, path: &str, method: &str, status: &str, form: &str) -> &Value {
        let schema = &self.0["paths"][path][method]["responses"][status]["content"][form]["schema"];
        assert!(schema.is_object(), "{path} {method} {status} is not described");
        schema
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_answers_as_its_own_document_says() {
    let site = Site::start().await;
    let controller = site.run("one", true);
    let described = Described::by(&controller).await;
    // Also while there is something to say of slots and steps.
    controller.until(|data| data["slotsHeld"] != 0 || data["status"] == "done").await;
    for ready in ["work", "done"] {
        for (path, asked) in [
            ("/health", "/health"),
            ("/ready", "/ready"),
            ("/api/v1/status", "/api/v1/status"),
            ("/api/v1/plan", "/api/v1/plan"),
            ("/api/v1/hosts", "/api/v1/hosts"),
            ("/api/v1/hosts/{host}", "/api/v1/hosts/a1"),
            ("/api/v1/history", "/api/v1/history"),
        ] {
            let answer = controller.json(asked).await;
            let schema = described.of(path, "get", "200", "application/json");
            described.check(schema, &answer, &format!("{asked} ({ready})"));
        }
        controller.until_done().await;
    }
    let event = controller.until_any().await;
    let schema = described.of("/api/v1/events", "get", "200", "text/event-stream");
    described.check(schema, &event, "an event");
    let problem: Value = controller.get("/api/v1/hosts/x").await.json().await.unwrap();
    let schema = described.of("/api/v1/hosts/{host}", "get", "404", "application/problem+json");
    described.check(schema, &problem, "a problem");
    let request = json!({"who": "alice", "host": "a1"});
    let form = &described.0["paths"]["/api/v1/pause"]["post"]["requestBody"]["content"];
    described.check(&form["application/json"]["schema"], &request, "a request");
    let response = controller.ask("pause", Some(TOKEN), request.to_string()).await;
    let schema = described.of("/api/v1/pause", "post", "200", "application/json");
    described.check(schema, &response.json().await.unwrap(), "what was done");
    for path in described.0["paths"].as_object().unwrap().keys() {
        assert!(
            README.contains(
                path.split('{').next().unwrap().trim_end_matches('/').rsplit('/').next().unwrap()
            ),
            "{path}"
        );
    }
}

/// Asked whatever its document allows, and what it does not, by a tool that was not written here. What cannot be checked
/// is that every request that the document allows is granted: one to approve generation 7 makes sense only sometimes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: it takes schemathesis, which only test-full brings"]
async fn long_a_foreign_checker_finds_nothing_that_the_document_does_not_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/schemathesis");
    if !root.join("ready").exists() {
        println!("passed over: tools/schemathesis.sh has not set it up");
        return;
    }
    let site = Site::start().await;
    let controller = site.run("one", true);
    controller.until_done().await;
    let output = tokio::process::Command::new("python3")
        .args(["-m", "schemathesis.cli", "run"])
        .arg(format!("{}/api/v1/openapi.json", controller.url))
        .args(["--header", &format!("Authorization: Bearer {TOKEN}")])
        .args(["--exclude-checks", "positive_data_acceptance", "--max-examples", "30"])
        // Those have no end, or are no JSON.
        .args(["--exclude-path", "/api/v1/events"])
        .args(["--exclude-path", "/artifact/{sha256}/calico-dcos"])
        .args(["--seed", "7", "--continue-on-failure", "--no-color"])
        .env("PYTHONPATH", root.join("lib"))
        .current_dir(site.dir.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("14 selected / 16 total"), "{said}");
    assert_eq!(controller.json("/health").await["healthy"], true);
}
