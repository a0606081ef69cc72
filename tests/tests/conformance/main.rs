//! One suite of AWS's facts, for everything that plays AWS: the adapter to the SDK with the stand-in behind it, and the
//! simulator.
//!
//! Each case states a fact of AWS's and is written from AWS's documentation (the sections named are of the reference
//! that the stand-in quotes as well), from neither of the two. Where one of them fails a case, it is the one that is
//! wrong. `cargo test --test conformance standin::` runs one side alone; without the feature `aws` there is but the
//! simulator.
#![allow(missing_docs, clippy::disallowed_methods)]
#![cfg_attr(not(feature = "aws"), allow(dead_code))]

mod lab;
mod sim;
mod stage;
#[cfg(feature = "aws")]
mod standin;

/// Makes each case a test against every lab, in a module by the lab's name.
macro_rules! facts {
    ($($name:ident),+ $(,)?) => {
        #[cfg(feature = "aws")]
        mod standin {
            $(#[tokio::test]
            async fn $name() -> anyhow::Result<()> {
                super::$name(&crate::standin::open().await?).await
            })+
        }

        mod sim {
            $(#[tokio::test(start_paused = true)]
            async fn $name() -> anyhow::Result<()> {
                super::$name(&crate::sim::open().await?).await
            })+
        }
    };
}

mod facts {
    mod audit;
    mod delete;
    mod dns;
    mod documents;
    mod endpoints;
    mod gateways;
    mod groups;
    mod identity;
    mod metadata;
    mod modify;
    mod reads;
    mod roles;
    mod settings;
    mod targets;
    mod weather;
}
