//! The adapter to the AWS SDK: the only code that names `aws_*`.

mod answer;
mod client;
mod clients;
mod convert;
mod meter;
mod read;
mod session;
mod sts;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod write;

pub use client::AwsCloud;
