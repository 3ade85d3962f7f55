"""The command line. Nothing heavy is imported before it is known what is asked for."""

import argparse
import difflib
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import headstart
from headstart.errors import HeadstartError

COMMANDS = {
    "list": "problems, methods, environments and studies",
    "run": "one method on one problem from one seed",
    "compare": "methods side by side on one problem, and the report",
    "evaluate": "a policy on a domain",
    "report": "write DIR/report.html again",
    "check": "hold an environment to what it declares",
    "study": "re-run a published claim, or hold the stored results against it",
}


class Parser(argparse.ArgumentParser):
    """Errors in one line, with the nearest right word, and exit status 2."""

    def error(self, message: str) -> NoReturn:
        if "invalid choice" in message and "'" in message:
            wrong = message.split("'")[1]
            near = difflib.get_close_matches(wrong, COMMANDS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"commands: {', '.join(COMMANDS)}"
            message = f"unknown command {wrong!r}: {hint}"
        self.exit(2, f"headstart: {message}\n")


def parser() -> argparse.ArgumentParser:
    top = Parser(prog="headstart", description=headstart.__doc__, allow_abbrev=False,
                 formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    top.add_argument("--version", action="version", version=f"headstart {headstart.__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add = {
        name: commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        for name, text in COMMANDS.items()
    }
    problem = "a name from `headstart list`, a TOML file, or module:attribute"
    add["list"].add_argument("--json", action="store_true", help="for programs")
    add["run"].add_argument("problem", metavar="PROBLEM", help=problem)
    add["run"].add_argument(
        "method", metavar="METHOD", help="a name from `headstart list`, or module:Class"
    )
    add["run"].add_argument("--seed", type=_count, default=0, metavar="N")
    add["run"].add_argument("--out", type=Path, default=Path("runs"), metavar="DIR")
    add["run"].add_argument("--resume", action="store_true", help="go on with an unfinished run")
    add["run"].epilog = (
        "Fields of the method are set by --method.FIELD VALUE; "
        "`headstart run PROBLEM METHOD --help` lists them."
    )
    add["compare"].add_argument("problem", metavar="PROBLEM", help=problem)
    add["compare"].add_argument(
        "methods", metavar="METHOD", nargs="*",
        help="methods, with fields as in 'epopt:epsilon=0.2;steps=500000'; those that the problem "
        "lists if none is named",
    )  # fmt: skip
    add["compare"].add_argument("--seeds", type=_positive, default=2, metavar="N")
    add["compare"].add_argument(
        "--workers",
        type=_positive,
        metavar="N",
        help="processes at once; one for each core if not given",
    )
    add["compare"].add_argument("--out", type=Path, default=Path("runs"), metavar="DIR")
    add["evaluate"].add_argument(
        "knowledge", metavar="KNOWLEDGE", type=Path, help="a knowledge folder"
    )
    add["evaluate"].add_argument(
        "domain", metavar="DOMAIN|PROBLEM",
        help="a problem, for its target, or an environment, as in hopper:torso_mass=7",
    )  # fmt: skip
    add["evaluate"].add_argument("--episodes", type=_positive, default=20, metavar="N")
    add["evaluate"].add_argument("--seed", type=_count, default=0, metavar="N")
    add["report"].add_argument("dir", metavar="DIR", type=Path, help="as in runs/hopper-mass")
    add["check"].add_argument(
        "environment", metavar="ENVIRONMENT", help="a name, gym:ID or module:function"
    )
    add["study"].add_argument("name", metavar="NAME")
    add["study"].add_argument(
        "--check",
        action="store_true",
        help="hold the stored results against the claims",
    )
    add["study"].add_argument(
        "--out",
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="where its runs are kept",
    )
    add["study"].add_argument("--workers", type=_positive, metavar="N")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    headstart.prepare_jax()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # workers are stopped on the way out
    try:
        fields = _method_fields(arguments)
        if arguments[:1] == ["run"] and {"-h", "--help"} & set(arguments):
            for label in [word for word in arguments[1:] if not word.startswith("-")][1:2]:
                _print_fields(label)
        options = parser().parse_args(arguments)
        if fields and options.command != "run":
            raise HeadstartError("--method.FIELD belongs to `headstart run`")
        return globals()[f"_{options.command}"](options, fields) or 0
    except HeadstartError as error:
        print(f"headstart: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("headstart: stopped; what was finished is kept", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader has gone, as `head` does; nothing more can be said to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _list(options: argparse.Namespace, _: Any) -> None:
    from headstart import envs, methods, problems, studies

    groups = {
        "problems": {name: p.description for name, p in problems.PROBLEMS.items()},
        "methods": {name: _first_line(path) for name, path in methods.METHODS.items()},
        "environments": dict.fromkeys(sorted(envs.ENVIRONMENTS), ""),
        "studies": dict(studies.STUDIES),
    }
    if options.json:
        print(json.dumps({kind: list(names) for kind, names in groups.items()}, indent=1))
        return
    for kind, names in groups.items():
        print(kind)
        for name, text in names.items():
            print(f"  {name:<22} {text}".rstrip())


def _run(options: argparse.Namespace, fields: dict[str, Any]) -> None:
    from headstart import problems, run
    from headstart.progress import bars

    job = run.make_job(
        problems.find(options.problem),
        options.method,
        options.seed,
        options.out,
        fields,
    )
    if run.prepare(job, options.resume):
        print(f"already finished: {job.folder / 'result.json'}")
    with bars(f"{job.label}, seed {job.seed}") as progress:
        result = run.run(job, progress)
    for shot in result.shots:
        print(f"{shot.episodes:>6} target episodes: return {shot.score:9.1f}")
    print(f"source steps {result.source['steps']}, target steps {result.target['steps']}")
    print(job.folder / "result.json")


def _compare(options: argparse.Namespace, _: Any) -> int:
    from headstart import methods, problems, run
    from headstart.grid import LocalProcesses, run_all
    from headstart.progress import board
    from headstart.report import write

    problem = problems.find(options.problem)
    labels = list(dict.fromkeys(options.methods or problem.methods or methods.METHODS))
    jobs = [
        run.make_job(problem, label, seed, options.out)
        for seed in range(options.seeds)
        for label in labels
    ]
    todo = [job for job in jobs if not run.prepare(job, resume=True)]
    engine = LocalProcesses(options.workers) if options.workers else LocalProcesses()
    with board(len(todo)) as watch:
        failures = run_all(todo, engine, watch)
    for failure in failures:
        print(
            f"headstart: {failure.job.folder} failed: {failure.reason}; run the same command "
            "again to go on with it",
            file=sys.stderr,
        )
    if len(failures) < len(jobs):
        print(write(options.out / problem.name))
    return 1 if failures else 0


def _evaluate(options: argparse.Namespace, _: Any) -> None:
    from headstart import envs, evaluation, problems
    from headstart.knowledge import Knowledge
    from headstart.learners.policy import policy_from

    knowledge = Knowledge.load(options.knowledge)
    domain = problems.find_domain(options.domain)
    environment = envs.find(domain.environment)
    policy = policy_from(knowledge)
    facts = knowledge.facts["policy"]
    evaluation.check_policy_fits(facts, environment)
    returns = evaluation.evaluate(domain, policy, options.episodes, options.seed)
    spread = returns.std(ddof=1) if len(returns) > 1 else float("nan")
    print(f"{domain}: return {returns.mean():.1f} ± {spread:.1f} (sd) over {len(returns)} episodes")


def _report(options: argparse.Namespace, _: Any) -> None:
    from headstart.report import write

    print(write(options.dir))


def _check(options: argparse.Namespace, _: Any) -> int:
    from headstart.testing import examine

    findings = examine(options.environment)
    for finding in findings:
        print(
            f"{'ok  ' if finding.held else 'FAIL'}  {finding.claim}"
            + (f": {finding.detail}" if finding.detail else "")
        )
    failed = sum(not finding.held for finding in findings)
    print(f"{len(findings) - failed} held, {failed} failed")
    return 1 if failed else 0


def _study(options: argparse.Namespace, _: Any) -> int:
    from headstart import studies

    study = studies.find(options.name)
    if options.check:
        table = studies.stored(options.name)
    else:
        table = studies.run(options.name, options.out, options.workers)
    print(study.shown(table), end="\n\n")
    claims = study.claims(table)
    for claim in claims:
        print(
            f"{'holds        ' if claim.holds else 'DOES NOT HOLD'}  {claim.text}: {claim.evidence}"
        )
    return 0 if all(claim.holds for claim in claims) else 1


def _method_fields(arguments: list[str]) -> dict[str, Any]:
    """Take `--method.FIELD VALUE …` out of the arguments."""
    fields: dict[str, Any] = {}
    while (
        at := next((i for i, a in enumerate(arguments) if a.startswith("--method.")), None)
    ) is not None:
        flag, equals, value = arguments[at].removeprefix("--method.").partition("=")
        end = at + 1
        values = [value] if equals else []
        while not equals and end < len(arguments) and not arguments[end].startswith("--"):
            values.append(arguments[end])
            end += 1
        if not values:
            raise HeadstartError(f"--method.{flag} needs a value")
        fields[flag] = values if len(values) > 1 else values[0]
        del arguments[at:end]
    return fields


def _print_fields(label: str) -> None:
    from headstart import methods
    from headstart.configuration import described
    from headstart.run import method_name

    name = method_name(label)
    print(f"fields of {name}:")
    for field, meaning, default in described(methods.find(name)()):
        shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
        print(f"  --method.{field} {shown}\n      {meaning}")
    print()


def _first_line(path: str) -> str:
    """The summary of a method's file, without importing it (and JAX)."""
    import ast

    module = path.partition(":")[0].removeprefix("headstart.").replace(".", "/")
    source = Path(__file__).parent / f"{module}.py"
    text = ast.get_docstring(ast.parse(source.read_text())) or ""
    return " ".join(text.split("\n\n")[0].split()).split(". ")[0].rstrip(".")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"must be a whole number ≥ 0 and below 2³¹, got {text}")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number ≥ 1, got {text}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
