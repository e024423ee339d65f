//! Those who wait for a partition to get further: fetches for records, producers for their records to be safe.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Who waits at one partition. Each is woken by every step forward, and looks for itself whether it is enough.
#[derive(Debug, Default)]
pub struct Waiters {
    waiting: Mutex<Vec<Arc<Notify>>>,
}

/// One who waits, at any number of partitions at once. Woken once, it stays awake until it has waited again.
#[derive(Debug, Default)]
pub struct Waiter {
    notify: Arc<Notify>,
}

/// A place among those who wait; given up when dropped.
#[derive(Debug)]
pub struct Place {
    waiters: Arc<Waiters>,
    notify: Arc<Notify>,
}

impl Waiters {
    /// Something has changed: whoever waits looks again.
    pub fn wake(&self) {
        for waiter in self.waiting.lock().iter() {
            waiter.notify_one();
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.lock().len()
    }

    /// Nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Waiter {
    /// Takes a place at `waiters`. What has changed before is not told: look after it was taken.
    pub fn wait_at(&self, waiters: &Arc<Waiters>) -> Place {
        let notify = Arc::clone(&self.notify);
        waiters.waiting.lock().push(Arc::clone(&notify));
        Place { waiters: Arc::clone(waiters), notify }
    }

    /// Until something has changed at one of the places. Cancel-safe.
    pub async fn woken(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.waiters.waiting.lock();
        if let Some(at) = waiting.iter().position(|one| Arc::ptr_eq(one, &self.notify)) {
            waiting.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_step_between_looking_and_waiting_is_not_missed() {
        let partitions = [Arc::new(Waiters::default()), Arc::new(Waiters::default())];
        let waiter = Waiter::default();
        let places: Vec<_> = partitions.iter().map(|partition| waiter.wait_at(partition)).collect();
        partitions[1].wake();
        waiter.woken().await;
        assert_eq!(partitions[0].len(), 1);
        drop(places);
        assert!(partitions.iter().all(|partition| partition.is_empty()));
    }
}
