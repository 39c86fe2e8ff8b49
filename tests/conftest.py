"""Settings of all tests."""

from hypothesis import settings

# A test that writes files and waits for the disk is slow where others use it too.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")
