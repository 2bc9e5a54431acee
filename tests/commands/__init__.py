"""The answers behind the commands."""
