//! What ssm-ready decides: facts in, verdicts and plans out.
//!
//! Nothing here does IO, reads a clock or rolls dice: time and randomness are arguments. That is what makes every rule
//! testable by a table.

pub mod account;
pub mod brake;
pub mod calls;
pub mod deletion;
pub mod evaluate;
pub mod facts;
pub mod fault;
pub mod foresee;
pub mod iam;
pub mod ids;
pub mod instance_profiles;
pub mod instances;
pub mod made;
#[cfg(test)]
#[path = "../../../tests/fuzz/near.rs"]
mod near;
pub mod overlay;
pub mod parting;
pub mod plan;
pub mod policy;
pub mod posture;
pub mod reason;
pub mod region;
pub mod report;
pub mod snapshot;
#[cfg(test)]
mod testing;
pub mod write;
