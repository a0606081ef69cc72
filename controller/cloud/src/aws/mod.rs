//! The adapter to the AWS SDK: the only code that names `aws_*`.

mod answer;
mod client;
mod clients;
mod convert;
mod meter;
mod read;
mod read_audit;
mod read_iam;
mod read_settings;
mod read_targets;
mod session;
mod sts;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod write;
mod write_audit;
mod write_iam;
mod write_settings;

pub use client::AwsCloud;
