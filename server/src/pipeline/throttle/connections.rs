//! How many clients may come at once: a bucket of tokens that fills with time, and a probability of being turned
//! away that learns from how often the bucket was empty. ZooKeeper's `BlueThrottle`; the discipline is called BLUE.

use std::time::Duration;

/// `connection_throttle_*`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConnectionThrottleConfig {
    /// The bucket's size.
    pub tokens: u32,
    /// The bucket is filled so often.
    pub fill_interval: Duration,
    /// By so many tokens.
    pub fill_count: u32,
    /// How often the probability changes; `None` switches it off.
    pub freeze: Option<Duration>,
    /// Added to the probability when the bucket is empty.
    pub drop_increase: f64,
    /// Taken from it when the bucket is full enough.
    pub drop_decrease: f64,
    /// Full enough is: no more than this part of it missing.
    pub decrease_ratio: f64,
    /// What clients cost; without weights each costs a token.
    pub weights: Option<Weights>,
}

/// Tokens that each kind of client costs. Bucket and filling are meant for new sessions, and grow with theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights {
    /// A new session.
    pub new: u32,
    /// A session that is carried on.
    pub renewed: u32,
}

/// The bucket, and the probability.
#[doc(alias = "BlueThrottle")]
#[derive(Debug)]
pub struct ConnectionThrottle {
    config: ConnectionThrottleConfig,
    tokens: u64,
    filled_at: Duration,
    drop_probability: f64,
    changed_at: Duration,
    /// Of a small generator of our own: who is turned away need not be a secret.
    random: u64,
}

impl ConnectionThrottle {
    /// A full bucket. `seed` decides who is turned away.
    #[must_use]
    pub fn new(config: ConnectionThrottleConfig, now: Duration, seed: u64) -> Self {
        let mut throttle = Self {
            config,
            tokens: 0,
            filled_at: now,
            drop_probability: 0.0,
            changed_at: now,
            random: seed | 1,
        };
        throttle.tokens = throttle.size();
        throttle
    }

    /// May one more client come? It `renews` its session, or wants a new one.
    pub fn admit(&mut self, renews: bool, now: Duration) -> bool {
        self.fill(now);
        if self.is_dropped(now) {
            return false;
        }
        let price = match self.config.weights {
            None => 1,
            Some(weights) => u64::from(if renews { weights.renewed } else { weights.new }),
        };
        match self.tokens.checked_sub(price) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }

    /// Tokens that are missing.
    #[must_use]
    pub fn deficit(&self) -> u64 {
        self.size() - self.tokens
    }

    /// How probably the next client is turned away, whatever the bucket holds.
    #[must_use]
    pub fn drop_probability(&self) -> f64 {
        self.drop_probability
    }

    fn size(&self) -> u64 {
        u64::from(self.config.tokens) * self.weight()
    }

    fn weight(&self) -> u64 {
        self.config.weights.map_or(1, |weights| u64::from(weights.new))
    }

    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.filled_at);
        if passed <= self.config.fill_interval {
            return;
        }
        let per_interval = u128::from(self.config.fill_count) * u128::from(self.weight());
        let filled = passed.as_millis() * per_interval / self.config.fill_interval.as_millis().max(1);
        self.tokens = self.tokens.saturating_add(u64::try_from(filled).unwrap_or(u64::MAX)).min(self.size());
        self.filled_at = now;
    }

    fn is_dropped(&mut self, now: Duration) -> bool {
        let Some(freeze) = self.config.freeze else {
            return false;
        };
        if now.saturating_sub(self.changed_at) > freeze {
            self.changed_at = now;
            #[allow(clippy::cast_precision_loss)] // Buckets are small.
            let is_full_enough =
                self.deficit() as f64 <= (self.size() as f64 * self.config.decrease_ratio).round();
            if self.tokens == 0 {
                self.drop_probability = (self.drop_probability + self.config.drop_increase).min(1.0);
            } else if is_full_enough {
                self.drop_probability = (self.drop_probability - self.config.drop_decrease).max(0.0);
            }
        }
        self.roll() < self.drop_probability
    }

    /// From 0 up to 1, without the 1: xorshift64*.
    fn roll(&mut self) -> f64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let bits = self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        #[allow(clippy::cast_precision_loss)] // 32 bits fit.
        let share = bits as f64 / 4_294_967_296.0;
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: ConnectionThrottleConfig = ConnectionThrottleConfig {
        tokens: 2,
        fill_interval: Duration::from_millis(10),
        fill_count: 1,
        freeze: None,
        drop_increase: 0.5,
        drop_decrease: 0.25,
        decrease_ratio: 0.0,
        weights: None,
    };

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn an_empty_bucket_turns_clients_away_until_it_is_filled() {
        let mut throttle = ConnectionThrottle::new(CONFIG, at(0), 7);
        assert!(throttle.admit(false, at(0)) && throttle.admit(true, at(0)));
        assert!(!throttle.admit(false, at(5)));
        assert_eq!(throttle.deficit(), 2);
        assert!(throttle.admit(false, at(11)));
        assert!(!throttle.admit(false, at(12)));
        assert!(throttle.admit(false, at(1000)) && throttle.admit(false, at(1000)));
        assert!(!throttle.admit(false, at(1000)), "no more than its size fits in");
    }

    #[test]
    fn clients_cost_what_their_kind_weighs() {
        let weights = Some(Weights { new: 3, renewed: 2 });
        let config = ConnectionThrottleConfig { weights, ..CONFIG };
        let mut throttle = ConnectionThrottle::new(config, at(0), 7);
        assert!((0..3).all(|_| throttle.admit(true, at(0))), "three renewals cost as much as two sessions");
        assert!(!throttle.admit(true, at(0)));
        assert!(throttle.admit(false, at(11)), "the filling is weighed, too");
    }

    #[test]
    fn the_probability_grows_while_the_bucket_is_empty_and_shrinks_when_it_is_full() {
        let config = ConnectionThrottleConfig { freeze: Some(at(10)), fill_interval: at(1000), ..CONFIG };
        let mut throttle = ConnectionThrottle::new(config, at(0), 7);
        assert!(throttle.admit(false, at(0)) && throttle.admit(false, at(0)));
        throttle.admit(false, at(11));
        assert!((throttle.drop_probability() - 0.5).abs() < 1e-9);
        throttle.admit(false, at(15));
        assert!((throttle.drop_probability() - 0.5).abs() < 1e-9, "frozen");
        throttle.admit(false, at(22));
        assert!((throttle.drop_probability() - 1.0).abs() < 1e-9);
        assert!(!throttle.admit(false, at(33)), "nobody comes in");
        for step in 0..4 {
            throttle.admit(false, at(10_000 + step * 5000));
        }
        assert!(throttle.drop_probability() < 0.5, "{}", throttle.drop_probability());
    }
}
