"""What every test may use; the fixtures are in tests/support/fixtures.py."""

pytest_plugins = ["tests.support.fixtures"]
