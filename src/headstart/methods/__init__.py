"""Methods by name, one file each."""

from headstart.registry import Registry

METHODS = Registry(
    "method",
    {
        "scratch": "headstart.methods.scratch:Scratch",
        "source-only": "headstart.methods.source_only:SourceOnly",
        "pretrained": "headstart.methods.pretrained:Pretrained",
        "oracle": "headstart.methods.oracle:Oracle",
        "darc": "headstart.methods.darc:Darc",
        "random-force": "headstart.methods.random_force:RandomForce",
        "domain-confusion": "headstart.methods.domain_confusion:DomainConfusion",
        "random-convolution": "headstart.methods.random_convolution:RandomConvolution",
        "finetune": "headstart.methods.finetune:Finetune",
        "residual": "headstart.methods.residual:Residual",
        "progressive": "headstart.methods.progressive:Progressive",
        "jump-start": "headstart.methods.jump_start:JumpStart",
        "maxent": "headstart.methods.maxent:MaxEnt",
        "diayn": "headstart.methods.diayn:Diayn",
        "smerl": "headstart.methods.smerl:Smerl",
        "multi-task": "headstart.methods.multi_task:MultiTask",
        "her": "headstart.methods.her:Her",
        "domain-randomization": "headstart.methods.domain_randomization:DomainRandomization",
        "epopt": "headstart.methods.epopt:EPOpt",
        "epopt-posterior": "headstart.methods.epopt_posterior:EPOptPosterior",
    },
    needs=(
        "__dataclass_fields__", "learner", "unlimited", "curves", "pretraining", "requires",
        "pretrain", "adapt", "in_source", "moves", "recipe",
    ),
)  # fmt: skip
