//! A future that runs once, for all who wait for it.

use std::{
    cell::RefCell,
    future::poll_fn,
    mem,
    pin::Pin,
    rc::{Rc, Weak},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Wake, Waker, ready},
};

use futures::future::LocalBoxFuture;

/// A future of which each clone answers with the same output.
///
/// It is `futures::future::Shared` for one thread, and for a task that waits for many at once and polls
/// them all whenever one is done: those that nothing has happened to answer at once. And it does not
/// wake the task that has just polled it to its end, which would be another turn for each secret.
pub struct Once<T>(Rc<RefCell<State<T>>>);

/// A [`Once`] that it does not keep alive.
pub type WeakOnce<T> = Weak<RefCell<State<T>>>;

pub enum State<T> {
    Running(LocalBoxFuture<'static, T>, Arc<Waiting>),
    Done(T),
}

impl<T> Once<T> {
    pub fn new(future: LocalBoxFuture<'static, T>) -> Self {
        Self(Rc::new(RefCell::new(State::Running(future, Arc::default()))))
    }

    pub fn downgrade(&self) -> WeakOnce<T> {
        Rc::downgrade(&self.0)
    }

    /// The future, if one who waits has kept it.
    pub fn upgrade(weak: &WeakOnce<T>) -> Option<Self> {
        weak.upgrade().map(Self)
    }
}

impl<T> Clone for Once<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Once<T> {
    /// Whether it is done; if not, the task is woken when it may be.
    fn poll_done(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.borrow_mut();
        let State::Running(future, waiting) = &mut *state else { return Poll::Ready(()) };
        if !waiting.has_news_for(context.waker()) {
            return Poll::Pending;
        }
        // Not with the waker of this task alone, which may be dropped before the others.
        let waker = Waker::from(waiting.clone());
        let output = ready!(future.as_mut().poll(&mut Context::from_waker(&waker)));
        waiting
            .take()
            .into_iter()
            .filter(|it| !it.will_wake(context.waker()))
            .for_each(Waker::wake);
        *state = State::Done(output);
        Poll::Ready(())
    }
}

impl<T: Clone> Future for Once<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        ready!(self.poll_done(context));
        match &*self.0.borrow() {
            State::Done(output) => Poll::Ready(output.clone()),
            State::Running(..) => Poll::Pending,
        }
    }
}

/// Waits for all of them.
pub async fn all_done<T>(all: &[Once<T>]) {
    poll_fn(|context| {
        let pending = all.iter().filter(|once| once.poll_done(context).is_pending());
        if pending.count() == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// The tasks that wait: each of them has asked since the future was last woken.
#[derive(Default)]
pub struct Waiting(Mutex<Vec<Waker>>);

impl Waiting {
    /// Notes that a task waits; whether it has to ask the future, since it has not yet.
    fn has_news_for(&self, waker: &Waker) -> bool {
        let mut wakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !wakers.iter().any(|it| it.will_wake(waker));
        if is_new {
            wakers.push(waker.clone());
        }
        is_new
    }

    fn take(&self) -> Vec<Waker> {
        mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.take().into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::{FutureExt as _, channel::oneshot};

    use super::*;

    /// Counts how often a task was woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn all_who_wait_are_woken_once_and_get_the_output() {
        let (sender, receiver) = oneshot::channel();
        let future = async { receiver.await.unwrap() }.boxed_local();
        let once = Once::<u8>::new(future);
        let tasks: [Arc<Woken>; 3] = Default::default();
        let poll = |once: &mut Once<u8>, task: &Arc<Woken>| {
            let waker = Waker::from(task.clone());
            once.poll_unpin(&mut Context::from_waker(&waker))
        };
        let mut each = [once.clone(), once.clone(), once.clone()];
        for (once, task) in each.iter_mut().zip(&tasks) {
            assert!(poll(once, task).is_pending() && poll(once, task).is_pending());
        }
        drop(once);
        sender.send(7).unwrap();
        // Also where the last one to ask has gone.
        for (once, task) in each.iter_mut().zip(&tasks).take(2) {
            assert_eq!(task.0.load(Ordering::SeqCst), 1);
            assert_eq!(poll(once, task), Poll::Ready(7));
            assert_eq!(poll(once, task), Poll::Ready(7));
            assert_eq!(task.0.load(Ordering::SeqCst), 1);
        }
    }

    #[test]
    fn it_is_asked_only_when_something_has_happened() {
        let asked = Rc::new(std::cell::Cell::new(0));
        let (count, task) = (asked.clone(), Arc::<Woken>::default());
        let mut once = Once::new(
            std::future::poll_fn(move |_| {
                count.set(count.get() + 1);
                Poll::<()>::Pending
            })
            .boxed_local(),
        );
        let waker = Waker::from(task);
        for _ in 0..3 {
            assert!(once.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
        }
        assert_eq!(asked.get(), 1);
    }

    #[test]
    fn a_weak_one_keeps_nothing() {
        let once = Once::new(async { 7 }.boxed_local());
        let weak = once.downgrade();
        assert_eq!(Once::upgrade(&weak).unwrap().now_or_never(), Some(7));
        drop(once);
        assert!(Once::upgrade(&weak).is_none());
    }
}
