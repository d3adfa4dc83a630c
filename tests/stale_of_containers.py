"""Containers: dicts, lists, sets, deques, their contents and order; memo dicts; NumPy arrays."""
from __future__ import annotations

from stale import FOLLOW, RAISE, Change, Hazard

CONTAINERS = (
    Hazard("a dict of numbers", """
        d = {'a': 2.0, 'b': 3.0}
        def f(x): return x * d['a'] + d.get('c', 1.0)
        """,
        ("d['a'] = 4.0", "d['c'] = 5.0", "d.pop('c')", "d = {'a': 6.0, 'b': 3.0}", Change("del d['a']", RAISE),
         "d.update(a=7.0)"),
        ("d['a'] = float('7.0')",)),
    Hazard("the order of a dict", """
        d = {'a': 2.0, 'b': 3.0}
        def f(x):
            for v in d.values(): x = x * v + 1
            return x
        """,
        ("d['a'] = d.pop('a')", "d = dict(reversed(d.items()))", "d['c'] = 0.5", "d = {'b': 1.0, **d}"),
        ("d['b'] = d['b']",)),
    Hazard("a dict of Tensors", """
        p = {'w': tg.ones(2), 'b': tg.zeros(2)}
        def f(x): return {k: x * v for k, v in p.items()}
        """,
        ("p['c'] = tg.ones(1)", "del p['w']", "p = {'w': tg.ones(2), **p}", "p['b'] = 2.0"),
        ("p['w'] = tg.tensor([3.0, 4.0])", "p['c'].mul_(2)")),
    Hazard("keys of several types", """
        d = {1: 2.0, 'a': 3.0, None: 4.0, (1, 2): 5.0}
        def f(x): return x * d[1] + d[(1, 2)], list(d)
        """,
        ("d[True] = 6.0", "d[(1, 2)] = 7.0", "d = {True: 2.0, **{k: v for k, v in d.items() if k != 1}}",
         "d[1.5] = 0")),
    Hazard("a list", """
        xs = [1.0, 2.0, 3.0]
        def f(x): return x * sum(xs) + xs[1]
        """,
        ("xs[1] = 5.0", "xs.reverse(); xs.append(0.5)", "xs.sort()", "xs[:] = [4.0] * 3", "xs = (4.0, 1.0)",
         "xs = range(3)")),
    Hazard("the order of a list of Tensors", """
        ws = [tg.ones(2), tg.zeros(2)]
        def f(x):
            for w in ws: x = x * 2 + w
            return x
        """,
        ("ws.append(tg.ones(1) * 7)", "ws.reverse(); ws.append(1)", "ws = ws[:1] * 3", "ws[0] = ws[1] * 2"),
        ("ws[0] = tg.zeros(1)",)),
    Hazard("a long list", """
        xs = [0.5] * 1000
        def f(x): return x * sum(xs)
        """,
        ("xs[700] = 1.0", "xs.pop(3)", "xs[0] = 1", "xs.insert(500, float('inf'))"),
        ("xs = [*xs]",)),
    Hazard("lists in lists", """
        xs = [[1.0, [2.0]], {'a': [3.0]}]
        def f(x): return x * xs[0][1][0] + xs[1]['a'][-1]
        """,
        ("xs[0][1][0] = 4.0", "xs[1]['a'].append(5.0)", "xs[0] = xs[0][:1] + [[6.0]]", "xs[0][1] = xs[1]['a']")),
    Hazard("two names of one list", """
        a = [1.0]
        b = a
        def f(x):
            y = [*a]
            return x * a[0] + b[0], a is b
        """,
        ("b[0] = 2.0", "b = [5.0]", "b[0] = 3.0", "a = b")),
    Hazard("a NaN is found by its identity", """
        a = b = float('nan')
        d, s, l = {a: 2.0}, {a}, [1.0, a]
        def f(x): return x * d.get(b, 3.0), b in s, b in l, b in (a, 4.0)
        """,
        ("b = float('nan')", "l[1] = b", "d = {b: 5.0}", "s = {b}", "a = b = float('nan')"),
        ("b = d = s = l = a; b = float('nan'); d, s, l = {b: 5.0}, {b}, [1.0, b]; a = float('nan')",)),
    Hazard("a set", """
        s = {1, 2}
        def f(x): return x * 7 if 3 in s else x * len(s)
        """,
        ("s.add(3)", "s.discard(3); s.discard(1)", "s = {3}", "s = frozenset({5, 6, 7})"),
        ("s = frozenset({5, 6, 7})",)),
    Hazard("a set in its order", """
        s = {1, 2, 3}
        def f(x):
            for v in s: x = x * v + 1
            return x
        """,
        ("s.add(-7)", "s.discard(2)", "s = set()", "s |= {10, 20}")),
    Hazard("a deque", """
        from collections import deque
        d = deque([1.0, 2.0], maxlen=3)
        def f(x): return x * d[0] + d[-1]
        """,
        ("d.append(3.0); d.append(4.0)", "d.rotate()", "d.appendleft(9.0)", "d = deque([5.0, 6.0])")),
    Hazard("a deque of Tensors that turns", """
        from collections import deque
        d = deque([tg.ones(2), tg.ones(2) * 2], maxlen=2)
        def f(x):
            d.append(x * d[0])
            return d[0] + d[1]
        """,
        ("d.append(tg.zeros(2))", "d.rotate()", "d = deque([x, x], maxlen=2)"), mode=FOLLOW),
    Hazard("an OrderedDict's move_to_end", """
        from collections import OrderedDict
        d = OrderedDict(a=2.0, b=3.0)
        def f(x):
            for v in d.values(): x = x * v + 1
            return x
        """,
        ("d.move_to_end('a')", "d.move_to_end('a', last=False)", "d['a'] = 5.0", "d.popitem()")),
    Hazard("a defaultdict", """
        from collections import defaultdict
        d = defaultdict(lambda: start, a=2.0)
        start = 1.0
        def f(x): return x * d['a'] + len(d)
        """,
        ("d['a'] = 3.0", "d['b']", "del d['b']; d['a'] = start")),
    Hazard("a defaultdict that fills", """
        from collections import defaultdict
        d = defaultdict(lambda: start)
        start = 1.0
        def f(x): return x * d['a'] + len(d)
        """,
        ("d['a'] = 3.0", "start = 4.0; del d['a']", "d.clear(); d.default_factory = lambda: 7.0"), settle=3),
    Hazard("a subclass of dict", """
        class D(dict):
            def __missing__(self, key): return self.default
        d = D(a=2.0); d.default = 1.0
        def f(x): return x * d['a'] + d['b']
        """,
        ("d.default = 3.0", "d['b'] = 4.0", "del d['b']", "D.__missing__ = lambda s, k: 5.0",
         "D.__getitem__ = lambda s, k: 6.0")),
    Hazard("a subclass of list", """
        class L(list):
            def total(self): return sum(self) * self.k
        xs = L([1.0, 2.0]); xs.k = 1.0
        def f(x): return x * xs.total()
        """,
        ("xs.append(3.0)", "xs.k = 2.0", "L.total = lambda s: 1.5",
         "L.__iter__ = lambda s: iter([7.0]); L.total = lambda s: sum(s)")),
    Hazard("a memo dict", """
        memo = {}
        def g(n):
            if n not in memo: memo[n] = n * scale
            return memo[n]
        scale = 2.0
        def f(x): return x * g(3)
        """,
        ("scale = 5.0; memo.clear()", "memo[3] = 1.0", "memo = {3: 4.0}"), settle=3),
    Hazard("a memo dict of Tensors", """
        memo = {}
        def f(x, n):
            if n not in memo: memo[n] = x * n
            return memo[n] + x
        args = (x, 2)
        """,
        ("args = (x, 3)", "memo[3].mul_(5)", "memo.clear(); args = (x * 2, 3)"), settle=3),
    Hazard("a history that grows", """
        history = []
        def f(x):
            y = x * 2
            history.append(y)
            return y + len(history)
        """,
        ("history.clear()", "history.extend([1, 2])", "x = x * 3; args = (x,)"), mode=FOLLOW),
    Hazard("a captured NumPy array", """
        a = np.array([2.0, 3.0], np.float32)
        def f(x): return x * tg.tensor(a)
        """,
        ("a[0] = 5.0", "a *= 2", "a = np.array([1.0, 1.0])", "a = a.astype(np.int64)", "a = a[::-1] * 4"),
        ("a = a.copy()",)),
    Hazard("a NumPy array edited through its view and its base", """
        base = np.arange(6.0)
        a = base[::2]
        def f(x): return x * a[1] + a.sum()
        """,
        ("base[2] = 10.0", "a[0] = 3.0", "base[1] = 99.0; base[4] = 0.5", "a = base[1::2]"),
        ("base[0] = 55.0",)),
    Hazard("a NumPy array read by element", """
        a = np.array([[1.0, 2.0], [3.0, 4.0]])
        def f(x): return x * a[0, 1] + float(a[1, 0]) if a[0, 0] > 0 else x
        """,
        ("a[0, 1] = 5.0", "a[0, 0] = -1.0", "a[:] = 1.0", "a = a.T * 3", "a = a.astype(np.float32) + 0.5")),
    Hazard("a NumPy array operated with a Tensor", """
        a = np.array([2.0, 3.0], np.float32)
        def f(x): return x * a + np.abs(x)
        """,
        ("a[0] = 5.0", "a = a.astype(np.float64)", "a = np.float32(2.0)", "a = np.ones((2, 2), np.float32)")),
    Hazard("a NumPy array that is written", """
        a = np.zeros(2)
        def f(x):
            a[0] += 1
            return x * a[0]
        """,
        ("a[0] = 10.0", "a[:] = -1", "a = np.ones(3) * 5"), mode=FOLLOW),
    Hazard("a NumPy array shared with a Tensor", """
        a = np.array([2.0, 3.0], np.float32)
        w = tg.from_numpy(a)
        def f(x): return x * w
        """,
        ("w = tg.from_numpy(a.astype(np.float64))", "a = np.ones(1, np.float32); w = tg.from_numpy(a)",
         "w = tg.from_numpy(a[0:1] * 4) + 0 * x"),
        ("a[:] = 7.0", "w.array[0] = 3.0", "w.mul_(2)")),
    Hazard("a large NumPy array", """
        a = np.zeros(1 << 18)
        a[0] = 2.0
        def f(x): return x * float(a[0])
        """,
        ("a[0] = 3.0", "a[0] = 4.0", "a = a + 1"), mode=FOLLOW),
    Hazard("an array of objects", """
        a = np.array([[2.0], 1], dtype=object)
        def f(x): return x * a[0][0]
        """,
        ("a[0][0] = 3.0", "a[0] = (4.0,)", "a = [[5.0]]"), mode=FOLLOW),
    Hazard("views of a dict", """
        d = {'a': 2.0}
        v = d.values()
        def f(x): return x * sum(v)
        """,
        ("d['a'] = 3.0", "d['b'] = 4.0", "v = {'c': 5.0}.values()"),
        ("d['c'] = 6.0",)),
    Hazard("bytes and bytearrays", """
        b = bytearray(b'ab')
        t = b'xyz'
        def f(x): return x * b[0] + len(t)
        """,
        ("b[0] = 1", "t = b'xy'", "b = b'c'", "b = bytearray(b'd')")),
    Hazard("slices and ranges", """
        s = slice(0, 1)
        r = range(3)
        def f(x): return x[s] * len(r) + r[-1]
        """,
        ("s = slice(1, 2)", "r = range(0, 10, 4)", "s = slice(None, None, 2)", "r = range(5)")),
    Hazard("SimpleNamespace", """
        from types import SimpleNamespace
        c = SimpleNamespace(k=2.0, inner=SimpleNamespace(m=1.0))
        def f(x): return x * c.k + c.inner.m
        """,
        ("c.k = 3.0", "c.inner.m = 4.0", "c.inner = SimpleNamespace(m=5.0)",
         "c = SimpleNamespace(k=6.0, inner=c.inner)"),
        ("c.other = 1",)),
    Hazard("nested structures as arguments and results", """
        def f(p):
            return {'y': [p['x'] * w for w in p['ws']], 'n': len(p['ws'])}
        args = ({'x': x, 'ws': [tg.ones(2), 2.0]},)
        """,
        ("args[0]['ws'].append(3.0)", "args[0]['ws'][1] = 4.0", "args = ({'x': x, 'ws': (x, x)},)",
         "args = ({'ws': [], 'x': x},)"),
        ("args = ({'ws': [], 'x': x * 2},)",)),
)
