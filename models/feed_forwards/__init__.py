"""The feed-forwards by name, one file each; nothing else names them.

A file's one public class is called with (config, ops) and maps (b, s, width) to the same; one that
routes tokens gives (the same, `models.routing.Routing`).
"""
