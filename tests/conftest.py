"""What every test may use; the fixtures are in tests/support/fixtures.py."""

from hypothesis import settings

pytest_plugins = ["tests.support.fixtures"]

settings.register_profile("untimed", deadline=None)  # a busy machine stands still for longer than an example's 200 ms
if settings.get_current_profile_name() == "default":  # the mutation tests have a profile of their own
    settings.load_profile("untimed")
