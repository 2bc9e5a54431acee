"""Compiled graphs: static, few, and all there before a run's second half."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from harness.bench import peers
from harness.records.schema import Compilation, Record
from harness.train import graphs
from models.lm import LanguageModel
from models.presets import model
from recipes import pretrain_sft
from tests.train import inside

MOST = 4


def check(stages: list[inside.Watched]) -> None:
    """Each stage trains on one static graph, and asks for few."""
    for stage in stages:
        assert [g for g in stage.graphs if g[2]], f"{stage.name}: no graph for training"
        assert not [g for g in stage.graphs if g[1]], f"{stage.name}: symbolic sizes"
        assert len(stage.graphs) <= MOST, f"{stage.name}: {stage.graphs}"
        late = [g for g in stage.graphs if g[0] > stage.last // 2]
        assert not late, f"{stage.name}: {late} of {stage.last} updates"
        assert stage.record is not None
        found = stage.record.compilation
        assert (found.graphs, found.breaks, found.uncompiled) == (len(stage.graphs), 0, None)


@pytest.mark.xdist_group("e2e")
def test_each_stage_of_pretrain_sft_trains_on_a_static_graph(tmp_path, monkeypatch):
    monkeypatch.setitem(pretrain_sft.UPDATES, "smoke", (12, 12))
    with inside.logged(monkeypatch) as stages:
        inside.train(tmp_path, "pretrain_sft", "train.tokens=12288")
    assert [stage.name.rpartition("/")[2] for stage in stages] == ["pretrain", "sft"]
    check(stages)


@pytest.mark.xdist_group("e2e")
def test_each_stage_of_dense_vs_moe_trains_on_a_static_graph(tmp_path, monkeypatch):
    with inside.logged(monkeypatch) as stages:
        inside.train(tmp_path, "dense_vs_moe", "train.tokens=24576")
    assert {stage.name.split("/")[1] for stage in stages} >= {"dense", "moe-active", "moe-total"}
    check(stages)


def test_a_run_that_was_to_be_compiled_and_was_not_says_so_once(monkeypatch):
    counted = [(0, 0, 0)]
    monkeypatch.setattr(graphs, "_counted", lambda: counted[0])
    watch = graphs.CompileWatch("blocks")
    assert watch.look(1) == "train.compile is blocks, and nothing was compiled"
    assert watch.look(2) is None
    assert watch.found().uncompiled == "train.compile is blocks, and nothing was compiled"
    counted[0] = (2, 0, 0)
    assert watch.look(3) is None
    assert watch.found() == Compilation(graphs=2, breaks=0, last_update=3, uncompiled=None)
    counted[0] = (2, 3, 0)
    assert watch.found().uncompiled.startswith("3 graph breaks")
    assert graphs.CompileWatch("eager").look(1) is None


def test_the_limit_is_seen_in_torchs_own_counters():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()

    @torch.compile(backend="eager", dynamic=False)
    def f(x):
        return x + 1

    with torch._dynamo.config.patch(recompile_limit=2):
        for size in (3, 4, 5):
            f(torch.ones(size))
    made, broken, limits = graphs._counted()
    assert (made, broken) == (0, 0)  # not the model's
    assert limits >= 1
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()


def test_an_optimizers_graphs_do_not_hide_that_the_model_has_none():
    """On a GPU Muon's step is compiled, and attention within documents."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = torch.compile(lambda x: x + 1, backend="eager", dynamic=False)
    watch = graphs.CompileWatch("blocks")
    compiled(torch.ones(3, 2))
    assert watch.look(1) == "train.compile is blocks, and nothing was compiled"
    of_model = graphs._either(compiled, lambda x: x, (4, 2), (5, 2))
    of_model(torch.ones(4, 2))
    of_model(torch.ones(4, 2))
    assert watch.found().graphs == 1
    assert watch.found().uncompiled is None
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()


@pytest.mark.parametrize(("autotune", "mode"), [(False, None), (True, graphs.AUTOTUNED)])
def test_a_gpu_tries_several_implementations_only_where_it_is_asked_to(autotune, mode, monkeypatch):
    """Minutes for each model."""
    seen = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **how: seen.append(how))
    with torch.device("meta"):
        built = LanguageModel(model("dense", "smoke"))
    graphs.build(built, "blocks", torch.device("cuda"), autotune=autotune)
    assert seen == [{"mode": mode, "dynamic": False}] * len(built.blocks)


def test_a_bench_compiles_as_a_run_does(monkeypatch):
    seen = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **how: seen.append(how))
    monkeypatch.setattr(peers, "build_optimizers", lambda *_: None)
    with torch.device("meta"):
        built = LanguageModel(model("dense", "smoke"))
    setting = SimpleNamespace(compile="blocks", optim=None)
    player = SimpleNamespace(model=built, setting=setting, device=torch.device("cuda"))
    peers.Ours.prepare(player)  # type: ignore[arg-type]
    assert seen == [{"mode": None, "dynamic": False}] * len(built.blocks)


def test_what_no_graph_was_made_for_takes_the_plain_way():
    call = graphs._either(lambda *_: "fast", lambda *_: "plain", (4, 8), (2, 8))
    assert call(torch.ones(4, 8, 3)) == "fast"
    assert call(torch.ones(2, 8, 3)) == "plain"  # validation's shape, with gradients
    with torch.no_grad():
        assert call(torch.ones(2, 8, 3)) == "fast"
        assert call(torch.ones(4, 8, 3)) == "plain"
        assert call(torch.ones(1, 8, 3)) == "plain"


def test_records_from_before_have_none():
    assert Record.model_fields["compilation"].default is None
