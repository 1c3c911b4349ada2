//! One task for a connection: the stack's driver, and the link that reads from it.
//!
//! Tokio runs a task that another one wakes next, on the same thread, three times in a row; then it takes another thread
//! to be of use and wakes that. A message takes a driver, a link, whoever reads that, whoever reads those, and for an answer
//! the driver again: with a task for each, every request woke threads that then passed the connection's locks to and fro,
//! at five system calls each. So driver and link share a task here.
//!
//! Nor is a driver that wakes itself sent to the end of the queue, which wakes a thread too: it is polled again at once. It
//! does so in nearly every pass, because the `FuturesUnordered` in which it waits for its sockets wakes the task whenever it
//! has polled all there is.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use tokio::sync::oneshot;

use super::pulse::lock;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How often those who have been woken are polled before other tasks have their turn.
const MAX_ROUNDS: usize = 4;

/// The driver has been woken.
const DRIVER: u8 = 1;
/// The link has been woken, or there is one now.
const LINK: u8 = 2;
/// They are being polled, so that nobody else needs to be woken.
const POLLED: u8 = 4;

/// What a connection's task shares with those who wake it.
#[derive(Default)]
pub(super) struct Crew {
    woken: AtomicU8,
    /// The task.
    task: Mutex<Option<Waker>>,
    link: Mutex<Seat>,
}

/// Where a link waits for the task to take it.
#[derive(Default)]
struct Seat {
    link: Option<Work>,
    /// The task has ended.
    is_over: bool,
}

impl std::fmt::Debug for Crew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crew").finish_non_exhaustive()
    }
}

impl Crew {
    /// The task of `driver`, which ends when both it and the link have.
    pub(super) fn task(self: &Arc<Self>, driver: Work) -> impl Future<Output = ()> + Send + use<> {
        self.woken.store(DRIVER | LINK, Ordering::Release);
        let waker = |bit| Waker::from(Arc::new(Hand { crew: self.clone(), bit }));
        Task { driver: Some((driver, waker(DRIVER))), link: None, link_waker: waker(LINK), crew: self.clone() }
    }

    /// Runs `link` in the task. Nothing if that has ended, or ends first.
    pub(super) async fn run<T: Send + 'static>(&self, link: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let (result, done) = oneshot::channel();
        let work: Work = Box::pin(async move {
            // Whoever does not wait for it any more does not need it.
            let _ = result.send(link.await);
        });
        {
            let mut seat = lock(&self.link);
            if seat.is_over {
                return None;
            }
            seat.link = Some(work);
        }
        self.wake(LINK);
        done.await.ok()
    }

    fn wake(&self, bit: u8) {
        if self.woken.fetch_or(bit, Ordering::AcqRel) & (POLLED | bit) == 0
            && let Some(task) = &*lock(&self.task)
        {
            task.wake_by_ref();
        }
    }
}

/// Wakes one of the two.
struct Hand {
    crew: Arc<Crew>,
    bit: u8,
}

impl Wake for Hand {
    fn wake(self: Arc<Self>) {
        self.crew.wake(self.bit);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.crew.wake(self.bit);
    }
}

struct Task {
    driver: Option<(Work, Waker)>,
    link: Option<Work>,
    link_waker: Waker,
    crew: Arc<Crew>,
}

impl Task {
    fn poll_link(&mut self) {
        if self.link.is_none() {
            self.link = lock(&self.crew.link).link.take();
        }
        if let Some(link) = &mut self.link
            && link.as_mut().poll(&mut Context::from_waker(&self.link_waker)).is_ready()
        {
            self.link = None;
        }
    }

    fn poll_driver(&mut self) {
        if let Some((driver, waker)) = &mut self.driver
            && driver.as_mut().poll(&mut Context::from_waker(waker)).is_ready()
        {
            self.driver = None;
        }
    }
}

impl Future for Task {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        {
            let mut task = lock(&self.crew.task);
            if !task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
                *task = Some(cx.waker().clone());
            }
        }
        for _ in 0..MAX_ROUNDS {
            let woken = self.crew.woken.swap(POLLED, Ordering::AcqRel);
            if woken & LINK != 0 {
                self.poll_link();
            }
            if woken & DRIVER != 0 {
                self.poll_driver();
            }
            if self.driver.is_none() && self.link.is_none() {
                let mut seat = lock(&self.crew.link);
                if seat.link.is_none() {
                    seat.is_over = true;
                    return Poll::Ready(());
                }
            }
            if self.crew.woken.compare_exchange(POLLED, 0, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return Poll::Pending;
            }
        }
        self.crew.woken.fetch_and(!POLLED, Ordering::AcqRel);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// However the task ends, a link that waits for it is dropped, and so told.
impl Drop for Task {
    fn drop(&mut self) {
        let mut seat = lock(&self.crew.link);
        seat.is_over = true;
        let waiting = seat.link.take();
        drop(seat);
        drop(waiting);
        // Its wakers hold the crew, which would hold the task.
        *lock(&self.crew.task) = None;
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, poll_fn, ready},
        sync::atomic::AtomicUsize,
        time::Duration,
    };

    use tokio::{sync::mpsc, time::timeout};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    async fn within<T>(future: impl Future<Output = T>) -> T {
        timeout(Duration::from_secs(60), future).await.expect("in time")
    }

    /// Polls a task whose driver wakes itself `times` times, once: how often the driver was polled, and the task woken.
    fn wakes_itself(times: usize) -> (usize, usize) {
        let (polls, woken) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let counted = polls.clone();
        let driver = poll_fn(move |cx| {
            if counted.0.fetch_add(1, Ordering::SeqCst) < times {
                cx.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        });
        let mut task = Box::pin(Arc::new(Crew::default()).task(Box::pin(driver)));
        assert!(task.as_mut().poll(&mut Context::from_waker(&woken.clone().into())).is_pending());
        (polls.0.load(Ordering::SeqCst), woken.0.load(Ordering::SeqCst))
    }

    #[test]
    fn whoever_wakes_itself_is_polled_again_at_once_and_not_for_ever() {
        assert_eq!(wakes_itself(0), (1, 0));
        assert_eq!(wakes_itself(MAX_ROUNDS - 1), (MAX_ROUNDS, 0));
        assert_eq!(wakes_itself(1000), (MAX_ROUNDS, 1));
    }

    /// The two wake each other in the task, and others wake them from outside, on any thread.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_wake_up_is_lost() {
        const ROUNDS: u32 = 20_000;
        let crew = Arc::new(Crew::default());
        let (to_driver, mut of_driver) = mpsc::channel(1);
        let (to_link, mut of_link) = mpsc::channel(1);
        let (to_here, mut here) = mpsc::channel(1);
        let task = tokio::spawn(crew.task(Box::pin(async move {
            while let Some(number) = of_driver.recv().await {
                to_link.send(number).await.unwrap();
            }
        })));
        let link = async move {
            while let Some(number) = of_link.recv().await {
                to_here.send(number).await.unwrap();
            }
            "done"
        };
        let pump = async {
            for number in 0..ROUNDS {
                to_driver.send(number).await.unwrap();
                assert_eq!(here.recv().await, Some(number));
            }
            drop(to_driver);
        };
        let (done, ()) = within(async { tokio::join!(crew.run(link), pump) }).await;
        assert_eq!(done, Some("done"));
        within(task).await.unwrap();
    }

    #[tokio::test]
    async fn a_link_outlives_the_driver_but_not_the_task() {
        let crew = Arc::new(Crew::default());
        let (end, ended) = oneshot::channel::<()>();
        let (over, is_over) = oneshot::channel::<()>();
        let task = tokio::spawn(crew.task(Box::pin(async {
            let _ = ended.await;
            over.send(()).unwrap();
        })));
        let link = async {
            end.send(()).unwrap();
            is_over.await
        };
        assert_eq!(within(crew.run(link)).await, Some(Ok(())));
        within(task).await.unwrap();
        assert_eq!(within(crew.run(ready(()))).await, None);

        let crew = Arc::new(Crew::default());
        let task = tokio::spawn(crew.task(Box::pin(pending())));
        let aborting = async { task.abort() };
        assert_eq!(within(async { tokio::join!(crew.run(pending::<()>()), aborting).0 }).await, None);
    }
}
