"""What `nn_estimation train|evaluate|replay dead_reckoning` do."""

from __future__ import annotations

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
