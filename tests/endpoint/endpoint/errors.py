"""The two ways in which a call is refused."""


class AwsError(Exception):
    """What AWS would answer; the wire layer encodes it in the caller's protocol."""

    def __init__(self, code: str, message: str, status: int = 400):
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status = code, message, status


def not_emulated(what: str) -> AwsError:
    """A gap must be loud: an empty but successful answer would make a test pass for nothing."""
    return AwsError("NotEmulated", f"the test endpoint does not emulate {what}", 400)


class ControlError(Exception):
    """A test sent a control call that means nothing; answered with 400 and this text."""
