"""What is to be solved."""

from headstart.problem.access import Access
from headstart.problem.domain import Domain, mixture
from headstart.problem.problem import TransferProblem, from_table, read, with_access

__all__ = ["Access", "Domain", "TransferProblem", "from_table", "mixture", "read", "with_access"]
