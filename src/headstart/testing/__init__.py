"""Hold an environment or a method to what it promises: ours in our tests, yours in yours."""

from headstart.testing.environments import check_environment, examine
from headstart.testing.finding import Finding
from headstart.testing.methods import check_method, examine_method

__all__ = ["Finding", "check_environment", "check_method", "examine", "examine_method"]
