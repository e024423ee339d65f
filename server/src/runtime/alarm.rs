//! A timer that is set over and over, mostly to later than it is set already.

use std::pin::Pin;
use std::time::Instant;

use tokio::time::{Sleep, sleep_until};

/// Of one task, in one runtime.
///
/// A timer of tokio's that is earlier than all others wakes its runtime when it is set, which is a system call, and one
/// more to find that nothing has come. So this one is left alone when it is set to later; once it goes off, it is set anew.
#[derive(Debug, Default)]
pub(crate) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Completes at `time`; without one, never.
    pub(crate) async fn at(&mut self, time: Option<Instant>) {
        let Some(time) = time.map(tokio::time::Instant::from_std) else {
            return std::future::pending().await;
        };
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(time)));
        if time < sleep.deadline() {
            sleep.as_mut().reset(time);
        }
        loop {
            sleep.as_mut().await;
            if sleep.deadline() >= time {
                return;
            }
            sleep.as_mut().reset(time);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, timeout};

    use super::*;

    const SOON: Duration = Duration::from_millis(2);
    const LATE: Duration = Duration::from_secs(3600);
    const PATIENCE: Duration = Duration::from_secs(60);

    async fn rings_in(alarm: &mut Alarm, delay: Duration) {
        let time = Instant::now() + delay;
        timeout(PATIENCE, alarm.at(Some(time.into_std()))).await.expect("it rings in time");
        assert!(Instant::now() >= time, "it does not ring before its time");
    }

    async fn set_and_not_waited_for(alarm: &mut Alarm, delay: Duration) {
        let ended = timeout(Duration::ZERO, alarm.at(Some((Instant::now() + delay).into_std()))).await;
        assert!(ended.is_err(), "it does not ring before its time");
    }

    #[tokio::test]
    async fn it_rings_when_it_was_last_set_to() {
        let mut alarm = Alarm::default();
        for times in [1, 5, 2, 2, 0, 3] {
            rings_in(&mut alarm, times * SOON).await;
        }
    }

    #[tokio::test]
    async fn it_can_be_set_to_earlier() {
        let mut alarm = Alarm::default();
        set_and_not_waited_for(&mut alarm, LATE).await;
        rings_in(&mut alarm, SOON).await;
    }

    #[tokio::test]
    async fn going_off_at_an_earlier_time_it_does_not_ring() {
        let mut alarm = Alarm::default();
        set_and_not_waited_for(&mut alarm, 5 * SOON).await;
        rings_in(&mut alarm, 20 * SOON).await;
        set_and_not_waited_for(&mut alarm, LATE).await;
    }

    #[tokio::test]
    async fn without_a_time_it_never_rings() {
        let mut alarm = Alarm::default();
        rings_in(&mut alarm, SOON).await;
        assert!(timeout(SOON, alarm.at(None)).await.is_err());
    }
}
