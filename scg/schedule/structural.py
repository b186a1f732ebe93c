"""The table of rules: how kernels compute ops that reduce elements, draw, loop, or move elements between worlds."""

from __future__ import annotations

from scg.ops.call import CALLS
from scg.ops.contract import contract_op
from scg.ops.measure import axis_sum_op, axis_to_event_op, event_to_axis_op, leave_one_out_op, replace_one_op
from scg.ops.randomness import below_op, category_op, draw_until_op, uniform_op
from scg.ops.reduce import sum_op
from scg.ops.scan import scan_op
from scg.ops.sigmoid_sums import sigmoid_sums_op
from scg.ops.softplus_changes import softplus_changes_op
from scg.ops.structure import prefix_sum_op, suffix_sum_op
from scg.schedule.builder import Builder
from scg.schedule.products import product_space, sides_of
from scg.schedule.rules import BY_FIELD, RULES, Rule
from scg.schedule.scalars import Nest

BY_FIELD["combines"] = Rule(Nest.combined, reduction=Builder.reduce_by_op)
RULES.update({
    sum_op: Rule(Nest.sum, reduction=Builder.reduce_sum),
    axis_sum_op: Rule(Nest.axis_sum, reduction=Builder.reduce_axis_sum),
    contract_op: Rule(Nest.contract, reduction=Builder.reduce_product, space=product_space, stored=sides_of),
    suffix_sum_op: Rule(Nest.suffix_sum, Builder.suffix_sum),
    prefix_sum_op: Rule(Nest.prefix_sum, Builder.prefix_sum),
    event_to_axis_op: Rule(Nest.event_to_axis, view=True),
    axis_to_event_op: Rule(Nest.axis_to_event, view=True),
    replace_one_op: Rule(Nest.replace_one),
    uniform_op: Rule(statements=Builder.uniform),
    # where one word does not decide, the probability is read again
    below_op: Rule(statements=Builder.below, stored=lambda node: node.args[-1:]),
    category_op: Rule(statements=Builder.category, stored=lambda node: node.args[-1:]),
    draw_until_op: Rule(statements=Builder.draw_until),
    leave_one_out_op: Rule(statements=Builder.leave_one_out),
    softplus_changes_op: Rule(statements=Builder.softplus_changes, stored=lambda node: node.args),
    sigmoid_sums_op: Rule(statements=Builder.sigmoid_sums, stored=lambda node: node.args),
    **dict.fromkeys(CALLS, Rule(statements=Builder.call, stored=lambda node: node.args)),
    scan_op: Rule(statements=Builder.scan, stored=lambda node: node.args),
})
