"""`smol watch`: look on while runs go on, in a browser or a terminal. Reads alone. No torch."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from harness.commands import places
from harness.commands.options import JsonOption, ReadResultsOption
from harness.errors import RequestError

if TYPE_CHECKING:
    from harness.html.watch import Watch

PORT = 8435


@dataclass(frozen=True)
class Options:
    """Watch runs while they go on, in a browser or a terminal.

    Serves the report on this machine alone, with what runs now. It only reads: close or kill it
    at any time.
    """

    results: ReadResultsOption = None
    port: Annotated[
        int, typer.Option("--port", metavar="N", help="The port to serve on; 0 is any free one.")
    ] = PORT
    in_terminal: Annotated[
        bool, typer.Option("--terminal", help="Draw a table with sparklines here instead.")
    ] = False
    as_json: JsonOption = False


def watch(options: Options) -> None:
    """Serve, or draw, until interrupted. Raises RequestError for a port that is taken."""
    from harness.html.watch import Watch

    if not 0 <= options.port <= 65_535:
        raise RequestError(f"--port {options.port}: a port is a number from 0 to 65535")
    # Before the first record there is no folder, and yet something to see.
    try:
        folder = places.existing_results(options.results)
    except RequestError:
        folder = places.results_folder(None, options.results)
        if not places.checkpoints_folder(folder).is_dir():
            raise
    watched = Watch(folder, places.checkpoints_folder(folder))
    if options.as_json:
        print(json.dumps(watched.state(), indent=1))
    elif options.in_terminal:
        _terminal(watched)
    else:
        from harness.html.server import Server

        server = Server(watched, options.port)
        print(f"{server.url}  shows {folder}; Ctrl-C ends it, and nothing else", flush=True)
        with contextlib.suppress(KeyboardInterrupt), server:
            server.serve_forever(poll_interval=0.2)


def _terminal(watched: Watch) -> None:
    """Again every second on a terminal; once where there is none."""
    from rich.console import Console
    from rich.live import Live

    from harness.html.terminal import drawn

    console = Console()
    if not console.is_terminal:
        console.print(drawn(watched.state()))
        sys.stdout.flush()
        return
    with contextlib.suppress(KeyboardInterrupt), Live(console=console, screen=False) as live:
        while True:
            live.update(drawn(watched.state()))
            time.sleep(1.0)
