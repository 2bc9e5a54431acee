"""Parameters told apart by the roles that the model declares, never by name."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from models.roles import Role

DECAYED = frozenset({"matrix", "expert", "router"})
"""Roles that weight decay touches: never norms, never embeddings or the head."""

Named = dict[str, nn.Parameter]


def decayed_and_spared(
    parameters: Mapping[str, nn.Parameter], roles: Mapping[str, Role]
) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The parameters that weight decay touches, and the others."""
    decayed = [p for name, p in parameters.items() if roles[name].kind in DECAYED]
    spared = [p for name, p in parameters.items() if roles[name].kind not in DECAYED]
    return decayed, spared


def inner_and_rest(
    parameters: Mapping[str, nn.Parameter], roles: Mapping[str, Role]
) -> tuple[Named, Named]:
    """The matrices inside blocks, which Muon takes, and all others, by their names."""
    kinds = ("matrix", "expert")
    inner = {name: parameters[name] for name, role in roles.items() if role.kind in kinds}
    rest = {name: p for name, p in parameters.items() if name not in inner}
    return inner, rest
