"""The attentions by name, one file each; nothing else names them.

A file's one public class is called with (config, ops) and maps (b, s, width) to the same, given the
rotary angles, the documents' borders and its layer's cache.
"""
