"""What the devstack says when it cannot go on: for the person at the terminal, in one sentence where one is enough."""


class DevstackError(Exception):
    """The local system cannot start or go on; the message says what to do about it."""


class MissingToolError(DevstackError):
    """Java or Maven is absent or too old; the message is one sentence with what to install or use instead."""


class PortTakenError(DevstackError):
    """Ports are in use; the message has one sentence per port, naming the variable that moves it."""


class StartFailedError(DevstackError):
    """A process ended, or gave no answer in time; the message ends with its last log lines."""
