//! The component's face of a configuration's schema.

/// Made from `wit/policy.wit`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "configured",
        pub_export_macro: true,
        export_macro_name: "export_configuring",
    });
}
pub use bindings::export_configuring;

/// A policy that has a schema for its configuration: implemented by [`crate::export`].
pub trait Exported {
    /// As JSON; `None` for none.
    fn schema() -> Option<&'static str>;
}

/// Implements the generated trait for any policy.
#[derive(Debug)]
pub struct Component<P>(core::marker::PhantomData<P>);

impl<P: Exported> bindings::exports::berth::policy::configuring::Guest for Component<P> {
    fn schema() -> String {
        P::schema().unwrap_or_default().to_owned()
    }
}
