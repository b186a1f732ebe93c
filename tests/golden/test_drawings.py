"""What pictures show, in words: columns from left to right, each from top to bottom, boxes and arrows."""

from __future__ import annotations

import pytest
from pictured import DRAWN

LEAVES = {"param": "bold", "input": "plain", "data": "grey"}


def in_words(picture) -> str:
    """The picture as text; an arrow with a gap is dashed, one with a wave goes to later steps."""
    layers = dict(picture.network.nodes(data="layer"))
    lines = []
    for layer in range(max(layers.values()) + 1):
        column = sorted((n for n in layers if layers[n] == layer), key=lambda n: picture.layout.centres[n][1])
        lines.append(f"column {layer}")
        for name in column:
            node = picture.nodes[name]
            sign = LEAVES.get(picture.network.nodes[name]["kind"], node.shape.outline)
            lines.append(f"  {sign} {' '.join(node.lines)}"
                         + "".join(f" | {line}" for line in (*node.caption, *filter(None, [node.draws]))))
    lines += [f"box of {box.label}: {', '.join(sorted(box.everything()))}" for box, _ in picture.layout.boxes]
    for v, w, edge in picture.network.edges(data=True):
        arrow = ("~" if edge["carried"] else "-") + (" >" if edge["blocked"] else ">")
        lines.append(f"{v} {arrow} {w}")
    lines += [f"key: {', '.join(f'{sign.kind} {sign.text}' for sign in line)}" for line in picture.key.lines]
    return "\n".join(lines)


@pytest.mark.parametrize("name", [name for name in DRAWN if name != "nested_loops"])
def test_picture(name, golden):
    graph = DRAWN[name]()
    golden(f"{in_words(graph.draw(strategy={}))}\n\n{graph.to_dot({})}")
