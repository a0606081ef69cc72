"""AWS errors, and how each protocol writes them."""

import json
from xml.sax.saxutils import escape

REQUEST_ID = "00000000-0000-4000-8000-000000000000"


class AwsError(Exception):
    """An error answer of an AWS API."""

    def __init__(self, code, message, status=400, headers=None):
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.headers = headers or {}


class ConnectionLost(Exception):
    """The connection is to be closed without an answer."""


def render(error, call):
    """Status, headers and body of an error, in the protocol the call came in."""
    if call.protocol == "json":
        body = json.dumps({"__type": error.code, "message": error.message})
        headers = {"Content-Type": "application/x-amz-json-1.1", "x-amzn-ErrorType": error.code}
        return error.status, headers, body.encode()
    detail = f"<Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message>"
    if call.protocol == "ec2":
        body = (
            f"<Response><Errors><Error>{detail}</Error></Errors>"
            f"<RequestID>{REQUEST_ID}</RequestID></Response>"
        )
    elif call.protocol == "s3":
        body = f"<Error>{detail}<RequestId>{REQUEST_ID}</RequestId></Error>"
    else:
        side = "Receiver" if error.status >= 500 else "Sender"
        body = (
            f"<ErrorResponse><Error><Type>{side}</Type>{detail}</Error>"
            f"<RequestId>{REQUEST_ID}</RequestId></ErrorResponse>"
        )
    return error.status, {"Content-Type": "text/xml", **error.headers}, body.encode()


def denied(call, why=None, permission=None, resource=None):
    """The answer to a caller that lacks a permission (each service has its own code). `permission` and `resource`: what
    is lacking, if the call needs others than its own; `why`: in AWS's words."""
    permission = permission or f"{call.service}:{call.action}"
    why = why or f"because no identity-based policy allows the {permission} action"
    if call.protocol == "ec2":
        on = f"on resource: {resource} " if resource and resource != "*" else ""
        return AwsError(
            "UnauthorizedOperation",
            f"You are not authorized to perform this operation. User: {call.caller_arn} is not "
            f"authorized to perform: {permission} {on}{why}. "
            "Encoded authorization failure message: c3RhbmQtaW4tZmFpbHVyZS1ibG9i",
            403,
        )
    resource = resource or (call.params.get("RoleArn", "*") if call.service == "sts" else "*")
    message = f"User: {call.caller_arn} is not authorized to perform: {permission} on resource: {resource} {why}"
    if call.protocol == "json":
        return AwsError("AccessDeniedException", message, 400)
    return AwsError("AuthorizationError" if call.service == "sns" else "AccessDenied", message, 403)


def internal_error(call):
    """AWS's own failure, in each service's words."""
    codes = {
        "ec2": "InternalError",
        "events": "InternalException",
        "kms": "KMSInternalException",
        "s3": "InternalError",
        "sns": "InternalError",
    }
    return AwsError(codes.get(call.service, "InternalFailure"), "An internal error has occurred", 500)


def throttled(call):
    """Over the rate (domain 7): EC2 and S3 answer 503, the others 400."""
    if call.protocol == "ec2":
        return AwsError("RequestLimitExceeded", "Request limit exceeded.", 503)
    if call.protocol == "s3":
        return AwsError("SlowDown", "Please reduce your request rate.", 503)
    code = "ThrottlingException" if call.protocol == "json" else "Throttling"
    return AwsError(code, "Rate exceeded", 400)


def expired(call):
    """Expired credentials: EC2 says RequestExpired, the others ExpiredToken in their own form."""
    if call.protocol == "ec2":
        return AwsError("RequestExpired", "Request has expired.", 400)
    message = "The security token included in the request is expired"
    if call.protocol == "json":
        return AwsError("ExpiredTokenException", message, 400)
    if call.protocol == "s3":
        return AwsError("ExpiredToken", "The provided token has expired.", 400)
    return AwsError("ExpiredToken", message, 403)


def skewed(call, signed, now, late):
    """Signed too long ago, or in the future. EC2 takes that for bad credentials and gives no reason."""
    if call.protocol == "ec2":
        return unknown_credentials(call)
    if call.protocol == "s3":
        message = "The difference between the request time and the current time is too large."
        return AwsError("RequestTimeTooSkewed", message, 403)
    if late:
        message = f"Signature expired: {signed} is now earlier than {now} - 5 min."
    else:
        message = f"Signature not yet current: {signed} is still later than {now} + 5 min."
    if call.protocol == "json":
        return AwsError("InvalidSignatureException", message, 400)
    return AwsError("SignatureDoesNotMatch", message, 403)


def unknown_credentials(call):
    """Credentials of nobody."""
    if call.protocol == "ec2":
        return AwsError(
            "AuthFailure",
            "AWS was not able to validate the provided access credentials",
            401,
        )
    message = "The security token included in the request is invalid."
    if call.protocol == "json":
        return AwsError("UnrecognizedClientException", message, 400)
    if call.protocol == "s3":
        return AwsError(
            "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.", 403
        )
    return AwsError("InvalidClientTokenId", message, 403)
