//! Write a Berth policy in Rust.
//!
//! A scheduling policy is a type that implements [`Scheduler`], and one macro that exports it. The SDK keeps the table of nodes
//! inside the plugin, so that a policy only says how good a node is:
//!
//! ```
//! use berth_sdk::{Class, Manifest, Node, Scheduler};
//!
//! /// Prefers nodes with free processors.
//! struct Roomy;
//!
//! const CPU: usize = 0;
//!
//! impl Scheduler for Roomy {
//!     fn describe(_config: &[u8]) -> Result<(Self, Manifest), String> {
//!         Ok((Roomy, Manifest::new("roomy", "1.0.0").dimensions(["cpu"]).scores_nodes()))
//!     }
//!
//!     fn score_node(&self, pod: &Class, node: &Node<'_>) -> i32 {
//!         node.free(CPU) - pod.request(CPU)
//!     }
//! }
//!
//! berth_sdk::export!(Roomy);
//! ```
//!
//! The same type runs natively, for tests and simulation, through [`Instance`]:
//!
//! ```
//! # use berth_sdk::{Class, Manifest, Node, Scheduler, Instance, Question};
//! # struct Roomy;
//! # impl Scheduler for Roomy {
//! #     fn describe(_config: &[u8]) -> Result<(Self, Manifest), String> {
//! #         Ok((Roomy, Manifest::new("roomy", "1.0.0").dimensions(["cpu"]).scores_nodes()))
//! #     }
//! #     fn score_node(&self, pod: &Class, node: &Node<'_>) -> i32 { node.free(0) - pod.request(0) }
//! # }
//! let mut instance = Instance::<Roomy>::default();
//! instance.describe(b"").unwrap();
//! let cluster = instance.cluster_mut();
//! cluster.define_dimensions(vec!["cpu".to_owned()]);
//! cluster.upsert_nodes(&[0, 1], &[4000, 8000], &[0, 5000], &[]);
//! cluster.define_classes(&[1], &[500], &[]);
//! let mut scores = Vec::new();
//! instance.score(&Question::new(1, &[0, 1]), &mut scores);
//! assert_eq!(scores, [3500, 2500]);
//! ```
//!
//! Policies that need more speed score sixteen nodes at a time with [`lanes`]; those that must see several pods at once, such
//! as gangs or preemption, implement [`Scheduler::plan`].
//!
//! [`admission`] is for policies that change or refuse objects, [`autoscaler`] for those that recommend numbers of replicas;
//! each begins with a whole one.

pub mod admission;
pub mod autoscaler;
mod batch;
mod cluster;
mod config;
mod instance;
pub mod lanes;
pub mod log;
mod manifest;
mod room;
mod scheduler;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod wasm;

pub use batch::{Action, Batch, Plan, Slots, Transaction, Verb};
pub use cluster::{Class, Cluster, Group, NO_GROUP, NO_SLOT, NO_SYMBOL, Pod, Unit};
pub use config::config;
pub use instance::Instance;
pub use manifest::{Manifest, Scores, Watches};
pub use room::Room;
pub use scheduler::{Ctx, Node, Question, Scheduler};

/// The score that means: not on this node, whatever the others' scores are.
pub const REFUSED: i32 = i32::MIN;

/// Makes a type that implements [`Scheduler`] the policy of this component; `export!(Type as admission)` is for
/// [`admission::Admission`], `export!(Type as autoscaler)` for [`autoscaler::Autoscaler`]. Does nothing when compiled natively,
/// so that a policy can be linked into tests.
#[macro_export]
macro_rules! export {
    ($policy:ident as admission) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::wasm::admission as face;
            $crate::export!(@place $policy, face, $crate::admission::Admission);
            type Component = face::Component<$policy>;
            face::export_admission!(Component with_types_in face::bindings);
        };
    };
    ($policy:ident as autoscaler) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use $crate::wasm::autoscaler as face;
            $crate::export!(@place $policy, face, $crate::autoscaler::Autoscaler);
            type Component = face::Component<$policy>;
            face::export_autoscaler!(Component with_types_in face::bindings);
        };
    };
    (@place $policy:ident, $face:ident, $role:path) => {
        use $crate::wasm::configuring;
        impl configuring::Exported for $policy {
            fn schema() -> Option<&'static str> {
                <Self as $role>::schema()
            }
        }
        type Configuring = configuring::Component<$policy>;
        configuring::export_configuring!(Configuring with_types_in configuring::bindings);
        ::std::thread_local! {
            static PLACE: ::core::cell::RefCell<Option<$policy>> = const { ::core::cell::RefCell::new(None) };
        }
        impl $face::Exported for $policy {
            fn with_place<T>(call: impl FnOnce(&mut Option<Self>) -> T) -> T {
                PLACE.with_borrow_mut(call)
            }
        }
    };
    ($policy:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            ::std::thread_local! {
                static INSTANCE: ::core::cell::RefCell<$crate::Instance<$policy>> = ::core::default::Default::default();
            }
            impl $crate::wasm::Exported for $policy {
                fn with_instance<T>(call: impl FnOnce(&mut $crate::Instance<Self>) -> T) -> T {
                    INSTANCE.with_borrow_mut(call)
                }
            }
            type Component = $crate::wasm::Component<$policy>;
            $crate::wasm::export_component!(Component with_types_in $crate::wasm::bindings);
        };
    };
}
