//! The controller-wide brake: so many creations and so many deletions an hour, whatever the objects ask for.

use std::{collections::VecDeque, time::Duration};

use jiff::{SignedDuration, Timestamp};

use crate::write::Write;

const WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// Counts creations and deletions over the last hour.
#[derive(Debug)]
pub struct Brake {
    creates: Window,
    deletes: Window,
}

#[derive(Debug)]
struct Window {
    limit: usize,
    times: VecDeque<Timestamp>,
}

impl Window {
    fn take(&mut self, count: usize, now: Timestamp) -> Result<(), Duration> {
        while self.times.front().is_some_and(|t| now.duration_since(*t) >= WINDOW) {
            self.times.pop_front();
        }
        if self.times.len() + count > self.limit {
            let oldest = self.times.front().map_or(SignedDuration::ZERO, |t| now.duration_since(*t));
            return Err(Duration::try_from(WINDOW - oldest).unwrap_or_default());
        }
        self.times.extend(std::iter::repeat_n(now, count));
        Ok(())
    }
}

impl Brake {
    /// A brake that lets through so many creations and deletions an hour.
    #[must_use]
    pub fn new(creates_per_hour: usize, deletes_per_hour: usize) -> Self {
        let window = |limit| Window { limit, times: VecDeque::new() };
        Self { creates: window(creates_per_hour), deletes: window(deletes_per_hour) }
    }

    /// Lets a write through and counts it, or says how long to wait. Changes are neither creations nor deletions.
    ///
    /// # Errors
    /// The time until the next one is let through.
    pub fn pass(&mut self, write: &Write, now: Timestamp) -> Result<(), Duration> {
        match write {
            Write::CreateEndpoint(_) | Write::CreateSecurityGroup { .. } => self.creates.take(1, now),
            Write::DeleteEndpoints { endpoints } => self.deletes.take(endpoints.len(), now),
            Write::DeleteSecurityGroup { .. } => self.deletes.take(1, now),
            Write::AuthorizeIngress { .. }
            | Write::RevokeIngress { .. }
            | Write::ModifyEndpoint { .. }
            | Write::Tag { .. }
            | Write::Untag { .. }
            | Write::EnableVpcAttribute { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;

    #[test]
    fn so_many_an_hour_and_no_more() {
        let mut brake = Brake::new(1, 2);
        let create = Write::CreateSecurityGroup {
            vpc: "vpc-1".into(),
            name: String::new(),
            description: String::new(),
            tags: Default::default(),
        };
        let delete = |ids: &[&str]| Write::DeleteEndpoints { endpoints: ids.iter().map(|i| (*i).into()).collect() };
        assert_eq!(brake.pass(&create, at(0)), Ok(()));
        assert_eq!(brake.pass(&create, at(600)), Err(Duration::from_secs(3000)));
        assert!(brake.pass(&delete(&["a", "b", "c"]), at(600)).is_err(), "a batch counts each");
        assert_eq!(brake.pass(&delete(&["a", "b"]), at(600)), Ok(()));
        assert!(brake.pass(&delete(&["c"]), at(601)).is_err());
        assert_eq!(
            brake.pass(&Write::Tag { resources: Default::default(), tags: Default::default() }, at(601)),
            Ok(())
        );
        assert_eq!(brake.pass(&create, at(3600)), Ok(()));
    }
}
