"""A graph as others take it: a network, text for Graphviz, a picture."""

from __future__ import annotations

from scg.derive import derive
from scg.ir.signed import signed

_ATTRIBUTES = ("name", "params", "inputs", "rows", "nodes", "costs", "sites")  # of a graph, for users


class Views:
    """What a graph can be turned into."""

    def __dir__(self):
        return [name for name in super().__dir__() if name.startswith("_") or name in _ATTRIBUTES
                or hasattr(getattr(type(self), name, None), "__wrapped__")]  # methods that check how users call them

    @signed
    def to_networkx(self, strategy=None):
        """The graph as a `networkx.DiGraph`: named nodes, with ``kind``, ``layer`` and more; edges are dependence.

        All attributes are plain: `networkx.write_graphml` and `networkx.write_gexf` take them.

        Parameters
        ----------
        strategy : Estimator or dict, optional
            As for `scg.compile`: then estimators, verdicts and blocked edges are told too. ``{}`` leaves all to the
            policy.

        See Also
        --------
        scg.export.networks.to_networkx : lists the attributes.
        """
        from scg.export.networks import to_networkx

        return to_networkx(self, None if strategy is None else derive(self, strategy))

    @signed
    def to_dot(self, strategy=None) -> str:
        """The graph in Graphviz's language, for ``dot -Tpdf``; `strategy` as for `to_networkx`."""
        from scg.export.dot import to_dot

        return to_dot(self.to_networkx(strategy))

    @signed
    def draw(self, path=None, strategy=None):
        """A picture of the graph: squares are computed, circles drawn at random, diamonds are costs.

        Rows of the data, loops and independent draws are boxes. With a strategy, paths that derivatives do not take are
        dashed, and each site says its estimator.

        Parameters
        ----------
        path : str or path, optional
            Where to write it; the name's end says how: ``"graph.png"``, ``".svg"``, ``".pdf"``.
        strategy : Estimator or dict, optional
            As for `scg.compile`; ``{}`` leaves all to the policy.

        Returns
        -------
        Drawing
            It shows itself in notebooks, and has ``.figure``, of matplotlib, and ``.save(path)``.

        Raises
        ------
        SCGError
            If matplotlib is not installed, or there is no such place.
        """
        from scg.export.picture import drawn

        return drawn(self, None if strategy is None else derive(self, strategy), path)

    def _repr_png_(self):
        from scg.export.picture import png_of

        return png_of(self)

    def _repr_html_(self):
        from scg.export.notebook import graph_in_html

        return graph_in_html(self)
