//! Waiting for a list of futures.

use std::{future::poll_fn, task::Poll};

use futures::future::{FutureExt as _, LocalBoxFuture};

/// Waits for all of them together, and answers in their order. (`futures::join!` is for a number that
/// is fixed.)
///
/// It is `futures::future::join_all` for the few that one request needs, and polls all of them when
/// any one wakes it. That one is also for thousands, which makes it ten times as much code for each
/// type of future, and a Worker loads its code at each cold start.
pub async fn join_all<'f, F: Future + 'f>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    join_boxed(futures.into_iter().map(|future| future.boxed_local()).collect()).await
}

/// The same, in code that is one for all types of future.
async fn join_boxed<T>(futures: Vec<LocalBoxFuture<'_, T>>) -> Vec<T> {
    let mut all: Vec<_> = futures.into_iter().map(|future| (future, None)).collect();
    poll_fn(|context| {
        let mut is_pending = false;
        for (future, done) in &mut all {
            if done.is_none() {
                match future.as_mut().poll(context) {
                    Poll::Ready(output) => *done = Some(output),
                    Poll::Pending => is_pending = true,
                }
            }
        }
        if is_pending { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    all.into_iter().filter_map(|(_, done)| done).collect()
}
