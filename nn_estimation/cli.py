"""The command line: import, train, evaluate, replay, info, bench, demo, play, record."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from nn_estimation import __version__
from nn_estimation.outputs import check_folder

TASKS = ("uwb", "dead_reckoning", "attitude")  # each a wing with a module `commands`
SETS = ("lias", "hanyang", "starloc", "util", "kitti", "euroc", "comma", "broad", "repoimu")
DEMOS = ("uwb", "dead_reckoning", "attitude")  # each a wing with a module `demo`
BENCHES = ("inference", "uwb", "dead_reckoning", "attitude", "heads")
USED_WRONGLY = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0, 1 where a bar was not met, 2 where the command was used wrongly.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    args = parser.parse_args(given)
    if not hasattr(args, "run"):
        parser.print_help()
        return USED_WRONGLY
    args.command_line = " ".join(["nn_estimation", *given])
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        return args.run(args)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0
    except ModuleNotFoundError as error:
        print(f"nn_estimation: {_missing(error)}", file=sys.stderr)
        return USED_WRONGLY
    except (ValueError, OSError, RuntimeError) as error:
        # Every error class of the package derives from these and says what to do.
        print(f"nn_estimation: {error}", file=sys.stderr)
        return USED_WRONGLY


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nn_estimation",
        description="Small neural networks inside classical state estimators, for ROS 2.",
    )
    parser.add_argument("--version", action="version", version=f"nn_estimation {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def add(name: str, text: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        command.set_defaults(run=run)
        return command

    imports = add("import", "turn a public data set into bags", _import)
    imports.add_argument("set", choices=SETS)
    imports.add_argument("source", help="folder of the data set")
    imports.add_argument("--out", required=True, help="folder that gets one bag a recording")
    imports.add_argument("--only", default="*", help="recordings that match, such as 'static_*'")

    train = add("train", "train a model on bags with ground truth", _of_task("train"))
    train.add_argument("task", choices=TASKS)
    train.add_argument("bags", nargs="+", metavar="BAG")
    train.add_argument("--out", required=True, help="ONNX file to write")
    train.add_argument("--config", help="YAML file, see docs/training.md")
    train.add_argument("--checkpoints", help="folder to resume from after an interruption")
    train.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    train.add_argument("--logs", help="folder for TensorBoard")

    evaluate = add(
        "evaluate", "compare all methods of a model on bags with ground truth", _of_task("evaluate")
    )
    evaluate.add_argument("task", choices=TASKS)
    evaluate.add_argument("bags", nargs="+", metavar="BAG")
    evaluate.add_argument("--model", required=True, help="ONNX file")
    evaluate.add_argument("--report", help="folder for index.html, the pictures and results.json")
    evaluate.add_argument("--json", action="store_true", help="print results.json and nothing else")
    evaluate.add_argument(
        "--require",
        type=float,
        metavar="PERCENT",
        help="exit 1 unless network is so far below affine (uwb), tuned (dead_reckoning) or vqf (attitude)",
    )

    replay = add("replay", "write a bag with what the node would have published", _of_task("replay"))
    replay.add_argument("task", choices=TASKS)
    replay.add_argument("bag", metavar="BAG")
    replay.add_argument("--model", required=True, help="ONNX file")
    replay.add_argument("--out", required=True, help="folder of the new bag")
    replay.add_argument("--method", help="one of those that evaluate prints; default network")
    replay.add_argument(
        "--aid-for", type=_seconds, metavar="S", help="dead_reckoning: hear the aiding for S seconds only"
    )
    replay.add_argument(
        "--params",
        metavar="FILE",
        help="parameter file of the node, as ros2 takes it; other options win over it",
    )

    for command in (train, evaluate, replay):
        _add_remap(command, "the bags")
        command.add_argument("--anchors", metavar="FILE", help="YAML file; default: the layout in the bag")
        command.add_argument("--quiet", action="store_true", help="say nothing while working")
    for command in (train, evaluate):
        command.add_argument("--truth", metavar="TOPIC", help="true Odometry; default ground_truth/odometry")

    info = add("info", "show what a model or a bag holds", _info)
    info.add_argument("file")

    bench = add("bench", "measure speed on this machine, or compare heads", _bench)
    bench.add_argument("what", nargs="?", choices=BENCHES, default="inference")
    bench.add_argument("--quick", action="store_true", help="heads: one seed, half the passes")
    bench.add_argument(
        "--data",
        metavar="DIR",
        help="heads: of train.npz and test.npz; default attitude/shapenet_airplane below "
        "NN_ESTIMATION_DATA or ../shared/data",
    )

    demo = add("demo", "simulated flight, drive and handling, live nodes, before and after", _demo)
    demo.add_argument("task", nargs="?", choices=DEMOS, help="only this one")
    demo.add_argument("--directory", default="demo", help="where the bags and the report go")

    play = add("play", "play a bag on this machine's topics", _play)
    play.add_argument("bag")
    play.add_argument("--rate", type=float, default=1.0, help="times real time")
    play.add_argument("--loop", action="store_true")
    play.add_argument(
        "--topics", nargs="*", action="extend", help="only these, after the bag; may be given again"
    )
    _add_remap(play, "the bag")

    record = add("record", "record topics into a bag until Ctrl-C", _record)
    record.add_argument("out")
    record.add_argument("topics", nargs="+", metavar="TOPIC")
    record.add_argument("--anchors", metavar="FILE", help="YAML file that the bag carries from then on")
    record.add_argument("--seconds", type=_seconds)
    return parser


def _add_remap(command: argparse.ArgumentParser, bags: str) -> None:
    command.add_argument(
        "--remap",
        type=_remap,
        nargs="*",
        action="extend",
        default=[],
        metavar="A:=B",
        help=f"topic names, after {bags}; may be given again",
    )


def _remap(text: str) -> tuple[str, str]:
    before, separator, after = text.partition(":=")
    if not (before and separator and after):
        raise argparse.ArgumentTypeError(f"{text!r}: expected from:=to")
    return before, after


def _seconds(text: str) -> float:
    if not float(text) >= 0.0:
        raise argparse.ArgumentTypeError(f"{text!r}: expected seconds, 0 or more")
    return float(text)


def _of_task(command: str) -> Callable[[argparse.Namespace], int]:
    def run(args: argparse.Namespace) -> int:
        args.remap = dict(args.remap)
        if command == "evaluate" and args.report:
            check_folder(args.report)
        return getattr(importlib.import_module(f"nn_estimation.{args.task}.commands"), command)(args)

    return run


def _missing(error: ModuleNotFoundError) -> str:
    """Say which extra brings a module."""
    name = (error.name or "").split(".")[0]
    extras = {
        "torch": "train",
        "sklearn": "train",
        "tqdm": "train",
        "onnxscript": "train",
        "onnxruntime": "cpu",
        "vqf": "peers",
    }
    extra = extras.get(name, "ros" if name == "rclpy" or name.endswith("_msgs") else None)
    if extra is None:
        return str(error)
    ros = ", or source a ROS 2 installation" if extra == "ros" else ""
    return f"{name} is not installed: pip install 'nn_estimation[{extra}]'{ros}"


def _import(args: argparse.Namespace) -> int:
    from nn_estimation.datasets.registry import import_set

    for name, path in import_set(args.set, args.source, args.out, args.only):
        print(f"{name} -> {path}", flush=True)
    return 0


def _info(args: argparse.Namespace) -> int:
    from nn_estimation.info import describe

    print(describe(args.file))
    return 0


def _bench(args: argparse.Namespace) -> int:
    if args.what == "heads":
        return _bench_heads(args)
    if args.quick or args.data:
        raise ValueError("--quick and --data belong to bench heads")
    from nn_estimation.shipped import default_model

    module, models = {
        "inference": ("nn_estimation.inference_speed", ["uwb_bias.onnx"]),
        "uwb": ("nn_estimation.uwb.speed", ["uwb_demo.onnx"]),  # of the simulated room
        "dead_reckoning": ("nn_estimation.dead_reckoning.speed", ["dead_reckoning.onnx"]),
        "attitude": ("nn_estimation.attitude.speed", ["attitude.onnx"]),
    }[args.what]
    print(importlib.import_module(module).report(*map(default_model, models)))
    return 0


def _bench_heads(args: argparse.Namespace) -> int:
    from nn_estimation.attitude.heads import clouds, comparison

    effort = comparison.QUICK if args.quick else comparison.FULL
    for line in comparison.report(args.data or clouds.default_folder(), effort):
        print(line, flush=True)
    return 0


def _demo(args: argparse.Namespace) -> int:
    from nn_estimation.demo import run

    tasks = [args.task] if args.task else DEMOS
    makers = [importlib.import_module(f"nn_estimation.{task}.demo").show for task in tasks]
    return run(makers, args.directory)


def _play(args: argparse.Namespace) -> int:
    from nn_estimation.ros.player import play

    count = play(args.bag, rate=args.rate, loop=args.loop, topics=args.topics, remap=dict(args.remap))
    print(f"{count} messages played")
    return 0


def _record(args: argparse.Namespace) -> int:
    custom = {}
    if args.anchors:
        from nn_estimation.uwb.layout import Layout

        custom["layout"] = Layout.from_yaml(Path(args.anchors)).to_yaml()
    from nn_estimation.ros.recorder import record

    for topic, count in record(args.out, args.topics, seconds=args.seconds, custom_data=custom).items():
        print(f"{count:8d}  {topic}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
