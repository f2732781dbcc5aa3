"""The lanes: exactly one effect per intent, each number at its own pace."""
