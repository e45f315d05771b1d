//! Waiting for a list of futures.

use std::{future::poll_fn, pin::Pin, task::Poll};

use futures::future::{MaybeDone, maybe_done};

/// Waits for all of them together, and answers in their order. (`futures::join!` is for a number that
/// is fixed.)
///
/// It is `futures::future::join_all` for the few that one request needs, and polls all of them when
/// any one wakes it. That one is also for thousands, which makes it ten times as much code for each
/// type of future, and a Worker loads its code at each cold start.
pub async fn join_all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut all: Vec<Pin<Box<MaybeDone<F>>>> =
        futures.into_iter().map(|future| Box::pin(maybe_done(future))).collect();
    poll_fn(|context| {
        let mut is_pending = false;
        for future in &mut all {
            is_pending |= future.as_mut().poll(context).is_pending();
        }
        if is_pending { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    all.iter_mut().filter_map(|future| future.as_mut().take_output()).collect()
}
