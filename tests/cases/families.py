"""Chat templates of public model families, written after their documented behaviour.

Each is ours: what it does to roles, white space, system turns and thinking is the family's; no text
of theirs is copied. `«` and `»` stand where a template may have tags around what the assistant
says; without them the same template has no tags.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """A template, and the special tokens that it needs."""

    template: str
    special: tuple[str, ...]
    bos: str
    eos: str
    system: bool = True
    """Whether it takes a system turn."""
    refused: str = ""
    """What the one line says, where the family's turns have no end that could be learnt."""

    def source(self, *, tagged: bool) -> str:
        """The template's text."""
        opens, closes = ("{% generation %}", "{% endgeneration %}") if tagged else ("", "")
        return self.template.replace("«", opens).replace("»", closes)


def turns(user: str, assistant: str, system: str = "", head: str = "", ask: str = "") -> str:
    """A template that writes each role's turn as given; `ask` is what asks the assistant."""
    return (
        head + "{% for m in messages %}{% if m.role == 'user' %}" + user
        + "{% elif m.role == 'assistant' %}" + assistant
        + "{% elif m.role == 'system' %}" + (system or "{{ raise_exception('no system turn') }}")
        + "{% endif %}{% endfor %}{% if add_generation_prompt %}" + ask + "{% endif %}"
    )  # fmt: skip


def chatml(head: str = "", said: str = "{{ m.content }}", open: str = "") -> str:
    """Turns between <|im_start|> and <|im_end|>."""
    other = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    mine = "<|im_start|>assistant\n«" + open + said + "<|im_end|>»{{ '\\n' }}"
    return turns(other, mine, other, head, "<|im_start|>assistant\n")


def default(words: str) -> str:
    """A system turn of the template's own, where the conversation has none."""
    return (
        "{% if messages[0].role != 'system' %}<|im_start|>system\n" + words
        + "<|im_end|>\n{% endif %}"
    )  # fmt: skip


def alternating(body: str, merge: str) -> str:
    """The system's words stand in the first user's turn, and roles must take turns: `S` in `body`
    is what is merged."""
    return (
        "{% if messages[0].role == 'system' %}{% set first = messages[0].content %}"
        "{% set rest = messages[1:] %}{% else %}{% set first = '' %}{% set rest = messages %}"
        "{% endif %}{% for m in rest %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('roles must take turns') }}{% endif %}"
        "{% set S = " + merge + " if loop.first and first else '' %}" + body + "{% endfor %}"
    )  # fmt: skip


IM = ("<|im_start|>", "<|im_end|>")
L3 = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
      "<|end_of_text|>")  # fmt: skip
HEADER = "<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
ASK3 = "<|start_header_id|>assistant<|end_header_id|>\n\n"


def llama3(head: str, said: str = "{{ m.content | trim }}") -> str:
    """Turns with a header, contents without white space around them."""
    other = HEADER + said + "<|eot_id|>"
    mine = HEADER + "«" + said + "<|eot_id|>»"
    return turns(other, mine, other, "{{ bos_token }}" + head, ASK3)


INST = "{% if m.role == 'user' %}"
LLAMA2 = alternating(
    INST + "{{ bos_token + '[INST] ' + (S + m.content).strip() + ' [/INST]' }}{% else %}"
    "{{ ' ' }}«{{ m.content.strip() + ' ' + eos_token }}»{% endif %}",
    "'<<SYS>>\\n' + first + '\\n<</SYS>>\\n\\n'",
)
MISTRAL1 = "{{ bos_token }}" + alternating(
    INST + "{{ '[INST] ' + S + m.content + ' [/INST]' }}{% else %}"
    "«{{ m.content + eos_token }}»{% endif %}", "first + '\\n\\n'",
)  # fmt: skip
MISTRAL3 = "{{ bos_token }}" + alternating(
    INST + "{{ '[INST] ' + (first + '\\n\\n' if loop.last and first else '') + m.content + "
    "'[/INST]' }}{% else %}{{ ' ' }}«{{ m.content | trim }}{{ eos_token }}»{% endif %}", "''",
)  # fmt: skip
TEKKEN = "{{ bos_token }}" + turns(
    "[INST]{{ m.content }}[/INST]", "«{{ m.content + eos_token }}»",
    "[SYSTEM_PROMPT]{{ m.content }}[/SYSTEM_PROMPT]",
)  # fmt: skip
GEMMA = (
    "{{ bos_token }}"
    + alternating(
        "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
        "{% if m.role == 'assistant' %}«{{ m.content | trim }}<end_of_turn>»{% else %}"
        "{{ S + (m.content | trim) }}<end_of_turn>{% endif %}{{ '\\n' }}", "first + '\\n\\n'",
    )
    + "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)  # fmt: skip
GEMMA_PLAIN = GEMMA.replace(
    "{{ bos_token }}{%", "{{ bos_token }}{% if messages[0].role == 'system' %}"
    "{{ raise_exception('no system turn') }}{% endif %}{%", 1,
)  # fmt: skip
# Thinking of earlier turns is dropped; the last answer always shows a place for it.
QWEN3 = (
    "{% set ns = namespace(last=-1) %}{% for m in messages %}{% if m.role == 'user' %}"
    "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}{% for m in messages %}"
    "{% if m.role == 'assistant' %}{% set c = m.content %}{% set r = m.reasoning_content or '' %}"
    "{% if not r and '</think>' in c %}"
    "{% set r = c.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}"
    "{% set c = c.split('</think>')[-1].lstrip('\\n') %}{% endif %}<|im_start|>assistant\n"
    "«{% if loop.index0 > ns.last %}"
    "{{ '<think>\\n' + r.strip('\\n') + '\\n</think>\\n\\n' + c.lstrip('\\n') }}"
    "{% else %}{{ c }}{% endif %}<|im_end|>»{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "<|im_end|>{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}"
    "{% endif %}"
)
R1 = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}"
    "{% elif m.role == 'user' %}<｜User｜>{{ m.content }}{% else %}<｜Assistant｜>"
    "«{{ m.content.split('</think>')[-1] }}{{ eos_token }}»{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<｜Assistant｜><think>\n{% endif %}"
)
DEEPSEEK = ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>")
SMOLLM3 = (
    "{% set today = strftime_now('%d %B %Y') %}{% set mode = reasoning_mode | default('/think') %}"
    "<|im_start|>system\n## Metadata\n\nDate: {{ today }}\nMode: {{ mode }}\n\n"
    "{% if messages[0].role == 'system' %}{{ messages[0].content.rstrip() }}{% endif %}"
    "<|im_end|>\n{% for m in messages %}{% if m.role == 'user' %}<|im_start|>user\n"
    "{{ m.content }}<|im_end|>\n{% elif m.role == 'assistant' %}<|im_start|>assistant\n"
    "«{{ m.content.lstrip('\\n') }}<|im_end|>»{{ '\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TOOLS = "{% if tools is not none and tools %}{{ tools | tojson(indent=2) }}{% endif %}"
COMMAND = "<|START_OF_TURN_TOKEN|><|{}_TOKEN|>"
PIPES = "<|{{ m.role }}|>\n{{ m.content }}"


def plain(user: str, mine: str, end: str, between: str = "", **more: str) -> str:
    """Names before what is said, and a token that ends the assistant's turn."""
    return turns(
        user + "{{ m.content }}" + more.get("after", ""),
        mine.rstrip() + "«" + mine[len(mine.rstrip()) :] + "{{ m.content }}" + end + "»" + between,
        more.get("system", "{{ m.content }}") + more.get("after_system", ""),
        more.get("head", ""), mine.rstrip(),
    )  # fmt: skip


EOS = "{{ eos_token }}"
END = ("<|endoftext|>",)
FAMILIES = {
    "smollm1": Family(chatml(), IM, "<|im_start|>", "<|im_end|>"),
    "smollm2": Family(chatml(default("You help.")), IM, "<|im_start|>", "<|im_end|>"),
    "smollm3": Family(SMOLLM3, IM, "<|im_start|>", "<|im_end|>"),
    "qwen1.5": Family(chatml(default("You help.")), IM, *END, "<|im_end|>"),
    "qwen2": Family(chatml(default("Be kind.")), IM, *END, "<|im_end|>"),
    "qwen2.5": Family(chatml(TOOLS + default("Made here.")), IM, *END, "<|im_end|>"),
    "qwen3": Family(QWEN3, IM, *END, "<|im_end|>"),
    "yi": Family(chatml("{% if not add_generation_prompt is defined %}{% endif %}"), IM,
                 "<|startoftext|>", "<|im_end|>"),
    "hermes": Family(chatml("{{ bos_token }}"), IM, "<|begin_of_text|>", "<|im_end|>"),
    "internlm2": Family(chatml("{{ bos_token }}"), IM, "<s>", "</s>"),
    "minicpm3": Family(chatml(said="{{ m['content'] }}"), IM, "<s>", "<|im_end|>"),
    "stablelm2": Family(chatml(open=""), IM, *END, *END),
    "orca-trims": Family(chatml(said="{{ m.content | trim }}"), IM, "<s>", "<|im_end|>"),
    "llama2": Family(LLAMA2, (), "<s>", "</s>"),
    "llama3": Family(llama3(""), L3, L3[0], "<|eot_id|>"),
    "llama3.1": Family(
        llama3("<|start_header_id|>system<|end_header_id|>\n\nKnown until: 2023\nToday: "
               "{{ date_string | default('26 Jul 2024') }}\n\n<|eot_id|>" + TOOLS),
        L3, L3[0], "<|eot_id|>"),
    "llama3.2": Family(
        llama3("{% if strftime_now is defined %}{% set day = strftime_now('%d %b %Y') %}"
               "{% else %}{% set day = '26 Jul 2024' %}{% endif %}{{ HEAD }}Today: {{ day }}\n"),
        L3, L3[0], "<|eot_id|>"),
    "mistral-v1": Family(MISTRAL1, (), "<s>", "</s>"),
    "mixtral": Family(MISTRAL1.replace("'[INST] '", "' [INST] '"), (), "<s>", "</s>"),
    "mistral-v3": Family(MISTRAL3, ("[INST]", "[/INST]"), "<s>", "</s>"),
    "mistral-tekken": Family(
        TEKKEN, ("[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"), "<s>", "</s>"),
    "gemma1": Family(GEMMA_PLAIN, ("<start_of_turn>", "<end_of_turn>"), "<bos>", "<eos>", False),
    "gemma2": Family(GEMMA_PLAIN, ("<start_of_turn>", "<end_of_turn>"), "<bos>", "<eos>", False),
    "gemma3": Family(GEMMA, ("<start_of_turn>", "<end_of_turn>"), "<bos>", "<eos>"),
    "phi2": Family(turns("Instruct: {{ m.content }}\n", "Output:« {{ m.content }}»{{ '\\n' }}",
                         "{{ m.content }}\n", ask="Output:"),
                   (), *END, *END, refused="does not end the assistant's turn"),
    "phi3": Family(turns(PIPES + "<|end|>\n", "<|assistant|>\n«{{ m.content }}<|end|>»{{ '\\n' }}",
                         PIPES + "<|end|>\n", ask="<|assistant|>\n"),
                   ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"), "<s>", "<|end|>"),
    "phi4": Family(turns("<|im_start|>user<|im_sep|>{{ m.content }}<|im_end|>",
                         "<|im_start|>assistant<|im_sep|>«{{ m.content }}<|im_end|>»",
                         "<|im_start|>system<|im_sep|>{{ m.content }}<|im_end|>",
                         ask="<|im_start|>assistant<|im_sep|>"),
                   (*IM, "<|im_sep|>"), *END, "<|im_end|>"),
    "deepseek-v2": Family(
        plain("User: ", "Assistant: ", EOS, head="{{ bos_token }}", after="\n\n",
              after_system="\n\n"), DEEPSEEK[:2], *DEEPSEEK[:2]),
    "deepseek-v3": Family(
        plain("<｜User｜>", "<｜Assistant｜>", EOS, head="{{ bos_token }}"), DEEPSEEK,
        *DEEPSEEK[:2]),
    "deepseek-r1": Family(R1, DEEPSEEK, *DEEPSEEK[:2]),
    "zephyr": Family(turns(PIPES + EOS + "\n", "<|assistant|>\n«{{ m.content + eos_token }}»"
                           "{{ '\\n' }}", PIPES + EOS + "\n", ask="<|assistant|>\n"),
                     (), "<s>", "</s>"),
    "tinyllama": Family(turns("<|user|>\n{{ m.content + eos_token }}\n",
                              "<|assistant|>\n«{{ m.content + eos_token }}»{{ '\\n' }}",
                              "<|system|>\n{{ m.content + eos_token }}\n", ask="<|assistant|>\n"),
                        (), "<s>", "</s>"),
    "vicuna": Family(plain("USER: ", "ASSISTANT: ", EOS, after=" ", after_system=" ",
                           head="{{ bos_token }}"), (), "<s>", "</s>"),
    "alpaca": Family(turns("### Instruction:\n{{ m.content }}\n\n",
                           "### Response:\n«{{ m.content }}»{{ '\\n\\n' }}", "{{ m.content }}\n\n",
                           ask="### Response:\n"),
                     (), "<s>", "</s>", refused="does not end the assistant's turn"),
    "tulu2": Family(turns("<|user|>\n{{ m.content }}\n",
                          "<|assistant|>\n«{{ m.content + eos_token }}»{{ '\\n' }}",
                          "<|system|>\n{{ m.content }}\n", ask="<|assistant|>\n"),
                    (), "<s>", "</s>"),
    "tulu3": Family(
        turns("<|user|>\n{{ m.content }}\n", "<|assistant|>\n«{{ m.content + eos_token }}»"
              "{% if not loop.last %}{{ '\\n' }}{% endif %}", "<|system|>\n{{ m.content }}\n",
              "{{ bos_token }}", "<|assistant|>\n"), (), "<|begin_of_text|>", "<|end_of_text|>"),
    "olmo1": Family(turns("<|user|>\n{{ m.content }}\n",
                          "<|assistant|>\n«{{ m.content + eos_token }}»{{ '\\n' }}",
                          head="{{ eos_token }}", ask="<|assistant|>\n"),
                    (), *END, *END, system=False),
    "olmo2": Family(turns("<|user|>\n{{ m.content }}\n", "<|assistant|>\n«{{ m.content }}"
                          "{{ eos_token }}»{{ '' if loop.last else '\\n' }}",
                          "<|system|>\n{{ m.content }}\n", "{{ bos_token }}", "<|assistant|>\n"),
                    (), *END, *END),
    "falcon": Family(turns("User: {{ m.content }}\n", "Falcon:« {{ m.content }}»{{ '\\n' }}",
                           "{{ m.content }}\n", ask="Falcon:"),
                     (), *END, *END, refused="does not end the assistant's turn"),
    "falcon3": Family(turns(PIPES + "\n", "<|assistant|>\n«{{ m.content + eos_token }}»{{ '\\n' }}",
                            PIPES + "\n", ask="<|assistant|>\n"),
                      ("<|system|>", "<|user|>", "<|assistant|>"), *END, *END),
    "starchat": Family(turns(PIPES + "<|end|>\n", "<|assistant|>«{{ '\\n' + m.content }}<|end|>»"
                             "{{ '\\n' }}", PIPES + "<|end|>\n", ask="<|assistant|>"),
                       ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"), *END, *END),
    "granite": Family(
        turns("<|start_of_role|>user<|end_of_role|>{{ m.content }}<|end_of_text|>\n",
              "<|start_of_role|>assistant<|end_of_role|>«{{ m.content }}<|end_of_text|>»"
              "{{ '\\n' }}", "<|start_of_role|>system<|end_of_role|>{{ m.content }}"
              "<|end_of_text|>\n", ask="<|start_of_role|>assistant<|end_of_role|>"),
        ("<|start_of_role|>", "<|end_of_role|>"), "<|end_of_text|>", "<|end_of_text|>"),
    "command-r": Family(
        turns(COMMAND.format("USER") + "{{ m.content | trim }}<|END_OF_TURN_TOKEN|>",
              COMMAND.format("CHATBOT") + "«{{ m.content | trim }}<|END_OF_TURN_TOKEN|>»",
              COMMAND.format("SYSTEM") + "{{ m.content }}<|END_OF_TURN_TOKEN|>", "{{ bos_token }}",
              COMMAND.format("CHATBOT")),
        ("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|USER_TOKEN|>",
         "<|CHATBOT_TOKEN|>", "<|SYSTEM_TOKEN|>"), "<BOS_TOKEN>", "<|END_OF_TURN_TOKEN|>"),
    "nemotron": Family(
        turns("<extra_id_1>User\n{{ m.content | trim }}\n", "<extra_id_1>Assistant\n"
              "«{{ m.content | trim }}\n<extra_id_1>»", "<extra_id_0>System\n{{ m.content }}\n\n",
              ask="<extra_id_1>Assistant\n"),
        ("<extra_id_0>", "<extra_id_1>"), "<s>", "</s>"),
    "openchat": Family(
        plain("GPT4 Correct User: ", "GPT4 Correct Assistant: ", "<|end_of_turn|>",
              after="<|end_of_turn|>", after_system="<|end_of_turn|>", head="{{ bos_token }}"),
        ("<|end_of_turn|>",), "<s>", "<|end_of_turn|>"),
    "solar": Family(turns("### User:\n{{ m.content }}\n\n", "### Assistant:\n«{{ m.content }}"
                          "{{ eos_token }}»{{ '\\n\\n' }}", "### System:\n{{ m.content }}\n\n",
                          ask="### Assistant:\n"), (), "<s>", "</s>"),
    "baichuan2": Family(
        plain("<reserved_106>", "<reserved_107>", EOS), ("<reserved_106>", "<reserved_107>"),
        "<s>", "</s>"),
    "minicpm": Family(plain("<用户>", "<AI>", EOS), (), "<s>", "</s>"),
    "jamba": Family(
        turns("<|bom|><|user|> {{ m.content }}<|eom|>", "<|bom|><|assistant|>« {{ m.content }}"
              "<|eom|>»", "<|bom|><|system|> {{ m.content }}<|eom|>", "{{ bos_token }}",
              "<|bom|><|assistant|>"),
        ("<|bom|>", "<|eom|>", "<|user|>", "<|assistant|>", "<|system|>"), "<|startoftext|>",
        "<|eom|>"),
    "exaone": Family(
        turns("[|user|]{{ m.content }}\n", "[|assistant|]«{{ m.content }}[|endofturn|]»"
              "{{ '\\n' }}", "[|system|]{{ m.content }}[|endofturn|]\n", ask="[|assistant|]"),
        ("[|user|]", "[|assistant|]", "[|system|]", "[|endofturn|]"), "[BOS]", "[|endofturn|]"),
    "glm4": Family(
        turns("<|user|>\n{{ m.content }}", "<|assistant|>\n«{{ m.content }}»",
              "<|system|>\n{{ m.content }}", "[gMASK]<sop>", "<|assistant|>"),
        ("[gMASK]", "<sop>", "<|user|>", "<|assistant|>", "<|system|>"), *END, *END,
        refused="does not end the assistant's turn"),
    "amber": Family(alternating(
        INST + "{{ '<|U|>' + S + m.content }}{% else %}<|A|>«{{ m.content }}<|E|>»{% endif %}",
        "first + ' '"), ("<|U|>", "<|A|>", "<|E|>"), "<s>", "</s>"),
}  # fmt: skip
