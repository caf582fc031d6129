"""What `nn_estimation train|evaluate|replay dead_reckoning` do."""

from __future__ import annotations

import math
import sys
from argparse import Namespace

from nn_estimation.configuration import from_yaml


def train(args: Namespace) -> int:
    """Bags in, one ONNX file out."""
    from nn_estimation.dead_reckoning.training import DeadReckoningTrainConfig
    from nn_estimation.dead_reckoning.training import train as train_model

    for option in ("anchors", "checkpoints", "logs", "resume"):
        if getattr(args, option):
            raise ValueError(f"--{option} is not for dead_reckoning: leave it out")
    config = from_yaml(DeadReckoningTrainConfig, args.config) if args.config else DeadReckoningTrainConfig()
    trained = train_model(
        args.bags,
        args.out,
        config,
        remap=args.remap,
        truth=args.truth,
        say=(lambda _: None) if args.quiet else print,
        progress=not args.quiet and sys.stderr.isatty(),
        command=args.command_line,
    )
    if not args.quiet:
        for method, found in trained.contract.metrics.items():
            t_rel, r_rel = found["t_rel_percent"], found["r_rel_deg_per_km"]
            print(f"held out: {method:10s} t_rel {t_rel:.3f} %, r_rel {r_rel:.3f} deg/km")
        print(f"nn_estimation info {trained.path} shows what is in it")
    return 0


def replay(args: Namespace) -> int:
    """Write a bag with what the node would have published beside what is in it."""
    from nn_estimation.bags import BagReader
    from nn_estimation.dead_reckoning.drive import TRUTH_TOPIC
    from nn_estimation.dead_reckoning.health import health
    from nn_estimation.dead_reckoning.model import METHODS, load_setups
    from nn_estimation.dead_reckoning.replay import write_replay
    from nn_estimation.dead_reckoning.stream import (
        FIX_TOPIC,
        ODOMETRY_TOPIC,
        WHEEL_TOPIC,
        DeadReckoningStream,
        StreamParams,
    )
    from nn_estimation.inference import Model

    if args.anchors:
        raise ValueError("--anchors is not for dead_reckoning: leave it out")
    method = args.method or "network"
    if method not in METHODS:
        raise ValueError(f"--method {method} is not of dead_reckoning: choose one of {', '.join(METHODS)}")
    setup = load_setups(Model.load(args.model))[method]
    with BagReader(args.bag, args.remap) as bag:
        alias, aid_for = {}, math.inf if args.aid_for is None else args.aid_for
        aiding = next((name for name in (ODOMETRY_TOPIC, FIX_TOPIC) if name in bag.topics), None)
        if aiding is None and TRUTH_TOPIC in bag.topics:
            aiding, alias = ODOMETRY_TOPIC, {TRUTH_TOPIC: ODOMETRY_TOPIC}
            aid_for = args.aid_for or 0.0  # the truth is for the start alone, unless asked for
        if aiding is None:
            has = ", ".join(sorted(bag.topics))
            raise ValueError(
                f"{args.bag} has no {ODOMETRY_TOPIC}, {FIX_TOPIC} or {TRUTH_TOPIC} to start from: {has}"
            )
        latitude = bag.custom_data.get("latitude_deg")
        params = StreamParams(
            aiding,
            wheel_speed=WHEEL_TOPIC in bag.topics,
            latitude=None if latitude is None else math.radians(float(latitude)),
        )
        stream = DeadReckoningStream(setup, params)
        counts = write_replay(bag, stream, args.out, aid_for, alias)
    if not args.quiet:
        for topic, count in counts.items():
            print(f"{count:8d}  {topic}")
        for aspect, problem, _ in health(stream):
            if problem and aspect != "input":
                print(f"{aspect}: {problem}")
        print(f"{args.bag} and its odometry are in {args.out}")
    return 0
