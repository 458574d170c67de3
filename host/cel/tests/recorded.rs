//! What `k8s.io/apiserver` v0.37.1 says of expressions: their types, values, costs, estimates and errors. The first line
//! of `recorded/expressions.jsonl` is the schema and the object they are about; `recorded/README.md` says how it was made.
#![allow(clippy::unwrap_used)] // a test may

mod schema;

use berth_cel::{Bindings, Budget, CALL_COST_MAX, Environment, Program};
use berth_json::Value;

/// More than any of them costs.
const TOTAL: u64 = 100_000_000;

#[test]
fn expressions_are_what_kube_apiserver_makes_of_them() {
    let mut lines =
        include_str!("recorded/expressions.jsonl").lines().map(|line| line.parse::<Value>().unwrap());
    let world = lines.next().unwrap();
    let (own, _) = schema::declared("object", &world["schema"]);
    let environment = Environment::new().variable("self", own.clone()).variable("oldSelf", own);
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in lines {
        count += 1;
        let source = line["expr"].as_str().unwrap();
        let actual = describe(&environment, source, &world["self"]);
        for (key, expected) in line.as_object().unwrap() {
            // What a failure costs decides nothing.
            let is_ignored = key == "cost" && line.get("error").is_some();
            if !is_ignored && actual.get(key.as_str()) != Some(expected) {
                wrong.push(format!("{source}\n  {key}: want {expected}\n  got {}", actual[key.as_str()]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}

fn describe(environment: &Environment, source: &str, own: &Value) -> Value {
    let program = match Program::compile(environment, source) {
        Ok(program) => program,
        Err(error) => return berth_json::json!({"expr": source, "issues": error.to_string()}),
    };
    let budget = Budget::new(TOTAL, CALL_COST_MAX);
    let answer = program.evaluate(&Bindings::new().json("self", own).json("oldSelf", own), &budget);
    let mut described = berth_json::json!({
        "expr": source,
        "type": program.result_type().to_string(),
        "estimate": program.estimated_cost(),
        "cost": TOTAL - budget.left(),
    });
    match answer {
        Ok(value) => described["value"] = value.to_json().unwrap_or_else(|| "?".into()),
        Err(error) => described["error"] = error.to_string().into(),
    }
    described
}
