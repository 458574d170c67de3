//! Sources and values that are made to take long, to nest deep or to grow: each ends soon, with a value or an error.
#![allow(clippy::unwrap_used)] // a test may

use std::time::{Duration, Instant};

use berth_cel::{Bindings, Budget, Environment, EvalError, Program, Type};
use berth_json::{Value, json};
use proptest::prelude::*;

/// The longest that anything may take here, built with little optimisation on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Compiles and evaluates with what one object may cost.
fn run(source: &str, own: &Value) -> Result<Option<Value>, String> {
    let environment = Environment::new().variable("self", Type::DYN);
    let start = Instant::now();
    let answer =
        Program::compile(&environment, source).map_err(|error| error.to_string()).and_then(|program| {
            let budget = Budget::of_object();
            let answer = program.evaluate(&Bindings::new().json("self", own), &budget);
            answer.map(|value| value.to_json()).map_err(|error| error.to_string())
        });
    assert!(start.elapsed() < PATIENCE, "{:.60} took {:?}", source, start.elapsed());
    answer
}

fn exhausts(source: &str, own: &Value) {
    assert_eq!(run(source, own), Err(EvalError::Exhausted.to_string()), "{source:.60}");
}

#[test]
fn what_nests_deep_is_refused_when_it_is_read() {
    let deep = |before: &str, inner: &str, after: &str, count: usize| {
        let source = format!("{}{inner}{}", before.repeat(count), after.repeat(count));
        let error = run(&source, &Value::Null).unwrap_err();
        assert!(
            error.contains("recursion limit") || error.contains("Syntax error"),
            "{before}: {error:.200}"
        );
    };
    deep("(", "1", ")", 40_000);
    deep("(", "", "", 90_000);
    deep("[", "1", "]", 40_000);
    deep("{1:", "1", "}", 20_000);
    deep("self[", "1", "]", 15_000);
    deep("size(", "1", ")", 15_000);
    deep("self.", "a", "", 19_000);
    deep("", "self", "[0]", 30_000);
    deep("", "self", ".map(x, x)", 9_000);
    deep("1 + ", "1", "", 20_000);
    deep("true ? 1 : ", "1", "", 9_000);
    deep("[1].map(x, ", "1", ")", 8_000);
    deep("!(", "true", ")", 30_000);
    deep("a.b{c: ", "1", "}", 10_000);
}

/// Sources of the length that is allowed, of pieces that take the most to read, to check and to estimate.
#[test]
fn what_is_as_long_as_it_may_be_is_compiled_soon() {
    for (before, piece, after) in [
        ("", "dyn(1)<dyn(1)||", "true"),
        ("", "[1].all(x,x>dyn(1))||", "true"),
        ("size([", "[],", "[]]) > 1"),
        ("size([", "{},", "{}]) > 1"),
        ("size([", "[{}],", "[{}]]) > 1"),
        ("size([", "optional.none(),", "optional.none()]) > 1"),
        ("size({", "'a':[],", "'b':[]}) > 1"),
        ("", "self.a.b.c.d==1||", "true"),
        ("", "'a'.matches('a*')||", "true"),
        ("", "timestamp('2024-01-01T00:00:00Z')>timestamp(0)||", "true"),
        ("", "[1,2].map(x,[x]).map(y,y+y).sortBy(z,1)==[]||", "true"),
        ("", "x||", "y"),
        ("", "@", ""),
        ("", "'", "'"),
        ("", "/*", ""),
        ("'%s'.format([", "1,", "1])"),
        ("'", "%s", "'.format([])"),
    ] {
        let count = (100_000 - before.len() - after.len()) / piece.len();
        drop(run(&format!("{before}{}{after}", piece.repeat(count)), &Value::Null));
    }
}

/// As deep as it is allowed, with half the stack that threads have.
#[test]
fn what_is_just_not_too_deep_fits_on_a_small_stack() {
    const STACK: usize = 1 << 20;
    let forms = [
        ("(", "1", ")"),
        ("[", "1", "]"),
        ("{1: ", "1", "}"),
        ("[1].map(x, ", "1", ")"),
        ("", "[1]", ".map(x, [x])"),
        ("[1].all(x, ", "true", ")"),
        ("", "[2]", ".sortBy(x, x)"),
        ("", "optional.of(1)", ".optMap(x, x)"),
        ("true ? 1 : ", "1", ""),
        ("(true ? ", "1", " : 1)"),
        ("1 + ", "1", ""),
        ("1 + (", "1", ")"),
        ("string(dyn(", "1", "))"),
        ("!(true && ", "true", ")"),
        ("[[1]].all(x, ", "true", " || x == [1])"),
        ("", "self", "[0]"),
        ("", "self", ".?a"),
        ("'%s'.format([", "1", "])"),
        ("{'a': ", "1", "}.transformMap(k, v, v)"),
    ];
    let source = |(before, inner, after): (&str, &str, &str), count: usize| {
        format!("{}{inner}{}", before.repeat(count), after.repeat(count))
    };
    for form in forms {
        let test = move || {
            let environment = Environment::new().variable("self", Type::DYN);
            let reads = |count: &usize| Program::compile(&environment, &source(form, *count)).is_ok();
            let deepest = (1..300).rev().find(reads).unwrap();
            let program = Program::compile(&environment, &source(form, deepest)).unwrap();
            let value = program.evaluate(&Bindings::new().json("self", &Value::Null), &Budget::of_object());
            drop(value.map(|value| value.to_json()));
            deepest
        };
        let deepest = std::thread::Builder::new().stack_size(STACK).spawn(test).unwrap().join().unwrap();
        assert!(deepest >= 40, "{form:?} is refused at {deepest}");
    }
}

#[test]
fn what_is_long_but_not_deep_is_evaluated() {
    let repeated = |piece: &str, last: &str, count: usize| format!("{}{last}", piece.repeat(count));
    assert_eq!(run(&repeated("!", "true", 90_000), &Value::Null), Ok(Some(json!(true))));
    assert_eq!(run(&repeated("true && ", "true", 12_000), &Value::Null), Ok(Some(json!(true))));
    assert_eq!(run(&repeated("false || ", "false", 10_000), &Value::Null), Ok(Some(json!(false))));
    assert_eq!(
        run(&format!("size([{}])", repeated("1,", "1", 40_000)), &Value::Null),
        Ok(Some(json!(40_001)))
    );
    assert!(run(&repeated("1", "", 90_000), &Value::Null).unwrap_err().contains("invalid int literal"));
    assert!(run(&repeated("a", "", 100_001), &Value::Null).unwrap_err().contains("exceeds limit"));
}

#[test]
fn what_grows_with_every_step_is_stopped() {
    let nested = (0..8).fold("1".to_owned(), |inner, at| format!("[1,2,3,4,5,6,7,8].map(x{at}, {inner})"));
    exhausts(&nested, &Value::Null);
    let doubled = |start: &str, count: usize| format!("{start}{}", ".map(x, x + x)".repeat(count));
    exhausts(&doubled("['0123456789']", 60), &Value::Null);
    exhausts(&doubled("[[1, 2, 3]]", 60), &Value::Null);
    exhausts(&doubled("[b'0123456789']", 60), &Value::Null);
    let tree = |count: usize| format!("[[1]]{}", ".map(x, [x, x])".repeat(count));
    exhausts(&format!("{} == {}", tree(40), tree(40)), &Value::Null);
    exhausts(&format!("'%s'.format([{}])", tree(40)), &Value::Null);
    exhausts(&format!("dyn({}).indexOf(1) == 1", tree(40)), &Value::Null);
    exhausts("lists.range(9000000).size()", &Value::Null);
    exhausts("self.replace('', self).size()", &json!("x".repeat(20_000)));
    exhausts("self.all(x, self.all(y, self.all(z, x == y)))", &json!(vec!["a".to_owned(); 500]));
    exhausts("self.map(x, self).flatten().map(x, self).flatten().size()", &json!(vec![1; 3_000]));
}

#[test]
fn what_is_large_is_not_looked_through_again_and_again_for_nothing() {
    let large = json!({"text": "x".repeat(1 << 20), "bytes": "QUJD".repeat(1 << 18), "key": {("k".repeat(1 << 20)): 1}});
    let loops = |body: &str| format!("lists.range(20000).all(i, {body})");
    for body in [
        "self.text != 'a'",
        "size(self.text) > 0",
        "self.text.charAt(1) == 'x'",
        "self.key.map(k, self.key[k]).size() == 1",
        "self[self.text] == 1 || true",
        "self.key.exists(k, k == self.text + 'a' || {k: 1}[self.text] == 1) || true",
        "self.key.transformMap(k, v, v).size() == 1",
        "'%s'.format([self.text]) != 'a'",
        "isURL(self.text) || true",
        "duration(self.text) == duration('1s') || true",
        "self.text.startsWith('y') || true",
        "self.text in ['a']  || true",
    ] {
        drop(run(&loops(body), &large));
    }
    let own = Type::map(Type::STRING, Type::BYTES);
    let environment = Environment::new().variable("self", own);
    let program = Program::compile(&environment, &loops("self.bytes != b'a'")).unwrap();
    let bytes = json!({"bytes": large["bytes"]});
    let start = Instant::now();
    let answer = program.evaluate(&Bindings::new().json("self", &bytes), &Budget::of_object());
    assert_eq!(answer.unwrap_err(), EvalError::Exhausted);
    assert!(start.elapsed() < PATIENCE);
}

#[test]
fn values_that_hold_parts_very_often_have_no_json() {
    let source = format!("[[1]]{}", ".map(x, [x, x])".repeat(40));
    assert_eq!(run(&source, &Value::Null), Ok(None));
}

#[test]
fn many_large_patterns_are_refused() {
    let patterns: Vec<String> = (0..2_000).map(|n| format!("'a'.matches('\\\\pL{{7}}{n}')")).collect();
    assert!(run(&patterns.join("||"), &Value::Null).unwrap_err().contains("invalid matches argument"));
}

#[test]
fn types_that_double_are_refused() {
    let source = format!("[[]]{}", ".map(a, {a: a})".repeat(80));
    assert!(run(&source, &Value::Null).is_err());
}

#[test]
fn patterns_take_no_longer_than_their_texts_and_states() {
    let text = json!("a".repeat(30_000));
    for pattern in ["(a+)+b", "(a|a)*b", "(a*)*b", "(.*)(.*)(.*)(.*)b", "([a-z]+)*$x", "a{0,1000}b"] {
        let answer = run(&format!("self.matches('{pattern}')"), &text);
        assert!(matches!(answer, Ok(Some(Value::Bool(false))) | Err(_)), "{pattern}: {answer:?}");
    }
    exhausts("self.matches('[ab]*a[ab]{900}c')", &json!("ab".repeat(600_000)));
    exhausts("lists.range(20000).all(i, 'a'.matches('a{0,900}' + string(i)) || true)", &Value::Null);
    for pattern in ["(x{1000}){1000}", "((((x{10}){10}){10}){10}){10}", "\\\\pL{1000}{1000}"] {
        assert!(run(&format!("'x'.matches('{pattern}')"), &Value::Null).is_err(), "{pattern}");
    }
}

#[test]
fn numbers_at_their_ends_overflow_into_errors() {
    for source in [
        "-9223372036854775808 - 1",
        "-9223372036854775808 / -1",
        "-9223372036854775808 % -1",
        "-(-9223372036854775807 - 1)",
        "18446744073709551615u + 1u",
        "int(18446744073709551615u)",
        "int(1e308 * 10.0)",
        "duration('9223372036854775807ns') + duration('1ns')",
        "duration('99999999999999999999h')",
        "timestamp('9999-12-31T23:59:59.999999999Z') + duration('1ns')",
        "timestamp('0001-01-01T00:00:00Z') - duration('1ns')",
        "'abc'.substring(9223372036854775807)",
        "'abc'.indexOf('a', -9223372036854775808)",
        "[1].slice(9223372036854775807, 9223372036854775807)",
        "quantity('1e2147483648')",
        "[[1]].flatten(9223372036854775807)",
    ] {
        assert!(run(source, &Value::Null).is_err(), "{source}");
    }
    for source in [
        "'abc'.lastIndexOf('a', 9223372036854775807)",
        "quantity('9e2147483647').add(quantity('9e2147483647')).compareTo(quantity('1')) == 1",
        "'%.1000f'.format([1.5]).size()",
        "'a'.split('a', 9223372036854775807)",
        "timestamp(253402300799).getFullYear('+23:59')",
        "timestamp(253402300799).getFullYear('Asia/Tokyo')",
        "string(timestamp(253402300799)) + string(timestamp(-62135596800))",
    ] {
        assert!(run(source, &Value::Null).is_ok(), "{source}: {:?}", run(source, &Value::Null));
    }
}

/// Pieces of expressions, right or not.
fn pieces() -> impl Strategy<Value = String> {
    let words = [
        "self",
        "x",
        ".",
        "?",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        ",",
        ":",
        "+",
        "-",
        "*",
        "/",
        "%",
        "!",
        "==",
        "<",
        "&&",
        "||",
        "in",
        "1",
        "-1",
        "2u",
        "1.5",
        "'a'",
        "b'b'",
        "null",
        "true",
        ".all(x, ",
        ".map(x, ",
        ".exists(x, ",
        ".filter(x, ",
        ".?a",
        "[?0]",
        "size(",
        "string(",
        "has(self.a)",
        ".optMap(x, ",
        "optional.of(",
        ".format([",
        ".matches(",
        "type(",
        "dyn(",
        ".transformMap(k, v, ",
        ".sortBy(x, ",
        "duration('1s')",
        "timestamp(0)",
        "quantity('1')",
        "\"\"\"",
        "\\",
        "é",
        "`a`",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..30).prop_map(|words| words.join(" "))
}

/// Expressions that can be read.
fn expressions() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "self",
        "self.a",
        "self.b",
        "self[0]",
        "x",
        "1",
        "-7",
        "3u",
        "0.5",
        "'ab'",
        "''",
        "b'b'",
        "null",
        "true",
        "[]",
        "{}",
        "[1, 2]",
        "{'a': 1}",
        "duration('1h')",
        "timestamp(0)",
        "quantity('1Gi')",
        "optional.none()",
        "int",
        "self.?a",
        "9223372036854775807",
        "ip('::1')",
        "semver('1.2.3')",
        "'a.b'",
    ]);
    leaf.prop_map(String::from)
        .prop_recursive(6, 60, 3, |inner| {
            let two = (inner.clone(), inner.clone());
            prop_oneof![
                (
                    two.clone(),
                    prop::sample::select(vec![
                        "+", "-", "*", "/", "%", "==", "!=", "<", ">=", "in", "&&", "||"
                    ])
                )
                    .prop_map(|((a, b), operator)| format!("(dyn({a}) {operator} dyn({b}))")),
                (
                    two.clone(),
                    prop::sample::select(vec!["all", "exists", "exists_one", "map", "filter", "sortBy"])
                )
                    .prop_map(|((a, b), name)| format!("dyn({a}).{name}(x, dyn({b}))")),
                (
                    two.clone(),
                    prop::sample::select(vec!["transformMap", "transformList", "transformMapEntry", "all"])
                )
                    .prop_map(|((a, b), name)| format!("dyn({a}).{name}(k, x, dyn({b}))")),
                (
                    two.clone(),
                    prop::sample::select(vec![
                        "contains",
                        "indexOf",
                        "split",
                        "matches",
                        "findAll",
                        "join",
                        "or",
                        "orValue",
                        "containsIP",
                        "add",
                        "format",
                        "compareTo",
                        "flatten",
                        "includes",
                        "getHours",
                        "charAt",
                        "substring",
                    ])
                )
                    .prop_map(|((a, b), name)| format!("dyn({a}).{name}(dyn({b}))")),
                (
                    inner.clone(),
                    prop::sample::select(vec![
                        "size",
                        "sort",
                        "max",
                        "sum",
                        "distinct",
                        "reverse",
                        "first",
                        "value",
                        "hasValue",
                        "trim",
                        "lowerAscii",
                        "isSorted",
                        "getSeconds",
                        "family",
                        "unwrapOpt",
                        "isInteger",
                    ])
                )
                    .prop_map(|(a, name)| format!("dyn({a}).{name}()")),
                (
                    inner.clone(),
                    prop::sample::select(vec![
                        "string",
                        "int",
                        "uint",
                        "double",
                        "bytes",
                        "bool",
                        "type",
                        "duration",
                        "timestamp",
                        "quantity",
                        "url",
                        "cidr",
                        "isSemver",
                        "optional.of",
                        "optional.ofNonZeroValue",
                        "strings.quote",
                    ])
                )
                    .prop_map(|(a, name)| format!("{name}(dyn({a}))")),
                two.clone().prop_map(|(a, b)| format!("dyn({a})[dyn({b})]")),
                two.clone().prop_map(|(a, b)| format!("[dyn({a}), dyn({b})]")),
                two.clone().prop_map(|(a, b)| format!("{{dyn({a}): dyn({b})}}")),
                (two, inner.clone()).prop_map(|((a, b), c)| format!("(dyn({a}) ? dyn({b}) : dyn({c}))")),
                inner.prop_map(|a| format!("dyn({a}).?a.b")),
            ]
        })
        .prop_map(|body| format!("[self].map(x, dyn({body}))"))
}

fn objects() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        prop::sample::select(vec![
            "1Gi",
            "10.0.0.0/8",
            "2024-01-01T00:00:00Z",
            "1h",
            "1.2.3",
            "http://a/b?c=d"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(vec!["a", "b", "c-d", "namespace"]), inner), 0..4)
                .prop_map(|entries| entries.into_iter().collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_refused_or_evaluated(source in pieces(), own in objects()) {
        drop(run(&source, &own));
    }

    #[test]
    fn any_characters_are_refused_or_evaluated(source in "\\PC{0,40}", own in objects()) {
        drop(run(&source, &own));
    }

    #[test]
    fn any_expression_gives_the_same_value_twice(source in expressions(), own in objects()) {
        let first = run(&source, &own);
        prop_assert_eq!(first, run(&source, &own));
    }
}

/// Random expressions are worth something only if most of them can be read and many have values.
#[test]
fn random_expressions_have_values() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut read, mut valued) = (0, 0);
    for _ in 0..300 {
        let source = expressions().new_tree(&mut runner).unwrap().current();
        let answer = run(&source, &json!({"a": [1, 2], "b": "x"}));
        read += usize::from(!matches!(&answer, Err(error) if error.starts_with("ERROR")));
        valued += usize::from(answer.is_ok());
    }
    assert!(read > 200 && valued > 15, "{read} read, {valued} with values");
}
