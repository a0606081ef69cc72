"""What happens to each request: control, or an AWS call through every hurdle into moto."""

import re
import sys
import time
import traceback

from moto.core.base_backend import BackendDict, backend_lock
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.models import s3_backends
from werkzeug.test import EnvironBuilder, run_wsgi_app

from . import call as calls
from . import control, identity, targets
from .buckets import Buckets
from .errors import AwsError, ConnectionLost, denied, internal_error, render, throttled
from .faults import Faults
from .record import Recorder
from .state import state

ERROR_CODE = re.compile(rb"<Code>([^<]+)</Code>|\"__type\":\s*\"(?:[^\"#]*#)?([^\"]+)\"")


class App:
    """Answers requests. `plain`: moto alone, with recording."""

    def __init__(self, plain=False):
        self.plain = plain
        self.faults = Faults()
        self.buckets = Buckets()
        self.recorder = Recorder()
        if not plain:
            self._extend_moto()
        self._moto = DomainDispatcherApplication(create_backend_app)

    def _extend_moto(self):
        """moto finds each service's class by its URLs: ours, subclasses of moto's, go there."""
        import moto.cloudtrail.urls
        import moto.ec2.urls
        import moto.events.urls
        import moto.iam.urls
        import moto.sns.urls
        import moto.ssm.urls
        import moto.sts.urls

        from . import audit, ec2, iam, ssm

        ec2.repair_moto()
        audit.repair_moto()
        moto.ec2.urls.url_paths = {"{0}/": ec2.StandinEc2.dispatch}
        moto.ssm.urls.url_paths = {"{0}/$": ssm.StandinSsm.dispatch}
        moto.iam.urls.url_paths = {"{0}/$": iam.iam_with(self.faults).dispatch}
        moto.events.urls.url_paths = {"{0}/$": audit.StandinEvents.dispatch}
        moto.cloudtrail.urls.url_paths = {"{0}/$": audit.StandinCloudTrail.dispatch}
        moto.sns.urls.url_paths = {"{0}/$": audit.StandinSns.dispatch}
        moto.sts.urls.url_paths = {"{0}/$": identity.StandinSts.dispatch}

    def reset(self):
        with state.lock:
            # moto's own reset first builds every backend anew, and then drops it.
            with backend_lock:
                for backends in BackendDict._instances:
                    backends.clear()
            # The names of buckets, which moto keeps beside the backends.
            s3_backends.bucket_accounts.clear()
            state.clear()
            self.faults.clear()
            self.buckets.clear()
            self.recorder.clear()

    def handle(self, request):
        """Status, headers and body; ConnectionLost if there is to be no answer."""
        if request.path.startswith("/_standin/"):
            return control.answer(self, request)
        call = calls.parse(request)
        entry = self.recorder.open(call)
        token = calls.current.set(call)
        try:
            status, headers, body = self._answer(call, request)
        except AwsError as error:
            status, headers, body = render(error, call)
        except ConnectionLost:
            self.recorder.close(entry, call, None, "ConnectionLost")
            raise
        finally:
            calls.current.reset(token)
        self.recorder.close(entry, call, status, error_code(status, body))
        return status, headers, body

    def _answer(self, call, request):
        if self.plain:
            return self._in_moto(call, request)
        identity.identify(call)
        identity.check_region(call, call.account)
        if state.settings.buckets and call.protocol == "ec2" and not self.buckets.take(call):
            raise throttled(call)
        lost = False
        for fault in self.faults.strike(call):
            lost |= self._apply(fault, call)
        if call.tagging and self.faults.denies(*call.tagging, call.account, call.role):
            raise denied(call, permission=":".join(call.tagging))
        if call.protocol == "ec2" and call.dry_run:
            raise AwsError(
                "DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412
            )
        targets.check(call)
        answer = self._in_moto(call, request)
        if lost:
            raise ConnectionLost
        return answer

    def _apply(self, fault, call):
        """Does what a fault says. True: the call goes on, and its answer is lost."""
        match fault.effect:
            case "error":
                raise AwsError(fault.code, fault.message, fault.status)
            case "throttle":
                raise throttled(call)
            case "denied":
                raise denied(call)
            case "http500":
                raise internal_error(call)
            case "lost-before":
                raise ConnectionLost
            case "delay":
                time.sleep(fault.ms / 1000)
            case "unsuccessful":
                call.unsuccessful.append(fault)
        return fault.effect == "lost"

    def _in_moto(self, call, request):
        """Runs the call in moto, one at a time; an AwsError raised there comes out here."""
        environ = self._environ(call, request)
        try:
            with state.lock:
                chunks, status, headers = run_wsgi_app(self._moto, environ, buffered=True)
                return int(status.split()[0]), dict(headers), b"".join(chunks)
        except AwsError:
            raise
        except Exception as error:  # noqa: BLE001  (moto raises anything where it is incomplete)
            traceback.print_exc(file=sys.stderr)
            raise AwsError("NotImplemented", f"{type(error).__name__}: {error}", 400) from error

    def _environ(self, call, request):
        environ = EnvironBuilder(
            method=request.method,
            path=request.path,
            query_string=request.query,
            headers=list(request.headers.items()),
            data=request.body,
        ).get_environ()
        if call.account:
            environ["HTTP_X_MOTO_ACCOUNT_ID"] = call.account
        return environ


def error_code(status, body):
    """The code in an error answer of any protocol."""
    if status < 400:
        return None
    found = ERROR_CODE.search(body)
    return (found.group(1) or found.group(2)).decode() if found else str(status)
