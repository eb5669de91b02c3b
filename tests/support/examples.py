"""How many examples Hypothesis tries: what a test asks for, or a few of them for `make check`."""

from hypothesis import HealthCheck, settings

QUICK = "quick"
FEW = 10

settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(QUICK, settings.get_profile("tests"), max_examples=FEW, stateful_step_count=15)


def examples(count: int) -> int:
    """The number for settings(max_examples=...)."""
    return min(count, FEW) if settings.get_current_profile_name() == QUICK else count
