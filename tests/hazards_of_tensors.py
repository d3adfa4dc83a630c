"""Changes of Tensors, and of what holds them, between calls."""
from __future__ import annotations

from hazards import Hazard

MLP = """
class Linear:
    def __init__(self, n, m): self.w, self.b = tg.ones(n, m), tg.zeros(m)
    def __call__(self, x): return x @ self.w + self.b
class Net:
    def __init__(self): self.layers = [Linear(3, 4), Linear(4, 2)]
    def __call__(self, x):
        for layer in self.layers: x = tg.tanh(layer(x))
        return x
net = Net()
def f(x): return net(x)
args = (tg.ones(2, 3),)
"""

TENSORS = (
    Hazard("captured weights", MLP,
        (
            "net.layers[0].w = tg.ones(3, 5); net.layers[1].w = tg.ones(5, 2); net.layers[0].b = tg.zeros(5)",
            "net.layers.append(Linear(2, 2))",
            "net.layers.reverse(); args = (tg.ones(2, 4),); net.layers[0].w = tg.ones(4, 4) * 0",
            "Linear.__call__ = lambda s, x: x",
            "net.layers[0].w = 1.0",
            "net.layers[1].w.requires_grad_(True)",
            "net.layers[1].w = tg.ones(4, 2, dtype=tg.float64)",
            "tg_tanh, tg.tanh = tg.tanh, tg.sin",
        ),
        ("net.layers[0].w = tg.zeros(3, 4) + 1", "net.layers[1].w = tg.ones(4, 2)", "args = (tg.ones(2, 3),)")),
    Hazard("an argument", """
        def f(x): return x * 2
        args = (tg.ones(2, 3),)
        """,
        (
            "args = (tg.ones(3, 2),)",
            "args = (tg.ones(2, 3, dtype=tg.float64),)",
            "args = (2.0,)",
            "args = (tg.ones(2, 3, requires_grad=True),)",
            "args = (tg.ones(3),)",
        ),
        ("args = (tg.ones(2, 3),)",)),
    Hazard("shape of a Tensor in Python", """
        def f(x): return x * x.shape[0]
        args = (tg.ones(2),)
        """,
        ("args = (tg.ones(3),)",)),
    Hazard("a dict of Tensors", """
        p = {'w': tg.ones(2), 'b': tg.zeros(2)}
        def f(x): return x * p['w'] + p['b']
        args = (tg.ones(2),)
        """,
        ("p['b'] = 5.0", "p = {'w': tg.ones(2), 'b': tg.ones(1, 2)}"),
        ("p['w'] = tg.ones(2)",)),
    Hazard("a Tensor with a history", """
        w = tg.ones(2, requires_grad=True)
        args = (w * 1,)
        def f(x): return x * 2, x.is_leaf
        """,
        ("args = (tg.ones(2, requires_grad=True),)", "args = (tg.ones(2),)"),
        ("args = (w * 1,)",)),
    Hazard("a Tensor that has an alias", """
        a, b = tg.ones(2), tg.ones(2)
        def f(x): return a is b
        """,
        ("b = a",)),
    Hazard("one of many Tensors becomes another", """
        a, b, c, d, e = (tg.ones(2) for _ in range(5))
        def f(x): return a is b or b is c or c is d or d is e
        """,
        ("e = d",)),
    Hazard("a Tensor with two names", """
        a = b = tg.ones(2)
        def f(x): return a is b
        """,
        ("b = tg.ones(2)",)),
    Hazard("a list where None may be", """
        bias = None
        def f(x): return x if bias is None else x + bias
        args = (tg.ones(2),)
        """,
        ("bias = tg.ones(2)",)),
    Hazard("a function of the library", """
        def f(x): return tg.relu(x)
        args = (tg.ones(2) * -1,)
        old = tg.relu
        """,
        ("tg.relu = tg.exp",)),
    Hazard("a method of Tensor", """
        def f(x): return x.exp()
        args = (tg.ones(2),)
        """,
        ("tg.Tensor.exp = lambda s: s",)),
)
