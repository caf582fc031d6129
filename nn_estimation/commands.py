"""What train, evaluate and replay do alike in every wing: options, the table, the report, the exit code."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from nn_estimation.configuration import from_yaml
from nn_estimation.evaluation import Evaluation
from nn_estimation.outputs import check_file
from nn_estimation.parameters import Parameter, from_file

if TYPE_CHECKING:
    from nn_estimation.report import Picture

S = TypeVar("S")


def refuse(args: Namespace, *options: str) -> None:
    """Refuse options that are not for the task.

    Raises:
        ValueError: one of them is given.
    """
    for option in options:
        if getattr(args, option) not in (None, False):
            raise ValueError(f"--{option.replace('_', '-')} is not for {args.task}: leave it out")


def train(
    args: Namespace,
    config: type,
    train_model: Callable[..., Any],
    held_out: Callable[[Mapping[str, Any]], Iterable[str]],
    **more: Any,
) -> int:
    """Train a model, and say how it does on the recordings that were held out.

    Args:
        args: of the command line.
        config: class of the configuration.
        train_model: of the wing.
        held_out: lines that say the metrics of a contract.
        more: arguments of `train_model` that are of this wing.
    """
    check_file(args.out)
    if args.resume and not args.checkpoints:
        raise ValueError("--resume goes on from a checkpoint: name its folder with --checkpoints")
    trained = train_model(
        args.bags,
        args.out,
        from_yaml(config, args.config) if args.config else config(),
        remap=args.remap,
        truth=args.truth,
        say=(lambda _: None) if args.quiet else print,
        progress=not args.quiet and sys.stderr.isatty(),
        command=args.command_line,
        **more,
    )
    if not args.quiet:
        for line in held_out(trained.contract.metrics):
            print(f"held out: {line}")
        print(f"nn_estimation info {trained.path} shows what is in it")
    return 0


def progress(args: Namespace) -> Callable[[str], None] | None:
    """Where an evaluation says what it is at."""
    return None if args.quiet or args.json else lambda text: print(text, file=sys.stderr)


def present(
    args: Namespace,
    evaluation: Evaluation[Any],
    title: str,
    verdict: str,
    pictures: Callable[[], Sequence[Picture]],
    percent: float | None,
    facts: Mapping[str, str] | None = None,
) -> int:
    """Print an evaluation, and write its report where one is asked for.

    Args:
        args: of the command line.
        evaluation: of the wing.
        title: of the report; the names of the recordings are added.
        verdict: one sentence.
        pictures: draws those of the report.
        percent: by which the network is better, for `--require`; None where nothing can be said.
        facts: into the report, besides model and command line.

    Returns:
        The exit code.
    """
    from nn_estimation.inference import Model
    from nn_estimation.report import Report, text_table, write

    if args.json:
        print(json.dumps(evaluation.results), flush=True)
    else:
        print(text_table(evaluation.results))
        for note in evaluation.notes:
            print(f"note: {note}")
    page = ""
    try:
        if args.report:
            title = f"{title}: {', '.join(evaluation.traces)}"
            model = {"model": str(args.model), "sha256": Model.load(args.model).sha256}
            made = {**model, **(facts or {}), "command": args.command_line}
            report = Report(title, verdict, evaluation.results, pictures(), made, evaluation.notes)
            page = f" · {write(report, args.report)}"
    finally:
        if not args.json:
            print(verdict + page, flush=True)
    return 0 if args.require is None or (percent is not None and percent >= args.require) else 1


def configured(
    args: Namespace, node: str, parameters: Sequence[Parameter], without: Mapping[str, Any]
) -> dict[str, Any]:
    """Values by name of a node's parameters.

    Args:
        args: of the command line.
        node: its name.
        parameters: of it.
        without: values that are no defaults, where there is no file of parameters.

    Raises:
        ParameterError: see `from_file`.
    """
    if args.params:
        return from_file(args.params, node, parameters)
    return {**{parameter.name: parameter.default for parameter in parameters}, **without}


def chosen(args: Namespace, setups: Mapping[str, S], otherwise: str = "network") -> S:
    """The setup of the method that is asked for.

    Args:
        args: of the command line.
        setups: by method.
        otherwise: the method where none is asked for.

    Raises:
        ValueError: there is no such method.
    """
    method = args.method or otherwise
    if method not in setups:
        raise ValueError(f"--method {method} is not of {args.task}: choose one of {', '.join(setups)}")
    return setups[method]


def say_replayed(
    args: Namespace,
    added: Mapping[str, int],
    what: str,
    health: Iterable[tuple[str, str, Mapping[str, object]]] = (),
) -> None:
    """Print what a replay added, and what was wrong besides input that was not used.

    Args:
        args: of the command line.
        added: number of messages by topic.
        what: they are.
        health: of the stream at the end.
    """
    if args.quiet:
        return
    for topic, count in added.items():
        print(f"{count:8d}  {topic}")
    for aspect, problem, _ in health:
        if problem and aspect != "input":
            print(f"{aspect}: {problem}")
    print(f"{args.bag} and its {what} are in {args.out}")
