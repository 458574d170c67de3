//! How long typical rules of custom resources take: `cargo run --release -p berth-cel --example rules`.

use std::hint::black_box;
use std::time::Instant;

use berth_cel::{Bindings, Budget, Environment, ListKind, ListType, ObjectType, Program, Type};
use berth_json::json;

const RULES: [&str; 7] = [
    "self.min <= self.max",
    "!has(self.names) || self.names.all(n, n.startsWith('g-'))",
    "self.names.exists(n, n == 'g-9')",
    "self.kind in ['a', 'b', 'c']",
    "self.kind.matches('^[a-z]+$')",
    "quantity(self.size).compareTo(quantity('1Gi')) <= 0",
    "self.names.map(n, n.size()).sum() < 100",
];
/// Enough for each to take a good part of a second.
const ROUNDS: u32 = 200_000;

fn main() {
    let list = ListType { element: Type::STRING, max_items: None, kind: ListKind::Atomic };
    let fields = [
        ("min", Type::Int),
        ("max", Type::Int),
        ("kind", Type::STRING),
        ("size", Type::STRING),
        ("names", Type::List(list.into())),
    ];
    let own = ObjectType::new("object", fields.map(|(name, value)| (name.into(), value)));
    let environment = Environment::new().variable("self", Type::Object(own.into()));
    let names: Vec<String> = (0..10).map(|number| format!("g-{number}")).collect();
    let object = json!({"min": 1, "max": 5, "kind": "b", "size": "512Mi", "names": names});
    for rule in RULES {
        let program = match Program::compile(&environment, rule) {
            Ok(program) => program,
            Err(error) => return eprintln!("{error}"),
        };
        let start = Instant::now();
        for _ in 0..ROUNDS {
            let answer =
                program.evaluate(&Bindings::new().json("self", black_box(&object)), &Budget::of_object());
            black_box(answer.is_ok());
        }
        println!("{:>8.0} ns  {rule}", start.elapsed().as_nanos() as f64 / f64::from(ROUNDS));
    }
}
