"""Others' ways to do what the harness does, as programs of their own."""
