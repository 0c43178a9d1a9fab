"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# A busy machine may take its time for an example, or for what it is made of.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
