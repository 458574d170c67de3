//! The rules, conditions and messages that kube-apiserver v1.37.1 was asked about through its API, as far as they need no
//! server: the scenarios `custom/cel-*`, `custom/ratcheting-rules` and `policies/*` of the golden answers.
#![allow(clippy::unwrap_used)] // a test may

mod schema;

use berth_cel::{Bindings, Budget, ESTIMATE_MAX, Environment, Program, Type, Value as Cel};
use berth_json::{Value, json};

/// The specification of `custom/cel-rules`.
fn rules() -> Type {
    let schema = json!({"type": "object", "properties": {
        "min": {"type": "integer"},
        "max": {"type": "integer"},
        "names": {"type": "array", "maxItems": 10, "items": {"type": "string", "maxLength": 20}},
        "size": {"type": "string", "maxLength": 20},
        "when": {"type": "string", "format": "date-time"},
    }});
    schema::declared("spec", &schema).0
}

/// The specification of `custom/cel-definition-errors`.
fn definition() -> Type {
    let schema = json!({"type": "object", "properties": {
        "n": {"type": "integer"},
        "s": {"type": "string"},
        "l": {"type": "array", "items": {"type": "string"}},
        "o": {"type": "object", "properties": {"p": {"type": "string"}}},
        "m": {"type": "object", "additionalProperties": {"type": "string"}},
        "any": {"type": "object"},
    }});
    schema::declared("spec", &schema).0
}

fn compile(own: Type, source: &str) -> Result<Program, String> {
    let environment = Environment::new().variable("self", own.clone()).variable("oldSelf", own);
    Program::compile(&environment, source).map_err(|error| error.to_string())
}

/// The value of a rule as JSON, or the error.
fn evaluate(own: Type, source: &str, object: &Value, old: &Value) -> Result<Value, String> {
    let program = compile(own, source)?;
    let bindings = Bindings::new().json("self", object).json("oldSelf", old);
    let answer = program.evaluate(&bindings, &Budget::of_object());
    answer.map(|value| value.to_json().unwrap()).map_err(|error| error.to_string())
}

#[test]
fn rules_of_custom_resources() {
    let ordered = "self.min <= self.max";
    let named = "!has(self.names) || self.names.all(n, n.startsWith('g-'))";
    let small = "!has(self.size) || quantity(self.size).compareTo(quantity('1Gi')) <= 0";
    let recent = "!has(self.when) || self.when > timestamp('2020-01-01T00:00:00Z')";
    let malformed =
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
    let yes = || Ok(json!(true));
    let no = || Ok(json!(false));
    let cases = [
        (ordered, json!({"min": 1, "max": 2}), yes()),
        (ordered, json!({"min": 3, "max": 2}), no()),
        (ordered, json!({"max": 2}), Err("no such key: min".to_owned())),
        (named, json!({}), yes()),
        (named, json!({"names": ["g-a", "b"]}), no()),
        ("'the first is ' + self.names[0]", json!({"names": ["g-a", "b"]}), Ok(json!("the first is g-a"))),
        (small, json!({"size": "2Gi"}), no()),
        (small, json!({"size": "1Gi"}), yes()),
        (small, json!({"size": "much"}), Err(malformed.to_owned())),
        (recent, json!({"when": "2019-01-01T00:00:00Z"}), no()),
        (recent, json!({"when": "2024-01-01T00:00:00Z"}), yes()),
    ];
    for (rule, object, expected) in cases {
        assert_eq!(evaluate(rules(), rule, &object, &object), expected, "{rule} of {object}");
    }
}

#[test]
fn rules_of_transitions() {
    let cases = [
        (Type::Int, "self >= oldSelf", json!(1), json!(2), false),
        (Type::Int, "self >= oldSelf", json!(3), json!(2), true),
        (Type::STRING, "self == oldSelf", json!("a"), json!("b"), false),
        (definition(), "self == oldSelf", json!({"n": 1, "x": 1}), json!({"n": 1, "x": 1}), true),
        (definition(), "self == oldSelf", json!({"n": 1, "x": 1}), json!({"n": 1, "x": 2}), false),
    ];
    for (own, rule, object, old, expected) in cases {
        assert_eq!(evaluate(own, rule, &object, &old), Ok(json!(expected)), "{rule} of {object} and {old}");
    }
}

#[test]
fn an_old_value_may_be_missing() {
    let rule = "!oldSelf.hasValue() || self >= oldSelf.value()";
    let environment =
        Environment::new().variable("self", Type::STRING).variable("oldSelf", Type::optional(Type::STRING));
    let program = Program::compile(&environment, rule).unwrap();
    assert!(program.uses("oldSelf"));
    let (object, old) = (json!("a"), json!("b"));
    let first = Bindings::new().json("self", &object).value("oldSelf", Cel::none());
    assert_eq!(program.evaluate(&first, &Budget::of_object()).unwrap().as_bool(), Some(true));
    let later = Bindings::new().json("self", &object).json("oldSelf", &old);
    assert_eq!(program.evaluate(&later, &Budget::of_object()).unwrap().as_bool(), Some(false));
}

#[test]
fn what_definitions_are_refused_for() {
    let unknown = compile(definition(), "self.nope == 1").unwrap_err();
    assert_eq!(unknown, "ERROR: <input>:1:5: undefined field 'nope'\n | self.nope == 1\n | ....^");
    let number = compile(definition(), "self.n").unwrap();
    assert_eq!(number.result_type(), &Type::Int);
    let cubic = compile(definition(), "self.l.all(a, self.l.all(b, self.l.all(c, a == b + c)))").unwrap();
    assert!(cubic.estimated_cost() > 100 * ESTIMATE_MAX);
    let (any, _) = schema::declared("any", &json!({"type": "object"}));
    let closed = compile(any, "self.x == 1").unwrap_err();
    assert_eq!(closed, "ERROR: <input>:1:5: undefined field 'x'\n | self.x == 1\n | ....^");
}

#[test]
fn what_policies_are_refused_for() {
    let environment = Environment::new().variable("object", Type::DYN).variable(
        "variables",
        Type::Object(std::sync::Arc::new(berth_cel::ObjectType::new("kubernetes.variables", []))),
    );
    let refused = |source: &str| Program::compile(&environment, source).unwrap_err().to_string();
    assert_eq!(
        refused("object.x.y."),
        "ERROR: <input>:1:12: Syntax error: no viable alternative at input '.'\n | object.x.y.\n | ...........^"
    );
    assert_eq!(
        refused("variables.b"),
        "ERROR: <input>:1:10: undefined field 'b'\n | variables.b\n | .........^"
    );
    let text = Program::compile(&environment, "'text'").unwrap();
    assert_eq!(text.result_type().to_string(), "string");
}

#[test]
fn expressions_of_policies() {
    let environment = Environment::new()
        .variable("object", Type::DYN)
        .variable("oldObject", Type::DYN)
        .variable("params", Type::DYN)
        .variable("request", Type::DYN);
    let object = json!({
        "metadata": {"name": "ok-name", "labels": {"a": "b"}},
        "data": {"level": "7", "other": "x"},
        "spec": {
            "minReadySeconds": 3,
            "replicas": 3,
            "template": {"spec": {"containers": [{"name": "c", "image": "registry.example/c:1"}]}},
        },
    });
    let params = json!({"metadata": {"name": "limits"}, "data": {"max": "5"}});
    let request = json!({
        "operation": "DELETE", "name": "keep", "userInfo": {"username": "admin"}, "resource": {"resource": "configmaps"},
    });
    let cases = [
        (
            "!has(object.data) || !('level' in object.data) || int(object.data['level']) <= 5",
            Ok(json!(false)),
        ),
        ("object.metadata.name.startsWith('ok-')", Ok(json!(true))),
        ("size(object.data) < 2", Ok(json!(false))),
        ("size(object.absent) < 2", Err("no such key: absent")),
        ("'second of ' + string(size(object.metadata.name))", Ok(json!("second of 7"))),
        ("(has(object.data) ? object.data.map(k, k) : []).all(k, k.matches('^[a-c]$'))", Ok(json!(false))),
        ("!('free' in object.metadata.?labels.orValue({}))", Ok(json!(true))),
        ("object.data['absent'] == 'x'", Err("no such key: absent")),
        ("oldObject == null || object.data == oldObject.data", Ok(json!(true))),
        (
            "request.operation != 'DELETE' || !('keep' in object.metadata.?labels.orValue({}))",
            Ok(json!(true)),
        ),
        (
            "request.operation + ' of ' + request.name + ' by ' + (request.userInfo.username == '' ? 'nobody' : \
             'someone') + ' in ' + request.resource.resource",
            Ok(json!("DELETE of keep by someone in configmaps")),
        ),
        ("size(object.metadata.name) <= int(params.data['max'])", Ok(json!(false))),
        ("'against ' + params.metadata.name", Ok(json!("against limits"))),
        (
            "object.spec.minReadySeconds < 5 && object.spec.template.spec.containers.all(c, \
             c.image.startsWith('registry.example/'))",
            Ok(json!(true)),
        ),
        ("'scale to ' + string(object.spec.replicas)", Ok(json!("scale to 3"))),
        (r#"!object.spec.?initContainers.orValue([]).exists(c, c.name == "mesh")"#, Ok(json!(true))),
        (r#"{"x~y": "z"}.map(k, k == "x~y").exists(v, v) ? {"lab": "el"} : {}"#, Ok(json!({"lab": "el"}))),
    ];
    for (source, expected) in cases {
        let program = Program::compile(&environment, source).unwrap();
        let bindings = Bindings::new()
            .json("object", &object)
            .value("oldObject", Cel::Null)
            .json("params", &params)
            .json("request", &request);
        let answer = program.evaluate(&bindings, &Budget::of_object());
        let actual = answer.map(|value| value.to_json().unwrap()).map_err(|error| error.to_string());
        assert_eq!(actual, expected.map_err(str::to_owned), "{source}");
    }
}

#[test]
fn evaluations_share_a_budget() {
    let program = compile(rules(), "self.names.all(n, n.startsWith('g-'))").unwrap();
    let object = json!({"names": ["g-a", "g-b"]});
    let budget = Budget::new(40, 30);
    let bindings = Bindings::new().json("self", &object);
    let first = program.evaluate(&bindings, &budget);
    assert_eq!(first.unwrap().as_bool(), Some(true));
    assert_eq!(budget.left(), 40 - 13);
    assert!(program.evaluate(&bindings, &budget).is_ok() && program.evaluate(&bindings, &budget).is_ok());
    assert_eq!(program.evaluate(&bindings, &budget).unwrap_err(), berth_cel::EvalError::Exhausted);
    assert!(budget.is_spent());
}

#[test]
fn programs_are_evaluated_by_many_at_once() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&compile(rules(), "self.min <= self.max").unwrap());
}

#[test]
fn names_are_escaped_as_kubernetes_does() {
    let cases = [
        ("plain", Some("plain")),
        ("namespace", Some("__namespace__")),
        ("in", Some("__in__")),
        ("a-b.c/d", Some("a__dash__b__dot__c__slash__d")),
        ("a__b", Some("a__underscores__b")),
        ("a_b", Some("a_b")),
        ("1a", None),
        ("a b", None),
        ("é", None),
        ("", None),
    ];
    for (key, expected) in cases {
        assert_eq!(berth_cel::escape(key).as_deref(), expected, "{key}");
    }
}
