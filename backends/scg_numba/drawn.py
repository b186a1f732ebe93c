"""How statements that draw are written in kernels."""

from __future__ import annotations

from scg.schedule import language as lang
from scg_numba.spelling import Spelling, array_of, bounds_of


class DrawWriter:
    """The part of a writer that writes them."""

    x: Spelling
    indent: int

    def line(self, *texts: str) -> None:
        """Lines at the present indentation."""
        raise NotImplementedError

    def block(self, block: lang.Block) -> None:
        """Statements one after the other."""
        raise NotImplementedError

    def _fill_uniform(self, s: lang.FillUniform) -> None:
        kind, w = "fine" if s.fine else "coarse", s.words
        where = f"({s.buffer.offset} + {self.x.text(w.element)}) * W"
        if s.buffer.vector == "row":
            self.line(f"fill_rows_{kind}(arena[{where} : {where} + rows], {self.x.lanes(w)} + row * samples, samples, "
                      f"{self.x.text(w.element)}, {self.x.text(w.step)}, {s.number})")
            return
        self.line(f"fill_range_{kind}(arena[{where} : {where} + padded], scratch, {self.x.lanes(w)}, "
                  f"{self.x.text(w.element)}, {self.x.text(w.step)}, {s.number})")

    def _fill_elements(self, s: lang.FillElements) -> None:
        kind, w, (start, stop) = "fine" if s.fine else "coarse", s.words, bounds_of(s.buffer)
        self.line(f"fill_elements_{kind}({array_of(s.buffer)}[{start} : {stop}], {self.x.lanes(w)}, "
                  f"{self.x.text(w.element)}, {self.x.text(w.step)}, {s.number})")

    def _fill_below(self, s: lang.FillBelow) -> None:
        where = self.x.run_of(s.buffer, s.at)
        self.line(f"fill_range_below(arena[{where} : {where} + padded], scratch, {s.low.name}, {s.high.name}, "
                  f"{self.x.words(s.words)})")

    def _sides(self, s: lang.Sides) -> None:
        value = self.x.text(s.value)
        sides = f"both_sides({value})" if s.both else f"np.float64({value}), 1.0 - np.float64({value})"
        self.line(f"{s.low.name}, {s.high.name} = {sides}")

    def _rounds(self, s: lang.Rounds) -> None:
        n, w, carries = s.counter.name, s.words, [c.name for c in s.carries]
        self.line(f"{n} = 0", "while True:")
        self.indent += 1
        for i, u in enumerate(s.uniforms):
            text = (f"uniform_at({self.x.lanes(w)}, {self.x.text(w.element)}, {self.x.text(w.step)}, "
                    f"2 * ({n} * {len(s.uniforms)} + {i}), True)")
            self.line(f"{u.name} = 1.0 - {text}" if w.flipped else f"{u.name} = {text}")
        self.block(s.body)
        self.line(f"{', '.join(carries)} = {', '.join(map(self.x.text, s.after))}", f"if {self.x.text(s.done)}:",
                  "    break", f"{n} += 1", f"if {n} == {s.most}:",
                  f"    {' = '.join(carries[: s.wanted])} = np.nan", "    break")
        self.indent -= 1
