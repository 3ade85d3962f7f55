"""Methods by name, one file each."""

from typing import TYPE_CHECKING

from headstart.errors import HeadstartError, unknown
from headstart.names import attribute

if TYPE_CHECKING:
    from headstart.methods.method import Method

METHODS = {
    "scratch": "headstart.methods.scratch:Scratch",
    "source-only": "headstart.methods.source_only:SourceOnly",
    "oracle": "headstart.methods.oracle:Oracle",
    "darc": "headstart.methods.darc:Darc",
    "random-force": "headstart.methods.random_force:RandomForce",
    "domain-confusion": "headstart.methods.domain_confusion:DomainConfusion",
    "random-convolution": "headstart.methods.random_convolution:RandomConvolution",
    "finetune": "headstart.methods.finetune:Finetune",
    "domain-randomization": "headstart.methods.domain_randomization:DomainRandomization",
    "epopt": "headstart.methods.epopt:EPOpt",
    "epopt-posterior": "headstart.methods.epopt_posterior:EPOptPosterior",
}


def find(name: str) -> "type[Method]":
    """A method's class, by its name or as `module:Class`.

    Raises:
        HeadstartError: there is none.
    """
    if ":" in name:
        found = attribute(name)
        if not all(hasattr(found, part) for part in ("pretrain", "adapt", "__dataclass_fields__")):
            raise HeadstartError(f"{name} is not a method: a dataclass with pretrain and adapt")
        return found
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    return attribute(METHODS[name])
