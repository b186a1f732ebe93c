"""The graph in other people's languages: sympy, LaTeX, networkx; and in pictures.

Nothing here is needed to compile, and nothing here is imported before it is asked for: sympy alone costs half a second.
"""
