"""The words of the command line. Nothing heavy is imported before it is known what is asked for.

Argparse, and not a library that makes flags of dataclasses: which fields `--method.FIELD` may name
is known only once PROBLEM, METHOD and `learner.algorithm` are, which may be the user's own; and the
same texts come from TOML tables and from labels, so that they are turned into fields in one place,
`configuration.py`.
"""

import argparse
import io
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import headstart
from headstart import interrupts
from headstart.errors import HeadstartError, unknown
from headstart.problem.problem import MOST_EPISODES
from headstart.records import LONGEST_NAME

COMMANDS = {
    "list": "problems, methods, environments, learners and studies",
    "run": "one method on one problem from one seed",
    "compare": "methods side by side on one problem, and the report",
    "evaluate": "a policy on a domain",
    "graft": "knowledge into other spaces of observations and actions: what fits, and what not",
    "skills": "what each skill of a knowledge does: returns, and a page with paths and pictures",
    "report": "write DIR/report.html again",
    "check": "hold an environment to what it declares",
    "study": "re-run a published claim, or hold the stored results against it",
}
PROBLEM = "a name from `headstart list`, a TOML file, or module:attribute"
METHODS = (
    "methods, with fields as in 'epopt:epsilon=0.2;steps=500000'; those that the problem lists if "
    "none is named"
)
ENGINE = "where runs are executed: local, or module:Class"
SINK = "where the rows of the log go too: module:Class; may be given several times"
WORKERS = "processes at once; one for each core if not given"


class Parser(argparse.ArgumentParser):
    """Errors are ours: one line, with the nearest right word."""

    def error(self, message: str) -> NoReturn:
        if "invalid choice" in message and "COMMAND" in message:
            raise unknown("command", message.split("'")[1], COMMANDS)
        raise HeadstartError(message.removeprefix("argument "))

    def word(self, name: str, text: str, **more: Any) -> None:
        """A positional argument."""
        self.add_argument(name, metavar=more.pop("metavar", name.upper()), help=text, **more)

    def flag(self, name: str, text: str, default: Any = None, **more: Any) -> None:
        """An option; its default, if there is one, is part of its help."""
        text += "" if default is None else f"; {default} if not given"
        more = more if "action" in more else {"metavar": "N", **more}
        default = False if more.get("action") == "store_true" else default
        self.add_argument(name, default=default, help=text, **more)

    @property
    def flags(self) -> list[str]:
        return [flag for action in self._actions for flag in action.option_strings]


def parser() -> tuple[Parser, dict[str, Parser]]:
    """The parser, and that of each command."""
    top = Parser(prog="headstart", description=headstart.__doc__, allow_abbrev=False,
                 formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    top.add_argument("--version", action="version", version=f"headstart {headstart.__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    of = {
        name: commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        for name, text in COMMANDS.items()
    }
    listing, run, compare, evaluate, graft, skills, report, check, study = of.values()
    listing.flag("--json", "for programs", action="store_true")
    run.word("problem", PROBLEM)
    run.word("method", "a name from `headstart list`, or module:Class")
    run.flag("--seed", "of all that is drawn", 0, type=_whole(0, 2**31 - 1))
    run.flag("--resume", "go on with an unfinished run", action="store_true")
    start = "a knowledge folder that the method starts from, in place of its own pre-training"
    run.flag("--from", start, type=_path, metavar="KNOWLEDGE", dest="knowledge")
    run.epilog = (
        "Fields of the method are set by --method.FIELD VALUE, after PROBLEM and METHOD; "
        "`headstart run PROBLEM METHOD --help` lists them with what the problem sets."
    )
    compare.word("problem", PROBLEM)
    compare.word("methods", METHODS, metavar="METHOD", nargs="*")
    compare.flag("--seeds", "runs of each method", 3, type=_whole(1, 1000))
    compare.flag("--engine", ENGINE, "local", metavar="ENGINE")
    for with_runs in (compare, study):
        with_runs.flag("--workers", WORKERS, type=_whole(1, 1000))
    for with_logs in (run, compare):
        with_logs.flag("--sink", SINK, action="append", metavar="SINK")
    for with_folder in (run, compare, study):
        with_folder.flag("--out", "where runs are kept", Path("runs"), type=_path, metavar="DIR")
    domain = "a problem, for its target, or an environment, as in hopper:torso_mass=7"
    own = f"{domain}; the source that it was learned in, if it lies in a run and none is named"
    for with_knowledge, text, count in (
        (evaluate, domain, None), (graft, domain, None), (skills, own, "?"),
    ):  # fmt: skip
        with_knowledge.word("knowledge", "a knowledge folder", type=_path)
        with_knowledge.word("domain", text, metavar="DOMAIN|PROBLEM", nargs=count)
    skills.flag("--skill", "of the one that is saved", type=_whole(0, 2**31 - 1))
    skills.flag("--save", "where that skill is kept, alone", type=_path, metavar="DIR")
    graft.flag("--save", "where the grafted knowledge is kept", type=_path, metavar="DIR")
    evaluate.flag("--episodes", "to be played", 20, type=_whole(1, MOST_EPISODES))
    skills.flag("--episodes", "to be played of each", 4, type=_whole(1, MOST_EPISODES))
    evaluate.flag("--seed", "of all that is drawn", 0, type=_whole(0, 2**31 - 1))
    report.word("dir", "as in runs/hopper-mass", type=_path)
    report.flag("--trust", "run the code of others that it names", action="store_true")
    check.word("environment", "a name, gym:ID, pool:ID, module:function, or a problem, for its own",
               metavar="ENVIRONMENT|PROBLEM")  # fmt: skip
    study.word("name", "a name from `headstart list`")
    study.flag("--check", "hold the stored results against the claims", action="store_true")
    return top, of


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    headstart.prepare_jax()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name may be no Unicode
    with interrupts.stopping_on_signals():  # workers are stopped on the way out
        return _main(arguments)


def _main(arguments: list[str]) -> int:
    try:
        fields = _method_fields(arguments)
        top, commands = parser()
        if arguments[:1] == ["run"] and {"-h", "--help"} & set(arguments):
            _print_fields(commands["run"], arguments[1:], fields)
        options, rest = top.parse_known_args(arguments)
        if rest and rest[0].startswith("-"):
            _refuse_flag(rest[0].partition("=")[0], options, commands[options.command].flags)
        if rest:
            raise HeadstartError(f"{rest[0]!r} is one word too many")
        if fields and options.command != "run":
            raise HeadstartError("--method.FIELD belongs to `headstart run`")
        if options.command in ("evaluate", "skills", "graft", "check"):
            from headstart.runs.checks import check_platform

            check_platform()
        from headstart.cli import commands as bodies

        return getattr(bodies, f"{options.command}_command")(options, fields) or 0
    except BrokenPipeError:  # the reader has gone, as `head` does; nothing more can be said to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except BaseException as error:
        if interrupts.asked():  # whatever was made of it on the way
            print("headstart: stopped; what was finished is kept", file=sys.stderr)
            return 130
        if not isinstance(error, HeadstartError):
            raise
        print(f"headstart: {error}", file=sys.stderr)
        return 2


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


def _print_fields(run: Parser, arguments: list[str], fields: dict[str, Any]) -> None:
    """The fields of the method that is named, as the problem and the flags set them."""
    words = [word for word in arguments if word not in ("-h", "--help")]
    try:
        options, _ = run.parse_known_args(words)
    except HeadstartError:  # no problem or no method is named
        return
    from headstart.configuration import set_beside
    from headstart.problem.named import find
    from headstart.runs.job import configured

    problem = find(options.problem)
    method = configured(problem, options.method, fields)
    access = problem.access
    print(f"{problem.name}: {problem.description or 'a problem'}")
    print(f"  source  {problem.source}\n  target  {problem.target}")
    print(f"  access  {access.observations} observations and {access.steps} steps of the target")
    print(f"  shots   {', '.join(map(str, access.shots))} episodes of adaptation, then ", end="")
    print(f"{problem.episodes} of evaluation each")
    print(
        f"fields of {options.method}; by itself is what one is where {options.problem} sets none:"
    )
    for field, meaning, value, usual in set_beside(method):
        own = "" if usual == value else f"  (by itself {usual})"
        print(f"  --method.{field} {value}{own}")
        print(textwrap.indent(meaning, "      "))
    print()


def _refuse_flag(flag: str, options: argparse.Namespace, flags: list[str]) -> NoReturn:
    if options.command == "run":
        from headstart.configuration import described
        from headstart.problem.named import find
        from headstart.runs.job import configured

        of_method = f"--method.{flag.lstrip('-').replace('-', '_')}"
        method = configured(find(options.problem), options.method, {})
        if of_method in [f"--method.{name}" for name, _, _ in described(method)]:
            raise HeadstartError(f"unknown flag {flag!r}: did you mean {of_method!r}?")
    raise unknown("flag", flag, flags)


def _path(text: str) -> Path:
    """Takes a text for a path that a file system could have."""
    try:
        os.path.lexists(text)
    except ValueError as error:  # a null byte
        raise argparse.ArgumentTypeError(f"is no path: {error}") from None
    if any(len(os.fsencode(part)) > LONGEST_NAME for part in Path(text).parts):
        raise argparse.ArgumentTypeError(
            f"a name is longer than {LONGEST_NAME} bytes: {text[:40]}…"
        )
    return Path(text)


def _whole(low: int, high: int) -> Callable[[str], int]:
    """Takes a text for a whole number between these."""

    def whole(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text[:20]) <= high:
            raise argparse.ArgumentTypeError(
                f"must be a whole number from {low} to {high}, got {text[:40]}"
            )
        return int(text)

    return whole


if __name__ == "__main__":
    sys.exit(main())
