"""`python -m harness`: the same door as `smol`."""

from harness.cli import main

main()
