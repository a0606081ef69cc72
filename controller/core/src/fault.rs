//! Every error that AWS gives, in ten kinds: one table, one test.

use std::{fmt, time::Duration};

use crate::calls::Operation;

/// The longest message of AWS's that we repeat, in characters.
const MAX_MESSAGE: usize = 400;
/// The longest error code that we repeat, in characters; AWS's own are half as long.
const MAX_CODE: usize = 128;

/// What an error means for what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// Too many calls: ours or AWS's own count. Later.
    Throttled,
    /// AWS or the network failed. Again, with growing waits.
    Transient,
    /// The credentials ran out. New ones, then again.
    Expired,
    /// A permission is missing.
    Denied,
    /// The thing is not there, or not yet.
    NotFound,
    /// Something else is in the way.
    Conflict,
    /// The request can never succeed as it is.
    Invalid,
    /// A quota is reached.
    LimitExceeded,
    /// AWS does not have this here.
    Unsupported,
    /// The region is not enabled for the account.
    RegionDisabled,
}

impl FaultKind {
    /// A short fixed word for metric labels.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Transient => "transient",
            Self::Expired => "expired",
            Self::Denied => "denied",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::LimitExceeded => "limit_exceeded",
            Self::Unsupported => "unsupported",
            Self::RegionDisabled => "region_disabled",
        }
    }
}

/// An AWS call that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Fault {
    /// What it means.
    pub kind: FaultKind,
    /// The call that failed.
    pub operation: Operation,
    /// AWS's error code, or our own word where AWS gave no answer.
    pub code: String,
    /// AWS's message, cleaned of what changes with each try and cut to a bounded length.
    pub message: String,
    /// When to try again, where that is known.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.operation, self.code)?;
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", self.message) }
    }
}

/// The code of a call that we held back ourselves to stay within AWS's rates.
pub const HELD_BACK: &str = "RateLimitKept";
/// The code of a session that turned out to be of another account.
pub const ACCOUNT_MISMATCH: &str = "AccountMismatch";
/// The code of a call to which no answer came.
pub const NO_ANSWER: &str = "NoAnswer";
/// The code of a controller that has no AWS credentials of its own.
pub const NO_CREDENTIALS: &str = "NoCredentials";

impl Fault {
    /// The fault that AWS's answer stands for. `status` is the HTTP status, 0 where no answer came.
    #[must_use]
    pub fn from_answer(operation: Operation, code: &str, status: u16, message: &str) -> Self {
        Self {
            kind: classify(code, status),
            operation,
            code: truncate(&flatten(code), MAX_CODE),
            message: clean(message),
            retry_after: None,
        }
    }

    /// A call that got no answer: it may have been carried out or not.
    #[must_use]
    pub fn no_answer(operation: Operation, detail: &str) -> Self {
        Self::from_answer(operation, NO_ANSWER, 0, detail)
    }

    /// A call that we did not make because AWS's rate would be exceeded.
    #[must_use]
    pub fn held_back(operation: Operation, wait: Duration) -> Self {
        Self {
            kind: FaultKind::Throttled,
            operation,
            code: HELD_BACK.to_owned(),
            message: "waiting for the next call that AWS's rate limit allows".to_owned(),
            retry_after: Some(wait),
        }
    }

    /// Whether the fault is about who we are, rather than about the call.
    #[must_use]
    pub fn of_identity(&self) -> bool {
        matches!(self.operation, Operation::AssumeRole | Operation::GetCallerIdentity)
    }
}

/// The kind of an error code; the HTTP status decides where the code is not known
/// (botocore's retry table, EC2 "Error codes for the API", service models of STS, SSM, EventBridge,
/// CloudTrail and SNS).
#[must_use]
pub fn classify(code: &str, status: u16) -> FaultKind {
    use FaultKind::{
        Conflict, Denied, Expired, Invalid, LimitExceeded, NotFound, RegionDisabled, Throttled, Transient, Unsupported,
    };
    match code {
        "RequestLimitExceeded"
        | "EC2ThrottledException"
        | "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "TooManyRequestsException"
        | "ProvisionedThroughputExceededException"
        | "PriorRequestNotComplete"
        | "TooManyUpdates"
        | "SlowDown" => Throttled,
        "Unavailable"
        | "InternalError"
        | "InternalFailure"
        | "InternalServerError"
        | "InternalException"
        | "ServiceUnavailable"
        | "RequestTimeout"
        | "RequestTimeoutException"
        | NO_ANSWER => Transient,
        "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired"
        | "InvalidClientTokenId"
        | "InvalidAccessKeyId"
        | "UnrecognizedClientException" => Expired,
        "UnauthorizedOperation"
        | "AccessDenied"
        | "AccessDeniedException"
        | "UnauthorizedAccess"
        | "AuthorizationError"
        | "OperationNotPermittedException"
        | "SignatureDoesNotMatch"
        | NO_CREDENTIALS => Denied,
        "OptInRequired" | "AuthFailure" | "RegionDisabledException" | "SubscriptionRequiredException" => RegionDisabled,
        "InvalidServiceName"
        | "UnsupportedOperation"
        | "UnsupportedOperationException"
        | "OperationDisabledException"
        | "NotImplemented"
        | "UnknownOperationException"
        | "InvalidAction"
        | "ServiceSettingNotFound" => Unsupported,
        "IncorrectState"
        | "OperationNotPermitted"
        | "DependencyViolation"
        | "InvalidGroup.Duplicate"
        | "InvalidPermission.Duplicate"
        | "RouteAlreadyExists"
        | "IdempotentParameterMismatch"
        | "InvalidGroup.InUse"
        | "EntityAlreadyExists"
        | "EntityAlreadyExistsException"
        | "EntityTemporarilyUnmodifiable"
        | "EntityTemporarilyUnmodifiableException"
        | "UnmodifiableEntity"
        | "UnmodifiableEntityException"
        | "ConcurrentModification"
        | "ConcurrentModificationException"
        | "DeleteConflict"
        | "DeleteConflictException"
        | "ManagedRuleException"
        | "DocumentAlreadyExists"
        | "DuplicateDocumentContent"
        | "DuplicateDocumentVersionName" => Conflict,
        "NoSuchEntity" | "NoSuchEntityException" | "NoSuchBucket" | "InvalidDocument" | "InvalidDocumentVersion" => {
            NotFound
        }
        ACCOUNT_MISMATCH => Invalid,
        _ if code.ends_with(".NotFound") || code.ends_with("NotFoundException") => NotFound,
        _ if code.ends_with("LimitExceeded") || code.ends_with("LimitExceededException") => LimitExceeded,
        _ => match status {
            429 => Throttled,
            0 | 500..=599 => Transient,
            401 | 403 => Denied,
            404 => NotFound,
            409 => Conflict,
            _ => Invalid,
        },
    }
}

/// Cuts what differs from try to try (encoded messages, request ids), so that a repeated error reads the same, and
/// bounds the length.
fn clean(message: &str) -> String {
    let flat = flatten(message);
    let mut text = flat.as_str();
    for mark in ["Encoded authorization failure message", "(Service:", "Request ID", "RequestID"] {
        if let Some(at) = text.find(mark) {
            text = &text[..at];
        }
    }
    truncate(text.trim_end(), MAX_MESSAGE)
}

/// A text on one line: spaces are made one, and what would act on a terminal instead of being read goes.
fn flatten(text: &str) -> String {
    let acts = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.split(|c: char| c.is_whitespace() || acts(c)).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// At most `max` characters of a text, marked with `…` where it was cut.
#[must_use]
pub fn truncate(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        text.to_owned()
    } else {
        text.chars().take(max.saturating_sub(1)).chain(['…']).take(max).collect()
    }
}

/// What `InvalidParameter` is about: EC2 says it in words alone (see the issues quoted in the reference).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidParameterAbout {
    /// Another endpoint or private hosted zone holds the private DNS name.
    DnsConflict,
    /// The service does not support a subnet's zone.
    Zone,
    /// The VPC's DNS attributes are off.
    DnsAttributes,
    /// The S3 interface endpoint wants a gateway endpoint first.
    InboundResolverNeedsGateway,
    /// Something else.
    Other,
}

impl InvalidParameterAbout {
    /// Reads the message of an `InvalidParameter`.
    #[must_use]
    pub fn of(message: &str) -> Self {
        let has = |part: &str| message.contains(part);
        if has("conflicting DNS domain") {
            Self::DnsConflict
        } else if has("does not support the availability zone") {
            Self::Zone
        } else if has("PrivateDnsOnlyForInboundResolverEndpoint") {
            Self::InboundResolverNeedsGateway
        } else if has("enableDnsSupport") || has("enableDnsHostnames") {
            Self::DnsAttributes
        } else {
            Self::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::near::near;

    const MESSAGES: &[&str] = &[
        "You are not authorized to perform this operation. Encoded authorization failure message: AbCd123",
        "Rate exceeded (Service: Ssm, Status Code: 400, Request ID: 1-2-3)",
        "private-dns-enabled cannot be set because there is already a conflicting DNS domain for \
         ssm.eu-west-1.amazonaws.com in the VPC vpc-1",
        "The VPC endpoint service s does not support the availability zone of the subnet: subnet-1.",
        "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true",
    ];
    const CODES: &[&str] =
        &["RequestLimitExceeded", "InvalidGroup.NotFound", "VpcEndpointLimitExceeded", "InvalidParameter", NO_ANSWER];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_aws_says_becomes_a_short_line(
            operation in proptest::sample::select(Operation::ALL.to_vec()),
            code in near(CODES),
            status in prop_oneof![Just(0), Just(200), Just(400), Just(503), any::<u16>()],
            message in near(MESSAGES),
        ) {
            let fault = Fault::from_answer(operation, &code, status, &message);
            prop_assert_eq!(fault.kind, classify(&code, status));
            prop_assert!(fault.message.chars().count() <= MAX_MESSAGE && fault.code.chars().count() <= MAX_CODE);
            let line = fault.to_string();
            prop_assert!(line.starts_with(&operation.to_string()), "{line}");
            prop_assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
            // Said again by another fault, it stays as it is, or it would change from pass to pass.
            prop_assert_eq!(clean(&fault.message), fault.message.clone());
            let _ = InvalidParameterAbout::of(&fault.message);
        }

        #[test]
        fn a_cut_text_is_its_own_beginning(text in near(MESSAGES), max in 0_usize..500) {
            let cut = truncate(&text, max);
            prop_assert!(cut.chars().count() <= max);
            match cut.strip_suffix('…') {
                Some(start) if cut != text => prop_assert!(text.starts_with(start)),
                _ => prop_assert!(cut == text || max == 0),
            }
        }
    }

    #[test]
    fn each_code_has_its_kind() {
        use FaultKind::*;
        for (code, status, kind) in [
            ("RequestLimitExceeded", 503, Throttled),
            ("ThrottlingException", 400, Throttled),
            ("Unavailable", 503, Transient),
            ("InternalError", 500, Transient),
            (NO_ANSWER, 0, Transient),
            // EventBridge.
            ("ResourceNotFoundException", 400, NotFound),
            ("ConcurrentModificationException", 400, Conflict),
            ("ManagedRuleException", 400, Conflict),
            ("LimitExceededException", 400, LimitExceeded),
            ("InvalidEventPatternException", 400, Invalid),
            ("OperationDisabledException", 400, Unsupported),
            ("InternalException", 500, Transient),
            ("InternalException", 400, Transient),
            // CloudTrail.
            ("TrailNotFoundException", 400, NotFound),
            ("OperationNotPermittedException", 400, Denied),
            ("UnsupportedOperationException", 400, Unsupported),
            ("CloudTrailARNInvalidException", 400, Invalid),
            // SNS.
            ("NotFound", 404, NotFound),
            ("AuthorizationError", 403, Denied),
            ("Throttled", 429, Throttled),
            ("ExpiredToken", 403, Expired),
            ("ExpiredTokenException", 400, Expired),
            ("RequestExpired", 400, Expired),
            ("UnauthorizedOperation", 403, Denied),
            ("AccessDenied", 403, Denied),
            ("AccessDeniedException", 400, Denied),
            ("OptInRequired", 401, RegionDisabled),
            ("AuthFailure", 401, RegionDisabled),
            ("RegionDisabledException", 403, RegionDisabled),
            ("InvalidServiceName", 400, Unsupported),
            ("InvalidAction", 400, Unsupported),
            // The code decides, whatever the status.
            ("ServiceUnavailable", 400, Transient),
            ("RequestTimeout", 400, Transient),
            ("NoSuchEntity", 400, NotFound),
            ("NoSuchEntityException", 500, NotFound),
            (ACCOUNT_MISMATCH, 403, Invalid),
            ("VpcEndpointLimitExceeded", 400, LimitExceeded),
            ("RulesPerSecurityGroupLimitExceeded", 500, LimitExceeded),
            ("ParameterLimitExceededException", 400, LimitExceeded),
            ("SecurityGroupsPerInterfaceLimitExceeded", 400, LimitExceeded),
            ("SomethingNewLimitExceeded", 400, LimitExceeded),
            ("IncorrectState", 400, Conflict),
            ("DependencyViolation", 400, Conflict),
            ("InvalidGroup.Duplicate", 400, Conflict),
            ("InvalidPermission.Duplicate", 400, Conflict),
            ("RouteAlreadyExists", 400, Conflict),
            ("IdempotentParameterMismatch", 400, Conflict),
            ("InvalidSubnetId.NotFound", 400, NotFound),
            ("InvalidSubnetID.NotFound", 400, NotFound),
            ("InvalidGroup.NotFound", 400, NotFound),
            ("InvalidVpcID.NotFound", 400, NotFound),
            ("InvalidVpcEndpointId.NotFound", 400, NotFound),
            ("InvalidPermission.NotFound", 400, NotFound),
            ("NoSuchEntity", 404, NotFound),
            ("NoSuchBucket", 400, NotFound),
            ("InvalidAccessKeyId", 403, Expired),
            ("NotFoundException", 400, NotFound),
            ("SlowDown", 503, Throttled),
            ("KMSInternalException", 500, Transient),
            ("InvalidParameter", 400, Invalid),
            ("DuplicateSubnetsInSameZone", 400, Invalid),
            ("InsufficientFreeAddressesInSubnet", 400, Invalid),
            ("InvalidPolicyDocument", 400, Invalid),
            // Systems Manager's settings and documents (its API reference, "Errors" of each call).
            ("ServiceSettingNotFound", 400, Unsupported),
            ("TooManyUpdates", 400, Throttled),
            ("InvalidDocument", 400, NotFound),
            ("InvalidDocumentVersion", 400, NotFound),
            ("DocumentAlreadyExists", 400, Conflict),
            ("DuplicateDocumentContent", 400, Conflict),
            ("DuplicateDocumentVersionName", 400, Conflict),
            ("DocumentLimitExceeded", 400, LimitExceeded),
            ("DocumentVersionLimitExceeded", 400, LimitExceeded),
            ("InvalidDocumentContent", 400, Invalid),
            ("InvalidDocumentOperation", 400, Invalid),
            ("InvalidDocumentSchemaVersion", 400, Invalid),
            ("MaxDocumentSizeExceeded", 400, Invalid),
            ("InternalServerError", 500, Transient),
            // IAM's, by the query protocol and by the names of their shapes.
            ("EntityAlreadyExists", 409, Conflict),
            ("EntityAlreadyExistsException", 409, Conflict),
            ("EntityTemporarilyUnmodifiable", 409, Conflict),
            ("EntityTemporarilyUnmodifiableException", 409, Conflict),
            ("UnmodifiableEntity", 400, Conflict),
            ("UnmodifiableEntityException", 400, Conflict),
            ("ConcurrentModification", 409, Conflict),
            ("ConcurrentModificationException", 409, Conflict),
            ("DeleteConflict", 409, Conflict),
            ("DeleteConflictException", 409, Conflict),
            ("LimitExceeded", 409, LimitExceeded),
            ("LimitExceededException", 409, LimitExceeded),
            ("MalformedPolicyDocument", 400, Invalid),
            ("PolicyNotAttachable", 400, Invalid),
            ("InvalidInput", 400, Invalid),
            ("ServiceFailure", 500, Transient),
            (ACCOUNT_MISMATCH, 200, Invalid),
            ("SomethingNobodyKnows", 429, Throttled),
            ("SomethingNobodyKnows", 502, Transient),
            ("SomethingNobodyKnows", 403, Denied),
            ("SomethingNobodyKnows", 404, NotFound),
            ("SomethingNobodyKnows", 400, Invalid),
        ] {
            assert_eq!(classify(code, status), kind, "{code} {status}");
        }
    }

    #[test]
    fn each_kind_has_its_own_word() {
        use FaultKind::*;
        let all = [
            (Throttled, "throttled"),
            (Transient, "transient"),
            (Expired, "expired"),
            (Denied, "denied"),
            (NotFound, "not_found"),
            (Conflict, "conflict"),
            (Invalid, "invalid"),
            (LimitExceeded, "limit_exceeded"),
            (Unsupported, "unsupported"),
            (RegionDisabled, "region_disabled"),
        ];
        assert_eq!(all.map(|(kind, _)| kind.label()), all.map(|(_, word)| word));
    }

    #[test]
    fn messages_lose_what_changes_with_each_try() {
        let one = Fault::from_answer(
            Operation::CreateVpcEndpoint,
            "UnauthorizedOperation",
            403,
            "You are not authorized to perform this operation. Encoded authorization failure message: AbCd123",
        );
        assert_eq!(one.message, "You are not authorized to perform this operation.");
        let long = Fault::from_answer(Operation::DescribeVpcs, "X", 500, &"é".repeat(5000));
        assert_eq!(long.message.chars().count(), MAX_MESSAGE);
        assert!(long.message.ends_with('…'));
    }

    #[test]
    fn invalid_parameters_are_told_apart_by_their_words() {
        use InvalidParameterAbout as About;
        for (message, about) in [
            (
                "private-dns-enabled cannot be set because there is already a conflicting DNS domain for ssm.eu-west-1.amazonaws.com in the VPC vpc-1",
                About::DnsConflict,
            ),
            (
                "The VPC endpoint service com.amazonaws.eu-west-1.ssm does not support the availability zone of the subnet: subnet-1.",
                About::Zone,
            ),
            (
                "Enabling private DNS requires both enableDnsSupport and enableDnsHostnames VPC attributes set to true for vpc-1",
                About::DnsAttributes,
            ),
            (
                "To set PrivateDnsOnlyForInboundResolverEndpoint to true, the VPC vpc-1 must have a Gateway endpoint for the service.",
                About::InboundResolverNeedsGateway,
            ),
            ("the moon is wrong", About::Other),
        ] {
            assert_eq!(About::of(message), about, "{message}");
        }
    }
}
