"""Acceptance on one CUDA card in under ten minutes, or its rehearsal on a CPU: `nox -s gpu`."""
