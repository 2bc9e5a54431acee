"""Acceptance on one CUDA card in some twenty minutes, or its rehearsal on a CPU: `nox -s gpu`."""
