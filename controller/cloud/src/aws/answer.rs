//! From the SDK's errors to ours.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use ssm_ready_core::{
    calls::Operation,
    fault::{Fault, NO_CREDENTIALS},
    write::Written,
};

/// The code of an answer that lacks what it has to contain.
pub(super) const UNREADABLE: &str = "UnreadableAnswer";
/// The code of a request that the SDK could not even build.
pub(super) const NOT_BUILT: &str = "RequestNotBuilt";
/// The code of an answer that came without one.
const NO_CODE: &str = "NoErrorCode";

/// What stands in the place of a secret.
const HIDDEN: &str = "(hidden)";

/// The fault that an error of the SDK stands for. `secrets` are cut out of AWS's words: STS repeats what it was given
/// when it does not like it.
pub(super) fn fault_of<E>(operation: Operation, error: &SdkError<E, HttpResponse>, secrets: &[&str]) -> Fault
where
    E: ProvideErrorMetadata + Error + 'static,
{
    // A session that failed while a call waited for its credentials: what matters is why the session failed.
    if let Some(fault) = find::<Fault>(error) {
        return fault.clone();
    }
    if let Some(error) = find::<CredentialsError>(error) {
        return own_credentials(operation, error);
    }
    match error {
        // An error, where the SDK could not read an answer of success, is left to the last arm.
        SdkError::ServiceError(answer) if !answer.raw().status().is_success() => Fault::from_answer(
            operation,
            answer.err().code().unwrap_or(NO_CODE),
            answer.raw().status().as_u16(),
            &hide(answer.err().message().unwrap_or_default(), secrets),
        ),
        SdkError::ResponseError(answer) if !answer.raw().status().is_success() => {
            Fault::from_answer(operation, UNREADABLE, answer.raw().status().as_u16(), &hide(&words(error), secrets))
        }
        SdkError::ConstructionFailure(_) => {
            Fault::from_answer(operation, NOT_BUILT, 400, &hide(&words(error), secrets))
        }
        // Also an answer of success that cannot be read: what was asked for may have been done.
        _ => Fault::no_answer(operation, &hide(&words(error), secrets)),
    }
}

/// The fault of a controller that could not get credentials of its own.
pub(super) fn own_credentials(operation: Operation, error: &CredentialsError) -> Fault {
    if let Some(SdkError::ServiceError(answer)) = find::<SdkError<AssumeRoleWithWebIdentityError, HttpResponse>>(error)
    {
        let message = answer.err().message().unwrap_or_default();
        return Fault::from_answer(
            operation,
            answer.err().code().unwrap_or(NO_CODE),
            answer.raw().status().as_u16(),
            &format!("the controller's own web identity (AssumeRoleWithWebIdentity) was refused: {message}"),
        );
    }
    match error {
        CredentialsError::CredentialsNotLoaded(_) => no_credentials(operation),
        CredentialsError::InvalidConfiguration(_) => Fault::from_answer(
            operation,
            NO_CREDENTIALS,
            0,
            &format!("the controller's own AWS credentials are not configured as they should be: {}", words(error)),
        ),
        _ => Fault::no_answer(
            operation,
            &format!("the controller's own AWS credentials could not be loaded: {}", words(error)),
        ),
    }
}

/// The fault of a controller that has no credentials.
pub(super) fn no_credentials(operation: Operation) -> Fault {
    Fault::from_answer(
        operation,
        NO_CREDENTIALS,
        0,
        "the controller has no AWS credentials of its own: give its service account a role by EKS Pod Identity or IRSA \
         (IAM roles for service accounts), or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    )
}

/// The fault of an answer of 200 that lacks what it has to contain.
pub(super) fn unreadable(operation: Operation, lacks: &str) -> Fault {
    Fault::from_answer(operation, UNREADABLE, 200, &format!("the answer lacks {lacks}"))
}

/// What AWS says is not there, by one of these codes; any other fault stands. By the code and not by its kind: a 404 of
/// whatever stands between us and AWS says nothing of what is there.
pub(super) fn none_if<T>(result: Result<T, Fault>, codes: &[&str]) -> Result<Option<T>, Fault> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(fault) if codes.contains(&fault.code.as_str()) => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// A write that is done, or that AWS says, by one of these codes, needs no doing; any other fault stands.
pub(super) fn done_if<T>(result: Result<T, Fault>, codes: &[&str]) -> Result<Written, Fault> {
    none_if(result, codes).map(|_| Written::Done)
}

/// An error and its sources, outermost first.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

/// The first error of a type in a chain.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// An error and its sources in words, each said once.
fn words(error: &(dyn Error + 'static)) -> String {
    let mut said: Vec<String> = Vec::new();
    for error in chain(error) {
        let text = error.to_string();
        if !said.last().is_some_and(|last| last.contains(&text)) {
            said.push(text);
        }
    }
    said.join(": ")
}

fn hide(text: &str, secrets: &[&str]) -> String {
    secrets.iter().filter(|s| !s.is_empty()).fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN))
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::operation::describe_vpcs::DescribeVpcsError;
    use ssm_ready_core::fault::FaultKind;

    use super::*;

    #[test]
    fn the_fault_of_a_session_comes_through_whatever_wraps_it() {
        let inner = Fault::from_answer(Operation::AssumeRole, "AccessDenied", 403, "no");
        let error: SdkError<DescribeVpcsError, HttpResponse> =
            SdkError::construction_failure(CredentialsError::provider_error(inner.clone()));
        assert_eq!(fault_of(Operation::DescribeVpcs, &error, &[]), inner);
    }

    #[test]
    fn missing_credentials_are_said_to_be_missing() {
        let error: SdkError<DescribeVpcsError, HttpResponse> =
            SdkError::construction_failure(CredentialsError::not_loaded("nothing there"));
        let fault = fault_of(Operation::AssumeRole, &error, &[]);
        assert_eq!((fault.kind, fault.code.as_str()), (FaultKind::Denied, NO_CREDENTIALS));
        assert!(fault.message.contains("IRSA"), "{fault}");
    }

    #[test]
    fn credentials_that_could_not_be_loaded_now_may_be_later() {
        let error = CredentialsError::provider_error("connection refused");
        let fault = own_credentials(Operation::AssumeRole, &error);
        assert_eq!(fault.kind, FaultKind::Transient);
        assert!(fault.message.ends_with("connection refused"), "{fault}");
    }

    #[test]
    fn only_aws_own_word_makes_a_thing_absent() {
        let fault = |code| Fault::from_answer(Operation::GetRole, code, 404, "no");
        assert_eq!(none_if(Ok(1), &["NoSuchEntity"]), Ok(Some(1)));
        assert_eq!(none_if::<()>(Err(fault("NoSuchEntity")), &["NoSuchEntity"]), Ok(None));
        assert_eq!(done_if::<()>(Err(fault("NoSuchEntity")), &["NoSuchEntity"]), Ok(Written::Done));
        for code in ["UnreadableAnswer", "NoErrorCode", "OtherNotFoundException"] {
            assert_eq!(fault(code).kind, FaultKind::NotFound, "{code}");
            assert_eq!(none_if::<()>(Err(fault(code)), &["NoSuchEntity"]), Err(fault(code)), "{code}");
            assert_eq!(done_if::<()>(Err(fault(code)), &["NoSuchEntity"]), Err(fault(code)), "{code}");
        }
    }

    #[test]
    fn secrets_are_cut_out_of_words() {
        assert_eq!(
            hide("Value 'tenant-7f3c' at 'externalId'", &["tenant-7f3c", ""]),
            "Value '(hidden)' at 'externalId'"
        );
    }
}
