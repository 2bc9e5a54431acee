"""A language model of ours as lm-evaluation-harness wants one, by its documented model interface.

Text in, log-likelihoods and text out, as its own `HFLM` does it for transformers' models: the same
tokens, the same truncation from the left, the same windows. Needs the package `lm_eval`; may not
be imported where that is not installed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from tokenizers import Tokenizer

from harness.data.pieces import Pieces
from harness.errors import RequestError
from models.dtypes import reduction_dtype
from models.generate import GREEDY, Sampling, generate
from models.lm import LanguageModel

Request = tuple[tuple[str, str] | None, list[int], list[int]]
"""(context and continuation as text, if it is cached, and both as tokens)."""

_TOKENS_AT_ONCE = 4096
"""Padding included."""
_LOGITS_AT_ONCE = 1024
"""Positions whose logits are in memory together: 200 MB of fp32 at 49,152 tokens."""
MAX_NEW_TOKENS = 256
"""Where a task does not say, as in `HFLM`."""
_GENERATION = {"until", "do_sample", "temperature", "top_k", "top_p"}


_MARK = "\ue002end\ue003 "
"""What nobody says: it stands where a message that is to be continued breaks off."""
_BOUNDS = {"max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens"}


class HarnessModel(TemplateLM):
    """A model with its tokenizer, for `lm_eval.evaluate`."""

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        *,
        context: int,
        start: int,
        stops: frozenset[int],
        chat: Any = None,
        adds: bool = False,
    ) -> None:
        """`tokenizer` must know special tokens by their names (a prompt may hold them); `start`
        stands before a text without context; a token of `stops` ends a generation; `chat` writes
        conversations (`ChatFormat`), where the tokenizer has a template; `adds` says whether the
        tokenizer's own additions (a first token, mostly) stand around a text."""
        super().__init__()
        self.model, self.encoder, self.chat = model, tokenizer, chat
        self.max_length, self._start, self._stops = context, start, stops
        self._adds = adds
        self.end: str | None = None
        """The text of the tokenizer's end, at which `HFLM` stops also where it is written out."""
        self.refuses: str | None = None
        """Why this model cannot be asked to generate as `HFLM` would; it can be scored."""
        self._device = model.embedding.weight.device

    @property
    def eot_token_id(self) -> int:
        """The token before a text without context, too."""
        return self._start

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **others: Any
    ) -> list[int]:
        """Token ids. What the tokenizer adds stands around a text as in `HFLM`: unless told
        otherwise, and not before one that begins with the first token already."""
        adds = self._adds if add_special_tokens is None else self._adds and add_special_tokens
        if add_special_tokens is None and adds:
            first = self.encoder.decode([self.prefix_token_id], skip_special_tokens=False)
            adds = not string.startswith(first)
        ids: list[int] = self.encoder.encode(string, add_special_tokens=adds).ids
        if beyond := [i for i in ids if i >= self.model.config.vocab_size]:
            raise RequestError(
                f"a task's text holds {self.encoder.id_to_token(beyond[0])!r}, which was added to "
                "the tokenizer and has no row in the model"
            )
        return ids

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = True
    ) -> list[tuple[float, bool]]:
        """For each (context, continuation) text: its log-probability, and whether greedy gives
        it."""
        found: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=True)
        return found

    @torch.no_grad()
    def _loglikelihood_tokens(
        self, requests: Sequence[Request], disable_tqdm: bool = False, **others: Any
    ) -> list[tuple[float, bool]]:
        """Of each continuation: its summed log-probability, and whether greedy decoding gives it.

        Sequences of like length are computed together, padding behind them. Raises ValueError for
        a continuation that is empty or longer than the model's context.
        """
        answers: list[tuple[float, bool]] = [(0.0, False)] * len(requests)
        for rows in self._batches(requests):
            inputs, wanted = [], []
            for row in rows:
                _, context, continuation = requests[row]
                if not 0 < len(continuation) <= self.max_length:
                    raise ValueError(
                        f"a continuation of {len(continuation)} tokens; the model sees 1 to "
                        f"{self.max_length}"
                    )
                whole = (context + continuation)[-(self.max_length + 1) :]
                inputs.append(whole[:-1])
                wanted.append(continuation)
            for row, answer in zip(rows, self._score(inputs, wanted), strict=True):
                answers[row] = answer
                if (words := requests[row][0]) is not None:
                    self.cache_hook.add_partial("loglikelihood", words, answer)
        return answers

    def _batches(self, requests: Sequence[Request]) -> Iterator[list[int]]:
        """Indices of requests, longest first, so many that a batch has few tokens."""
        lengths = [min(len(c) + len(w) - 1, self.max_length) for _, c, w in requests]
        order = sorted(range(len(requests)), key=lambda i: -lengths[i])
        while order:
            rows = max(1, _TOKENS_AT_ONCE // max(1, lengths[order[0]]))
            yield order[:rows]
            order = order[rows:]

    def _score(
        self, inputs: Sequence[Sequence[int]], wanted: Sequence[Sequence[int]]
    ) -> Iterator[tuple[float, bool]]:
        """inputs end where the last token of `wanted` is to be predicted."""
        longest = max(map(len, inputs))
        tokens = torch.zeros(len(inputs), longest, dtype=torch.int64)
        for row, ids in enumerate(inputs):
            tokens[row, : len(ids)] = torch.tensor(ids)
        hidden, _ = self.model.hidden(tokens.to(self._device))  # (b, s, width)
        for row, (ids, targets) in enumerate(zip(inputs, wanted, strict=True)):
            first = len(ids) - len(targets)
            total, greedy = 0.0, True
            for start in range(0, len(targets), _LOGITS_AT_ONCE):
                part = torch.tensor(targets[start : start + _LOGITS_AT_ONCE], device=self._device)
                at = first + start
                logits = self.model.logits(hidden[row, at : at + len(part)])  # (n, vocab)
                logprobs = logits.to(reduction_dtype(logits.dtype)).log_softmax(-1)
                total += float(logprobs.gather(1, part[:, None]).sum())
                greedy &= bool((logprobs.argmax(-1) == part).all())
            yield total, greedy

    def loglikelihood_rolling(
        self, requests: Sequence[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """For each text, the log-probability of all its tokens, in windows of the model's context
        that do not overlap, the first after the start token."""
        found = []
        for (text,) in (request.args for request in requests):
            windows = [
                (None, *make_disjoint_window(pair))
                for pair in get_rolling_token_windows(
                    token_list=self.tok_encode(text), prefix_token=self.prefix_token_id,
                    max_seq_len=self.max_length, context_len=1,
                )
            ]  # fmt: skip
            total = sum(score for score, _ in self._loglikelihood_tokens(windows))
            self.cache_hook.add_partial("loglikelihood_rolling", (text,), total)
            found.append(total)
        return found

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        """For each prompt, what follows until a stop string, a stop token or the task's bound; the
        prompt is cut from the left where both do not fit.

        Raises ValueError for a setting that this does not know, and where the model `refuses`.
        """
        if self.refuses:
            raise ValueError(self.refuses)
        found = []
        for text, settings in (request.args for request in requests):
            said = self._continue(text, settings)
            self.cache_hook.add_partial("generate_until", (text, settings), said)
            found.append(said)
        return found

    def _continue(self, text: str, settings: dict[str, Any]) -> str:
        # A bound has several names, and sampling two; the library says which stands above which.
        read = dict(normalize_gen_kwargs(settings, MAX_NEW_TOKENS))
        if unknown := sorted(set(settings) - _BOUNDS - _GENERATION):
            raise ValueError(f"generation settings that are not known here: {', '.join(unknown)}")
        limit = read["max_gen_toks"]
        until = handle_stop_sequences(read["until"], self.end)
        room = self.max_length - limit
        if room < 1:
            raise ValueError(
                f"{limit} new tokens leave no room for a prompt in {self.max_length} tokens"
            )
        tokens = generate(
            self.model, self.tok_encode(text)[-room:] or [self._start], limit,
            Sampling(
                settings.get("temperature", 1.0), settings.get("top_k"), settings.get("top_p")
            ) if read["do_sample"] else GREEDY,
            stop_tokens=self._stops,
        )  # fmt: skip
        pieces, said, whole = Pieces(self.encoder), "", ""
        for token in tokens:
            if token in self._stops:
                break  # its text is none of the answer, as for `HFLM`
            said += (new := pieces.push(token))
            # A special token is none of the answer either, but may be what a task stops at.
            whole += self._special.get(token, new)
            if any(stop in whole for stop in until):  # an empty one at once, as for `HFLM`
                break
        said += pieces.end()
        return min((said.split(stop, 1)[0] for stop in until if stop), key=len, default=said)

    @cached_property
    def _special(self) -> dict[int, str]:
        added = self.encoder.get_added_tokens_decoder()
        return {i: token.content for i, token in added.items() if token.special}

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The conversation as the tokenizer's own template writes it, up to where the assistant
        begins, or else to the end of what it is said to have begun with. As for `HFLM`, without the
        system's turn where the template refuses it."""
        if self.chat is None:
            raise ValueError("the model's tokenizer has no chat template")
        others = [turn for turn in chat_history if turn["role"] != "system"]
        try:
            return self._written(chat_history, add_generation_prompt)
        except RequestError:
            if len(others) == len(chat_history):
                raise
            return self._written(others, add_generation_prompt)

    def _written(self, turns: list[dict[str, str]], asks: bool) -> str:
        if asks:
            return str(self.chat.text(turns, prompt=True))
        *before, last = turns
        begun = [*before, {**last, "content": last["content"] + _MARK}]
        text, mark, after = str(self.chat.text(begun)).rpartition(_MARK.strip())
        if not mark:
            raise ValueError("the chat template does not write what the last message begins with")
        # Without the space behind the mark the template trims contents.
        return text if after.startswith(" ") else text.rstrip()

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """Whether there is one: the tokenizer's folder names it."""
        return None if self.chat is None else str(self.chat.folder)

    @property
    def tokenizer_name(self) -> str:
        """For the library's own cache of requests."""
        return "" if self.chat is None else str(self.chat.folder)
