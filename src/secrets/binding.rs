//! The two traits behind the patterns: what is bound, and where it is found by name.

use std::time::Duration;

use futures::future::LocalBoxFuture;

use super::{ErrorKind, Secret};

/// Something whose value is had by `get`.
///
/// The platform's bindings implement it (`platform.rs`), and so does any fake in a test.
pub trait Binding: 'static {
    /// Asks for the value. `None` stands for JavaScript's null and undefined.
    ///
    /// # Errors
    ///
    /// Whatever kept the value from being had; [`Secrets`](super::Secrets) adds the binding's name.
    fn get(&self) -> impl Future<Output = Result<Option<Secret>, ErrorKind>>;
}

/// Where bindings are found by name: `env` on the platform.
pub trait Environment {
    /// What is found there.
    type Binding: Binding;

    /// Finds a binding, without asking for its value.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotBound`] and [`ErrorKind::WrongKind`].
    fn binding(&self, name: &str) -> Result<Self::Binding, ErrorKind>;

    /// Ends after `duration`; a `get` that takes longer has failed.
    fn delay(&self, duration: Duration) -> LocalBoxFuture<'static, ()>;

    /// A clock, in milliseconds.
    fn now(&self) -> u64;
}
