"""Where values are kept: how many elements each of a kernel's arrays has been given out."""

from __future__ import annotations

from scg.schedule.language import Buffer, Fill, Narrow, Num, Sizes, Statement

ZERO = Num(0.0, "float64")


class Buffers:
    """The part of a builder that gives out space."""

    dtype: str

    def __init__(self) -> None:
        self.multiplies = False  # whether there are matrix products
        self.widths = self.plain = self.wide = self.wide_plain = self.weights = self.sums = self.totals = 0

    def allocate(self, elements: int, vector: str | None, boolean: bool = False) -> Buffer:
        """Space for that many elements by lane, by row, or plain."""
        if vector is None:
            self.plain += elements
            return Buffer(self.plain - elements, elements, None, boolean)
        self.widths += elements
        return Buffer(self.widths - elements, elements, vector, boolean)

    def allocate_wide(self, elements: int, vector: str | None = "lane") -> Buffer:
        """Space for that many elements in float64, whatever the working type."""
        if vector is None:
            self.wide_plain += elements
            return Buffer(self.wide_plain - elements, elements, None, wide=True)
        self.wide += elements
        return Buffer(self.wide - elements, elements, vector, wide=True)

    def totals_of(self, buffer: Buffer, elements: int) -> Buffer:
        """Where a sum with this buffer is added up: in float64."""
        return buffer if self.dtype == "float64" else self.allocate_wide(elements, buffer.vector)

    @staticmethod
    def cleared(buffer: Buffer, value: Num = ZERO) -> Fill:
        """The statement that fills a buffer."""
        return Fill(buffer, value)

    def narrowed(self, buffer: Buffer, totals: Buffer) -> list[Statement]:
        """Statements that give a buffer what was added up elsewhere."""
        return [] if totals is buffer else [Narrow(buffer, totals)]

    @property
    def sizes(self) -> Sizes:
        """All that was given out."""
        return Sizes(max(self.widths, 1), max(self.plain, 1), self.wide, self.wide_plain, self.weights, self.sums,
                     self.totals)
