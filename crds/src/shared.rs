//! What several kinds share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::NEVER_OBSERVED;

/// How far the controller may go. The lesser sorts first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Mode {
    /// AWS is read and judged, and the plan shown in status; nothing in AWS is written.
    Observe,
    /// AWS is brought to what is declared and kept there.
    #[default]
    Enforce,
}

/// A reference to an object by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct NameRef {
    /// Name of the object. 1 to 63 characters.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// A tag that AWS objects are chosen by: the key with any one of the values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TagSelector {
    /// Key of the AWS tag, compared exactly. 1 to 128 characters.
    #[schemars(length(min = 1, max = 128))]
    pub key: String,
    /// Values of the tag, any one of which matches, compared exactly. 1 to 20 values of at most 256 characters.
    #[schemars(length(min = 1, max = 20), inner(length(max = 256)), extend("x-kubernetes-list-type" = "set"))]
    pub values: Vec<String>,
}

pub(crate) fn never_observed() -> i64 {
    NEVER_OBSERVED
}
