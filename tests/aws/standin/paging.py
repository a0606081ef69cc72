"""Pages of a list, by an opaque token."""

import base64
import binascii

from .errors import AwsError
from .state import state


def page_of(items, size, token, bad_token_code):
    """One page and the token of the next. `page_cap` makes pages smaller than asked, as AWS may."""
    start = 0
    if token:
        try:
            start = int(base64.b64decode(token, validate=True))
        except (ValueError, binascii.Error):
            raise AwsError(bad_token_code, f"Invalid value '{token}' for parameter nextToken.") from None
    if state.settings.page_cap:
        size = min(size, state.settings.page_cap)
    end = start + size
    following = base64.b64encode(str(end).encode()).decode() if end < len(items) else None
    return items[start:end], following
