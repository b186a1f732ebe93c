"""What is kept of each output element of a range of replicates: sums, each a row of an array.

`Partial.numbers` has all of these rows, and `Partial.by_row` the first `BY_ROW`. The host, both backends and exported
modules number them by these names.
"""

SUM = 0  # over the replicates (over sample indices, of row means, where sites are shared)
COUNT = 1  # of the independent observations of the standard error: replicates, or leave-one-out groups
OBSERVED = 2  # the sum of the observations; while a kernel runs, the pivot that they are compared with
SQUARES = 3  # the sum of their squared deviations from their mean; while a kernel runs, of their gaps to the pivot
GAP_SQUARES = 4  # a kernel's own: the sum of the squares of these gaps
VARIANCES = 5  # of a range of several rows, the sum over these of the variance of the row's mean
ROWS = 6
BY_ROW = 4

UNSEEN = 1e-302
"""A sum of squares of deviations that are not 0, but too small to be squared: what is made of it is not known."""
