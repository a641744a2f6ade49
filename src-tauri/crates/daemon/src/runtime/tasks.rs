//! Work that outlives whoever asked for it: plans, undo, mails that are due. The engine's end waits for it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What runs in tasks of its own.
#[derive(Debug)]
pub(crate) struct Tasks {
    runtime: Handle,
    running: Arc<watch::Sender<usize>>,
    ending: AtomicBool,
}

/// Counts a task until it is over, however that comes.
struct Running(Arc<watch::Sender<usize>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

impl Tasks {
    /// Tasks on this runtime: it must outlive whoever asks.
    pub(crate) fn on(runtime: Handle) -> Self {
        Self { runtime, running: Arc::new(watch::Sender::new(0)), ending: AtomicBool::new(false) }
    }

    /// Runs a task to its end, whether or not anybody waits for it.
    pub(crate) fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.running.send_modify(|count| *count = count.saturating_add(1));
        let running = Running(Arc::clone(&self.running));
        self.runtime.spawn(async move {
            let _running = running;
            task.await
        })
    }

    /// The same for what may be cut off at any moment.
    pub(crate) fn spawn_light(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    /// Whether the engine is ending: what has several steps stops after the present one.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::SeqCst)
    }

    /// From here on nothing begins a further step.
    pub(crate) fn stop(&self) {
        self.ending.store(true, Ordering::SeqCst);
    }

    /// Waits until nothing runs, at most so long; whether it came to that.
    pub(crate) async fn over(&self, patience: Duration) -> bool {
        let mut running = self.running.subscribe();
        tokio::time::timeout(patience, running.wait_for(|count| *count == 0)).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_end_waits_for_what_runs_and_not_for_ever() {
        let tasks = Tasks::on(Handle::current());
        assert!(tasks.over(Duration::ZERO).await);
        let waiter = tasks.spawn(tokio::time::sleep(Duration::from_secs(3)));
        waiter.abort();
        assert!(waiter.await.unwrap_err().is_cancelled());
        assert!(tasks.over(Duration::from_secs(1)).await, "an aborted task is over, too");
        // Dropping the handle is not the end of the task.
        drop(tasks.spawn(tokio::time::sleep(Duration::from_secs(3))));
        assert!(!tasks.over(Duration::from_secs(1)).await);
        assert!(tasks.over(Duration::from_secs(3)).await);
        assert!(!tasks.is_ending());
        tasks.stop();
        assert!(tasks.is_ending());
    }
}
