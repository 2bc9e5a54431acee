"""What the door offers: a command is a file here, with its options and what it does.

A command's module holds `Options`, a frozen dataclass whose fields are the command's arguments,
and a function of the module's own name that takes them. Summaries stand here as well, so that
`smol --help` need not import any command.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A command of the door."""

    module: str
    """The file in this folder, and the function in it."""
    summary: str
    """The first sentence of its `Options`' docstring."""


@dataclass(frozen=True)
class CommandGroup:
    """A word that other commands stand below, as `data` in `smol data prepare`."""

    summary: str
    commands: Mapping[str, Command | CommandGroup]


PREPARE = CommandGroup(
    "Write a prepared folder for `smol run --data`.",
    {
        "pretrain": Command("data_pretrain", "Prepare text for pretraining."),
        "sft": Command("data_sft", "Prepare conversations for fine-tuning."),
        "recipe": Command("data_recipe", "Prepare the data that a recipe reads."),
        "python-edu": Command("data_python_edu", "Download the Python files of python-edu."),
    },
)

DOOR = CommandGroup(
    "Train small language models side by side; print a card whose numbers can be traced.",
    {
        "list": Command("list_recipes", "List the recipes, one line each."),
        "show": Command("show", "Print what a recipe would run, and start nothing."),
        "run": Command("run", "Run a recipe and say which arm is better."),
        "new": Command("new", "Write a recipe of your own that runs, with comments."),
        "campaign": Command("campaign", "Spend a limited time on the most informative runs."),
        "night": Command("night", "Settle one question in a night, an hour or five dollars."),
        "launch": Command("launch", "Write a job that spends a budget on a machine elsewhere."),
        "compare": Command("compare", "Compare two arms, or two records, with a verdict."),
        "card": Command("card", "Write the model card and its figures from the records."),
        "report": Command("report", "Write the results as one HTML page that needs no network."),
        "watch": Command("watch", "Watch runs while they go on, in a browser or a terminal."),
        "trace": Command("trace", "Say which runs a number of the card comes from."),
        "audit": Command("audit", "Check published claims against arithmetic and physics."),
        "referee": Command("referee", "Judge training scripts that are not ours."),
        "fetch": Command("fetch", "Bring SmolLM2-135M's tokenizer and weights here."),
        "sample": Command("sample", "Continue a prompt with a model."),
        "chat": Command("chat", "Talk with a model, turn by turn."),
        "eval": Command("evaluate", "Measure a model's loss on a text, or its score on tasks."),
        "export": Command("export", "Write a folder that transformers can load."),
        "data": CommandGroup(
            "Prepare data: tokenized, packed, sealed; or look at it.",
            {
                "prepare": PREPARE,
                "show": Command("data_show", "Show what a prepared folder holds."),
                "croissant": Command(
                    "data_croissant", "Describe a prepared folder as data hubs read it."
                ),
            },
        ),
        "records": CommandGroup(
            "Check a results folder, free its disk space, or send its curves elsewhere.",
            {
                "check": Command("records_check", "Check every record of a results folder."),
                "clean": Command("records_clean", "Delete the checkpoints of finished runs."),
                "push": Command("records_push", "Send the curves of finished runs to a tracker."),
            },
        ),
        "bench": CommandGroup(
            "Measure how fast training is on this machine.",
            {"step": Command("bench_step", "Time one update, ours against other code.")},
        ),
        "doctor": Command("doctor", "Say what this machine can run and what is missing."),
    },
)
